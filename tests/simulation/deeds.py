"""What a daemon does to the world, as values: what really happened, whatever it was told of it."""

from dataclasses import dataclass
from typing import TypeAlias

from reconciler.model.facts import Fact
from reconciler.model.memory import LaunchParameters
from reconciler.model.names import InstanceId, IntentToken, RevisionId
from reconciler.model.observed import ChefEnvironment, ChefRole


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    token: IntentToken
    parameters: LaunchParameters
    made: tuple[InstanceId, ...]  # none: refused, or a replay


@dataclass(frozen=True, slots=True, kw_only=True)
class Termination:
    asked: tuple[InstanceId, ...]
    ended: tuple[InstanceId, ...]  # those that lived until then


@dataclass(frozen=True, slots=True, kw_only=True)
class Touch:
    """Tags, or power, of instances that live on."""

    operation: str
    asked: tuple[InstanceId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChefWrite:
    wanted: ChefRole | ChefEnvironment
    is_new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ChefRemoval:
    kind: str  # "node", "client", "role", "environment"
    name: str
    existed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientMade:
    name: str
    public_key: str
    is_new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One transaction of the journal."""

    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRemoved:
    """A commit of the daemon's own."""

    path: str
    revision: RevisionId


Deed: TypeAlias = Launch | Termination | Touch | ChefWrite | ChefRemoval | ClientMade | Recorded | FileRemoved
