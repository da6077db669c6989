"""What is declared no more: environments and roles that go, in order, each step waiting for the last to be seen done."""

from collections.abc import Iterable

from reconciler.model.actions import Reason, TerminateNode
from reconciler.model.desired import Environment
from reconciler.model.memory import Cause, RoleSettled, TeardownBegan, TeardownEnded
from reconciler.model.names import RoleName, chef_role_name
from reconciler.model.observed import Node, ObservedEnvironment, Phase
from reconciler.model.plan import EnvironmentPlan, Waiting
from reconciler.plan.chef import remove_departed, remove_environment, remove_role
from reconciler.plan.context import Context
from reconciler.plan.roles import RolePlan, await_or_close, lost_stall


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
        await_or_close(intent, observed.nodes, context.now, plan)
    for departed in observed.departed:
        plan.actions.extend(remove_departed(departed, context.revision))
    if not open_intents and not observed.nodes and not observed.departed:
        for chef_role in sorted(observed.chef_roles.values(), key=lambda role: role.name):
            plan.actions.extend(remove_role(context.rules.fleet, name, chef_role, reason))
        plan.actions.extend(remove_environment(context.rules.fleet, name, observed.chef_environment, reason))
    begins = known is not None and known.teardown_began_at is None
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
        was_declared = (environment.name, role) in context.memory.settled
        rule, cause = ("role removed", Cause.TEARDOWN) if was_declared else ("sweep", Cause.SWEEP)
        reason = Reason(
            rule=rule,
            detail=f"{environment.origin.file} declares no role {role}",
            origin=environment.origin,
            revision=context.revision,
        )
        nodes = [node for node in observed.nodes if node.role == role]
        _remove_nodes(nodes, cause, reason, context, plan)
        open_intents = [one for one in context.open_intents.get(environment.name, ()) if one.role == role]
        for intent in open_intents:
            await_or_close(intent, nodes, context.now, plan)
        if open_intents or nodes or any(departed.role == role for departed in observed.departed):
            continue
        chef_role = observed.chef_roles.get(chef_role_name(environment.name, role))
        if chef_role is not None:
            plan.actions.extend(remove_role(context.rules.fleet, environment.name, chef_role, reason))
        elif context.memory.settled.get((environment.name, role)):
            plan.facts.append(RoleSettled(environment=environment.name, role=role, count=0))
    return plan


def _roles_present(environment: Environment, observed: ObservedEnvironment, context: Context) -> set[RoleName]:
    present = {node.role for node in observed.nodes}
    present |= {departed.role for departed in observed.departed}
    present |= {intent.role for intent in context.open_intents.get(environment.name, ())}
    prefix = f"{environment.name}-"
    present |= {RoleName(name.removeprefix(prefix)) for name in observed.chef_roles}
    return present - set(environment.roles)


def _remove_nodes(nodes: Iterable[Node], cause: Cause, reason: Reason, context: Context, plan: RolePlan) -> None:
    for node in nodes:
        match node.phase:
            case Phase.LOST:
                plan.stalls.append(lost_stall(node, context.rules))
            case Phase.TERMINATING:
                plan.waiting.append(Waiting(message=f"{node.role}: {node.instance_id} terminating", role=node.role))
            case _ if cause == Cause.SWEEP and (
                node.odd_since is None or context.now - node.odd_since < context.rules.orphan_age
            ):
                message = f"{node.role}: {node.instance_id} is wanted by nobody; it is swept if that stays so"
                plan.waiting.append(Waiting(message=message, role=node.role))
            case _:
                plan.actions.append(
                    TerminateNode(
                        environment=node.environment,
                        role=node.role,
                        node=node.name,
                        instance_id=node.instance_id,
                        cause=cause,
                        reason=reason,
                    )
                )
