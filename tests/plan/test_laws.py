"""What holds of every plan, whatever the world looks like."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reconciler.model import tags
from reconciler.model.actions import (
    Action,
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
from reconciler.model.names import InstanceId
from reconciler.model.observed import Node, Phase
from reconciler.model.plan import Blocked, EnvironmentPlan, Guard, Plan
from reconciler.model.rules import Rules
from reconciler.plan import Context, guard, plan
from reconciler.plan.drift import drift
from reconciler.plan.guard import removals
from reconciler.plan.intents import unseen
from reconciler.plan.role_context import PLACED
from tests.plan.builders import FLEET, NOW, approval, broken, desired
from tests.plan.worlds import NAMES, converged_worlds, random_worlds

SOMEBODY_ELSE = Blocked(guard=Guard.NOT_OWNER, message="not ours", remedy="")
many = settings(max_examples=100, deadline=None)


def both(context: Context) -> tuple[Plan, Plan]:
    made = plan(context)
    return made, guard(made, context)


def nodes_of(context: Context) -> dict[InstanceId, Node]:
    return {node.instance_id: node for one in context.observed.environments.values() for node in one.nodes}


def actions_of(made: Plan) -> list[Action]:
    return [action for one in made.environments for action in one.actions]


@many
@given(world=random_worlds())
def test_planning_is_deterministic_and_sorted_whatever_order_things_come_in(world: Context) -> None:
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
        memory=replace(memory, intents=backwards(memory.intents), settled=backwards(memory.settled)),
    )
    made = both(context)
    assert both(context) == made
    assert both(turned) == made
    names = [one.name for one in made[0].environments]
    assert names == sorted(names)


@many
@given(context=converged_worlds())
def test_a_converged_world_has_an_empty_plan(context: Context) -> None:
    made = guard(plan(context), context)
    assert made.is_empty
    assert all(one.is_converged and one.facts == () for one in made.environments)
    assert made.requeue_after_s is None


@many
@given(context=converged_worlds())
def test_losing_the_memory_changes_no_node(context: Context) -> None:
    made = plan(replace(context, memory=replace(context.memory, settled={})))
    assert made.is_empty
    assert all(isinstance(fact, RoleSettled) for one in made.environments for fact in one.facts)


@many
@given(world=random_worlds())
def test_what_is_out_of_sight_or_lacks_our_tag_is_never_touched(world: Context) -> None:
    by_id = nodes_of(world)
    by_name = {node.name: node for node in by_id.values()}
    for action in actions_of(plan(world)):
        if isinstance(action, TerminateNode | TagNode | ReplaceNode):
            node = by_id[action.instance_id]
            assert node.phase != Phase.LOST
            assert node.instance.tags.get(tags.FLEET) == FLEET
        if isinstance(action, EnsureChefNode):
            assert by_name[action.node].phase != Phase.LOST


@many
@given(world=random_worlds())
def test_no_more_nodes_that_serve_and_are_in_spec_go_than_there_are_too_many(world: Context) -> None:
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
            assert len([n for n in serving if n.instance_id in going]) <= max(0, len(placed) - role.count)


@many
@given(world=random_worlds())
def test_never_more_are_launched_than_lack_and_one_while_replacing(world: Context) -> None:
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


@many
@given(world=random_worlds())
def test_a_frozen_environment_has_no_action_ever(world: Context) -> None:
    for made in both(world):
        for one in made.environments:
            if one.name in world.desired.frozen:
                assert (one.actions, one.blocked) == ((), ())
                assert not any(not isinstance(fact, EndingCancelled) for fact in one.facts)


@many
@given(world=random_worlds(), name=st.sampled_from(NAMES))
def test_a_file_that_breaks_changes_nothing_elsewhere(world: Context, name: str) -> None:
    wanted = world.desired
    assume(name in wanted.environments)
    others = [one for one in wanted.environments.values() if one.name != name]
    worse = replace(world, desired=desired(*others, frozen=[*wanted.frozen.values(), broken(name)]))
    for before, after in zip(both(world), both(worse), strict=True):
        assert [one for one in before.environments if one.name != name] == [
            one for one in after.environments if one.name != name
        ]


@many
@given(world=random_worlds())
def test_chef_nodes_and_clients_go_only_after_their_instance_was_seen_gone(world: Context) -> None:
    departed = {d.instance_id for one in world.observed.environments.values() for d in one.departed}
    for action in actions_of(plan(world)):
        if isinstance(action, DeleteChefNode | DeleteChefClient):
            assert action.instance_id in departed


@many
@given(world=random_worlds())
def test_generated_objects_go_only_when_nothing_of_theirs_is_left(world: Context) -> None:
    for one in plan(world).environments:
        here = world.environment(one.name)
        for action in one.actions:
            if isinstance(action, DeleteChefEnvironment):
                assert not here.nodes and not here.departed
            if isinstance(action, DeleteChefRole):
                assert action.role not in {n.role for n in here.nodes} | {d.role for d in here.departed}


@many
@given(world=random_worlds(is_full=False))
def test_a_scoped_look_begins_no_teardown_and_sweeps_nothing(world: Context) -> None:
    for one in plan(world).environments:
        assert not any(isinstance(fact, TeardownBegan) for fact in one.facts)
        assert not any(isinstance(a, TerminateNode) and a.cause == "sweep" for a in one.actions)
        if one.name not in world.desired.names:
            known = world.memory.environments[one.name]
            assert known.teardown_began_at is not None


@many
@given(world=random_worlds())
def test_orphans_in_chef_go_only_in_full_looks_and_when_they_were_seen_long_ago(world: Context) -> None:
    for one in plan(world).environments:
        if one.name in world.memory.environments or one.name in world.desired.environments:
            continue  # there a commit may have asked for it
        for action in one.actions:
            match action:
                case DeleteChefRole():
                    item = Item(kind=ItemKind.CHEF_ROLE, name=action.chef_role)
                case DeleteChefEnvironment():
                    item = Item(kind=ItemKind.CHEF_ENVIRONMENT, name=action.chef_environment)
                case _:
                    continue
            assert world.observed.is_full
            assert world.memory.orphans[item] + world.rules.orphan_age <= world.now


@many
@given(world=random_worlds())
def test_what_a_teardown_removes_is_on_its_receipt(world: Context) -> None:
    for one in both(world)[1].environments:
        known = world.memory.environments.get(one.name)
        if one.is_declared or known is None:
            continue
        listed = {item.name for fact in one.facts if isinstance(fact, TeardownItems) for item in fact.found}
        listed |= {item.name for item in known.ending.items} if known.ending is not None else set()
        assert {gone.target for gone in removals(one.actions)} <= listed


# --- guards ---------------------------------------------------------------------------------------------------------


@many
@given(world=random_worlds())
def test_guards_only_take_away_and_what_they_take_is_shown(world: Context) -> None:
    planned, guarded = both(world)
    for before, after in zip(planned.environments, guarded.environments, strict=True):
        held = {id(action) for hold in after.blocked for action in hold.actions}
        left = [id(action) for action in after.actions]
        assert left == [id(action) for action in before.actions if id(action) in set(left)]  # in their order
        assert not held & set(left)
        is_backing_off = (found := world.memory.backoffs.get(after.name)) is not None and found.until > NOW
        if not (is_backing_off and after.actions == () and not after.blocked):
            assert held | set(left) == {id(action) for action in before.actions}
        assert set(after.facts) <= set(before.facts)


@many
@given(world=random_worlds())
def test_terminations_that_no_commit_asked_for_stay_within_the_limit(world: Context) -> None:
    _, guarded = both(world)
    lately = Counter(t.environment for t in world.memory.terminations if t.cause.is_counted)
    asked = {t.instance_id for t in world.memory.terminations if t.cause.is_counted}
    for one in guarded.environments:
        live = [n for n in world.environment(one.name).nodes if n.phase != Phase.TERMINATING]
        going = {
            a.instance_id for a in one.actions if isinstance(a, TerminateNode | ReplaceNode) and a.cause.is_counted
        }
        if going - asked:
            assert lately[one.name] + len(going - asked) <= max(1, len(live) / 10)


@many
@given(world=random_worlds())
def test_whoever_may_not_write_does_nothing(world: Context) -> None:
    observing = replace(world, rules=Rules(fleet=FLEET, is_observing=True))
    for made in (
        guard(plan(observing), observing),
        guard(plan(world), world, not_owner=SOMEBODY_ELSE),
    ):
        assert actions_of(made) == []
        assert not any(isinstance(fact, TeardownBegan) for one in made.environments for fact in one.facts)


@many
@given(world=random_worlds())
def test_within_the_grace_nothing_of_an_ending_environment_is_touched(world: Context) -> None:
    for one in both(world)[1].environments:
        known = world.memory.environments.get(one.name)
        if one.name in world.desired.names or known is None or known.teardown_began_at is not None:
            continue
        began_at = known.ending.at if known.ending is not None else NOW
        if began_at + world.rules.teardown_grace > NOW:
            assert one.actions == ()
            assert not any(isinstance(fact, TeardownBegan | TeardownItems) for fact in one.facts)


@many
@given(world=random_worlds())
def test_whatever_ends_by_itself_is_looked_at_when_it_does(world: Context) -> None:
    _, guarded = both(world)
    for one in guarded.environments:
        for hold in one.blocked:
            if hold.until is not None and hold.until > NOW:
                assert one.due_at is not None
                assert guarded.requeue_after_s is not None
                assert one.due_at <= hold.until
                assert guarded.requeue_after_s <= (one.due_at - NOW).total_seconds()


@many
@given(world=random_worlds())
def test_a_suspended_environment_sees_no_action(world: Context) -> None:
    suspended = {one.environment for one in world.memory.suspensions}
    suspended |= {one.name for one in world.desired.environments.values() if one.suspend}
    _, guarded = both(world)
    assert all(one.actions == () for one in guarded.environments if one.name in suspended)


@many
@given(world=random_worlds())
def test_protected_environments_are_not_torn_down(world: Context) -> None:
    approved = replace(world, memory=replace(world.memory, approvals=(approval(both(world)[1]),)))
    for context in (world, approved):
        for one in guard(plan(context), context).environments:
            here = context.environment(one.name)
            protected = any(node.instance.is_protected for node in here.nodes) or any(m.protected for m in here.owned)
            if not one.is_declared and protected:
                assert one.actions == ()


@many
@given(world=random_worlds())
def test_approving_all_that_is_held_leaves_nothing_that_approval_could_lift(world: Context) -> None:
    """One yes to each hold's own list, as `hivequeen approve` records it."""
    _, guarded = both(world)
    approvals = tuple(_approve(digest, guarded) for digest in _digests(guarded))
    after = replace(world, memory=replace(world.memory, approvals=approvals))
    assert _digests(both(after)[1]) == set()


def _digests(made: Plan) -> set[str]:
    return {hold.digest for one in made.environments for hold in one.blocked if hold.digest}


def _approve(digest: str, made: Plan) -> Any:
    def only(one: EnvironmentPlan) -> EnvironmentPlan:
        return replace(one, blocked=tuple(hold for hold in one.blocked if hold.digest == digest))

    return approval(replace(made, environments=tuple(only(one) for one in made.environments)))


@many
@given(world=random_worlds())
def test_a_hold_that_approval_lifts_lists_what_would_be_removed(world: Context) -> None:
    for one in both(world)[1].environments:
        for hold in one.blocked:
            assert hold.actions
            assert not hold.digest or removals(hold.actions) <= hold.removals
            assert bool(hold.digest) == bool(hold.removals)
            assert hold.message and hold.remedy
