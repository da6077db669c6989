"""Conditions and events: what people read when they ask how an environment is, and what happened to it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from reconciler.model.names import EnvironmentName, NodeName, RevisionId


class ConditionType(StrEnum):
    READY = "Ready"  # true: every declared node is ready and nothing is left to do
    RECONCILING = "Reconciling"  # something is being done or waited for
    STALLED = "Stalled"  # a person must act
    HELD = "Held"  # a guard blocks a removal, or policy growth; not every hold is lifted by an approval
    SUSPENDED = "Suspended"
    ENDING = "Ending"  # its file is gone or its lifetime over: it is to be torn down, or is being
    EXPIRED = "Expired"  # its lifetime is over: as long as its file is there, also when nothing else of it is left
    QUARANTINED = "Quarantined"  # a failed node is kept to be looked at
    STALE = "Stale"  # a node was ready, but Chef has not heard of it for long
    LOST = "Lost"  # an instance of ours lost its tag
    NOT_OWNER = "NotOwner"  # the claim is somebody else's: read-only
    DEGRADED = "Degraded"  # a read or write fails and is tried again by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One statement about an environment, or about the installation where `environment` is None."""

    environment: EnvironmentName | None
    type: ConditionType
    is_true: bool
    reason: str  # CamelCase, from a closed set per type
    message: str
    remedy: str = ""  # the command or edit that ends it
    revision: RevisionId | None = None
    since: datetime | None = None  # last change of is_true or reason; the journal fills it in


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened. `kind` is one of `model.event_kinds`."""

    at: datetime
    kind: str
    message: str
    environment: EnvironmentName | None = None
    node: NodeName | None = None
    revision: RevisionId | None = None
    actor: str = ""  # who asked for it, where a person did
