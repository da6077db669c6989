"""What one pass finds out and decides, as values, and what follows from them once it has acted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from reconciler.errors import HivequeenError, Transient
from reconciler.model.desired import Desired
from reconciler.model.facts import Fact
from reconciler.model.memory import Memory
from reconciler.model.names import EnvironmentName, RevisionId
from reconciler.model.observed import Observed
from reconciler.model.passes import Failure, Outcome, Pass, Result, Scope
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
    stale: str | None  # why the newest revision is not what is desired; None: it is
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


def failure_of(stage: str, error: HivequeenError) -> Failure:
    needs_person = not isinstance(error, Transient)
    return Failure(stage=stage, message=error.message, remedy=error.remedy, needs_person=needs_person)


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


def pass_of(look: Look, outcomes: tuple[Outcome, ...], *, ended_at: datetime, progress: timedelta) -> Pass:
    """All of it as the report takes it.

    Args:
        progress: when to look again after a stage failed.
    """
    decision = look.decision
    return Pass(
        scope=look.scope,
        started_at=look.at,
        ended_at=ended_at,
        revision=decision.desired.revision if decision is not None else None,
        committed_at=look.committed_at,
        commit=look.told.commit,
        desired=decision.desired if decision is not None else None,
        observed=decision.observed if decision is not None else None,
        memory=decision.memory if decision is not None else look.memory,
        plan=decision.plan if decision is not None else _held_only(look),
        facts=tuple(look.facts),
        outcomes=outcomes,
        failures=tuple(look.failures),
        requeue_after_s=_requeue_after_s(decision, outcomes) if decision is not None else progress.total_seconds(),
        awaited=_awaited(decision, outcomes),
        due=_due(decision) if decision is not None else {},
    )


def _held_only(look: Look) -> Plan | None:
    """Without a revision to desire there is nothing to plan, but what holds it must be seen and can be approved."""
    return Plan(revision=RevisionId(""), environments=(), blocked=tuple(look.holds)) if look.holds else None


def _awaited(decision: Decision | None, outcomes: tuple[Outcome, ...]) -> frozenset[EnvironmentName]:
    """Environments that are worth a look soon."""
    names = {outcome.action.environment for outcome in outcomes}
    if decision is not None:
        names |= {one.name for one in decision.plan.environments if is_under_way(one)}
    return frozenset(names)


def _due(decision: Decision) -> Mapping[EnvironmentName, datetime]:
    """When something of an environment comes due. Each has its own moment, or a fleet that is busy would look at them
    all every few seconds; and those that full passes alone decide would make every such look a full one."""
    at = decision.observed.at
    return {one.name: one.due_at for one in decision.plan.environments if one.due_at is not None and one.due_at > at}


def _requeue_after_s(decision: Decision, outcomes: tuple[Outcome, ...]) -> float | None:
    """When to look again: soon at what is under way; at once where another offering may have capacity."""
    if any(outcome.result == Result.REFUSED and not outcome.needs_person for outcome in outcomes):
        return 0.0
    return decision.plan.requeue_after_s
