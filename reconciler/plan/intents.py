"""Launches of unknown outcome: repeated while they are wanted, closed when listings have lacked them for long enough."""

from collections.abc import Sequence

from reconciler.model import tags
from reconciler.model.actions import ReplayLaunch
from reconciler.model.digest import spec_digest
from reconciler.model.facts import IntentEnded
from reconciler.model.memory import Intent, IntentState
from reconciler.model.observed import Node
from reconciler.model.rules import REPLAY_AGE_MAX, UNSEEN_GRACE
from reconciler.plan.context import Context
from reconciler.plan.role_context import RoleContext, RolePlan


def unseen(intent: Intent, nodes: Sequence[Node]) -> int:
    """How many nodes this launch may have made that no listing shows yet."""
    seen = sum(1 for node in nodes if node.instance.intent == intent.token)
    return max(0, intent.parameters.count - seen)


def replay(context: RoleContext, plan: RolePlan, unresolved: Sequence[Intent], *, room: int, spare: int) -> int:
    """Repeat launches of unknown outcome, oldest first, while they are wanted and their token is fresh.

    Args:
        room: how many nodes may be under way now; what is not replayed may have launched and takes its part too.
        spare: by how many places the role would be overfull if all of them had launched.

    Returns:
        The room that is left.
    """
    for intent in unresolved:
        size = max(1, unseen(intent, context.nodes))
        has_room = size <= room
        room -= size
        if has_room and spare <= 0 and _is_repeatable(context, intent) and _is_still_asked_for(context, intent):
            reason = context.reason("intent", f"the launch {intent.token} has an unknown outcome", "count")
            plan.actions.append(
                ReplayLaunch(environment=intent.environment, role=intent.role, intent=intent, reason=reason)
            )
            continue
        spare -= intent.parameters.count
        await_or_close(intent, context.nodes, context.world, plan)
    return room


def await_or_close(intent: Intent, nodes: Sequence[Node], world: Context, plan: RolePlan) -> None:
    """An open intent that nobody wants any more: closed when listings have lacked its instances for long enough.

    A time in which nothing could be read does not count.
    """
    is_unseen = unseen(intent, nodes) == intent.parameters.count
    last_attempt = intent.attempted_at or intent.opened_at
    began = max(last_attempt, world.memory.sighted_again_at or last_attempt)
    if is_unseen and world.now - began >= UNSEEN_GRACE:
        message = "not wanted any more, and no listing shows its instances"
        plan.facts.append(IntentEnded(token=intent.token, state=IntentState.CLOSED, message=message))
    plan.wait(intent.role, f"whether the launch {intent.token} made {intent.parameters.count} nodes shows within 5 min")


def _is_repeatable(context: RoleContext, intent: Intent) -> bool:
    """EC2 forgets a token after a while, and one that it knows with other parameters it will never take."""
    return intent.settled_at is None and context.now - intent.opened_at < REPLAY_AGE_MAX


def _is_still_asked_for(context: RoleContext, intent: Intent) -> bool:
    wanted, role = intent.parameters, context.role
    return (
        wanted.image == context.image
        and wanted.instance_type in role.instance_types
        and wanted.subnet in role.subnets
        and frozenset(wanted.security_groups) == role.security_groups
        and wanted.instance_profile == role.instance_profile
        and dict(wanted.tags).get(tags.SPEC) == spec_digest(role)
    )
