"""Events and conditions: what people are told later."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from reconciler.adapters.journal import SqliteJournal
from reconciler.model.conditions import Condition, ConditionType, Event
from reconciler.model.facts import TeardownEnded
from reconciler.model.names import EnvironmentName, NodeName, RevisionId
from reconciler.ports import EventLog
from tests.adapters.journal_facts import CHECKOUT, NOON

MINUTE = timedelta(minutes=1)
OTHER = EnvironmentName("production")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    with SqliteJournal(f"sqlite:///{tmp_path}/state.db", events_kept=10) as journal:
        yield journal


def event(message: str, environment: EnvironmentName | None = CHECKOUT) -> Event:
    return Event(at=NOON, kind="NodeReady", message=message, environment=environment)


def test_an_event_comes_back_whole(journal: SqliteJournal) -> None:
    whole = Event(
        at=NOON,
        kind="NodeTerminated",
        message="naïve ✓",
        environment=CHECKOUT,
        node=NodeName("checkout-web-1"),
        revision=RevisionId("a" * 40),
        actor="ops",
    )
    journal.append(whole)
    assert journal.events() == (whole,)


def test_the_newest_events_are_given_oldest_first(journal: SqliteJournal) -> None:
    journal.append(*(event(str(number)) for number in range(5)))
    assert [e.message for e in journal.events(limit=2)] == ["3", "4"]


def test_events_of_one_environment_leave_out_the_others_and_the_installations(journal: SqliteJournal) -> None:
    journal.append(event("mine"), event("theirs", OTHER), event("everyone's", None))
    assert [e.message for e in journal.events(CHECKOUT)] == ["mine"]
    assert [e.message for e in journal.events()] == ["mine", "theirs", "everyone's"]


def test_only_the_newest_events_are_kept(journal: SqliteJournal) -> None:
    for number in range(25):
        journal.append(event(str(number)))
    assert [e.message for e in journal.events(limit=100)] == [str(number) for number in range(15, 25)]


# --- following ------------------------------------------------------------------------------------------------------


def messages(log: EventLog, event_id: int, limit: int = 100) -> list[tuple[int, str]]:
    return [(number, event.message) for number, event in log.after(event_id, limit=limit)]


def test_whoever_follows_gets_each_event_once_and_in_order(journal: SqliteJournal) -> None:
    journal.append(event("a"), event("b", OTHER), event("c", None))
    assert messages(journal, 0, limit=2) == [(1, "a"), (2, "b")]
    assert messages(journal, 2) == [(3, "c")]
    assert messages(journal, 3) == []


def test_whoever_comes_late_follows_from_the_oldest_that_is_kept(journal: SqliteJournal) -> None:
    for number in range(25):
        journal.append(event(str(number)))
    assert messages(journal, 0, limit=1) == [(16, "15")]
    assert journal.newest() == 25


def test_ids_go_on_after_a_restart(tmp_path: Path) -> None:
    for expected in (1, 2):
        with SqliteJournal(f"sqlite:///{tmp_path}/state.db", events_kept=1) as journal:
            journal.append(event("again"))
            assert journal.newest() == expected


def test_a_cursor_is_kept_per_receiver_and_never_moves_back(tmp_path: Path, journal: SqliteJournal) -> None:
    assert (journal.newest(), journal.cursor("slack")) == (0, None)
    for event_id in (0, 7, 5):
        journal.keep_cursor("slack", event_id)
    journal.keep_cursor("pager", 3)
    with SqliteJournal(f"sqlite:///{tmp_path}/state.db") as other:
        assert (other.cursor("slack"), other.cursor("pager")) == (7, 3)


def test_a_receiver_that_was_left_out_for_a_while_begins_anew(journal: SqliteJournal) -> None:
    journal.keep_cursor("slack", 7)
    journal.keep_cursor("pager", 3)
    journal.forget_cursors(but=("pager",))
    assert (journal.cursor("slack"), journal.cursor("pager")) == (None, 3)


# --- conditions -----------------------------------------------------------------------------------------------------


def condition(
    kind: ConditionType, *, is_true: bool, reason: str, environment: EnvironmentName | None = CHECKOUT
) -> Condition:
    return Condition(environment=environment, type=kind, is_true=is_true, reason=reason, message=reason.lower())


def test_a_condition_keeps_its_since_until_its_truth_or_reason_changes(journal: SqliteJournal) -> None:
    waiting = condition(ConditionType.READY, is_true=False, reason="Converging")
    calm = condition(ConditionType.STALLED, is_true=False, reason="NothingStuck")
    assert len(journal.set_conditions(CHECKOUT, (waiting, calm), NOON)) == 2
    assert journal.set_conditions(CHECKOUT, (waiting, calm), NOON + MINUTE) == ()
    ready = condition(ConditionType.READY, is_true=True, reason="AllReady")
    changed = journal.set_conditions(CHECKOUT, (ready, calm), NOON + 2 * MINUTE)
    assert [(c.type, c.since) for c in changed] == [(ConditionType.READY, NOON + 2 * MINUTE)]
    assert [(c.type, c.since) for c in journal.conditions()] == [
        (ConditionType.READY, NOON + 2 * MINUTE),
        (ConditionType.STALLED, NOON),
    ]


def test_a_new_message_under_the_same_reason_is_no_change_but_is_shown(journal: SqliteJournal) -> None:
    first = condition(ConditionType.READY, is_true=False, reason="Converging")
    journal.set_conditions(CHECKOUT, (first,), NOON)
    second = Condition(
        environment=CHECKOUT, type=ConditionType.READY, is_true=False, reason="Converging", message="web 1 of 2 ready"
    )
    assert journal.set_conditions(CHECKOUT, (second,), NOON + MINUTE) == ()
    assert [(c.message, c.since) for c in journal.conditions()] == [("web 1 of 2 ready", NOON)]


def test_conditions_are_replaced_per_scope(journal: SqliteJournal) -> None:
    mine = condition(ConditionType.READY, is_true=True, reason="AllReady")
    everyones = condition(ConditionType.NOT_OWNER, is_true=True, reason="ClaimedByAnother", environment=None)
    journal.set_conditions(CHECKOUT, (mine,), NOON)
    journal.set_conditions(None, (everyones,), NOON)
    journal.set_conditions(CHECKOUT, (), NOON)
    assert [c.environment for c in journal.conditions()] == [None]


def test_a_forgotten_environment_leaves_its_events_and_no_conditions(journal: SqliteJournal) -> None:
    journal.append(event("torn down"))
    journal.set_conditions(CHECKOUT, (condition(ConditionType.READY, is_true=True, reason="AllReady"),), NOON)
    journal.record(NOON, TeardownEnded(environment=CHECKOUT))
    assert (len(journal.events(CHECKOUT)), journal.conditions()) == (1, ())
