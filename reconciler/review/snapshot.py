"""The world as it was last seen, with the rules that the daemon plans by: all that foreseeing a change needs beside it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from reconciler.model.desired import Desired
from reconciler.model.memory import Memory
from reconciler.model.names import EnvironmentName, RevisionId, RoleName
from reconciler.model.observed import Observed
from reconciler.model.plan import Guard
from reconciler.model.policy import Policy
from reconciler.model.rules import Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """What holds the whole installation, whatever a change is about."""

    guard: Guard
    message: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    revision: RevisionId | None  # that was desired; None: the world is assumed, nobody looked at it
    folder: str  # the watched one, "environments.d"
    region: str  # "" where it is not known
    rules: Rules
    policy: Policy
    observed: Observed
    memory: Memory
    # Of each moving image that was looked up, with or without success: it says nothing of what a change names instead.
    sources: Mapping[tuple[EnvironmentName, RoleName], str] = field(default_factory=lambda: MappingProxyType({}))
    stops: tuple[Stop, ...] = ()

    @property
    def at(self) -> datetime:
        return self.observed.at

    @property
    def is_assumed(self) -> bool:
        return self.revision is None


def sources_of(observed: Observed, desired: Desired) -> Mapping[tuple[EnvironmentName, RoleName], str]:
    """Under which names the moving images of this observation were looked up."""
    return {
        (name, role): str(desired.environments[name].roles[role].image)
        for name, role in (*observed.images, *observed.unresolved)
        if name in desired.environments and role in desired.environments[name].roles
    }
