"""Old and partial answers: each earlier answer of EC2 and of Chef's search once more, and answers with fields left out.

Nothing may be done that cannot be undone, and all ends as it would have.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from types import MappingProxyType
from typing import Any, Final

import pytest

from reconciler.model.names import ImageId
from reconciler.model.observed import ChefEnvironment, ChefNode, ChefRole, Instance
from tests.simulation.stories import STORIES, End, begin, end, play
from tests.simulation.wire import Call
from tests.simulation.world import SimulatedWorld

LAG_MOST: Final = timedelta(seconds=300)
LISTED: Final = ("list_instances", "nodes", "clients", "roles", "environments")  # reads that may be behind


def is_listing(call: Call, arguments: tuple[Any, ...]) -> bool:
    """Of Chef a search only: what is read by name is as it is."""
    return call.operation == "list_instances" or (call.operation in LISTED and arguments in ((), (None,)))


class Lag:
    """Answers with what the same call got some time ago."""

    def __init__(self, world: SimulatedWorld, lag: Callable[[Call], timedelta]) -> None:
        self._world = world
        self._lag = lag
        self._answers: dict[tuple[object, ...], list[tuple[datetime, Any]]] = defaultdict(list)

    def __call__(self, call: Call, arguments: tuple[Any, ...], answer: Any) -> Any:
        if not is_listing(call, arguments):
            return answer
        now = self._world.clock.now()
        before = self._answers[call.operation, *arguments]
        before.append((now, answer))
        old = [one for at, one in before if at <= now - self._lag(call)]
        return old[-1] if old else before[0][1]


@cache
def undisturbed(name: str) -> tuple[tuple[tuple[Call, datetime], ...], End]:
    """The listings that the story asks for, when, and how it ends."""
    story = STORIES[name]
    world = begin(story)
    asked: list[tuple[Call, datetime]] = []

    def note(call: Call, arguments: tuple[Any, ...], answer: Any) -> Any:
        if is_listing(call, arguments):
            asked.append((call, world.clock.now()))
        return answer

    world.exchange.tamper = note
    play(world, story)
    world.close()
    return tuple(asked), end(world)


def ends_the_same(name: str, world: SimulatedWorld, what: object) -> None:
    """However many nodes it took: an old listing may hide what was launched only for as long as a token is replayed."""
    play(world, STORIES[name])
    world.close()
    assert end(world) == undisturbed(name)[1], what


@pytest.mark.parametrize("lag_s", [5, 30, 60, 120, 300])
@pytest.mark.parametrize("operation", [*LISTED, "all"])
@pytest.mark.parametrize("name", STORIES)
def test_answers_that_lag_all_the_time_change_no_end(name: str, operation: str, lag_s: int) -> None:
    world = begin(STORIES[name])
    world.ledger.slack = LAG_MOST

    def lag(call: Call) -> timedelta:
        return timedelta(seconds=lag_s if operation in (call.operation, "all") else 0)

    world.exchange.tamper = Lag(world, lag)
    ends_the_same(name, world, operation)


@pytest.mark.parametrize("operation", LISTED)
@pytest.mark.parametrize("name", STORIES)
def test_one_old_answer_changes_no_end(name: str, operation: str) -> None:
    """Each answer in turn is replaced by each earlier one of the same call that is at most 300 s old."""
    asked = [(call, at) for call, at in undisturbed(name)[0] if call.operation == operation]
    for number, (call, at) in enumerate(asked):
        for _, earlier in asked[:number]:
            if at - earlier > LAG_MOST:
                continue
            world = begin(STORIES[name])
            world.ledger.slack = LAG_MOST

            def lag(asking: Call, late: Call = call, by: timedelta = at - earlier) -> timedelta:
                return by if asking.number == late.number else timedelta(0)

            world.exchange.tamper = Lag(world, lag)
            ends_the_same(name, world, f"{call} answered as {(at - earlier).total_seconds()} s before")


def _of_instance(**dropped: Any) -> Callable[[Any], Any]:
    def drop(answer: Any) -> Any:
        return tuple(replace(one, **dropped) for one in answer)

    return drop


def _without_tag(key: str) -> Callable[[Any], Any]:
    def strip(one: Instance) -> Instance:
        return replace(one, tags={name: value for name, value in one.tags.items() if name != key})

    return lambda answer: tuple(strip(one) for one in answer)


def _of_values(**dropped: Any) -> Callable[[Any], Any]:
    def drop(answer: Mapping[str, ChefNode | ChefRole | ChefEnvironment]) -> Any:
        return {name: replace(one, **dropped) for name, one in answer.items()}

    return drop


NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
DROPPED: Final[Mapping[str, tuple[str, Callable[[Any], Any]]]] = {
    "tags": ("list_instances", _of_instance(tags=NOTHING)),
    "fleet-tag": ("list_instances", _without_tag("hivequeen:fleet")),
    "intent-tag": ("list_instances", _without_tag("hivequeen:intent")),
    "ready-tag": ("list_instances", _without_tag("hivequeen:ready")),
    "role-tag": ("list_instances", _without_tag("hivequeen:role")),
    "environment-tag": ("list_instances", _without_tag("hivequeen:environment")),
    "address": ("list_instances", _of_instance(private_address=None)),
    "ohai-time": ("nodes", _of_values(ohai_time=None)),
    "node-run-list": ("nodes", _of_values(run_list=())),
    "role-run-list": ("roles", _of_values(run_list=())),
    "role-attributes": ("roles", _of_values(default_attributes=NOTHING)),
    "environment-attributes": ("environments", _of_values(default_attributes=NOTHING)),
    "subnet": ("list_instances", _of_instance(subnet=None)),
    "image": ("list_instances", _of_instance(image=ImageId(""))),
    "security-groups": ("list_instances", _of_instance(security_groups=frozenset())),
    "instance-type": ("list_instances", _of_instance(instance_type="")),
}


@pytest.mark.parametrize("field", DROPPED)
@pytest.mark.parametrize("name", STORIES)
def test_a_field_left_out_once_changes_no_end(name: str, field: str) -> None:
    """In each listing of the story in turn."""
    operation, drop = DROPPED[field]
    for call, _ in undisturbed(name)[0]:
        if call.operation != operation:
            continue
        world = begin(STORIES[name])
        world.ledger.slack = LAG_MOST

        def tamper(asking: Call, arguments: tuple[Any, ...], answer: Any, partial: Call = call) -> Any:
            return drop(answer) if asking.number == partial.number and is_listing(asking, arguments) else answer

        world.exchange.tamper = tamper
        ends_the_same(name, world, f"{call} without {field}")
