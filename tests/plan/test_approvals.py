"""A person's yes: to exactly the removals that were listed, to any later subset of them, and for a day."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.actions import ActionName, DeleteChefClient, Reason, TerminateNode, removal
from reconciler.model.memory import Approval, Cause, Removal
from reconciler.model.names import InstanceId, NodeName, RevisionId
from reconciler.model.observed import Node, Phase
from reconciler.model.plan import EnvironmentPlan
from reconciler.plan import guard, plan
from reconciler.plan.guard import digest, removals
from tests.plan.builders import (
    CHECKOUT,
    HOUR,
    NOW,
    WEB,
    approval,
    context,
    desired,
    environment,
    guarded,
    instance_id,
    memory,
    node,
    observed,
    planned,
    role,
    said,
    there,
)

HOME = environment(roles=[role(count=5)])


def stopped(number: int) -> Node:
    return node(number, phase=Phase.STOPPED, odd_since=NOW - HOUR)


def world_with(*stopped_ones: int) -> Any:
    return there(HOME, [stopped(n) if n in stopped_ones else node(n) for n in range(1, 6)])


def approve(*stopped_ones: int, **changes: Any) -> Approval:
    """Look, see the hold, say yes to it."""
    seen = context(desired(HOME), observed(world_with(*stopped_ones)))
    return approval(guard(plan(seen), seen), **changes)


def terminated(made: EnvironmentPlan) -> list[str]:
    return [name for name in said(made.actions) if name.startswith("terminate")]


@pytest.mark.parametrize(
    ("approved", "now_stopped", "goes"),
    [
        pytest.param((1, 2, 3), (1, 2, 3), True, id="what was listed"),
        pytest.param((1, 2, 3), (2, 3), True, id="a later subset"),
        pytest.param((1, 2, 3), (1, 2, 4), False, id="another node is in it"),
        pytest.param((1, 2), (1, 2, 3), False, id="one more"),
    ],
)
def test_an_approval_covers_what_it_listed_and_less(
    approved: tuple[int, ...],
    now_stopped: tuple[int, ...],
    goes: bool,  # noqa: FBT001  a parameter
) -> None:
    made = guarded(HOME, world_with(*now_stopped), memory(approvals=(approve(*approved),)))
    assert terminated(made) == ([f"terminate_node {n}" for n in now_stopped] if goes else [])
    assert bool(made.blocked) != goes


def test_two_approvals_do_not_add_up() -> None:
    both = (approve(1, 2), approve(3, 4))
    assert terminated(guarded(HOME, world_with(1, 2, 3, 4), memory(approvals=both))) == []


@pytest.mark.parametrize(("expires", "goes"), [(NOW + timedelta(seconds=1), True), (NOW, False), (NOW - HOUR, False)])
def test_an_approval_ends(expires: Any, goes: bool) -> None:  # noqa: FBT001  a parameter
    made = guarded(HOME, world_with(1, 2), memory(approvals=(approve(1, 2, expires_at=expires),)))
    assert bool(terminated(made)) == goes


def test_an_approved_revision_approves_no_removal() -> None:
    history = Approval(digest="5" * 40, removals=frozenset(), actor="jessica", at=NOW, expires_at=NOW + HOUR)
    assert terminated(guarded(HOME, world_with(1, 2), memory(approvals=(history,)))) == []


def test_a_replacement_is_listed_as_the_removal_that_it_leads_to() -> None:
    drifting = [
        node(n, instance={"instance_profile": "a"}, was_launched_as={"instance_profile": ""}) for n in range(1, 6)
    ]
    seen = context(desired(HOME), observed(there(HOME, drifting)), memory(terminations=()))
    (action,) = planned(plan(seen)).actions
    assert removal(action) == Removal(
        environment=CHECKOUT,
        action="terminate_node",
        role="web",
        target=instance_id(1),
        change="instance_profile: a → none",
    )


# --- the digest -----------------------------------------------------------------------------------------------------


def terminate(number: int, **changes: Any) -> TerminateNode:
    made = TerminateNode(
        environment=CHECKOUT,
        role=WEB,
        node=node(number).name,
        instance_id=instance_id(number),
        cause=Cause.FAILED,
        reason=Reason(rule="stopped", detail="by hand", revision=RevisionId("1" * 40)),
    )
    return replace(made, **changes)


def of(*actions: Any) -> str:
    return digest(removals(actions))


def test_a_digest_is_pinned() -> None:
    """People have it in their shells and tickets."""
    assert of(terminate(1), terminate(2)) == "f881982b892b"


@pytest.mark.parametrize(
    "same",
    [
        {"reason": Reason(rule="other", detail="other", revision=RevisionId("2" * 40))},
        {"cause": Cause.SURPLUS},
        {"node": NodeName("renamed")},
    ],
)
def test_revision_reason_and_cause_do_not_change_it(same: dict[str, Any]) -> None:
    assert of(terminate(1, **same)) == of(terminate(1))


@pytest.mark.parametrize(
    "other",
    [
        {"instance_id": InstanceId("i-00000000000000002")},
        {"role": "worker"},
        {"environment": "staging"},
        {"change": "image: a → b"},
    ],
)
def test_what_is_removed_and_why_old_for_new_do(other: dict[str, Any]) -> None:
    assert of(terminate(1, **other)) != of(terminate(1))


def test_kinds_of_removals_are_told_apart() -> None:
    name = node(1).name
    common: dict[str, Any] = {"environment": CHECKOUT, "role": WEB, "node": name, "instance_id": instance_id(1)}
    client = DeleteChefClient(**common, reason=Reason(rule="gone", detail=""))
    assert of(client) != of(terminate(1))
    assert removal(client) == Removal(environment=CHECKOUT, action=ActionName.DELETE_CHEF_CLIENT, role=WEB, target=name)


@given(numbers=st.lists(st.integers(1, 30), max_size=8), seed=st.randoms(use_true_random=False))
def test_order_and_repetition_do_not_change_it(numbers: list[int], seed: Any) -> None:
    actions = [terminate(number) for number in numbers]
    shuffled = actions * 2
    seed.shuffle(shuffled)
    assert of(*actions) == of(*shuffled)


def test_the_hold_of_a_replacement_and_of_its_end_is_the_same() -> None:
    """Whoever approves that a node is replaced approved that it goes when its successor serves."""
    edited: dict[str, Any] = {"instance": {"instance_profile": "mine"}, "was_launched_as": {"instance_profile": ""}}
    home = environment()
    begins = planned(plan(context(desired(home), observed(there(nodes=[node(1, **edited), node(2)])))))
    ends = planned(plan(context(desired(home), observed(there(nodes=[node(1, **edited), node(2), node(3)])))))
    assert said(begins.actions) == ["replace_node 1"]
    assert said(ends.actions) == ["terminate_node 1"]
    assert removals(begins.actions) == removals(ends.actions)


def test_growth_is_no_removal() -> None:
    made = planned(plan(context(desired(environment()), observed())))
    assert made.actions != ()
    assert removals(made.actions) == frozenset()
