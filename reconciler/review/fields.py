"""What an environment declares, leaf by leaf, and in which leaves two declarations of it differ."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeAlias, assert_never

from reconciler.model.desired import Environment, Image, ImageById, ImageByName, ImageByParameter, Json, Role
from reconciler.model.findings import Origin
from reconciler.model.names import RoleName

KeyPath: TypeAlias = tuple[str, ...]  # ("roles", "web", "attributes", "unicorn", "workers")

_DAY_S: Final = 86400


class Risk(IntEnum):
    """What a change does to what runs; the greater, the worse."""

    IN_PLACE = 0  # nothing comes or goes
    CREATE = 1  # something comes
    REPLACE = 2  # something goes when another has come in its place
    DESTROY = 3  # something goes for good

    def __str__(self) -> str:
        return self.name.lower().replace("_", "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A single value, a list, or a map that is empty."""

    value: Json
    origin: Origin | None  # where it was declared; None: nowhere, it is a default


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    path: KeyPath
    old: Leaf | None  # None: it was not there
    new: Leaf | None  # None: it is there no more
    risk: Risk
    is_certain: bool = True  # False: that it replaces anything hangs on what a moving image names

    @property
    def key(self) -> str:
        """As a person writes it: `roles.web.count`."""
        return ".".join(self.path)

    @property
    def role(self) -> RoleName | None:
        return RoleName(self.path[1]) if self.path[0] == "roles" and len(self.path) > 1 else None

    @property
    def origin(self) -> Origin | None:
        """Of the new value; of the old one where it is gone."""
        leaf = self.new or self.old
        return leaf.origin if leaf is not None else None


def differing(
    old: Mapping[KeyPath, Leaf], new: Mapping[KeyPath, Leaf]
) -> Iterator[tuple[KeyPath, Leaf | None, Leaf | None]]:
    """Of each leaf in which they differ, sorted by path: where it is, what it was and what it is."""
    for path in sorted(old.keys() | new.keys()):
        before, after = old.get(path), new.get(path)
        if before is None or after is None or not _are_alike(before.value, after.value):
            yield path, before, after


def leaves(environment: Environment | None) -> Mapping[KeyPath, Leaf]:
    """Everything that it declares, its own or inherited, brought into the form that the planner goes by."""
    if environment is None:
        return {}
    found = {
        path: Leaf(value=value, origin=_origin(environment.origins, path) or environment.origin)
        for key, declared in _of_environment(environment).items()
        for path, value in _flat((key,), declared)
    }
    for name, role in environment.roles.items():
        for key, declared in _of_role(role).items():
            for path, value in _flat((key,), declared):
                origin = _origin(role.origins, path) or role.origin("")
                found["roles", str(name), *path] = Leaf(value=value, origin=origin)
    return found


def _of_environment(environment: Environment) -> dict[str, Json]:
    life = environment.lifetime
    declared: dict[str, Json] = {
        "project": environment.project,
        "owner": environment.owner,
        "branch": environment.branch,
        "commit": environment.commit,
        "protected": environment.protected or None,  # not protected is not to say so
        "suspend": environment.suspend or None,
        "ttl": None if life.ttl is None else _duration(int(life.ttl.total_seconds())),
        "expires": None if life.expires_at is None else life.expires_at.isoformat(),
        "chef_environment": environment.chef_environment,
    }
    if life.schedule is not None:
        schedule = life.schedule
        declared["schedule"] = {"stop": schedule.stop, "start": schedule.start, "timezone": schedule.timezone}
    return {key: value for key, value in declared.items() if value is not None}


def _of_role(role: Role) -> dict[str, Json]:
    volume = role.root_volume
    declared: dict[str, Json] = {
        "count": role.count,
        "run_list": list(role.run_list),
        "attributes": dict(role.attributes) or None,
        "image": _image(role.image),
        "instance_type": list(role.instance_types),
        "subnets": list(role.subnets),
        "security_groups": [*sorted(role.security_groups)],
        "instance_profile": role.instance_profile,
        "key_name": role.key_name,
        "root_volume": None if volume is None else {"size": volume.size_gib, "type": volume.type},
        "user_data": role.user_data,
        "tags": dict(role.tags) or None,
    }
    return {key: value for key, value in declared.items() if value is not None}


def _image(image: Image) -> Json:
    match image:
        case ImageById() | ImageByParameter():
            return str(image)
        case ImageByName():
            return {"owner": image.owner, "name": image.name}
        case _ as unreachable:
            assert_never(unreachable)


def _flat(path: KeyPath, value: Json) -> Iterator[tuple[KeyPath, Json]]:
    if isinstance(value, dict) and value:
        for key, part in value.items():
            yield from _flat((*path, key), part)
    else:
        yield path, value


def _origin(origins: Mapping[str, Origin], path: KeyPath) -> Origin | None:
    """Where it was declared, or the nearest thing around it."""
    for depth in range(len(path), 0, -1):
        found = origins.get(".".join(path[:depth]))
        if found is not None:
            return found
    return None


def _are_alike(old: Json, new: Json) -> bool:
    """Equal, and of one kind: to Chef 1, 1.0 and true are three values."""
    match old, new:
        case list(), list():
            return len(old) == len(new) and all(_are_alike(*pair) for pair in zip(old, new, strict=True))
        case dict(), dict():
            return old.keys() == new.keys() and all(_are_alike(part, new[key]) for key, part in old.items())
        case _:
            return type(old) is type(new) and old == new


def _duration(seconds: int) -> str:
    """As a file says it: `14d`, `90m`."""
    for unit, size in (("d", _DAY_S), ("h", 3600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
