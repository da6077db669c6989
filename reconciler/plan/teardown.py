"""What is declared no more: environments and roles that go, in order, each step waiting for the last to be seen done."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from reconciler.model.actions import Reason
from reconciler.model.desired import Environment
from reconciler.model.facts import (
    EndingCancelled,
    EnvironmentEnding,
    Fact,
    RoleRecovered,
    RoleSettled,
    TeardownBegan,
    TeardownEnded,
)
from reconciler.model.memory import Cause, Ending, Item, ItemKind, KnownEnvironment
from reconciler.model.names import EnvironmentName, RoleName
from reconciler.model.observed import Departed, Node, ObservedEnvironment, Phase
from reconciler.model.plan import EnvironmentPlan
from reconciler.plan.chef import generated_roles, remove_departed, remove_generated, remove_role
from reconciler.plan.context import Context
from reconciler.plan.ending import ending_of, grace_ends_at
from reconciler.plan.intents import await_or_close
from reconciler.plan.orphans import cleared, may_go, sight
from reconciler.plan.receipt import orphanable, receipt
from reconciler.plan.role_context import RolePlan, lost_stall


def plan_undeclared(observed: ObservedEnvironment, context: Context) -> EnvironmentPlan:
    """Tear down an environment that an applied revision declared, or sweep one that none ever did."""
    if observed.name in context.memory.environments:
        return tear_down(observed, ending_of(observed.name, context), context)
    return _sweep(observed, context)


def tear_down(
    observed: ObservedEnvironment, ending: Ending, context: Context, *, reason: Reason | None = None
) -> EnvironmentPlan:
    """Everything of a known environment goes, whether its file is gone or its lifetime is over.

    The plan is the whole removal from the first look on, so that people see it, and may approve it, during the grace
    period; the guards hold it until then.
    """
    name, known = observed.name, context.memory.environments[observed.name]
    facts: list[Fact] = [*cleared(name, (), context)]
    has_begun = known.teardown_began_at is not None
    if observed.is_empty and name not in context.open_intents:
        facts.extend(receipt(observed, ending, context))
        return EnvironmentPlan(name=name, is_declared=False, facts=(*facts, TeardownEnded(environment=name)))
    reason = reason or Reason(rule="teardown", detail=ending.why, revision=ending.revision)
    plan = _remove_all(observed, Cause.TEARDOWN, reason, context)
    facts.extend(_noted(known, ending))
    if _is_bare(observed, context) and _was_read_by_name(known, context):
        plan.actions.extend(remove_generated(context.rules.fleet, observed, reason))
    # Begun with its first action, so that no teardown gets past the limits by beginning with nothing.
    begins = not has_begun and bool(plan.actions)
    if begins:
        facts.append(TeardownBegan(environment=name, revision=context.revision))
    if begins or has_begun:
        facts.extend(receipt(observed, ending, context))
    graced_until = grace_ends_at(ending, context.rules)
    if not has_begun and graced_until > context.now:
        plan.due(graced_until)
    return replace(_undeclared(name, plan, facts), ending=ending)


def _noted(known: KnownEnvironment, ending: Ending) -> Iterator[Fact]:
    """The ending, where the journal does not have it as it is."""
    if known.ending is not None and (known.ending.at == ending.at or known.teardown_began_at is not None):
        return
    if known.ending is not None:
        yield EndingCancelled(environment=known.name)  # the first one is kept: it must go before another can come
    yield EnvironmentEnding(
        environment=known.name,
        cause=ending.cause,
        revision=ending.revision,
        author=ending.author,
        file=ending.file,
    )


def _sweep(observed: ObservedEnvironment, context: Context) -> EnvironmentPlan:
    """What nobody declares or remembers: each thing goes when it was seen so twice, with the minimum age between."""
    orphans = orphanable(observed, context.rules.fleet)
    facts = [*cleared(observed.name, orphans, context)]
    if observed.is_empty and observed.name not in context.open_intents:
        return EnvironmentPlan(name=observed.name, is_declared=False, facts=tuple(facts))
    reason = Reason(rule="sweep", detail=f"no file declares {observed.name}", revision=context.revision)
    plan = _remove_all(observed, Cause.SWEEP, reason, context)
    sight(orphans, context, plan)
    if orphans and _is_bare(observed, context) and may_go(orphans, context, plan):
        plan.actions.extend(remove_generated(context.rules.fleet, observed, reason))
    return _undeclared(observed.name, plan, facts)


def _remove_all(observed: ObservedEnvironment, cause: Cause, reason: Reason, context: Context) -> RolePlan:
    """The nodes, the launches of unknown outcome, and what those that are gone left in Chef."""
    plan = RolePlan()
    _remove_nodes(observed.nodes, cause, reason, context, plan)
    for intent in context.open_intents.get(observed.name, ()):
        await_or_close(intent, observed.nodes, context, plan)
    _await_last_look(observed.departed, plan)
    for departed in observed.departed:
        plan.actions.extend(remove_departed(departed, None, context.revision))
    return plan


def _is_bare(observed: ObservedEnvironment, context: Context) -> bool:
    """No node is left, and none may show any more: its generated Chef objects are all there is."""
    return not (observed.nodes or observed.departed or observed.name in context.open_intents)


def _was_read_by_name(known: KnownEnvironment, context: Context) -> bool:
    """What Chef holds of it: a search may show what is somebody else's by now as ours. Of one whose file is still there
    this begins when its ending is remembered."""
    return known.ending is not None or known.name not in context.desired.names


def _undeclared(name: EnvironmentName, plan: RolePlan, facts: Sequence[Fact]) -> EnvironmentPlan:
    return EnvironmentPlan(
        name=name,
        is_declared=False,
        actions=tuple(plan.actions),
        waiting=tuple(plan.waiting),
        stalls=tuple(plan.stalls),
        due_at=plan.due_at,
        facts=(*facts, *plan.facts),
    )


def remove_undeclared_roles(environment: Environment, observed: ObservedEnvironment, context: Context) -> RolePlan:
    """Roles that a declared environment has no more: their nodes, then their Chef role."""
    plan = RolePlan()
    generated = generated_roles(context.rules.fleet, observed)
    orphans: set[Item] = set()
    for role in sorted(_roles_present(environment, observed, context)):
        nodes = [node for node in observed.nodes if node.role == role]
        open_intents = [one for one in context.open_intents.get(environment.name, ()) if one.role == role]
        was_declared = _was_declared(environment, role, nodes, context)
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
        chef_role = generated.get(role)
        item = {Item(kind=ItemKind.CHEF_ROLE, name=chef_role.name)} if chef_role is not None else set()
        if not was_declared:
            orphans |= item
            sight(item, context, plan)
        if open_intents or nodes or departed:
            continue
        if chef_role is None:
            plan.facts.extend(_forgotten(environment, role, context))
        elif was_declared or may_go(item, context, plan, role=role):
            plan.actions.append(remove_role(environment.name, role, chef_role, reason))
    plan.facts.extend(cleared(environment.name, orphans, context))
    return plan


def _roles_present(environment: Environment, observed: ObservedEnvironment, context: Context) -> set[RoleName]:
    present = {node.role for node in observed.nodes}
    present |= {departed.role for departed in observed.departed}
    present |= {intent.role for intent in context.open_intents.get(environment.name, ())}
    present |= set(generated_roles(context.rules.fleet, observed))
    remembered = {*context.memory.settled, *context.memory.troubles}
    present |= {role for name, role in remembered if name == environment.name}
    return present - set(environment.roles)


def _was_declared(environment: Environment, role: RoleName, nodes: Sequence[Node], context: Context) -> bool:
    """Some commit asked for it: it held nodes, or troubles, or its launches are our own."""
    key = (environment.name, role)
    launched = {(intent.environment, intent.role) for intent in context.memory.intents.values()}
    known = bool(context.memory.settled.get(key)) or key in context.memory.troubles
    return known or key in launched or any(node.launched_with for node in nodes)


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
                due_at = (node.odd_since or context.now) + context.rules.orphan_age
                if due_at > context.now:  # else it waits for the next full pass
                    plan.due(due_at)
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
