"""Nodes: which phase an instance is in, when it has failed, when it is ready, and whose it is."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.model import tags
from reconciler.model.desired import Desired, Lifetime, Schedule
from reconciler.model.facts import NodeFailed, NodeMissing, NodeOdd, NodeReady, NodeSeen
from reconciler.model.memory import Suspension
from reconciler.model.observed import InstanceState, Phase
from tests.observe.readings import (
    TOKEN,
    in_chef,
    instance,
    joined,
    launch,
    name,
    nodes,
    only,
    reading,
    record,
    remembering,
)
from tests.plan.builders import CHECKOUT, HOUR, MINUTE, NOW, WEB, broken, desired, environment, instance_id, role

OURS = [launch(1)]
SECOND = timedelta(seconds=1)


def look(live: Any, known: Any = None, **changes: Any) -> Any:
    remembered = remembering(known or record(1), launches=OURS)
    return joined(reading(live, remembered=remembered, **changes))


# --- phases ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("live", "known", "chef", "phase"),
    [
        pytest.param({"state": InstanceState.PENDING, "age": MINUTE}, {}, None, Phase.PENDING, id="pending"),
        pytest.param({}, {}, None, Phase.RUNNING, id="running"),
        pytest.param({}, {"registered_at": NOW}, None, Phase.REGISTERED, id="registered"),
        pytest.param({}, {"registered_at": NOW}, in_chef(1, ohai_ago=None), Phase.REGISTERED, id="never converged"),
        pytest.param({}, {"registered_at": NOW}, in_chef(1), Phase.READY, id="its first run succeeded"),
        pytest.param({"tag": {tags.READY: "2026-11-01"}}, {}, None, Phase.READY, id="ready by its tag"),
        pytest.param({}, {"ready_at": NOW - HOUR}, None, Phase.READY, id="ready by the journal"),
        pytest.param({}, {"first_run_ok": False}, None, Phase.FAILED, id="its first run failed"),
        pytest.param(
            {}, {"first_run_ok": False}, in_chef(1), Phase.READY, id="its first run failed, a later one succeeded"
        ),
        pytest.param({"state": InstanceState.STOPPING}, {}, None, Phase.STOPPED, id="stopping"),
        pytest.param({"state": InstanceState.STOPPED}, {"ready_at": NOW}, None, Phase.STOPPED, id="stopped"),
        pytest.param({"state": InstanceState.SHUTTING_DOWN}, {"ready_at": NOW}, None, Phase.TERMINATING, id="dying"),
        pytest.param({"tag": {tags.FLEET: None}}, {"ready_at": NOW}, None, Phase.LOST, id="without our tag"),
        pytest.param(
            {"tag": {tags.FLEET: "other"}}, {"ready_at": NOW}, None, Phase.LOST, id="with another fleet's tag"
        ),
    ],
)
def test_the_phase(live: dict[str, Any], known: dict[str, Any], chef: Any, phase: Phase) -> None:
    assert only(look(instance(1, **live), record(1, **known), chef=[chef] if chef else [])).phase == phase


def test_a_client_that_chef_has_makes_it_registered() -> None:
    assert only(look(instance(1), clients=[name(1)])).phase == Phase.REGISTERED


def test_becoming_ready_is_recorded_once() -> None:
    first = look(instance(1), chef=[in_chef(1)])
    assert NodeReady(instance_id=instance_id(1)) in first.facts
    again = look(instance(1), record(1, ready_at=NOW), chef=[in_chef(1)])
    assert again.facts == ()


# --- deadlines ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "known", "fails"),
    [
        pytest.param(30 * MINUTE - SECOND, {}, False, id="not yet"),
        pytest.param(30 * MINUTE, {}, True, id="at its deadline"),
        pytest.param(5 * HOUR, {"ready_at": NOW - 4 * HOUR}, False, id="ready once"),
        pytest.param(30 * MINUTE, {"deferred_at": NOW - 30 * MINUTE + SECOND}, False, id="it waited for us"),
        pytest.param(2 * HOUR, {"deferred_at": NOW - 30 * MINUTE}, True, id="and then took too long"),
    ],
)
def test_a_node_that_is_not_ready_by_its_deadline_has_failed(
    age: timedelta, known: dict[str, Any], *, fails: bool
) -> None:
    made = only(look(instance(1, age=age), record(1, age=age, **known)))
    assert (made.phase == Phase.FAILED) == fails
    assert bool(made.why_failed) == fails


@pytest.mark.parametrize(
    ("known", "why"),
    [
        ({}, "not ready within 30 min: it never registered"),
        ({"registered_at": NOW}, "not ready within 30 min: registered, but its first Chef run never succeeded"),
        (
            {"first_run_ok": False, "first_run_log": "a\nerror: no cookbook\n"},
            "its first Chef run failed: error: no cookbook",
        ),
        ({"first_run_ok": False}, "its first Chef run failed: no log came with it"),
    ],
)
def test_why_it_failed_is_said(known: dict[str, Any], why: str) -> None:
    assert only(look(instance(1, age=HOUR), record(1, **known))).why_failed == why


@pytest.mark.parametrize(
    ("known", "phase"),
    [
        pytest.param({}, Phase.RUNNING, id="nobody knows"),
        pytest.param({"registered_at": NOW}, Phase.REGISTERED, id="nor whether its first run succeeded"),
        pytest.param({"failed_at": NOW - MINUTE}, Phase.FAILED, id="it was asked for by name before"),
    ],
)
def test_nobody_fails_whom_chef_was_not_asked_for_by_name(known: dict[str, Any], phase: Phase) -> None:
    """A search that stands still lacks the readiness of all newcomers."""
    made = only(look(instance(1, age=HOUR), record(1, **known), chef_asked=frozenset()))
    assert made.phase == phase


@pytest.mark.parametrize(("age", "fails"), [(10 * MINUTE - SECOND, False), (10 * MINUTE, True)])
def test_an_instance_that_stays_pending_has_failed(age: timedelta, fails: bool) -> None:  # noqa: FBT001  a parameter
    made = only(look(instance(1, age=age, state=InstanceState.PENDING)))
    assert (made.phase == Phase.FAILED) == fails
    assert made.why_failed == ("still pending after 10 min" if fails else "")


FAILED = NodeFailed(instance_id=instance_id(1))


def test_the_first_sighting_as_failed_is_remembered_once() -> None:
    first = look(instance(1), record(1, first_run_ok=False))
    assert (only(first).failed_at, first.facts) == (NOW, (FAILED,))
    again = look(instance(1), record(1, first_run_ok=False, failed_at=NOW - HOUR))
    assert (only(again).failed_at, again.facts) == (NOW - HOUR, ())


@pytest.mark.parametrize(
    ("known", "chef"),
    [
        pytest.param({"deferred_at": NOW - MINUTE}, [], id="its deadline was moved"),
        pytest.param({"first_run_ok": False}, [in_chef(1)], id="a later run succeeded"),
    ],
)
def test_a_node_that_has_not_failed_after_all_is_cleared(known: dict[str, Any], chef: list[Any]) -> None:
    failed = record(1, age=HOUR, failed_at=NOW - MINUTE, **known)
    made = look(instance(1, age=HOUR), failed, chef=chef)
    assert only(made).failed_at is None
    assert NodeSeen(record=replace(failed, failed_at=None)) in made.facts


@pytest.mark.parametrize("state", [InstanceState.STOPPED, InstanceState.SHUTTING_DOWN])
def test_a_failed_node_that_stops_or_goes_has_failed_all_the_same(state: InstanceState) -> None:
    made = look(instance(1, state=state), record(1, failed_at=NOW - MINUTE, odd_since=NOW - MINUTE, ready_at=None))
    assert only(made).failed_at == NOW - MINUTE
    assert not any(isinstance(fact, NodeFailed) for fact in made.facts)


def test_what_nobody_wants_is_still_so_when_it_has_not_failed_after_all() -> None:
    """Clearing the one mark in the journal clears the other too."""
    known = record(1, failed_at=NOW - MINUTE, odd_since=NOW - HOUR)
    made = joined(reading(instance(1), remembered=remembering(known, launches=OURS)), desired())
    assert [type(fact) for fact in made.facts] == [NodeSeen, NodeOdd]
    assert only(made).odd_since == NOW - HOUR


def test_one_that_was_stopped_and_started_again_is_as_old_as_it_was() -> None:
    """EC2 tells the last start as its launch time. It is no newcomer, but has its whole time to boot again."""
    restarted = instance(1, age=MINUTE, state=InstanceState.PENDING)
    made = only(look(restarted, record(1, age=50 * HOUR)))
    assert made.instance.launched_at == NOW - 50 * HOUR
    assert (made.phase, made.deadline_at) == (Phase.PENDING, NOW + 29 * MINUTE)


def test_after_a_time_of_failed_reads_deadlines_begin_again() -> None:
    remembered = remembering(record(1), launches=OURS, sighted_again_at=NOW - 10 * MINUTE)
    made = only(joined(reading(instance(1, age=2 * HOUR), remembered=remembered)))
    assert (made.phase, made.deadline_at) == (Phase.RUNNING, NOW + 20 * MINUTE)


@pytest.mark.parametrize("state", [InstanceState.RUNNING, InstanceState.PENDING])
def test_an_instance_older_than_this_journal_is_stale_not_failed(state: InstanceState) -> None:
    """Its launch is not known, nor whether it was ever ready."""
    made = only(joined(reading(instance(1, age=48 * HOUR, state=state))))
    assert (made.phase, made.deadline_at) == (Phase(state), None)
    assert made.is_stale == (state == InstanceState.RUNNING)


@pytest.mark.parametrize(
    ("ohai_ago", "stale"),
    [(2 * HOUR, False), (2 * HOUR + SECOND, True), (None, True)],
)
def test_a_ready_node_that_chef_has_not_heard_of_is_stale_and_stays_ready(
    ohai_ago: timedelta | None, *, stale: bool
) -> None:
    made = only(look(instance(1), record(1, ready_at=NOW - 5 * HOUR), chef=[in_chef(1, ohai_ago=ohai_ago)]))
    assert (made.phase, made.is_stale) == (Phase.READY, stale)


def test_a_ready_node_whose_chef_node_is_gone_is_stale_and_stays_ready() -> None:
    made = only(look(instance(1), record(1, ready_at=NOW - 5 * HOUR)))
    assert (made.phase, made.is_stale) == (Phase.READY, True)


# --- whose it is ----------------------------------------------------------------------------------------------------


def test_what_a_node_was_launched_with_comes_from_its_intent() -> None:
    assert only(look(instance(1))).launched_with == {
        "image": "ami-0123456789abcdef0",
        "security_groups": "sg-app",
        "instance_profile": "",
        "instance_type": "m7i.large",
        "subnets": "subnet-a",
        "user_data": "v1:44136fa355b3678a",
    }


def copied(**changes: Any) -> Any:
    """ "Launch more like this" on instance 1: every tag is the same, the id is not."""
    live = instance(2, age=MINUTE, tag={tags.READY: "2026-11-01"})
    remembered = remembering(record(1, ready_at=NOW - HOUR), launches=OURS)
    return joined(reading(instance(1), live, remembered=remembered, **changes))


def test_a_copy_made_by_hand_is_a_node_but_not_launched_here() -> None:
    original, copy = nodes(copied())
    assert (copy.environment, copy.role) == (CHECKOUT, WEB)
    assert copy.launched_with == {}
    assert original.launched_with != {}


def test_a_copy_does_not_inherit_the_readiness_of_its_original() -> None:
    """Else the original, being older, would go as surplus."""
    original, copy = nodes(copied())
    assert (original.phase, copy.phase) == (Phase.READY, Phase.RUNNING)
    assert not copy.was_ready
    assert NodeReady(instance_id=instance_id(2)) not in copied().facts


def test_a_copy_may_become_ready_by_itself_and_has_a_deadline_like_anybody() -> None:
    assert nodes(copied(chef=[in_chef(2)]))[1].phase == Phase.READY
    assert nodes(copied())[1].deadline_at == NOW + 29 * MINUTE


def test_a_copy_of_a_launch_that_nobody_remembers_keeps_what_its_tags_say() -> None:
    """After a lost journal nobody can tell a copy: and then tags are all there is."""
    made = joined(reading(instance(2, tag={tags.READY: "2026-11-01"})))
    assert only(made).phase == Phase.READY


def test_an_owned_instance_is_remembered_at_first_sight() -> None:
    made = joined(reading(instance(1)))
    assert made.facts == (NodeSeen(record=record(1, seen_at=NOW)),)


@pytest.mark.parametrize(
    "edit",
    [{tags.ENVIRONMENT: "Bad Name"}, {tags.ROLE: "web-1"}, {tags.ENVIRONMENT: None}, {tags.ROLE: None}],
)
def test_an_instance_with_impossible_tags_is_reported_and_not_touched(edit: dict[str, str | None]) -> None:
    made = joined(reading(instance(1, tag=edit)))
    assert nodes(made) == []
    assert [(one.kind, one.name) for one in made.observed.foreign] == [("instance", instance_id(1))]
    assert made.facts == ()
    dead = joined(reading(instance(1, tag=edit, state=InstanceState.TERMINATED)))
    assert dead.observed.foreign == ()


def test_a_known_instance_keeps_its_place_whatever_its_tags_say() -> None:
    made = look(instance(1, tag={tags.ENVIRONMENT: "staging", tags.ROLE: "worker"}))
    assert (only(made).environment, only(made).role) == (CHECKOUT, WEB)
    assert made.observed.foreign == ()


def test_tags_edited_in_a_scoped_look_move_nobody() -> None:
    """The listing of staging shows it, but it is checkout's."""
    remembered = remembering(record(1), launches=OURS)
    live = instance(1, tag={tags.ENVIRONMENT: "staging"})
    made = joined(reading(live, remembered=remembered, names=["staging"]), desired(environment("staging")))
    assert nodes(made, "staging") == []


# --- odd ------------------------------------------------------------------------------------------------------------

ODD = NodeOdd(instance_id=instance_id(1))
SUSPENDED = Suspension(environment=None, reason="", actor="ops", since=NOW - HOUR, until=None)
OFFICE = Schedule(stop="0 20 * * *", start="0 7 * * *", timezone="UTC")
SCHEDULED = desired(environment(lifetime=Lifetime(schedule=OFFICE)))
NOON = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("live", "wanted", "is_odd"),
    [
        pytest.param({}, desired(environment()), False, id="wanted"),
        pytest.param({}, desired(), True, id="its environment is not declared"),
        pytest.param({}, desired(frozen=[broken()]), False, id="its file is broken"),
        pytest.param({}, desired(environment(roles=[role("worker")])), True, id="its role is not declared"),
        pytest.param({"state": InstanceState.STOPPED}, desired(environment()), True, id="stopped"),
        pytest.param({"state": InstanceState.SHUTTING_DOWN}, desired(environment()), False, id="dying"),
    ],
)
def test_the_first_sighting_of_what_nobody_wants_is_remembered(live: dict[str, Any], wanted: Any, is_odd: bool) -> None:  # noqa: FBT001  a parameter
    remembered = remembering(record(1), launches=OURS)
    made = joined(reading(instance(1, **live), remembered=remembered), wanted)
    assert (ODD in made.facts) == is_odd
    assert only(made).odd_since == (NOW if is_odd else None)


@pytest.mark.parametrize(
    ("wanted", "known"),
    [
        pytest.param(desired(frozen=[broken()]), {}, id="its file cannot be read"),
        pytest.param(desired(environment(suspend=True)), {}, id="its file suspends it"),
        pytest.param(desired(environment()), {"suspensions": (SUSPENDED,)}, id="somebody suspended it"),
    ],
)
@pytest.mark.parametrize("since", [None, NOW - HOUR])
def test_no_age_runs_while_its_environment_is_left_alone(
    wanted: Desired, known: dict[str, Any], since: datetime | None
) -> None:
    """Else whatever was stopped, or slept, would be terminated at once when that is over."""
    remembered = remembering(record(1, odd_since=since), launches=OURS, **known)
    made = joined(reading(instance(1, state=InstanceState.STOPPED), remembered=remembered), wanted)
    assert only(made).odd_since is None
    assert ODD not in made.facts


@pytest.mark.parametrize(
    ("asked", "counts"),
    [
        pytest.param(None, None, id="EC2 was not asked to start it yet"),
        pytest.param(NOON - HOUR, NOON - HOUR, id="it was asked"),
        pytest.param(NOON - 24 * HOUR, None, id="it was asked on another day"),
    ],
)
def test_a_node_with_a_schedule_has_its_time_to_start_from_when_that_was_asked(
    asked: datetime | None, counts: datetime | None
) -> None:
    known = remembering(record(1, odd_since=asked), launches=OURS)
    live = reading(instance(1, state=InstanceState.STOPPED), remembered=known, at=NOON)
    assert only(joined(live, SCHEDULED)).odd_since == counts
    assert only(joined(replace(live, at=NOON + 9 * HOUR), SCHEDULED)).odd_since is None  # it sleeps


def test_the_second_sighting_keeps_the_time_of_the_first() -> None:
    remembered = remembering(record(1, odd_since=NOW - HOUR), launches=OURS)
    made = joined(reading(instance(1), remembered=remembered), desired())
    assert (only(made).odd_since, made.facts) == (NOW - HOUR, ())


def test_what_is_wanted_again_begins_anew() -> None:
    made = look(instance(1), record(1, odd_since=NOW - HOUR))
    assert only(made).odd_since is None
    assert made.facts == (NodeSeen(record=record(1)),)


def test_an_unseen_node_is_pending_and_a_missing_one_lost() -> None:
    young, old = record(1, age=MINUTE), record(2, ready_at=NOW - HOUR)
    remembered = remembering(young, old, launches=[launch(1, 2)])
    lost, unseen = nodes(joined(reading(remembered=remembered, asked=[instance_id(2)])))
    assert (unseen.phase, unseen.is_unseen, unseen.launched_with["image"]) == (
        Phase.PENDING,
        True,
        "ami-0123456789abcdef0",
    )
    assert (lost.phase, lost.is_unseen, lost.was_ready) == (Phase.LOST, False, True)
    assert unseen.instance.intent == TOKEN


def test_a_node_of_which_nothing_is_known_but_its_record_is_lost_all_the_same() -> None:
    made = joined(reading(remembered=remembering(record(1, intent=None)), asked=[instance_id(1)]))
    assert (only(made).phase, only(made).launched_with) == (Phase.LOST, {})
    assert made.facts == (NodeMissing(instance_id=instance_id(1)),)


def test_nodes_come_by_age_wherever_they_were_found() -> None:
    remembered = remembering(record(1, age=3 * HOUR), record(2, age=2 * HOUR), record(3, age=HOUR), launches=OURS)
    listed = [instance(3, age=HOUR), instance(1, age=3 * HOUR)]
    made = joined(reading(*listed, remembered=remembered, asked=[instance_id(2)]))
    assert [one.instance_id for one in nodes(made)] == [instance_id(n) for n in (1, 2, 3)]
