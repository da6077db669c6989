"""Plans carried out faultlessly reach what is declared in a bounded number of passes, and then there is nothing to do."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model import tags
from reconciler.model.actions import TerminateNode
from reconciler.model.desired import Desired, Environment, ImageById
from reconciler.model.memory import Cause, ItemKind
from reconciler.model.names import EnvironmentName
from reconciler.model.observed import Node, Phase
from reconciler.model.plan import Plan
from reconciler.plan.guard import removals
from tests.plan.builders import (
    CHECKOUT,
    GRACIOUS,
    HOUR,
    IMAGE,
    NEW_IMAGE,
    RULES,
    bare,
    departed,
    desired,
    environment,
    intent,
    intents,
    memory,
    node,
    role,
    said,
    there,
)
from tests.plan.fleet import Fleet
from tests.plan.worlds import NAMES, converged_worlds, environments, existing


def declaring(count: int, image: Any = IMAGE, **changes: Any) -> Desired:
    return desired(environment(roles=[role(count=count, image=ImageById(image_id=image), **changes)]))


def converged(wanted: Desired) -> Fleet:
    fleet = Fleet(desired=wanted)
    fleet.settle()
    return fleet


def acts(plans: list[Plan]) -> list[str]:
    return [name for made in plans for one in made.environments for name in said(one.actions)]


def stays(fleet: Fleet) -> bool:
    """Nothing to do, now or later."""
    for _ in range(5):
        fleet.tick(HOUR)
        if not fleet.plan().is_empty:
            return False
    return True


def test_an_environment_comes_up() -> None:
    fleet = Fleet(desired=declaring(3))
    assert acts(fleet.settle())[:3] == [
        "ensure_chef_environment checkout",
        "ensure_chef_role checkout-web",
        "launch_nodes 3",
    ]
    assert all(tags.READY in one.instance.tags for one in fleet.nodes(CHECKOUT, "web"))
    assert [one.phase for one in fleet.nodes(CHECKOUT, "web")] == [Phase.READY] * 3
    assert stays(fleet)


@pytest.mark.parametrize(("before", "after"), [(1, 4), (4, 1), (3, 0), (0, 3), (2, 2)])
def test_a_role_is_scaled(before: int, after: int) -> None:
    fleet = converged(declaring(before))
    fleet.commit(declaring(after))
    made = fleet.settle()
    assert len(fleet.nodes(CHECKOUT, "web")) == after
    gone = [a for one in made for e in one.environments for a in e.actions if isinstance(a, TerminateNode)]
    assert [action.cause for action in gone] == [Cause.SCALE_DOWN] * max(0, before - after)
    assert stays(fleet)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_new_image_is_rolled_out_and_the_role_never_serves_with_less(count: int) -> None:
    fleet = converged(declaring(count))
    fleet.commit(declaring(count, NEW_IMAGE))
    passes, serving = 0, []
    while not (made := fleet.plan()).is_empty or any(e.waiting for e in made.environments):
        passes += 1
        fleet.carry_out(made)
        fleet.tick(timedelta(minutes=1))
        serving.append([n for n in fleet.nodes(CHECKOUT, "web") if n.phase == Phase.READY])
        assert count <= len(serving[-1])
        assert len(fleet.nodes(CHECKOUT, "web")) <= count + 1
        assert passes < 8 * count
    assert {one.instance.image for one in fleet.nodes(CHECKOUT, "web")} == {NEW_IMAGE}
    assert stays(fleet)


def test_two_changes_of_image_in_a_row_end_at_the_last() -> None:
    fleet = converged(declaring(3))
    fleet.commit(declaring(3, NEW_IMAGE))
    for _ in range(7):
        fleet.carry_out(fleet.plan())
        fleet.tick(timedelta(minutes=1))
    fleet.commit(declaring(3, "ami-00000000000000003"))
    fleet.settle()
    assert {one.instance.image for one in fleet.nodes(CHECKOUT, "web")} == {"ami-00000000000000003"}
    assert stays(fleet)


def test_a_role_goes_and_comes_back() -> None:
    both = desired(environment(roles=[role(), role("worker", 2)]))
    fleet = converged(both)
    fleet.commit(desired(environment()))
    assert acts(fleet.settle())[-1] == "delete_chef_role checkout-worker"
    assert fleet.nodes(CHECKOUT, "worker") == []
    assert stays(fleet)
    fleet.commit(both)
    fleet.settle()
    assert len(fleet.nodes(CHECKOUT, "worker")) == 2


def test_an_environment_goes_in_order_and_is_forgotten() -> None:
    fleet = converged(declaring(2))
    fleet.commit(desired())
    done = [name.split()[0] for name in acts(fleet.settle())]
    assert done == [
        "terminate_node",
        "terminate_node",
        "delete_chef_node",
        "delete_chef_client",
        "delete_chef_node",
        "delete_chef_client",
        "delete_chef_role",
        "delete_chef_environment",
    ]
    assert fleet.worlds[CHECKOUT].is_empty
    assert fleet.memory.environments == {}
    assert stays(fleet)


def test_a_teardown_that_is_taken_back_comes_up_again() -> None:
    fleet = converged(declaring(2))
    fleet.commit(desired())
    fleet.carry_out(fleet.plan())
    fleet.tick(timedelta(minutes=1))
    fleet.commit(declaring(2))
    fleet.settle()
    assert len(fleet.nodes(CHECKOUT, "web")) == 2
    assert stays(fleet)


@pytest.mark.parametrize("fails", [1, 2])
def test_nodes_that_fail_are_replaced(fails: int) -> None:
    fleet = Fleet(desired=declaring(2), fails=fails)
    fleet.settle()
    assert [one.phase for one in fleet.nodes(CHECKOUT, "web")] == [Phase.READY] * 2
    assert stays(fleet)


def test_a_role_that_always_fails_is_tried_ever_more_rarely() -> None:
    fleet = Fleet(desired=declaring(1), fails=1000)
    for _ in range(100):
        fleet.carry_out(fleet.plan())
        fleet.tick(timedelta(minutes=1))
    assert fleet.number < 10_000 + 2 * 12  # a launch and its node each
    assert [stall.reason for stall in fleet.plan().environments[0].stalls] == ["BreakerOpen"]


def test_a_role_that_always_fails_beside_nodes_that_serve_is_tried_rarely_too() -> None:
    fleet = converged(declaring(2))
    before, fleet.fails = fleet.number, 1000
    fleet.commit(declaring(3))
    for _ in range(100):
        fleet.carry_out(fleet.plan())
        fleet.tick(timedelta(minutes=1))
    assert fleet.number - before < 2 * 12
    assert len([one for one in fleet.nodes(CHECKOUT, "web") if one.phase == Phase.READY]) == 2


STRAYS = [
    pytest.param(there(nodes=[node(1), node(2), node(3, is_known=False)]), id="a copy"),
    pytest.param(there(nodes=[node(1, phase=Phase.STOPPED), node(2)]), id="a stopped one"),
    pytest.param(there(nodes=[node(1, phase=Phase.FAILED), node(2, phase=Phase.FAILED)]), id="failed ones"),
    pytest.param(there(nodes=[node(1, phase=Phase.TERMINATING)], departed=(departed(2),)), id="dead ones"),
    pytest.param(there(nodes=[node(1, tag={"team": None}), node(2, image=NEW_IMAGE)]), id="edited ones"),
    pytest.param(
        there(environment(roles=[role(), role("old", 2)]), [node(9, role=role("old", 2), is_known=False)]),
        id="a role that nobody declared",
    ),
    pytest.param(bare(CHECKOUT), id="nothing"),
]


@pytest.mark.parametrize("world", STRAYS)
def test_whatever_is_there_becomes_what_is_declared(world: Any) -> None:
    fleet = Fleet(desired=declaring(2), worlds={CHECKOUT: world})
    fleet.settle()
    assert [one.phase for one in fleet.nodes(CHECKOUT, "web")] == [Phase.READY] * 2
    assert fleet.nodes(CHECKOUT, "old") == []
    assert stays(fleet)


def test_what_nobody_ever_declared_is_swept() -> None:
    stray = node(1, of=environment("old"), is_known=False)
    fleet = Fleet(desired=declaring(1), worlds={EnvironmentName("old"): bare("old", [stray])})
    fleet.settle()
    assert fleet.worlds[EnvironmentName("old")].is_empty
    assert stays(fleet)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_launch_of_unknown_outcome_makes_no_second_fleet(count: int) -> None:
    fleet = Fleet(desired=declaring(2), memory=memory(intents=intents(intent(count=count))))
    fleet.settle()
    assert len(fleet.nodes(CHECKOUT, "web")) == 2
    assert stays(fleet)


# --- a deleted file, and one that comes back in time ----------------------------------------------------------------


def gracious(wanted: Desired) -> Fleet:
    """A fleet whose teardowns wait five minutes, and whose guards are asked."""
    fleet = converged(wanted)
    fleet.rules, fleet.is_guarded = GRACIOUS, True
    return fleet


def passes(fleet: Fleet, count: int) -> list[Plan]:
    made = []
    for _ in range(count):
        made.append(fleet.plan())
        fleet.carry_out(made[-1])
        fleet.tick(timedelta(minutes=1))
    return made


def test_a_file_restored_within_the_grace_finds_every_node_where_it_was() -> None:
    fleet = gracious(declaring(3))
    before = fleet.nodes(CHECKOUT, "web")
    fleet.commit(desired())
    assert acts(passes(fleet, 5)) == []
    fleet.commit(declaring(3))
    assert acts(fleet.settle()) == []
    assert [one.instance for one in fleet.nodes(CHECKOUT, "web")] == [one.instance for one in before]
    assert fleet.memory.environments[CHECKOUT].ending is None
    assert stays(fleet)


def test_a_second_deletion_has_a_grace_of_its_own() -> None:
    fleet = gracious(declaring(1))
    for _ in range(2):
        fleet.commit(desired())
        assert acts(passes(fleet, 5)) == []
        fleet.commit(declaring(1))
        passes(fleet, 1)
    fleet.commit(desired())
    assert [name.split()[0] for name in acts(passes(fleet, 6))] == ["terminate_node"]


def test_after_the_grace_it_goes_and_the_receipt_says_when_each_thing_was_seen_gone() -> None:
    fleet = gracious(declaring(2))
    nodes, deleted_at = fleet.nodes(CHECKOUT, "web"), fleet.now
    fleet.commit(desired())
    fleet.settle()
    assert fleet.worlds[CHECKOUT].is_empty
    receipt = fleet.receipts[CHECKOUT]
    assert {(item.kind, item.name) for item in receipt} == {
        *((ItemKind.INSTANCE, one.instance_id) for one in nodes),
        *((ItemKind.CHEF_NODE, one.name) for one in nodes),
        *((ItemKind.CHEF_CLIENT, one.name) for one in nodes),
        (ItemKind.CHEF_ROLE, "checkout-web"),
        (ItemKind.CHEF_ENVIRONMENT, "checkout"),
    }
    assert all(at is not None and at > deleted_at + GRACIOUS.teardown_grace for at in receipt.values())
    order = {kind: max(at for item, at in receipt.items() if at and item.kind is kind) for kind in ItemKind}
    assert list(order.values()) == sorted(order.values())


# --- whatever it begins with ----------------------------------------------------------------------------------------


@st.composite
def tame(draw: st.DrawFn, home: Environment, first: int) -> Any:
    """Anything but what waits for a person: lost nodes, and foreign objects in the way."""
    world = draw(existing(home, first))
    nodes: tuple[Node, ...] = tuple(one for one in world.nodes if one.phase != Phase.LOST)
    ours = {name: made for name, made in world.chef_roles.items() if "hivequeen" in made.default_attributes}
    chef = world.chef_environment
    if chef is not None and "hivequeen" not in chef.default_attributes:
        chef = None
    return replace(world, nodes=nodes, chef_roles=ours, chef_environment=chef)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_world_without_a_persons_business_converges_and_stays_so(data: st.DataObject) -> None:
    homes = {name: data.draw(environments(name)) for name in NAMES[:2]}
    declared = data.draw(st.sets(st.sampled_from(NAMES[:2])))
    worlds = {name: data.draw(tame(home, 100 * n)) for n, (name, home) in enumerate(homes.items(), start=1)}
    fleet = Fleet(desired=desired(*(homes[name] for name in sorted(declared))), worlds=worlds)
    _settle_and_resume(fleet)
    for name in declared:
        for one in homes[name].roles.values():
            assert len(fleet.nodes(name, one.name)) == one.count
    for name in set(homes) - declared:
        assert fleet.worlds[name].is_empty


def _settle_and_resume(fleet: Fleet) -> None:
    """Failed nodes may be so many that a role halts: then a person resumes it."""
    for _ in range(120):
        made = fleet.plan()
        if all(one.is_converged and not one.facts for one in made.environments):
            return
        fleet.carry_out(made)
        fleet.tick(timedelta(minutes=1))
        if made.is_empty and not any(one.waiting for one in made.environments):
            resumed = {
                key: replace(one, failed=frozenset(), is_halted=False, since=fleet.now)
                for key, one in fleet.memory.troubles.items()
            }
            fleet.memory = replace(fleet.memory, troubles=resumed)
    raise AssertionError(f"it has not converged: {fleet.plan()}")


@settings(max_examples=60, deadline=None)
@given(context=converged_worlds(), data=st.data())
def test_any_commit_on_any_converged_fleet_converges_and_loses_nothing_unasked(
    context: Any, data: st.DataObject
) -> None:
    fleet = Fleet(desired=context.desired, worlds=dict(context.observed.environments), memory=context.memory)
    assert fleet.settle() == []
    for _ in range(2):
        names = data.draw(st.sets(st.sampled_from(NAMES)))
        homes = [data.draw(environments(name)) for name in sorted(names)]
        fleet.commit(desired(*homes))
        made = fleet.settle(passes=120)
        for home in homes:
            for one in home.roles.values():
                assert len(fleet.nodes(home.name, one.name)) == one.count
        causes = {a.cause for p in made for e in p.environments for a in e.actions if isinstance(a, TerminateNode)}
        assert not any(cause.is_counted for cause in causes)
        assert stays(fleet)


@settings(max_examples=60, deadline=None)
@given(context=converged_worlds(), data=st.data())
def test_restoring_any_files_within_the_grace_loses_nothing(context: Any, data: st.DataObject) -> None:
    fleet = Fleet(
        desired=context.desired,
        worlds=dict(context.observed.environments),
        memory=context.memory,
        rules=GRACIOUS,
        is_guarded=True,
    )
    assert fleet.settle() == []
    worlds = dict(fleet.worlds)
    gone = data.draw(st.sets(st.sampled_from(NAMES), min_size=1))
    fleet.commit(desired(*(one for name, one in context.desired.environments.items() if name not in gone)))
    assert acts(passes(fleet, data.draw(st.integers(1, 5)))) == []
    fleet.commit(context.desired)
    assert acts(passes(fleet, 3)) == []
    assert fleet.worlds == worlds
    assert fleet.plan().is_empty


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_removal_of_a_teardown_is_on_its_receipt_and_seen_gone_at_its_end(data: st.DataObject) -> None:
    homes = {name: data.draw(environments(name)) for name in NAMES[:2]}
    worlds = {name: data.draw(tame(home, 100 * n)) for n, (name, home) in enumerate(homes.items(), start=1)}
    fleet = Fleet(desired=desired(*homes.values()), worlds=worlds)
    passes(fleet, data.draw(st.integers(0, 4)))  # nodes may boot, fail or be replaced when the files go
    fleet.plan()  # so that both are remembered
    fleet.rules = data.draw(st.sampled_from([RULES, GRACIOUS]))
    fleet.commit(desired())
    made = fleet.settle()
    for name in homes:
        removed = {one.target for p in made for e in p.environments if e.name == name for one in removals(e.actions)}
        receipt = fleet.receipts[name]
        assert removed <= {item.name for item in receipt}
        assert None not in receipt.values()
        assert fleet.worlds[name].is_empty
