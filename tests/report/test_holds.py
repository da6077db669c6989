"""Every hold can be understood and left: who, why, since, until, and the command that lifts it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.adapters.journal import SqliteJournal
from reconciler.model.conditions import Condition, ConditionType
from reconciler.model.memory import Approval, Memory, Removal, Suspension
from reconciler.model.names import EnvironmentName
from reconciler.model.passes import Pass, Scope
from reconciler.model.plan import Blocked, EnvironmentPlan, Guard
from reconciler.report import conditions, views
from reconciler.report.metrics import Metrics
from tests.report.test_metrics import value
from tests.report.test_views import conforms
from tests.report.world import (
    CHECKOUT,
    JESSICA,
    NOON,
    PRODUCTION,
    SECOND,
    desired,
    ending,
    environment,
    grace,
    launch,
    made,
    memory,
    remembering,
    terminate,
)

HOUR = timedelta(hours=1)
HELD = Blocked(
    guard=Guard.PRUNE_ENVIRONMENTS,
    message="2 of 3 environments would go",
    remedy="hivequeen approve 3f2a91c04b7d",
    digest="3f2a91c04b7d",
    actor=JESSICA,
    actions=(terminate(1),),
    removals=frozenset(
        {
            Removal(environment=CHECKOUT, action="terminate_node", role="web", target="i-00000000000000001"),
            Removal(environment=CHECKOUT, action="delete_chef_environment", role="", target="checkout"),
        }
    ),
)
CLAIMED = Blocked(guard=Guard.NOT_OWNER, message="claimed by another", remedy="hivequeen claim --take-over")
OBSERVING = Blocked(guard=Guard.OBSERVE_MODE, message="mode is observe", remedy="set mode: converge")


def said(passed: Pass, before: tuple[Condition, ...] = ()) -> tuple[Condition, ...]:
    after = [one for group in conditions.of_pass(passed, before).values() for one in group]
    return conditions.dated(after, before, passed.ended_at)


def status(passed: Pass, since: tuple[Condition, ...] | None = None) -> dict[str, Any]:
    document = views.status(passed, passed.memory or memory(), said(passed) if since is None else since, NOON)
    conforms("status", document)
    return document


def test_a_hold_over_several_environments_is_one_with_all_who_asked_and_since_the_first() -> None:
    other = replace(HELD, actor="ops", removals=frozenset())
    passed = made(
        EnvironmentPlan(name=CHECKOUT, blocked=(HELD,)),
        EnvironmentPlan(name=PRODUCTION, blocked=(other,)),
        wanted=desired(environment(), environment(PRODUCTION)),
    )
    since = tuple(replace(one, since=NOON - HOUR) if one.environment == PRODUCTION else one for one in said(passed))
    (hold,) = status(passed, since)["holds"]
    assert (hold["environments"], hold["actors"]) == (["checkout", "production"], [JESSICA, "ops"])
    assert (hold["since"], hold["until"]) == ("2026-11-23T11:00:00Z", None)
    # What follows from it is covered by the approval too, so it is listed.
    assert hold["removals"] == ["checkout", "i-00000000000000001"]


def test_a_grace_period_is_listed_with_its_end_and_the_ending_behind_it() -> None:
    plan = EnvironmentPlan(name=CHECKOUT, is_declared=False, ending=ending(), blocked=(grace(),))
    document = status(made(plan, wanted=desired(environment(PRODUCTION)), remembered=remembering(ending())))
    (hold,) = document["holds"]
    assert (hold["guard"], hold["actors"], hold["since"], hold["until"]) == (
        "grace",
        [JESSICA],
        "2026-11-23T12:00:01Z",
        "2026-11-23T12:05:00Z",
    )
    (shown,) = (one["ending"] for one in document["environments"] if one["name"] == "checkout")
    assert (shown["cause"], shown["author"], shown["grace_until"], shown["teardown_began_at"]) == (
        "removed",
        JESSICA,
        "2026-11-23T12:05:00Z",
        None,
    )


def test_an_approval_is_shown_with_what_it_covers_who_gave_it_and_until_when() -> None:
    approval = Approval(digest="3f2a", removals=HELD.removals, actor="maria", at=NOON, expires_at=NOON + HOUR)
    revision = Approval(digest="9c1d", removals=frozenset(), actor="ops", at=NOON, expires_at=NOON + HOUR)
    passed = made(EnvironmentPlan(name=CHECKOUT), remembered=replace(memory(), approvals=(approval, revision)))
    first, second = status(passed)["approvals"]
    assert first == {
        "digest": "3f2a",
        "actor": "maria",
        "at": "2026-11-23T12:00:00Z",
        "expires_at": "2026-11-23T13:00:00Z",
        "environments": ["checkout"],
        "removals": ["checkout", "i-00000000000000001"],
    }
    assert (second["environments"], second["removals"]) == ([], [])


def test_the_claim_is_shown_with_who_else_holds_it_since_when_and_the_way_out() -> None:
    assert status(made())["claim"]["is_ours"] is True
    passed = made(blocked=[CLAIMED], remembered=replace(memory(), taken_over_at=NOON - HOUR))
    assert status(passed)["claim"] == {
        "is_ours": False,
        "message": "claimed by another",
        "remedy": "hivequeen claim --take-over",
        "since": "2026-11-23T12:00:01Z",
        "taken_over_at": "2026-11-23T11:00:00Z",
    }
    assert status(made(), ())["claim"]["is_ours"] is None


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    with SqliteJournal(f"sqlite:///{tmp_path}/state.db") as opened:
        yield opened


def test_show_has_what_holds_this_environment_and_what_holds_everything(journal: SqliteJournal) -> None:
    both = desired(environment(), environment(PRODUCTION))
    history = Blocked(guard=Guard.HISTORY, message="rewritten", remedy="hivequeen approve 9c1d", digest="9c1d" * 10)
    passed = made(
        EnvironmentPlan(name=CHECKOUT, blocked=(HELD,)),
        EnvironmentPlan(name=PRODUCTION, blocked=(replace(HELD, digest="77aa", guard=Guard.PROTECTED),)),
        wanted=both,
        blocked=[history],
    )
    document: dict[str, Any] = views.show("checkout", passed, journal, NOON)
    conforms("show", document)
    assert [hold["guard"] for hold in document["holds"]] == ["history", "prune_environments"]


# --- since ----------------------------------------------------------------------------------------------------------

KINDS = (ConditionType.HELD, ConditionType.READY)


@settings(max_examples=30)
@given(
    told=st.lists(
        st.tuples(st.sampled_from([*KINDS]), st.booleans(), st.sampled_from(["A", "B"]), st.sampled_from(["x", "y"])),
        min_size=1,
        max_size=8,
    )
)
def test_since_is_reckoned_as_the_journal_keeps_it(
    tmp_path_factory: pytest.TempPathFactory, told: list[tuple[ConditionType, bool, str, str]]
) -> None:
    with SqliteJournal(f"sqlite:///{tmp_path_factory.mktemp('since')}/state.db") as journal:
        for minute, (kind, is_true, reason, message) in enumerate(told):
            at = NOON + minute * 60 * SECOND
            new = Condition(environment=CHECKOUT, type=kind, is_true=is_true, reason=reason, message=message)
            (reckoned,) = conditions.dated([new], journal.conditions(), at)
            journal.set_conditions(CHECKOUT, [new], at)
            assert journal.conditions() == (reckoned,)


# --- metrics --------------------------------------------------------------------------------------------------------


def suspended(name: EnvironmentName | None, until: datetime | None) -> Memory:
    suspension = Suspension(environment=name, reason="sale", actor="ops", since=NOON - HOUR, until=until)
    return replace(memory(), suspensions=(suspension,))


def test_a_hold_is_a_gauge_for_as_long_as_it_holds_and_tells_since_when() -> None:
    metrics = Metrics()
    labels = {"environment": "checkout", "guard": "prune_environments"}
    held = made(EnvironmentPlan(name=CHECKOUT, blocked=(HELD,)))
    metrics.observe(held)
    assert value(metrics, "holds", **labels) == 1
    assert value(metrics, "hold_since_timestamp_seconds", **labels) == (NOON + SECOND).timestamp()
    assert value(metrics, "hold_until_timestamp_seconds", **labels) is None
    later = replace(held, started_at=NOON + HOUR, ended_at=NOON + HOUR)
    metrics.observe(later, said(later, said(held)))
    assert value(metrics, "hold_since_timestamp_seconds", **labels) == (NOON + SECOND).timestamp()
    metrics.observe(made(EnvironmentPlan(name=CHECKOUT)))
    assert value(metrics, "holds", **labels) is None
    assert value(metrics, "hold_since_timestamp_seconds", **labels) is None


def test_a_hold_that_ends_by_itself_tells_when() -> None:
    metrics = Metrics()
    metrics.observe(made(EnvironmentPlan(name=CHECKOUT, blocked=(grace(),))))
    until = value(metrics, "hold_until_timestamp_seconds", environment="checkout", guard="grace")
    assert until == (NOON + timedelta(minutes=5)).timestamp()


def test_a_hold_of_everything_bears_no_environment() -> None:
    metrics = Metrics()
    plan = EnvironmentPlan(name=CHECKOUT, blocked=(replace(CLAIMED, actions=(launch(),)),))
    metrics.observe(made(plan, blocked=[CLAIMED]))
    for name in ("", "checkout"):
        assert value(metrics, "hold_since_timestamp_seconds", environment=name, guard="not_owner") is not None


def test_a_pass_that_did_not_look_keeps_the_holds_that_were_shown() -> None:
    metrics = Metrics()
    metrics.observe(made(EnvironmentPlan(name=CHECKOUT, blocked=(HELD,)), EnvironmentPlan(name=PRODUCTION)))
    metrics.observe(made(is_planned=False))
    scope = Scope(environments=frozenset({PRODUCTION}), because="commit")
    metrics.observe(made(EnvironmentPlan(name=PRODUCTION), scope=scope))
    labels = {"environment": "checkout", "guard": "prune_environments"}
    assert value(metrics, "holds", **labels) == 1
    metrics.observe(made(EnvironmentPlan(name=CHECKOUT), scope=replace(scope, environments=frozenset({CHECKOUT}))))
    assert value(metrics, "holds", **labels) is None


@pytest.mark.parametrize(("name", "label"), [(CHECKOUT, "checkout"), (None, "")])
def test_a_suspension_tells_since_when_and_until_when_if_it_ends_by_itself(
    name: EnvironmentName | None, label: str
) -> None:
    metrics = Metrics()
    for until in (NOON + HOUR, None):
        metrics.observe(made(EnvironmentPlan(name=CHECKOUT), remembered=suspended(name, until)))
        since = value(metrics, "suspended_since_timestamp_seconds", environment=label)
        assert since == (NOON - HOUR).timestamp()
        expected = until.timestamp() if until else None
        assert value(metrics, "suspended_until_timestamp_seconds", environment=label) == expected
    metrics.observe(made(EnvironmentPlan(name=CHECKOUT)))
    assert value(metrics, "suspended_since_timestamp_seconds", environment=label) is None


def test_observe_mode_holds_without_an_end() -> None:
    metrics = Metrics()
    metrics.observe(made(EnvironmentPlan(name=CHECKOUT), blocked=[OBSERVING]))
    assert value(metrics, "holds", environment="", guard="observe_mode") == 1
