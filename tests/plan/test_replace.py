"""Replacing: one extra, wait until it serves, then the oldest drifted node, and never below what is declared."""

import pytest

from reconciler.model.actions import ReplaceNode, TerminateNode
from reconciler.model.desired import ImageById
from reconciler.model.digest import content_digest
from reconciler.model.memory import Cause
from reconciler.model.names import EnvironmentName
from reconciler.model.observed import InstanceState, Node, Phase
from reconciler.model.plan import Difference
from tests.plan.builders import (
    CHECKOUT,
    MINUTE,
    NEW_IMAGE,
    WEB,
    environment,
    generated,
    instance_id,
    intent,
    intents,
    memory,
    node,
    out_everywhere,
    plan_one,
    role,
    said,
    settled,
    there,
    trouble,
)

MOVED = environment(roles=[role(image=ImageById(image_id=NEW_IMAGE))])
CHEF = generated(MOVED, image=NEW_IMAGE)
SETTLED = memory(settled=settled((CHECKOUT, WEB, 2)))


def old(number: int, phase: Phase = Phase.READY) -> Node:
    return node(number, phase=phase)


def new(number: int, phase: Phase = Phase.READY) -> Node:
    return node(number, phase=phase, image=NEW_IMAGE)


def does(*nodes: Node) -> list[str]:
    return said(plan_one(MOVED, there(MOVED, nodes, **CHEF), SETTLED).actions)


@pytest.mark.parametrize(
    ("nodes", "actions"),
    [
        pytest.param([old(1), old(2)], ["replace_node 1"], id="begins with the oldest"),
        pytest.param([old(1), old(2), new(3, Phase.PENDING)], [], id="waits for the extra one"),
        pytest.param([old(1), old(2), new(3, Phase.REGISTERED)], [], id="registered is not ready"),
        pytest.param([old(1), old(2), new(3)], ["terminate_node 1"], id="the oldest goes when the extra serves"),
        pytest.param([old(2), new(3)], ["replace_node 2"], id="then the next"),
        pytest.param([old(2), new(3), new(4)], ["terminate_node 2"], id="and so on"),
        pytest.param([new(3), new(4)], [], id="until all are new"),
        pytest.param([old(1)], ["launch_nodes 1"], id="what lacks comes before what is old"),
        pytest.param([old(1), new(2, Phase.RUNNING)], ["replace_node 1"], id="one boots, and no place lacks"),
        pytest.param(
            [old(1), old(2, Phase.RUNNING)],
            ["terminate_node 2", "launch_nodes 1"],
            id="a drifted one that never served is replaced at once, outside the surge",
        ),
        pytest.param(
            [old(1, Phase.PENDING), old(2, Phase.REGISTERED)],
            ["terminate_node 1", "terminate_node 2", "launch_nodes 2"],
            id="all of them",
        ),
        pytest.param(
            [old(1), old(2), old(3, Phase.RUNNING)],
            ["terminate_node 3", "replace_node 1"],
            id="an extra that drifted itself is given up",
        ),
        pytest.param([old(1), old(2, Phase.LOST)], ["replace_node 1"], id="a lost one is left alone"),
        pytest.param([old(1, Phase.LOST), new(2)], [], id="and not replaced"),
        pytest.param([old(1), new(2), new(3), new(4)], ["terminate_node 1"], id="the only drifted one is too many"),
        pytest.param([old(1), old(2), old(3), old(4)], ["terminate_node 1", "terminate_node 2"], id="excess first"),
    ],
)
def test_replacing(nodes: list[Node], actions: list[str]) -> None:
    made = does(*nodes)
    assert [one for one in made if one not in actions] == []
    assert [one for one in actions if one not in made] == []


def test_of_a_role_of_one_the_old_node_serves_until_the_new_one_does() -> None:
    home = environment(roles=[role(count=1, image=ImageById(image_id=NEW_IMAGE))])
    chef = generated(home, image=NEW_IMAGE)
    steps = [
        ([old(1)], ["replace_node 1"]),
        ([old(1), new(2, Phase.RUNNING)], []),
        ([old(1), new(2)], ["terminate_node 1"]),
    ]
    for nodes, actions in steps:
        assert said(plan_one(home, there(home, nodes, **chef)).actions) == actions


def test_a_role_of_none_replaces_nothing() -> None:
    home = environment(roles=[role(count=0, image=ImageById(image_id=NEW_IMAGE))])
    made = plan_one(
        home, there(home, [old(1)], **generated(home, image=NEW_IMAGE)), memory(settled=settled((CHECKOUT, WEB, 1)))
    )
    assert [(type(action), action.cause) for action in made.actions if isinstance(action, TerminateNode)] == [
        (TerminateNode, Cause.SCALE_DOWN)
    ]


def test_an_extra_that_is_ready_but_does_not_run_frees_nobody() -> None:
    """It was stopped and started again: readiness is for good, running is not."""
    rising = node(3, image=NEW_IMAGE, instance={"state": InstanceState.PENDING})
    assert does(old(1), old(2), rising) == []


def test_a_node_that_is_not_listed_yet_is_not_terminated_for_drift() -> None:
    unseen = node(2, phase=Phase.PENDING, is_unseen=True, age=MINUTE)
    assert does(new(1), unseen) == []


def test_a_launch_under_way_takes_the_place_of_the_extra() -> None:
    remembered = memory(intents=intents(intent(count=1, role=MOVED.roles[WEB])))
    made = plan_one(MOVED, there(MOVED, [old(1), old(2)], **CHEF), remembered)
    assert not any(isinstance(action, ReplaceNode) for action in made.actions)


def test_a_newcomer_that_fails_stops_the_role() -> None:
    made = plan_one(MOVED, there(MOVED, [old(1), old(2), new(3, Phase.FAILED)], **CHEF), SETTLED)
    assert made.actions == ()
    assert [stall.reason for stall in made.stalls] == ["RoleHalted"]


def test_a_halted_role_still_lets_the_extra_that_serves_finish_its_turn() -> None:
    halted = trouble("i-9", content=content_digest(MOVED, MOVED.roles[WEB]), is_halted=True)
    remembered = memory(troubles={(EnvironmentName(CHECKOUT), WEB): halted})
    made = plan_one(MOVED, there(MOVED, [old(1), old(2), new(3)], **CHEF), remembered)
    assert said(made.actions) == ["terminate_node 1"]


def test_a_wait_for_a_lost_node_names_it() -> None:
    """It may be dead, so it does not count as serving; and its place is kept, so no other extra is launched."""
    made = plan_one(MOVED, there(MOVED, [old(1), old(2, Phase.LOST), new(3)], **CHEF), SETTLED)
    assert made.actions == ()
    assert [waiting.message for waiting in made.waiting] == [
        f"web: 1 of 3 nodes to replace; {instance_id(2)} is out of sight, and while it may be dead no other may go"
    ]


def test_a_lost_node_that_holds_nothing_up_is_not_waited_for() -> None:
    made = plan_one(MOVED, there(MOVED, [old(1), new(2), new(3), old(4, Phase.LOST)], **CHEF), SETTLED)
    assert said(made.actions) == ["terminate_node 1"]
    assert [waiting.message for waiting in made.waiting] == ["web: 1 of 4 nodes to replace"]


def test_without_capacity_a_replacement_waits() -> None:
    made = plan_one(MOVED, there(MOVED, [old(1), old(2)], **CHEF), memory(exhausted=out_everywhere(role())))
    assert made.actions == ()
    assert [waiting.message for waiting in made.waiting] == ["web: no capacity; 2 of 2 nodes to replace"]


def test_a_replacement_carries_the_launch_of_exactly_one_new_node() -> None:
    (action,) = plan_one(MOVED, there(MOVED, [old(1), old(2)], **CHEF)).actions
    assert isinstance(action, ReplaceNode)
    assert (action.launch.count, action.launch.image) == (1, NEW_IMAGE)


def test_every_node_that_drifts_is_told_with_its_difference_also_before_its_turn() -> None:
    drifted = plan_one(MOVED, there(MOVED, [old(1), old(2), new(3)], **CHEF), SETTLED).drifted
    difference = Difference(field="image", live=old(1).instance.image, wanted=NEW_IMAGE)
    assert drifted == {instance_id(1): (difference,), instance_id(2): (difference,)}
