"""Reading the memory back, whole: one query per table, in one snapshot."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import Connection, Executable, String, or_, select, type_coerce

from reconciler.adapters.journal import rows
from reconciler.adapters.journal.tables import (
    approvals,
    backoffs,
    ending_items,
    endings,
    environments,
    exhausted,
    facts,
    intents,
    nodes,
    notices,
    orphans,
    pins,
    settled,
    suspensions,
    teardowns,
    terminations,
    troubles,
)
from reconciler.model.memory import (
    Approval,
    Backoff,
    Cause,
    Ending,
    Exhausted,
    Intent,
    IntentState,
    Item,
    KnownEnvironment,
    Memory,
    NodeRecord,
    Pin,
    Suspension,
    Termination,
    Trouble,
)
from reconciler.model.names import (
    EnvironmentName,
    ImageId,
    InstallationId,
    InstanceId,
    IntentToken,
    RevisionId,
    RoleName,
)

Value = TypeVar("Value")

# Uncoerced: a row is compared as SQLite gives it, and decoded only if it is new.
RAW_NODES: Final = select(*(type_coerce(column, String) for column in nodes.c))
RAW_INTENTS: Final = select(*(type_coerce(column, String) for column in intents.c))

ROLLING_HOUR: Final = timedelta(hours=1)  # of the prune limits (DESIGN §6)


class Recall:
    """Reads the memory. Keeps what each node's and intent's row came to: between two passes hardly one changes, and
    decoding them is nine tenths of the work."""

    def __init__(self) -> None:
        self._nodes = _Decoded(rows.node_record)
        self._intents = _Decoded(rows.intent)

    def __call__(self, connection: Connection, now: datetime) -> Memory:
        remembered = select(nodes.c.intent).where(nodes.c.intent.is_not(None))
        is_wanted = or_(intents.c.state == IntentState.OPEN.value, intents.c.token.in_(remembered))
        return _memory(
            connection,
            now,
            nodes=self._nodes(connection, RAW_NODES),
            intents=self._intents(connection, RAW_INTENTS.where(is_wanted)),
        )


class _Decoded(Generic[Value]):
    def __init__(self, decode: Callable[[Sequence[Any]], Value]) -> None:
        self._decode = decode
        self._known: dict[Any, tuple[tuple[Any, ...], Value]] = {}

    def __call__(self, connection: Connection, query: Executable) -> Mapping[Any, Value]:
        known, fresh = self._known, {}
        for row in connection.execute(query):
            raw = tuple(row)
            before = known.get(raw[0])
            fresh[raw[0]] = before if before is not None and before[0] == raw else (raw, self._decode(raw))
        self._known = fresh  # replaced, never changed: two threads may read at once
        return MappingProxyType({key: value for key, (_, value) in fresh.items()})


def _memory(
    connection: Connection,
    now: datetime,
    *,
    nodes: Mapping[InstanceId, NodeRecord],
    intents: Mapping[IntentToken, Intent],
) -> Memory:
    said = {row.name: row.value for row in connection.execute(select(facts))}
    return Memory(
        installation=InstallationId(said["installation"]),
        applied=RevisionId(said["applied"]) if "applied" in said else None,
        taken_over_at=rows.moment(said.get("taken_over_at")),
        looked_at=rows.moment(said.get("looked_at")),
        sighted_again_at=rows.moment(said.get("sighted_again_at")),
        blindnesses=rows.blindnesses(said.get("blindnesses")),
        environments=_environments(connection),
        nodes=nodes,
        intents=intents,
        terminations=_terminations(connection, now),
        teardowns=_teardowns(connection, now),
        approvals=_approvals(connection, now),
        suspensions=_suspensions(connection, now),
        troubles=_troubles(connection),
        backoffs=_backoffs(connection),
        exhausted=_exhausted(connection, now),
        orphans=_orphans(connection),
        settled=_settled(connection),
        pins=_pins(connection),
    )


def _environments(connection: Connection) -> Mapping[EnvironmentName, KnownEnvironment]:
    ending_of = _endings(connection)
    notice_of = {row.environment: rows.notice(row) for row in connection.execute(select(notices))}
    return MappingProxyType(
        {
            EnvironmentName(row.name): KnownEnvironment(
                name=EnvironmentName(row.name),
                declared_by=RevisionId(row.declared_by),
                is_protected=row.is_protected,
                ending=ending_of.get(row.name),
                notice=notice_of.get(row.name),
                teardown_began_at=row.teardown_began_at,
            )
            for row in connection.execute(select(environments))
        }
    )


def _endings(connection: Connection) -> Mapping[str, Ending]:
    items: defaultdict[str, dict[Item, datetime | None]] = defaultdict(dict)
    for row in connection.execute(select(ending_items)):
        items[row.environment][rows.item(row)] = row.gone_at
    return {row.environment: rows.ending(row, items[row.environment]) for row in connection.execute(select(endings))}


def _terminations(connection: Connection, now: datetime) -> tuple[Termination, ...]:
    found = connection.execute(
        select(terminations)
        .where(terminations.c.at > now - ROLLING_HOUR)
        .order_by(terminations.c.at, terminations.c.instance_id)
    )
    return tuple(
        Termination(
            instance_id=InstanceId(row.instance_id),
            environment=EnvironmentName(row.environment),
            cause=Cause(row.cause),
            at=row.at,
        )
        for row in found
    )


def _teardowns(connection: Connection, now: datetime) -> Mapping[EnvironmentName, datetime]:
    found = connection.execute(select(teardowns).where(teardowns.c.at > now - ROLLING_HOUR))
    return MappingProxyType({EnvironmentName(row.environment): row.at for row in found})


def _approvals(connection: Connection, now: datetime) -> tuple[Approval, ...]:
    found = connection.execute(
        select(approvals).where(approvals.c.expires_at > now).order_by(approvals.c.at, approvals.c.digest)
    )
    return tuple(rows.approval(row) for row in found)


def _suspensions(connection: Connection, now: datetime) -> tuple[Suspension, ...]:
    in_force = or_(suspensions.c.until.is_(None), suspensions.c.until > now)
    found = connection.execute(select(suspensions).where(in_force).order_by(suspensions.c.environment))
    return tuple(rows.suspension(row) for row in found)


def _troubles(connection: Connection) -> Mapping[tuple[EnvironmentName, RoleName], Trouble]:
    found = map(rows.trouble, connection.execute(select(troubles)))
    return MappingProxyType({(trouble.environment, trouble.role): trouble for trouble in found})


def _backoffs(connection: Connection) -> Mapping[EnvironmentName, Backoff]:
    """Past ones too: the number of failures makes the next one longer, until a success ends it."""
    return MappingProxyType(
        {
            EnvironmentName(row.environment): Backoff(
                environment=EnvironmentName(row.environment),
                failures=row.failures,
                until=row.until,
                message=row.message,
            )
            for row in connection.execute(select(backoffs))
        }
    )


def _exhausted(connection: Connection, now: datetime) -> tuple[Exhausted, ...]:
    found = connection.execute(
        select(exhausted).where(exhausted.c.until > now).order_by(exhausted.c.instance_type, exhausted.c.subnet)
    )
    return tuple(Exhausted(instance_type=row.instance_type, subnet=row.subnet, until=row.until) for row in found)


def _orphans(connection: Connection) -> Mapping[Item, datetime]:
    return MappingProxyType({rows.item(row): row.sighted_at for row in connection.execute(select(orphans))})


def _settled(connection: Connection) -> Mapping[tuple[EnvironmentName, RoleName], int]:
    found = connection.execute(select(settled.c.environment, settled.c.role, settled.c.count.label("nodes")))
    return MappingProxyType({(EnvironmentName(row.environment), RoleName(row.role)): row.nodes for row in found})


def _pins(connection: Connection) -> Mapping[tuple[EnvironmentName, RoleName], Pin]:
    return MappingProxyType(
        {
            (EnvironmentName(row.environment), RoleName(row.role)): Pin(source=row.source, image=ImageId(row.image))
            for row in connection.execute(select(pins))
        }
    )
