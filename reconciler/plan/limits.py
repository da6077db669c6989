"""Prune limits: how much may go in any rolling hour before a person is asked, of an environment and of the fleet."""

from collections.abc import Iterable, Mapping

from reconciler.model.actions import ReplaceNode, TerminateNode
from reconciler.model.memory import Cause, EndingCause, Removal
from reconciler.model.names import EnvironmentName
from reconciler.model.observed import Phase
from reconciler.model.plan import Blocked, EnvironmentPlan, Guard, Plan
from reconciler.model.rules import PRUNE_WINDOW
from reconciler.plan.context import Context
from reconciler.plan.holds import asked_by, digest, hold, is_approved, with_what_follows
from reconciler.plan.protection import is_protected
from reconciler.plan.stops import backoff, suspended


def prune_nodes(plan: EnvironmentPlan, context: Context) -> Iterable[Blocked]:
    """Terminations that no commit asked for, in any rolling hour."""
    planned = [a for a in plan.actions if isinstance(a, TerminateNode | ReplaceNode) and a.cause.is_counted]
    if not planned:
        return
    nodes = [node for node in context.environment(plan.name).nodes if node.phase != Phase.TERMINATING]
    limit = _limit(context.rules.nodes_least, context.rules.nodes_share, len(nodes))
    lately = {
        one.instance_id
        for one in context.memory.terminations
        if one.environment == plan.name and one.cause.is_counted and context.now - one.at < PRUNE_WINDOW
    }
    new = [action for action in planned if action.instance_id not in lately]
    if len(lately) + len(new) <= limit:
        return
    message = f"no commit asks for it: {len(new)} of {len(nodes)} nodes would go, {len(lately)} went in the last hour, the limit is {limit}"
    yield from hold(Guard.PRUNE_NODES, plan, new, context, message)


def prune_environments(plan: Plan, context: Context) -> Mapping[EnvironmentName, Blocked]:
    """Teardowns in any rolling hour, and a revision that declares nothing: one hold for the set.

    Asked from the first look on, so that an approval can be given while the grace period lasts.
    """
    beginning = {
        one.name: one
        for one in plan.environments
        if not one.is_declared and one.actions and not context.has_begun(one.name)
    }
    over = _over_limit(beginning, context)
    if over is None:
        return {}
    rule, message = over
    covered = {name: with_what_follows(one, one.actions, context) for name, one in beginning.items()}
    # What is held whole by a rule of its own is no part of the set: its removals are not what an approval would free.
    # Nor is one whose whole end was approved: more that end during its grace period must not take that back.
    of_set = [
        name
        for name in beginning
        if not (is_protected(name, context) or suspended(name, context) or backoff(name, context))
        and not is_approved(covered[name], context)
    ]
    key = digest(frozenset[Removal]().union(*(covered[name] for name in of_set)))
    return {
        name: Blocked(
            guard=rule,
            message=message,
            remedy=f"hivequeen approve {key}",
            digest=key,
            actor=asked_by(beginning[name], context),
            actions=beginning[name].actions,
            removals=covered[name],
        )
        for name in of_set
    }


def _over_limit(beginning: Mapping[EnvironmentName, EnvironmentPlan], context: Context) -> tuple[Guard, str] | None:
    """Which limit these teardowns would break, and how."""
    if not beginning:
        return None
    fleet = set(context.memory.environments) | context.desired.declared | set(beginning)
    if not context.desired.declared and len(fleet) > 1:
        return Guard.EMPTY_REVISION, f"the revision declares no environment, and the fleet has {len(fleet)}"
    lately = {name for name, at in context.memory.teardowns.items() if context.now - at < PRUNE_WINDOW}
    # One that began, and was kept from going on by an outage, counts for as long as what it asked for last.
    lately |= {
        one.environment
        for one in context.memory.terminations
        if one.cause in (Cause.SWEEP, Cause.TEARDOWN)
        and _is_to_go(one.environment, context)
        and context.now - one.at < PRUNE_WINDOW
    }
    limit = _limit(context.rules.environments_least, context.rules.environments_share, len(fleet))
    if len(lately | set(beginning) | _postponed(context)) <= limit:
        return None
    names = ", ".join(sorted(beginning))
    return (
        Guard.PRUNE_ENVIRONMENTS,
        f"{len(beginning)} of {len(fleet)} environments would go ({names}), {len(lately)} went in the last hour, the limit is {limit}",
    )


def _is_to_go(name: EnvironmentName, context: Context) -> bool:
    known = context.memory.environments.get(name)
    return name not in context.desired.names or (known is not None and known.ending is not None)


def _postponed(context: Context) -> set[EnvironmentName]:
    """Over, and frozen: that its file broke must not let the others through."""
    return {
        name
        for name in context.desired.frozen
        if (known := context.memory.environments.get(name)) is not None
        and known.ending is not None
        and known.ending.cause is EndingCause.EXPIRED
        and known.teardown_began_at is None
    }


def _limit(least: int, share: float, total: int) -> int:
    """How many may go; rounded first, because 0.29 of 100 is 28.999… to a computer."""
    return max(least, int(round(share * total, 6)))
