"""Between a daemon and its ports: every call is numbered, and may be lost, answered with an old answer, or be the last."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from reconciler.errors import HivequeenError
from tests.fakes.clock import FakeClock

# What a call takes, seconds of the simulated clock. Not measured: only that time passes inside a pass matters.
LATENCY_S: Final = {"run_instances": 0.6, "terminate": 0.3, "list_instances": 0.1, "fetch": 0.03}
LATENCY_ELSE_S: Final = 0.01
WRITES: Final = frozenset(
    {
        *("run_instances", "terminate", "stop", "start", "set_tags", "remove_tags"),
        *("put_role", "put_environment", "put_node", "create_client", "create_claim", "update_claim"),
        *("delete_node", "delete_client", "delete_role", "delete_environment"),
        *("record", "register", "append", "set_conditions", "mark_applied", "remove"),
    }
)


class Crash(BaseException):
    """The process dies here. Nothing of it may run on, so it is no Exception."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a port, as it was numbered."""

    number: int
    service: str  # "cloud", "chef", "journal", "repository"
    operation: str  # the port's method

    @property
    def is_write(self) -> bool:
        return self.operation in WRITES

    def __str__(self) -> str:
        return f"{self.number:03d}-{self.service}.{self.operation}"


@dataclass(slots=True, kw_only=True)
class Fault:
    """The next `times` calls of an operation (of the service, where it is empty) raise `error`."""

    service: str
    operation: str
    error: HivequeenError
    after: bool  # the work is done all the same
    times: int

    def meets(self, call: Call) -> bool:
        return self.service == call.service and self.operation in ("", call.operation)


class Witness(Protocol):
    """Who sees the world before and after a call, whatever the daemon gets to hear."""

    def knows_better(self, call: Call, arguments: tuple[Any, ...], error: HivequeenError) -> bool:
        """Whether the other side could not have answered so."""

    def before(self, call: Call, arguments: tuple[Any, ...]) -> Any: ...

    def after(self, call: Call, arguments: tuple[Any, ...], before: Any) -> None: ...


Tamper = Callable[[Call, tuple[Any, ...], Any], Any]  # may put another answer in the place of the true one


@dataclass(slots=True, kw_only=True)
class Exchange:
    """What all daemons of one world share: the numbers, and the trouble that is due."""

    clock: FakeClock
    calls: list[Call] = field(default_factory=list)
    faults: deque[Fault] = field(default_factory=deque)
    crash_before: set[int] = field(default_factory=set)
    crash_after: set[int] = field(default_factory=set)
    tamper: Tamper | None = None

    def crash_in(self, calls: int, *, after: bool) -> None:
        (self.crash_after if after else self.crash_before).add(len(self.calls) + calls)

    def calm(self) -> None:
        """Nothing is due any more."""
        self.faults.clear()
        self.crash_before.clear()
        self.crash_after.clear()
        self.tamper = None

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """What is due waits meanwhile, and calls made in between do not count."""
        kept = self.calls, self.faults, self.crash_before, self.crash_after, self.tamper
        self.calls, self.faults, self.crash_before, self.crash_after, self.tamper = [], deque(), set(), set(), None
        try:
            yield
        finally:
            self.calls, self.faults, self.crash_before, self.crash_after, self.tamper = kept

    def take_fault(self, call: Call) -> Fault | None:
        for fault in self.faults:
            if fault.meets(call):
                fault.times -= 1
                if fault.times <= 0:
                    self.faults.remove(fault)
                return fault
        return None


@dataclass(slots=True)
class Line:
    """One process' connections. Once it has died none of its threads gets through any more."""

    exchange: Exchange
    witness: Witness
    is_cut: bool = False

    def call(self, service: str, operation: str, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        exchange = self.exchange
        if self.is_cut:
            raise Crash
        call = Call(number=len(exchange.calls), service=service, operation=operation)
        exchange.calls.append(call)
        exchange.clock.advance(LATENCY_S.get(operation, LATENCY_ELSE_S))
        if call.number in exchange.crash_before:
            self._die()
        fault = exchange.take_fault(call)
        arguments = (*args, *kwargs.values())
        if fault is not None and not fault.after and not self.witness.knows_better(call, arguments, fault.error):
            raise fault.error
        before = self.witness.before(call, arguments)
        try:
            answer = work(*args, **kwargs)
        finally:
            self.witness.after(call, arguments, before)
        if call.number in exchange.crash_after:
            self._die()
        if fault is not None and fault.after:
            raise fault.error
        return exchange.tamper(call, arguments, answer) if exchange.tamper is not None else answer

    def _die(self) -> None:
        self.is_cut = True
        raise Crash


class Wire:
    """Stands in for any port: what is asked of it goes over the line."""

    def __init__(self, line: Line, service: str, port: object) -> None:
        self._line = line
        self._service = service
        self._port = port

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        work = getattr(self._port, operation)

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._line.call(self._service, operation, work, *args, **kwargs)

        return call
