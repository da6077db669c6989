"""Trouble that the sandbox's EC2 endpoint makes on request: refusals, lost replies, replies that hang."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from threading import Condition
from typing import Final

HANG_S_MAX: Final = 120  # a reply that nobody releases is dropped then


class Effect(StrEnum):
    REFUSE = "refuse"  # an error answer with `code` and `status`: 503 too
    DROP = "drop"  # the connection closes without an answer
    HANG = "hang"  # no answer until released


class Moment(StrEnum):
    BEFORE = "before"  # nothing happens in EC2 (a hang: until it is released)
    AFTER = "after"  # EC2 does it, and the caller does not learn so


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """The next `times` requests of `operation` suffer this."""

    effect: Effect
    operation: str = "*"  # "RunInstances"; * is any
    moment: Moment = Moment.BEFORE
    code: str = "Unavailable"
    status: int = 503
    message: str = "made to fail"
    times: int = 1

    @staticmethod
    def read(document: Mapping[str, object]) -> "Fault":
        """From JSON.

        Raises:
            ValueError, TypeError: a key or value that is none of a fault's.
        """
        fault = Fault(**document)  # type: ignore[arg-type] # checked by the conversions below
        return replace(
            fault,
            effect=Effect(fault.effect),
            moment=Moment(fault.moment),
            status=int(fault.status),
            times=int(fault.times),
        )


class Faults:
    """Those that are due, in order, and the replies that hang."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._due: list[Fault] = []
        self._hanging = 0
        self._releases = 0

    def add(self, fault: Fault) -> None:
        with self._changed:
            self._due.append(fault)

    def clear(self) -> None:
        with self._changed:
            self._due.clear()

    def take(self, operation: str) -> Fault | None:
        with self._changed:
            for index, fault in enumerate(self._due):
                if fault.operation in ("*", operation):
                    if fault.times > 1:
                        self._due[index] = replace(fault, times=fault.times - 1)
                    else:
                        del self._due[index]
                    return fault
        return None

    def hang(self) -> None:
        """Return when released.

        Raises:
            ConnectionAbortedError: nobody released it within HANG_S_MAX.
        """
        with self._changed:
            release = self._releases
            self._hanging += 1
            self._changed.notify_all()
            try:
                if not self._changed.wait_for(lambda: self._releases > release, HANG_S_MAX):
                    raise ConnectionAbortedError("nobody released this reply")
            finally:
                self._hanging -= 1
                self._changed.notify_all()

    def release(self) -> None:
        """Let every reply that hangs go."""
        with self._changed:
            self._releases += 1
            self._changed.notify_all()

    @property
    def hanging(self) -> int:
        with self._changed:
            return self._hanging

    def wait_for_hanging(self, count: int, *, timeout_s: float) -> bool:
        """True as soon as this many replies hang; False if they do not in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._hanging >= count, timeout_s)
