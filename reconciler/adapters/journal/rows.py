"""Rows to values and back: the only place that knows both."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, TypeAlias

from sqlalchemy import Row

from reconciler.adapters.journal.tables import EVERYTHING
from reconciler.model.conditions import Condition, ConditionType, Event
from reconciler.model.memory import (
    Approval,
    Blindness,
    Ending,
    EndingCause,
    ExpiryNotice,
    Intent,
    IntentState,
    Item,
    ItemKind,
    LaunchParameters,
    NodeRecord,
    Removal,
    Suspension,
    Trouble,
)
from reconciler.model.names import EnvironmentName, ImageId, InstanceId, NodeName, RevisionId, RoleName

AnyRow: TypeAlias = Row[Any]


def scope_key(environment: EnvironmentName | None) -> str:
    return EVERYTHING if environment is None else environment


def scope(key: str) -> EnvironmentName | None:
    return None if key == EVERYTHING else EnvironmentName(key)


def moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def node_record(row: Sequence[Any]) -> NodeRecord:
    """Of a raw row of `nodes` in the order of its columns."""
    return NodeRecord(
        instance_id=row[0],
        environment=row[1],
        role=row[2],
        name=row[3],
        intent=row[4],
        launched_at=datetime.fromisoformat(row[5]),
        seen_at=datetime.fromisoformat(row[6]),
        public_key=row[7],
        registered_at=moment(row[8]),
        deferred_at=moment(row[9]),
        ready_at=moment(row[10]),
        first_run_ok=None if row[11] is None else bool(row[11]),
        first_run_log=row[12],
        missing_since=moment(row[13]),
        odd_since=moment(row[14]),
        failed_at=moment(row[15]),
        gone_at=moment(row[16]),
    )


def node_columns(record: NodeRecord) -> dict[str, object]:
    return {name: getattr(record, name) for name in NodeRecord.__slots__}


def ending(row: AnyRow, items: Mapping[Item, datetime | None]) -> Ending:
    return Ending(
        cause=EndingCause(row.cause),
        at=row.at,
        revision=RevisionId(row.revision),
        author=row.author,
        file=row.file,
        items=MappingProxyType(items),
    )


def notice(row: AnyRow) -> ExpiryNotice:
    return ExpiryNotice(expires_at=row.expires_at, ahead=timedelta(seconds=row.ahead_s))


def item(row: AnyRow) -> Item:
    return Item(kind=ItemKind(row.kind), name=row.name)


def item_key(item: Item) -> dict[str, str]:
    return {"kind": item.kind.value, "name": item.name}


def blindnesses(text: str | None) -> tuple[Blindness, ...]:
    found = json.loads(text) if text is not None else []
    return tuple(
        Blindness(began_at=datetime.fromisoformat(began), ended_at=datetime.fromisoformat(ended))
        for began, ended in found
    )


def blindnesses_text(blindnesses: Iterable[Blindness]) -> str:
    return json.dumps([[one.began_at.isoformat(), one.ended_at.isoformat()] for one in blindnesses])


def parameters_text(parameters: LaunchParameters) -> str:
    """As JSON, without the user-data, which has its own column."""
    fields = {name: getattr(parameters, name) for name in LaunchParameters.__slots__ if name != "user_data"}
    return json.dumps(fields, separators=(",", ":"), sort_keys=True)


def intent(row: Sequence[Any]) -> Intent:
    """Of a raw row of `intents` in the order of its columns."""
    token, environment, role, parameters, user_data, opened_at, attempted_at, state, ids, settled_at = row[:10]
    fields = json.loads(parameters)
    return Intent(
        token=token,
        environment=environment,
        role=role,
        parameters=LaunchParameters(
            image=ImageId(fields["image"]),
            instance_type=fields["instance_type"],
            subnet=fields["subnet"],
            count=fields["count"],
            security_groups=tuple(fields["security_groups"]),
            instance_profile=fields["instance_profile"],
            key_name=fields["key_name"],
            root_volume_size_gib=fields["root_volume_size_gib"],
            root_volume_type=fields["root_volume_type"],
            user_data=user_data,
            tags=tuple((key, value) for key, value in fields["tags"]),
        ),
        opened_at=datetime.fromisoformat(opened_at),
        attempted_at=moment(attempted_at),
        state=IntentState(state),
        instance_ids=instance_ids(ids),
        settled_at=moment(settled_at),
    )


def instance_ids(text: str) -> tuple[InstanceId, ...]:
    return tuple(json.loads(text))


def instance_ids_text(ids: Iterable[InstanceId]) -> str:
    return json.dumps(list(ids), separators=(",", ":"))


def trouble(row: AnyRow) -> Trouble:
    return Trouble(
        environment=EnvironmentName(row.environment),
        role=RoleName(row.role),
        content=row.content,
        failed=frozenset(json.loads(row.failed)),
        is_halted=row.is_halted,
        message=row.message,
        remedy=row.remedy,
        since=row.since,
        retry_at=row.retry_at,
    )


def trouble_columns(trouble: Trouble) -> dict[str, object]:
    """All but its key."""
    return {
        "content": trouble.content,
        "failed": failed_text(trouble.failed),
        "is_halted": trouble.is_halted,
        "message": trouble.message,
        "remedy": trouble.remedy,
        "since": trouble.since,
        "retry_at": trouble.retry_at,
    }


def failed_text(failed: Iterable[str]) -> str:
    return json.dumps(sorted(failed), separators=(",", ":"))


def approval(row: AnyRow) -> Approval:
    return Approval(
        digest=row.digest,
        removals=frozenset(
            Removal(environment=EnvironmentName(environment), action=action, role=role, target=target, change=change)
            for environment, action, role, target, change in json.loads(row.removals)
        ),
        actor=row.actor,
        at=row.at,
        expires_at=row.expires_at,
    )


def removals_text(removals: Iterable[Removal]) -> str:
    return json.dumps([[r.environment, r.action, r.role, r.target, r.change] for r in sorted(removals)])


def suspension(row: AnyRow) -> Suspension:
    return Suspension(
        environment=scope(row.environment), reason=row.reason, actor=row.actor, since=row.since, until=row.until
    )


def event(row: AnyRow) -> Event:
    return Event(
        at=row.at,
        kind=row.kind,
        message=row.message,
        environment=None if row.environment is None else EnvironmentName(row.environment),
        node=None if row.node is None else NodeName(row.node),
        revision=None if row.revision is None else RevisionId(row.revision),
        actor=row.actor,
    )


def event_columns(event: Event) -> dict[str, object]:
    return {name: getattr(event, name) for name in Event.__slots__}


def condition(row: AnyRow) -> Condition:
    return Condition(
        environment=scope(row.environment),
        type=ConditionType(row.type),
        is_true=row.is_true,
        reason=row.reason,
        message=row.message,
        remedy=row.remedy,
        revision=None if row.revision is None else RevisionId(row.revision),
        since=row.since,
    )


def condition_columns(condition: Condition) -> Mapping[str, object]:
    return {
        "environment": scope_key(condition.environment),
        "type": condition.type.value,
        "is_true": condition.is_true,
        "reason": condition.reason,
        "message": condition.message,
        "remedy": condition.remedy,
        "revision": condition.revision,
        "since": condition.since,
    }
