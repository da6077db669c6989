"""The system's clock."""

from datetime import UTC, datetime


class SystemClock:
    """Wall time: what the journal and people compare with other machines' times."""

    def now(self) -> datetime:
        return datetime.now(UTC)
