"""When a schedule lets nodes sleep. Cron lines are read as Debian's cron reads them, in the schedule's time zone.

A moment that a clock change leaves out counts when the clock has jumped over it, one that comes twice counts once.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from reconciler.model.desired import Schedule

_FIELDS: Final = 5
# Cron lines step by wall clock, which near a clock change is not the order of moments: so they start well away from it.
_CLOCK_CHANGE_MAX: Final = timedelta(hours=3)
_STOPS_MAX: Final = 100  # that a start meets at the same moment
_ANY_MOMENT: Final = datetime(2000, 1, 1, tzinfo=UTC)


def is_asleep(schedule: Schedule, now: datetime) -> bool:
    """Whether the newest of all stops and starts up to `now` is a stop. Where both meet, the nodes are awake."""
    return _is_asleep(schedule, _minute(now))


def next_change(schedule: Schedule, now: datetime) -> datetime:
    """The first moment after `now`, in UTC, at which it is otherwise.

    Where nothing changes for long, because starts meet every stop, a later moment at which to look again.
    """
    return _next_change(schedule, _minute(now))


def _minute(now: datetime) -> datetime:
    """Stops and starts are at whole minutes, so that what holds then holds to the next: it is reckoned once for all."""
    return now.replace(second=0, microsecond=0)


@lru_cache(maxsize=1024)
def _is_asleep(schedule: Schedule, now: datetime) -> bool:
    return _newest(schedule.start, schedule.timezone, now) < _newest(schedule.stop, schedule.timezone, now)


@lru_cache(maxsize=1024)
def _next_change(schedule: Schedule, now: datetime) -> datetime:
    if _is_asleep(schedule, now):
        return next(_after(schedule.start, schedule.timezone, now))
    stop = now
    for stop in islice(_after(schedule.stop, schedule.timezone, now), _STOPS_MAX):
        if _newest(schedule.start, schedule.timezone, stop) < stop:
            break
    return stop


def last_start(schedule: Schedule, now: datetime) -> datetime:
    """The newest moment up to `now`, in UTC, at which its nodes were to start."""
    return _newest(schedule.start, schedule.timezone, now)


def cron_trouble(line: str) -> str:
    """Why this is no cron line; "" if it is one, which then comes due again and again."""
    if len(line.split()) != _FIELDS:
        return f"{len(line.split())} fields instead of five"
    try:
        for is_reverse in (False, True):
            next(CronSim(line, _ANY_MOMENT, reverse=is_reverse))
    except CronSimError as error:
        text = str(error)
        return text[:1].lower() + text[1:]
    except StopIteration:
        return "it never comes due"
    return ""


def _newest(line: str, timezone: str, now: datetime) -> datetime:
    """The newest moment up to `now`."""
    from_later = (now + _CLOCK_CHANGE_MAX).astimezone(ZoneInfo(timezone))
    moments = (moment.astimezone(UTC) for moment in CronSim(line, from_later, reverse=True))
    return next(moment for moment in moments if moment <= now)


def _after(line: str, timezone: str, now: datetime) -> Iterator[datetime]:
    from_earlier = (now - _CLOCK_CHANGE_MAX).astimezone(ZoneInfo(timezone))
    moments = (moment.astimezone(UTC) for moment in CronSim(line, from_earlier))
    return (moment for moment in moments if moment > now)
