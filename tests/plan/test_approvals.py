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
from reconciler.model.observed import Departed, Node, Phase
from reconciler.model.plan import EnvironmentPlan, Plan
from reconciler.plan import guard, plan
from reconciler.plan.guard import digest, removals
from reconciler.plan.receipt import orphanable
from tests.plan.builders import (
    CHECKOUT,
    FLEET,
    HOUR,
    NOW,
    WEB,
    approval,
    context,
    departed,
    desired,
    environment,
    guarded,
    instance_id,
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


# --- one yes for all that follows -----------------------------------------------------------------------------------

WITH_WORKER = environment(roles=[role(count=4), role("worker", 2)], protected=True)
WITHOUT = environment(roles=[role(count=4)], protected=True)
WEBS = [node(n, of=WITH_WORKER) for n in (1, 2, 3, 4)]
SETTLED = {"settled": settled((CHECKOUT, WEB, 4), (CHECKOUT, "worker", 2))}


def worker(number: int, phase: Phase = Phase.READY) -> Node:
    return node(number, of=WITH_WORKER, role=WITH_WORKER.roles[role("worker").name], phase=phase)


def of_worker(number: int, **changes: Any) -> Departed:
    return departed(number, of=WITH_WORKER, role="worker", **changes)


ROLE_STEPS = [
    (there(WITH_WORKER, [*WEBS, worker(11), worker(12)]), ["terminate_node 11", "terminate_node 12"]),
    (there(WITH_WORKER, [*WEBS, worker(11, Phase.TERMINATING), worker(12)]), ["terminate_node 12"]),
    (
        there(WITH_WORKER, [*WEBS, worker(12)], departed=(of_worker(11),)),
        ["terminate_node 12", "delete_chef_node 11", "delete_chef_client 11"],
    ),
    (there(WITH_WORKER, WEBS, departed=(of_worker(12, has_chef_node=False),)), ["delete_chef_client 12"]),
    (there(WITH_WORKER, WEBS), ["delete_chef_role checkout-worker"]),
]
CAUTIONS = {"protected": {}, "taken over": {"taken_over_at": NOW - HOUR}}


@pytest.mark.parametrize("caution", CAUTIONS.values(), ids=CAUTIONS)
def test_the_end_of_a_role_is_approved_once_with_all_that_it_takes(caution: dict[str, Any]) -> None:
    remembered = memory(**SETTLED, **caution)
    seen = context(desired(WITHOUT), observed(ROLE_STEPS[0][0]), remembered)
    held = guard(plan(seen), seen)
    assert planned(held).actions == ()
    approvals = tuple(only(held, digest) for digest in {hold.digest for hold in planned(held).blocked})
    for world, actions in ROLE_STEPS:
        made = guarded(WITHOUT, world, replace(remembered, approvals=approvals))
        assert (said(made.actions), made.blocked) == (actions, ())


def only(made: Plan, digest: str) -> Approval:
    """The yes to one of several holds."""
    return approval(
        replace(
            made,
            environments=tuple(
                replace(one, blocked=tuple(hold for hold in one.blocked if hold.digest == digest))
                for one in made.environments
            ),
        )
    )


def test_what_is_approved_of_a_role_says_nothing_about_another_node_of_it() -> None:
    remembered = memory(**SETTLED)
    seen = context(desired(WITHOUT), observed(ROLE_STEPS[0][0]), remembered)
    yes = approval(guard(plan(seen), seen))
    world = there(WITH_WORKER, [*WEBS, worker(11), worker(12), worker(13)])
    assert guarded(WITHOUT, world, replace(remembered, approvals=(yes,))).actions == ()


def test_a_hold_is_the_same_until_something_happens_to_what_it_lists() -> None:
    """A node may register, or be forgotten by a search, while it is held."""

    def key(*nodes: Node) -> str:
        (hold,) = guarded(WITHOUT, there(WITH_WORKER, [*WEBS, *nodes]), memory(**SETTLED)).blocked
        return hold.digest

    bare_one = replace(worker(12), chef=None, has_client=False)
    assert key(worker(11), worker(12)) == key(worker(11), bare_one)
    assert key(worker(11), worker(12)) != key(worker(11))


def test_a_scale_down_approved_after_a_take_over_covers_chef_but_no_role() -> None:
    world = there(nodes=[node(1), node(2), node(3)])
    remembered = memory(taken_over_at=NOW - HOUR, settled=settled((CHECKOUT, WEB, 3)))
    (hold,) = guarded(environment(), world, remembered).blocked
    name = node(1).name
    assert {(one.action, one.target) for one in hold.removals} == {
        ("terminate_node", instance_id(1)),
        ("delete_chef_node", name),
        ("delete_chef_client", name),
    }


STRAY = node(1, odd_since=NOW - HOUR)
SIGHTED = dict.fromkeys(orphanable(there(), FLEET), NOW - HOUR)
SWEEP_STEPS = [
    (there(nodes=[STRAY]), ["terminate_node 1"]),
    (there(departed=(departed(1),)), ["delete_chef_node 1", "delete_chef_client 1"]),
    (there(), ["delete_chef_role checkout-web", "delete_chef_environment checkout"]),
]


@pytest.mark.parametrize("is_known", [False, True], ids=["sweep", "teardown"])
def test_the_end_of_an_environment_is_approved_once_after_a_take_over(is_known: bool) -> None:  # noqa: FBT001  a parameter
    remembered = memory(taken_over_at=NOW - HOUR, orphans=SIGHTED, environments=known(CHECKOUT) if is_known else {})
    seen = context(desired(), observed(SWEEP_STEPS[0][0]), remembered)
    yes = approval(guard(plan(seen), seen))
    for world, actions in SWEEP_STEPS:
        made = guarded(None, world, replace(remembered, approvals=(yes,)))
        assert (said(made.actions), made.blocked) == (actions, ())


def test_the_approval_of_a_set_covers_what_follows_in_each_environment() -> None:
    names = [f"old{n}" for n in range(4)]
    homes = [environment(name) for name in names]
    worlds = [there(home, [node(n, of=home, odd_since=NOW - HOUR)]) for n, home in enumerate(homes)]
    sighted = {item: NOW - HOUR for world in worlds for item in orphanable(world, FLEET)}
    remembered = memory(orphans=sighted, environments=known("kept"))
    seen = context(desired(environment("kept")), observed(*worlds), remembered)
    held = guard(plan(seen), seen)
    holds = {planned(held, name).blocked[0] for name in names}
    assert len({hold.digest for hold in holds}) == 1
    assert digest(frozenset().union(*(hold.removals for hold in holds))) == holds.pop().digest
    later = replace(remembered, approvals=(approval(held),))
    bare_ones = [there(home) for home in homes]
    after = context(desired(environment("kept")), observed(*bare_ones), later)
    made = guard(plan(after), after)
    assert [len(planned(made, name).actions) for name in names] == [2] * 4
