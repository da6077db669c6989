"""Who goes: failed nodes, drifted ones that never served, stopped ones, and those that are too many."""

from collections.abc import Sequence

from reconciler.model.memory import Cause, Trouble
from reconciler.model.observed import Node, Phase
from reconciler.plan.role_context import BOOTING, Drifts, RoleContext, RolePlan, changes


def remove_failed(
    context: RoleContext, plan: RolePlan, trouble: Trouble | None
) -> tuple[Sequence[Node], Sequence[Node]]:
    """Failed nodes go, but for those that stay to be looked at: all of a role that is halted, else the newest for as
    long as its quarantine lasts. None of them counts as placed. Returns who goes, and who stays."""
    failed = [node for node in context.nodes if node.phase == Phase.FAILED]
    if trouble is not None and trouble.is_halted:
        return [], failed
    kept = [node for node in _newest(failed, context) if _is_in_quarantine(node, context, plan)]
    going = [node for node in failed if node not in kept]
    for node in going:
        plan.terminate(node, Cause.NEVER_READY, context.reason("never ready", node.why_failed))
    return going, kept


def _newest(failed: Sequence[Node], context: RoleContext) -> Sequence[Node]:
    """The one that failed last; of several at once the one that was launched last."""
    return sorted(failed, key=lambda node: node.failed_at or context.now)[-1:]  # stable: sorted by launch already


def _is_in_quarantine(node: Node, context: RoleContext, plan: RolePlan) -> bool:
    until = (node.failed_at or context.now) + context.rules.quarantine
    if until <= context.now:
        return False
    message = f"{node.instance_id} failed ({node.why_failed}); kept to be looked at until {until:%H:%M} (quarantine)"
    plan.wait(context.role.name, message, until=until)
    return True


def remove_never_served(context: RoleContext, plan: RolePlan, placed: list[Node], drifts: Drifts) -> list[Node]:
    """Drifted nodes that never served go at once. Returns those that stay placed."""
    kept = []
    for node in placed:
        found = drifts.get(node.instance_id)
        if node.phase in BOOTING and found and not node.is_unseen:
            reason = context.reason("drift", f"{changes(found)}; it never served", found[0].field)
            plan.terminate(node, Cause.NEVER_READY, reason, changes(found))
        else:
            kept.append(node)
    return kept


def remove_stopped(context: RoleContext, plan: RolePlan) -> tuple[list[Node], list[Node]]:
    """A stopped node is placed for a while, for somebody may start it again, or its schedule does; then it goes.

    One that goes keeps its place until EC2 shows that it does: its end may be held, and another beside it would be one
    too many. Returns who is placed, and who goes.
    """
    placed, going = [], []
    for node in context.nodes:
        if node.phase != Phase.STOPPED:
            continue
        if node.odd_since is None or context.now - node.odd_since < context.rules.orphan_age:
            placed.append(node)
            continue
        going.append(node)
        has_schedule = context.environment.lifetime.schedule is not None
        why = "did not start when its schedule asked" if has_schedule else "was stopped by hand and not started again"
        cause = Cause.FAILED if node.was_ready else Cause.NEVER_READY
        plan.terminate(node, cause, context.reason("stopped", f"{node.instance_id} {why}"))
    return placed, going


def remove_excess(
    context: RoleContext, plan: RolePlan, placed: list[Node], drifts: Drifts, *, surge: int
) -> list[Node]:
    """More nodes than may be: those that do not serve go first, then drifted ones, then the oldest.

    What a commit lowered goes whatever drifts: taken for the extra one, it would go as replaced, which no hold covers.
    """
    role, settled = context.role, context.memory.settled.get(context.key, 0)
    by_commit = max(0, settled - role.count)
    # A lost node keeps its place from being filled, but pushes no living one out: it may well be dead.
    removable = [node for node in placed if node.phase != Phase.LOST]
    too_many = len(removable) - role.count
    excess = max(too_many - surge, min(too_many, by_commit))
    if excess <= 0:
        return placed
    removable.sort(key=lambda node: (node.phase == Phase.READY, node.instance_id not in drifts))  # stable: oldest first
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
