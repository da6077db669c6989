"""Observed state: what EC2 and the Chef Server say runs, joined by instance id."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from reconciler.model import tags
from reconciler.model.desired import Json
from reconciler.model.names import (
    ChefName,
    EnvironmentName,
    FleetId,
    ImageId,
    InstanceId,
    IntentToken,
    NodeName,
    RoleName,
)


class InstanceState(StrEnum):
    """EC2's own names."""

    PENDING = "pending"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    SHUTTING_DOWN = "shutting-down"
    TERMINATED = "terminated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One EC2 instance as DescribeInstances shows it."""

    instance_id: InstanceId
    state: InstanceState
    image: ImageId
    instance_type: str
    subnet: str | None
    security_groups: frozenset[str]  # ids
    instance_profile: str | None  # name, the last part of the ARN
    private_address: str | None
    launched_at: datetime
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def environment(self) -> str | None:
        return self.tags.get(tags.ENVIRONMENT)

    @property
    def role(self) -> str | None:
        return self.tags.get(tags.ROLE)

    @property
    def intent(self) -> IntentToken | None:
        token = self.tags.get(tags.INTENT)
        return IntentToken(token) if token else None

    @property
    def is_protected(self) -> bool:
        return self.tags.get(tags.PROTECTED) == "true"

    @property
    def is_dead(self) -> bool:
        return self.state in (InstanceState.SHUTTING_DOWN, InstanceState.TERMINATED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """`default_attributes.hivequeen` of a generated Chef role or environment: the proof that it is ours."""

    fleet: str
    environment: str
    protected: bool = False

    @staticmethod
    def read(default_attributes: Mapping[str, Json]) -> "Ownership | None":
        """None where the attributes are not a generated object's."""
        mark = default_attributes.get("hivequeen")
        if not isinstance(mark, dict):
            return None
        fleet, environment = mark.get("fleet"), mark.get("environment")
        if not isinstance(fleet, str) or not isinstance(environment, str):
            return None
        return Ownership(fleet=fleet, environment=environment, protected=mark.get("protected") is True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChefEnvironment:
    name: ChefName
    default_attributes: Mapping[str, Json]
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChefRole:
    name: ChefName
    run_list: tuple[str, ...]  # normalised
    default_attributes: Mapping[str, Json]
    description: str = ""

    def pin(self, source: str) -> ImageId | None:
        """The image that was resolved for exactly this declaration of a moving image and kept here."""
        mark = self.default_attributes.get("hivequeen")
        if not isinstance(mark, dict) or mark.get("image_source") != source:
            return None
        image = mark.get("image")
        return ImageId(image) if isinstance(image, str) and image else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChefNode:
    name: NodeName
    chef_environment: ChefName
    run_list: tuple[str, ...]  # normalised
    ohai_time: float | None  # seconds since 1970 of the last successful run; None: never converged


class Phase(StrEnum):
    """Where a node is in its life. A node has exactly one."""

    PENDING = "pending"  # launched, not running yet (or not listed yet)
    RUNNING = "running"  # running, has not registered
    REGISTERED = "registered"  # has its Chef client, first run not finished
    READY = "ready"  # its Chef run succeeded once; never left for staleness
    FAILED = "failed"  # past a deadline or its first run failed; was never ready
    STOPPED = "stopped"  # stopped in EC2; nobody here asked for it
    TERMINATING = "terminating"  # shutting down, or terminated with Chef objects left
    LOST = "lost"  # alive, but without our tag: never touched, its place is kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One instance of ours with all that is known of it."""

    name: NodeName
    environment: EnvironmentName
    role: RoleName
    instance: Instance
    phase: Phase
    why_failed: str = ""  # set when phase is FAILED
    was_ready: bool = False
    is_unseen: bool = False  # launched a moment ago, and EC2 does not show it yet: its place is kept, it is not touched
    is_stale: bool = False  # ready once, but its Chef node is old or gone: a condition, never a replacement
    chef: ChefNode | None = None
    has_client: bool = False
    # What it was launched with, from its intent: field → value as `drift` names them. Empty when unknown.
    launched_with: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    odd_since: datetime | None = None  # first sighting as unwanted or stopped; None: not sighted so before
    deadline_at: datetime | None = None  # when a never-ready node will have failed
    failed_at: datetime | None = None  # first sighting as failed

    @property
    def instance_id(self) -> InstanceId:
        return self.instance.instance_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Departed:
    """A node whose instance was seen gone, with what is left of it in Chef."""

    name: NodeName
    environment: EnvironmentName
    role: RoleName
    instance_id: InstanceId
    has_chef_node: bool
    has_client: bool
    launched_at: datetime | None = None  # of one of our launches that ended before it was ready


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedEnvironment:
    """All that exists of one environment, declared or not."""

    name: EnvironmentName
    nodes: tuple[Node, ...] = ()  # sorted by launch time, then id; dead ones as TERMINATING
    departed: tuple[Departed, ...] = ()
    chef_environment: ChefEnvironment | None = None  # under the name in use, ours or foreign
    chef_roles: Mapping[ChefName, ChefRole] = field(
        default_factory=lambda: MappingProxyType({})
    )  # ours, and foreign ones that stand where ours would
    fleet: FleetId | None = None  # ours: it tells our objects from another fleet's; None: every mark counts as ours

    @property
    def owned(self) -> tuple[Ownership, ...]:
        """The marks of its generated Chef objects; foreign ones of these names have none, or another fleet's."""
        found = [*self.chef_roles.values(), *((self.chef_environment,) if self.chef_environment else ())]
        marks = (Ownership.read(one.default_attributes) for one in found)
        return tuple(mark for mark in marks if mark is not None and self.fleet in (None, mark.fleet))

    @property
    def is_empty(self) -> bool:
        """True if nothing that we own is left; foreign Chef objects of its names do not count."""
        return not self.nodes and not self.departed and not self.owned


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """Something that looks like ours and is not: reported, never touched."""

    kind: str  # "instance", "chef node", "chef client", "chef role", "chef environment"
    name: str
    environment: EnvironmentName | None
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The world at one moment. Only complete reads make one: what could not be read raised instead."""

    at: datetime
    is_full: bool  # the whole fleet, not a scope
    environments: Mapping[EnvironmentName, ObservedEnvironment]
    # Moving images that were resolved in this pass, because their role has no pin for them (or a refresh was asked for).
    images: Mapping[tuple[EnvironmentName, RoleName], ImageId] = field(default_factory=lambda: MappingProxyType({}))
    refreshing: frozenset[EnvironmentName] = frozenset()  # somebody asked for their moving images to be resolved again
    # Why a moving image could not be resolved: message and remedy.
    unresolved: Mapping[tuple[EnvironmentName, RoleName], tuple[str, str]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    # Environments of which some object could not be read, with message and remedy: nothing is decided about them.
    unreadable: Mapping[EnvironmentName, tuple[str, str]] = field(default_factory=lambda: MappingProxyType({}))
    foreign: tuple[Foreign, ...] = ()
