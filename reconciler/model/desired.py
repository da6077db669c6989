"""Desired state: what one revision of the repository asks for, after inheritance and defaults."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TypeAlias, Union

from reconciler.model.findings import Finding, Origin, Violation
from reconciler.model.names import ChefName, EnvironmentName, ImageId, RevisionId, RoleName

Json: TypeAlias = Union[bool, int, float, str, "list[Json]", "dict[str, Json]", None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageById:
    """`image: ami-0123…`: this image and no other."""

    image_id: ImageId

    def __str__(self) -> str:
        return self.image_id


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageByParameter:
    """`image: ssm:/aws/service/…`: whatever this public or own SSM parameter names. A moving image."""

    parameter: str  # begins with "/"

    def __str__(self) -> str:
        return f"ssm:{self.parameter}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageByName:
    """`image: {owner, name}`: the newest available match. A moving image."""

    owner: str  # account id, "self", "amazon"…
    name: str  # EC2 name filter, wildcards allowed

    def __str__(self) -> str:
        return f"{self.owner}/{self.name}"


Image: TypeAlias = ImageById | ImageByParameter | ImageByName


@dataclass(frozen=True, slots=True, kw_only=True)
class RootVolume:
    size_gib: int
    type: str = "gp3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A group of like nodes, with the environment's `defaults` merged in."""

    name: RoleName
    count: int
    run_list: tuple[str, ...]  # as declared, normalised: "recipe[nginx]", "role[base]"
    attributes: Mapping[str, Json]
    image: Image
    instance_types: tuple[str, ...]  # in order of preference, at least one
    subnets: tuple[str, ...]  # at least one; nodes are spread across them
    security_groups: frozenset[str]
    instance_profile: str | None = None  # name, not ARN
    key_name: str | None = None
    root_volume: RootVolume | None = None
    user_data: str | None = None  # shell, run before the bootstrap
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    # Where each value came from, by its name in the file: "count", "image", "run_list", "attributes"…
    origins: Mapping[str, Origin] = field(default_factory=lambda: MappingProxyType({}), compare=False)

    def origin(self, key: str) -> Origin | None:
        """Where `key` was declared, else where the role itself was (key ""), else None."""
        return self.origins.get(key) or self.origins.get("")


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When the nodes sleep: they are stopped and started, not terminated."""

    stop: str  # a cron line, "0 20 * * 1-5"
    start: str
    timezone: str  # IANA name, "Europe/Berlin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetime:
    """How long an environment lives, and when it sleeps. The default lives, awake, until its file is deleted."""

    ttl: timedelta | None = None  # counted from the newest commit that touched the file
    expires_at: datetime | None = None  # a date that the file names; the earlier of the two counts
    schedule: Schedule | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What one file declares."""

    name: EnvironmentName
    origin: Origin  # its own file, first line
    parents: tuple[str, ...] = field(default=(), compare=False)  # stems that it extends, the nearest first
    project: str
    owner: str
    branch: str  # of the application
    commit: str | None = None  # of the application
    protected: bool = False
    suspend: bool = False
    lifetime: Lifetime = Lifetime()
    chef_environment: ChefName | None = None  # an existing one, used read-only; None: `{name}` is generated
    roles: Mapping[RoleName, Role]
    violations: tuple[Violation, ...] = ()  # of the policy, sorted: they block growth, never healing
    origins: Mapping[str, Origin] = field(default_factory=lambda: MappingProxyType({}), compare=False)

    @property
    def chef_environment_name(self) -> ChefName:
        return self.chef_environment or ChefName(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """An environment whose file cannot be trusted now: neither changed nor torn down."""

    name: EnvironmentName
    findings: tuple[Finding, ...]  # why; at least one
    is_trace: bool = False  # no file declares it, one merely bears its name: of interest only while some of it exists


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """Everything that one revision declares. A name is in at most one of the two maps."""

    revision: RevisionId
    environments: Mapping[EnvironmentName, Environment]
    frozen: Mapping[EnvironmentName, Frozen]
    # All of them, sorted, with those of templates and with violations of the policy; a trace alone (README.md) is no fault.
    findings: tuple[Finding, ...]

    @property
    def declared(self) -> frozenset[EnvironmentName]:
        """Every name that has a file of its own, readable or not."""
        traces = {name for name, frozen in self.frozen.items() if frozen.is_trace}
        return frozenset(self.environments) | (frozenset(self.frozen) - traces)

    @property
    def names(self) -> frozenset[EnvironmentName]:
        """Every name that must not be torn down: declared or frozen."""
        return frozenset(self.environments) | frozenset(self.frozen)
