"""What is declared no more: environments and roles that go, in order, each step waiting for the last to be seen done."""

from collections.abc import Iterable, Sequence

from reconciler.model.actions import Reason
from reconciler.model.desired import Environment
from reconciler.model.facts import Fact, RoleRecovered, RoleSettled, TeardownBegan, TeardownEnded
from reconciler.model.memory import Cause, Intent
from reconciler.model.names import RoleName, chef_role_name, split_chef_role_name
from reconciler.model.observed import Departed, Node, ObservedEnvironment, Phase
from reconciler.model.plan import EnvironmentPlan
from reconciler.plan.chef import remove_departed, remove_environment, remove_role
from reconciler.plan.context import Context
from reconciler.plan.intents import await_or_close
from reconciler.plan.role_context import RolePlan, lost_stall


def plan_undeclared(observed: ObservedEnvironment, context: Context) -> EnvironmentPlan:
    """Tear down an environment that an applied revision declared, or sweep one that none ever did."""
    name = observed.name
    known = context.memory.environments.get(name)
    open_intents = context.open_intents.get(name, ())
    if observed.is_empty and not open_intents:
        return EnvironmentPlan(
            name=name, is_declared=False, facts=(TeardownEnded(environment=name),) if known is not None else ()
        )
    rule, cause = ("sweep", Cause.SWEEP) if known is None else ("teardown", Cause.TEARDOWN)
    reason = Reason(rule=rule, detail=f"no file declares {name}", revision=context.revision)
    plan = RolePlan()
    _remove_nodes(observed.nodes, cause, reason, context, plan)
    for intent in open_intents:
        await_or_close(intent, observed.nodes, context, plan)
    _await_last_look(observed.departed, plan)
    for departed in observed.departed:
        plan.actions.extend(remove_departed(departed, None, context.revision))
    if not open_intents and not observed.nodes and not observed.departed:
        for chef_role in sorted(observed.chef_roles.values(), key=lambda role: role.name):
            plan.actions.extend(remove_role(context.rules.fleet, name, chef_role, reason))
        plan.actions.extend(remove_environment(context.rules.fleet, name, observed.chef_environment, reason))
    # Begun with its first action, so that no teardown gets past the limits by beginning with nothing.
    begins = known is not None and known.teardown_began_at is None and bool(plan.actions)
    return EnvironmentPlan(
        name=name,
        is_declared=False,
        actions=tuple(plan.actions),
        waiting=tuple(plan.waiting),
        stalls=tuple(plan.stalls),
        facts=(*plan.facts, *((TeardownBegan(environment=name, revision=context.revision),) if begins else ())),
    )


def remove_undeclared_roles(environment: Environment, observed: ObservedEnvironment, context: Context) -> RolePlan:
    """Roles that a declared environment has no more: their nodes, then their Chef role."""
    plan = RolePlan()
    for role in sorted(_roles_present(environment, observed, context)):
        nodes = [node for node in observed.nodes if node.role == role]
        open_intents = [one for one in context.open_intents.get(environment.name, ()) if one.role == role]
        was_declared = _was_declared(environment, role, nodes, open_intents, context)
        rule, cause = ("role removed", Cause.TEARDOWN) if was_declared else ("sweep", Cause.SWEEP)
        reason = Reason(
            rule=rule,
            detail=f"{environment.origin.file} declares no role {role}",
            origin=environment.origin,
            revision=context.revision,
        )
        _remove_nodes(nodes, cause, reason, context, plan)
        for intent in open_intents:
            await_or_close(intent, nodes, context, plan)
        departed = [one for one in observed.departed if one.role == role]
        _await_last_look(departed, plan)
        if open_intents or nodes or departed:
            continue
        chef_role = observed.chef_roles.get(chef_role_name(environment.name, role))
        if chef_role is not None:
            plan.actions.extend(remove_role(context.rules.fleet, environment.name, chef_role, reason))
        else:
            plan.facts.extend(_forgotten(environment, role, context))
    return plan


def _roles_present(environment: Environment, observed: ObservedEnvironment, context: Context) -> set[RoleName]:
    present = {node.role for node in observed.nodes}
    present |= {departed.role for departed in observed.departed}
    present |= {intent.role for intent in context.open_intents.get(environment.name, ())}
    present |= {parts[1] for name in observed.chef_roles if (parts := split_chef_role_name(name)) is not None}
    remembered = {*context.memory.settled, *context.memory.troubles}
    present |= {role for name, role in remembered if name == environment.name}
    return present - set(environment.roles)


def _was_declared(
    environment: Environment, role: RoleName, nodes: Sequence[Node], open_intents: Sequence[Intent], context: Context
) -> bool:
    """Some commit asked for it: it held nodes, or troubles, or its launches are our own."""
    key = (environment.name, role)
    known = bool(context.memory.settled.get(key)) or key in context.memory.troubles
    return known or bool(open_intents) or any(node.launched_with for node in nodes)


def _forgotten(environment: Environment, role: RoleName, context: Context) -> Iterable[Fact]:
    """Nothing of the role is left: whoever declares it again starts afresh."""
    key = (environment.name, role)
    if context.memory.settled.get(key):
        yield RoleSettled(environment=environment.name, role=role, count=0)
    if key in context.memory.troubles:
        yield RoleRecovered(environment=environment.name, role=role)


def _remove_nodes(nodes: Iterable[Node], cause: Cause, reason: Reason, context: Context, plan: RolePlan) -> None:
    for node in nodes:
        match node.phase:
            case Phase.LOST:
                plan.stalls.append(lost_stall(node, context.rules))
            case Phase.TERMINATING:
                plan.wait(node.role, f"{node.instance_id} terminating")
            case _ if node.is_unseen:
                plan.wait(node.role, f"{node.instance_id} goes when EC2 shows it")
            case _ if cause == Cause.SWEEP and not _may_sweep(node, context):
                plan.wait(node.role, f"{node.instance_id} is wanted by nobody; it is swept if that stays so")
            case _:
                plan.terminate(node, cause, reason)


def _await_last_look(departed: Iterable[Departed], plan: RolePlan) -> None:
    """What comes after them waits for the pass that forgets them, and that pass must come."""
    for one in departed:
        if not one.has_chef_node and not one.has_client:
            plan.wait(one.role, f"{one.instance_id} is gone, nothing of it is left in Chef")


def _may_sweep(node: Node, context: Context) -> bool:
    """Two sightings with the minimum age between them, and the whole fleet in view."""
    is_old = node.odd_since is not None and context.now - node.odd_since >= context.rules.orphan_age
    return is_old and context.observed.is_full
