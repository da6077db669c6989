"""From one version of the journal's file to the next.

Each step is written in SQL that never changes again: `tables` says what the newest version looks like, not what a step
made of an older one.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

from sqlalchemy import Connection

Migration: TypeAlias = Callable[[Connection], None]


def endings_and_orphans(connection: Connection) -> None:
    """1 → 2: why and since when an environment ends, what its teardown removes, failed nodes, breakers, Chef orphans; and
    how far each follower of the events has come.

    A teardown that had begun goes on. Whose commit it was is read from the history again.
    """
    for statement in _ENDINGS_AND_ORPHANS:
        connection.exec_driver_sql(statement)


_ENDINGS_AND_ORPHANS: Final = (
    """CREATE TABLE endings (
        environment VARCHAR NOT NULL,
        cause VARCHAR NOT NULL,
        at VARCHAR NOT NULL,
        revision VARCHAR NOT NULL,
        author TEXT NOT NULL,
        file TEXT NOT NULL,
        PRIMARY KEY (environment)
    )""",
    """CREATE TABLE ending_items (
        environment VARCHAR NOT NULL,
        kind VARCHAR NOT NULL,
        name VARCHAR NOT NULL,
        gone_at VARCHAR,
        PRIMARY KEY (environment, kind, name)
    )""",
    """CREATE TABLE notices (
        environment VARCHAR NOT NULL,
        expires_at VARCHAR NOT NULL,
        ahead_s FLOAT NOT NULL,
        PRIMARY KEY (environment)
    )""",
    """CREATE TABLE orphans (
        kind VARCHAR NOT NULL,
        name VARCHAR NOT NULL,
        sighted_at VARCHAR NOT NULL,
        PRIMARY KEY (kind, name)
    )""",
    """CREATE TABLE cursors (
        receiver VARCHAR NOT NULL,
        event_id INTEGER NOT NULL,
        PRIMARY KEY (receiver)
    )""",
    "ALTER TABLE nodes ADD COLUMN failed_at VARCHAR",
    "ALTER TABLE troubles ADD COLUMN retry_at VARCHAR",
    # Not DROP COLUMN, which SQLite knows only since 3.35.
    "ALTER TABLE environments RENAME TO environments_of_version_1",
    """CREATE TABLE environments (
        name VARCHAR NOT NULL,
        declared_by VARCHAR NOT NULL,
        is_protected BOOLEAN NOT NULL,
        teardown_began_at VARCHAR,
        PRIMARY KEY (name)
    )""",
    """INSERT INTO environments (name, declared_by, is_protected, teardown_began_at)
        SELECT name, declared_by, is_protected, teardown_began_at FROM environments_of_version_1""",
    "DROP TABLE environments_of_version_1",
)


def image_pins(connection: Connection) -> None:
    """2 → 3: what moving images are resolved to. Until a pass has noted it, the Chef roles tell."""
    connection.exec_driver_sql(
        """CREATE TABLE pins (
        environment VARCHAR NOT NULL,
        role VARCHAR NOT NULL,
        source TEXT NOT NULL,
        image VARCHAR NOT NULL,
        PRIMARY KEY (environment, role)
    )"""
    )


# By the version that a step starts from. A new file is made at the newest version and takes none of them.
MIGRATIONS: Final[Mapping[int, Migration]] = MappingProxyType({1: endings_and_orphans, 2: image_pins})
