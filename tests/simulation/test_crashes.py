"""The daemon dies before and after every call that leaves it, and is started again: the end is as if it had not.

Before a read is after whatever came before it, so of reads only the moment after is tried.
"""

from functools import cache
from typing import Final

import pytest

from tests.simulation.stories import STORIES, End, Story, begin, end, play
from tests.simulation.wire import Call


@cache
def undisturbed(name: str) -> tuple[tuple[Call, ...], End]:
    """The calls that the story takes, and how it ends."""
    story = STORIES[name]
    world = begin(story)
    first = len(world.exchange.calls)
    play(world, story)
    world.close()
    return tuple(world.exchange.calls[first:]), end(world)


CRASHES: Final = [
    pytest.param(name, call.number, moment, id=f"{name}-{call}-{moment}")
    for name in STORIES
    for call in undisturbed(name)[0]
    for moment in (("before", "after") if call.is_write else ("after",))
]


def ends_the_same(name: str, *points: tuple[int, str]) -> Story:
    story = STORIES[name]
    world = begin(story)
    for number, moment in points:
        (world.exchange.crash_before if moment == "before" else world.exchange.crash_after).add(number)
    play(world, story)
    world.close()
    assert end(world) == undisturbed(name)[1]
    return story


@pytest.mark.parametrize(("name", "number", "moment"), CRASHES)
def test_a_crash_changes_no_end(name: str, number: int, moment: str) -> None:
    ends_the_same(name, (number, moment))


@pytest.mark.parametrize("call", undisturbed("create-one")[0], ids=str)
def test_two_crashes_change_no_end(call: Call) -> None:
    """After each call of a creation, and once more after each call of what the next process does."""
    story, expected = STORIES["create-one"], undisturbed("create-one")[1]
    for distance in range(1, len(undisturbed("create-one")[0]) + 1):
        world = begin(story)
        world.exchange.crash_after.update((call.number, call.number + distance))
        play(world, story)
        world.close()
        assert end(world) == expected, f"second crash {distance} calls later"
