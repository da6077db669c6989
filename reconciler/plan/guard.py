"""Guards: what of a plan must not happen now, why, and what lifts it. Pure, and the last word before anything acts.

`guard` asks each rule in turn; a rule names the actions that it holds. Growing and healing go on unless the whole
environment is held; a removal goes on only if no rule holds it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from reconciler.model.actions import (
    DeleteChefClient,
    DeleteChefNode,
    LaunchNodes,
    ReplaceNode,
    ReplayLaunch,
    TerminateNode,
    removal,
)
from reconciler.model.facts import (
    EnvironmentEnding,
    ExpiryNoticed,
    Fact,
    ImagePinned,
    OrphanSighted,
    TeardownBegan,
    TeardownItems,
)
from reconciler.model.memory import Cause
from reconciler.model.plan import Blocked, EnvironmentPlan, Guard, Plan, Waiting
from reconciler.model.rules import TAKE_OVER_CAUTION, TAKE_OVER_LAUNCH_PAUSE
from reconciler.plan.barrier import defective
from reconciler.plan.context import Context
from reconciler.plan.ending import grace, grace_ends_at
from reconciler.plan.growth import policy
from reconciler.plan.holds import asked_by, digest, hold, removals
from reconciler.plan.limits import prune_environments, prune_nodes
from reconciler.plan.protection import protected_shrinking, protected_teardown
from reconciler.plan.requeue import requeue_after_s
from reconciler.plan.stops import backoff, suspended

__all__ = ["digest", "guard", "removals"]


def guard(plan: Plan, context: Context, *, not_owner: Blocked | None = None, holds: Sequence[Blocked] = ()) -> Plan:
    """The plan with every held action moved from `actions` to `blocked`.

    Args:
        not_owner: set if the claim is somebody else's: everything is held.
        holds: of the whole installation, decided before planning (rewritten history).
    """
    everything = _OBSERVING if context.rules.is_observing else not_owner
    if everything is not None:
        environments = tuple(_hold_everything(one, everything) for one in plan.environments)
    else:
        teardowns = prune_environments(plan, context)
        environments = tuple(_guarded(one, context, teardowns.get(one.name)) for one in plan.environments)
    return replace(
        plan,
        environments=environments,
        blocked=(*holds, *((everything,) if everything else ())),
        # What is held needs a person, not another look in five seconds.
        requeue_after_s=requeue_after_s(environments, context),
    )


_OBSERVING = Blocked(
    guard=Guard.OBSERVE_MODE,
    message="mode is observe: nothing is written",
    remedy="set `mode: converge` in hivequeen.yml and reload",
)


def _hold_everything(plan: EnvironmentPlan, everything: Blocked) -> EnvironmentPlan:
    """Nothing is decided either: whoever may not act sets no grace period and no age going."""
    blocked = (replace(everything, actions=plan.actions),) if plan.actions else ()
    facts = tuple(
        fact
        for fact in plan.facts
        if not isinstance(fact, EnvironmentEnding | ExpiryNoticed | ImagePinned | OrphanSighted)
    )
    return replace(plan, actions=(), blocked=blocked, due_at=None, facts=_not_begun(facts))


def _guarded(plan: EnvironmentPlan, context: Context, teardown: Blocked | None) -> EnvironmentPlan:
    try:
        return _guard_environment(plan, context, teardown)
    except Exception as error:  # noqa: BLE001  what one environment brings up must not stop the others
        return defective(plan, error)


def _guard_environment(plan: EnvironmentPlan, context: Context, teardown: Blocked | None) -> EnvironmentPlan:
    in_grace = tuple(_grace(plan, context))
    stop = suspended(plan.name, context)
    if stop is not None:
        blocked = (replace(stop, actions=plan.actions), *in_grace) if plan.actions else ()
        return _held(replace(plan, actions=(), blocked=blocked), context)
    pause = backoff(plan.name, context)
    if pause is not None and not in_grace:
        tries = "once" if pause.failures == 1 else f"{pause.failures} times"
        message = f"failed {tries}, next try at {pause.until:%H:%M:%S}: {pause.message}"
        retry = (Waiting(message=message),) if plan.actions else ()  # of a role that halted nothing is tried again
        return replace(plan, actions=(), waiting=(*plan.waiting, *retry), facts=_not_begun(plan.facts))
    found = [*in_grace, *((teardown,) if teardown is not None else ())]
    for rule in _RULES:
        found.extend(rule(plan, context))
    held = {id(action) for one in found for action in one.actions}
    if not held:
        return plan
    left = tuple(action for action in plan.actions if id(action) not in held)
    return _held(replace(plan, actions=left, blocked=tuple(found)), context)


def _held(plan: EnvironmentPlan, context: Context) -> EnvironmentPlan:
    """A teardown that is held has not begun; and what ends by itself is looked at when it does."""
    ends = [one.until for one in plan.blocked if one.until is not None and one.until > context.now]
    due_at = min([*ends, *([plan.due_at] if plan.due_at is not None else [])], default=None)
    return replace(plan, due_at=due_at, facts=plan.facts if plan.is_declared else _not_begun(plan.facts))


def _not_begun(facts: Iterable[Fact]) -> tuple[Fact, ...]:
    """Without the beginning of a teardown and the list of what it is to remove. One that has begun goes on listing."""
    facts = tuple(facts)
    if not any(isinstance(fact, TeardownBegan) for fact in facts):
        return facts
    return tuple(fact for fact in facts if not isinstance(fact, TeardownBegan | TeardownItems))


# --- rules that hold some actions -----------------------------------------------------------------------------------


def _grace(plan: EnvironmentPlan, context: Context) -> Iterable[Blocked]:
    """A teardown that a commit can still cancel, or has cancelled for all that is known, touches nothing yet."""
    ending = plan.ending
    if ending is None or not plan.actions or context.has_begun(plan.name):
        return
    if context.now < grace_ends_at(ending, context.rules):
        yield replace(grace(plan.name, ending, context), actions=plan.actions)
    elif context.stale is not None:
        yield Blocked(
            guard=Guard.GRACE,
            message=f"{plan.name} is not torn down before the newest revision is followed: {context.stale}",
            remedy="make the repository readable, or approve what holds it",
            actor=ending.author,
            actions=plan.actions,
        )


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
                until=until,
                actions=launches,
            )
    known = context.memory.environments.get(plan.name)
    began_at = known.teardown_began_at if known is not None and not plan.is_declared else None
    if began_at is not None and began_at >= since:
        return  # its removal was approved as a whole when it began
    # The Chef objects of a node go with it: whoever approved its termination approved them.
    asked = {one.instance_id for one in context.memory.terminations if one.at >= since}
    removing = [
        action
        for action in plan.actions
        if removal(action)
        and not (isinstance(action, DeleteChefNode | DeleteChefClient) and action.instance_id in asked)
    ]
    # Of those that never served others come in the place: while they stay, that would be so many more.
    freed = {one.role for one in removing if isinstance(one, TerminateNode) and one.cause is Cause.NEVER_READY}
    following = [one for one in plan.actions if isinstance(one, LaunchNodes) and one.role in freed]
    held = [*removing, *following]
    message = "the fleet was taken over: for a day every removal needs approval"
    until = since + TAKE_OVER_CAUTION
    yield from hold(Guard.TAKE_OVER, plan, held, context, message, actor=asked_by(plan, context), until=until)


_RULES: tuple[Callable[[EnvironmentPlan, Context], Iterable[Blocked]], ...] = (
    _take_over,
    protected_teardown,
    protected_shrinking,
    prune_nodes,
    policy,
)
