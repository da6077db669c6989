"""When simulated environments sleep, told by hand: the truth beside which the daemon's reading of cron lines is held."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hours:
    stop: str
    start: str
    is_asleep: Callable[[datetime], bool]
    woke_at: Callable[[datetime], datetime]  # last


def _last(minute: int, now: datetime) -> datetime:
    at = now.replace(minute=minute, second=0, microsecond=0)
    return at if at <= now else at - timedelta(hours=1)


_HOURS: Final = {
    1: _Hours(
        stop="0 * * * *",
        start="30 * * * *",
        is_asleep=lambda now: now.minute < 30,
        woke_at=lambda now: _last(30, now),
    ),
    2: _Hours(
        stop="20 * * * *",
        start="50 * * * *",
        is_asleep=lambda now: 20 <= now.minute < 50,
        woke_at=lambda now: _last(50, now),
    ),
    # It is November: asleep all the time, and awake.
    3: _Hours(
        stop="0 0 1 10 *",
        start="0 0 1 5 *",
        is_asleep=lambda _: True,
        woke_at=lambda _: datetime(2026, 5, 1, tzinfo=UTC),
    ),
    4: _Hours(
        stop="0 0 1 5 *",
        start="0 0 1 10 *",
        is_asleep=lambda _: False,
        woke_at=lambda _: datetime(2026, 10, 1, tzinfo=UTC),
    ),
}
NUMBER: Final = len(_HOURS) + 1  # with 0, no schedule
LONG: Final = {1: 3, 2: 4}  # what takes the place of the restless ones when a world comes to rest


def render(schedule: int) -> str:
    hours = _HOURS[schedule]
    return f'{{stop: "{hours.stop}", start: "{hours.start}", timezone: UTC}}'


def is_asleep(schedule: int, now: datetime) -> bool:
    return schedule in _HOURS and _HOURS[schedule].is_asleep(now)


def woke_at(schedule: int, now: datetime) -> datetime:
    """When its last sleep was over, or will have been."""
    return _HOURS[schedule].woke_at(now)
