"""Generated Chef objects that nobody declares or remembers: sighted twice, with the minimum age between, in full looks."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from reconciler.model.digest import content_digest
from reconciler.model.facts import OrphanCleared, OrphanSighted, TeardownBegan
from reconciler.model.memory import Item, ItemKind, Memory
from reconciler.model.names import EnvironmentName
from reconciler.model.observed import ObservedEnvironment
from reconciler.model.plan import Blocked, EnvironmentPlan, Guard
from reconciler.plan import guard, plan
from tests.plan.builders import (
    CHECKOUT,
    HOUR,
    MINUTE,
    NOW,
    RULES,
    bare,
    broken,
    context,
    desired,
    environment,
    generated,
    guarded,
    intent,
    intents,
    known,
    launched,
    memory,
    node,
    observed,
    plan_one,
    planned,
    role,
    said,
    settled,
    there,
    trouble,
)

SECOND = timedelta(seconds=1)
AGE = 10 * MINUTE
ROLE = Item(kind=ItemKind.CHEF_ROLE, name="checkout-web")
WORKER = Item(kind=ItemKind.CHEF_ROLE, name="checkout-worker")
ENVIRONMENT = Item(kind=ItemKind.CHEF_ENVIRONMENT, name="checkout")


def sighted(*items: Item, ago: timedelta = AGE, **changes: Any) -> Memory:
    return memory(orphans=dict.fromkeys(items, NOW - ago), **changes)


def seen(made: EnvironmentPlan) -> set[Item]:
    return {fact.item for fact in made.facts if isinstance(fact, OrphanSighted)}


def cleared(made: EnvironmentPlan) -> set[Item]:
    return {fact.item for fact in made.facts if isinstance(fact, OrphanCleared)}


# --- of an environment that nobody knows ----------------------------------------------------------------------------


def test_at_first_sight_they_are_noted_and_said() -> None:
    made = plan_one(None, there())
    assert (made.actions, seen(made)) == ((), {ROLE, ENVIRONMENT})
    assert [waiting.message for waiting in made.waiting] == [
        "checkout, checkout-web in Chef is wanted by nobody; it is removed if that stays so until 12:10:00 UTC"
    ]
    assert made.due_at == NOW + AGE


@pytest.mark.parametrize(
    ("remembered", "goes"),
    [
        pytest.param(sighted(ROLE, ENVIRONMENT, ago=AGE), True, id="old enough"),
        pytest.param(sighted(ROLE, ENVIRONMENT, ago=AGE - SECOND), False, id="not old enough"),
        pytest.param(sighted(ROLE), False, id="one of them is new"),
        pytest.param(
            replace(sighted(ROLE, ENVIRONMENT), orphans={ROLE: NOW - HOUR, ENVIRONMENT: NOW}), False, id="young"
        ),
    ],
)
def test_they_go_together_when_the_youngest_is_old_enough(
    remembered: Memory,
    goes: bool,  # noqa: FBT001  a parameter
) -> None:
    made = plan_one(None, there(), remembered)
    expected = ["delete_chef_role checkout-web", "delete_chef_environment checkout"] if goes else []
    assert said(made.actions) == expected
    assert bool(made.waiting) != goes
    assert not any(isinstance(fact, TeardownBegan) for fact in made.facts)


def test_even_without_a_minimum_age_they_are_seen_twice() -> None:
    at_once = replace(RULES, orphan_age=timedelta(0))
    first = planned(plan(context(desired(), observed(there()), rules=at_once)))
    assert (first.actions, seen(first)) == ((), {ROLE, ENVIRONMENT})
    again = planned(plan(context(desired(), observed(there()), sighted(ROLE, ENVIRONMENT, ago=SECOND), rules=at_once)))
    assert len(again.actions) == 2


@pytest.mark.parametrize(
    ("world", "remembered"),
    [
        pytest.param(there(nodes=[node(1, odd_since=NOW)]), sighted(ROLE, ENVIRONMENT), id="a node"),
        pytest.param(there(), sighted(ROLE, ENVIRONMENT, intents=intents(intent())), id="a launch of unknown outcome"),
    ],
)
def test_their_age_counts_while_nodes_are_there_but_nodes_go_first(
    world: ObservedEnvironment, remembered: Memory
) -> None:
    assert seen(plan_one(None, world, replace(remembered, orphans={}))) == {ROLE, ENVIRONMENT}
    assert plan_one(None, world, remembered).actions == ()


@pytest.mark.parametrize(
    ("node_seen_ago", "due"),
    [(timedelta(0), AGE), (4 * MINUTE, 6 * MINUTE), (None, AGE)],
)
def test_a_stray_node_names_the_moment_at_which_it_is_swept(node_seen_ago: timedelta | None, due: timedelta) -> None:
    odd_since = NOW - node_seen_ago if node_seen_ago is not None else None
    assert plan_one(None, bare(CHECKOUT, [node(1, odd_since=odd_since)])).due_at == NOW + due


def test_their_removal_counts_among_the_environments_of_an_hour() -> None:
    names = [f"old{n}" for n in range(4)]
    worlds = [there(environment(name)) for name in names]
    items = [Item(kind=ItemKind.CHEF_ROLE, name=f"{name}-web") for name in names]
    items += [Item(kind=ItemKind.CHEF_ENVIRONMENT, name=name) for name in names]
    looked = context(desired(environment()), observed(*worlds), sighted(*items, environments=known(CHECKOUT)))
    made = guard(plan(looked), looked)
    assert [hold.guard for name in names for hold in planned(made, name).blocked] == [Guard.PRUNE_ENVIRONMENTS] * 4


def test_who_may_not_write_counts_no_age() -> None:
    looked = context(desired(), observed(there()))
    not_ours = Blocked(guard=Guard.NOT_OWNER, message="not ours", remedy="")
    assert seen(planned(guard(plan(looked), looked, not_owner=not_ours))) == set()


# --- roles of a declared environment --------------------------------------------------------------------------------

BOTH = environment(roles=[role(), role("worker", 1)])
FULL = [node(1), node(2)]


@pytest.mark.parametrize(
    ("remembered", "goes"),
    [
        pytest.param(memory(), False, id="nobody ever asked for it"),
        pytest.param(sighted(WORKER), True, id="and it was seen long ago"),
        pytest.param(sighted(WORKER, ago=AGE - SECOND), False, id="or not so long ago"),
        pytest.param(memory(settled=settled((CHECKOUT, "worker", 1))), True, id="it held nodes"),
        pytest.param(
            memory(intents=intents(launched("hq-1", role=BOTH.roles[role("worker").name]))), True, id="we launched it"
        ),
        pytest.param(
            memory(
                troubles={
                    (CHECKOUT, role("worker").name): trouble(
                        content=content_digest(BOTH, role("worker", 1)), role=role("worker").name
                    )
                }
            ),
            True,
            id="it had troubles",
        ),
    ],
)
def test_a_role_that_no_commit_declared_is_an_orphan(remembered: Memory, goes: bool) -> None:  # noqa: FBT001  a parameter
    made = plan_one(environment(), there(BOTH, FULL), remembered)
    assert said(made.actions) == (["delete_chef_role checkout-worker"] if goes else [])
    assert seen(made) == ({WORKER} if remembered == memory() else set())
    if not goes:
        assert [waiting.role for waiting in made.waiting] == ["worker"]
        assert made.due_at is not None


def test_a_scoped_look_removes_none_and_clears_none() -> None:
    made = plan_one(environment(), there(BOTH, FULL), sighted(WORKER), is_full=False)
    assert (made.actions, made.due_at) == ((), None)
    assert cleared(plan_one(environment(), there(nodes=FULL), sighted(WORKER), is_full=False)) == set()
    assert seen(plan_one(environment(), there(BOTH, FULL), is_full=False)) == set()


# --- cleared --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("home", "world", "remembered", "items"),
    [
        pytest.param(environment(), there(nodes=FULL), sighted(ROLE, ENVIRONMENT), {ROLE, ENVIRONMENT}, id="wanted"),
        pytest.param(environment(), there(nodes=FULL), sighted(WORKER), {WORKER}, id="a role that is gone"),
        pytest.param(environment(), there(BOTH, FULL), sighted(WORKER), set(), id="still there"),
        pytest.param(None, there(chef_roles={}), sighted(ROLE, ENVIRONMENT), {ROLE}, id="one of two is gone"),
        pytest.param(None, bare(CHECKOUT), sighted(ROLE, ENVIRONMENT), {ROLE, ENVIRONMENT}, id="both are gone"),
        pytest.param(
            None,
            there(),
            sighted(ROLE, environments=known(CHECKOUT, began=NOW)),
            {ROLE},
            id="remembered, and torn down",
        ),
    ],
)
def test_what_is_gone_or_wanted_is_no_orphan_any_more(
    home: Any, world: ObservedEnvironment, remembered: Memory, items: set[Item]
) -> None:
    assert cleared(plan_one(home, world, remembered)) == items


def test_one_whose_environment_left_no_trace_is_cleared_too() -> None:
    made = plan(context(desired(), observed(), sighted(ROLE)))
    assert cleared(planned(made)) == {ROLE}
    assert planned(made).is_converged
    assert plan(context(desired(), observed(is_full=False), sighted(ROLE))).environments == ()


def test_a_frozen_environments_orphans_stay_as_they_are() -> None:
    made = planned(plan(context(desired(frozen=[broken()]), observed(there()), sighted(ROLE))))
    assert (made.actions, made.facts) == ((), ())


def test_an_environment_whose_name_looks_like_a_role_of_another_is_told_from_it() -> None:
    twin = EnvironmentName("checkout-web")
    item = Item(kind=ItemKind.CHEF_ENVIRONMENT, name=twin)
    chef = generated(environment(twin))["chef_environment"]
    world = bare(twin, chef_environment=chef)
    made = plan(
        context(desired(environment()), observed(there(nodes=FULL), world), sighted(item, environments=known()))
    )
    assert said(planned(made, twin).actions) == ["delete_chef_environment checkout-web"]
    assert cleared(planned(made)) == set()


def test_foreign_objects_are_no_orphans() -> None:
    theirs = there(chef_roles={}, chef_environment=None)
    assert guarded(None, theirs).is_converged
