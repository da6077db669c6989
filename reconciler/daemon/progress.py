"""Proof of life: the loop's progress, and nothing else, feeds systemd's watchdog and `/healthz`."""

from collections.abc import Callable
from typing import Final

STUCK_AFTER_S: Final = 300.0  # WatchdogSec of the unit: longer than any single call with all its bounded retries
_FEED_EVERY_S: Final = 1.0


class Progress:
    """Marked by the loop between passes, and by a pass between its actions (they ask whether to stop)."""

    def __init__(self, *, monotonic: Callable[[], float], feed: Callable[[], None]) -> None:
        """`feed` tells the watchdog; it is called at most once a second."""
        self._monotonic = monotonic
        self._feed = feed
        self._marked_at = monotonic()
        self._fed_at = float("-inf")

    def mark(self) -> None:
        now = self._monotonic()
        self._marked_at = now
        if now - self._fed_at >= _FEED_EVERY_S:
            self._fed_at = now
            self._feed()

    @property
    def age_s(self) -> float:
        """Since the last progress."""
        return self._monotonic() - self._marked_at
