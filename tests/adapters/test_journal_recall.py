"""Recalling is cheap: a pass begins with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import event

from reconciler.adapters.journal import SqliteJournal
from reconciler.model.facts import IntentLaunched, IntentOpened, NodeReady, NodeSeen
from reconciler.model.names import InstanceId, IntentToken
from tests.adapters.journal_facts import FIRST, NOON, intent, node


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    with SqliteJournal(f"sqlite:///{tmp_path}/state.db") as journal:
        yield journal


@contextmanager
def statements(journal: SqliteJournal) -> Iterator[list[str]]:
    """Those that reach SQLite meanwhile."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    event.listen(journal._engine, "before_cursor_execute", note)
    yield seen
    event.remove(journal._engine, "before_cursor_execute", note)


def fill(journal: SqliteJournal, count: int) -> None:
    for number in range(count):
        token = IntentToken(f"token-{number}")
        instance_id = InstanceId(f"i-{number:017x}")
        journal.record(
            NOON, IntentOpened(intent=intent(token)), IntentLaunched(token=token, instance_ids=(instance_id,))
        )


def test_the_number_of_queries_does_not_grow_with_the_fleet(journal: SqliteJournal) -> None:
    with statements(journal) as none:
        journal.recall(NOON)
    fill(journal, 50)
    with statements(journal) as many:
        assert len(journal.recall(NOON).nodes) == 50
    assert len(none) == len(many) <= 20


def test_what_did_not_change_is_not_decoded_again_and_what_did_is(journal: SqliteJournal) -> None:
    fill(journal, 3)
    before = journal.recall(NOON)
    journal.record(NOON, NodeReady(instance_id=InstanceId("i-00000000000000001")))
    after = journal.recall(NOON)
    same = [instance_id for instance_id in before.nodes if after.nodes[instance_id] is before.nodes[instance_id]]
    assert len(same) == 2
    assert after.nodes[InstanceId("i-00000000000000001")].ready_at == NOON
    assert all(after.intents[token] is before.intents[token] for token in before.intents)


def test_what_another_process_wrote_is_recalled(tmp_path: Path, journal: SqliteJournal) -> None:
    journal.recall(NOON)
    with SqliteJournal(f"sqlite:///{tmp_path}/state.db") as other:
        other.record(NOON, NodeSeen(record=node(FIRST)))
    assert set(journal.recall(NOON).nodes) == {FIRST}


def test_a_memory_is_not_changed_by_what_is_recorded_later(journal: SqliteJournal) -> None:
    fill(journal, 1)
    before = journal.recall(NOON)
    fill_again = IntentLaunched(token=IntentToken("token-0"), instance_ids=(InstanceId("i-0000000000000000f"),))
    journal.record(NOON, fill_again)
    assert len(before.nodes) == 1 and len(journal.recall(NOON).nodes) == 2
