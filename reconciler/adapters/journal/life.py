"""Facts about whole environments: declared, ending, torn down, forgotten."""

from collections.abc import Collection
from datetime import datetime
from typing import TypeAlias, assert_never

from sqlalchemy import Connection, and_, delete, select, update

from reconciler.adapters.journal import rows
from reconciler.adapters.journal.tables import (
    approvals,
    backoffs,
    conditions,
    ending_items,
    endings,
    environments,
    facts,
    notices,
    pins,
    settled,
    teardowns,
    troubles,
)
from reconciler.adapters.journal.writing import put, put_first, say
from reconciler.model.facts import (
    EndingCancelled,
    EnvironmentEnding,
    ExpiryNoticed,
    RevisionApplied,
    TeardownBegan,
    TeardownEnded,
    TeardownItems,
)
from reconciler.model.memory import EndingCause
from reconciler.model.names import EnvironmentName, RevisionId

LifeFact: TypeAlias = (
    RevisionApplied
    | EnvironmentEnding
    | EndingCancelled
    | ExpiryNoticed
    | TeardownBegan
    | TeardownItems
    | TeardownEnded
)


def record_life(connection: Connection, at: datetime, fact: LifeFact) -> None:
    match fact:
        case RevisionApplied():
            _apply(connection, fact)
        case EnvironmentEnding():
            _end(connection, at, fact)
        case EndingCancelled(environment=name):
            _forget_endings(connection, [name])
        case ExpiryNoticed():
            _note(connection, fact)
        case TeardownBegan(environment=name, revision=revision):
            _begin_teardown(connection, at, name, revision)
        case TeardownItems():
            _list(connection, at, fact)
        case TeardownEnded(environment=name):
            _end_teardown(connection, name)
        case _ as unreachable:
            assert_never(unreachable)


def _apply(connection: Connection, fact: RevisionApplied) -> None:
    before = _applied(connection)
    say(connection, "applied", fact.revision)
    if before is not None and before != fact.revision:
        # Not sooner: until the claim says so too, the revision is approved and not yet applied everywhere.
        connection.execute(delete(approvals).where(approvals.c.digest == before))
    for name in sorted(fact.declared):
        known = {"is_protected": fact.protection[name]} if name in fact.protection else {}
        put(connection, environments, {"name": name}, {"declared_by": fact.revision, **known})
    # Declared again: what was being torn down is wanted after all, unless its time is over.
    expired = connection.execute(select(endings.c.environment).where(endings.c.cause == EndingCause.EXPIRED.value))
    _forget_endings(connection, fact.declared.difference(expired.scalars()))


def _end(connection: Connection, at: datetime, fact: EnvironmentEnding) -> None:
    _remember(connection, fact.environment, fact.revision)
    put_first(
        connection,
        endings,
        {"environment": fact.environment},
        {
            "cause": fact.cause.value,
            "at": at,
            "revision": fact.revision,
            "author": fact.author,
            "file": fact.file,
        },
    )


def _forget_endings(connection: Connection, names: Collection[EnvironmentName]) -> None:
    connection.execute(
        update(environments)
        .where(environments.c.name.in_(names), environments.c.teardown_began_at.is_not(None))
        .values(teardown_began_at=None)
    )
    for table in (endings, ending_items):
        connection.execute(delete(table).where(table.c.environment.in_(names)))


def _note(connection: Connection, fact: ExpiryNoticed) -> None:
    name, notice = fact.environment, fact.notice
    if connection.execute(select(environments.c.name).where(environments.c.name == name)).first() is None:
        return
    values = {"expires_at": notice.expires_at, "ahead_s": notice.ahead.total_seconds()}
    put(connection, notices, {"environment": name}, values)


def _begin_teardown(connection: Connection, at: datetime, name: EnvironmentName, revision: RevisionId) -> None:
    _remember(connection, name, revision)
    begun = connection.execute(
        update(environments)
        .where(environments.c.name == name, environments.c.teardown_began_at.is_(None))
        .values(teardown_began_at=at)
    )
    if begun.rowcount:
        put(connection, teardowns, {"environment": name}, {"at": at})


def _list(connection: Connection, at: datetime, fact: TeardownItems) -> None:
    is_ending = select(endings.c.environment).where(endings.c.environment == fact.environment)
    if connection.execute(is_ending).first() is None:
        return
    for item in sorted(fact.found | fact.gone):
        key = {"environment": fact.environment, **rows.item_key(item)}
        put_first(connection, ending_items, key, {"gone_at": None})
    is_ours = ending_items.c.environment == fact.environment
    for item in sorted(fact.gone):
        is_it = and_(is_ours, ending_items.c.kind == item.kind.value, ending_items.c.name == item.name)
        first = update(ending_items).where(is_it, ending_items.c.gone_at.is_(None))
        connection.execute(first.values(gone_at=at))


def _end_teardown(connection: Connection, name: EnvironmentName) -> None:
    """Forget it; but one whose time is over while its file is still there keeps its ending, or it would end for ever."""
    for table in (settled, pins, troubles, backoffs):
        connection.execute(delete(table).where(table.c.environment == name))
    if _is_expired_and_declared(connection, name):
        connection.execute(update(environments).where(environments.c.name == name).values(teardown_began_at=None))
        return
    connection.execute(delete(environments).where(environments.c.name == name))
    for table in (conditions, notices):
        connection.execute(delete(table).where(table.c.environment == name))
    _forget_endings(connection, [name])


def _is_expired_and_declared(connection: Connection, name: EnvironmentName) -> bool:
    declared = select(environments.c.name).where(
        environments.c.name == name, environments.c.declared_by == _applied(connection)
    )
    expired = declared.join(endings, endings.c.environment == environments.c.name).where(
        endings.c.cause == EndingCause.EXPIRED.value
    )
    return connection.execute(expired).first() is not None


def _applied(connection: Connection) -> str | None:
    return connection.execute(select(facts.c.value).where(facts.c.name == "applied")).scalar()


def _remember(connection: Connection, name: EnvironmentName, revision: RevisionId) -> None:
    """A journal that never knew it (taken over, say) knows it from here, so that it ends only once."""
    put_first(connection, environments, {"name": name}, {"declared_by": revision})
