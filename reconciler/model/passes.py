"""One pass as data: what woke it, what it saw, decided and did. The report is made from it, and nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from reconciler.model.actions import Action
from reconciler.model.commits import Commit
from reconciler.model.desired import Desired
from reconciler.model.facts import Fact
from reconciler.model.memory import Memory
from reconciler.model.names import EnvironmentName, RevisionId
from reconciler.model.observed import Observed
from reconciler.model.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which environments a pass is about. Only a name: it carries no state."""

    environments: frozenset[EnvironmentName] | None  # None: all, a full pass
    because: str  # "commit", "resync", "registration", "requested"… for people

    @property
    def is_full(self) -> bool:
        return self.environments is None

    def merge(self, other: "Scope") -> "Scope":
        """Both at once."""
        if self.environments is None or other.environments is None:
            return Scope(environments=None, because=self.because if self.environments is None else other.because)
        return Scope(environments=self.environments | other.environments, because=self.because)


class Result(StrEnum):
    """Of one action; the label `result` of hivequeen_actions_total."""

    DONE = "done"
    UNCHANGED = "unchanged"  # the world was so already
    REFUSED = "refused"  # certainly not done
    UNKNOWN = "unknown"  # may or may not have been done
    SKIPPED = "skipped"  # not tried, because something before it failed or the daemon stops


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    action: Action
    result: Result
    message: str = ""  # why not done; or what was: "i-0123…, i-0456…"
    remedy: str = ""
    needs_person: bool = False  # trying again changes nothing until somebody acts
    is_denied: bool = False  # a permission is missing: the installation's trouble, not only the environment's
    is_permanent: bool = False  # of a launch: EC2 will never carry it out as it is declared and permitted now


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A stage of the pass that failed as a whole: nothing was concluded from it."""

    stage: str  # "source", "observe", "claim", "converge"
    message: str
    remedy: str
    needs_person: bool
    environment: EnvironmentName | None = None  # None: the whole pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    scope: Scope
    started_at: datetime
    ended_at: datetime
    revision: RevisionId | None = None  # desired state came from it
    commit: Commit | None = None  # that revision's, where it could be read
    committed_at: datetime | None = None  # set in the pass that first accepts the revision
    desired: Desired | None = None
    observed: Observed | None = None
    memory: Memory | None = None  # as recalled for planning
    plan: Plan | None = None  # after the guards
    facts: tuple[Fact, ...] = ()  # what observing and planning concluded
    outcomes: tuple[Outcome, ...] = ()
    failures: tuple[Failure, ...] = ()
    requeue_after_s: float | None = field(default=None)
    awaited: frozenset[EnvironmentName] = frozenset()  # what a requeue should look at
    # When something of an environment comes due that only needs time: it is to be looked at then.
    due: Mapping[EnvironmentName, datetime] = field(default_factory=lambda: MappingProxyType({}))
