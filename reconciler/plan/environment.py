"""One declared environment: its Chef objects, then each role, then what it has no more."""

from collections.abc import Sequence

from reconciler.model.actions import Action, ActionName
from reconciler.model.desired import Environment, Frozen, ImageById, Role
from reconciler.model.facts import EndingCancelled, ImagePinned
from reconciler.model.memory import KnownEnvironment, Pin
from reconciler.model.names import ImageId, chef_role_name
from reconciler.model.observed import ChefRole, Node, Observed, ObservedEnvironment, Phase
from reconciler.model.plan import EnvironmentPlan, Stall
from reconciler.plan.chef import (
    ensure_environment,
    ensure_node,
    ensure_role,
    foreign_environment,
    foreign_role,
    remove_departed,
    wanted_role,
)
from reconciler.plan.context import Context
from reconciler.plan.role_context import RoleContext, RolePlan
from reconciler.plan.roles import plan_role
from reconciler.plan.teardown import remove_undeclared_roles

# Chef first, so that a node finds its role; what frees places before what fills them; then what is left of the gone.
# Repairs in place come last: one object that cannot be repaired must hold up nothing else.
_ORDER = {
    ActionName.ENSURE_CHEF_ENVIRONMENT: 0,
    ActionName.ENSURE_CHEF_ROLE: 1,
    ActionName.TERMINATE_NODE: 2,
    ActionName.START_NODE: 3,
    ActionName.REPLAY_LAUNCH: 4,
    ActionName.LAUNCH_NODES: 5,
    ActionName.REPLACE_NODE: 6,
    ActionName.STOP_NODE: 7,
    ActionName.DELETE_CHEF_NODE: 8,
    ActionName.DELETE_CHEF_CLIENT: 9,
    ActionName.DELETE_CHEF_ROLE: 10,
    ActionName.DELETE_CHEF_ENVIRONMENT: 11,
    ActionName.TAG_NODE: 12,
    ActionName.ENSURE_CHEF_NODE: 13,
}


def plan_declared(environment: Environment, observed: ObservedEnvironment, context: Context) -> EnvironmentPlan:
    """Everything that one file asks for."""
    stall = foreign_environment(context.rules.fleet, environment, observed)
    if stall is not None:
        return EnvironmentPlan(name=environment.name, stalls=(stall,))
    actions: list[Action] = [*ensure_environment(context.rules.fleet, environment, observed, context.revision)]
    plans = [_plan_role(environment, role, observed, context) for _, role in sorted(environment.roles.items())]
    plans.append(remove_undeclared_roles(environment, observed, context))
    for plan in plans:
        actions.extend(plan.actions)
    for departed in observed.departed:
        actions.extend(remove_departed(departed, environment.origin, context.revision))
    actions.sort(key=lambda action: _ORDER[action.name])  # stable: roles stay in their order
    return EnvironmentPlan(
        name=environment.name,
        actions=tuple(actions),
        waiting=tuple(waiting for plan in plans for waiting in plan.waiting),
        stalls=tuple(stall for plan in plans for stall in plan.stalls),
        drifted={instance_id: found for plan in plans for instance_id, found in plan.drifted.items()},
        due_at=min((plan.due_at for plan in plans if plan.due_at is not None), default=None),
        facts=tuple(fact for plan in plans for fact in plan.facts),
    )


def plan_frozen(frozen: Frozen, known: KnownEnvironment | None) -> EnvironmentPlan:
    """A file that cannot be trusted asks for nothing: neither a change nor a teardown.

    Where another file's name keeps it from being torn down, the grace period begins anew when that file goes: whoever
    removes it has done so later than the one who removed the environment's own.
    """
    first, *others = frozen.findings
    is_kept = known is not None and known.ending is not None and known.teardown_began_at is None
    more = f" (and {len(others)} more)" if others else ""
    return EnvironmentPlan(
        name=frozen.name,
        is_frozen=True,
        facts=(EndingCancelled(environment=frozen.name),) if frozen.is_trace and is_kept else (),
        stalls=(
            Stall(
                reason="BadFile",
                message=f"{first.origin}: {first.message}{more}",
                remedy=first.remedy or "correct the file and commit; until then nothing of this environment changes",
            ),
        ),
    )


def _plan_role(environment: Environment, role: Role, observed: ObservedEnvironment, context: Context) -> RolePlan:
    chef_role = observed.chef_roles.get(chef_role_name(environment.name, role.name))
    foreign = foreign_role(context.rules.fleet, environment, role, chef_role)
    if foreign is not None:
        return RolePlan(stalls=[foreign])
    nodes = [node for node in observed.nodes if node.role == role.name]
    known = context.memory.pins.get((environment.name, role.name))
    image = image_of(environment, role, context.observed, chef_role, nodes, known=known)
    if image is None:
        message, remedy = context.observed.unresolved.get(
            (environment.name, role.name), ("it was not looked up", "wait")
        )
        stall = Stall(
            reason="ImageUnresolved", message=f"{role.name}: image {role.image} names nothing: {message}", remedy=remedy
        )
        return RolePlan(stalls=[stall])
    plan = plan_role(RoleContext(environment=environment, role=role, image=image, nodes=nodes, world=context))
    wanted = wanted_role(context.rules.fleet, environment, role, image)
    repairs = [*ensure_role(environment, role, wanted, chef_role, context.revision)]
    for node in nodes:
        repairs.extend(ensure_node(environment, role, node, context.revision))
    plan.actions[:0] = repairs
    pin = Pin(source=str(role.image), image=image)
    if not isinstance(role.image, ImageById) and pin != known:
        plan.facts.append(ImagePinned(environment=environment.name, role=role.name, pin=pin))
    return plan


def image_of(
    environment: Environment,
    role: Role,
    world: Observed,
    chef_role: ChefRole | None,
    nodes: Sequence[Node],
    *,
    known: Pin | None = None,
) -> ImageId | None:
    """The declared image; of a moving one, what a refresh just resolved it to, else what is known to be pinned.

    The Chef role shows the pin, but there anybody may edit it, or restore it from a backup: no commit asks for that. Of
    the two the one that serves is right. And what serves is what was pinned where the Chef role was deleted, unless
    something else is known.
    """
    if isinstance(role.image, ImageById):
        return role.image.image_id
    source = str(role.image)
    resolved, shown = world.images.get((environment.name, role.name)), chef_role.pin(source) if chef_role else None
    kept = known.image if known is not None and known.source == source else None
    serving = next((node.instance.image for node in reversed(nodes) if node.phase == Phase.READY), None)
    if environment.name in world.refreshing and resolved is not None:
        return resolved
    if kept is not None and (chef_role is not None or serving is not None):
        return shown if shown is not None and shown == serving else kept
    if chef_role is None and serving is not None and environment.name not in world.refreshing:
        return serving
    return resolved or shown
