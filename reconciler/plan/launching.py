"""Who comes: what a role lacks, and one extra while its nodes are being replaced."""

from collections.abc import Sequence

from reconciler.model import tags
from reconciler.model.actions import LaunchNodes, Reason, ReplaceNode
from reconciler.model.digest import spec_digest
from reconciler.model.memory import Cause
from reconciler.model.observed import InstanceState, Node, Phase
from reconciler.plan.drift import wanted_tags
from reconciler.plan.placement import place
from reconciler.plan.role_context import Drifts, RoleContext, RolePlan, changes


def launch(context: RoleContext, plan: RolePlan, deficit: int, placed: Sequence[Node], *, room: int) -> None:
    """What lacks, or as many of it as there is room for while the role is in trouble."""
    role, count = context.role, min(deficit, room)
    if count <= 0:
        return  # the stall says so
    reason = context.reason("count", f"{role.name}.count {role.count - deficit} → {role.count}", "count")
    if count < deficit:
        reason = context.reason("canary", f"{role.name} lacks {deficit}; {count} is tried first", "count")
    actions = [_launch_of(context, part, placed, reason) for part in _parts(context, count, role.count - deficit)]
    plan.actions.extend(action for action in actions if action is not None)
    if not all(actions):
        offerings = f"{', '.join(role.instance_types)} in {', '.join(role.subnets)}"
        plan.wait(role.name, f"no capacity for {offerings}; tried again within 3 min")


def _parts(context: RoleContext, count: int, places: int) -> Sequence[int]:
    """Where the policy holds growth, what heals is launched apart from it."""
    if not context.environment.violations:
        return [count]
    healing = min(count, max(0, context.memory.settled.get(context.key, 0) - places))
    return [part for part in (healing, count - healing) if part > 0]


def drifted_nodes(placed: Sequence[Node], drifts: Drifts) -> list[Node]:
    """Nodes that serve and must be replaced, oldest first."""
    return [node for node in placed if node.phase == Phase.READY and node.instance_id in drifts]


def replace_oldest(
    context: RoleContext,
    plan: RolePlan,
    placed: Sequence[Node],
    drifts: Drifts,
    *,
    has_room: bool,
    has_surge: bool,
) -> None:
    """One at a time: launch one extra; when it serves, the oldest drifted node goes, if enough are left."""
    role = context.role
    drifted = drifted_nodes(placed, drifts)
    oldest = drifted[0]
    found = drifts[oldest.instance_id]
    change = changes(found)
    cause = Cause.REPLACED if all(one.by_commit for one in found) else Cause.DRIFTED
    reason = context.reason("drift", change, found[0].field)
    left = f"{len(drifted)} of {len(placed)} nodes to replace"
    if has_surge:
        # Ready is for good, so a node that was stopped and started again is ready before it runs.
        serving = [n for n in placed if n.phase == Phase.READY and n.instance.state == InstanceState.RUNNING]
        if len(serving) - 1 >= role.count:
            plan.terminate(oldest, cause, reason, change)
            plan.wait(role.name, left)
        else:
            plan.wait(role.name, left + _held_up_by(placed))
        return
    if not has_room:
        return  # the stall says so
    extra = _launch_of(context, 1, placed, reason)
    if extra is None:
        plan.wait(role.name, f"no capacity; {left}")
        return
    plan.actions.append(
        ReplaceNode(
            environment=context.environment.name,
            role=role.name,
            node=oldest.name,
            instance_id=oldest.instance_id,
            change=change,
            cause=cause,
            launch=extra,
            reason=reason,
        )
    )


def _held_up_by(placed: Sequence[Node]) -> str:
    """A lost node keeps its place, and nobody knows whether it serves: so it may be what the next step waits for."""
    lost = [node.instance_id for node in placed if node.phase == Phase.LOST]
    return f"; {', '.join(lost)} is out of sight, and while it may be dead no other may go" if lost else ""


def _launch_of(context: RoleContext, count: int, placed: Sequence[Node], reason: Reason) -> LaunchNodes | None:
    batches = place(context.role, count, placed, context.memory.exhausted)
    if not batches:
        return None
    launch_tags = {
        **wanted_tags(context.rules.fleet, context.environment, context.role),
        tags.SPEC: spec_digest(context.role),
        tags.REVISION: context.world.revision,
    }
    return LaunchNodes(
        environment=context.environment.name,
        role=context.role.name,
        declared=context.role,
        image=context.image,
        tags=launch_tags,
        batches=batches,
        reason=reason,
    )
