"""How long an environment lives, and when it sleeps: `ttl`, `expires`, `schedule`."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from reconciler.document import KeyPath, show, suggest
from reconciler.model.desired import Lifetime, Schedule
from reconciler.model.schedule import cron_trouble

SCHEDULE_KEYS: Final = ("stop", "start", "timezone")
_LIKE_A_DATE: Final = re.compile(r"2\d{3}-\d\d-\d\d(?:$|[T ]\d\d:\d\d)")  # all else is the schema's to refuse
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def lifetime(tree: Mapping[str, Any]) -> Lifetime:
    """From values without faults."""
    ttl, expires, schedule = tree.get("ttl"), tree.get("expires"), tree.get("schedule")
    if ttl is None and expires is None and schedule is None:
        return Lifetime()
    return Lifetime(
        ttl=None if ttl is None else timedelta(**{_UNITS[ttl[-1]]: int(ttl[:-1])}),
        expires_at=None if expires is None else _moment(expires),
        schedule=None if schedule is None else Schedule(**{key: schedule[key] for key in SCHEDULE_KEYS}),
    )


def lifetime_faults(path: KeyPath, text: str) -> Iterator[tuple[str, str]]:
    """What a schema cannot say of the text there: message and remedy."""
    match path:
        case ("expires",) if _LIKE_A_DATE.match(text):
            yield from _expires_faults(text)
        case ("schedule", "stop" | "start" as key) if trouble := cron_trouble(text):
            yield (
                f"schedule.{key} {show(text)} is not a cron line: {trouble}",
                'write minute, hour, day of month, month and day of week, such as "0 20 * * 1-5"',
            )
        case ("schedule", "timezone") if not _is_timezone(text):
            remedy = suggest(text, _timezones()) or "write one such as Europe/Berlin or UTC"
            yield f"schedule.timezone {show(text)} is not a time zone", remedy


def schedule_lacks(schedule: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What the merged schedule lacks."""
    for key in SCHEDULE_KEYS:
        if key not in schedule:
            yield f"schedule has no {key}", "add it, or remove the schedule"
    if "start" in schedule and str(schedule["start"]).split() == str(schedule.get("stop")).split():
        yield "schedule.stop and schedule.start are the same", "let the nodes start at another time than they stop"


def _expires_faults(text: str) -> Iterator[tuple[str, str]]:
    try:
        moment = _moment(text)
    except ValueError:
        yield f"expires {show(text)} is not a date", "write one such as 2026-12-24, or a time such as 2026-12-24T18:00Z"
        return
    if moment.tzinfo is None:
        yield f"expires {show(text)} has no time zone", f'add one: "{text}Z", or "{text}+01:00"'


def _moment(text: str) -> datetime:
    """Of a date, its end: the environment lives through that day."""
    try:
        return datetime.combine(date.fromisoformat(text), datetime.min.time(), tzinfo=UTC) + timedelta(days=1)
    except ValueError:
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo is None else moment.astimezone(UTC)


def _is_timezone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a folder of zones, "Europe"
        return False
    return True


@cache
def _timezones() -> frozenset[str]:
    return frozenset(available_timezones())
