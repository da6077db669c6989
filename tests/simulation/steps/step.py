"""A step is data: a kind, and a few small numbers that choose among what is there. Any step can be taken in any world."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from random import Random
from typing import Any, TypeVar

from tests.simulation.world import SimulatedWorld

Thing = TypeVar("Thing")


def below(limit: int) -> Any:
    """A number that chooses: 0 ≤ it < limit."""
    return field(default=0, metadata={"below": limit})


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happens."""

    def apply(self, world: SimulatedWorld) -> None:
        raise NotImplementedError


def limits(kind: type[Step]) -> dict[str, int]:
    """Each number of this kind of step, with its limit."""
    return {one.name: one.metadata["below"] for one in fields(kind)}


def draw(kind: type[Step], random: Random) -> Step:
    return kind(**{name: random.randrange(limit) for name, limit in limits(kind).items()})


def choose(things: Sequence[Thing], number: int) -> Thing | None:
    """Which one a number means now; None where there is nothing."""
    return things[number % len(things)] if things else None
