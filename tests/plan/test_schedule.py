"""Sleeping hours: nodes are stopped and started, and nothing else happens in between."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from reconciler.model.actions import Action, LaunchNodes, StartNode, StopNode, TerminateNode
from reconciler.model.desired import Lifetime, Schedule
from reconciler.model.facts import IntentEnded
from reconciler.model.findings import Origin
from reconciler.model.memory import Cause
from reconciler.model.observed import InstanceState, Node, Phase
from reconciler.model.plan import EnvironmentPlan, Guard
from reconciler.plan import guard, plan
from tests.plan.builders import (
    CHECKOUT,
    MINUTE,
    NEW_IMAGE,
    NOW,
    WEB,
    context,
    desired,
    environment,
    instance_id,
    intent,
    intents,
    memory,
    node,
    observed,
    plan_one,
    planned,
    settled,
    there,
)

OFFICE = Schedule(stop="0 20 * * 1-5", start="0 7 * * 1-5", timezone="Europe/Berlin")
LINE = Origin(file="environments.d/checkout.yml", line=5)
HOME = environment(lifetime=Lifetime(schedule=OFFICE), origins={"schedule": LINE})
MORNING = datetime(2026, 11, 2, 6, 0, tzinfo=UTC)  # NOW is the Sunday before it
EVENING = datetime(2026, 11, 2, 19, 0, tzinfo=UTC)
KNOWN = memory(settled=settled((CHECKOUT, WEB, 2)))


def at(now: datetime, *nodes: Node, **changes: Any) -> EnvironmentPlan:
    return plan_one(HOME, there(HOME, nodes=nodes), changes.pop("journal", KNOWN), now=now, **changes)


def stopped(number: int, asked_at: datetime | None = None, **changes: Any) -> Node:
    """Since `asked_at` EC2 is asked to start it."""
    return node(number, of=HOME, phase=Phase.STOPPED, odd_since=asked_at, **changes)


def of(action: Action) -> tuple[type, str]:
    assert isinstance(action, StopNode | StartNode | TerminateNode)
    return type(action), action.instance_id


# --- asleep ---------------------------------------------------------------------------------------------------------


def test_who_serves_is_stopped_and_the_reason_names_the_line() -> None:
    made = at(NOW, node(1, of=HOME), node(2, of=HOME))
    assert [of(action) for action in made.actions] == [(StopNode, instance_id(1)), (StopNode, instance_id(2))]
    assert str(made.actions[0].reason) == (
        "schedule: asleep until 2026-11-02 06:00 UTC (environments.d/checkout.yml:5 at 55555555)"
    )


def test_who_sleeps_is_left_alone_until_the_morning() -> None:
    made = at(NOW, stopped(1), stopped(2))
    assert (made.actions, made.facts, made.is_converged, made.due_at) == ((), (), True, MORNING)
    assert [(one.message, one.until) for one in made.waiting] == [("web: asleep until 2026-11-02 06:00 UTC", MORNING)]


def test_nothing_is_launched_replaced_or_healed() -> None:
    drifted = stopped(1, image=NEW_IMAGE)
    failed = node(2, of=HOME, phase=Phase.FAILED)
    made = at(NOW, drifted, failed)
    assert (made.actions, made.due_at) == ((), MORNING)
    assert made.waiting[0].message.endswith("; 1 more launch then")
    assert [of(one) for one in at(NOW, node(1, of=HOME, image=NEW_IMAGE), stopped(2)).actions] == [
        (StopNode, instance_id(1))
    ]


def test_who_boots_may_come_up_first() -> None:
    starting = node(1, of=HOME, instance={"state": InstanceState.PENDING})
    made = at(NOW, starting, node(2, of=HOME, phase=Phase.REGISTERED))
    assert (made.actions, made.is_busy) == ((), True)
    assert f"web: {instance_id(1)} starts; it is stopped when it runs" in [one.message for one in made.waiting]


def test_a_node_that_no_listing_shows_is_not_touched() -> None:
    assert at(NOW, node(1, of=HOME, is_unseen=True), stopped(2)).actions == ()


def test_a_launch_of_unknown_outcome_is_not_repeated() -> None:
    journal = memory(intents=intents(intent(opened_at=NOW - 10 * MINUTE)))
    made = at(NOW, journal=journal)
    assert (made.actions, [type(fact) for fact in made.facts]) == ((), [IntentEnded])


def test_tags_are_repaired_in_the_night_too() -> None:
    (action,) = at(NOW, stopped(1, tag={"team": "art"}), stopped(2)).actions
    assert action.name == "tag_node"


# --- awake ----------------------------------------------------------------------------------------------------------


def test_by_day_it_is_ordinary_and_due_in_the_evening() -> None:
    made = at(MORNING, node(1, of=HOME), node(2, of=HOME))
    assert (made.actions, made.due_at, made.is_converged) == ((), EVENING, True)
    assert [type(action) for action in at(MORNING, node(1, of=HOME)).actions] == [LaunchNodes]


def test_who_slept_starts_in_the_morning_or_whenever_that_can_be_asked() -> None:
    """The morning may be missed: by a suspension, a bad file, a daemon that was down."""
    for now in (MORNING, MORNING + 60 * MINUTE):
        made = at(now, stopped(1), stopped(2))
        assert [of(action) for action in made.actions] == [(StartNode, instance_id(1)), (StartNode, instance_id(2))]


def test_only_who_stays_is_started_after_a_night_in_which_the_count_was_lowered() -> None:
    made = at(MORNING, stopped(1), stopped(2), stopped(3), journal=memory(settled=settled((CHECKOUT, WEB, 3))))
    assert [of(action) for action in made.actions] == [
        (TerminateNode, instance_id(1)),
        (StartNode, instance_id(2)),
        (StartNode, instance_id(3)),
    ]


def test_one_that_is_still_stopping_is_started_after_that() -> None:
    made = at(MORNING, stopped(1, instance={"state": InstanceState.STOPPING}), stopped(2))
    assert [of(action) for action in made.actions] == [(StartNode, instance_id(2))]
    assert made.is_busy


@pytest.mark.parametrize(("was_ready", "cause"), [(True, Cause.FAILED), (False, Cause.NEVER_READY)])
def test_one_that_does_not_start_in_its_time_goes(cause: Cause, *, was_ready: bool) -> None:
    late = MORNING + 10 * MINUTE
    slow = stopped(1, MORNING, was_ready=was_ready)
    assert [of(one)[0] for one in at(late - MINUTE, slow, node(2, of=HOME)).actions] == [StartNode]
    (gone,) = at(late, slow, node(2, of=HOME)).actions
    assert isinstance(gone, TerminateNode)
    assert gone.cause == cause
    assert "did not start when its schedule asked" in gone.reason.detail


def test_one_that_is_stopped_by_day_is_started_too() -> None:
    made = at(MORNING + 65 * MINUTE, stopped(1), node(2, of=HOME))
    assert [of(action) for action in made.actions] == [(StartNode, instance_id(1))]


def test_a_suspension_holds_both() -> None:
    home = replace(HOME, suspend=True)
    for now, world in ((NOW, there(home, nodes=[node(1, of=home)])), (MORNING, there(home, nodes=[stopped(1)]))):
        seen = context(desired(home), observed(world), KNOWN, now=now)
        made = planned(guard(plan(seen), seen))
        assert (made.actions, [one.guard for one in made.blocked]) == ((), [Guard.SUSPENDED])
