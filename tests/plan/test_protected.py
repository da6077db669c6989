"""Protection: it outlives the file, and holds what a commit alone must not do."""

from typing import Any

import pytest

from reconciler.model import tags
from reconciler.model.actions import DeleteChefRole, TerminateNode
from reconciler.model.desired import Environment, ImageById
from reconciler.model.facts import TeardownBegan
from reconciler.model.memory import Memory
from reconciler.model.observed import Node, Phase
from reconciler.model.plan import EnvironmentPlan, Guard
from reconciler.plan import guard, plan
from tests.plan.builders import (
    CHECKOUT,
    NEW_IMAGE,
    OTHER_FLEET,
    WEB,
    approval,
    bare,
    context,
    departed,
    desired,
    environment,
    generated,
    guarded,
    known,
    memory,
    node,
    observed,
    planned,
    role,
    said,
    settled,
    there,
)

PROTECTED = environment(protected=True)
KNOWN = memory(environments=known(CHECKOUT))


def guards(made: EnvironmentPlan) -> list[Guard]:
    return [hold.guard for hold in made.blocked]


# --- the whole environment ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "world",
    [
        pytest.param(bare(CHECKOUT, [node(1, tag={tags.PROTECTED: "true"})]), id="a tag on a node"),
        pytest.param(
            bare(CHECKOUT, [node(1)], chef_environment=generated(PROTECTED)["chef_environment"]),
            id="the Chef environment",
        ),
        pytest.param(bare(CHECKOUT, [node(1)], chef_roles=generated(PROTECTED)["chef_roles"]), id="a Chef role"),
        pytest.param(there(PROTECTED), id="no node left"),
    ],
)
def test_deleting_the_file_of_a_protected_environment_tears_nothing_down(world: Any) -> None:
    made = guarded(None, world, KNOWN)
    assert (made.actions, guards(made)) == ((), [Guard.PROTECTED])
    assert not any(isinstance(fact, TeardownBegan) for fact in made.facts)


def test_no_approval_lifts_it_only_a_commit() -> None:
    world = there(PROTECTED, [node(1, of=PROTECTED)])
    seen = context(desired(), observed(world), KNOWN)
    held = guard(plan(seen), seen)
    (hold,) = planned(held).blocked
    assert hold.digest == ""
    assert "protected: false" in hold.remedy
    approved = memory(environments=known(CHECKOUT), approvals=(approval(held),))
    assert guarded(None, world, approved).actions == ()


def test_another_fleets_protection_is_not_ours() -> None:
    theirs = generated(PROTECTED, fleet=OTHER_FLEET)
    made = guarded(None, bare(CHECKOUT, [node(1)], **theirs), KNOWN)
    assert said(made.actions) == ["terminate_node 1"]


def test_protected_ones_are_no_part_of_a_set_that_is_approved_together() -> None:
    names = ["a", "b", "c", "d", "e"]
    worlds = [there(home, [node(1, of=home)]) for home in (environment(name, protected=name == "e") for name in names)]
    remembered = memory(environments=known(*names, "kept"))
    seen = context(desired(environment("kept")), observed(*worlds), remembered)
    held = guard(plan(seen), seen)
    assert [guards(planned(held, name)) for name in names] == [[Guard.PRUNE_ENVIRONMENTS]] * 4 + [[Guard.PROTECTED]]
    approved = context(
        desired(environment("kept")),
        observed(*worlds),
        memory(environments=known(*names, "kept"), approvals=(approval(held),)),
    )
    after = guard(plan(approved), approved)
    assert [bool(planned(after, name).actions) for name in names] == [True] * 4 + [False]


# --- by a commit that keeps the file --------------------------------------------------------------------------------


def shrink(before: int, after: int, home: dict[str, Any] | None = None, remembered: Memory | None = None) -> Any:
    """A commit lowers web from so many nodes to so many."""
    home = home if home is not None else {"protected": True}
    was = environment(roles=[role(count=before)], **home)
    now = environment(roles=[role(count=after)], **home)
    nodes = [node(n, of=was) for n in range(1, before + 1)]
    remembered = remembered or memory(settled=settled((CHECKOUT, WEB, before)))
    return guarded(now, there(now, nodes), remembered)


@pytest.mark.parametrize(
    ("before", "after", "is_held"),
    [(2, 1, False), (4, 2, False), (4, 1, True), (5, 3, False), (5, 2, True), (3, 0, True), (1, 0, True)],
)
def test_a_commit_that_more_than_halves_a_protected_environment_is_held(
    before: int,
    after: int,
    is_held: bool,  # noqa: FBT001  a parameter
) -> None:
    made = shrink(before, after)
    assert guards(made) == ([Guard.PROTECTED] if is_held else [])
    assert any(isinstance(action, TerminateNode) for action in made.actions) != is_held
    if is_held:
        assert made.blocked[0].message == (
            f"checkout is protected, and this would remove {before - after} of its {before} nodes"
        )


def test_a_halving_is_held_though_the_same_commit_makes_every_node_drift() -> None:
    was = environment(roles=[role(count=4)], protected=True)
    now = environment(roles=[role(count=1, image=ImageById(image_id=NEW_IMAGE))], protected=True)
    world = there(now, [node(n, of=was) for n in (1, 2, 3, 4)], **generated(now, image=NEW_IMAGE))
    made = guarded(now, world, memory(settled=settled((CHECKOUT, WEB, 4))))
    assert (made.actions, guards(made)) == ((), [Guard.PROTECTED])
    assert len(made.blocked[0].actions) == 3


def test_a_halving_is_held_though_one_pass_may_take_only_a_part_of_it() -> None:
    """EC2 does not show one yet: else each pass would take a half of what the one before had left."""
    was, now = (environment(roles=[role(count=count)], protected=True) for count in (4, 1))
    nodes = [*(node(n, of=was) for n in (1, 2, 3)), node(4, of=was, phase=Phase.PENDING, is_unseen=True)]
    made = guarded(now, there(now, nodes), memory(settled=settled((CHECKOUT, WEB, 4))))
    assert guards(made) == [Guard.PROTECTED]
    assert made.blocked[0].message == "checkout is protected, and this would remove 3 of its 4 nodes"


def test_failed_nodes_are_none_that_a_halving_would_remove() -> None:
    was, now = (environment(roles=[role(count=count)], protected=True) for count in (2, 1))
    nodes = [node(1, of=was), node(2, of=was), *(node(n, of=was, phase=Phase.FAILED) for n in (3, 4, 5))]
    assert guards(guarded(now, there(now, nodes), memory(settled=settled((CHECKOUT, WEB, 2))))) == []


def test_an_unprotected_environment_may_shrink_as_it_likes() -> None:
    assert guards(shrink(8, 1, {})) == []


def test_a_halving_goes_when_a_person_approved_exactly_it() -> None:
    was, now = (environment(roles=[role(count=count)], protected=True) for count in (4, 1))
    nodes = [node(n, of=was) for n in range(1, 5)]
    remembered = {"settled": settled((CHECKOUT, WEB, 4))}
    seen = context(desired(now), observed(there(now, nodes)), memory(**remembered))
    held = guard(plan(seen), seen)
    made = guarded(now, there(now, nodes), memory(**remembered, approvals=(approval(held),)))
    assert said(made.actions) == ["terminate_node 1", "terminate_node 2", "terminate_node 3"]


def test_protection_of_the_nodes_holds_a_commit_that_lifts_it_and_halves_at_once() -> None:
    was = environment(roles=[role(count=4)], protected=True)
    now = environment(roles=[role(count=1)])
    nodes = [node(n, of=was) for n in range(1, 5)]
    made = guarded(now, there(now, nodes), memory(settled=settled((CHECKOUT, WEB, 4))))
    assert guards(made) == [Guard.PROTECTED]


BOTH = environment(roles=[role(count=4), role("worker", 1)], protected=True)
ONLY_WEB = environment(roles=[role(count=4)], protected=True)


def workers(home: Environment = BOTH, *phases: Phase) -> list[Node]:
    return [node(n, of=home, role=role("worker", 1), phase=phase) for n, phase in enumerate(phases, start=11)]


WEBS = [node(n, of=BOTH) for n in (1, 2, 3, 4)]
SETTLED = memory(settled=settled((CHECKOUT, WEB, 4), (CHECKOUT, "worker", 1)))


def test_a_role_of_a_protected_environment_is_not_removed_by_a_commit_alone() -> None:
    made = guarded(ONLY_WEB, there(BOTH, [*WEBS, *workers(BOTH, Phase.READY)]), SETTLED)
    assert (made.actions, guards(made)) == ((), [Guard.PROTECTED])
    assert made.blocked[0].message == "checkout is protected, and this would remove a role"
    without_nodes = guarded(ONLY_WEB, there(BOTH, WEBS), SETTLED)
    assert [type(action) for action in without_nodes.blocked[0].actions] == [DeleteChefRole]


def test_a_halving_that_removes_a_role_too_is_one_hold() -> None:
    home = environment(roles=[role(count=1)], protected=True)
    made = guarded(home, there(BOTH, [*WEBS, *workers(BOTH, Phase.READY)]), SETTLED)
    assert guards(made) == [Guard.PROTECTED]
    assert len(made.blocked[0].actions) == 4


def test_what_is_left_in_chef_of_a_node_that_is_gone_is_not_the_role() -> None:
    world = there(BOTH, WEBS, departed=(departed(11, of=BOTH, role="worker"),))
    assert said(guarded(ONLY_WEB, world, SETTLED).actions) == ["delete_chef_node 11", "delete_chef_client 11"]


def test_healing_a_protected_environment_is_not_held() -> None:
    world = there(ONLY_WEB, [*WEBS[:3], node(4, of=BOTH, phase=Phase.FAILED)])
    assert said(guarded(ONLY_WEB, world, memory(settled=settled((CHECKOUT, WEB, 4)))).actions) == [
        "terminate_node 4",
        "launch_nodes 1",
    ]
