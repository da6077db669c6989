"""Random worlds: what is declared, what exists and what is remembered, in any combination that observing can yield.

Of each environment anything at all may be, or one of the stories in `fates`; what holds an environment whole, such as a
suspension, comes in every other world only.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from hypothesis import strategies as st

from reconciler.model import tags
from reconciler.model.desired import Environment, ImageById, Role
from reconciler.model.digest import content_digest
from reconciler.model.memory import (
    Backoff,
    Cause,
    Intent,
    IntentState,
    Item,
    ItemKind,
    KnownEnvironment,
    Memory,
    Suspension,
    Termination,
    Trouble,
)
from reconciler.model.names import EnvironmentName, IntentToken, RoleName, chef_role_name
from reconciler.model.observed import Node, ObservedEnvironment, Phase
from reconciler.model.rules import Rules
from reconciler.plan import Context
from tests.plan.builders import (
    GRACIOUS,
    HOUR,
    IMAGE,
    MINUTE,
    NEW_IMAGE,
    NOW,
    REVISION,
    RULES,
    bare,
    broken,
    context,
    departed,
    desired,
    ending_since,
    environment,
    foreign_environment,
    foreign_role,
    generated,
    instance_id,
    intents,
    memory,
    node,
    observed,
    parameters,
    role,
)
from tests.plan.fates import AGES, Story, ending, orphaned, steady

NAMES = tuple(EnvironmentName(name) for name in ("alpha", "beta", "gamma-x"))
LAST = EnvironmentName("torn-down")  # one that was there an hour ago
ROLES = tuple(RoleName(name) for name in ("web", "worker", "gone"))
IMAGES = (IMAGE, NEW_IMAGE)
KEYS = tuple(product(NAMES, ROLES))
ITEMS = (
    *(Item(kind=ItemKind.CHEF_ROLE, name=chef_role_name(*key)) for key in KEYS),
    *(Item(kind=ItemKind.CHEF_ENVIRONMENT, name=name) for name in NAMES),
)

# Strategies are made once and choose among ready combinations: most of the time of a property goes into drawing.
_ROLE = st.sampled_from(list(product(range(5), IMAGES)))
_ENVIRONMENT = st.tuples(
    st.one_of(
        st.fixed_dictionaries({"web": _ROLE}),
        st.fixed_dictionaries({"worker": _ROLE}),
        st.fixed_dictionaries({"web": _ROLE, "worker": _ROLE}),
    ),
    st.sampled_from([False] * 3 + [True]),  # protected
    st.sampled_from([False] * 9 + [True]),  # suspend
)
_EDITS: tuple[dict[str, str | None], ...] = ({}, {"team": None}, {tags.PROTECTED: "true"})
_NODES = st.lists(
    st.sampled_from(list(product(ROLES, Phase, IMAGES, _EDITS, (True, False), (None, NOW, NOW - HOUR), AGES))),
    max_size=6,
)
_DEPARTED = st.lists(st.sampled_from(list(product(ROLES, (True, False)))), max_size=2)
_CHEF = st.sampled_from(
    list(product(("ours", "ours", "none", "foreign"), (ROLES, ROLES[:1], ROLES[2:], ()), (True, False)))
)
_IS_FULL = st.sampled_from([True, True, False])
_FOREIGN_ROLE = st.sampled_from([False] * 9 + [True])
_INTENTS = st.lists(st.sampled_from(list(product(ROLES, (1, 2, 3), AGES, (None, NOW), IntentState))), max_size=2)
_FATES = ("steady", "steady", "ending", "orphaned", "frozen", "declared", "absent")
# Without a grace period and with one; some let more or less go than the default.
STRICT = replace(RULES, environments_least=1, environments_share=0.0)
AT_ONCE = (RULES, replace(RULES, nodes_share=0.5), STRICT)
IN_GRACE = (GRACIOUS, replace(GRACIOUS, environments_least=1, environments_share=0.0))
_TROUBLES = st.lists(
    st.sampled_from(list(product(KEYS, (True, False), ((), ("i-a",), ("i-a", "i-b")), (True, False), AGES))),
    max_size=2,
    unique_by=lambda one: one[0],
)
_TERMINATIONS = st.lists(
    # Numbers that no story gives: the journal holds one termination of an instance.
    st.sampled_from(list(product(range(990, 995), NAMES, Cause, (MINUTE, 2 * HOUR)))),
    max_size=2,
    unique_by=lambda one: one[0],
)
_MEMORY = st.fixed_dictionaries(
    {
        "known": st.lists(st.sampled_from(list(product(NAMES, (None, None, NOW - MINUTE), (None, *AGES)))), max_size=3),
        "orphans": st.dictionaries(st.sampled_from(ITEMS), st.sampled_from([NOW - age for age in AGES]), max_size=4),
        "settled": st.dictionaries(st.sampled_from(KEYS), st.integers(0, 5), max_size=4),
        "terminations": _TERMINATIONS,
        "teardowns": st.dictionaries(st.sampled_from((*NAMES, LAST)), st.just(NOW), max_size=2),
        "taken_over_at": st.sampled_from([None, None, None, NOW - MINUTE, NOW - HOUR]),
        "suspended": st.lists(st.sampled_from(NAMES), max_size=1),
        "backoffs": st.lists(st.sampled_from(list(product(NAMES, AGES))), max_size=1),
    }
)


@st.composite
def environments(draw: st.DrawFn, name: EnvironmentName) -> Environment:
    roles, protected, suspend = draw(_ENVIRONMENT)
    declared = [role(one, count, image=ImageById(image_id=image)) for one, (count, image) in roles.items()]
    return environment(name, declared, protected=protected, suspend=suspend)


def _node(home: Environment, number: int, kind: tuple[Any, ...]) -> Node:
    """A node as observing may tell it: without the fleet's tag it is lost, and who is unseen is pending."""
    name, phase, image, edit, is_known, odd_since, age = kind
    return node(
        number,
        of=home,
        role=role(name),
        phase=phase,
        image=image,
        tag=edit | {tags.FLEET: None} if phase == Phase.LOST else edit,
        is_known=is_known,
        is_unseen=phase == Phase.PENDING and age < 5 * MINUTE,
        odd_since=odd_since,
        age=age,
    )


@st.composite
def existing(draw: st.DrawFn, home: Environment, first: int) -> ObservedEnvironment:
    """What is there of one environment."""
    found = [_node(home, first + n, kind) for n, kind in enumerate(draw(_NODES))]
    left = tuple(
        departed(first + 50 + n, of=home, role=name, has_client=has_client)
        for n, (name, has_client) in enumerate(draw(_DEPARTED))
    )
    of_environment, kept, protected = draw(_CHEF)
    chef = generated(environment(home.name, [role(name, 1) for name in ROLES], protected=protected))
    roles = {name: made for name, made in chef["chef_roles"].items() if name.removeprefix(f"{home.name}-") in kept}
    if draw(_FOREIGN_ROLE):
        in_the_way = foreign_role(f"{home.name}-web")
        roles[in_the_way.name] = in_the_way
    chef_environment = {
        "ours": chef["chef_environment"],
        "none": None,
        "foreign": foreign_environment(home.name),
    }[of_environment]
    return bare(home.name, found, departed=left, chef_roles=roles, chef_environment=chef_environment)


def _intents(home: Environment, kinds: list[tuple[Any, ...]]) -> Iterator[Intent]:
    for n, (name, count, age, attempted_at, state) in enumerate(kinds):
        token = IntentToken(f"hq-{home.name}-{n}")
        yield Intent(
            token=token,
            environment=home.name,
            role=name,
            parameters=parameters(role(name), count, token=token, home=home),
            opened_at=NOW - age,
            attempted_at=attempted_at,
            state=state,
        )


def _trouble(homes: dict[EnvironmentName, Environment], kind: tuple[Any, ...]) -> Trouble:
    (name, one), is_current, failed, is_halted, age = kind
    declared = homes[name].roles.get(one)
    return Trouble(
        environment=name,
        role=one,
        content=content_digest(homes[name], declared) if is_current and declared else "v1:other",
        failed=frozenset(failed),
        is_halted=is_halted,
        message="it failed",
        remedy="",
        since=NOW - age,
    )


@st.composite
def memories(draw: st.DrawFn, homes: dict[EnvironmentName, Environment]) -> Memory:
    said: dict[str, Any] = draw(_MEMORY)
    if draw(st.booleans()):
        said |= {"taken_over_at": None, "suspended": (), "backoffs": ()}
    troubles = [_trouble(homes, kind) for kind in draw(_TROUBLES)]
    return memory(
        environments={
            name: KnownEnvironment(
                name=name,
                declared_by=REVISION,
                teardown_began_at=began,
                ending=None if ended is None else ending_since(NOW - ended),
            )
            for name, began, ended in said["known"]
        },
        orphans=said["orphans"],
        settled=said["settled"],
        intents=intents(*(intent for home in homes.values() for intent in _intents(home, draw(_INTENTS)))),
        troubles={(one.environment, one.role): one for one in troubles},
        terminations=tuple(
            Termination(instance_id=instance_id(number), environment=name, cause=cause, at=NOW - ago)
            for number, name, cause, ago in said["terminations"]
        ),
        teardowns=said["teardowns"],
        taken_over_at=said["taken_over_at"],
        suspensions=tuple(
            Suspension(environment=name, reason="", actor="jessica", since=NOW, until=None)
            for name in said["suspended"]
        ),
        backoffs={
            name: Backoff(environment=name, failures=1, until=NOW + age, message="it failed")
            for name, age in said["backoffs"]
        },
    )


_STORIES = {"steady": steady, "ending": ending, "orphaned": orphaned}


@st.composite
def random_worlds(
    draw: st.DrawFn,
    *,
    mostly: Sequence[str] = (),
    rules: Sequence[Rules] = (*AT_ONCE, *IN_GRACE),
    is_full: bool | None = None,
) -> Context:
    """Three environments, each with a fate of its own.

    Args:
        mostly: the fates of most of them. A law asks for the worlds that it is about: Hypothesis repeats itself too much
            to come upon them often enough.
    """
    homes = {name: draw(environments(name)) for name in NAMES}
    chosen = st.sampled_from((*list(mostly) * 4, *_FATES))
    fates = {name: draw(chosen) for name in NAMES}
    remembered = draw(memories(homes))
    worlds = []
    for number, (name, fate) in enumerate(fates.items(), start=1):
        if fate in _STORIES:
            story = draw(_STORIES[fate](homes[name], 100 * number))
            worlds.append(story.world)
            remembered = _retold(remembered, story)
        else:
            worlds.append(draw(existing(homes[name], 100 * number)))
    frozen = [broken(name) for name, fate in fates.items() if fate == "frozen"]
    wanted = desired(*(homes[name] for name, fate in fates.items() if fate in ("steady", "declared")), frozen=frozen)
    full = draw(_IS_FULL) if is_full is None else is_full
    return context(wanted, observed(*worlds, is_full=full), remembered, rules=draw(st.sampled_from(rules)))


def _retold(remembered: Memory, story: Story) -> Memory:
    """The memory with nothing else about the story's environment than what belongs to it."""
    name, known = story.world.name, dict(remembered.environments)
    known.pop(name, None)
    if story.known is not None:
        known[name] = story.known
    own = {chef_role_name(name, one) for one in ROLES} | {name}
    others = {token: one for token, one in remembered.intents.items() if one.environment != name}
    settled = {key: count for key, count in remembered.settled.items() if key[0] != name}
    return replace(
        remembered,
        environments=known,
        orphans={item: at for item, at in remembered.orphans.items() if item.name not in own} | dict(story.orphans),
        settled=settled | {(name, one): count for one, count in story.settled.items()},
        intents=others | intents(*story.intents),
        troubles={key: trouble for key, trouble in remembered.troubles.items() if key[0] != name},
        terminations=(*remembered.terminations, *story.terminations),
    )


@st.composite
def converged_worlds(draw: st.DrawFn) -> Context:
    """Exactly what is declared, and everybody ready."""
    homes = [draw(environments(name)) for name in NAMES]
    worlds, counts, number = [], {}, 0
    for home in homes:
        found = []
        for one in home.roles.values():
            counts[home.name, one.name] = one.count
            for _ in range(one.count):
                number += 1
                found.append(node(number, of=home, role=one, image=_image(one)))
        chef: dict[str, Any] = {"chef_environment": generated(home)["chef_environment"], "chef_roles": {}}
        for one in home.roles.values():
            alone = replace(home, roles={one.name: one})
            chef["chef_roles"] |= generated(alone, image=_image(one))["chef_roles"]
        worlds.append(bare(home.name, found, **chef))
    return context(desired(*homes), observed(*worlds), memory(settled=counts))


def _image(one: Role) -> Any:
    assert isinstance(one.image, ImageById)
    return one.image.image_id
