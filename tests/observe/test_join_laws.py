"""What holds of every reading."""

from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model import tags
from reconciler.model.facts import NodeFailed, NodeForgotten, NodeGone, NodeMissing, NodeOdd, NodeReady, NodeSeen
from reconciler.model.memory import Memory
from reconciler.model.observed import Instance, InstanceState, Phase
from reconciler.observe import Joined, Reading
from tests.observe.readings import in_chef, instance, joined, launch, name, reading, record, remembering
from tests.plan.builders import HOUR, MINUTE, NOW, desired, environment, instance_id

AGES = (timedelta(0), MINUTE, 20 * MINUTE, 2 * HOUR, 50 * HOUR)
HOMES = ("checkout", "staging")
_LIVE = st.sampled_from(
    list(product((None, *InstanceState), AGES, HOMES, ({}, {tags.FLEET: None}, {tags.ENVIRONMENT: "staging"})))
)
_KNOWN = st.sampled_from(
    [
        None,
        {},
        {"ready_at": NOW - HOUR},
        {"missing_since": NOW - MINUTE},
        {"missing_since": NOW - 2 * HOUR},
        {"gone_at": NOW - MINUTE},
        {"odd_since": NOW - HOUR},
        {"first_run_ok": False},
        {"first_run_ok": False, "failed_at": NOW - HOUR},
        {"failed_at": NOW - HOUR, "odd_since": NOW - HOUR},
    ]
)
_WORLD = st.lists(st.tuples(_LIVE, _KNOWN, st.booleans(), st.booleans()), max_size=6)
_SCOPE = st.sampled_from([None, ["checkout"], ["staging"], ["checkout", "staging"]])
_WANTED = st.sampled_from([[], ["checkout"], ["staging"], ["checkout", "staging"]])


@st.composite
def readings(draw: st.DrawFn) -> Reading:
    """As `read` makes them: listed are those with our tag and in scope, asked by id are known ones that were not."""
    scope = draw(_SCOPE)
    listed: list[Instance] = []
    by_id: list[Instance] = []
    records: list[Any] = []
    asked, chef, clients = [], [], []
    for number, ((state, age, home, edit), known, has_node, has_client) in enumerate(draw(_WORLD), start=1):
        live = None
        if state is not None:
            live = instance(number, state=state, age=age, tag={tags.ENVIRONMENT: home, **edit})
        in_view = scope is None or (live is not None and live.environment in scope)
        is_listed = live is not None and in_view and live.tags.get(tags.FLEET) == "demo"
        if is_listed and live is not None:
            listed.append(live)
        if known is not None:
            records.append(record(number, of=home, age=age, **known))
            in_scope = scope is None or home in scope
            if in_scope and not is_listed and "gone_at" not in known and age >= 5 * MINUTE:
                asked.append(instance_id(number))
                by_id.extend([live] if live is not None else [])
        chef.extend([in_chef(number, of=home)] if has_node else [])
        clients.extend([name(number, home)] if has_client else [])
    remembered = remembering(*records, launches=[launch(*range(1, 4), count=6)])
    return reading(*listed, remembered=remembered, by_id=by_id, asked=asked, chef=chef, clients=clients, names=scope)


def look(made: Reading, wanted: list[str]) -> Joined:
    return joined(made, desired(*(environment(one) for one in wanted)))


many = settings(max_examples=150, deadline=None)


def recorded(memory: Memory, made: Joined) -> Memory:
    """The journal after the facts of a look, as far as these laws need it."""
    known = dict(memory.nodes)
    for fact in made.facts:
        match fact:
            case NodeSeen(record=seen):
                known[seen.instance_id] = seen
            case NodeForgotten(instance_id=gone):
                known.pop(gone)
            case NodeMissing(instance_id=one):
                known[one] = replace(known[one], missing_since=known[one].missing_since or NOW)
            case NodeOdd(instance_id=one):
                known[one] = replace(known[one], odd_since=known[one].odd_since or NOW)
            case NodeFailed(instance_id=one):
                known[one] = replace(known[one], failed_at=known[one].failed_at or NOW)
            case NodeReady(instance_id=one):
                known[one] = replace(known[one], ready_at=known[one].ready_at or NOW)
            case NodeGone(instance_id=one):
                known[one] = replace(known[one], gone_at=known[one].gone_at or NOW)
            case _:
                pass
    return replace(made.memory, nodes=known)


@many
@given(made=readings(), wanted=_WANTED)
def test_the_same_readings_give_the_same_observation_in_whatever_order_they_come(
    made: Reading, wanted: list[str]
) -> None:
    turned = replace(
        made,
        listed=dict(reversed(list(made.listed.items()))),
        memory=replace(made.memory, nodes=dict(reversed(list(made.memory.nodes.items())))),
    )
    assert look(made, wanted) == look(turned, wanted)


@many
@given(made=readings(), wanted=_WANTED)
def test_nothing_is_called_gone_but_what_was_seen_dead_or_missing_for_an_hour(made: Reading, wanted: list[str]) -> None:
    result = look(made, wanted)
    seen = {**made.listed, **made.by_id}
    for fact in result.facts:
        if isinstance(fact, NodeGone):
            live, known = seen.get(fact.instance_id), made.memory.nodes.get(fact.instance_id)
            is_dead = live is not None and live.state == InstanceState.TERMINATED
            assert is_dead or (known is not None and known.missing_since == NOW - 2 * HOUR and live is None)


@many
@given(made=readings(), wanted=_WANTED)
def test_every_known_node_in_scope_is_there_departed_or_forgotten(made: Reading, wanted: list[str]) -> None:
    result = look(made, wanted)
    shown = {node.instance_id for one in result.observed.environments.values() for node in one.nodes}
    left = {one.instance_id for world in result.observed.environments.values() for one in world.departed}
    forgotten = {fact.instance_id for fact in result.facts if isinstance(fact, NodeForgotten)}
    assert not shown & left
    for known in made.memory.nodes.values():
        if made.names is None or known.environment in made.names:
            assert known.instance_id in shown | left | forgotten
        else:
            assert known.instance_id not in shown | left | forgotten


@many
@given(made=readings(), wanted=_WANTED)
def test_what_lacks_our_tag_is_lost_or_dying(made: Reading, wanted: list[str]) -> None:
    for one in look(made, wanted).observed.environments.values():
        for node in one.nodes:
            if not node.is_unseen and node.instance.tags.get(tags.FLEET) != "demo":
                assert node.phase == Phase.LOST


@many
@given(made=readings(), wanted=_WANTED)
def test_looking_again_at_the_same_world_learns_nothing_new(made: Reading, wanted: list[str]) -> None:
    first = look(made, wanted)
    again = replace(made, memory=recorded(made.memory, first))
    second = look(again, wanted)
    assert all(isinstance(fact, NodeForgotten) for fact in second.facts)  # the second look at those just gone
    third = look(replace(again, memory=recorded(again.memory, second)), wanted)
    assert third.facts == ()


@many
@given(made=readings(), wanted=_WANTED)
def test_nodes_are_sorted_by_age(made: Reading, wanted: list[str]) -> None:
    for one in look(made, wanted).observed.environments.values():
        keys = [(node.instance.launched_at, node.instance_id) for node in one.nodes]
        assert keys == sorted(keys)
