"""How much may go in any rolling hour before a person is asked: of an environment's nodes, and of the fleet."""

from datetime import timedelta
from typing import Any

import pytest

from reconciler.model.actions import TerminateNode
from reconciler.model.facts import TeardownBegan
from reconciler.model.memory import Cause, Memory
from reconciler.model.names import EnvironmentName
from reconciler.model.observed import Node, Phase
from reconciler.model.plan import EnvironmentPlan, Guard, Plan
from reconciler.model.rules import Rules
from reconciler.plan import guard, plan
from tests.plan.builders import (
    CHECKOUT,
    FLEET,
    HOUR,
    MINUTE,
    NOW,
    WEB,
    approval,
    bare,
    broken,
    context,
    desired,
    environment,
    guarded,
    intent,
    intents,
    known,
    memory,
    node,
    observed,
    planned,
    role,
    said,
    settled,
    termination,
    there,
)


def stopped(number: int) -> Node:
    return node(number, phase=Phase.STOPPED, odd_since=NOW - HOUR)


def fleet_of(count: int, losses: int) -> tuple[Any, list[Node]]:
    """A role of `count` nodes, of which so many had served and were stopped."""
    home = environment(roles=[role(count=count)])
    return home, [stopped(n) if n <= losses else node(n) for n in range(1, count + 1)]


def outcome(count: int, losses: int, remembered: Memory | None = None) -> EnvironmentPlan:
    home, nodes = fleet_of(count, losses)
    return guarded(home, there(home, nodes), remembered)


def held(made: EnvironmentPlan) -> bool:
    return [hold.guard for hold in made.blocked] == [Guard.PRUNE_NODES]


@pytest.mark.parametrize(
    ("count", "most"),
    [(1, 1), (2, 1), (9, 1), (10, 1), (19, 1), (20, 2), (29, 2), (30, 3), (70, 7), (100, 10)],
)
def test_at_most_one_node_or_a_tenth_goes_unasked(count: int, most: int) -> None:
    fits = outcome(count, most)
    assert not held(fits)
    assert sum(isinstance(action, TerminateNode) for action in fits.actions) == most
    if most < count:
        too_many = outcome(count, most + 1)
        assert held(too_many)
        assert not any(isinstance(action, TerminateNode) for action in too_many.actions)


def test_the_hold_says_how_many_and_what_lifts_it() -> None:
    (hold,) = outcome(4, 2).blocked
    assert hold.message == ("no commit asks for it: 2 of 4 nodes would go, 0 went in the last hour, the limit is 1")
    assert hold.remedy == f"hivequeen approve {hold.digest}"
    assert len(hold.actions) == 2


def test_what_is_held_keeps_its_place_and_the_rest_is_healed() -> None:
    """Else a second fleet would come beside nodes that were stopped by hand."""
    assert said(outcome(4, 2).actions) == []
    home = environment(roles=[role(count=4)])
    assert said(guarded(home, there(home, [stopped(1), stopped(2), node(3)])).actions) == ["launch_nodes 1"]


@pytest.mark.parametrize(
    ("ago", "cause", "where", "counts"),
    [
        pytest.param(HOUR - timedelta(seconds=1), Cause.FAILED, CHECKOUT, True, id="within the hour"),
        pytest.param(HOUR, Cause.FAILED, CHECKOUT, False, id="an hour ago"),
        pytest.param(MINUTE, Cause.FAILED, "staging", False, id="of another environment"),
        *(pytest.param(MINUTE, cause, CHECKOUT, cause.is_counted, id=cause) for cause in Cause),
    ],
)
def test_what_went_in_the_last_hour_counts_if_no_commit_asked_for_it(
    ago: timedelta,
    cause: Cause,
    where: str,
    counts: bool,  # noqa: FBT001  a parameter
) -> None:
    went = memory(terminations=(termination(99, cause, ago, where),))
    assert held(outcome(4, 1, went)) == counts


def test_exactly_the_causes_that_no_commit_asked_for_are_counted() -> None:
    assert {cause for cause in Cause if cause.is_counted} == {
        Cause.DRIFTED,
        Cause.FAILED,
        Cause.SURPLUS,
        Cause.SWEEP,
    }


def test_asking_again_for_what_was_asked_uses_nothing_up() -> None:
    went = memory(terminations=(termination(1, Cause.FAILED),))
    made = outcome(4, 1, went)
    assert "terminate_node 1" in said(made.actions)


def test_with_the_limit_used_up_only_what_was_asked_before_goes_on() -> None:
    went = memory(terminations=(termination(1, Cause.FAILED),))
    made = outcome(4, 2, went)
    assert held(made)
    assert [name for name in said(made.actions) if name.startswith("terminate")] == ["terminate_node 1"]


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(
            guarded(
                environment(roles=[role(count=1)]),
                there(nodes=[node(n) for n in range(1, 9)]),
                memory(settled=settled((CHECKOUT, WEB, 8))),
            ),
            id="scale-down",
        ),
        pytest.param(
            guarded(None, there(nodes=[node(n) for n in range(1, 9)]), memory(environments=known(CHECKOUT))),
            id="teardown",
        ),
        pytest.param(
            guarded(
                environment(roles=[role(count=8)]),
                there(environment(roles=[role(count=8)]), [node(n, phase=Phase.FAILED) for n in (1, 2)]),
            ),
            id="never ready",
        ),
    ],
)
def test_what_a_commit_asked_for_or_never_served_is_not_limited(made: EnvironmentPlan) -> None:
    assert made.blocked == ()
    assert any(isinstance(action, TerminateNode) for action in made.actions)


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(
            guarded(
                environment(),
                there(nodes=[node(n) for n in range(1, 6)]),
                memory(settled=settled((CHECKOUT, WEB, 2))),
            ),
            id="surplus",
        ),
        pytest.param(guarded(None, bare("old", [node(n, odd_since=NOW - HOUR) for n in (1, 2, 3)])), id="sweep"),
    ],
)
def test_surplus_and_sweeps_are_limited(made: EnvironmentPlan) -> None:
    assert held(made)
    assert made.actions == ()


def test_drift_that_no_commit_caused_is_replaced_one_an_hour() -> None:
    edited = [node(n, instance={"instance_profile": "mine"}, was_launched_as={"instance_profile": ""}) for n in (1, 2)]
    first = guarded(environment(), there(nodes=edited))
    assert said(first.actions) == ["replace_node 1"]
    went = memory(terminations=(termination(9, Cause.DRIFTED),))
    assert held(guarded(environment(), there(nodes=edited), went))


def test_limits_are_settings() -> None:
    home, nodes = fleet_of(4, 2)
    for rules, is_held in (
        (Rules(fleet=FLEET, nodes_least=2), False),
        (Rules(fleet=FLEET, nodes_share=0.5), False),
        (Rules(fleet=FLEET, nodes_least=0, nodes_share=0.0), True),
    ):
        seen = context(desired(home), observed(there(home, nodes)), rules=rules)
        assert held(planned(guard(plan(seen), seen))) == is_held


def test_a_share_that_binary_fractions_miss_is_taken_as_written() -> None:
    home, nodes = fleet_of(100, 29)
    seen = context(desired(home), observed(there(home, nodes)), rules=Rules(fleet=FLEET, nodes_share=0.29))
    assert not held(planned(guard(plan(seen), seen)))


# --- environments ---------------------------------------------------------------------------------------------------


def names(count: int) -> list[str]:
    return [f"env{n}" for n in range(count)]


def deleting(gone: int, *, of: int, remembered: dict[str, Any] | None = None, **worlds: Any) -> Plan:
    """A fleet of `of` environments, of which the first `gone` lost their files."""
    wanted = desired(*(environment(name) for name in names(of)[gone:]))
    world = {name: there(environment(name), [node(n, of=environment(name))]) for n, name in enumerate(names(of))}
    world |= worlds
    seen = context(
        wanted,
        observed(*world.values()),
        memory(environments=known(*names(of)), **(remembered or {})),
    )
    return guard(plan(seen), seen)


def begun(made: Plan) -> list[str]:
    return [one.name for one in made.environments if any(isinstance(fact, TeardownBegan) for fact in one.facts)]


@pytest.mark.parametrize(("fleet", "most"), [(5, 3), (15, 3), (19, 3), (20, 4), (24, 4), (25, 5), (100, 20)])
def test_at_most_three_environments_or_a_fifth_go_unasked(fleet: int, most: int) -> None:
    fits = deleting(most, of=fleet)
    assert begun(fits) == sorted(names(fleet)[:most])
    too_many = deleting(most + 1, of=fleet)
    assert begun(too_many) == []
    going = [one for one in too_many.environments if not one.is_declared]
    assert {hold.guard for one in going for hold in one.blocked} == {Guard.PRUNE_ENVIRONMENTS}
    assert all(one.actions == () for one in going)


def test_the_set_is_held_under_one_digest_and_each_environment_shows_its_own_part() -> None:
    made = deleting(4, of=10)
    holds = {one.name: one.blocked[0] for one in made.environments if one.blocked}
    assert len({hold.digest for hold in holds.values()}) == 1
    assert [len(hold.actions) for hold in holds.values()] == [1] * 4
    assert holds[EnvironmentName("env0")].message == (
        "4 of 10 environments would go (env0, env1, env2, env3), 0 went in the last hour, the limit is 3"
    )


@pytest.mark.parametrize(("ago", "held_back"), [(HOUR - timedelta(seconds=1), True), (HOUR, False)])
def test_teardowns_of_the_last_hour_count(ago: timedelta, held_back: bool) -> None:  # noqa: FBT001  a parameter
    lately = {EnvironmentName(name): NOW - ago for name in ("gone1", "gone2")}
    assert (begun(deleting(2, of=10, remembered={"teardowns": lately})) == []) == held_back


def test_an_approved_set_goes_whole() -> None:
    made = deleting(4, of=10)
    assert begun(deleting(4, of=10, remembered={"approvals": (approval(made),)})) == names(4)


def test_a_teardown_with_nothing_to_remove_yet_does_not_slip_past_the_limit() -> None:
    """It begins when it has, and is counted then."""
    ending: dict[str, Any] = {name: there(environment(name), [node(1, phase=Phase.TERMINATING)]) for name in names(5)}
    assert begun(deleting(5, of=6, **ending)) == []
    open_ones = {f"hq-{name}": intent(f"hq-{name}", 1, environment=name) for name in names(5)}
    nothing_yet: dict[str, Any] = {name: there(environment(name)) for name in names(5)}
    assert begun(deleting(5, of=6, remembered={"intents": intents(*open_ones.values())}, **nothing_yet)) == []


def test_environments_whose_teardown_began_are_not_asked_about_again() -> None:
    wanted = desired(*(environment(name) for name in names(10)[4:]))
    worlds = [there(environment(name), [node(1, of=environment(name))]) for name in names(10)]
    remembered = memory(environments=known(*names(10)) | known(*names(4), began=NOW - MINUTE))
    seen = context(wanted, observed(*worlds), remembered)
    assert all(one.blocked == () for one in guard(plan(seen), seen).environments)


# --- nothing declared -----------------------------------------------------------------------------------------------


def empty_revision(fleet: int, *, traces: int = 0, files: int = 0) -> Plan:
    frozen = [broken(f"trace{n}", is_trace=True) for n in range(traces)] + [broken(f"file{n}") for n in range(files)]
    worlds = [there(environment(name), [node(1, of=environment(name))]) for name in names(fleet)]
    seen = context(desired(frozen=frozen), observed(*worlds), memory(environments=known(*names(fleet))))
    return guard(plan(seen), seen)


@pytest.mark.parametrize(
    ("fleet", "extra", "rule"),
    [
        pytest.param(2, {}, Guard.EMPTY_REVISION, id="two environments, no file"),
        pytest.param(1, {}, None, id="the only environment may go"),
        pytest.param(2, {"traces": 1}, Guard.EMPTY_REVISION, id="a README declares nothing"),
        pytest.param(2, {"files": 1}, None, id="a file that cannot be read is a file"),
        pytest.param(5, {"files": 1}, Guard.PRUNE_ENVIRONMENTS, id="then the limit counts"),
    ],
)
def test_a_revision_that_declares_nothing(fleet: int, extra: dict[str, int], rule: Guard | None) -> None:
    made = empty_revision(fleet, **extra)
    assert {hold.guard for one in made.environments for hold in one.blocked} == ({rule} if rule else set())


def test_an_empty_revision_is_let_through_by_one_approval() -> None:
    made = empty_revision(3)
    worlds = [there(environment(name), [node(1, of=environment(name))]) for name in names(3)]
    remembered = memory(environments=known(*names(3)), approvals=(approval(made),))
    seen = context(desired(), observed(*worlds), remembered)
    assert begun(guard(plan(seen), seen)) == names(3)


def test_a_sweep_is_part_of_the_set() -> None:
    strays = [bare(f"stray{n}", [node(n, odd_since=NOW - HOUR)]) for n in range(4)]
    seen = context(desired(environment()), observed(*strays), memory(environments=known(CHECKOUT)))
    holds = [hold.guard for one in guard(plan(seen), seen).environments for hold in one.blocked]
    assert holds == [Guard.PRUNE_ENVIRONMENTS] * 4
