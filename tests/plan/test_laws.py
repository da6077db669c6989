"""What holds of every plan, whatever the world looks like. Each law yields the cases that it judged."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from reconciler.model import tags
from reconciler.model.actions import (
    ActionName,
    DeleteChefClient,
    DeleteChefEnvironment,
    DeleteChefNode,
    DeleteChefRole,
    EnsureChefNode,
    LaunchNodes,
    ReplaceNode,
    ReplayLaunch,
    TagNode,
    TerminateNode,
)
from reconciler.model.desired import ImageById
from reconciler.model.facts import EndingCancelled, RoleSettled, TeardownBegan, TeardownItems
from reconciler.model.memory import Item, ItemKind
from reconciler.model.names import EnvironmentName, InstanceId, RoleName
from reconciler.model.observed import Node, Phase
from reconciler.plan import Context, guard, plan
from reconciler.plan.drift import drift
from reconciler.plan.guard import removals
from reconciler.plan.intents import unseen
from tests.plan.builders import FLEET, broken, desired
from tests.plan.law import actions_of, both, law
from tests.plan.worlds import AT_ONCE, converged_worlds, random_worlds

# What a role's places are filled with: what is out of sight may still run.
PLACED = (Phase.PENDING, Phase.RUNNING, Phase.REGISTERED, Phase.READY, Phase.LOST)
KINDS = {
    ActionName.TERMINATE_NODE: ItemKind.INSTANCE,
    ActionName.DELETE_CHEF_NODE: ItemKind.CHEF_NODE,
    ActionName.DELETE_CHEF_CLIENT: ItemKind.CHEF_CLIENT,
    ActionName.DELETE_CHEF_ROLE: ItemKind.CHEF_ROLE,
    ActionName.DELETE_CHEF_ENVIRONMENT: ItemKind.CHEF_ENVIRONMENT,
}


def nodes_of(context: Context) -> dict[InstanceId, Node]:
    return {node.instance_id: node for one in context.observed.environments.values() for node in one.nodes}


@law(random_worlds(), least=50)
def test_planning_is_deterministic_and_sorted_whatever_order_things_come_in(world: Context) -> Iterator[object]:
    def backwards(found: Mapping[Any, Any]) -> dict[Any, Any]:
        return dict(reversed(list(found.items())))

    context = world
    memory = context.memory
    turned = replace(
        context,
        desired=replace(context.desired, environments=backwards(context.desired.environments)),
        observed=replace(
            context.observed,
            environments={
                name: replace(one, chef_roles=backwards(one.chef_roles))
                for name, one in backwards(context.observed.environments).items()
            },
        ),
        memory=replace(
            memory,
            environments=backwards(memory.environments),
            intents=backwards(memory.intents),
            settled=backwards(memory.settled),
            orphans=backwards(memory.orphans),
        ),
    )
    made = both(context)
    assert both(context) == made
    assert both(turned) == made
    names = [one.name for one in made[0].environments]
    assert names == sorted(names)
    if len([one for one in made[0].environments if one.actions]) > 1:
        yield world


@law(converged_worlds(), least=50)
def test_a_converged_world_has_an_empty_plan(context: Context) -> Iterator[object]:
    made = guard(plan(context), context)
    assert made.is_empty
    assert all(one.is_converged and one.facts == () for one in made.environments)
    assert made.requeue_after_s is None
    if nodes_of(context):
        yield context


@law(converged_worlds(), least=50)
def test_losing_the_memory_changes_no_node(context: Context) -> Iterator[object]:
    worlds = {
        name: replace(one, nodes=tuple(replace(node, launched_with={}) for node in one.nodes))
        for name, one in context.observed.environments.items()
    }
    lost = replace(context.memory, settled={})
    made = plan(replace(context, observed=replace(context.observed, environments=worlds), memory=lost))
    assert made.is_empty
    assert all(isinstance(fact, RoleSettled) for one in made.environments for fact in one.facts)
    if nodes_of(context):
        yield context


@law(random_worlds(mostly=["steady", "ending"]), least=50)
def test_what_is_out_of_sight_or_lacks_our_tag_is_never_touched(world: Context) -> Iterator[object]:
    by_id = nodes_of(world)
    by_name = {node.name: node for node in by_id.values()}
    for one in plan(world).environments:
        for action in one.actions:
            if isinstance(action, TerminateNode | TagNode | ReplaceNode):
                node = by_id[action.instance_id]
                assert node.phase != Phase.LOST
                assert node.instance.tags.get(tags.FLEET) == FLEET
            if isinstance(action, EnsureChefNode):
                assert by_name[action.node].phase != Phase.LOST
        if one.actions:
            yield from (node for node in world.environment(one.name).nodes if node.phase == Phase.LOST)


@law(random_worlds(mostly=["steady"]), least=10)
def test_no_more_nodes_that_serve_and_are_in_spec_go_than_there_are_too_many(world: Context) -> Iterator[object]:
    made = plan(world)
    for one in made.environments:
        home = world.desired.environments.get(one.name)
        if home is None:
            continue
        going = {action.instance_id for action in one.actions if isinstance(action, TerminateNode)}
        for role in home.roles.values():
            here = [n for n in world.environment(one.name).nodes if n.role == role.name]
            assert isinstance(role.image, ImageById)
            image = role.image.image_id
            serving = [n for n in here if n.phase == Phase.READY and not drift(role, image, n)]
            placed = [n for n in here if n.phase in (*PLACED, Phase.STOPPED)]
            leaving = [n for n in serving if n.instance_id in going]
            assert len(leaving) <= max(0, len(placed) - role.count)
            yield from leaving


@law(random_worlds(mostly=["steady"]), least=15)
def test_never_more_are_launched_than_lack_and_one_while_replacing(world: Context) -> Iterator[object]:
    for one in plan(world).environments:
        home = world.desired.environments.get(one.name)
        launching = [a for a in one.actions if isinstance(a, LaunchNodes | ReplaceNode | ReplayLaunch)]
        assert home is not None or not launching
        for role in home.roles.values() if home else ():
            of_role = [a for a in launching if a.role == role.name]
            new = sum(a.count for a in of_role if isinstance(a, LaunchNodes))
            extra = sum(1 for a in of_role if isinstance(a, ReplaceNode))
            if not new and not extra:
                continue
            going = {a.instance_id for a in one.actions if isinstance(a, TerminateNode)}
            here = [n for n in world.environment(one.name).nodes if n.role == role.name]
            kept = [n for n in here if n.phase in PLACED and n.instance_id not in going]
            waiting = [i for i in world.open_intents.get(one.name, ()) if i.role == role.name]
            may_come = sum(unseen(intent, here) for intent in waiting)
            assert extra <= 1
            assert not (new and extra)
            assert len(kept) + may_come + new + extra <= role.count + extra
            yield role


@law(random_worlds(), least=50)
def test_a_frozen_environment_has_no_action_ever(world: Context) -> Iterator[object]:
    for made in both(world):
        for one in made.environments:
            if one.name in world.desired.frozen:
                assert (one.actions, one.blocked) == ((), ())
                assert not any(not isinstance(fact, EndingCancelled) for fact in one.facts)
                yield from world.environment(one.name).nodes


@law(random_worlds(), least=80)
def test_a_file_that_breaks_changes_nothing_elsewhere(world: Context) -> Iterator[object]:
    wanted = world.desired
    for name in wanted.environments:
        others = [one for one in wanted.environments.values() if one.name != name]
        worse = replace(world, desired=desired(*others, frozen=[*wanted.frozen.values(), broken(name)]))
        for before, after in zip(both(world), both(worse), strict=True):
            left = [one for one in before.environments if one.name != name]
            assert left == [one for one in after.environments if one.name != name]
        yield from (one for one in left if one.actions or one.blocked)


@law(random_worlds(mostly=["ending"]), least=30)
def test_chef_nodes_and_clients_go_only_after_their_instance_was_seen_gone(world: Context) -> Iterator[object]:
    departed = {d.instance_id for one in world.observed.environments.values() for d in one.departed}
    for action in actions_of(plan(world)):
        if isinstance(action, DeleteChefNode | DeleteChefClient):
            assert action.instance_id in departed
            yield action


@law(random_worlds(mostly=["ending", "steady"]), least=80)
def test_generated_objects_go_only_when_nothing_of_theirs_is_left(world: Context) -> Iterator[object]:
    for one in plan(world).environments:
        here = world.environment(one.name)
        unresolved = {intent.role for intent in world.open_intents.get(one.name, ())}
        left = {n.role for n in here.nodes} | {d.role for d in here.departed} | unresolved
        for action in one.actions:
            if isinstance(action, DeleteChefEnvironment):
                assert not left
                yield action
            if isinstance(action, DeleteChefRole):
                assert action.role not in left
                yield action


@law(random_worlds(mostly=["ending", "steady"], is_full=False), least=100)
def test_a_scoped_look_begins_no_teardown_and_sweeps_nothing(world: Context) -> Iterator[object]:
    for one in plan(world).environments:
        assert not any(isinstance(fact, TeardownBegan) for fact in one.facts)
        assert not any(isinstance(a, TerminateNode) and a.cause == "sweep" for a in one.actions)
        if one.name not in world.desired.names:
            known = world.memory.environments[one.name]
            assert known.teardown_began_at is not None
    for here in world.observed.environments.values():
        if here.name not in world.desired.names and not here.is_empty and not world.has_begun(here.name):
            yield here
        yield from (node for node in here.nodes if node.role not in _declared_roles(world, here.name))


def _declared_roles(world: Context, name: EnvironmentName) -> set[RoleName]:
    home = world.desired.environments.get(name)
    return set(home.roles) if home is not None else set()


@law(random_worlds(mostly=["orphaned", "steady"]), least=20)
def test_orphans_in_chef_go_only_in_full_looks_and_when_they_were_seen_long_ago(world: Context) -> Iterator[object]:
    for one in plan(world).environments:
        for action in one.actions:
            match action:
                case DeleteChefRole() if not _some_commit_asks_for_its_end(world, one.name, action.role):
                    item = Item(kind=ItemKind.CHEF_ROLE, name=action.chef_role)
                case DeleteChefEnvironment() if one.name not in world.memory.environments:
                    item = Item(kind=ItemKind.CHEF_ENVIRONMENT, name=action.chef_environment)
                case _:
                    continue
            assert world.observed.is_full
            assert world.memory.orphans[item] + world.rules.orphan_age <= world.now
            yield item


def _some_commit_asks_for_its_end(world: Context, name: EnvironmentName, role: RoleName) -> bool:
    """Of a role of a declared environment: we knew it once."""
    if name not in world.desired.environments:
        return name in world.memory.environments
    launched = {(intent.environment, intent.role) for intent in world.memory.intents.values()}
    return bool(world.memory.settled.get((name, role))) or (name, role) in launched | set(world.memory.troubles)


@law(random_worlds(mostly=["ending"], rules=AT_ONCE), least=25)
def test_what_a_teardown_removes_is_on_its_receipt(world: Context) -> Iterator[object]:
    for one in both(world)[1].environments:
        known = world.memory.environments.get(one.name)
        if one.is_declared or known is None:
            continue
        listed = {item for fact in one.facts if isinstance(fact, TeardownItems) for item in fact.found}
        listed |= set(known.ending.items) if known.ending is not None else set()
        removed = {Item(kind=KINDS[ActionName(gone.action)], name=gone.target) for gone in removals(one.actions)}
        assert removed <= listed
        yield from removed
