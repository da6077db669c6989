"""Failures in a row: counted once each, until the role halts; a commit, a person or a success starts afresh."""

from dataclasses import replace
from datetime import timedelta

import pytest

from reconciler.model.desired import ImageById
from reconciler.model.digest import content_digest
from reconciler.model.facts import RoleRecovered, RoleTroubled
from reconciler.model.memory import Memory, Trouble
from reconciler.model.observed import Node, Phase
from reconciler.model.plan import EnvironmentPlan
from tests.plan.builders import (
    CHECKOUT,
    HOUR,
    MINUTE,
    NEW_IMAGE,
    NOW,
    WEB,
    environment,
    generated,
    instance_id,
    memory,
    node,
    plan_one,
    role,
    said,
    there,
    trouble,
)

HOME = environment()
CONTENT = content_digest(HOME, HOME.roles[WEB])


def failed(number: int, age: timedelta = HOUR) -> Node:
    return node(number, phase=Phase.FAILED, age=age)


def remembering(known: Trouble | None) -> Memory:
    return memory(troubles={(CHECKOUT, WEB): known} if known else {})


def judged(made: EnvironmentPlan) -> list[Trouble]:
    return [fact.trouble for fact in made.facts if isinstance(fact, RoleTroubled)]


def recovered(made: EnvironmentPlan) -> bool:
    return any(isinstance(fact, RoleRecovered) for fact in made.facts)


def test_a_role_without_failures_has_no_trouble() -> None:
    assert judged(plan_one(HOME, there(nodes=[node(1), node(2)]))) == []


def test_the_first_failure_begins_a_streak_with_its_own_launch() -> None:
    """The nodes that served before say nothing about whether launching works now."""
    (known,) = judged(plan_one(HOME, there(nodes=[node(1), failed(2, 40 * MINUTE)])))
    assert known == trouble(
        str(instance_id(2)),
        content=CONTENT,
        since=NOW - 40 * MINUTE,
        message="not ready within 30 min: it never registered",
    )


@pytest.mark.parametrize("before", range(4))
def test_the_third_failure_in_a_row_halts_the_role(before: int) -> None:
    known = trouble(*(f"i-{n}" for n in range(before)), content=CONTENT) if before else None
    made = plan_one(HOME, there(nodes=[node(1), failed(2, MINUTE)]), remembering(known))
    halts = before >= 2
    assert [stall.reason for stall in made.stalls] == (["RoleHalted"] if halts else [])
    assert said(made.actions) == ([] if halts else ["terminate_node 2", "launch_nodes 1"])
    assert judged(made)[0].is_halted == halts


def test_a_halted_role_keeps_its_failed_nodes_to_be_looked_at_and_says_how_to_go_on() -> None:
    halted = trouble("a", "b", "c", content=CONTENT, is_halted=True, message="quota", remedy="raise the quota")
    made = plan_one(HOME, there(nodes=[node(1), failed(2, 2 * HOUR)]), remembering(halted))
    assert made.actions == ()
    assert made.stalls[0].message == "web: 3 nodes or launches in a row failed, nothing more is launched: quota"
    assert made.stalls[0].remedy == (
        "raise the quota; then fix the cause and commit, or run `hivequeen resume checkout` to try again"
    )


def test_the_same_failure_counts_once() -> None:
    known = trouble(str(instance_id(2)), content=CONTENT, message="not ready within 30 min: it never registered")
    assert judged(plan_one(HOME, there(nodes=[node(1), failed(2, MINUTE)]), remembering(known))) == []


@pytest.mark.parametrize(
    ("ready_since", "ends"),
    [
        pytest.param(10 * MINUTE, True, id="a node launched in the streak is ready"),
        pytest.param(HOUR, False, id="a mate of the first failure, from the same launch"),
        pytest.param(3 * HOUR, False, id="a node that served long before"),
    ],
)
def test_only_a_newcomer_that_became_ready_ends_a_streak(ready_since: timedelta, ends: bool) -> None:  # noqa: FBT001  a parameter
    known = trouble("i-2", content=CONTENT, since=NOW - HOUR)
    nodes = [node(1, age=3 * HOUR), node(3, age=ready_since)]
    assert recovered(plan_one(HOME, there(nodes=nodes), remembering(known))) == ends


def test_a_role_whose_newcomers_keep_failing_halts_although_its_old_nodes_serve() -> None:
    remembered, launched = remembering(None), 0
    for launched in range(1, 10):
        world = there(nodes=[node(100, age=24 * HOUR), failed(launched, MINUTE)])
        made = plan_one(HOME, world, remembered)
        if made.stalls:
            break
        between = plan_one(HOME, there(nodes=[node(100, age=24 * HOUR)]), remembering(judged(made)[0]))
        assert not recovered(between)
        remembered = remembering(judged(made)[0])
    assert launched == 3


def test_a_streak_that_is_halted_does_not_end_by_itself() -> None:
    halted = trouble("i-9", content=CONTENT, is_halted=True)
    made = plan_one(HOME, there(nodes=[node(1), node(2, age=MINUTE)]), remembering(halted))
    assert [stall.reason for stall in made.stalls] == ["RoleHalted"]
    assert not recovered(made)


def test_a_success_beside_a_failure_ends_nothing() -> None:
    known = trouble("i-9", content=CONTENT)
    home = environment(roles=[role(count=3)])
    known = replace(known, content=content_digest(home, home.roles[WEB]))
    nodes = [node(1), node(2, age=MINUTE), failed(3, MINUTE)]
    made = plan_one(home, there(home, nodes), remembering(known))
    assert not recovered(made)
    assert judged(made)[0].failures == 2


def test_a_commit_that_touches_the_role_starts_afresh() -> None:
    halted = trouble("a", "b", "c", content="v1:another", is_halted=True)
    made = plan_one(HOME, there(nodes=[node(1), failed(2, 2 * HOUR)]), remembering(halted))
    assert made.stalls == ()
    assert said(made.actions) == ["terminate_node 2", "launch_nodes 1"]
    assert judged(made) == [trouble(content=CONTENT, since=NOW)]


def test_after_a_resume_failed_nodes_are_replaced_and_do_not_count_again() -> None:
    resumed = trouble(content=CONTENT, since=NOW)
    made = plan_one(HOME, there(nodes=[node(1), failed(2, MINUTE)]), remembering(resumed))
    assert said(made.actions) == ["terminate_node 2", "launch_nodes 1"]
    assert judged(made) == []


def test_a_launch_in_the_second_of_the_resume_counts() -> None:
    """EC2 tells whole seconds, our clock tells more."""
    resumed = trouble(content=CONTENT, since=NOW + timedelta(milliseconds=700))
    later = NOW + MINUTE
    made = plan_one(HOME, there(nodes=[node(1), failed(2, timedelta(0))]), remembering(resumed), now=later)
    assert judged(made)[0].failures == 1


def test_while_nodes_are_replaced_one_failure_is_enough() -> None:
    moved = environment(roles=[role(image=ImageById(image_id=NEW_IMAGE))])
    nodes = [node(1), node(2), node(3, image=NEW_IMAGE, phase=Phase.FAILED, age=MINUTE)]
    made = plan_one(moved, there(moved, nodes, **generated(moved, image=NEW_IMAGE)))
    assert made.stalls[0].message.startswith("web: 1 node or launch failed, nothing more is launched:")
    assert made.actions == ()


def test_a_copy_that_somebody_launched_by_hand_says_nothing_about_our_launches() -> None:
    copies = [node(number, phase=Phase.FAILED, is_known=False) for number in (3, 4, 5)]
    made = plan_one(HOME, there(nodes=[node(1), node(2), *copies]))
    assert judged(made) == []
    assert said(made.actions) == ["terminate_node 3", "terminate_node 4", "terminate_node 5"]


def test_one_roles_trouble_stops_no_other_role() -> None:
    home = environment(roles=[role("web"), role("worker", 1)])
    halted = trouble("a", content=content_digest(home, home.roles[WEB]), is_halted=True)
    made = plan_one(home, there(home, [node(1, of=home)]), remembering(halted))
    assert said(made.actions) == ["launch_nodes 1"]
