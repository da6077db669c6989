"""What holds something, as documents: who, why, since, until, and the command that lifts it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Final

from reconciler.model.actions import removal
from reconciler.model.conditions import Condition, ConditionType
from reconciler.model.desired import Json
from reconciler.model.memory import Approval, Ending, Item, ItemKind, KnownEnvironment, Memory, Suspension
from reconciler.model.names import EnvironmentName
from reconciler.model.plan import Blocked, Guard, Plan
from reconciler.report.documents import Document, moment

# The condition that is true for as long as the guard holds; of the others, Held.
_CONDITION: Final[Mapping[Guard, ConditionType]] = MappingProxyType(
    {
        Guard.OBSERVE_MODE: ConditionType.SUSPENDED,
        Guard.SUSPENDED: ConditionType.SUSPENDED,
        Guard.NOT_OWNER: ConditionType.NOT_OWNER,
        Guard.GRACE: ConditionType.ENDING,
    }
)


def held_since(guard: Guard, environment: EnvironmentName | None, conditions: Iterable[Condition]) -> datetime | None:
    """None where it is not known: no pass has told yet."""
    kind = _CONDITION.get(guard, ConditionType.HELD)
    if kind is ConditionType.NOT_OWNER and environment is not None:
        kind = ConditionType.SUSPENDED
    return next(
        (one.since for one in conditions if (one.environment, one.type) == (environment, kind) and one.is_true), None
    )


@dataclass(slots=True)
class _Shared:
    """One hold over some environments."""

    first: Blocked
    names: list[EnvironmentName] = field(default_factory=list)
    actors: set[str] = field(default_factory=set)
    removals: set[str] = field(default_factory=set)
    since: list[datetime] = field(default_factory=list)


def hold_documents(plan: Plan | None, conditions: Sequence[Condition]) -> list[Document]:
    """Every hold, those that no approval lifts included; one entry per digest, however many environments share it."""
    if plan is None:
        return []
    holds = dict[tuple[str, str, str], _Shared]()
    scoped: list[tuple[EnvironmentName | None, Blocked]] = [(None, one) for one in plan.blocked]
    scoped += [(environment.name, one) for environment in plan.environments for one in environment.blocked]
    for name, one in scoped:
        # What observe mode or a foreign claim holds in each environment is said once, for the installation.
        if name is not None and any(one.guard is general.guard and not one.digest for general in plan.blocked):
            continue
        shared = holds.setdefault((one.guard.value, one.digest, "" if one.digest else name or ""), _Shared(one))
        shared.names.extend([name] if name else [])
        shared.actors.update([one.actor] if one.actor else [])
        shared.removals.update(gone.target for gone in one.removals)
        shared.removals.update(gone.target for action in one.actions if (gone := removal(action)) is not None)
        since = held_since(one.guard, name, conditions)
        shared.since.extend([since] if since else [])
    return [_hold_document(shared) for shared in holds.values()]


def _hold_document(shared: _Shared) -> Document:
    one = shared.first
    return {
        "guard": one.guard.value,
        "environments": list[Json](sorted(shared.names)),
        "message": one.message,
        "actors": list[Json](sorted(shared.actors)),
        "since": moment(min(shared.since, default=None)),
        "until": moment(one.until),
        "digest": one.digest or None,
        "remedy": one.remedy,
        "removals": list[Json](sorted(shared.removals)),
    }


def suspension_document(suspension: Suspension) -> Document:
    return {
        "environment": suspension.environment,
        "reason": suspension.reason,
        "actor": suspension.actor,
        "since": moment(suspension.since),
        "until": moment(suspension.until),
        "remedy": suspension.remedy,
    }


def approval_document(approval: Approval) -> Document:
    """Of a revision of rewritten history there are no removals, and it concerns the whole installation."""
    return {
        "digest": approval.digest,
        "actor": approval.actor,
        "at": moment(approval.at),
        "expires_at": moment(approval.expires_at),
        "environments": list[Json](sorted({one.environment for one in approval.removals})),
        "removals": list[Json](sorted({one.target for one in approval.removals})),
    }


def claim_document(memory: Memory, conditions: Iterable[Condition]) -> Document:
    """Whose the fleet is, as far as the last pass that read the claim could tell."""
    said = next((one for one in conditions if one.environment is None and one.type is ConditionType.NOT_OWNER), None)
    return {
        "is_ours": None if said is None else not said.is_true,
        "message": said.message if said else "",
        "remedy": said.remedy if said else "",
        "since": moment(said.since if said else None),
        "taken_over_at": moment(memory.taken_over_at),
    }


def ending_document(ending: Ending, known: KnownEnvironment | None, grace: Blocked | None) -> Document:
    """Why and since when it is to go, until when it can be kept, and what of it was seen gone."""
    return {
        "cause": ending.cause.value,
        "why": ending.why,
        "at": moment(ending.at),
        "author": ending.author or None,
        "revision": ending.revision,
        "file": ending.file,
        "grace_until": moment(grace.until if grace else None),
        "remedy": grace.remedy if grace else None,
        "teardown_began_at": moment(known.teardown_began_at if known else None),
        "items": [
            {"kind": item.kind.value, "name": item.name, "gone_at": moment(gone_at)}
            for item, gone_at in in_order(ending.items)
        ],
    }


def in_order(items: Mapping[Item, datetime | None]) -> Sequence[tuple[Item, datetime | None]]:
    """In the order in which they go."""
    kinds = list(ItemKind)
    return sorted(items.items(), key=lambda one: (kinds.index(one[0].kind), one[0].name))
