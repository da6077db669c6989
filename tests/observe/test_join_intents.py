"""Launches of unknown outcome: what a listing says about them."""

from datetime import timedelta
from typing import Any

import pytest

from reconciler.model.facts import IntentLaunched, NodeSeen
from reconciler.model.memory import IntentState
from reconciler.model.names import IntentToken
from reconciler.model.observed import InstanceState
from tests.observe.readings import TOKEN, instance, joined, launch, nodes, only, reading, record, remembering
from tests.plan.builders import HOUR, MINUTE, NOW, desired, environment, instance_id

SECOND = timedelta(seconds=1)


def launched(made: Any) -> list[IntentLaunched]:
    return [fact for fact in made.facts if isinstance(fact, IntentLaunched)]


def of(*numbers: int) -> IntentLaunched:
    return IntentLaunched(token=TOKEN, instance_ids=tuple(instance_id(number) for number in numbers))


@pytest.mark.parametrize(
    ("listed", "ago", "answer"),
    [
        pytest.param([], MINUTE, [], id="nothing shows yet"),
        pytest.param([], HOUR, [], id="nothing ever shows: planning closes it"),
        pytest.param([1], MINUTE, [], id="a part shows: the rest may follow"),
        pytest.param([1], 5 * MINUTE - SECOND, [], id="still may"),
        pytest.param([1], 5 * MINUTE, [of(1)], id="the rest is lost"),
        pytest.param([2, 1], SECOND, [of(1, 2)], id="the whole shows"),
        pytest.param([1, 2, 3], SECOND, [of(1, 2, 3)], id="more than the whole"),
    ],
)
def test_an_open_launch_is_answered_by_its_tag(listed: list[int], ago: timedelta, answer: list[IntentLaunched]) -> None:
    known = launch(count=2, opened_at=NOW - ago)
    made = joined(reading(*(instance(n, age=ago) for n in listed), remembered=remembering(launches=[known])))
    assert launched(made) == answer
    state = made.memory.intents[TOKEN].state
    assert state == (IntentState.LAUNCHED if answer else IntentState.OPEN)


def test_time_counts_from_the_last_attempt() -> None:
    known = launch(count=2, opened_at=NOW - HOUR, attempted_at=NOW - MINUTE)
    made = joined(reading(instance(1), remembered=remembering(launches=[known])))
    assert launched(made) == []


@pytest.mark.parametrize(
    ("listed", "answer"), [([1, 2], [of(1, 2)]), ([1], []), ([], [])], ids=["the whole shows", "a part", "nothing"]
)
def test_a_launch_whose_token_ec2_knows_otherwise_is_answered_by_its_tag_too(
    listed: list[int], answer: list[IntentLaunched]
) -> None:
    known = launch(count=2, opened_at=NOW - MINUTE, settled_at=NOW - SECOND)
    made = joined(reading(*(instance(n, age=MINUTE) for n in listed), remembered=remembering(launches=[known])))
    assert launched(made) == answer


def test_dead_members_are_members() -> None:
    """They were launched: what lacks now is launched anew, not looked for."""
    known = launch(count=2, opened_at=NOW - MINUTE)
    listed = [instance(1), instance(2, state=InstanceState.TERMINATED)]
    assert launched(joined(reading(*listed, remembered=remembering(launches=[known])))) == [of(1, 2)]


def test_another_launchs_instances_answer_nothing() -> None:
    made = joined(reading(instance(1, token="hq-other"), remembered=remembering(launches=[launch()])))
    assert launched(made) == []


@pytest.mark.parametrize("state", [IntentState.LAUNCHED, IntentState.REFUSED])
def test_a_settled_launch_is_not_settled_again(state: IntentState) -> None:
    known = launch(1, state=state)
    assert launched(joined(reading(instance(1), instance(2), remembered=remembering(launches=[known])))) == []


def test_a_launch_that_was_closed_too_early_is_owned_up_to() -> None:
    """Else its nodes would look like copies that somebody made."""
    known = launch(count=1, state=IntentState.CLOSED, settled_at=NOW - MINUTE)
    made = joined(reading(instance(1), remembered=remembering(launches=[known])))
    assert launched(made) == [of(1)]
    assert only(made).launched_with != {}


def test_a_node_of_an_open_launch_is_launched_here() -> None:
    made = joined(reading(instance(1), remembered=remembering(launches=[launch(count=2, opened_at=NOW - MINUTE)])))
    node = only(made)
    assert node.launched_with["image"] == "ami-0123456789abcdef0"
    assert node.deadline_at == NOW + 10 * MINUTE
    assert [type(fact) for fact in made.facts] == [NodeSeen]


def test_a_look_elsewhere_answers_nothing() -> None:
    known = launch(opened_at=NOW - HOUR)
    made = joined(reading(remembered=remembering(launches=[known]), names=["staging"]), desired(environment("staging")))
    assert made.memory.intents == {TOKEN: known}


def test_several_launches_are_answered_each_for_itself() -> None:
    first, second = launch(token="hq-1", count=1), launch(token="hq-2", count=1)
    listed = [instance(1, token="hq-2"), instance(2, token="hq-1")]
    made = joined(reading(*listed, remembered=remembering(launches=[second, first])))
    assert [(fact.token, fact.instance_ids) for fact in launched(made)] == [
        (IntentToken("hq-1"), (instance_id(2),)),
        (IntentToken("hq-2"), (instance_id(1),)),
    ]


def test_a_node_that_is_not_listed_counts_for_five_minutes_by_its_record() -> None:
    remembered = remembering(record(1, age=MINUTE), launches=[launch(1, opened_at=NOW - MINUTE)])
    assert [node.is_unseen for node in nodes(joined(reading(remembered=remembered)))] == [True]
