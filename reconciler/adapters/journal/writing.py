"""The two statements that most facts come to."""

from collections.abc import Mapping

from sqlalchemy import Connection, Table
from sqlalchemy.dialects.sqlite import insert

from reconciler.adapters.journal.tables import facts


def put(connection: Connection, table: Table, key: Mapping[str, object], values: Mapping[str, object]) -> None:
    """Insert, or overwrite what stands under this key."""
    connection.execute(
        insert(table).values(**key, **values).on_conflict_do_update(index_elements=list(key), set_=dict(values))
    )


def put_first(connection: Connection, table: Table, key: Mapping[str, object], values: Mapping[str, object]) -> None:
    """Insert, or keep what stands under this key."""
    connection.execute(insert(table).values(**key, **values).on_conflict_do_nothing(index_elements=list(key)))


def say(connection: Connection, name: str, value: str) -> None:
    put(connection, facts, {"name": name}, {"value": value})
