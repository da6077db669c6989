"""Who goes: failed nodes, drifted ones that never served, stopped ones, and those that are too many."""

from reconciler.model.memory import Cause, Trouble
from reconciler.model.observed import Node, Phase
from reconciler.plan.role_context import BOOTING, Drifts, RoleContext, RolePlan, changes


def remove_never_ready(
    context: RoleContext, plan: RolePlan, placed: list[Node], drifts: Drifts, trouble: Trouble | None
) -> list[Node]:
    """Failed nodes go, unless the role is halted: then they stay to be looked at. Drifted ones that never served go at
    once. Returns those that stay placed."""
    if trouble is None:
        for node in context.nodes:
            if node.phase == Phase.FAILED:
                plan.terminate(node, Cause.NEVER_READY, context.reason("never ready", node.why_failed))
    kept = []
    for node in placed:
        found = drifts.get(node.instance_id)
        if node.phase in BOOTING and found and not node.is_unseen:
            reason = context.reason("drift", f"{changes(found)}; it never served", found[0].field)
            plan.terminate(node, Cause.NEVER_READY, reason, changes(found))
        else:
            kept.append(node)
    return kept


def settle_stopped(context: RoleContext, plan: RolePlan) -> list[Node]:
    """A stopped node keeps its place for a while, for somebody may start it again; then it is replaced."""
    keeping = []
    for node in context.nodes:
        if node.phase != Phase.STOPPED:
            continue
        if node.odd_since is None or context.now - node.odd_since < context.rules.orphan_age:
            keeping.append(node)
            minutes = int(context.rules.orphan_age.total_seconds() // 60)
            message = (
                f"{node.instance_id} was stopped by hand; it is replaced unless it is started within {minutes} min"
            )
            plan.wait(context.role.name, message)
        else:
            cause = Cause.FAILED if node.was_ready else Cause.NEVER_READY
            reason = context.reason("stopped", f"{node.instance_id} was stopped by hand and not started again")
            plan.terminate(node, cause, reason)
    return keeping


def remove_excess(
    context: RoleContext, plan: RolePlan, placed: list[Node], drifts: Drifts, *, allowed: int
) -> list[Node]:
    """More nodes than may be: those that do not serve go first, then drifted ones, then the oldest."""
    # A lost node keeps its place from being filled, but pushes no living one out: it may well be dead.
    removable = [node for node in placed if node.phase != Phase.LOST]
    excess = len(removable) - allowed
    if excess <= 0:
        return placed
    removable.sort(key=lambda node: (node.phase == Phase.READY, node.instance_id not in drifts))  # stable: oldest first
    role, settled = context.role, context.memory.settled.get(context.key, 0)
    by_commit = max(0, settled - role.count)
    gone = []
    for number, node in enumerate(removable[:excess]):
        if node.is_unseen:
            plan.wait(role.name, f"{node.instance_id} is one too many; it goes when EC2 shows it")
            continue
        gone.append(node)
        there = f"{role.name}.count is {role.count}, {len(placed)} there"
        if number < by_commit:
            reason = context.reason("count", f"{role.name}.count {settled} → {role.count}", "count")
            plan.terminate(node, Cause.SCALE_DOWN, reason)
        elif not node.was_ready:
            plan.terminate(node, Cause.NEVER_READY, context.reason("surplus", f"{there}; it never served", "count"))
        else:
            reason = context.reason("surplus", f"{there}, and no commit lowered it", "count")
            plan.terminate(node, Cause.SURPLUS, reason)
    return [node for node in placed if node not in gone]
