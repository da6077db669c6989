"""The truth of a simulated world: every machine there ever was, and every revision that was followed, with when and why.

Kept by looking at what the fakes really did. Nothing in it comes from what a daemon believes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from reconciler.model.memory import LaunchParameters, Removal
from reconciler.model.names import InstanceId, RevisionId
from tests.simulation.specs import Declared, Files, Frozen, declared


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
    revisions: dict[RevisionId, Files] = field(default_factory=dict)
    parents: dict[RevisionId, RevisionId | None] = field(default_factory=dict)
    applied: RevisionId | None = None  # by whichever daemon owns the fleet
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
    _read: dict[RevisionId, Mapping[str, Declared | Frozen]] = field(default_factory=dict)

    def desired_at(self, revision: RevisionId | None) -> Mapping[str, Declared | Frozen]:
        if revision is None:
            return {}
        if revision not in self._read:
            self._read[revision] = declared(self.revisions[revision])
        return self._read[revision]

    @property
    def desired(self) -> Mapping[str, Declared | Frozen]:
        """By the applied revision."""
        return self.desired_at(self.applied)

    def apply(self, revision: RevisionId, at: datetime, installation: str) -> None:
        """A daemon accepted it as desired."""
        before = self.desired
        self.applied = self.told[installation] = revision
        for name, wanted in self.desired.items():
            self.ending_since.pop(name, None)
            self.under_way.discard(name)
            if isinstance(wanted, Declared):
                self.protected[name] = wanted.protected
                for role, shape in wanted.roles.items():
                    key = (name, role)
                    self.declared_before[key] = max(shape.count, self.declared_before.get(key, 0))
        for name in set(before) - set(self.desired):
            self.ending_since.setdefault(name, at)

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
