"""What becomes of one environment in a random world, so that every rule of planning has something to be asked about.

Drawn each for itself, a file, nodes, Chef objects and memory hardly ever come together to anything that a limit, a
grace period or the age of an orphan decides: something else stands in the way first. So each fate is one story.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import product
from types import MappingProxyType
from typing import Any

from hypothesis import strategies as st

from reconciler.model import tags
from reconciler.model.desired import Environment, ImageById
from reconciler.model.memory import Cause, Intent, Item, ItemKind, KnownEnvironment, Termination
from reconciler.model.names import ChefName, RoleName
from reconciler.model.observed import ChefEnvironment, Node, ObservedEnvironment, Phase
from tests.plan.builders import (
    HOUR,
    IMAGE,
    MINUTE,
    NEW_IMAGE,
    NOW,
    REVISION,
    bare,
    departed,
    ending_since,
    environment,
    generated,
    intent,
    node,
    role,
    termination,
)

NO_TAG: Mapping[str, str | None] = MappingProxyType({})
GONE = RoleName("gone")  # no file declares it
AGES = (timedelta(0), 4 * MINUTE, 20 * MINUTE, 59 * MINUTE, 2 * HOUR, 25 * HOUR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """All that a world holds of one environment."""

    world: ObservedEnvironment
    known: KnownEnvironment | None = None
    settled: Mapping[RoleName, int] = field(default_factory=dict)
    intents: tuple[Intent, ...] = ()
    orphans: Mapping[Item, datetime] = field(default_factory=dict)
    terminations: tuple[Termination, ...] = ()  # asked for lately


# --- as its file says, but for a few nodes --------------------------------------------------------------------------

_OTHER = {IMAGE: NEW_IMAGE, NEW_IMAGE: IMAGE}
_ODD: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "as declared": {},
        "of yesterday's commit": {"image": True},
        "changed by hand": {"image": True, "was_launched_as": True},
        "failed": {"phase": Phase.FAILED},
        "stopped": {"phase": Phase.STOPPED, "odd_since": NOW},
        "stopped for long": {"phase": Phase.STOPPED, "odd_since": NOW - HOUR},
        "booting": {"phase": Phase.RUNNING, "age": MINUTE},
        "behind and booting": {"phase": Phase.RUNNING, "age": MINUTE, "image": True},
        "not shown yet": {"phase": Phase.PENDING, "is_unseen": True, "age": MINUTE},
        "out of sight": {"phase": Phase.LOST},
        "out of sight and behind": {"phase": Phase.LOST, "image": True},
        "going": {"phase": Phase.TERMINATING},
        "retagged": {"tag": {"team": None}},
    }
)
_ODDITIES = st.lists(st.sampled_from(list(product(_ODD, (True, False)))), max_size=3)
_STRAYS = st.lists(
    st.sampled_from(list(product((Phase.READY, Phase.READY, Phase.LOST), (NOW - HOUR, NOW), (True, False)))), max_size=3
)
_LATELY = st.sampled_from([(), (), (Cause.SURPLUS,), (Cause.SCALE_DOWN,), (Cause.SURPLUS, Cause.DRIFTED)])
_WAS_DECLARED = st.sampled_from([False, False, True])  # the role that no file declares
_UNRESOLVED = st.sampled_from([()] * 4 + [(MINUTE,), (MINUTE, 2 * MINUTE), (2 * HOUR, MINUTE)])
_SETTLED = st.sampled_from([0, 0, 0, 1, 2, None])


def _odd(number: int, kind: str, home: Environment, name: RoleName) -> Node:
    declared = home.roles[name]
    assert isinstance(declared.image, ImageById)
    image, how = declared.image.image_id, dict(_ODD[kind])
    if how.pop("was_launched_as", False):
        how["was_launched_as"] = {"image": image}
    how["image"] = _OTHER[image] if how.get("image") else image
    return _node(number, home, how.pop("phase", Phase.READY), role=declared, **how)


@st.composite
def steady(draw: st.DrawFn, home: Environment, first: int) -> Story:
    """Declared, and there, but for some nodes that are odd, too many or too few, and some of a role of nobody's."""
    nodes: list[Node] = []
    settled: dict[RoleName, int] = {}
    for name, declared in home.roles.items():
        odd = draw(_ODDITIES)
        kinds = ["as declared"] * max(0, declared.count - sum(is_in_place for _, is_in_place in odd))
        for kind in [*kinds, *(kind for kind, _ in odd)]:
            nodes.append(_odd(first + len(nodes), kind, home, name))
        lowered = draw(_SETTLED)
        if lowered is not None:
            settled[name] = declared.count + lowered
    for phase, odd_since, is_known in draw(_STRAYS):
        stray = _node(first + len(nodes), home, phase, role=role(GONE), is_known=is_known, odd_since=odd_since)
        nodes.append(stray)
    if draw(_WAS_DECLARED):
        settled[GONE] = 1
    chef = generated(replace(home, roles={**home.roles, GONE: role(GONE)} if draw(st.booleans()) else home.roles))
    strays = {name: one for name, one in chef["chef_roles"].items() if name.endswith(GONE)}
    return Story(
        world=bare(home.name, nodes, **chef),
        known=KnownEnvironment(name=home.name, declared_by=REVISION, is_protected=home.protected),
        settled=settled,
        intents=_unresolved(home, draw(_UNRESOLVED)),
        orphans=draw(_sightings(_chef_items(None, strays))),
        terminations=tuple(
            termination(first + 90 + number, cause, environment=home.name) for number, cause in enumerate(draw(_LATELY))
        ),
    )


def _node(number: int, home: Environment, phase: Phase, *, tag: Mapping[str, str | None] = NO_TAG, **how: Any) -> Node:
    """Without the fleet's tag it is lost."""
    return node(number, of=home, phase=phase, tag={**tag, **({tags.FLEET: None} if phase == Phase.LOST else {})}, **how)


# --- no file declares it any more -----------------------------------------------------------------------------------

_LEFT = st.lists(
    st.sampled_from(
        list(product(("web", "worker"), (Phase.READY, Phase.READY, *Phase), (NOW - 2 * HOUR, NOW - HOUR, NOW, None)))
    ),
    max_size=3,
)
_DEPARTED = st.sampled_from([(), (), ("web",), ("web", "worker")])
_KEPT = st.sampled_from([("web", "worker"), ("web",), ()])
_HAS_ENVIRONMENT = st.sampled_from([True, True, False])
_WITNESS = st.sampled_from([""] * 12 + ["tag", "mark", "journal"])  # of a protection that survives the file
_ENDED = st.sampled_from([None, None, *AGES[:2] * 2, *AGES])
_BEGAN = st.sampled_from([False, False, True])
_SIGHTED = st.sampled_from([None, NOW - MINUTE, NOW - HOUR, NOW - HOUR, NOW - HOUR])


@st.composite
def _left(draw: st.DrawFn, home: Environment, first: int, witness: str = "") -> ObservedEnvironment:
    """What is still there of it: with nodes, or Chef objects alone."""
    mark = {tags.PROTECTED: "true"} if witness == "tag" else NO_TAG
    nodes = [
        _node(first + number, home, phase, role=role(name), odd_since=odd_since, tag=mark)
        for number, (name, phase, odd_since) in enumerate(draw(_LEFT))
    ]
    gone = [departed(first + 50 + number, of=home, role=name) for number, name in enumerate(draw(_DEPARTED))]
    chef = generated(environment(home.name, [role(one, 1) for one in draw(_KEPT)], protected=witness == "mark"))
    if not draw(_HAS_ENVIRONMENT):
        chef["chef_environment"] = None
    return bare(home.name, nodes, departed=tuple(gone), **chef)


@st.composite
def ending(draw: st.DrawFn, home: Environment, first: int) -> Story:
    """Its file was deleted: just now, some time ago, or its teardown has begun."""
    witness, ended, has_begun = draw(_WITNESS), draw(_ENDED), draw(_BEGAN)
    world = draw(_left(home, first, witness))
    listed = _chef_items(world.chef_environment, world.chef_roles) if draw(st.booleans()) else ()
    at = NOW - (ended or timedelta(0))
    is_noted = has_begun or ended is not None
    return Story(
        world=world,
        known=KnownEnvironment(
            name=home.name,
            declared_by=REVISION,
            is_protected=witness == "journal",
            ending=ending_since(at, items=dict.fromkeys(listed if has_begun else ())) if is_noted else None,
            teardown_began_at=at if has_begun else None,
        ),
        settled={RoleName("web"): 2},
        intents=_unresolved(home, draw(_UNRESOLVED)),
    )


@st.composite
def orphaned(draw: st.DrawFn, home: Environment, first: int) -> Story:
    """Nobody declares or remembers it; most of the time nothing but Chef objects is left."""
    world = draw(_left(home, first))
    if draw(st.sampled_from([True, True, False])):
        world = replace(world, nodes=(), departed=())
    return Story(
        world=world,
        orphans=draw(_sightings(_chef_items(world.chef_environment, world.chef_roles))),
        intents=_unresolved(home, draw(_UNRESOLVED)),
    )


@st.composite
def _sightings(draw: st.DrawFn, orphans: Sequence[Item]) -> Mapping[Item, datetime]:
    """When each was first seen so: often all of them long ago, for one that is young keeps all."""
    if draw(st.booleans()):
        return dict.fromkeys(orphans, NOW - HOUR)
    sighted = {item: draw(_SIGHTED) for item in orphans}
    return {item: at for item, at in sighted.items() if at is not None}


def _chef_items(chef_environment: ChefEnvironment | None, chef_roles: Iterable[ChefName]) -> Sequence[Item]:
    found = [Item(kind=ItemKind.CHEF_ROLE, name=name) for name in chef_roles]
    if chef_environment is not None:
        found.append(Item(kind=ItemKind.CHEF_ENVIRONMENT, name=chef_environment.name))
    return found


def _unresolved(home: Environment, ages: Iterable[timedelta]) -> tuple[Intent, ...]:
    """Launches of a node each, of which nobody knows whether they happened."""
    declared = next(iter(home.roles.values()))
    return tuple(
        intent(f"hq-{home.name}-{number}", 1, role=declared, environment=home.name, opened_at=NOW - age)
        for number, age in enumerate(ages)
    )
