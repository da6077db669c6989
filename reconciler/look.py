"""What one pass finds out and decides, as values, and the small questions that are asked of them."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from reconciler.errors import HivequeenError, Transient
from reconciler.model.desired import Desired
from reconciler.model.facts import Fact
from reconciler.model.memory import Memory
from reconciler.model.names import EnvironmentName, RevisionId
from reconciler.model.observed import Observed
from reconciler.model.passes import Failure, Outcome, Result, Scope
from reconciler.model.plan import Blocked, Plan
from reconciler.plan import is_under_way
from reconciler.ports import Claim
from reconciler.source.history import Told


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    own: Claim  # as it should be
    standing: Claim | None  # as it is; None: nobody's


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Everything that acting needs."""

    desired: Desired
    observed: Observed
    memory: Memory
    claims: Claims
    not_owner: Blocked | None
    plan: Plan  # after the guards


@dataclass(slots=True, kw_only=True)
class Look:
    """What a pass finds out before anything acts. Made by reading only, so that a preview is the same."""

    scope: Scope
    at: datetime
    memory: Memory
    failures: list[Failure] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    holds: list[Blocked] = field(default_factory=list)
    told: Told = field(default_factory=Told)
    committed_at: datetime | None = None
    decision: Decision | None = None  # None: some stage failed, and nothing may be done


class StageFailed(Exception):
    """Ends the pass: a stage could not conclude anything, and neither can those after it."""

    def __init__(self, stage: str, error: HivequeenError) -> None:
        super().__init__(error.message)
        self.failure = failure_of(stage, error)


def refreshed(look: Look, decision: Decision, outcomes: tuple[Outcome, ...]) -> set[EnvironmentName]:
    """Environments of the pass whose new image pins were written, or needed no writing."""
    done = set(decision.desired.names if look.scope.environments is None else look.scope.environments)
    done -= {
        outcome.action.environment for outcome in outcomes if outcome.result not in (Result.DONE, Result.UNCHANGED)
    }
    done -= {one.name for one in decision.plan.environments if one.blocked or one.is_frozen}
    done -= {name for name, _ in decision.observed.unresolved}
    done -= set(decision.observed.unreadable)
    return done - {name for name, backoff in decision.memory.backoffs.items() if backoff.until > look.at}


def without_future(memory: Memory, at: datetime) -> Memory:
    """What a clock that ran ahead wrote would hold deadlines up until that day."""
    return replace(
        memory,
        looked_at=memory.looked_at if memory.looked_at is None or memory.looked_at <= at else None,
        sighted_again_at=memory.sighted_again_at
        if memory.sighted_again_at is None or memory.sighted_again_at <= at
        else None,
        blindnesses=tuple(one for one in memory.blindnesses if one.ended_at <= at),
    )


def held_only(look: Look) -> Plan | None:
    """Without a revision to desire there is nothing to plan, but what holds it must be seen and can be approved."""
    return Plan(revision=RevisionId(""), environments=(), blocked=tuple(look.holds)) if look.holds else None


def awaited(decision: Decision | None, outcomes: tuple[Outcome, ...]) -> frozenset[EnvironmentName]:
    """Environments that are worth a look soon."""
    names = {outcome.action.environment for outcome in outcomes}
    if decision is not None:
        names |= {one.name for one in decision.plan.environments if is_under_way(one)}
    return frozenset(names)


def due(decision: Decision | None) -> Mapping[EnvironmentName, datetime]:
    """When something of an environment comes due. Each has its own moment, or a fleet that is busy would look at them
    all every few seconds; and those that full passes alone decide would make every such look a full one."""
    if decision is None:
        return {}
    at = decision.observed.at
    return {one.name: one.due_at for one in decision.plan.environments if one.due_at is not None and one.due_at > at}


def is_undecided(undeclared: Collection[EnvironmentName], memory: Memory) -> bool:
    """Whether one of them is still to be torn down or swept, which full passes alone decide."""
    known = (memory.environments.get(name) for name in undeclared)
    return any(one is None or one.teardown_began_at is None for one in known)


@contextmanager
def stage(name: str) -> Iterator[None]:
    try:
        yield
    except HivequeenError as error:
        raise StageFailed(name, error) from error


def failure_of(stage: str, error: HivequeenError) -> Failure:
    needs_person = not isinstance(error, Transient)
    return Failure(stage=stage, message=error.message, remedy=error.remedy, needs_person=needs_person)


def changed(before: Desired, now: Desired) -> frozenset[EnvironmentName]:
    """Names whose declaration differs between the two, either way."""
    return frozenset(
        name
        for name in before.names | now.names
        if before.environments.get(name) != now.environments.get(name)
        or before.frozen.get(name) != now.frozen.get(name)
    )
