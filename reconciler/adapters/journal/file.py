"""The journal's file: where it may lie, how it is opened, and how an older one is brought up to date."""

import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, OperationalError
from sqlalchemy.pool import QueuePool

from reconciler.adapters.journal import tables
from reconciler.adapters.journal.migrations import Migration
from reconciler.errors import Conflict, Refused, SettingsError, Stalled, Transient

# How long a writer waits for another process's transaction. Ours last milliseconds; a backup tool's may last longer.
BUSY_TIMEOUT_S: Final = 10


def path_of(url: str) -> Path:
    """The file that a `state` setting names.

    Raises:
        SettingsError: it is not `sqlite:///PATH`, or the folder does not exist.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        parsed = None
    if parsed is None or parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        raise SettingsError((f'state: "{url}" names no file; write sqlite:////var/lib/hivequeen/state.db',))
    path = Path(parsed.database)
    if not path.parent.is_dir():
        raise SettingsError(
            (f"state: the folder {path.parent} does not exist; create it, owned by the user that runs hivequeen",)
        )
    return path


def open_for_writing(path: Path, *, new_id: Callable[[], str], migrations: Mapping[int, Migration]) -> Engine:
    """Create the file if need be (readable by its owner only), upgrade it, and make sure that it has an id.

    Raises:
        Stalled: the file cannot be written, is not a journal, or is newer than this program.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise Stalled(
            f"the state file {path} cannot be written: {error.strerror}",
            remedy=f"let the user that runs hivequeen read and write {path} and its folder",
        ) from error
    engine = _engine(path, read_only=False)
    try:
        with translated(path), engine.connect().execution_options(immediate=True) as connection, connection.begin():
            _upgrade(connection, path, new_id=new_id, migrations=migrations)
    except BaseException:
        engine.dispose()
        raise
    return engine


def open_for_reading(path: Path, *, migrations: Mapping[int, Migration]) -> Engine:
    """Open an existing file, whoever is writing it, and change nothing.

    Raises:
        Stalled: the file cannot be read, is not a journal, or is of another version.
    """
    engine = _engine(path, read_only=True)
    try:
        with translated(path), engine.connect() as connection:
            _check(path, _version(connection), newest=1 + len(migrations))
    except (Transient, Refused) as error:
        engine.dispose()
        raise Stalled(
            f"the state file {path} cannot be read: {error.message}",
            remedy="run this as root or as the user of the daemon, or ask the daemon through its control socket",
        ) from error
    except BaseException:
        engine.dispose()
        raise
    return engine


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLAlchemy's errors into ours."""
    try:
        yield
    except IntegrityError as error:
        raise Conflict(f"the journal holds another such record already: {error.orig}") from error
    except OperationalError as error:
        if "readonly" in str(error.orig):
            raise Refused(f"the state file {path} is open for reading only", code="readonly") from error
        raise Transient(
            f"the state file {path} cannot be used now: {error.orig}",
            remedy=f"look for a full disk, wrong permissions or a long lock on {path}",
        ) from error
    except DBAPIError as error:
        raise Stalled(
            f"the state file {path} is damaged or no journal: {error.orig}",
            remedy=f"restore {path} from a backup, or move it away and run `hivequeen claim --take-over`",
        ) from error


def _engine(path: Path, *, read_only: bool) -> Engine:
    target = f"file:{quote(str(path.absolute()))}?mode={'ro' if read_only else 'rw'}"

    def connect() -> sqlite3.Connection:
        # isolation_level=None: the driver starts no transactions of its own, so ours are exactly where we begin them.
        # One connection goes from thread to thread through the pool, never two at once.
        return sqlite3.connect(target, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)

    engine = create_engine("sqlite://", creator=connect, poolclass=QueuePool)

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: Any) -> None:
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")  # readers never wait for the writer
            connection.execute("PRAGMA synchronous = FULL")  # a commit is on the disk when it returns
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A writer takes its lock at once: one that upgraded a read lock later could fail for a reason nobody can retry.
        is_immediate = connection.get_execution_options().get("immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_immediate else "BEGIN")

    return engine


def _version(connection: Connection) -> int:
    return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())


def _check(path: Path, version: int, *, newest: int) -> None:
    if version > newest:
        raise Stalled(
            f"the state file {path} has version {version}, newer than the {newest} that this program knows",
            remedy="install the Hivequeen release that wrote it, or a later one: there is no downgrade",
        )
    if version < newest:
        raise Stalled(
            f"the state file {path} has version {version}, this program reads version {newest}",
            remedy="start the daemon of this version once: it upgrades the file",
        )


def _upgrade(
    connection: Connection, path: Path, *, new_id: Callable[[], str], migrations: Mapping[int, Migration]
) -> None:
    version, newest = _version(connection), 1 + len(migrations)
    if version == 0:
        if inspect(connection).get_table_names():
            raise Stalled(
                f"{path} is a SQLite file of something else", remedy="name another file with `state` in hivequeen.yml"
            )
        tables.metadata.create_all(connection)
        connection.execute(insert(tables.facts).values(name="installation", value=new_id()))
    else:
        for step in range(version, newest):
            migrations[step](connection)
    if version < newest:
        connection.exec_driver_sql(f"PRAGMA user_version = {newest}")
    _check(path, _version(connection), newest=newest)


def random_id() -> str:
    return secrets.token_hex(16)
