"""How fast this client asks EC2: within the account's request limits, so that EC2 throttles nobody because of it.

Nothing waits here. What would go beyond the pace is refused before it is sent, with the time after which it fits. Only
a share of EC2's own limits is used: people and other programs of the account need the rest.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Final, TypeAlias

from reconciler.errors import Throttled

Limit: TypeAlias = tuple[float, float]  # capacity, refill per second

SHARE: Final = 0.8
# For an account without raised limits; docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html.
READS: Final[Limit] = (100, 20)
WRITES: Final[Limit] = (50, 5)
REQUESTS: Final[dict[str, Limit]] = {
    "RunInstances": (5, 2),
    "StartInstances": (5, 2),
    "TerminateInstances": (100, 5),
    "CreateTags": (100, 10),
}
INSTANCES: Final[dict[str, Limit]] = {  # those that one operation names count apart
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
    filled_at: float

    def fill(self, now: float) -> None:
        self.level = min(self.capacity, self.level + max(0.0, now - self.filled_at) * self.refill_per_s)
        self.filled_at = now

    def wait_s(self, tokens: float) -> float:
        """Until there are as many; what exceeds the capacity needs a full bucket, and leaves it in debt."""
        return max(0.0, min(tokens, self.capacity) - self.level) / self.refill_per_s


class Pace:
    """Token buckets.

    Args:
        monotonic: seconds since any moment.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = Lock()
        self._buckets: dict[str, _Bucket] = {}
        self._reserved = 0

    def take(self, operation: str, *, instances: int = 0) -> None:
        """Count one request that is about to be sent.

        Args:
            instances: that it launches, starts, stops or terminates.

        Raises:
            Throttled: it does not fit now, and must not be sent.
        """
        with self._lock:
            wanted = [(self._of_requests(operation), 1)]
            if operation in INSTANCES:
                wanted.append((self._bucket(f"instances of {operation}", INSTANCES[operation]), instances))
            wait_s = max(bucket.wait_s(tokens) for bucket, tokens in wanted)
            if wait_s > 0:
                raise Throttled(
                    f"EC2 {operation}: held back for {wait_s:.1f} s by this daemon, to stay within EC2's request limits",
                    retry_after_s=wait_s,
                )
            for bucket, tokens in wanted:
                bucket.level -= tokens

    def reserve_launch(self, count: int) -> None:
        """Take for a launch that is going to be asked for; raises as `take`."""
        self.take("RunInstances", instances=count)
        with self._lock:
            self._reserved += 1

    def use_reservation(self) -> bool:
        """Whether a launch that is asked for now was reserved, by whichever thread."""
        with self._lock:
            is_reserved = self._reserved > 0
            self._reserved -= is_reserved
            return is_reserved

    def _of_requests(self, operation: str) -> _Bucket:
        usual = READS if operation.startswith("Describe") else WRITES
        return self._bucket(operation, REQUESTS.get(operation, usual))

    def _bucket(self, name: str, limit: Limit) -> _Bucket:
        now = self._monotonic()
        capacity, refill_per_s = (SHARE * figure for figure in limit)
        bucket = self._buckets.setdefault(name, _Bucket(capacity, refill_per_s, level=capacity, filled_at=now))
        bucket.fill(now)
        return bucket
