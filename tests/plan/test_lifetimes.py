"""How environments end by themselves: when, after which notices, and how a commit keeps them."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from reconciler.model.actions import DeleteChefRole, LaunchNodes, TerminateNode
from reconciler.model.desired import Environment, Lifetime
from reconciler.model.facts import (
    EndingCancelled,
    EnvironmentEnding,
    ExpiryNoticed,
    TeardownBegan,
    TeardownEnded,
    TeardownItems,
)
from reconciler.model.findings import Origin
from reconciler.model.memory import Cause, EndingCause, ExpiryNotice, Memory
from reconciler.model.names import ChefName
from reconciler.model.observed import ObservedEnvironment
from reconciler.model.plan import EnvironmentPlan, Guard
from reconciler.model.rules import Rules
from reconciler.plan import Context, expires_at, guard, plan
from reconciler.plan.chef import wanted_environment
from tests.plan.builders import (
    CHECKOUT,
    FLEET,
    GRACIOUS,
    HOUR,
    JESSICA,
    MINUTE,
    NOW,
    RULES,
    bare,
    commit,
    context,
    desired,
    ending_since,
    environment,
    known,
    memory,
    node,
    observed,
    planned,
    there,
)

DAY = timedelta(days=1)
OBSERVING = replace(RULES, is_observing=True)
DEFAULT = replace(RULES, default_ttl=DAY)
TTL = Origin(file="environments.d/checkout.yml", line=4)
HERE = there(nodes=[node(1), node(2)])
EMPTY = bare(CHECKOUT)
SETTLED = {(CHECKOUT, environment().roles["web"].name): 2}  # type: ignore[index]  # a name is a string


def lasting(ttl: timedelta | None = DAY, until: datetime | None = None, **changes: Any) -> Environment:
    return environment(lifetime=Lifetime(ttl=ttl, expires_at=until), origins={"ttl": TTL}, **changes)


def ended(at: datetime = NOW - HOUR, **changes: Any) -> Any:
    return ending_since(at, cause=EndingCause.EXPIRED, **changes)


def remembered(**changes: Any) -> Memory:
    """With the last notice given of what ends now."""
    changes = {"notice": ExpiryNotice(expires_at=NOW, ahead=HOUR), **changes}
    return memory(environments=known(CHECKOUT, **changes), settled=SETTLED)


def seen(
    home: Environment,
    world: ObservedEnvironment = HERE,
    journal: Memory | None = None,
    *,
    age: timedelta | None = timedelta(0),
    rules: Rules = RULES,
    **changes: Any,
) -> Context:
    touched = {} if age is None else {"checkout.yml": commit(at=NOW - age)}
    return context(desired(home), observed(world), journal or remembered(), rules=rules, touched=touched, **changes)


def one(*args: Any, **changes: Any) -> EnvironmentPlan:
    look = seen(*args, **changes)
    return planned(guard(plan(look), look))


def kinds(made: EnvironmentPlan) -> list[type]:
    return [type(fact) for fact in made.facts]


def terminated(made: EnvironmentPlan) -> int:
    return sum(isinstance(action, TerminateNode) for action in made.actions)


# --- when -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("home", "rules", "age", "expected"),
    [
        (lasting(), RULES, HOUR, NOW - HOUR + DAY),
        (lasting(None, NOW + HOUR), RULES, None, NOW + HOUR),
        (lasting(DAY, NOW + HOUR), RULES, HOUR, NOW + HOUR),
        (lasting(DAY, NOW + 2 * DAY), RULES, HOUR, NOW - HOUR + DAY),
        (lasting(DAY, NOW + HOUR), RULES, None, NOW + HOUR),
        (lasting(), RULES, None, None),
        (lasting(None), RULES, HOUR, None),
        (lasting(None), DEFAULT, HOUR, NOW - HOUR + DAY),
        (lasting(None), DEFAULT, None, None),
        (lasting(None, NOW + 2 * DAY), DEFAULT, HOUR, NOW + 2 * DAY),
        (lasting(2 * DAY), DEFAULT, HOUR, NOW - HOUR + 2 * DAY),
        (lasting(protected=True), DEFAULT, HOUR, None),
    ],
    ids=[
        "ttl",
        "a date",
        "both, the date first",
        "both, the ttl first",
        "both, and the touch unknown",
        "a touch that is unknown",
        "neither",
        "the default",
        "the default, and the touch unknown",
        "a date instead of the default",
        "a ttl instead of the default",
        "protected",
    ],
)
def test_the_moment(home: Environment, rules: Rules, age: timedelta | None, expected: datetime | None) -> None:
    assert expires_at(home, seen(home, age=age, rules=rules)) == expected


def test_paths_are_told_below_the_watched_folder() -> None:
    home = lasting(origin=Origin(file="envs/eu/checkout.yml", line=1))
    assert expires_at(home, seen(home, folder="envs/eu/")) == NOW + DAY
    assert expires_at(home, seen(home)) is None


# --- the end --------------------------------------------------------------------------------------------------------


def test_it_is_torn_down_by_the_same_steps_and_the_reason_names_the_line() -> None:
    made = one(lasting(), age=DAY)
    assert (terminated(made), made.is_declared) == (2, False)
    assert kinds(made) == [EnvironmentEnding, TeardownBegan, TeardownItems]
    assert made.facts[0] == EnvironmentEnding(
        environment=CHECKOUT,
        cause=EndingCause.EXPIRED,
        revision=commit().revision,
        author=JESSICA,
        file="environments.d/checkout.yml",
    )
    assert {str(action.reason) for action in made.actions} == {
        "expired: its ttl of 1 day ended on 2026-11-01 12:00 UTC (environments.d/checkout.yml:4 at 55555555)"
    }
    assert {action.cause for action in made.actions if isinstance(action, TerminateNode)} == {Cause.TEARDOWN}


def test_grace_comes_first() -> None:
    made = one(lasting(), age=DAY, rules=GRACIOUS)
    (hold,) = made.blocked
    assert (hold.guard, hold.until, hold.actor) == (Guard.GRACE, NOW + 5 * MINUTE, JESSICA)
    assert "commit a longer ttl or a later expires" in hold.remedy
    assert (made.actions, made.due_at, kinds(made)) == ((), NOW + 5 * MINUTE, [EnvironmentEnding])
    made = one(lasting(), journal=remembered(ending=ended(NOW - 5 * MINUTE)), age=DAY, rules=GRACIOUS)
    assert (terminated(made), kinds(made)) == (2, [TeardownBegan, TeardownItems])


def test_a_date_names_nobody_where_the_history_was_not_asked() -> None:
    made = one(lasting(None, NOW), age=None)
    (fact,) = [fact for fact in made.facts if isinstance(fact, EnvironmentEnding)]
    assert (fact.author, fact.revision) == ("", commit().revision)
    assert "its date of expiry ended on" in made.actions[0].reason.detail


def test_the_default_ends_too() -> None:
    assert terminated(one(lasting(None), age=DAY, rules=DEFAULT)) == 2


def test_the_end_is_noted_once_and_then_nothing_is_written() -> None:
    made = one(lasting(), EMPTY, remembered(ending=ended(), began=NOW - HOUR), age=DAY)
    assert (kinds(made), made.actions) == ([TeardownEnded], ())
    made = one(lasting(), EMPTY, remembered(ending=ended()), age=DAY)
    assert (made.facts, made.actions, made.is_converged, made.due_at) == ((), (), True, None)


@pytest.mark.parametrize("journal", [None, memory()])
def test_one_that_has_nothing_says_so_once(journal: Memory | None) -> None:
    assert kinds(one(lasting(), EMPTY, journal, age=DAY)) == [EnvironmentEnding]


def test_what_the_journal_does_not_know_yet_is_applied_first() -> None:
    removed = remembered(ending=ending_since(NOW - HOUR), began=NOW - HOUR)
    made = one(lasting(), HERE, removed, age=DAY)
    assert (made.actions, made.facts) == ((), ())
    assert one(lasting(), EMPTY, memory(), age=DAY).actions == ()


def test_a_chef_environment_that_it_merely_uses_stays_and_says_nothing_about_it() -> None:
    production = environment("production", protected=True)
    home = lasting(chef_environment=ChefName("production"))
    used = replace(HERE, chef_environment=wanted_environment(FLEET, production))
    assert terminated(one(home, used, age=DAY)) == 2
    left = replace(used, nodes=())
    assert [type(action) for action in one(home, left, remembered(ending=ended(), began=NOW), age=DAY).actions] == [
        DeleteChefRole
    ]
    gone = replace(left, chef_roles={})
    made = one(home, gone, remembered(ending=ended(), began=NOW), age=DAY)
    assert (kinds(made), made.actions) == ([TeardownEnded], ())


def test_protection_that_was_just_taken_off_goes_from_the_resources_first() -> None:
    made = one(lasting(), HERE, remembered(is_protected=True), age=DAY)
    assert (made.is_declared, terminated(made)) == (True, 0)


# --- kept -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("began", [None, NOW - MINUTE])
def test_a_renewal_cancels_it_and_what_went_comes_back(began: datetime | None) -> None:
    made = one(lasting(), there(nodes=[node(1)]), remembered(ending=ended(), began=began))
    assert EndingCancelled(environment=CHECKOUT) in made.facts
    assert [type(action) for action in made.actions] == [LaunchNodes]
    assert made.is_declared


def test_protecting_it_renews_it() -> None:
    made = one(lasting(protected=True), EMPTY, remembered(ending=ended()), age=DAY)
    assert EndingCancelled(environment=CHECKOUT) in made.facts


def test_one_that_was_renewed_and_expired_again_unseen_gets_a_grace_of_its_own() -> None:
    journal = remembered(ending=ended(revision="9" * 40))
    made = one(lasting(), HERE, journal, age=DAY, rules=GRACIOUS)
    assert (kinds(made), made.actions) == ([EndingCancelled, EnvironmentEnding], ())
    begun = remembered(ending=ended(revision="9" * 40), began=NOW)
    assert terminated(one(lasting(), HERE, begun, age=DAY, rules=GRACIOUS)) == 2


@pytest.mark.parametrize(("home", "rules"), [(lasting(), RULES), (lasting(None), DEFAULT)])
@pytest.mark.parametrize("began", [None, NOW - MINUTE])
def test_a_history_that_cannot_be_read_neither_goes_on_nor_brings_back(
    home: Environment, rules: Rules, began: datetime | None
) -> None:
    made = one(home, EMPTY, remembered(ending=ended(), began=began), age=None, rules=rules)
    assert (made.actions, made.facts, [stall.reason for stall in made.stalls]) == ((), (), ["LifetimeUnknown"])


# --- notices --------------------------------------------------------------------------------------------------------


def noticed(made: EnvironmentPlan) -> list[timedelta]:
    return [fact.notice.ahead for fact in made.facts if isinstance(fact, ExpiryNoticed)]


def given(at: datetime, ahead: timedelta) -> Memory:
    return remembered(notice=ExpiryNotice(expires_at=at, ahead=ahead))


@pytest.mark.parametrize(
    ("left", "journal", "expected", "due"),
    [
        (2 * DAY, None, [], DAY),
        (DAY, None, [DAY], 23 * HOUR),
        (2 * HOUR, None, [DAY], HOUR),
        (HOUR, None, [HOUR], HOUR),
        (MINUTE, None, [HOUR], HOUR),  # told late: it ends later
        (-DAY, remembered(notice=None), [HOUR], HOUR),
        (-DAY, given(NOW + MINUTE, HOUR), [], MINUTE),
        (-DAY, given(NOW + MINUTE, DAY), [HOUR], HOUR),  # a later end was told, and is brought forward
        (2 * HOUR, given(NOW + 2 * HOUR, DAY), [], HOUR),
        (HOUR, given(NOW + HOUR, DAY), [HOUR], HOUR),
        (MINUTE, given(NOW + MINUTE, HOUR), [], MINUTE),
        (2 * HOUR, given(NOW + HOUR, HOUR), [DAY], HOUR),
    ],
)
def test_each_notice_is_given_once_and_only_the_most_urgent(
    left: timedelta, journal: Memory | None, expected: Iterable[timedelta], due: timedelta
) -> None:
    made = one(lasting(None, NOW + left), HERE, journal)
    assert (noticed(made), made.due_at, made.actions) == (expected, NOW + due, ())


@pytest.mark.parametrize("journal", [memory(), remembered(notice=None)])
def test_what_runs_and_is_over_when_that_is_first_seen_ends_by_a_notice_of_its_own(journal: Memory) -> None:
    made = one(lasting(), HERE, journal, age=20 * DAY)
    assert (noticed(made), made.expires_at, terminated(made)) == ([HOUR], NOW + HOUR, 0)
    told = given(NOW + HOUR, HOUR)
    later = one(lasting(), HERE, told, age=20 * DAY, now=NOW + HOUR)
    assert terminated(later) == 2


def test_without_notices_it_ends_when_it_is_over() -> None:
    made = one(lasting(), HERE, remembered(notice=None), age=20 * DAY, rules=replace(RULES, notices=()))
    assert terminated(made) == 2


def test_one_that_nobody_knows_yet_is_noticed_too() -> None:
    assert noticed(one(lasting(HOUR), HERE, memory())) == [HOUR]


def test_whoever_may_not_act_notes_nothing() -> None:
    assert one(lasting(HOUR), rules=OBSERVING).facts == ()
    assert one(lasting(), age=DAY, rules=OBSERVING).facts == ()
