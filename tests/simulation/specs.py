"""What the simulated person writes into the spec repository, as values: the truth about what every revision asks for."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, TypeAlias

STEMS: Final = ("production", "checkout", "staging", "feature1", "feature2", "feature3")
ROLES: Final = ("web", "worker", "db")
IMAGES: Final = ("ami-0123456789abcdef0", "ami-0123456789abcdef1", "ami-0123456789abcdef2")
TYPES: Final = (("m7i.large", "m6i.large"), ("m6i.large",), ("c7i.large", "m6i.large"))
SUBNETS: Final = ("subnet-0a1b2c3d4e5f60001", "subnet-0a1b2c3d4e5f60002")
GROUPS: Final = ("sg-0a1b2c3d4e5f60001", "sg-0a1b2c3d4e5f60002")
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
    parent: str | None = None
    damage: int | None = None  # which of DAMAGE its content is; None: it is sound
    ending: str = "yml"
    is_parked: bool = False  # it was moved to old/

    @property
    def folder(self) -> str:
        return "old/" if self.is_parked else ""

    def render(self) -> str:
        if self.damage is not None:
            return DAMAGE[self.damage]
        lines = [f"extends: {self.parent}"] if self.parent else ["project: kickstarter"]
        lines += ["owner: ops@example.com", f"branch: branch-{self.branch}"]
        lines += ["protected: true"] if self.protected else []
        lines += ["suspend: true"] if self.suspend else []
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
    if file.parent is not None:
        parent = _resolve(file.parent, files, (*below, stem))
        if isinstance(parent, Frozen):
            return FROZEN
        inherited = dict(parent.roles)
    merged = {
        name: replace(shape, key=shape.key or inherited[name].key, label=shape.label or inherited[name].label)
        if name in inherited
        else shape
        for name, shape in file.roles.items()
    }
    return Declared(roles={**inherited, **merged}, protected=file.protected, suspend=file.suspend, branch=file.branch)


def paths(files: Files) -> Mapping[str, str]:
    """The tree as git holds it: path → content."""
    return {f"{file.folder}{stem}.{file.ending}": file.render() for stem, file in files.items()}


def mended(file: File) -> File:
    return replace(file, damage=None, is_parked=False)


def group_of(shape: RoleShape) -> str:
    return GROUPS[shape.group]


def key_of(shape: RoleShape) -> str | None:
    return f"key-{shape.key}" if shape.key else None
