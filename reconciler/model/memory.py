"""What the journal remembers, as the planner reads it: whole, at the start of a pass (`Journal.recall`).

`model.facts` says what changes it. Losing the memory loses history, never nodes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

from reconciler.model import tags
from reconciler.model.names import (
    EnvironmentName,
    ImageId,
    InstallationId,
    InstanceId,
    IntentToken,
    NodeName,
    RevisionId,
    RoleName,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchParameters:
    """The exact parameters of one RunInstances call: a replay must not differ in a byte."""

    image: ImageId
    instance_type: str
    subnet: str
    count: int  # MinCount = MaxCount
    security_groups: tuple[str, ...]  # sorted ids
    instance_profile: str | None
    key_name: str | None
    root_volume_size_gib: int | None
    root_volume_type: str | None
    user_data: str  # rendered text, not base64
    tags: tuple[tuple[str, str], ...]  # sorted

    @property
    def fields(self) -> Mapping[str, str]:
        """By the names that drift uses."""
        return {
            "image": self.image,
            "security_groups": " ".join(sorted(self.security_groups)),
            "instance_profile": self.instance_profile or "",
            "instance_type": self.instance_type,
            "subnets": self.subnet,
            "user_data": dict(self.tags).get(tags.SPEC, ""),
        }


class IntentState(StrEnum):
    OPEN = "open"  # written, outcome unknown
    LAUNCHED = "launched"  # instance ids known
    REFUSED = "refused"  # EC2 said no for certain
    CLOSED = "closed"  # not wanted any more, and not seen in complete reads for five minutes


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """The durable record written before instances are created. Its token is the ClientToken."""

    token: IntentToken
    environment: EnvironmentName
    role: RoleName
    parameters: LaunchParameters
    opened_at: datetime
    attempted_at: datetime | None = None  # last call that carried the token; None: only the first, at `opened_at`
    state: IntentState = IntentState.OPEN
    instance_ids: tuple[InstanceId, ...] = ()
    # When it left OPEN; or, while it is OPEN, when EC2 said that it knows the token otherwise: it is not replayed then.
    settled_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRecord:
    """One instance that we launched or saw with our tag, until its Chef objects are gone."""

    instance_id: InstanceId
    environment: EnvironmentName
    role: RoleName
    name: NodeName
    intent: IntentToken | None
    launched_at: datetime
    seen_at: datetime  # first sight
    public_key: str | None = None  # PEM of the key that registered first
    registered_at: datetime | None = None
    deferred_at: datetime | None = None  # last 503 that we gave it: the deadline counts from here
    ready_at: datetime | None = None
    first_run_ok: bool | None = None  # as it reported; None: not yet
    first_run_log: str = ""  # the end of it
    missing_since: datetime | None = None  # not in complete listings since
    odd_since: datetime | None = None  # first sighting as unwanted or stopped
    failed_at: datetime | None = None  # first sighting as failed
    gone_at: datetime | None = None  # seen terminated


class Cause(StrEnum):
    """Why a node is terminated. The prune limit counts those that no commit asked for."""

    SCALE_DOWN = "scale_down"  # a commit lowered the count
    TEARDOWN = "teardown"  # a commit removed the environment or the role
    REPLACED = "replaced"  # drift that a commit caused
    NEVER_READY = "never_ready"  # failed before it was ever ready
    DRIFTED = "drifted"  # drift that no commit caused
    FAILED = "failed"  # had been ready, then failed or was stopped
    SURPLUS = "surplus"  # more live nodes than any commit asked for
    SWEEP = "sweep"  # owned by the fleet, wanted by nobody

    @property
    def is_counted(self) -> bool:
        return self in (Cause.DRIFTED, Cause.FAILED, Cause.SURPLUS, Cause.SWEEP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Termination:
    instance_id: InstanceId
    environment: EnvironmentName
    cause: Cause
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Removal:
    """One thing that a hold is about, free of revision, time and reason: its digest must not change with them."""

    environment: EnvironmentName
    action: str  # ActionName value
    role: str  # "" for what belongs to the environment itself
    target: str  # instance id, or Chef name
    change: str = ""  # "old → new" where there is one


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A person's yes to exactly these removals, or to one revision of rewritten history."""

    digest: str  # of the hold, or the revision
    removals: frozenset[Removal]  # empty for a revision
    actor: str
    at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspension:
    environment: EnvironmentName | None  # None: everything
    reason: str
    actor: str
    since: datetime
    until: datetime | None

    def is_in_force(self, now: datetime) -> bool:
        return self.until is None or self.until > now

    def __str__(self) -> str:
        end = f" until {self.until:%Y-%m-%d %H:%M} UTC" if self.until else ""
        return f"suspended by {self.actor}{end}: {self.reason or 'no reason given'}"

    @property
    def remedy(self) -> str:
        return f"hivequeen resume {self.environment or '--all'}"


def suspension_of(environment: EnvironmentName, suspensions: Iterable[Suspension], now: datetime) -> Suspension | None:
    """The one in force for it: its own before the one of everything."""
    in_force = {one.environment: one for one in suspensions if one.is_in_force(now)}
    return in_force.get(environment) or in_force.get(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Failures in a row of one role: launches refused, or nodes that never became ready."""

    environment: EnvironmentName
    role: RoleName
    content: str  # digest of the role's declared content when it failed: a commit that changes it starts afresh
    failed: frozenset[str]  # what failed in this streak: instance ids and intent tokens, so that none counts twice
    # Nothing launches until a commit touches the role, or `hivequeen resume`: a newcomer failed while nodes were being
    # replaced, or EC2 refused the launch for good.
    is_halted: bool
    message: str
    remedy: str
    since: datetime  # of this streak: only nodes launched after it count in it
    # The breaker is open: nothing launches before this moment, and from then on one node at a time, as a canary.
    retry_at: datetime | None = None

    @property
    def failures(self) -> int:
        return len(self.failed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    environment: EnvironmentName
    failures: int
    until: datetime
    message: str


class ItemKind(StrEnum):
    """What an environment is made of, in the order in which it goes."""

    INSTANCE = "instance"
    CHEF_NODE = "chef node"
    CHEF_CLIENT = "chef client"
    CHEF_ROLE = "chef role"
    CHEF_ENVIRONMENT = "chef environment"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Item:
    """One thing that we own, by the name under which EC2 or Chef knows it."""

    kind: ItemKind
    name: str


class EndingCause(StrEnum):
    REMOVED = "removed"  # a commit deleted its file
    EXPIRED = "expired"  # its lifetime is over


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Why and since when an environment is to go.

    For the grace period from `at` nothing is removed: a commit that restores the file, or renews it, cancels the ending
    with nothing lost.
    """

    cause: EndingCause
    at: datetime
    revision: RevisionId  # the commit that deleted the file, or the one that its lifetime counts from
    author: str  # of that commit; "" where it cannot be told
    file: str  # "environments.d/checkout.yml"
    # All that was there when the teardown began or was found later, and when each was seen gone: the receipt.
    items: Mapping[Item, datetime | None] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def why(self) -> str:
        """`jessica@example.com removed environments.d/checkout.yml`."""
        if self.cause is EndingCause.EXPIRED:
            return f"the lifetime that {self.file} gives it is over"
        return f"{self.author} removed {self.file}" if self.author else f"{self.file} was removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiryNotice:
    """The last notice that was given before an environment expires."""

    expires_at: datetime
    ahead: timedelta  # as in the settings: "1 day before"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownEnvironment:
    """An environment that some applied revision declared, until its teardown has ended."""

    name: EnvironmentName
    declared_by: RevisionId  # newest applied revision that declared it
    is_protected: bool = False  # as that revision said, whether it reached the resources or not
    ending: Ending | None = None
    notice: ExpiryNotice | None = None
    teardown_began_at: datetime | None = None  # with its first removal: from then on the ending waits for nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhausted:
    """An offering that had no capacity: skipped until then."""

    instance_type: str
    subnet: str
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """What a role's moving image was resolved to."""

    source: str  # as declared: "ssm:/golden/web"
    image: ImageId


@dataclass(frozen=True, slots=True, kw_only=True)
class Blindness:
    """A time in which nobody could see the fleet: reads failed, or no daemon ran."""

    began_at: datetime
    ended_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The journal's part of the world, at one moment. The default is an installation that remembers nothing."""

    installation: InstallationId
    applied: RevisionId | None = None
    taken_over_at: datetime | None = None
    looked_at: datetime | None = None  # the last complete look at the world, to the minute
    sighted_again_at: datetime | None = (
        None  # the first complete pass after a time of failed reads: deadlines count from here
    )
    blindnesses: tuple[Blindness, ...] = ()  # the newest, in the order in which they ended
    environments: Mapping[EnvironmentName, KnownEnvironment] = field(default_factory=lambda: MappingProxyType({}))
    nodes: Mapping[InstanceId, NodeRecord] = field(default_factory=lambda: MappingProxyType({}))
    intents: Mapping[IntentToken, Intent] = field(
        default_factory=lambda: MappingProxyType({})
    )  # open ones, and those of remembered nodes
    terminations: tuple[Termination, ...] = ()  # asked for in the last hour
    teardowns: Mapping[EnvironmentName, datetime] = field(
        default_factory=lambda: MappingProxyType({})
    )  # begun in the last hour
    approvals: tuple[Approval, ...] = ()  # unexpired
    suspensions: tuple[Suspension, ...] = ()  # in force
    troubles: Mapping[tuple[EnvironmentName, RoleName], Trouble] = field(default_factory=lambda: MappingProxyType({}))
    backoffs: Mapping[EnvironmentName, Backoff] = field(default_factory=lambda: MappingProxyType({}))
    exhausted: tuple[Exhausted, ...] = ()  # in force
    # Generated Chef objects that nobody declares or remembers, with the first sighting of each.
    orphans: Mapping[Item, datetime] = field(default_factory=lambda: MappingProxyType({}))
    settled: Mapping[tuple[EnvironmentName, RoleName], int] = field(
        default_factory=lambda: MappingProxyType({})
    )  # count that the role last held exactly
    # Of roles with a moving image. The Chef role shows the same; but there anybody may edit it.
    pins: Mapping[tuple[EnvironmentName, RoleName], Pin] = field(default_factory=lambda: MappingProxyType({}))
