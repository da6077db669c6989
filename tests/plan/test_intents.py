"""Launches of unknown outcome: replayed with the same token while wanted and fresh, else awaited, then closed."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from reconciler.model import tags
from reconciler.model.actions import ReplayLaunch
from reconciler.model.desired import ImageById
from reconciler.model.digest import content_digest
from reconciler.model.facts import IntentEnded
from reconciler.model.memory import Intent, IntentState, Trouble
from reconciler.model.names import IntentToken
from reconciler.model.observed import Phase
from reconciler.model.plan import EnvironmentPlan
from tests.plan.builders import (
    CHECKOUT,
    HOUR,
    MINUTE,
    NEW_IMAGE,
    NOW,
    WEB,
    bare,
    environment,
    generated,
    intent,
    intents,
    launched,
    memory,
    node,
    plan_one,
    role,
    said,
    there,
    trouble,
)


def closed(made: EnvironmentPlan) -> list[IntentToken]:
    return [fact.token for fact in made.facts if isinstance(fact, IntentEnded) and fact.state == IntentState.CLOSED]


def awaited(made: EnvironmentPlan) -> bool:
    return any("whether the launch" in waiting.message for waiting in made.waiting)


def test_an_open_intent_that_is_wanted_is_replayed_and_nothing_else_launched() -> None:
    known = intent(count=2)
    made = plan_one(environment(), there(), memory(intents=intents(known)))
    assert said(made.actions) == ["replay_launch hq-open"]
    assert isinstance(made.actions[0], ReplayLaunch) and made.actions[0].intent == known


def test_what_it_cannot_have_launched_is_launched_beside_it() -> None:
    made = plan_one(environment(), there(), memory(intents=intents(intent(count=1))))
    assert said(made.actions) == ["replay_launch hq-open", "launch_nodes 1"]


def test_an_intent_of_which_a_part_shows_holds_the_places_of_the_rest() -> None:
    shown = node(1, phase=Phase.PENDING, tag={tags.INTENT: "hq-open"})
    made = plan_one(environment(), there(nodes=[shown]), memory(intents=intents(intent(count=2))))
    assert said(made.actions) == ["replay_launch hq-open"]
    assert [waiting.message for waiting in made.waiting] == ["web: 1 node pending"]


@pytest.mark.parametrize(
    ("age", "replayed"),
    [
        pytest.param(HOUR - timedelta(seconds=1), True, id="younger than an hour"),
        pytest.param(HOUR, False, id="an hour old"),
    ],
)
def test_a_token_is_not_replayed_after_an_hour(age: timedelta, replayed: bool) -> None:  # noqa: FBT001  a parameter
    made = plan_one(environment(), there(), memory(intents=intents(intent(count=2, opened_at=NOW - age))))
    assert any(isinstance(action, ReplayLaunch) for action in made.actions) == replayed
    assert awaited(made) != replayed


@pytest.mark.parametrize(
    ("changed", "replayed"),
    [
        pytest.param({}, True, id="as it was"),
        pytest.param({"count": 3}, True, id="more are wanted"),
        pytest.param({"run_list": ("recipe[other]",)}, True, id="what reaches the node through Chef"),
        pytest.param({"instance_types": ("c7i.large", "m7i.large")}, True, id="its type is still declared"),
        pytest.param({"image": ImageById(image_id=NEW_IMAGE)}, False, id="another image"),
        pytest.param({"instance_types": ("c7i.large",)}, False, id="another type"),
        pytest.param({"subnets": ("subnet-c",)}, False, id="another subnet"),
        pytest.param({"security_groups": frozenset({"sg-db"})}, False, id="other security groups"),
        pytest.param({"instance_profile": "app"}, False, id="a profile"),
        pytest.param({"user_data": "swapon"}, False, id="user-data"),
        pytest.param({"count": 1}, False, id="fewer are wanted"),
    ],
)
def test_an_intent_is_replayed_only_if_it_is_still_asked_for(changed: dict[str, Any], replayed: bool) -> None:  # noqa: FBT001  a parameter
    home = environment(roles=[role(**changed)])
    made = plan_one(home, there(home), memory(intents=intents(intent(count=2))))
    assert any(isinstance(action, ReplayLaunch) for action in made.actions) == replayed
    # Its places stay taken until it is known what became of it.
    assert not any(name.startswith("launch") for name in said(made.actions)) or home.roles[WEB].count > 2
    assert awaited(made) != replayed


@pytest.mark.parametrize(
    ("opened", "attempted", "closes"),
    [
        pytest.param(5 * MINUTE, None, True, id="five minutes without it"),
        pytest.param(5 * MINUTE - timedelta(seconds=1), None, False, id="not yet five"),
        pytest.param(30 * MINUTE, MINUTE, False, id="a replay was tried since"),
        pytest.param(30 * MINUTE, 5 * MINUTE, True, id="five minutes since the last try"),
    ],
)
def test_an_intent_that_nobody_wants_is_closed_when_no_listing_shows_it_for_five_minutes(
    opened: timedelta,
    attempted: timedelta | None,
    closes: bool,  # noqa: FBT001  a parameter
) -> None:
    home = environment(roles=[role(count=0)])
    known = intent(opened_at=NOW - opened, attempted_at=None if attempted is None else NOW - attempted)
    made = plan_one(home, there(home), memory(intents=intents(known)))
    assert closed(made) == ([known.token] if closes else [])


def test_an_intent_of_which_a_part_shows_is_not_closed() -> None:
    home = environment(roles=[role(count=0)])
    shown = node(1, phase=Phase.TERMINATING, tag={tags.INTENT: "hq-open"})
    made = plan_one(home, there(home, [shown]), memory(intents=intents(intent(opened_at=NOW - HOUR))))
    assert closed(made) == []


def test_of_several_the_oldest_that_are_one_too_many_wait() -> None:
    first = intent("hq-first", 1, opened_at=NOW - 3 * MINUTE)
    second = intent("hq-second", 2, opened_at=NOW - 2 * MINUTE)
    made = plan_one(environment(), there(), memory(intents=intents(second, first)))
    assert said(made.actions) == ["replay_launch hq-second"]


@pytest.mark.parametrize("state", [IntentState.LAUNCHED, IntentState.REFUSED, IntentState.CLOSED])
def test_a_settled_intent_holds_no_place(state: IntentState) -> None:
    made = plan_one(environment(), there(), memory(intents=intents(intent(state=state))))
    assert said(made.actions) == ["launch_nodes 2"]


def test_another_roles_intent_holds_no_place_here() -> None:
    home = environment(roles=[role(), role("worker", 1)])
    other: Intent = intent(count=1, role=home.roles[role("worker").name])
    made = plan_one(home, there(home), memory(intents=intents(other)))
    assert said(made.actions) == ["replay_launch hq-open", "launch_nodes 2"]


def test_a_halted_role_replays_nothing() -> None:
    halted = trouble("a", content=content_digest(environment(), role()), is_halted=True)
    made = plan_one(environment(), there(), memory(intents=intents(intent()), troubles={(CHECKOUT, WEB): halted}))
    assert made.actions == ()
    assert awaited(made)


def breaking(retry_at: datetime) -> Trouble:
    """The breaker is open until then."""
    failed = ("i-a", "i-b", "i-c")
    return trouble(*failed, content=content_digest(environment(), role()), retry_at=retry_at, message="no cookbook")


@pytest.mark.parametrize(
    ("retry_at", "open_ones", "booting", "does"),
    [
        pytest.param(NOW + MINUTE, [1], 0, [], id="while the breaker pauses nothing is launched"),
        pytest.param(NOW, [1], 0, ["replay_launch hq-0"], id="then a launch of one is the canary"),
        pytest.param(NOW, [2], 0, [], id="one of two would be too much"),
        pytest.param(NOW, [1, 1], 0, ["replay_launch hq-0"], id="of several the oldest"),
        pytest.param(NOW, [1], 1, [], id="none beside one that boots"),
    ],
)
def test_while_the_breaker_is_open_a_launch_of_unknown_outcome_is_the_only_one_under_way(
    retry_at: datetime, open_ones: list[int], booting: int, does: list[str]
) -> None:
    """Whether it launched or not: its places stay taken until that is known, so nothing is launched beside it."""
    known = [intent(f"hq-{n}", count, opened_at=NOW - MINUTE) for n, count in enumerate(open_ones)]
    nodes = [node(n, phase=Phase.RUNNING) for n in range(1, booting + 1)]
    remembered = memory(intents=intents(*known), troubles={(CHECKOUT, WEB): breaking(retry_at)})
    made = plan_one(environment(), there(nodes=nodes), remembered)
    assert said(made.actions) == does
    assert awaited(made) == (len(does) < len(open_ones))


def test_a_launch_that_is_not_repeated_is_closed_in_the_end_and_the_canary_goes() -> None:
    known = intent(count=2, opened_at=NOW - 5 * MINUTE)
    remembered = memory(intents=intents(known), troubles={(CHECKOUT, WEB): breaking(NOW)})
    assert closed(plan_one(environment(), there(), remembered)) == [known.token]
    after = memory(troubles={(CHECKOUT, WEB): breaking(NOW)})
    assert said(plan_one(environment(), there(), after).actions) == ["launch_nodes 1"]


def test_a_launch_whose_token_ec2_knows_otherwise_is_not_repeated_and_keeps_its_places() -> None:
    mismatched = intent(count=2, attempted_at=NOW - MINUTE, settled_at=NOW - MINUTE)
    made = plan_one(environment(), there(), memory(intents=intents(mismatched)))
    assert made.actions == ()
    assert (awaited(made), closed(made)) == (True, [])


def test_it_is_closed_when_no_listing_shows_it_and_only_what_lacks_is_launched() -> None:
    ago = NOW - 5 * MINUTE
    mismatched = intent(count=2, opened_at=ago, attempted_at=ago, settled_at=ago)
    assert closed(plan_one(environment(), there(), memory(intents=intents(mismatched)))) == [mismatched.token]
    shut = replace(mismatched, state=IntentState.CLOSED, settled_at=NOW)
    made = plan_one(environment(), there(nodes=[node(1)]), memory(intents=intents(shut)))
    assert said(made.actions) == ["launch_nodes 1"]


def test_the_surge_of_a_replacement_may_be_replayed() -> None:
    moved = environment(roles=[role(image=ImageById(image_id=NEW_IMAGE))])
    known = intent(count=1, parameters=replace(intent(count=1).parameters, image=NEW_IMAGE))
    world = there(moved, [node(1), node(2)], **generated(moved, image=NEW_IMAGE))
    assert said(plan_one(moved, world, memory(intents=intents(known))).actions) == ["replay_launch hq-open"]


def test_a_removed_roles_open_intent_is_awaited_before_its_chef_role_goes() -> None:
    with_worker = environment(roles=[role(), role("worker", 1)])
    open_one = intent(count=1, role=with_worker.roles[role("worker").name])
    world = there(with_worker, [node(1), node(2)])
    waits = plan_one(environment(), world, memory(intents=intents(open_one)))
    assert waits.actions == ()
    assert awaited(waits)
    goes = plan_one(
        environment(), world, memory(intents=intents(launched("hq-open", role=with_worker.roles[role("worker").name])))
    )
    assert said(goes.actions) == ["delete_chef_role checkout-worker"]


def test_an_environment_with_an_open_intent_is_not_empty() -> None:
    made = plan_one(None, bare(CHECKOUT), memory(intents=intents(intent())))
    assert awaited(made)
    assert made.facts == ()
