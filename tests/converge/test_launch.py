"""Launching through intents: durable before EC2 is asked, and open until it is known what became of them."""

from dataclasses import replace
from datetime import timedelta

import pytest

from reconciler.errors import (
    Denied,
    HivequeenError,
    NoCapacity,
    QuotaReached,
    Refused,
    TokenMismatch,
    TokenSpent,
    Transient,
)
from reconciler.model import tags
from reconciler.model.actions import ReplaceNode
from reconciler.model.desired import RootVolume
from reconciler.model.facts import IntentOpened
from reconciler.model.memory import Cause, Exhausted, IntentState, LaunchParameters
from reconciler.model.passes import Result
from tests.converge.outside import WHY, Outside, launch, replay, terminate
from tests.plan.builders import CHECKOUT, IMAGE, WEB, instance_id, node, role


def test_each_batch_is_one_call_and_one_intent(outside: Outside) -> None:
    (outcome,) = outside.converge(launch(("subnet-a", 3), ("subnet-b", 2)))
    assert outcome.result == Result.DONE
    assert outside.cloud.calls["RunInstances"] == 2
    assert [(one.parameters.subnet, one.parameters.count, one.state) for one in outside.intents()] == [
        ("subnet-a", 3, IntentState.LAUNCHED),
        ("subnet-b", 2, IntentState.LAUNCHED),
    ]
    ids = [one.instance_id for one in outside.cloud.alive()]
    assert sorted(outcome.message.split(", ")) == sorted(ids)
    assert set(outside.journal.recall(outside.clock.now()).nodes) == set(ids)


def test_the_parameters_are_exactly_what_was_declared(outside: Outside) -> None:
    """They are what a fleet is made of: changing one of these lines replaces nodes in live fleets."""
    declared = replace(
        role(),
        security_groups=frozenset({"sg-b", "sg-a"}),
        instance_profile="app",
        key_name="ops",
        root_volume=RootVolume(size_gib=20, type="io2"),
    )
    outside.converge(launch(("subnet-a", 2), declared=declared))
    (known,) = outside.intents()
    assert outside.cloud.parameters_of(outside.cloud.alive()[0].instance_id) == LaunchParameters(
        image=IMAGE,
        instance_type="m7i.large",
        subnet="subnet-a",
        count=2,
        security_groups=("sg-a", "sg-b"),
        instance_profile="app",
        key_name="ops",
        root_volume_size_gib=20,
        root_volume_type="io2",
        user_data="#!/bin/sh\n# checkout web\n",
        tags=(
            ("hivequeen:environment", "checkout"),
            ("hivequeen:fleet", "demo"),
            ("hivequeen:intent", "hq-1"),
            ("hivequeen:role", "web"),
            ("hivequeen:spec", "v1:44136fa355b3678a"),
        ),
    )
    assert (known.token, known.opened_at) == ("hq-1", outside.clock.now())


def test_the_intent_is_durable_before_ec2_is_asked(outside: Outside) -> None:
    outside.converge(launch(("subnet-a", 1)))
    assert outside.journal.before(IntentOpened, "RunInstances")


@pytest.mark.parametrize("after_commit", [False, True])
def test_a_lost_reply_leaves_the_intent_open_with_all_its_parameters(outside: Outside, *, after_commit: bool) -> None:
    outside.cloud.fail("RunInstances", Transient("timed out"), after_commit=after_commit)
    (outcome,) = outside.converge(launch(("subnet-a", 2)))
    assert (outcome.result, outcome.needs_person) == (Result.UNKNOWN, False)
    (known,) = outside.intents()
    assert (known.state, known.instance_ids) == (IntentState.OPEN, ())
    assert known.parameters.user_data == "#!/bin/sh\n# checkout web\n"
    assert len(outside.cloud.alive()) == (2 if after_commit else 0)


@pytest.mark.parametrize("after_commit", [False, True])
def test_a_replay_makes_exactly_the_nodes_that_were_asked_for(outside: Outside, *, after_commit: bool) -> None:
    outside.cloud.fail("RunInstances", Transient("timed out"), after_commit=after_commit)
    outside.converge(launch(("subnet-a", 2)))
    outside.clock.advance(60)
    (known,) = outside.intents()
    (outcome,) = outside.converge(replay(known))
    assert outcome.result == Result.DONE
    assert len(outside.cloud.alive()) == 2
    (settled,) = outside.intents()
    assert set(settled.instance_ids) == {one.instance_id for one in outside.cloud.alive()}
    assert (settled.state, settled.attempted_at) == (IntentState.LAUNCHED, outside.clock.now())


def test_a_replay_says_before_the_call_that_it_tries_again(outside: Outside) -> None:
    outside.cloud.fail("RunInstances", Transient("timed out"), times=2)
    outside.converge(launch(("subnet-a", 1)))
    first = outside.clock.now()
    outside.clock.advance(60)
    outside.converge(replay(outside.intents()[0]))
    (known,) = outside.intents()
    assert (known.opened_at, known.attempted_at, known.state) == (
        first,
        first + timedelta(seconds=60),
        IntentState.OPEN,
    )


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "result", "needs_person", "state"),
    [
        pytest.param(NoCapacity("full", code="x"), Result.REFUSED, False, IntentState.REFUSED, id="no capacity"),
        pytest.param(TokenSpent("dead", code="x"), Result.REFUSED, False, IntentState.CLOSED, id="token spent"),
        pytest.param(TokenMismatch("other", code="x"), Result.UNKNOWN, False, IntentState.OPEN, id="token mismatch"),
        pytest.param(Refused("bad image", code="x"), Result.REFUSED, True, IntentState.REFUSED, id="refused"),
        pytest.param(Denied("not allowed", code="x"), Result.REFUSED, True, IntentState.REFUSED, id="denied"),
        pytest.param(Transient("throttled"), Result.UNKNOWN, False, IntentState.OPEN, id="unknown"),
    ],
)
def test_only_a_definite_answer_ends_an_intent(
    outside: Outside, error: HivequeenError, result: Result, *, needs_person: bool, state: IntentState
) -> None:
    outside.cloud.fail("RunInstances", error)
    (outcome,) = outside.converge(launch(("subnet-a", 1)))
    assert (outcome.result, outcome.needs_person, outcome.message) == (result, needs_person, error.message)
    assert outside.states() == [state]


@pytest.mark.parametrize(
    ("error", "is_permanent"),
    [
        pytest.param(Refused("no such image", code="InvalidAMIID.NotFound"), True, id="bad image"),
        pytest.param(Denied("not permitted", code="UnauthorizedOperation"), True, id="not permitted"),
        pytest.param(Denied("expired", code="ExpiredToken"), False, id="credentials are renewed"),
        pytest.param(Denied("bad key", code="AuthFailure"), False, id="credentials are corrected"),
        pytest.param(QuotaReached("quota", code="VcpuLimitExceeded"), False, id="others go, or the quota is raised"),
        pytest.param(NoCapacity("full", code="InsufficientInstanceCapacity"), False, id="capacity comes back"),
        pytest.param(TokenSpent("dead", code="IdempotentInstanceTerminated"), False, id="another token will do"),
        pytest.param(Transient("timed out"), False, id="nothing is known"),
    ],
)
def test_what_ec2_will_never_do_as_it_is_declared(
    outside: Outside, error: HivequeenError, *, is_permanent: bool
) -> None:
    outside.cloud.fail("RunInstances", error)
    (outcome,) = outside.converge(launch(("subnet-a", 1)))
    assert outcome.is_permanent == is_permanent


def test_only_a_launch_is_refused_for_good(outside: Outside) -> None:
    (one,) = outside.running(1)
    outside.cloud.protect(one)
    (outcome,) = outside.converge(terminate(one))
    assert (outcome.needs_person, outcome.is_permanent) == (True, False)


def test_an_offering_without_capacity_is_remembered_for_three_minutes(outside: Outside) -> None:
    outside.cloud.exhausted.add(("m7i.large", "subnet-a"))
    outside.converge(launch(("subnet-a", 1), ("subnet-b", 1)))
    until = outside.clock.now() + timedelta(minutes=3)
    known = outside.journal.recall(outside.clock.now())
    assert known.exhausted == (Exhausted(instance_type="m7i.large", subnet="subnet-a", until=until),)
    outside.clock.advance(180)
    assert outside.journal.recall(outside.clock.now()).exhausted == ()


def test_a_launch_stops_at_the_first_batch_that_fails_and_keeps_what_it_made(outside: Outside) -> None:
    outside.cloud.unknown_subnets.add("subnet-b")
    outside.converge(launch(("subnet-a", 1), ("subnet-b", 1), ("subnet-c", 1)))
    assert outside.states() == [IntentState.LAUNCHED, IntentState.REFUSED]
    assert len(outside.cloud.alive()) == 1


def test_a_launch_of_many_batches_ends_between_two_of_them_when_all_stops(outside: Outside) -> None:
    outside.is_stopping = lambda: outside.cloud.calls["RunInstances"] > 0
    (outcome,) = outside.converge(launch(("subnet-a", 1), ("subnet-b", 1), ("subnet-c", 1)))
    assert outside.cloud.calls["RunInstances"] == 1
    assert outcome.message == ", ".join(one.instance_id for one in outside.cloud.alive())


def test_a_spent_token_is_closed_and_the_next_launch_has_a_new_one(outside: Outside) -> None:
    outside.cloud.fail("RunInstances", Transient("timed out"), after_commit=True)
    outside.converge(launch(("subnet-a", 1)))
    outside.cloud.terminate_by_hand(outside.cloud.alive()[0].instance_id)
    outside.converge(replay(outside.intents()[0]))
    assert outside.states() == [IntentState.CLOSED]
    outside.converge(launch(("subnet-a", 1)))
    assert outside.states() == [IntentState.CLOSED, IntentState.LAUNCHED]
    assert len(outside.cloud.alive()) == 1


def test_the_remedy_of_a_refusal_reaches_people(outside: Outside) -> None:
    outside.cloud.unknown_images.add(IMAGE)
    (outcome,) = outside.converge(launch(("subnet-a", 1)))
    assert (outcome.remedy, outcome.needs_person) == ("declare another image", True)


def test_a_token_that_ec2_knows_otherwise_is_found_by_its_tag_later(outside: Outside) -> None:
    """The intent stays open: the next listing shows whose instances it made."""
    outside.cloud.fail("RunInstances", Transient("timed out"), after_commit=True)
    outside.converge(launch(("subnet-a", 1)))
    (known,) = outside.intents()
    edited = replace(known, parameters=replace(known.parameters, user_data="#!/bin/sh\n# otherwise\n"))
    (outcome,) = outside.converge(replay(edited))
    assert outcome.result == Result.UNKNOWN
    (known,) = outside.intents()
    assert (known.state, known.settled_at) == (IntentState.OPEN, outside.clock.now())  # never asked for again
    assert [one.intent for one in outside.cloud.alive()] == ["hq-1"]


def test_what_is_not_declared_is_not_launched(outside: Outside) -> None:
    (outcome,) = outside.converge(launch(("subnet-a", 1)), declared=None)
    assert (outcome.result, outcome.needs_person) == (Result.REFUSED, True)
    assert outside.cloud.alive() == ()


def test_a_replacement_launches_its_extra_node(outside: Outside) -> None:
    action = ReplaceNode(
        environment=CHECKOUT,
        role=WEB,
        node=node(1).name,
        instance_id=instance_id(1),
        change="image: a → b",
        cause=Cause.REPLACED,
        launch=launch(("subnet-a", 1)),
        reason=WHY,
    )
    (outcome,) = outside.converge(action)
    assert (outcome.result, len(outside.cloud.alive())) == (Result.DONE, 1)
    assert outside.cloud.alive()[0].tags[tags.ROLE] == "web"
