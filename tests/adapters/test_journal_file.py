"""The journal's file: who may read it, which versions open, and what a crash leaves of it."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection

from reconciler.adapters.journal import SqliteJournal
from reconciler.adapters.journal.migrations import MIGRATIONS, Migration
from reconciler.errors import Refused, SettingsError, Stalled
from reconciler.model.conditions import Event
from reconciler.model.facts import NodeSeen
from reconciler.model.names import InstanceId
from tests.adapters.journal_facts import FIRST, NOON, node

ROOT = Path(__file__).parents[2]
NEWEST = 1 + len(MIGRATIONS)


def url(folder: Path) -> str:
    return f"sqlite:///{folder}/state.db"


def test_only_the_owner_may_read_the_file(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with SqliteJournal(url(tmp_path)) as journal:
            journal.record(NOON, NodeSeen(record=node()))
            assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    finally:
        os.umask(before)


@pytest.mark.parametrize("wrong", ["postgresql://db/state", "sqlite://", "sqlite:///:memory:", "state.db", ""])
def test_a_url_that_names_no_sqlite_file_is_a_settings_error(wrong: str) -> None:
    with pytest.raises(SettingsError, match="names no file"):
        SqliteJournal(wrong)


def test_a_missing_folder_is_a_settings_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=f"{tmp_path}/none does not exist"):
        SqliteJournal(f"sqlite:///{tmp_path}/none/state.db")


def test_a_path_that_cannot_be_a_file_stalls(tmp_path: Path) -> None:
    (tmp_path / "state.db").mkdir()
    with pytest.raises(Stalled, match="cannot be written") as stalled:
        SqliteJournal(url(tmp_path))
    assert "state.db" in stalled.value.remedy


def test_the_installation_id_is_made_once(tmp_path: Path) -> None:
    ids = iter(["first", "second"])
    with SqliteJournal(url(tmp_path), new_id=lambda: next(ids)) as journal:
        assert journal.recall(NOON).installation == "first"
    with SqliteJournal(url(tmp_path), new_id=lambda: next(ids)) as journal:
        assert journal.recall(NOON).installation == "first"


def test_two_new_installations_never_share_an_id(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    with SqliteJournal(url(tmp_path)) as one, SqliteJournal(url(tmp_path / "b")) as other:
        assert one.recall(NOON).installation != other.recall(NOON).installation


def test_a_commit_is_on_the_disk_and_readers_do_not_block(tmp_path: Path) -> None:
    with SqliteJournal(url(tmp_path)) as journal, journal._read() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 10_000}


# --- versions -------------------------------------------------------------------------------------------------------


def version(folder: Path) -> int:
    connection = sqlite3.connect(folder / "state.db")
    try:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])
    finally:
        connection.close()


def newer(*steps: Migration) -> dict[int, Migration]:
    """Those of a later release."""
    return {**MIGRATIONS, **dict(enumerate(steps, NEWEST))}


def add_region(connection: Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE nodes ADD COLUMN region TEXT NOT NULL DEFAULT 'us-east-1'")


def add_zone(connection: Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE nodes ADD COLUMN zone TEXT NOT NULL DEFAULT 'a'")
    assert connection.exec_driver_sql("SELECT region FROM nodes").scalar_one() == "us-east-1"


def fail(connection: Connection) -> None:
    add_zone(connection)
    raise RuntimeError("the power went")


def test_an_older_file_is_upgraded_step_by_step_and_keeps_what_it_holds(tmp_path: Path) -> None:
    with SqliteJournal(url(tmp_path)) as journal:
        journal.record(NOON, NodeSeen(record=node()))
    assert version(tmp_path) == NEWEST
    with SqliteJournal(url(tmp_path), migrations=newer(add_region, add_zone)) as journal:
        assert journal.node(FIRST) == node()
    assert version(tmp_path) == NEWEST + 2
    with SqliteJournal(url(tmp_path), migrations=newer(fail, fail)):
        assert version(tmp_path) == NEWEST + 2


def test_an_upgrade_that_fails_leaves_the_old_version_whole(tmp_path: Path) -> None:
    with SqliteJournal(url(tmp_path)) as journal:
        journal.record(NOON, NodeSeen(record=node()))
    with pytest.raises(RuntimeError, match="the power went"):
        SqliteJournal(url(tmp_path), migrations=newer(add_region, fail))
    assert version(tmp_path) == NEWEST
    with SqliteJournal(url(tmp_path), migrations=newer(add_region, add_zone)) as journal:
        assert journal.node(FIRST) == node()


def test_a_newer_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    with SqliteJournal(url(tmp_path)):
        pass
    with SqliteJournal(url(tmp_path), migrations=newer(lambda connection: None)):
        pass
    for readonly in (False, True):
        with pytest.raises(Stalled, match=f"has version {NEWEST + 1}, newer than the {NEWEST}") as stalled:
            SqliteJournal(url(tmp_path), readonly=readonly)
        assert "no downgrade" in stalled.value.remedy
    assert version(tmp_path) == NEWEST + 1


def test_an_older_file_is_not_upgraded_by_a_reader(tmp_path: Path) -> None:
    with SqliteJournal(url(tmp_path)):
        pass
    with pytest.raises(Stalled, match=f"has version {NEWEST}, this program reads version {NEWEST + 1}") as stalled:
        SqliteJournal(url(tmp_path), readonly=True, migrations=newer(add_region))
    assert "start the daemon" in stalled.value.remedy
    assert version(tmp_path) == NEWEST


def test_somebody_elses_database_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "state.db")
    connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()
    with pytest.raises(Stalled, match="something else"):
        SqliteJournal(url(tmp_path))


def test_a_file_that_is_no_database_stalls_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"not a database at all" * 100)
    for readonly in (False, True):
        with pytest.raises(Stalled, match="damaged or no journal") as stalled:
            SqliteJournal(url(tmp_path), readonly=readonly)
        assert "hivequeen claim --take-over" in stalled.value.remedy


def test_a_path_that_cannot_be_read_stalls_a_reader(tmp_path: Path) -> None:
    (tmp_path / "state.db").mkdir()
    with pytest.raises(Stalled, match="cannot be read") as stalled:
        SqliteJournal.open_readonly(url(tmp_path))
    assert "user of the daemon" in stalled.value.remedy


# --- readers --------------------------------------------------------------------------------------------------------


def test_reading_a_missing_file_gives_none_and_makes_nothing(tmp_path: Path) -> None:
    assert SqliteJournal.open_readonly(url(tmp_path)) is None
    assert list(tmp_path.iterdir()) == []


def test_a_reader_sees_what_a_writing_daemon_has_committed_and_cannot_write(tmp_path: Path) -> None:
    with SqliteJournal(url(tmp_path)) as daemon:
        reader = SqliteJournal.open_readonly(url(tmp_path))
        assert reader is not None
        with reader:
            assert reader.recall(NOON).nodes == {}
            daemon.record(NOON, NodeSeen(record=node()))
            assert reader.recall(NOON) == daemon.recall(NOON)
            with pytest.raises(Refused, match="reading only"):
                reader.record(NOON, NodeSeen(record=node()))


def test_a_reader_neither_waits_for_nor_sees_an_unfinished_transaction(tmp_path: Path) -> None:
    with SqliteJournal(url(tmp_path)):
        writer = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM facts")
        reader = SqliteJournal.open_readonly(url(tmp_path))
        assert reader is not None
        with reader:
            assert reader.recall(NOON).installation
        writer.execute("ROLLBACK")
        writer.close()


def test_a_reader_works_after_the_daemon_has_stopped(tmp_path: Path) -> None:
    with SqliteJournal(url(tmp_path)) as daemon:
        daemon.record(NOON, NodeSeen(record=node()))
    reader = SqliteJournal.open_readonly(url(tmp_path))
    assert reader is not None
    with reader:
        assert reader.node(FIRST) == node()


# --- threads and crashes --------------------------------------------------------------------------------------------


def registered_at_once(journal: SqliteJournal, instance_id: InstanceId) -> list[str]:
    gate, answers = threading.Barrier(2), list[str]()

    def register(key: str) -> None:
        gate.wait(timeout=10)
        answers.append(journal.register(instance_id, key, NOON))

    threads = [threading.Thread(target=register, args=(key,)) for key in ("KEY A", "KEY B")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    return answers


def test_of_two_keys_registered_at_once_one_wins_and_both_learn_which(tmp_path: Path) -> None:
    with SqliteJournal(url(tmp_path)) as journal:
        for number in range(20):
            instance_id = InstanceId(f"i-{number:017x}")
            journal.record(NOON, NodeSeen(record=node(instance_id)))
            answers = registered_at_once(journal, instance_id)
            bound = journal.node(instance_id)
            assert bound is not None and answers == [bound.public_key, bound.public_key]


def test_registering_an_unknown_instance_is_a_key_error(tmp_path: Path) -> None:
    with SqliteJournal(url(tmp_path)) as journal, pytest.raises(KeyError):
        journal.register(FIRST, "KEY", NOON)


def test_many_threads_write_and_read_without_losing_anything(tmp_path: Path) -> None:
    with SqliteJournal(url(tmp_path)) as journal:

        def write(name: str) -> None:
            for number in range(25):
                journal.append(Event(at=NOON, kind="NodeReady", message=f"{name} {number}"))
                journal.recall(NOON)

        threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)
        assert len({event.message for event in journal.events(limit=1000)}) == 100


CHILD = """
import sys
from reconciler.adapters.journal import SqliteJournal
from reconciler.model.facts import NodeSeen
from reconciler.model.names import InstanceId
from tests.adapters.journal_facts import NOON, node

journal = SqliteJournal(sys.argv[1])
journal.record(NOON, NodeSeen(record=node()))
print("recorded", flush=True)
sys.stdin.read()
"""


def test_what_record_returned_for_survives_a_kill(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, url(tmp_path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "recorded\n"
        child.send_signal(signal.SIGKILL)
    with SqliteJournal(url(tmp_path)) as journal:
        assert journal.node(FIRST) == node()
