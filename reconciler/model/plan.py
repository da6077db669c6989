"""A plan is data: what would be done now, what a guard holds back, and what is merely awaited."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from reconciler.model.actions import Action
from reconciler.model.facts import Fact
from reconciler.model.memory import Ending, Removal
from reconciler.model.names import EnvironmentName, InstanceId, RevisionId


class Guard(StrEnum):
    """The rules that block. Each has its own way out, said in `Blocked.remedy`."""

    OBSERVE_MODE = "observe_mode"  # settings say: write nothing
    NOT_OWNER = "not_owner"  # the claim is somebody else's
    TAKE_OVER = "take_over"  # recently taken over: no launch for five minutes, removals need approval
    SUSPENDED = "suspended"
    HISTORY = "history"  # the newest revision does not descend from the applied one
    EMPTY_REVISION = "empty_revision"  # it declares no environment while the fleet has several
    PROTECTED = "protected"
    GRACE = "grace"  # a teardown that a commit can still cancel
    POLICY = "policy"  # settings do not allow it to grow so
    PRUNE_NODES = "prune_nodes"
    PRUNE_ENVIRONMENTS = "prune_environments"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """One guard's verdict on one environment, with what it keeps from happening."""

    guard: Guard
    message: str
    remedy: str  # "hivequeen approve 3f2a…", "hivequeen resume checkout"
    digest: str = ""  # what `hivequeen approve` takes; empty where approval is not the way out
    actor: str = ""  # who is behind it: the one who suspended, or the author of the commit that asks for the removal
    until: datetime | None = None  # it ends by itself then
    actions: tuple[Action, ...] = ()
    # What an approval covers, where one lifts it: what the actions remove, and what follows from that in later passes.
    removals: frozenset[Removal] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Something that needs only time: a node that boots, a deadline, capacity."""

    message: str  # "web: 2 nodes booting"
    role: str = ""
    # It ends then and not before, and nothing lacks meanwhile: there is no need to look sooner. None: it may end any time.
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """Something that needs a person."""

    reason: str  # CamelCase: "BadFile", "ForeignChefEnvironment", "RoleHalted"…
    message: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One field of a node that is not as declared."""

    field: str  # as in the file: "image", "instance_type"…
    live: str
    wanted: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentPlan:
    name: EnvironmentName
    actions: tuple[Action, ...] = ()  # in the order they are carried out
    blocked: tuple[Blocked, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    stalls: tuple[Stall, ...] = ()
    is_declared: bool = True  # False: being torn down, or swept
    is_frozen: bool = False
    ending: Ending | None = None  # why and since when it is to go, as the journal will have it after this pass
    # What differs of each node that is not as declared: also where its turn has not come yet.
    drifted: Mapping[InstanceId, tuple[Difference, ...]] = field(default_factory=lambda: MappingProxyType({}))
    expires_at: datetime | None = None  # when its lifetime ends, or ended; None: never, or it cannot be told now
    due_at: datetime | None = None  # when something of it comes due that only needs time: a grace period, a canary
    facts: tuple[Fact, ...] = ()  # what planning concluded and the journal should keep (RoleSettled, TeardownEnded…)

    @property
    def is_converged(self) -> bool:
        return not (self.is_busy or self.blocked or self.stalls)

    @property
    def is_busy(self) -> bool:
        """Worth another look soon."""
        return bool(self.actions) or any(one.until is None for one in self.waiting)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    revision: RevisionId
    environments: tuple[EnvironmentPlan, ...]  # sorted by name
    requeue_after_s: float | None = None  # look again then; None: nothing is awaited
    blocked: tuple[Blocked, ...] = field(default=())  # of the whole installation: history, claim, mode

    @property
    def is_empty(self) -> bool:
        """Nothing to do and nothing held."""
        return not self.blocked and not any(e.actions or e.blocked for e in self.environments)
