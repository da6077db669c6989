"""Facts: everything that is ever written to the journal. One call of `Journal.record` is one transaction."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import TypeAlias

from reconciler.model.memory import (
    Approval,
    Backoff,
    Cause,
    EndingCause,
    Exhausted,
    ExpiryNotice,
    Intent,
    IntentState,
    Item,
    NodeRecord,
    Pin,
    Suspension,
    Trouble,
)
from reconciler.model.names import EnvironmentName, InstanceId, IntentToken, RevisionId, RoleName


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionApplied:
    """Accepted as desired, before anything acts on it. Moving on uses up the approval of the revision before, if any.

    Of all that it declares the endings with cause REMOVED are forgotten, with their teardown and its items. One with
    cause EXPIRED stays, and its teardown goes on: only `EndingCancelled` ends it.
    """

    revision: RevisionId
    declared: frozenset[EnvironmentName]  # every name it holds, frozen ones included
    # Of those that can be read, whether they are protected; of frozen ones what was known stays.
    protection: Mapping[EnvironmentName, bool] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentOpened:
    """Written before the call; written again, with `attempted_at`, before a replay (it overwrites that one field)."""

    intent: Intent


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentLaunched:
    """The call answered, or a listing showed its instances. Also makes their node records (first sight = now)."""

    token: IntentToken
    instance_ids: tuple[InstanceId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentEnded:
    """REFUSED or CLOSED, and why. OPEN: its token cannot be used again, but what it launched may still show."""

    token: IntentToken
    state: IntentState
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSeen:
    """An owned instance was listed for the first time, or again after it was missing, odd or thought gone: clears the marks.

    `failed_at` becomes what the record says: it is cleared for one that has not failed after all.
    """

    record: NodeRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeMissing:
    """A complete listing lacked it. The first such moment is kept."""

    instance_id: InstanceId


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeOdd:
    """Sighted as unwanted or stopped; of one that its schedule let sleep, asked to start. The first such moment is kept."""

    instance_id: InstanceId


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFailed:
    """Past a deadline, or its first run failed. The first such moment is kept."""

    instance_id: InstanceId


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReady:
    instance_id: InstanceId


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeGone:
    """Seen terminated: its Chef objects may go now."""

    instance_id: InstanceId


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeForgotten:
    """Gone, and nothing of it is left in Chef."""

    instance_id: InstanceId


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationDeferred:
    """It asked to register and got a 503: its deadline counts from now."""

    instance_id: InstanceId


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstRunReported:
    instance_id: InstanceId
    ok: bool
    log: str  # the end of it, bounded


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminationAsked:
    """Recorded before the call, so that a crash cannot make the prune limit forget it."""

    instance_id: InstanceId
    environment: EnvironmentName
    cause: Cause


@dataclass(frozen=True, slots=True, kw_only=True)
class TeardownBegan:
    """Written before the first removal. The first such moment is kept until the teardown has ended."""

    environment: EnvironmentName
    revision: RevisionId


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentEnding:
    """It is to go: the grace period counts from now. The first such fact is kept until the ending is cancelled.

    One that is torn down because it EXPIRED and then loses its file keeps that ending: it is going already.
    """

    environment: EnvironmentName
    cause: EndingCause
    revision: RevisionId
    author: str
    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndingCancelled:
    """It was renewed: its ending is forgotten with its items, and so is the teardown, if that had begun."""

    environment: EnvironmentName


@dataclass(frozen=True, slots=True, kw_only=True)
class TeardownItems:
    """What a teardown found to remove, and what of it was seen gone now. The first sighting of each is kept.

    They belong to the ending: without one this changes nothing.
    """

    environment: EnvironmentName
    found: frozenset[Item] = frozenset()
    gone: frozenset[Item] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiryNoticed:
    """A notice was given before an environment expires. The newest replaces those before."""

    environment: EnvironmentName
    notice: ExpiryNotice


@dataclass(frozen=True, slots=True, kw_only=True)
class OrphanSighted:
    """A generated Chef object that nobody declares or remembers. The first sighting is kept."""

    item: Item


@dataclass(frozen=True, slots=True, kw_only=True)
class OrphanCleared:
    """It is gone, or wanted again."""

    item: Item


@dataclass(frozen=True, slots=True, kw_only=True)
class TeardownEnded:
    """Nothing of it is left: the environment is forgotten, with its ending, its notice and its items.

    Unless it EXPIRED and the applied revision still declares it. Then the environment, its ending with the items (the
    receipt) and its notice stay, so that it neither ends nor launches again, and only `teardown_began_at` is cleared,
    so that this is written once. `EndingCancelled` brings it back; once its file is gone, this fact forgets it.
    """

    environment: EnvironmentName


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleSettled:
    """Exactly this many nodes live, as declared."""

    environment: EnvironmentName
    role: RoleName
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePinned:
    """What the role's moving image is resolved to, until a commit changes it or somebody refreshes it."""

    environment: EnvironmentName
    role: RoleName
    pin: Pin


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleTroubled:
    trouble: Trouble


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleRecovered:
    environment: EnvironmentName
    role: RoleName


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferingExhausted:
    exhausted: Exhausted


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentFailed:
    backoff: Backoff


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentRecovered:
    """Ends its backoff."""

    environment: EnvironmentName


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspended:
    suspension: Suspension


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """Ends the suspension of exactly this environment (None: the one of everything), and its backoff (None: all).

    Its roles' troubles (None: everybody's) become `failed=frozenset(), is_halted=False, retry_at=None, since=now`: nodes
    that failed before that moment are replaced and do not count again.
    """

    environment: EnvironmentName | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    approval: Approval


@dataclass(frozen=True, slots=True, kw_only=True)
class TookOver:
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """A pass read everything in its scope; recorded about once a minute, so that a time without a daemon shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SightedAgain:
    """Reads work again after a time in which they failed, which postpones deadlines. The newest 100 such times are kept."""

    since: datetime | None = None  # when that time began; None: it is not known, and deadlines count from now


Fact: TypeAlias = (
    RevisionApplied
    | IntentOpened
    | IntentLaunched
    | IntentEnded
    | NodeSeen
    | NodeMissing
    | NodeOdd
    | NodeFailed
    | NodeReady
    | NodeGone
    | NodeForgotten
    | RegistrationDeferred
    | FirstRunReported
    | TerminationAsked
    | TeardownBegan
    | EnvironmentEnding
    | EndingCancelled
    | TeardownItems
    | ExpiryNoticed
    | OrphanSighted
    | OrphanCleared
    | TeardownEnded
    | RoleSettled
    | ImagePinned
    | RoleTroubled
    | RoleRecovered
    | OfferingExhausted
    | EnvironmentFailed
    | EnvironmentRecovered
    | Suspended
    | Resumed
    | Approved
    | TookOver
    | Looked
    | SightedAgain
)
