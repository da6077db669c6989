"""Time, passes, machines that boot, and the daemon's own ends."""

from dataclasses import dataclass

from reconciler.model.names import EnvironmentName
from reconciler.model.observed import InstanceState
from reconciler.model.passes import Scope
from tests.simulation.specs import STEMS
from tests.simulation.steps.commits import existing
from tests.simulation.steps.step import Step, below, choose
from tests.simulation.world import SimulatedWorld

QUARTER_S = 900
SPANS_S = (1, 5, 10, 30, 61, 120, 301, 601, 1200, 1801, 3601)


@dataclass(frozen=True, slots=True)
class Advance(Step):
    span: int = below(len(SPANS_S))

    def apply(self, world: SimulatedWorld) -> None:
        world.clock.advance(SPANS_S[self.span])


@dataclass(frozen=True, slots=True)
class FullPass(Step):
    def apply(self, world: SimulatedWorld) -> None:
        world.reconcile()


@dataclass(frozen=True, slots=True)
class ScopedPass(Step):
    stem: int = below(len(STEMS))

    def apply(self, world: SimulatedWorld) -> None:
        names = frozenset({EnvironmentName(existing(world, self.stem))})
        world.reconcile(Scope(environments=names, because="simulation"))


@dataclass(frozen=True, slots=True)
class NoticeCommit(Step):
    def apply(self, world: SimulatedWorld) -> None:
        world.notice_commit()


@dataclass(frozen=True, slots=True)
class Live(Step):
    """A while of ordinary life: passes, and nodes that boot in between."""

    passes: int = below(6)
    span: int = below(6)

    def apply(self, world: SimulatedWorld) -> None:
        for _ in range(self.passes + 1):
            world.reconcile()
            world.clock.advance(SPANS_S[self.span])
            world.boot()


@dataclass(frozen=True, slots=True)
class Hours(Step):
    """Time in which what is about to end, to sleep or to wake does so."""

    quarters: int = below(12)

    def apply(self, world: SimulatedWorld) -> None:
        for _ in range(self.quarters + 1):
            world.clock.advance(QUARTER_S)
            world.boot()
            world.reconcile()


@dataclass(frozen=True, slots=True)
class Boot(Step):
    def apply(self, world: SimulatedWorld) -> None:
        world.boot()


@dataclass(frozen=True, slots=True)
class FailFirstRun(Step):
    """One node registers, and its first Chef run fails."""

    node: int = below(8)

    def apply(self, world: SimulatedWorld) -> None:
        young = [
            one
            for one in world.living()
            if one.state is InstanceState.RUNNING and world.ledger.machines[one.instance_id].ready_at is None
        ]
        chosen = choose(young, self.node)
        if chosen is not None:
            world.boot_one(chosen, ok=False)


@dataclass(frozen=True, slots=True)
class FailNewcomers(Step):
    """The next ones fail as they boot, whenever they come; somebody may want to look at them."""

    number: int = below(6)
    are_kept: int = below(2)

    def apply(self, world: SimulatedWorld) -> None:
        world.unlucky, world.are_unlucky_kept = self.number, bool(self.are_kept)


@dataclass(frozen=True, slots=True)
class NeverBoot(Step):
    """One young machine hangs for good."""

    node: int = below(8)

    def apply(self, world: SimulatedWorld) -> None:
        young = [one for one in world.ledger.machines.values() if one.ready_at is None and one.ended_at is None]
        chosen = choose(young, self.node)
        if chosen is not None:
            chosen.never_boots = True


@dataclass(frozen=True, slots=True)
class RunChef(Step):
    def apply(self, world: SimulatedWorld) -> None:
        world.run_chef()


@dataclass(frozen=True, slots=True)
class CrashSoon(Step):
    """The process dies at one of its next calls, before or after the call has done its work."""

    calls: int = below(40)
    after: int = below(2)

    def apply(self, world: SimulatedWorld) -> None:
        world.exchange.crash_in(self.calls, after=bool(self.after))


@dataclass(frozen=True, slots=True)
class Restart(Step):
    def apply(self, world: SimulatedWorld) -> None:
        world.restart()


@dataclass(frozen=True, slots=True)
class LoseJournal(Step):
    def apply(self, world: SimulatedWorld) -> None:
        world.lose_journal()


@dataclass(frozen=True, slots=True)
class SecondDaemon(Step):
    """It makes a pass; it owns nothing, unless somebody takes the fleet over for it."""

    def apply(self, world: SimulatedWorld) -> None:
        world.reconcile_other()
