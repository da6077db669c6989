"""`SqliteJournal`: the ports `Journal` and `EventLog`, over one SQLite file."""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from types import TracebackType
from typing import Final, Self

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from reconciler.adapters.journal import file, rows, tables
from reconciler.adapters.journal.clock import keep_time
from reconciler.adapters.journal.migrations import MIGRATIONS, Migration
from reconciler.adapters.journal.recall import RAW_INTENTS, RAW_NODES, Recall
from reconciler.adapters.journal.record import drop_expired, record
from reconciler.model.conditions import Condition, Event
from reconciler.model.facts import Fact
from reconciler.model.memory import Intent, Memory, NodeRecord
from reconciler.model.names import EnvironmentName, InstanceId, IntentToken

# About a year of an ordinary installation, and some 10 MB: more is for the log collector.
EVENTS_KEPT: Final = 20_000
# Expired rows do no harm, recall() leaves them out; so they are dropped now and then, not at every write.
DROP_INTERVAL: Final = timedelta(minutes=5)


class SqliteJournal:
    """The journal in one SQLite file (WAL, synchronous=FULL). One writer at a time; readers wait for nobody.

    Args:
        url: `sqlite:////var/lib/hivequeen/state.db`; the folder must exist, the file is made with mode 0600.
        new_id: makes the installation id when the file is new.
        events_kept: the newest this many events stay.
        migrations: from version n to n + 1; a test puts its own here.
        readonly: change nothing, not even an older version; the file must exist.

    Raises:
        SettingsError: the url names no file, or the folder does not exist.
        Stalled: the file cannot be used: permissions, damage, or a newer version.
    """

    def __init__(
        self,
        url: str,
        *,
        new_id: Callable[[], str] = file.random_id,
        events_kept: int = EVENTS_KEPT,
        migrations: Mapping[int, Migration] = MIGRATIONS,
        readonly: bool = False,
    ) -> None:
        self._path = file.path_of(url)
        self._engine = (
            file.open_for_reading(self._path, migrations=migrations)
            if readonly
            else file.open_for_writing(self._path, new_id=new_id, migrations=migrations)
        )
        self._events_kept = events_kept
        self._recall = Recall()
        self._writing = threading.Lock()
        self._dropped_at: datetime | None = None

    @classmethod
    def open_readonly(cls, url: str) -> "SqliteJournal | None":
        """The same journal, whoever is writing it; None if there is no such file. Its writing methods raise `Refused`."""
        return cls(url, readonly=True) if file.path_of(url).exists() else None

    def close(self) -> None:
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        with file.translated(self._path), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        # The lock keeps our own threads in a fair queue; SQLite's lock, with its sleeping retries, is for other processes.
        with (
            self._writing,
            file.translated(self._path),
            self._engine.connect().execution_options(immediate=True) as connection,
            connection.begin(),
        ):
            yield connection

    # --- memory -----------------------------------------------------------------------------------------------------

    def recall(self, now: datetime) -> Memory:
        with self._read() as connection:
            return self._recall(connection, now)

    def record(self, at: datetime, *facts: Fact) -> None:
        if not facts:
            return
        with self._write() as connection:
            keep_time(connection, at)
            for fact in facts:
                record(connection, at, fact)
            if self._dropped_at is None or at - self._dropped_at >= DROP_INTERVAL:
                drop_expired(connection, at)
                self._dropped_at = at

    def register(self, instance_id: InstanceId, public_key: str, at: datetime) -> str:
        nodes = tables.nodes
        with self._write() as connection:
            connection.execute(
                update(nodes)
                .where(nodes.c.instance_id == instance_id, nodes.c.public_key.is_(None))
                .values(public_key=public_key, registered_at=at)
            )
            bound = connection.execute(
                select(nodes.c.public_key).where(nodes.c.instance_id == instance_id)
            ).scalar_one_or_none()
        if bound is None:
            raise KeyError(instance_id)
        return str(bound)

    def node(self, instance_id: InstanceId) -> NodeRecord | None:
        with self._read() as connection:
            row = connection.execute(RAW_NODES.where(tables.nodes.c.instance_id == instance_id)).first()
        return None if row is None else rows.node_record(row)

    def intent(self, token: IntentToken) -> Intent | None:
        with self._read() as connection:
            row = connection.execute(RAW_INTENTS.where(tables.intents.c.token == token)).first()
        return None if row is None else rows.intent(row)

    # --- history ----------------------------------------------------------------------------------------------------

    def append(self, *events: Event) -> None:
        if not events:
            return
        ids = tables.events.c.id
        with self._write() as connection:
            connection.execute(insert(tables.events), [rows.event_columns(event) for event in events])
            newest = connection.execute(select(func.max(ids))).scalar_one()
            connection.execute(delete(tables.events).where(ids <= newest - self._events_kept))

    def events(self, environment: EnvironmentName | None = None, *, limit: int = 100) -> Sequence[Event]:
        query = select(tables.events).order_by(tables.events.c.id.desc()).limit(limit)
        if environment is not None:
            query = query.where(tables.events.c.environment == environment)
        with self._read() as connection:
            found = connection.execute(query).all()
        return tuple(rows.event(row) for row in reversed(found))

    def after(self, event_id: int, *, limit: int) -> Sequence[tuple[int, Event]]:
        ids = tables.events.c.id
        query = select(tables.events).where(ids > event_id).order_by(ids).limit(limit)
        with self._read() as connection:
            return tuple((row.id, rows.event(row)) for row in connection.execute(query))

    def newest(self) -> int:
        with self._read() as connection:
            return connection.execute(select(func.max(tables.events.c.id))).scalar_one() or 0

    def cursor(self, receiver: str) -> int | None:
        query = select(tables.cursors.c.event_id).where(tables.cursors.c.receiver == receiver)
        with self._read() as connection:
            return connection.execute(query).scalar_one_or_none()

    def keep_cursor(self, receiver: str, event_id: int) -> None:
        kept = upsert(tables.cursors).values(receiver=receiver, event_id=event_id)
        is_further = kept.excluded.event_id > tables.cursors.c.event_id
        moved = {"event_id": kept.excluded.event_id}
        with self._write() as connection:
            connection.execute(kept.on_conflict_do_update(index_elements=["receiver"], set_=moved, where=is_further))

    def forget_cursors(self, *, but: Collection[str]) -> None:
        with self._write() as connection:
            connection.execute(delete(tables.cursors).where(tables.cursors.c.receiver.not_in(but)))

    def set_conditions(
        self, environment: EnvironmentName | None, conditions: Sequence[Condition], at: datetime
    ) -> Sequence[Condition]:
        table = tables.conditions
        is_ours = table.c.environment == rows.scope_key(environment)
        with self._write() as connection:
            before = {c.type: c for c in map(rows.condition, connection.execute(select(table).where(is_ours)))}
            after = tuple(_dated(condition, before.get(condition.type), at) for condition in conditions)
            connection.execute(delete(table).where(is_ours))
            if after:
                connection.execute(insert(table), [rows.condition_columns(condition) for condition in after])
        return tuple(condition for condition in after if not _is_same(condition, before.get(condition.type)))

    def conditions(self) -> Sequence[Condition]:
        query = select(tables.conditions).order_by(tables.conditions.c.environment, tables.conditions.c.type)
        with self._read() as connection:
            return tuple(rows.condition(row) for row in connection.execute(query))


def _is_same(condition: Condition, before: Condition | None) -> bool:
    return before is not None and (before.is_true, before.reason) == (condition.is_true, condition.reason)


def _dated(condition: Condition, before: Condition | None, at: datetime) -> Condition:
    return replace(condition, since=before.since if before is not None and _is_same(condition, before) else at)
