"""The truth of a simulated world: every machine there ever was, and every revision that was followed, with when and why.

Kept by looking at what the fakes really did. Nothing in it comes from what a daemon believes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from reconciler.model.facts import EndingCancelled, EnvironmentEnding, Fact, RevisionApplied
from reconciler.model.memory import EndingCause, LaunchParameters, Removal
from reconciler.model.names import InstanceId, RevisionId
from tests.simulation.specs import Declared, Files, Frozen, declared, paths


@dataclass(slots=True, kw_only=True)
class Machine:
    """One instance, as the simulation knows it."""

    instance_id: InstanceId
    environment: str
    role: str
    token: str | None
    parameters: LaunchParameters
    launched_at: datetime
    is_ours: bool  # a daemon launched it; else somebody did by hand
    ready_at: datetime | None = None  # first successful Chef run
    reported_failure: bool = False
    stopped_at: datetime | None = None
    ended_at: datetime | None = None  # when its termination began
    was_retagged: bool = False  # by hand
    never_boots: bool = False
    given: dict[str, str] = field(default_factory=dict)  # what it was told when it registered

    def is_of(self, environment: str, role: str) -> bool:
        return (self.environment, self.role) == (environment, role)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """One termination that took effect."""

    at: datetime
    instance_id: InstanceId
    environment: str
    counts: bool  # no commit asked for it
    is_approved: bool


@dataclass(slots=True)
class Ledger:
    machines: dict[InstanceId, Machine] = field(default_factory=dict)
    default_ttl_h: int = 0
    has_policy: bool = False
    tip: RevisionId | None = None  # upstream
    committed_at: dict[RevisionId, datetime] = field(default_factory=dict)
    was_over: set[str] = field(default_factory=set)  # when its file went
    over: dict[str, datetime] = field(default_factory=dict)  # a daemon noted that their time is over
    allowed_before: dict[tuple[str, str], int] = field(default_factory=dict)  # the most asked for within the policy
    revisions: dict[RevisionId, Files] = field(default_factory=dict)
    parents: dict[RevisionId, RevisionId | None] = field(default_factory=dict)
    applied: RevisionId | None = None  # by whichever daemon owns the fleet
    applied_at: datetime | None = None
    told: dict[str, RevisionId] = field(default_factory=dict)  # by installation: what its journal says was applied
    hidden_since: dict[InstanceId, datetime] = field(default_factory=dict)  # EC2 denies that it exists
    declared_before: dict[tuple[str, str], int] = field(default_factory=dict)  # the most that was ever asked for
    protected: dict[str, bool] = field(default_factory=dict)  # as the last applied revision that declared it said
    ending_since: dict[str, datetime] = field(default_factory=dict)  # applied without it
    begun: list[tuple[datetime, str]] = field(default_factory=list)  # teardowns, with their first removal
    under_way: set[str] = field(default_factory=set)
    ended: list[Ended] = field(default_factory=list)
    approvals: list[tuple[datetime, frozenset[Removal]]] = field(default_factory=list)
    approved_revisions: set[str] = field(default_factory=set)
    tokens: dict[str, set[InstanceId]] = field(default_factory=dict)
    made_by_hand: dict[tuple[str, str], datetime] = field(default_factory=dict)  # (kind, name) in Chef
    retagged_at: dict[InstanceId, datetime] = field(default_factory=dict)  # whose it is
    moved_at: dict[InstanceId, datetime] = field(default_factory=dict)  # to which environment or role it belongs
    slack: timedelta = timedelta(0)  # how old an answer of EC2 may be
    _expiries: dict[RevisionId, Mapping[str, datetime | None]] = field(default_factory=dict)
    _read: dict[RevisionId, Mapping[str, Declared | Frozen]] = field(default_factory=dict)

    def desired_at(self, revision: RevisionId | None) -> Mapping[str, Declared | Frozen]:
        if revision is None:
            return {}
        if revision not in self._read:
            self._read[revision] = declared(self.revisions[revision])
        return self._read[revision]

    def know(self, revision: RevisionId, files: Files, *, at: datetime, parent: RevisionId | None) -> None:
        """Somebody pushed it."""
        self.revisions[revision] = dict(files)
        self.parents[revision], self.committed_at[revision], self.tip = parent, at, revision

    def expiries(self, revision: RevisionId) -> Mapping[str, datetime | None]:
        """Of every name that it says something about."""
        if revision not in self._expiries:
            self._expiries[revision] = {name: self._expires_at(revision, name) for name in self.desired_at(revision)}
        return self._expiries[revision]

    def _expires_at(self, revision: RevisionId, name: str) -> datetime | None:
        """By what the file says, and by the newest commit that touched it; what is protected lives for ever."""
        wanted = self.desired_at(revision).get(name)
        if not isinstance(wanted, Declared) or wanted.protected:
            return None
        ttl_h = wanted.ttl_h or (0 if wanted.expires else self.default_ttl_h)
        moments = [wanted.expires] if wanted.expires else []
        if ttl_h:
            moments.append(self._touched_at(revision, wanted.path) + timedelta(hours=ttl_h))
        return min(moments, default=None)

    def _touched_at(self, revision: RevisionId, path: str) -> datetime:
        content, at = paths(self.revisions[revision])[path], revision
        while (parent := self.parents[at]) is not None and paths(self.revisions[parent]).get(path) == content:
            at = parent
        return self.committed_at[at]

    def living_at(self, revision: RevisionId | None, now: datetime) -> Mapping[str, Declared | Frozen]:
        """What a revision declares, without that whose time is over."""
        if revision is None:
            return {}
        moments = self.expiries(revision)
        return {
            name: wanted
            for name, wanted in self.desired_at(revision).items()
            if (moment := moments[name]) is None or moment > now
        }

    def note(self, fact: Fact, at: datetime, installation: str) -> None:
        """What a daemon made durable."""
        match fact:
            case RevisionApplied(revision=revision):
                self.apply(revision, at, installation)
            case EnvironmentEnding(environment=name, cause=EndingCause.EXPIRED):
                self.over.setdefault(name, at)
            case EndingCancelled(environment=name):  # renewed, or protected by a tag
                self.over.pop(name, None)

    def ends_since(self, name: str) -> datetime | None:
        """When it became known that it is to go: without its file, or with its time over."""
        return self.over.get(name) if name in self.desired else self.ending_since.get(name)

    @property
    def desired(self) -> Mapping[str, Declared | Frozen]:
        """By the applied revision, whether its time is over or not."""
        return self.desired_at(self.applied)

    def apply(self, revision: RevisionId, at: datetime, installation: str) -> None:
        """A daemon accepted it as desired."""
        before = self.desired
        living = self.living_at(revision, at)
        self.applied = self.told[installation] = revision
        self.applied_at = at
        for name, wanted in self.desired.items():
            ending_since = self.ending_since.pop(name, None)
            if name in self.was_over and name not in living and ending_since is not None:
                self.over[name] = ending_since  # it came back, and its time is still over
            self.was_over.discard(name)
            if isinstance(living.get(name), Declared):  # while it is frozen its end goes neither on nor back
                self.over.pop(name, None)
                self.under_way.discard(name)
            if isinstance(wanted, Declared):
                self.protected[name] = wanted.protected
                for role, shape in wanted.roles.items():
                    key = (name, role)
                    self.declared_before[key] = max(shape.count, self.declared_before.get(key, 0))
                    if not self.is_against_policy(wanted):
                        self.allowed_before[key] = max(shape.count, self.allowed_before.get(key, 0))
        for name in set(before) - set(self.desired):
            self.was_over |= {name} & self.over.keys()
            self.ending_since.setdefault(name, self.over.pop(name, at))  # its time may have been over before

    def is_against_policy(self, wanted: Declared) -> bool:
        return self.has_policy and wanted.is_against_policy

    def descends(self, revision: RevisionId, ancestor: RevisionId) -> bool:
        at: RevisionId | None = revision
        while at is not None:
            if at == ancestor:
                return True
            at = self.parents[at]
        return False

    def is_approved(self, removals: frozenset[Removal], at: datetime) -> bool:
        day = timedelta(hours=24)
        return any(removals <= approved and given > at - day for given, approved in self.approvals)

    def of_role(self, environment: str, role: str) -> Sequence[Machine]:
        """Those that live, whoever launched them."""
        return [one for one in self.machines.values() if one.ended_at is None and one.is_of(environment, role)]

    def seen_of_role(self, environment: str, role: str, at: datetime) -> Sequence[Machine]:
        """With those that an old answer may still show."""
        return [
            one
            for one in self.machines.values()
            if one.is_of(environment, role)
            and (one.ended_at is None or at - one.ended_at < self.slack or one.instance_id in self.hidden_since)
        ]
