"""The hours in which a schedule lets a role's nodes sleep, and their start after it."""

from collections.abc import Sequence

from reconciler.model.actions import Reason, StartNode, StopNode
from reconciler.model.desired import Schedule
from reconciler.model.memory import Intent
from reconciler.model.observed import InstanceState, Node, Phase
from reconciler.model.schedule import is_asleep, next_change
from reconciler.plan.intents import await_or_close
from reconciler.plan.role_context import PLACED, RoleContext, RolePlan


def sleeping(context: RoleContext) -> Schedule | None:
    """Its schedule, in the hours in which that lets it sleep."""
    schedule = context.environment.lifetime.schedule
    return schedule if schedule is not None and is_asleep(schedule, context.now) else None


def sleep(context: RoleContext, plan: RolePlan, schedule: Schedule, unresolved: Sequence[Intent]) -> None:
    """Who serves is stopped, who boots may come up first. Nothing is launched or removed: that waits for the start."""
    role, until = context.role.name, next_change(schedule, context.now)
    for node in context.nodes:
        if node.phase != Phase.READY or node.is_unseen:
            continue
        if node.instance.state == InstanceState.RUNNING:
            plan.actions.append(
                StopNode(
                    environment=context.environment.name,
                    role=role,
                    node=node.name,
                    instance_id=node.instance_id,
                    reason=_reason(context, f"asleep until {until:%Y-%m-%d %H:%M} UTC"),
                )
            )
        else:
            plan.wait(role, f"{node.instance_id} starts; it is stopped when it runs")
    for intent in unresolved:
        await_or_close(intent, context.nodes, context.world, plan)
    places = sum(1 for node in context.nodes if node.phase in (*PLACED, Phase.STOPPED))
    lacks = f"; {context.role.count - places} more launch then" if places < context.role.count else ""
    plan.wait(role, f"asleep until {until:%Y-%m-%d %H:%M} UTC{lacks}", until=until)


def wake(context: RoleContext, plan: RolePlan, placed: Sequence[Node]) -> None:
    """Start the stopped nodes of a role that has a schedule; those of another one may be started by whoever stopped
    them. Its time to start counts from the first time that EC2 was asked, so that a morning that was missed ends none.
    """
    has_schedule = context.environment.lifetime.schedule is not None
    minutes = int(context.rules.orphan_age.total_seconds() // 60)
    for node in placed:
        if node.phase != Phase.STOPPED:
            continue
        if not has_schedule:
            message = f"was stopped by hand; it is replaced unless it is started within {minutes} min"
            plan.wait(context.role.name, f"{node.instance_id} {message}")
        elif node.instance.state == InstanceState.STOPPED:
            plan.actions.append(
                StartNode(
                    environment=context.environment.name,
                    role=context.role.name,
                    node=node.name,
                    instance_id=node.instance_id,
                    reason=_reason(context, f"awake; {node.instance_id} is stopped"),
                )
            )
        else:
            plan.wait(context.role.name, f"{node.instance_id} is still stopping; it is started after that")


def _reason(context: RoleContext, detail: str) -> Reason:
    home = context.environment
    origin = home.origins.get("schedule", home.origin)
    return Reason(rule="schedule", detail=detail, origin=origin, revision=context.world.revision)
