"""A clock that ran ahead and was put right. What it wrote would hold deadlines, grace and launches up until that day."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Column, Connection, delete, select, update

from reconciler.adapters.journal.tables import (
    Moment,
    approvals,
    exhausted,
    facts,
    metadata,
    nodes,
    notices,
    suspensions,
)
from reconciler.adapters.journal.writing import say

_SLEWED: Final = timedelta(seconds=5)  # as clocks are put right all the time
# Moments that may well lie ahead, and those that only tell what was, to people.
_KEPT: Final = frozenset({suspensions.c.until, notices.c.expires_at, nodes.c.launched_at, approvals.c.expires_at})
_HISTORY: Final = frozenset({"events", "conditions"})
_MOMENTS: Final[tuple[Column[datetime], ...]] = tuple(
    column
    for table in metadata.sorted_tables
    if table.name not in _HISTORY
    for column in table.columns
    if isinstance(column.type, Moment) and column not in _KEPT
)
_NAMED: Final = ("taken_over_at", "looked_at", "sighted_again_at")


def keep_time(connection: Connection, at: datetime) -> None:
    """Note how late it is. If it was later before, what has not come yet counts from now on, and pauses end."""
    latest = connection.execute(select(facts.c.value).where(facts.c.name == "latest_at")).scalar_one_or_none()
    if latest is not None and datetime.fromisoformat(latest) - at > _SLEWED:
        _put_right(connection, at)
    say(connection, "latest_at", at.isoformat())


def _put_right(connection: Connection, at: datetime) -> None:
    connection.execute(delete(approvals).where(approvals.c.at > at))  # they would live for longer than they were given
    connection.execute(delete(exhausted).where(exhausted.c.until > at))
    for column in _MOMENTS:
        connection.execute(update(column.table).where(column > at).values({column: at}))
    for name in _NAMED:
        connection.execute(
            update(facts).where(facts.c.name == name, facts.c.value > at.isoformat()).values(value=at.isoformat())
        )
