"""The receipt of a teardown: all that was there, and each thing ticked off when it was seen gone, never when merely unseen."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from reconciler.model.facts import TeardownEnded, TeardownItems
from reconciler.model.memory import Item, ItemKind, Memory, NodeRecord
from reconciler.model.observed import Node, ObservedEnvironment, Phase
from tests.plan.builders import (
    CHECKOUT,
    HOUR,
    MINUTE,
    NOW,
    OTHER_FLEET,
    REVISION,
    WEB,
    bare,
    departed,
    ending_since,
    environment,
    generated,
    instance_id,
    known,
    memory,
    node,
    plan_one,
    there,
)

ROLE = Item(kind=ItemKind.CHEF_ROLE, name="checkout-web")
ENVIRONMENT = Item(kind=ItemKind.CHEF_ENVIRONMENT, name="checkout")


def of(number: int) -> tuple[Item, Item, Item]:
    name = node(number).name
    return (
        Item(kind=ItemKind.INSTANCE, name=instance_id(number)),
        Item(kind=ItemKind.CHEF_NODE, name=name),
        Item(kind=ItemKind.CHEF_CLIENT, name=name),
    )


INSTANCE, CHEF_NODE, CLIENT = of(1)


def record(number: int, gone_at: datetime | None = None) -> NodeRecord:
    return NodeRecord(
        instance_id=instance_id(number),
        environment=CHECKOUT,
        role=WEB,
        name=node(number).name,
        intent=None,
        launched_at=NOW - HOUR,
        seen_at=NOW - HOUR,
        gone_at=gone_at,
    )


def begun(*items: Item, gone: tuple[Item, ...] = (), records: tuple[NodeRecord, ...] = ()) -> Memory:
    """A teardown under way with this receipt."""
    listed: dict[Item, datetime | None] = dict.fromkeys(items, None)
    listed |= dict.fromkeys(gone, NOW - MINUTE)
    ending = ending_since(NOW - HOUR, items=listed)
    return memory(
        environments=known(CHECKOUT, began=NOW - HOUR, ending=ending),
        nodes={one.instance_id: one for one in records},
    )


def listed(world: ObservedEnvironment, remembered: Memory, *, is_full: bool = True) -> tuple[set[Item], set[Item]]:
    """What is found and what is ticked off now."""
    facts = plan_one(None, world, remembered, is_full=is_full).facts
    (found,) = [fact for fact in facts if isinstance(fact, TeardownItems)] or [TeardownItems(environment=CHECKOUT)]
    return set(found.found), set(found.gone)


# --- what is found --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "items"),
    [
        pytest.param(node(1), {INSTANCE, CHEF_NODE, CLIENT}, id="one that serves"),
        pytest.param(node(1, phase=Phase.RUNNING), {INSTANCE}, id="one that has not registered"),
        pytest.param(node(1, phase=Phase.REGISTERED, has_client=True), {INSTANCE, CLIENT}, id="one that registered"),
        pytest.param(node(1, phase=Phase.LOST, chef=None, has_client=False), {INSTANCE}, id="one out of sight"),
        pytest.param(
            node(1, phase=Phase.TERMINATING, chef=None, has_client=True), {INSTANCE, CLIENT}, id="a dying one"
        ),
    ],
)
def test_it_lists_all_that_is_there_of_a_node(one: Node, items: set[Item]) -> None:
    found, gone = listed(there(nodes=[one, node(9)]), memory(environments=known(CHECKOUT)))
    assert found == {*items, *of(9), ROLE, ENVIRONMENT}
    assert gone == set()


def test_it_lists_what_the_gone_left_in_chef() -> None:
    world = there(nodes=[node(9)], departed=(departed(1, has_client=False), departed(2, has_chef_node=False)))
    found, _ = listed(world, memory(environments=known(CHECKOUT)))
    assert found == {*of(9), CHEF_NODE, of(2)[2], ROLE, ENVIRONMENT}


def test_foreign_objects_are_no_part_of_it() -> None:
    found, _ = listed(
        bare(CHECKOUT, [node(1)], **generated(environment(), fleet=OTHER_FLEET)), memory(environments=known(CHECKOUT))
    )
    assert found == {INSTANCE, CHEF_NODE, CLIENT}


def test_what_shows_later_is_added_once() -> None:
    world = there(nodes=[node(1), node(2)])
    found, _ = listed(world, begun(INSTANCE, CHEF_NODE, CLIENT, ROLE))
    assert found == {*of(2), ENVIRONMENT}
    assert listed(world, begun(*of(1), *of(2), ROLE, ENVIRONMENT)) == (set(), set())


# --- what is ticked off ---------------------------------------------------------------------------------------------

ALIVE, GONE = record(1), record(1, gone_at=NOW - MINUTE)


@pytest.mark.parametrize(
    ("world", "records", "gone"),
    [
        pytest.param(there(nodes=[node(1)]), (ALIVE,), set(), id="it runs"),
        pytest.param(there(nodes=[node(1, phase=Phase.TERMINATING)]), (ALIVE,), set(), id="it is shutting down"),
        pytest.param(there(nodes=[node(1, phase=Phase.LOST)]), (ALIVE,), set(), id="no listing shows it"),
        pytest.param(there(), (ALIVE,), set(), id="it is not shown, and nothing proves that it is gone"),
        pytest.param(
            there(nodes=[node(1, chef=None, has_client=False)]), (ALIVE,), set(), id="a search lags while it runs"
        ),
        pytest.param(there(departed=(departed(1),)), (ALIVE,), {INSTANCE}, id="seen terminated just now"),
        pytest.param(
            there(departed=(departed(1, has_chef_node=False, has_client=False),)),
            (ALIVE,),
            {INSTANCE},
            id="seen terminated just now, Chef not asked since",
        ),
        pytest.param(there(departed=(departed(1),)), (GONE,), {INSTANCE}, id="its Chef objects are left"),
        pytest.param(
            there(departed=(departed(1, has_chef_node=False),)), (GONE,), {INSTANCE, CHEF_NODE}, id="its client is left"
        ),
        pytest.param(there(), (GONE,), {INSTANCE, CHEF_NODE, CLIENT}, id="nothing of it is left"),
        pytest.param(there(), (), {INSTANCE, CHEF_NODE, CLIENT}, id="it is forgotten"),
    ],
)
@pytest.mark.parametrize("is_full", [True, False], ids=["full", "scoped"])
def test_a_node_is_ticked_off_by_proof_alone(
    world: ObservedEnvironment,
    records: tuple[NodeRecord, ...],
    gone: set[Item],
    is_full: bool,  # noqa: FBT001  a parameter
) -> None:
    remembered = begun(INSTANCE, CHEF_NODE, CLIENT, ROLE, ENVIRONMENT, records=records)
    assert listed(world, remembered, is_full=is_full)[1] == gone


def test_generated_objects_are_ticked_off_when_they_are_not_there_any_more() -> None:
    without_role = there(chef_roles={})
    assert listed(without_role, begun(ROLE, ENVIRONMENT)) == (set(), {ROLE})


def test_one_that_somebody_else_made_since_is_not_ours_that_came_back() -> None:
    theirs = generated(environment(), fleet=OTHER_FLEET)["chef_roles"]
    assert listed(there(chef_roles=theirs), begun(ROLE, ENVIRONMENT)) == (set(), {ROLE})


def test_what_was_ticked_off_is_not_said_again() -> None:
    assert listed(there(), begun(ROLE, ENVIRONMENT, gone=(INSTANCE, CHEF_NODE, CLIENT))) == (set(), set())


def test_the_last_things_are_ticked_off_before_it_has_ended() -> None:
    made = plan_one(None, bare(CHECKOUT), begun(ENVIRONMENT, gone=(INSTANCE, ROLE)))
    assert made.facts == (
        TeardownItems(environment=CHECKOUT, gone=frozenset({ENVIRONMENT})),
        TeardownEnded(environment=CHECKOUT),
    )


def test_a_receipt_is_kept_up_while_the_rest_is_held() -> None:
    remembered = replace(begun(INSTANCE, CHEF_NODE, CLIENT), taken_over_at=NOW)
    made: Any = plan_one(None, there(departed=(departed(1),)), remembered)
    assert any(isinstance(fact, TeardownItems) for fact in made.facts)
    assert made.ending.revision == REVISION
