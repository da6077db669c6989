"""Conditions: what one pass comes to, for each environment and for the installation. Pure.

Every type that applies is always there, true or false, so that a script need not tell "false" from "not said".
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from reconciler.model.conditions import Condition, ConditionType
from reconciler.model.desired import Environment
from reconciler.model.memory import Backoff, Suspension, suspension_of
from reconciler.model.names import EnvironmentName, RevisionId, RoleName
from reconciler.model.observed import ObservedEnvironment, Phase
from reconciler.model.passes import Failure, Outcome, Pass, Result
from reconciler.model.plan import Blocked, EnvironmentPlan, Guard
from reconciler.report.sentences import listed, nodes_of, not_done, would_do

# The reason of a condition that is not true, where there is nothing more to say.
CALM: Final[Mapping[ConditionType, str]] = MappingProxyType(
    {
        ConditionType.RECONCILING: "Idle",
        ConditionType.STALLED: "NothingStuck",
        ConditionType.HELD: "NothingHeld",
        ConditionType.SUSPENDED: "NotSuspended",
        ConditionType.STALE: "ChefHeard",
        ConditionType.LOST: "AllTagged",
        ConditionType.NOT_OWNER: "ClaimIsOurs",
        ConditionType.DEGRADED: "Healthy",
    }
)

ACCESS_DENIED: Final = "AccessDenied"  # the reason of Stalled that `/readyz` looks for

# Guards whose hold a person lifts. The others are conditions of their own.
HOLDING: Final[Mapping[Guard, str]] = MappingProxyType(
    {
        Guard.TAKE_OVER: "TakenOver",
        Guard.HISTORY: "HistoryRewritten",
        Guard.EMPTY_REVISION: "EmptyRevision",
        Guard.PROTECTED: "Protected",
        Guard.PRUNE_NODES: "TooManyNodes",
        Guard.PRUNE_ENVIRONMENTS: "TooManyEnvironments",
    }
)

# Guards that make the whole installation write nothing, and so suspend each environment.
READ_ONLY: Final[Mapping[Guard, str]] = MappingProxyType(
    {Guard.OBSERVE_MODE: "ObserveMode", Guard.NOT_OWNER: "NotOwner"}
)

# By the stage of the pass that failed.
FAILED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "source": "SourceFailed",
        "observe": "ObserveFailed",
        "claim": "ClaimFailed",
        "converge": "ConvergeFailed",
    }
)

REASONS: Final[Mapping[ConditionType, frozenset[str]]] = MappingProxyType(
    {
        ConditionType.READY: frozenset(
            {"AllReady", "TearingDown", "Stalled", "ReadOnly", "Suspended", "Held", "Degraded", "Converging", "Unknown"}
        ),
        ConditionType.RECONCILING: frozenset({"Acting", "Waiting", "TearingDown", "Idle"}),
        # The first ones are the planner's stalls.
        ConditionType.STALLED: frozenset(
            {
                "BadFile",
                "ChefEnvironmentMissing",
                "ForeignChefEnvironment",
                "ForeignChefRole",
                "ImageUnresolved",
                "Unreadable",
                "NodeLost",
                "RoleHalted",
                "BreakerOpen",
                "ActionRefused",
                ACCESS_DENIED,
                "NothingStuck",
                *FAILED.values(),
            }
        ),
        ConditionType.HELD: frozenset({*HOLDING.values(), "NothingHeld"}),
        # The last two of an environment that nothing can be done for: the mode, or somebody else's claim.
        ConditionType.SUSPENDED: frozenset(
            {"ByPerson", "EverythingByPerson", "ByFile", "NotSuspended", *READ_ONLY.values()}
        ),
        ConditionType.STALE: frozenset({"ChefSilent", "ChefHeard"}),
        ConditionType.LOST: frozenset({"TagMissing", "AllTagged"}),
        ConditionType.NOT_OWNER: frozenset({"ClaimedByAnother", "ClaimIsOurs"}),
        ConditionType.DEGRADED: frozenset({*FAILED.values(), "ActionFailed", "OutcomeUnknown", "Healthy"}),
    }
)

OF_INSTALLATION: Final = (
    ConditionType.NOT_OWNER,
    ConditionType.SUSPENDED,
    ConditionType.HELD,
    ConditionType.STALLED,
    ConditionType.DEGRADED,
)


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


def _of_environment(
    made: Pass, plan: EnvironmentPlan, before: Mapping[ConditionType, Condition]
) -> tuple[Condition, ...]:
    observed = made.observed.environments.get(plan.name) if made.observed else None
    if not plan.is_declared and plan.is_converged and (observed is None or observed.is_empty):
        return ()
    return summarise(
        plan,
        declared=made.desired.environments.get(plan.name) if made.desired else None,
        observed=observed,
        outcomes=[outcome for outcome in made.outcomes if outcome.action.environment == plan.name],
        failures=[failure for failure in made.failures if failure.environment == plan.name],
        suspension=suspension_of(plan.name, made.memory.suspensions if made.memory else (), made.started_at),
        backoff=_backoff(made, plan.name),
        before=before,
        revision=made.revision,
    )


def _backoff(made: Pass, name: EnvironmentName) -> Backoff | None:
    """The one in force; else its actions are tried again in this pass."""
    backoff = made.memory.backoffs.get(name) if made.memory else None
    return backoff if backoff is not None and backoff.until > made.started_at else None


def summarise(
    plan: EnvironmentPlan,
    *,
    declared: Environment | None,
    observed: ObservedEnvironment | None,
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
        suspension: the one in force, its own or that of everything.
        backoff: the one in force. Nothing is tried then, so what was said of the failure `before` still holds.
    """
    nodes = observed.nodes if observed else ()
    stalled = _stalled(plan, outcomes, failures)
    held = _held(plan.blocked)
    suspended = _suspended(plan, declared, suspension)
    degraded = _degraded(outcomes, failures)
    if backoff is not None:
        stalled = stalled or _still(before, ConditionType.STALLED, {"ActionRefused", *FAILED.values()})
        degraded = degraded or _still(before, ConditionType.DEGRADED, REASONS[ConditionType.DEGRADED])
        degraded = degraded or (None if stalled else _Said("ActionFailed", backoff.message))
    saying = {
        ConditionType.READY: _ready(
            plan, declared, observed, stalled=stalled, held=held, suspended=suspended, degraded=degraded
        ),
        ConditionType.RECONCILING: _reconciling(plan),
        ConditionType.STALLED: stalled,
        ConditionType.HELD: held,
        ConditionType.SUSPENDED: suspended,
        ConditionType.STALE: _said_of_nodes(
            "ChefSilent",
            [node.name for node in nodes if node.is_stale],
            "ran Chef once, but Chef has not heard of it lately",
            "see why chef-client does not run there: `hivequeen show {first}`; it is never replaced for this",
        ),
        ConditionType.LOST: _said_of_nodes(
            "TagMissing",
            [node.instance_id for node in nodes if node.phase is Phase.LOST],
            "is out of sight or without the tag hivequeen:fleet; its place is kept",
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
        ConditionType.NOT_OWNER: _by_guard(blocked, {Guard.NOT_OWNER: "ClaimedByAnother"}),
        ConditionType.SUSPENDED: _everything_suspended(made, blocked),
        ConditionType.HELD: _held(blocked),
        ConditionType.STALLED: _failed([failure for failure in general if failure.needs_person]),
        ConditionType.DEGRADED: _failed([failure for failure in general if not failure.needs_person]),
    }
    if not made.scope.is_full and all(one.revision == made.revision for one in old.values()):
        # Scoped passes do not fetch: they cannot know that the repository answers again, unless its news woke them.
        for kind in (ConditionType.STALLED, ConditionType.DEGRADED):
            saying[kind] = saying[kind] or _still(old, kind, {FAILED["source"]})
    unknown = {ConditionType.NOT_OWNER, ConditionType.HELD} if made.plan is None else set[ConditionType]()
    if made.memory is None:
        unknown.add(ConditionType.SUSPENDED)
    return tuple(
        old[kind] if kind in unknown and kind in old else _condition(None, kind, saying[kind], made.revision)
        for kind in OF_INSTALLATION
    )


# --- one type after the other ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Said:
    """A condition that is true, before it knows whose it is. (Of Ready: also one that is false.)"""

    reason: str
    message: str
    remedy: str = ""
    is_true: bool = True


def _condition(
    environment: EnvironmentName | None, kind: ConditionType, said: _Said | None, revision: RevisionId | None
) -> Condition:
    said = said or _Said(CALM[kind], "", is_true=False)
    return Condition(
        environment=environment,
        type=kind,
        is_true=said.is_true,
        reason=said.reason,
        message=said.message,
        remedy=said.remedy,
        revision=revision,
    )


def _ready(
    plan: EnvironmentPlan,
    declared: Environment | None,
    observed: ObservedEnvironment | None,
    *,
    stalled: _Said | None,
    held: _Said | None,
    suspended: _Said | None,
    degraded: _Said | None,
) -> _Said:
    """True only if everything declared is ready and nothing is left to do; else the most pressing cause."""
    nodes = observed.nodes if observed else ()
    if not plan.is_declared:
        left = nodes_of(len(nodes)) if nodes else "its Chef objects"
        return _Said("TearingDown", f"not declared any more; {left} left", is_true=False)
    roles = declared.roles if declared else {}
    phases = {role: Counter(node.phase for node in nodes if node.role == role) for role in roles}
    is_complete = all(phases[name][Phase.READY] >= role.count for name, role in roles.items())
    message = _readiness({name: role.count for name, role in roles.items()}, phases)
    if plan.is_converged and declared is not None and is_complete and not (stalled or degraded):
        return _Said("AllReady", message)
    is_read_only = any(blocked.guard in READ_ONLY for blocked in plan.blocked)
    is_kept_back = any(blocked.guard is Guard.SUSPENDED for blocked in plan.blocked)
    reasons = (
        ("Stalled", stalled is not None),
        ("ReadOnly", is_read_only),
        ("Suspended", is_kept_back and suspended is not None),
        ("Held", held is not None),
        ("Degraded", degraded is not None),
    )
    reason = next((name for name, applies in reasons if applies), "Converging")
    if declared is None:
        message = f"{nodes_of(len(nodes))} left as they are" if plan.is_frozen else "what it declares is not known"
    return _Said(reason, message, is_true=False)


def _readiness(counts: Mapping[RoleName, int], phases: Mapping[RoleName, Counter[Phase]]) -> str:
    """`web 1 of 2 ready, 1 registered; worker 1 of 1 ready`."""
    if not counts:
        return "it declares no roles"
    return "; ".join(
        ", ".join(
            [
                f"{role} {phases[role][Phase.READY]} of {counts[role]} ready",
                *(
                    f"{phases[role][phase]} {phase.value}"
                    for phase in Phase
                    if phase is not Phase.READY and phases[role][phase]
                ),
            ]
        )
        for role in sorted(counts)
    )


def _reconciling(plan: EnvironmentPlan) -> _Said | None:
    if not plan.actions and not plan.waiting:
        return None
    parts = [*would_do(plan.actions), *(waiting.message for waiting in plan.waiting)]
    reason = "TearingDown" if not plan.is_declared else "Acting" if plan.actions else "Waiting"
    return _Said(reason, listed(parts))


def _stalled(plan: EnvironmentPlan, outcomes: Sequence[Outcome], failures: Sequence[Failure]) -> _Said | None:
    if plan.stalls:
        first, *others = plan.stalls
        more = f" (and {len(others)} more)" if others else ""
        return _Said(first.reason, first.message + more, first.remedy)
    return (
        _not_done(ACCESS_DENIED, [outcome for outcome in outcomes if outcome.is_denied])
        or _not_done("ActionRefused", [outcome for outcome in outcomes if outcome.needs_person])
        or _failed([failure for failure in failures if failure.needs_person])
    )


def _held(blocked: Sequence[Blocked]) -> _Said | None:
    return _by_guard(blocked, HOLDING)


def _by_guard(blocked: Sequence[Blocked], reasons: Mapping[Guard, str]) -> _Said | None:
    holding = [one for one in blocked if one.guard in reasons]
    if not holding:
        return None
    message = listed([one.message for one in holding])
    return _Said(reasons[holding[0].guard], message, listed(dict.fromkeys(one.remedy for one in holding)))


def _suspended(plan: EnvironmentPlan, declared: Environment | None, suspension: Suspension | None) -> _Said | None:
    if suspension is not None:
        return _by_person(suspension)
    if declared is not None and declared.suspend:
        origin = declared.origins.get("suspend", declared.origin)
        return _Said("ByFile", f"{origin} says suspend: true", "remove it and commit")
    return _by_guard(plan.blocked, {**READ_ONLY, Guard.SUSPENDED: "ByPerson"})


def _by_person(suspension: Suspension) -> _Said:
    reason = "EverythingByPerson" if suspension.environment is None else "ByPerson"
    return _Said(reason, str(suspension), suspension.remedy)


def _everything_suspended(made: Pass, blocked: Sequence[Blocked]) -> _Said | None:
    for suspension in made.memory.suspensions if made.memory else ():
        if suspension.environment is None and suspension.is_in_force(made.started_at):
            return _by_person(suspension)
    return _by_guard(blocked, {Guard.OBSERVE_MODE: READ_ONLY[Guard.OBSERVE_MODE]})


def _degraded(outcomes: Sequence[Outcome], failures: Sequence[Failure]) -> _Said | None:
    """What fails and is tried again by itself. What needs a person is tried again as well, but that is Stalled alone."""
    own = [outcome for outcome in outcomes if not (outcome.needs_person or outcome.is_denied)]
    return (
        _failed([failure for failure in failures if not failure.needs_person])
        or _not_done("ActionFailed", [outcome for outcome in own if outcome.result is Result.REFUSED])
        or _not_done("OutcomeUnknown", [outcome for outcome in own if outcome.result is Result.UNKNOWN])
    )


def _not_done(reason: str, outcomes: Sequence[Outcome]) -> _Said | None:
    return _first(reason, [(f"{not_done(outcome)}: {outcome.message}", outcome.remedy) for outcome in outcomes])


def _failed(failures: Sequence[Failure]) -> _Said | None:
    if not failures:
        return None
    return _first(
        FAILED.get(failures[0].stage, f"{failures[0].stage.capitalize()}Failed"),
        [(f"{failure.stage}: {failure.message}", failure.remedy) for failure in failures],
    )


def _still(before: Mapping[ConditionType, Condition], kind: ConditionType, reasons: Collection[str]) -> _Said | None:
    said = before.get(kind)
    if said is None or not said.is_true or said.reason not in reasons:
        return None
    return _Said(said.reason, said.message, said.remedy)


def _first(reason: str, troubles: Sequence[tuple[str, str]]) -> _Said | None:
    if not troubles:
        return None
    message = listed(dict.fromkeys(message for message, _ in troubles))
    return _Said(reason, message, next((remedy for _, remedy in troubles if remedy), ""))


def _said_of_nodes(reason: str, names: Sequence[str], trouble: str, remedy: str) -> _Said | None:
    if not names:
        return None
    return _Said(reason, "; ".join(f"{name} {trouble}" for name in names), remedy.format(first=names[0]))
