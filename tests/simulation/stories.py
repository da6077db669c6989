"""Short stories with one beginning and one end: what the crash and the stale matrix play over and over, each time disturbed elsewhere."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from tests.simulation.daemon import Terms
from tests.simulation.person import told
from tests.simulation.recovery import wrong
from tests.simulation.specs import SUBNETS, TYPES, File, RoleShape
from tests.simulation.world import SimulatedWorld

ROUNDS = 150
ROUND_S = 20

SMALL = File(roles={"web": RoleShape(count=1)})
USUAL = File(roles={"web": RoleShape(count=2), "worker": RoleShape(count=1)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    before: Mapping[str, File]  # what is there, at rest, when it begins
    after: Mapping[str, File]  # the commit that it is about
    begin: Callable[[SimulatedWorld], None] = lambda _: None  # what else is special about it
    fails_first: bool = False  # the first node to register fails its first run
    grace_s: float = 300


def _shape(**changes: int) -> File:
    return File(roles={"web": replace(RoleShape(count=2), **changes)})


def _exhaust(world: SimulatedWorld) -> None:
    world.cloud.exhausted.update((TYPES[0][0], subnet) for subnet in SUBNETS)


STORIES: Final[dict[str, Story]] = {
    "create": Story(before={}, after={"checkout": USUAL}),
    "create-one": Story(before={}, after={"checkout": SMALL}),
    "scale-up": Story(before={"checkout": _shape(count=1)}, after={"checkout": _shape(count=3)}),
    "scale-down": Story(before={"checkout": _shape(count=3)}, after={"checkout": _shape(count=1)}),
    "replace": Story(before={"checkout": _shape()}, after={"checkout": _shape(image=1)}),
    "teardown": Story(before={"production": SMALL, "checkout": SMALL}, after={"production": SMALL}, grace_s=60),
    "capacity-fallback": Story(before={}, after={"checkout": _shape()}, begin=_exhaust),
    "failed-bootstrap": Story(before={}, after={"checkout": SMALL}, fails_first=True),
}


@dataclass(frozen=True, slots=True)
class End:
    """What is compared: how many live, how many ever did, and what Chef holds. Ids differ where launches did."""

    living: tuple[tuple[str, str], ...]
    launched: int
    ended: int
    roles: tuple[str, ...]
    environments: tuple[str, ...]
    nodes: int
    clients: int


def begin(story: Story) -> SimulatedWorld:
    """The world at rest, and the commit made, but seen by nobody yet."""
    world = SimulatedWorld(Terms(grace_s=story.grace_s), has_teller=False)
    if story.before:
        world.commit(story.before)
        play(world, story=replace(story, fails_first=False))
    story.begin(world)
    world.commit(story.after)
    return world


def play(world: SimulatedWorld, story: Story) -> None:
    """Passes and booting nodes until all is as the newest commit says."""
    has_failed = not story.fails_first
    for _ in range(ROUNDS):
        done = world.reconcile()
        assert not world.violations, "\n".join(map(str, world.violations))
        if done is not None and not done.failures and not list(told(done)) and not list(wrong(world)):
            return
        world.clock.advance(ROUND_S)
        for instance in world.living():
            if world.ledger.machines[instance.instance_id].ready_at is None:
                world.boot_one(instance, ok=has_failed)
                has_failed = has_failed or world.ledger.machines[instance.instance_id].reported_failure
    last = world.last
    raise AssertionError("; ".join([*wrong(world), *(told(last) if last is not None else ())]))


def end(world: SimulatedWorld) -> End:
    machines = world.ledger.machines.values()
    return End(
        living=tuple(sorted((one.environment, one.role) for one in machines if one.ended_at is None)),
        launched=len(machines),
        ended=sum(one.ended_at is not None for one in machines),
        roles=tuple(sorted(world.chef.stored_roles)),
        environments=tuple(sorted(world.chef.stored_environments)),
        nodes=len(world.chef.stored_nodes),
        clients=len(world.chef.stored_clients),
    )
