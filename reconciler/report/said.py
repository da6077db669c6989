"""What can be said of one environment, or of the installation: a function for each type of condition. Pure."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from reconciler.model.conditions import Condition, ConditionType
from reconciler.model.desired import Environment
from reconciler.model.memory import Suspension
from reconciler.model.names import RoleName
from reconciler.model.observed import Node, ObservedEnvironment, Phase
from reconciler.model.passes import Failure, Outcome, Pass, Result
from reconciler.model.plan import Blocked, EnvironmentPlan, Guard
from reconciler.report.reasons import ACCESS_DENIED, FAILED, HOLDING, READ_ONLY
from reconciler.report.sentences import LISTED_MAX, day, held_because, listed, nodes_of, not_done, would_do


@dataclass(frozen=True, slots=True)
class Said:
    """A condition that is true, before it knows whose it is. (Of Ready: also one that is false.)"""

    reason: str
    message: str
    remedy: str = ""
    is_true: bool = True


def ready(
    plan: EnvironmentPlan,
    declared: Environment | None,
    observed: ObservedEnvironment | None,
    *,
    asleep_until: datetime | None,
    stalled: Said | None,
    held: Said | None,
    suspended: Said | None,
    degraded: Said | None,
) -> Said:
    """Of what is declared: true only if all of it is ready and nothing is left to do; else the most pressing cause."""
    nodes = observed.nodes if observed else ()
    roles = declared.roles if declared else {}
    phases = {role: Counter(node.phase for node in nodes if node.role == role) for role in roles}
    is_complete = all(phases[name][Phase.READY] >= role.count for name, role in roles.items())
    message = _readiness({name: role.count for name, role in roles.items()}, phases)
    if plan.is_converged and declared is not None and is_complete and not (stalled or degraded):
        return Said("AllReady", message)
    is_read_only = any(blocked.guard in READ_ONLY for blocked in plan.blocked)
    is_kept_back = any(blocked.guard is Guard.SUSPENDED for blocked in plan.blocked)
    reasons = (
        ("Stalled", stalled is not None),
        ("ReadOnly", is_read_only),
        ("Suspended", is_kept_back and suspended is not None),
        ("Held", held is not None),
        ("Degraded", degraded is not None),
        ("Asleep", asleep_until is not None),
    )
    reason = next((name for name, applies in reasons if applies), "Converging")
    if reason == "Asleep" and asleep_until is not None:
        message += f"; asleep until {day(asleep_until)}"
    if declared is None:
        message = f"{nodes_of(len(nodes))} left as they are" if plan.is_frozen else "what it declares is not known"
    return Said(reason, message, is_true=False)


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


def swept(observed: ObservedEnvironment | None) -> Said:
    """Why what nobody ever declared is not ready."""
    left = nodes_of(len(observed.nodes)) if observed is not None and observed.nodes else "its Chef objects"
    return Said("TearingDown", f"not declared any more; {left} left", is_true=False)


def reconciling(plan: EnvironmentPlan) -> Said | None:
    if not plan.is_busy:  # what only a moment ends is told otherwise: Ending, Quarantined
        return None
    parts = [*would_do(plan.actions), *(waiting.message for waiting in plan.waiting)]
    reason = "TearingDown" if not plan.is_declared else "Acting" if plan.actions else "Waiting"
    return Said(reason, listed(parts))


def quarantined(plan: EnvironmentPlan, nodes: Sequence[Node]) -> Said | None:
    """Failed nodes that nothing is about to be done to."""
    touched = {getattr(action, "node", "") for action in plan.actions}
    touched |= {getattr(action, "node", "") for blocked in plan.blocked for action in blocked.actions}
    kept = [node for node in nodes if node.phase is Phase.FAILED and node.name not in touched]
    if not kept or not plan.is_declared:
        return None
    told = [
        next(
            (waiting.message for waiting in plan.waiting if node.instance_id in waiting.message),
            f"{node.role}: {node.instance_id} failed ({node.why_failed}); kept to be looked at",
        )
        for node in kept
    ]
    remedy = f"look at it: hivequeen why {kept[0].name}; whoever terminates it in EC2 ends this sooner"
    return Said("FailedNodeKept", listed(told), remedy)


def stalled(plan: EnvironmentPlan, outcomes: Sequence[Outcome], failures: Sequence[Failure]) -> Said | None:
    if plan.stalls:
        first, *others = plan.stalls
        more = f" (and {len(others)} more)" if others else ""
        return Said(first.reason, first.message + more, first.remedy)
    return (
        _not_done(ACCESS_DENIED, [outcome for outcome in outcomes if outcome.is_denied])
        or _not_done("ActionRefused", [outcome for outcome in outcomes if outcome.needs_person])
        or failed([failure for failure in failures if failure.needs_person])
    )


def held(blocked: Sequence[Blocked]) -> Said | None:
    return by_guard(blocked, HOLDING)


def by_guard(blocked: Sequence[Blocked], reasons: Mapping[Guard, str]) -> Said | None:
    holding = [one for one in blocked if one.guard in reasons]
    if not holding:
        return None
    message = listed([held_because(one) for one in holding])
    return Said(reasons[holding[0].guard], message, listed(dict.fromkeys(one.remedy for one in holding)))


def suspended(plan: EnvironmentPlan, declared: Environment | None, suspension: Suspension | None) -> Said | None:
    if suspension is not None:
        return _by_person(suspension)
    if declared is not None and declared.suspend:
        origin = declared.origins.get("suspend", declared.origin)
        return Said("ByFile", f"{origin} says suspend: true", "remove it and commit")
    return by_guard(plan.blocked, {**READ_ONLY, Guard.SUSPENDED: "ByPerson"})


def _by_person(suspension: Suspension) -> Said:
    reason = "EverythingByPerson" if suspension.environment is None else "ByPerson"
    return Said(reason, str(suspension), suspension.remedy)


def everything_suspended(made: Pass, blocked: Sequence[Blocked]) -> Said | None:
    for suspension in made.memory.suspensions if made.memory else ():
        if suspension.environment is None and suspension.is_in_force(made.started_at):
            return _by_person(suspension)
    return by_guard(blocked, {Guard.OBSERVE_MODE: READ_ONLY[Guard.OBSERVE_MODE]})


def degraded(outcomes: Sequence[Outcome], failures: Sequence[Failure]) -> Said | None:
    """What fails and is tried again by itself. What needs a person is tried again as well, but that is Stalled alone."""
    own = [outcome for outcome in outcomes if not (outcome.needs_person or outcome.is_denied)]
    return (
        failed([failure for failure in failures if not failure.needs_person])
        or _not_done("ActionFailed", [outcome for outcome in own if outcome.result is Result.REFUSED])
        or _not_done("OutcomeUnknown", [outcome for outcome in own if outcome.result is Result.UNKNOWN])
    )


def _not_done(reason: str, outcomes: Sequence[Outcome]) -> Said | None:
    return _first(reason, [(f"{not_done(outcome)}: {outcome.message}", outcome.remedy) for outcome in outcomes])


def failed(failures: Sequence[Failure]) -> Said | None:
    if not failures:
        return None
    return _first(
        FAILED.get(failures[0].stage, f"{failures[0].stage.capitalize()}Failed"),
        [(f"{failure.stage}: {failure.message}", failure.remedy) for failure in failures],
    )


def still(before: Mapping[ConditionType, Condition], kind: ConditionType, reasons: Collection[str]) -> Said | None:
    said = before.get(kind)
    if said is None or not said.is_true or said.reason not in reasons:
        return None
    return Said(said.reason, said.message, said.remedy)


def _first(reason: str, troubles: Sequence[tuple[str, str]]) -> Said | None:
    if not troubles:
        return None
    message = listed(dict.fromkeys(message for message, _ in troubles))
    return Said(reason, message, next((remedy for _, remedy in troubles if remedy), ""))


def of_nodes(reason: str, names: Sequence[str], trouble: str, remedy: str) -> Said | None:
    if not names:
        return None
    more = f" and {len(names) - LISTED_MAX} more" if len(names) > LISTED_MAX else ""
    return Said(reason, f"{', '.join(names[:LISTED_MAX])}{more}: {trouble}", remedy.format(first=names[0]))
