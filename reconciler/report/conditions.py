"""Conditions: what one pass comes to, for each environment and for the installation. Pure.

Every type that applies is always there, true or false, so that a script need not tell "false" from "not said".
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from reconciler.model.conditions import Condition, ConditionType
from reconciler.model.desired import Environment
from reconciler.model.memory import Backoff, Suspension, suspension_of
from reconciler.model.names import EnvironmentName, RevisionId
from reconciler.model.observed import ObservedEnvironment, Phase
from reconciler.model.passes import Failure, Outcome, Pass
from reconciler.model.plan import EnvironmentPlan, Guard
from reconciler.model.schedule import is_asleep, next_change
from reconciler.report import said
from reconciler.report.leaving import Leaving, leaving
from reconciler.report.reasons import CALM, FAILED, OF_INSTALLATION, REASONS
from reconciler.report.said import Said


def of_pass(made: Pass, before: Iterable[Condition] = ()) -> Mapping[EnvironmentName | None, tuple[Condition, ...]]:
    """The conditions of everything that the pass looked at, ready for `Journal.set_conditions`, one call per key.

    An environment that is gone has none. One outside the pass's scope has no key: what was said of it still holds.

    Args:
        before: what `Journal.conditions` said until now; needed for what a failed pass could not find out.
    """
    known = tuple(before)
    conditions: dict[EnvironmentName | None, tuple[Condition, ...]] = {None: installation_conditions(made, known)}
    if made.plan is None:
        return conditions
    for plan in made.plan.environments:
        conditions[plan.name] = _of_environment(
            made, plan, {condition.type: condition for condition in known if condition.environment == plan.name}
        )
    if made.scope.is_full:
        gone = {condition.environment for condition in known} - set(conditions)
        conditions.update((name, ()) for name in gone)
    return conditions


def dated(after: Iterable[Condition], before: Iterable[Condition], at: datetime) -> tuple[Condition, ...]:
    """With `since`, as the journal keeps it: of those whose truth and reason are as before it stays."""
    old = {(one.environment, one.type): one for one in before}

    def since(new: Condition) -> datetime:
        known = old.get((new.environment, new.type))
        is_same = known is not None and (known.is_true, known.reason) == (new.is_true, new.reason)
        return (known.since if known is not None and is_same else None) or at

    return tuple(replace(one, since=since(one)) for one in after)


def _of_environment(
    made: Pass, plan: EnvironmentPlan, before: Mapping[ConditionType, Condition]
) -> tuple[Condition, ...]:
    observed = made.observed.environments.get(plan.name) if made.observed else None
    declared = made.desired.environments.get(plan.name) if made.desired else None
    known = made.memory.environments.get(plan.name) if made.memory else None
    is_gone = not plan.is_declared and plan.is_converged and (observed is None or observed.is_empty)
    if is_gone and declared is None:
        return ()
    return summarise(
        plan,
        declared=declared,
        observed=observed,
        going=leaving(plan, declared=declared, observed=observed, known=known, at=made.started_at),
        asleep_until=_asleep_until(declared, made.started_at),
        outcomes=[outcome for outcome in made.outcomes if outcome.action.environment == plan.name],
        failures=[failure for failure in made.failures if failure.environment == plan.name],
        suspension=suspension_of(plan.name, made.memory.suspensions if made.memory else (), made.started_at),
        backoff=_backoff(made, plan.name),
        before=before,
        revision=made.revision,
    )


def _asleep_until(declared: Environment | None, now: datetime) -> datetime | None:
    """None: it is awake."""
    schedule = declared.lifetime.schedule if declared is not None else None
    return next_change(schedule, now) if schedule is not None and is_asleep(schedule, now) else None


def _backoff(made: Pass, name: EnvironmentName) -> Backoff | None:
    """The one in force; else its actions are tried again in this pass."""
    backoff = made.memory.backoffs.get(name) if made.memory else None
    return backoff if backoff is not None and backoff.until > made.started_at else None


def summarise(
    plan: EnvironmentPlan,
    *,
    declared: Environment | None,
    observed: ObservedEnvironment | None,
    going: Leaving | None,
    asleep_until: datetime | None,
    outcomes: Sequence[Outcome],
    failures: Sequence[Failure],
    suspension: Suspension | None,
    backoff: Backoff | None,
    before: Mapping[ConditionType, Condition],
    revision: RevisionId | None,
) -> tuple[Condition, ...]:
    """All conditions of one environment.

    Args:
        plan: after the guards.
        declared: None where the file is gone or frozen.
        going: None where it stays, or nobody ever declared it.
        asleep_until: when its schedule wakes it; None: it is awake.
        suspension: the one in force, its own or that of everything.
        backoff: the one in force. Nothing is tried then, so what was said of the failure `before` still holds.
    """
    nodes = observed.nodes if observed else ()
    stalled = said.stalled(plan, outcomes, failures)
    held = said.held(plan.blocked)
    suspended = said.suspended(plan, declared, suspension)
    degraded = said.degraded(outcomes, failures)
    if backoff is not None:
        stalled = stalled or said.still(before, ConditionType.STALLED, {"ActionRefused", *FAILED.values()})
        degraded = degraded or said.still(before, ConditionType.DEGRADED, REASONS[ConditionType.DEGRADED])
        degraded = degraded or (None if stalled else Said("ActionFailed", backoff.message))
    if plan.is_declared:
        ready = said.ready(
            plan,
            declared,
            observed,
            asleep_until=asleep_until,
            stalled=stalled,
            held=held,
            suspended=suspended,
            degraded=degraded,
        )
    else:
        ready = going.ready() if going is not None else said.swept(observed)
    saying = {
        ConditionType.READY: ready,
        ConditionType.RECONCILING: said.reconciling(plan),
        ConditionType.ENDING: going.ending() if going is not None else None,
        ConditionType.EXPIRED: going.expired() if going is not None else None,
        ConditionType.STALLED: stalled,
        ConditionType.HELD: held,
        ConditionType.SUSPENDED: suspended,
        ConditionType.QUARANTINED: said.quarantined(plan, nodes),
        ConditionType.STALE: said.of_nodes(
            "ChefSilent",
            [node.name for node in nodes if node.is_stale],
            "Chef ran there once, and was not heard of lately",
            "see why chef-client does not run there: `hivequeen why {first}`; no node is replaced for this",
        ),
        ConditionType.LOST: said.of_nodes(
            "TagMissing",
            [node.instance_id for node in nodes if node.phase is Phase.LOST],
            "out of sight or without the tag hivequeen:fleet, and the place is kept",
            "give {first} its tag back, or terminate it",
        ),
        ConditionType.DEGRADED: degraded,
    }
    return tuple(_condition(plan.name, kind, saying[kind], revision) for kind in saying)


def installation_conditions(made: Pass, before: Iterable[Condition] = ()) -> tuple[Condition, ...]:
    """What is true of everything at once. What a pass that failed could not find out stays as it was said `before`."""
    old = {condition.type: condition for condition in before if condition.environment is None}
    blocked = made.plan.blocked if made.plan else ()
    general = [failure for failure in made.failures if failure.environment is None]
    saying = {
        ConditionType.NOT_OWNER: said.by_guard(blocked, {Guard.NOT_OWNER: "ClaimedByAnother"}),
        ConditionType.SUSPENDED: said.everything_suspended(made, blocked),
        ConditionType.HELD: said.held(blocked),
        ConditionType.STALLED: said.failed([failure for failure in general if failure.needs_person]),
        ConditionType.DEGRADED: said.failed([failure for failure in general if not failure.needs_person]),
    }
    if not made.scope.is_full and all(one.revision == made.revision for one in old.values()):
        # Scoped passes do not fetch: they cannot know that the repository answers again, unless its news woke them.
        for kind in (ConditionType.STALLED, ConditionType.DEGRADED):
            saying[kind] = saying[kind] or said.still(old, kind, {FAILED["source"]})
    unknown = {ConditionType.NOT_OWNER, ConditionType.HELD} if made.plan is None else set[ConditionType]()
    if made.memory is None:
        unknown.add(ConditionType.SUSPENDED)
    return tuple(
        old[kind] if kind in unknown and kind in old else _condition(None, kind, saying[kind], made.revision)
        for kind in OF_INSTALLATION
    )


def _condition(
    environment: EnvironmentName | None, kind: ConditionType, what: Said | None, revision: RevisionId | None
) -> Condition:
    what = what or Said(CALM[kind], "", is_true=False)
    return Condition(
        environment=environment,
        type=kind,
        is_true=what.is_true,
        reason=what.reason,
        message=what.message,
        remedy=what.remedy,
        revision=revision,
    )
