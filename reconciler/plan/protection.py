"""Protection: it outlives the file, and holds what a commit alone must not do."""

from collections import Counter
from collections.abc import Iterable

from reconciler.model.actions import Action, DeleteChefRole, TerminateNode
from reconciler.model.memory import Cause
from reconciler.model.names import EnvironmentName
from reconciler.model.observed import Phase
from reconciler.model.plan import Blocked, EnvironmentPlan, Guard
from reconciler.plan.context import Context
from reconciler.plan.holds import asked_by, hold
from reconciler.plan.role_context import PLACED


def is_protected(name: EnvironmentName, context: Context) -> bool:
    """By any witness: the resources, or the last revision that declared it, if that never reached them."""
    observed, known = context.environment(name), context.memory.environments.get(name)
    return (
        (known is not None and known.is_protected)
        or any(node.instance.is_protected for node in observed.nodes)
        # The Chef environment of another one, which it merely uses, says nothing about it.
        or any(mark.protected for mark in observed.owned if mark.environment == name)
    )


def protected_teardown(plan: EnvironmentPlan, context: Context) -> Iterable[Blocked]:
    """Protection is kept on the resources, so it survives the file. No approval lifts it, only a commit."""
    if plan.is_declared or not plan.actions or not is_protected(plan.name, context):
        return
    yield Blocked(
        guard=Guard.PROTECTED,
        message=f"{plan.name} is protected: removing its file tears nothing down",
        remedy="restore the file with `protected: false`, let that apply, then delete it again",
        actor=asked_by(plan, context),
        actions=plan.actions,
    )


def protected_shrinking(plan: EnvironmentPlan, context: Context) -> Iterable[Blocked]:
    """A protected environment loses no role, and no more than half of its nodes, by a commit alone."""
    declared = context.desired.environments.get(plan.name)
    if not plan.is_declared or declared is None or not (declared.protected or is_protected(plan.name, context)):
        return
    wanted = [a for a in plan.actions if isinstance(a, TerminateNode) and a.cause in (Cause.SCALE_DOWN, Cause.TEARDOWN)]
    # What is left in Chef of a node that is gone is no part of the role any more.
    of_roles: list[Action] = [
        a for a in plan.actions if isinstance(a, TerminateNode | DeleteChefRole) and a.role not in declared.roles
    ]
    # What the commit leaves in the end, for one pass may take but a part of it.
    live = Counter(node.role for node in context.environment(plan.name).nodes if node.phase in (*PLACED, Phase.STOPPED))
    before = live.total()
    left = sum(min(live[role.name], role.count) for role in declared.roles.values())
    if wanted and 2 * left < before:
        held: list[Action] = [*wanted, *(action for action in of_roles if action not in wanted)]
        message = f"{plan.name} is protected, and this would remove {before - left} of its {before} nodes"
    else:
        held, message = of_roles, f"{plan.name} is protected, and this would remove a role"
    yield from hold(Guard.PROTECTED, plan, held, context, message, actor=asked_by(plan, context))
