"""EC2's request limits: token buckets, one for each operation, and one for the instances that an operation names.

Figures: docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html, for an account without raised limits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

Limit: TypeAlias = tuple[float, float]  # capacity, refill per second
READS: Final[Limit] = (100, 20)
BARE_READS: Final[Limit] = (50, 10)  # neither filtered nor paginated
WRITES: Final[Limit] = (50, 5)
REQUESTS: Final[dict[str, Limit]] = {
    "RunInstances": (5, 2),
    "StartInstances": (5, 2),
    "TerminateInstances": (100, 5),
    "CreateTags": (100, 10),
}
INSTANCES: Final[dict[str, Limit]] = {
    "RunInstances": (1000, 2),
    "StartInstances": (1000, 2),
    "TerminateInstances": (1000, 20),
    "StopInstances": (1000, 20),
}


@dataclass(slots=True)
class _Bucket:
    capacity: float
    refill_per_s: float
    level: float
    filled_at: datetime

    def fill(self, now: datetime) -> None:
        passed_s = max(0.0, (now - self.filled_at).total_seconds())
        self.level = min(self.capacity, self.level + passed_s * self.refill_per_s)
        self.filled_at = now

    def has(self, tokens: float) -> bool:
        """What exceeds the capacity is let through by a full bucket, which then is in debt."""
        return self.level >= min(tokens, self.capacity)


class Throttling:
    """Not safe for threads."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._buckets: dict[str, _Bucket] = {}

    def admits(self, operation: str, *, instances: int = 0, is_bare: bool = False) -> bool:
        """Take a request's tokens; False, and none is taken, if there are not enough.

        Args:
            instances: that it launches, starts, stops or terminates.
            is_bare: a read that is neither filtered nor paginated.
        """
        wanted = [(self._of_requests(operation, is_bare=is_bare), 1)]
        if operation in INSTANCES:
            wanted.append((self._bucket(f"instances of {operation}", INSTANCES[operation]), instances))
        if not all(bucket.has(tokens) for bucket, tokens in wanted):
            return False
        for bucket, tokens in wanted:
            bucket.level -= tokens
        return True

    def _of_requests(self, operation: str, *, is_bare: bool) -> _Bucket:
        if is_bare:
            return self._bucket(f"bare {operation}", BARE_READS)
        usual = READS if operation.startswith("Describe") else WRITES
        return self._bucket(operation, REQUESTS.get(operation, usual))

    def _bucket(self, name: str, limit: Limit) -> _Bucket:
        now = self._now()
        bucket = self._buckets.setdefault(name, _Bucket(*limit, level=limit[0], filled_at=now))
        bucket.fill(now)
        return bucket
