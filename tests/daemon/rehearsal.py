"""A clock, a mailbox and a reconciler for driving the loop without a thread and without waiting."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from reconciler.daemon.wakes import Mail, Wakes
from reconciler.model.names import EnvironmentName
from reconciler.model.passes import Pass, Scope

BEGAN = datetime(2026, 11, 1, tzinfo=UTC)


@dataclass
class Time:
    """Moves only when somebody waits."""

    elapsed_s: float = 1000.0

    def monotonic(self) -> float:
        return self.elapsed_s

    def now(self) -> datetime:
        return BEGAN + timedelta(seconds=self.elapsed_s)


@dataclass
class PatientBox:
    """A real mailbox whose waiting moves the clock instead of taking time."""

    time: Time
    wakes: Wakes = field(default_factory=Wakes)
    waits_s: list[float] = field(default_factory=list)
    arrivals: list[tuple[float, Callable[[Wakes], object]]] = field(default_factory=list)  # (moment, what arrives then)

    def at(self, moment_s: float, arrive: Callable[[Wakes], object]) -> None:
        self.arrivals.append((moment_s, arrive))
        self.arrivals.sort(key=lambda arrival: arrival[0])

    def take(self, timeout_s: float) -> Mail:
        self.waits_s.append(timeout_s)
        until = self.time.elapsed_s + timeout_s
        mail = self.wakes.take(0)
        while mail == Mail() and self.arrivals and self.arrivals[0][0] <= until:
            moment, arrive = self.arrivals.pop(0)
            self.time.elapsed_s = max(self.time.elapsed_s, moment)
            arrive(self.wakes)
            mail = self.wakes.take(0)
        if mail == Mail():
            self.time.elapsed_s = until
        return mail


@dataclass
class Rehearsed:
    """A reconciler that plays a script and keeps what it was asked."""

    time: Time
    passes: list[tuple[float, Scope]] = field(default_factory=list)
    previews: list[Scope] = field(default_factory=list)
    refreshed: list[EnvironmentName] = field(default_factory=list)
    looks: list[float] = field(default_factory=list)  # when the repository was looked at
    requeues: list[tuple[float | None, frozenset[EnvironmentName]]] = field(default_factory=list)  # of the next passes
    dues: list[dict[EnvironmentName, float]] = field(default_factory=list)  # of the next passes: seconds from their end
    breaks: list[Exception] = field(default_factory=list)  # the next passes break off with these
    git: list[Scope | Exception | None] = field(default_factory=list)  # what the next looks see
    takes_s: float = 0.0

    def reconcile(self, scope: Scope) -> Pass:
        self.passes.append((self.time.elapsed_s, scope))
        if self.breaks:
            raise self.breaks.pop(0)
        requeue_after_s, awaited = self.requeues.pop(0) if self.requeues else (None, frozenset[EnvironmentName]())
        dues = self.dues.pop(0) if self.dues else {}
        started_at = self.time.now()
        self.time.elapsed_s += self.takes_s
        return Pass(
            scope=scope,
            started_at=started_at,
            ended_at=self.time.now(),
            requeue_after_s=requeue_after_s,
            awaited=awaited,
            due={name: self.time.now() + timedelta(seconds=after_s) for name, after_s in dues.items()},
        )

    def preview(self, scope: Scope) -> Pass:
        self.previews.append(scope)
        return Pass(scope=scope, started_at=self.time.now(), ended_at=self.time.now())

    def changed_scope(self) -> Scope | None:
        self.looks.append(self.time.elapsed_s)
        seen = self.git.pop(0) if self.git else None
        if isinstance(seen, Exception):
            raise seen
        return seen

    def refresh_images(self, environment: EnvironmentName) -> None:
        self.refreshed.append(environment)
