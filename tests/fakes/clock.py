"""A clock that moves only when it is told to."""

from datetime import UTC, datetime, timedelta

BEGAN = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


class FakeClock:
    def __init__(self, now: datetime = BEGAN) -> None:
        if now.tzinfo is None:
            raise ValueError("a clock's time is aware")
        self._now = now.astimezone(UTC)

    def now(self) -> datetime:
        return self._now

    def advance(self, seconds: float) -> datetime:
        """Time never goes back here; returns the new time."""
        if seconds < 0:
            raise ValueError("time does not go back")
        self._now += timedelta(seconds=seconds)
        return self._now

    def set_back(self, seconds: float) -> datetime:
        """Somebody puts a clock right that ran ahead."""
        self._now -= timedelta(seconds=seconds)
        return self._now
