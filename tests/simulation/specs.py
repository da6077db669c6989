"""What the simulated person writes into the spec repository, as values: the truth about what every revision asks for."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final, TypeAlias

from tests.fakes.clock import BEGAN
from tests.simulation.schedules import LONG, render

STEMS: Final = ("production", "checkout", "staging", "feature1", "feature2", "feature3")
ROLES: Final = ("web", "worker", "db")
IMAGES: Final = ("ami-0123456789abcdef0", "ami-0123456789abcdef1", "ami-0123456789abcdef2")
TYPES: Final = (("m7i.large", "m6i.large"), ("m6i.large",), ("c7i.large", "m6i.large"))
SUBNETS: Final = ("subnet-0a1b2c3d4e5f60001", "subnet-0a1b2c3d4e5f60002")
GROUPS: Final = ("sg-0a1b2c3d4e5f60001", "sg-0a1b2c3d4e5f60002")
TTLS_H: Final = (0, 1, 3)  # 0: it names none
FOR_EVER: Final = BEGAN + timedelta(days=3650)
NODES_MOST: Final = 5  # of one environment, and only these types, where there is a policy
TYPES_ALLOWED: Final = ("m*",)
DAMAGE: Final = ("roles: {web: [", "colour: blue\n", "\x00", "roles: {web: {count: many}}\n", "a: &a [*a]\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleShape:
    """What a file asks of one role. The numbers choose from the lists above."""

    count: int = 1
    image: int = 0
    types: int = 0
    group: int = 0
    attributes: int = 0  # reaches Chef only
    label: int = 0  # a declared tag: repaired in place
    key: int = 0  # a key name: shows in the digest tag only, and replaces nodes

    @property
    def image_id(self) -> str:
        return IMAGES[self.image]

    @property
    def instance_types(self) -> tuple[str, ...]:
        return TYPES[self.types]


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One environment file. Of a role that an extending file names, only an unset key and label are inherited."""

    roles: Mapping[str, RoleShape] = field(default_factory=lambda: MappingProxyType({}))
    branch: int = 0
    protected: bool = False
    suspend: bool = False
    ttl_h: int = 0
    expires: datetime | None = None
    schedule: int = 0  # which of tests.simulation.schedules; 0: none of its own
    parent: str | None = None
    damage: int | None = None  # which of DAMAGE its content is; None: it is sound
    ending: str = "yml"
    is_parked: bool = False  # it was moved to old/

    @property
    def folder(self) -> str:
        return "old/" if self.is_parked else ""

    def path(self, stem: str) -> str:
        return f"{self.folder}{stem}.{self.ending}"

    def render(self) -> str:
        if self.damage is not None:
            return DAMAGE[self.damage]
        lines = [f"extends: {self.parent}"] if self.parent else ["project: kickstarter"]
        lines += ["owner: ops@example.com", f"branch: branch-{self.branch}"]
        lines += ["protected: true"] if self.protected else []
        lines += ["suspend: true"] if self.suspend else []
        lines += [f"ttl: {self.ttl_h}h"] if self.ttl_h else []
        lines += [f'expires: "{self.expires.isoformat()}"'] if self.expires else []
        lines += [f"schedule: {render(self.schedule)}"] if self.schedule else []
        lines += ["roles:"] if self.roles else ["roles: {}"]
        lines += [f"  {name}: {_render(name, shape)}" for name, shape in sorted(self.roles.items())]
        return "\n".join(lines) + "\n"


def _render(name: str, shape: RoleShape) -> str:
    fields = [
        f"count: {shape.count}",
        f"image: {shape.image_id}",
        f"instance_type: [{', '.join(shape.instance_types)}]",
        f"subnets: [{', '.join(SUBNETS)}]",
        f"security_groups: [{GROUPS[shape.group]}]",
        f'run_list: ["recipe[kickstarter::{name}]"]',
        f"attributes: {{app: {{version: {shape.attributes}}}}}",
    ]
    fields += [f"tags: {{label: l{shape.label}}}"] if shape.label else []
    fields += [f"key_name: key-{shape.key}"] if shape.key else []
    return f"{{{', '.join(fields)}}}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What a sound file comes to once its parents are merged in."""

    roles: Mapping[str, RoleShape]
    protected: bool
    suspend: bool
    branch: int
    ttl_h: int
    expires: datetime | None
    schedule: int
    path: str

    @property
    def is_against_policy(self) -> bool:
        shapes = self.roles.values()
        is_large = sum(shape.count for shape in shapes) > NODES_MOST
        return is_large or any(not is_allowed(one) for shape in shapes for one in shape.instance_types)


def is_allowed(instance_type: str) -> bool:
    return instance_type.startswith("m")


class Frozen:
    """Its file cannot be trusted, or only bears its name: neither changed nor torn down."""


FROZEN: Final = Frozen()
Files: TypeAlias = Mapping[str, File]


def declared(files: Files) -> Mapping[str, Declared | Frozen]:
    """Every name that a revision says something about. Simpler than the daemon's reader on purpose."""
    return {stem: _resolve(stem, files, ()) for stem in files}


def _resolve(stem: str, files: Files, below: tuple[str, ...]) -> Declared | Frozen:
    file = files.get(stem)
    if file is None or file.damage is not None or file.is_parked or stem in below:
        return FROZEN
    inherited: dict[str, RoleShape] = {}
    schedule = file.schedule
    if file.parent is not None:
        parent = _resolve(file.parent, files, (*below, stem))
        if isinstance(parent, Frozen):
            return FROZEN
        inherited, schedule = dict(parent.roles), file.schedule or parent.schedule
    merged = {
        name: replace(shape, key=shape.key or inherited[name].key, label=shape.label or inherited[name].label)
        if name in inherited
        else shape
        for name, shape in file.roles.items()
    }
    return Declared(
        roles={**inherited, **merged},
        protected=file.protected,
        suspend=file.suspend,
        branch=file.branch,
        ttl_h=file.ttl_h,
        expires=file.expires,
        schedule=schedule,
        path=file.path(stem),
    )


def paths(files: Files) -> Mapping[str, str]:
    """The tree as git holds it: path → content."""
    return {file.path(stem): file.render() for stem, file in files.items()}


def mended(file: File) -> File:
    return replace(file, damage=None, is_parked=False)


def lasting(file: File) -> File:
    """What nothing changes any more but a commit: it expires in ten years, and sleeps or wakes for half a year."""
    return replace(file, ttl_h=0, expires=FOR_EVER, schedule=LONG.get(file.schedule, file.schedule))


def group_of(shape: RoleShape) -> str:
    return GROUPS[shape.group]


def key_of(shape: RoleShape) -> str | None:
    return f"key-{shape.key}" if shape.key else None
