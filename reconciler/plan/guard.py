"""Guards: what of a plan must not happen now, why, and what lifts it. Pure, and the last word before anything acts.

`guard` asks each rule in turn; a rule names the actions that it holds. Growing and healing go on unless the whole
environment is held; a removal goes on only if no rule holds it.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from reconciler.model.actions import (
    Action,
    DeleteChefClient,
    DeleteChefNode,
    DeleteChefRole,
    LaunchNodes,
    ReplaceNode,
    ReplayLaunch,
    TerminateNode,
    removal,
)
from reconciler.model.facts import Fact, TeardownBegan
from reconciler.model.memory import Backoff, Cause, Removal, suspension_of
from reconciler.model.names import EnvironmentName
from reconciler.model.observed import Phase
from reconciler.model.plan import Blocked, EnvironmentPlan, Guard, Plan, Waiting
from reconciler.model.rules import BACKOFF_MAX, PRUNE_WINDOW, TAKE_OVER_CAUTION, TAKE_OVER_LAUNCH_PAUSE
from reconciler.plan.context import Context


def guard(plan: Plan, context: Context, *, not_owner: Blocked | None = None, holds: Sequence[Blocked] = ()) -> Plan:
    """The plan with every held action moved from `actions` to `blocked`.

    Args:
        not_owner: set if the claim is somebody else's: everything is held.
        holds: of the whole installation, decided before planning (rewritten history).
    """
    everything = _OBSERVING if context.rules.is_observing else not_owner
    teardowns = _prune_environments(plan, context)
    environments = tuple(
        _guard_environment(one, context, everything, teardowns.get(one.name)) for one in plan.environments
    )
    # What is held needs a person, not another look in five seconds.
    is_busy = any(one.actions or one.waiting for one in environments)
    return replace(
        plan,
        environments=environments,
        blocked=(*holds, *((everything,) if everything else ())),
        requeue_after_s=plan.requeue_after_s if is_busy else None,
    )


def digest(removals: Collection[Removal]) -> str:
    """What `hivequeen approve` takes: the sorted removals alone, never revision, time or reason."""
    rows = [[one.environment, one.action, one.role, one.target, one.change] for one in sorted(removals)]
    return hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()[:12]


def removals(actions: Iterable[Action]) -> frozenset[Removal]:
    return frozenset(one for action in actions if (one := removal(action)) is not None)


_OBSERVING = Blocked(
    guard=Guard.OBSERVE_MODE,
    message="mode is observe: nothing is written",
    remedy="set `mode: converge` in hivequeen.yml and reload",
)


def _guard_environment(
    plan: EnvironmentPlan, context: Context, everything: Blocked | None, teardown: Blocked | None
) -> EnvironmentPlan:
    stop = everything or _suspended(plan, context)
    if stop is not None:
        blocked = (replace(stop, actions=plan.actions),) if plan.actions else ()
        return replace(plan, actions=(), blocked=blocked, facts=_without_teardown(plan))
    backoff = _backoff(plan.name, context)
    if backoff is not None:
        tries = "once" if backoff.failures == 1 else f"{backoff.failures} times"
        message = f"failed {tries}, next try at {backoff.until:%H:%M:%S}: {backoff.message}"
        retry = (Waiting(message=message),) if plan.actions else ()  # of a role that halted nothing is tried again
        return replace(plan, actions=(), waiting=(*plan.waiting, *retry), facts=_without_teardown(plan))
    holds = [teardown] if teardown is not None else []
    for rule in _RULES:
        holds.extend(rule(plan, context))
    held = {id(action) for hold in holds for action in hold.actions}
    if not held:
        return plan
    return replace(
        plan,
        actions=tuple(action for action in plan.actions if id(action) not in held),
        blocked=tuple(holds),
        facts=plan.facts if plan.is_declared else _without_teardown(plan),
    )


def _backoff(name: EnvironmentName, context: Context) -> Backoff | None:
    """The one in force. None lasts longer than the longest: one that does was written by a clock that ran ahead."""
    backoff = context.memory.backoffs.get(name)
    if backoff is None or not context.now < backoff.until <= context.now + BACKOFF_MAX:
        return None
    return backoff


def _without_teardown(plan: EnvironmentPlan) -> tuple[Fact, ...]:
    """A teardown that is held has not begun."""
    return tuple(fact for fact in plan.facts if not isinstance(fact, TeardownBegan))


# --- the rule that holds one environment whole ------------------------------------------------------------------------------------


def _suspended(plan: EnvironmentPlan, context: Context) -> Blocked | None:
    suspension = suspension_of(plan.name, context.memory.suspensions, context.now)
    if suspension is not None:
        return Blocked(guard=Guard.SUSPENDED, message=str(suspension), remedy=suspension.remedy)
    declared = context.desired.environments.get(plan.name)
    if declared is not None and declared.suspend:
        origin = declared.origins.get("suspend", declared.origin)
        return Blocked(guard=Guard.SUSPENDED, message=f"{origin} says suspend: true", remedy="remove it and commit")
    return None


# --- rules that hold some actions -----------------------------------------------------------------------------------


def _take_over(plan: EnvironmentPlan, context: Context) -> Iterable[Blocked]:
    since = context.memory.taken_over_at
    if since is None or context.now - since >= TAKE_OVER_CAUTION:
        return
    if context.now - since < TAKE_OVER_LAUNCH_PAUSE:
        launches = tuple(a for a in plan.actions if isinstance(a, LaunchNodes | ReplayLaunch | ReplaceNode))
        if launches:
            until = since + TAKE_OVER_LAUNCH_PAUSE
            yield Blocked(
                guard=Guard.TAKE_OVER,
                message=f"the fleet was just taken over; nothing launches before {until:%H:%M:%S}",
                remedy="wait: the other daemon's last launches must show first",
                actions=launches,
            )
    known = context.memory.environments.get(plan.name)
    if known is not None and known.teardown_began_at is not None and known.teardown_began_at >= since:
        return  # its removal was approved as a whole when it began
    # The Chef objects of a node go with it: whoever approved its termination approved them.
    asked = {one.instance_id for one in context.memory.terminations if one.at >= since}
    removing = [
        action
        for action in plan.actions
        if removal(action)
        and not (isinstance(action, DeleteChefNode | DeleteChefClient) and action.instance_id in asked)
    ]
    yield from _hold(
        Guard.TAKE_OVER, removing, context, "the fleet was taken over: for a day every removal needs approval"
    )


def _protected_teardown(plan: EnvironmentPlan, context: Context) -> Iterable[Blocked]:
    """Protection is kept on the resources, so it survives the file. No approval lifts it, only a commit."""
    if plan.is_declared or not plan.actions or not _is_protected(plan.name, context):
        return
    yield Blocked(
        guard=Guard.PROTECTED,
        message=f"{plan.name} is protected: removing its file tears nothing down",
        remedy="restore the file with `protected: false`, let that apply, then delete it again",
        actions=plan.actions,
    )


def _is_protected(name: EnvironmentName, context: Context) -> bool:
    """By any witness: the resources, or the last revision that declared it, if that never reached them."""
    observed, known = context.environment(name), context.memory.environments.get(name)
    return (
        (known is not None and known.is_protected)
        or any(node.instance.is_protected for node in observed.nodes)
        or any(mark.protected for mark in observed.owned)
    )


def _protected_shrinking(plan: EnvironmentPlan, context: Context) -> Iterable[Blocked]:
    """A protected environment loses no role, and no more than half of its nodes, by a commit alone."""
    declared = context.desired.environments.get(plan.name)
    if declared is None or not (declared.protected or _is_protected(plan.name, context)):
        return
    wanted = [a for a in plan.actions if isinstance(a, TerminateNode) and a.cause in (Cause.SCALE_DOWN, Cause.TEARDOWN)]
    # What is left in Chef of a node that is gone is no part of the role any more.
    of_roles: list[Action] = [
        a for a in plan.actions if isinstance(a, TerminateNode | DeleteChefRole) and a.role not in declared.roles
    ]
    departing = {action.instance_id for action in wanted}
    live = [node for node in context.environment(plan.name).nodes if node.phase != Phase.TERMINATING]
    if 2 * (len(live) - len(departing)) < len(live):
        held: list[Action] = [*wanted, *(action for action in of_roles if action not in wanted)]
        message = f"{plan.name} is protected, and this would remove {len(departing)} of its {len(live)} nodes"
    else:
        held, message = of_roles, f"{plan.name} is protected, and this would remove a role"
    yield from _hold(Guard.PROTECTED, held, context, message)


def _prune_nodes(plan: EnvironmentPlan, context: Context) -> Iterable[Blocked]:
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
    yield from _hold(Guard.PRUNE_NODES, new, context, message)


_RULES: tuple[Callable[[EnvironmentPlan, Context], Iterable[Blocked]], ...] = (
    _take_over,
    _protected_teardown,
    _protected_shrinking,
    _prune_nodes,
)


def _hold(rule: Guard, held: Sequence[Action], context: Context, message: str) -> Iterable[Blocked]:
    """One hold over these removals, unless a person approved all of them together."""
    wanted = removals(held)
    if not wanted or any(wanted <= one.removals for one in context.memory.approvals if one.expires_at > context.now):
        return
    key = digest(wanted)
    yield Blocked(guard=rule, message=message, remedy=f"hivequeen approve {key}", digest=key, actions=tuple(held))


def _limit(least: int, share: float, total: int) -> int:
    """How many may go; rounded first, because 0.29 of 100 is 28.999… to a computer."""
    return max(least, int(round(share * total, 6)))


# --- the rule over the whole fleet ----------------------------------------------------------------------------------


def _prune_environments(plan: Plan, context: Context) -> Mapping[EnvironmentName, Blocked]:
    """Teardowns in any rolling hour, and a revision that declares nothing: one hold for the set."""
    beginning = {
        one.name: one
        for one in plan.environments
        if not one.is_declared and one.actions and not _has_begun(one.name, context)
    }
    if not beginning:
        return {}
    fleet = set(context.memory.environments) | context.desired.declared | set(beginning)
    lately = {name for name, at in context.memory.teardowns.items() if context.now - at < PRUNE_WINDOW}
    lately |= {
        one.environment
        for one in context.memory.terminations
        if one.cause is Cause.SWEEP
        and one.environment not in context.desired.names
        and context.now - one.at < PRUNE_WINDOW
    }
    limit = _limit(context.rules.environments_least, context.rules.environments_share, len(fleet))
    if not context.desired.declared and len(fleet) > 1:
        rule, message = Guard.EMPTY_REVISION, f"the revision declares no environment, and the fleet has {len(fleet)}"
    elif len(lately | set(beginning)) > limit:
        rule = Guard.PRUNE_ENVIRONMENTS
        names = ", ".join(sorted(beginning))
        message = f"{len(beginning)} of {len(fleet)} environments would go ({names}), {len(lately)} went in the last hour, the limit is {limit}"
    else:
        return {}
    # What is held whole by a rule of its own is no part of the set: its removals are not what an approval would free.
    of_set = {
        name: one
        for name, one in beginning.items()
        if not (_is_protected(name, context) or _suspended(one, context) or _backoff(name, context))
    }
    whole = [action for one in of_set.values() for action in one.actions]
    for hold in _hold(rule, whole, context, message):
        return {name: replace(hold, actions=one.actions) for name, one in of_set.items()}
    return {}


def _has_begun(name: EnvironmentName, context: Context) -> bool:
    known = context.memory.environments.get(name)
    return known is not None and known.teardown_began_at is not None
