"""Absent is not gone: what it takes to call an instance dead, and what happens to what it leaves in Chef."""

from datetime import timedelta
from typing import Any

import pytest

from reconciler.model import tags
from reconciler.model.facts import NodeForgotten, NodeGone, NodeMissing, NodeSeen
from reconciler.model.observed import InstanceState, Phase
from tests.observe.readings import in_chef, instance, joined, launch, name, nodes, only, reading, record, remembering
from tests.plan.builders import CHECKOUT, HOUR, NOW, desired, environment, instance_id

SECOND = timedelta(seconds=1)
GONE, FORGOTTEN = NodeGone(instance_id=instance_id(1)), NodeForgotten(instance_id=instance_id(1))
MISSING = NodeMissing(instance_id=instance_id(1))


def unlisted(known: dict[str, Any], **changes: Any) -> Any:
    remembered = remembering(record(1, **known), launches=[launch(1)])
    return joined(reading(remembered=remembered, asked=[instance_id(1)], **changes))


def departed(made: Any) -> list[tuple[bool, bool]]:
    return [(one.has_chef_node, one.has_client) for one in made.observed.environments[CHECKOUT].departed]


@pytest.mark.parametrize(
    ("missing_for", "gone"),
    [
        pytest.param(None, False, id="for the first time"),
        pytest.param(HOUR - SECOND, False, id="not yet an hour"),
        pytest.param(HOUR, True, id="an hour of NotFound"),
    ],
)
def test_not_found_proves_death_only_after_an_hour(missing_for: timedelta | None, gone: bool) -> None:  # noqa: FBT001  a parameter
    made = unlisted({"missing_since": None if missing_for is None else NOW - missing_for})
    assert (GONE in made.facts) == gone
    assert (MISSING in made.facts) == (missing_for is None)
    assert [one.phase for one in nodes(made)] == ([] if gone else [Phase.LOST])


def test_a_lost_node_keeps_its_chef_objects() -> None:
    made = unlisted({"missing_since": NOW - HOUR + SECOND}, chef=[in_chef(1)], clients=[name(1)])
    assert departed(made) == []
    assert only(made).chef is not None


def test_one_that_is_found_by_id_is_no_more_missing() -> None:
    remembered = remembering(record(1, missing_since=NOW - HOUR), launches=[launch(1)])
    made = joined(reading(by_id=[instance(1, tag={tags.ENVIRONMENT: "edited"})], remembered=remembered))
    assert only(made).phase == Phase.RUNNING
    assert made.facts == (NodeSeen(record=record(1)),)


@pytest.mark.parametrize("fleet", [None, "other"])
def test_one_that_is_found_by_id_without_our_tag_is_lost_and_still_missing(fleet: str | None) -> None:
    known = record(1, missing_since=NOW - 2 * HOUR)
    remembered = remembering(known, launches=[launch(1)])
    made = joined(reading(by_id=[instance(1, tag={tags.FLEET: fleet})], remembered=remembered))
    assert (only(made).phase, made.facts) == (Phase.LOST, ())


@pytest.mark.parametrize("fleet", ["demo", None])
def test_terminated_is_proof_whatever_its_tags(fleet: str | None) -> None:
    remembered = remembering(record(1), launches=[launch(1)])
    dead = instance(1, state=InstanceState.TERMINATED, tag={tags.FLEET: fleet})
    made = joined(reading(by_id=[dead], remembered=remembered, chef=[in_chef(1)], clients=[name(1)]))
    assert (nodes(made), departed(made), made.facts) == ([], [(True, True)], (GONE,))


@pytest.mark.parametrize(
    ("left", "forgotten"),
    [
        pytest.param({"chef": [in_chef(1)], "clients": [name(1)]}, False, id="both"),
        pytest.param({"chef": [in_chef(1)]}, False, id="a node"),
        pytest.param({"clients": [name(1)]}, False, id="a client"),
        pytest.param({}, True, id="nothing"),
    ],
)
def test_the_dead_are_forgotten_when_nothing_of_them_is_left(left: dict[str, Any], forgotten: bool) -> None:  # noqa: FBT001  a parameter
    made = unlisted({"gone_at": NOW - HOUR}, **left)
    assert made.facts == ((FORGOTTEN,) if forgotten else ())
    assert len(departed(made)) == (0 if forgotten else 1)


def test_who_was_seen_gone_just_now_is_looked_at_once_more_before_it_is_forgotten() -> None:
    made = unlisted({"missing_since": NOW - HOUR})
    assert (departed(made), made.facts) == ([(False, False)], (GONE,))


def test_the_dead_that_ec2_still_lists_are_not_met_again() -> None:
    dead = instance(1, state=InstanceState.TERMINATED)
    forgotten = joined(reading(dead))
    assert (nodes(forgotten), departed(forgotten), forgotten.facts) == ([], [], ())
    listed = joined(reading(dead, remembered=remembering(record(1, gone_at=NOW))))
    assert listed.facts == (FORGOTTEN,)


def test_a_dead_instance_that_we_never_knew_but_left_something_is_taken_note_of() -> None:
    made = joined(reading(instance(1, state=InstanceState.TERMINATED, token=None), clients=[name(1)]))
    assert departed(made) == [(False, True)]
    assert made.facts == (NodeSeen(record=record(1, intent=None, seen_at=NOW)), GONE)


def test_nothing_is_concluded_about_what_is_out_of_scope() -> None:
    remembered = remembering(record(1), record(2, of="staging"), launches=[launch(1)])
    made = joined(
        reading(remembered=remembered, names=["staging"], asked=[instance_id(2)]),
        desired(environment(), environment("staging")),
    )
    assert set(made.observed.environments) == {"staging"}
    assert made.facts == (NodeMissing(instance_id=instance_id(2)),)
    assert not made.observed.is_full


def test_the_record_of_an_instance_out_of_scope_is_not_made() -> None:
    made = joined(reading(instance(1), names=["staging"]), desired(environment("staging")))
    assert made.facts == ()


@pytest.mark.parametrize(
    ("known", "live", "made", "is_said"),
    [
        pytest.param({}, {}, {}, True, id="it booted"),
        pytest.param({"registered_at": NOW}, {}, {"chef": [in_chef(1, ohai_ago=None)]}, True, id="and registered"),
        pytest.param({"ready_at": NOW - HOUR}, {}, {}, False, id="it was ready"),
        pytest.param({}, {"tag": {tags.READY: "2026-11-01"}}, {}, False, id="ready by its tag"),
        pytest.param({}, {}, {"chef": [in_chef(1)]}, False, id="it ran Chef, and nobody looked since"),
        pytest.param({"intent": None}, {}, {}, False, id="nobody knows who launched it"),
    ],
)
def test_of_our_launches_that_ended_before_they_were_ready_it_is_said_when_they_were_made(
    known: dict[str, Any], live: dict[str, Any], made: dict[str, Any], *, is_said: bool
) -> None:
    remembered = remembering(record(1, **known), launches=[launch(1)])
    result = joined(reading(instance(1, state=InstanceState.TERMINATED, **live), remembered=remembered, **made))
    (one,) = result.observed.environments[CHECKOUT].departed
    assert one.launched_at == (instance(1).launched_at if is_said else None)


def test_a_copy_that_ended_is_none_of_our_launches() -> None:
    remembered = remembering(record(1), record(2), launches=[launch(1)])
    result = joined(reading(instance(1), instance(2, state=InstanceState.TERMINATED), remembered=remembered))
    assert [one.launched_at for one in result.observed.environments[CHECKOUT].departed] == [None]
