"""Merged values become an environment, if nothing is missing."""

from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, cast

from reconciler.document import Document, KeyPath
from reconciler.model.desired import (
    Environment,
    Image,
    ImageById,
    ImageByName,
    ImageByParameter,
    Json,
    Role,
    RootVolume,
)
from reconciler.model.findings import Finding, Origin
from reconciler.model.names import ChefName, EnvironmentName, ImageId, RoleName, chef_role_name
from reconciler.model.run_list import normalise
from reconciler.spec.lifetime import lifetime, schedule_lacks
from reconciler.spec.merge import NOT_INHERITED, Layer, Merged, present_origins

_ROLES_MAX: Final = 32
_TAGS_MAX: Final = 40
_REQUIRED: Final = ("project", "owner", "branch")
_ROLE_REQUIRED: Final = ("count", "image", "instance_type", "subnets", "security_groups", "run_list")


def missing(document: Document, merged: Merged, *, told: Collection[Finding] = ()) -> Iterator[Finding]:
    """What the environment lacks, or has too much of, once everything is merged. Tolerates values of wrong types.

    Args:
        told: the file's own findings. What lacks because it was misspelt is told there, and not again here.
    """
    misspelt = {key for key in (*_REQUIRED, *_ROLE_REQUIRED) if any(f'"{key}"' in fault.remedy for fault in told)}
    parent = document.tree.get("extends")
    if parent is not None and not isinstance(parent, str):
        return  # what that file would give is anyone's guess
    for key in _REQUIRED:
        if key not in merged.top.tree and key not in misspelt:
            remedy = f"add it; it is not inherited from {parent}" if parent and key in NOT_INHERITED else "add it"
            yield _lacking(document, (key,), document.origin(), f"{key} is missing", remedy)
    schedule = merged.top.tree.get("schedule")
    if isinstance(schedule, dict):
        for message, remedy in schedule_lacks(schedule):
            yield Finding(origin=document.origin(("schedule",)), message=message, remedy=remedy)
    roles = merged.roles
    if not roles:
        yield Finding(
            origin=document.origin(("roles",)),
            message="there is no role",
            remedy="declare at least one under roles, such as web",
        )
    for role, layer in roles.items():
        origin = document.origin(("roles", role))
        where = f"under roles.{role} or defaults{f', here or in {parent}' if parent else ''}"
        for path, message, remedy in _role_lacks(role, layer.tree, where, misspelt):
            yield _lacking(document, path, origin, message, remedy)
    yield from _too_many(document, roles)


def _lacking(document: Document, path: KeyPath, origin: Origin, message: str, remedy: str) -> Finding:
    """That nothing stands at `path`; where this very file removes it, that line is what is wrong."""
    for place in (path, ("defaults", *path[2:])) if path[0] == "roles" else (path,):
        if null := _null_on_the_way(document.tree, place):
            origin = document.origin(null)
            remedy = f"null removes {'.'.join(map(str, null))} here; give it a value, or delete the null"
            break
    return Finding(origin=origin, message=message, remedy=remedy)


def _null_on_the_way(tree: Mapping[str, Json], path: KeyPath) -> KeyPath | None:
    value: Json = dict(tree)
    for depth, key in enumerate(path, start=1):
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[str(key)]
        if value is None:
            return path[:depth]
    return None


def _role_lacks(
    role: str, tree: Mapping[str, Json], where: str, misspelt: Collection[str]
) -> Iterator[tuple[KeyPath, str, str]]:
    for key in _ROLE_REQUIRED:
        if key not in tree and key not in misspelt:
            yield ("roles", role, key), f"roles.{role} has no {key}", f"add it {where}"
    parts = {"image": ("owner", "name"), "root_volume": ("size",)}
    for key, wanted in parts.items():
        value = tree.get(key)
        if isinstance(value, dict):
            for part in wanted:
                if part not in value:
                    yield ("roles", role, key, part), f"roles.{role}.{key} has no {part}", f"add it {where}"


def _too_many(document: Document, roles: Mapping[str, Layer]) -> Iterator[Finding]:
    if len(roles) > _ROLES_MAX:
        message = f"{len(roles)} roles are declared or inherited, at most {_ROLES_MAX} are allowed"
        yield Finding(origin=document.origin(("roles",)), message=message, remedy="remove some")
    for role, layer in roles.items():
        tags = layer.tree.get("tags")
        if isinstance(tags, dict) and len(tags) > _TAGS_MAX:
            message = f"roles.{role} has {len(tags)} tags, at most {_TAGS_MAX} are allowed"
            yield Finding(origin=document.origin(("roles", role)), message=message, remedy="remove some")


def holding_themselves(name: EnvironmentName, document: Document, merged: Merged) -> Iterator[Finding]:
    """Roles whose run list holds the Chef role that is generated for them."""
    for role, layer in merged.roles.items():
        generated = f"role[{chef_role_name(name, RoleName(role))}]"
        run_list = layer.tree.get("run_list")
        if isinstance(run_list, list) and generated in run_list:
            yield Finding(
                origin=document.origin(("roles", role)),
                message=f"{generated} is the generated Chef role of roles.{role} and would hold itself",
                remedy="remove it from run_list",
            )


def assemble(
    name: EnvironmentName, document: Document, merged: Merged, *, parents: tuple[str, ...] = ()
) -> Environment:
    """The environment of values without findings."""
    tree = cast("Mapping[str, Any]", merged.top.tree)  # the schema has checked every type
    chef_environment = tree.get("chef_environment")
    return Environment(
        name=name,
        parents=parents,
        origin=Origin(file=document.file, line=1),
        project=tree["project"],
        owner=tree["owner"],
        branch=tree["branch"],
        commit=tree.get("commit"),
        protected=tree.get("protected") is True,
        suspend=tree.get("suspend") is True,
        lifetime=lifetime(tree),
        chef_environment=None if chef_environment is None else ChefName(chef_environment),
        roles=MappingProxyType(
            {RoleName(role): _role(RoleName(role), layer) for role, layer in sorted(merged.roles.items())}
        ),
        origins=MappingProxyType(
            {key: origin for key, origin in present_origins(merged.top).items() if key}
            | {"roles": merged.origins[("roles",)]}
        ),
    )


def _role(name: RoleName, layer: Layer) -> Role:
    tree = cast("Mapping[str, Any]", layer.tree)
    types = tree["instance_type"]
    volume = tree.get("root_volume")
    return Role(
        name=name,
        count=int(tree["count"]),  # JSON Schema takes 2.0 for a whole number
        run_list=normalise(tree["run_list"]),
        attributes=tree.get("attributes", {}),
        image=_image(tree["image"]),
        instance_types=(types,) if isinstance(types, str) else tuple(types),
        subnets=tuple(tree["subnets"]),
        security_groups=frozenset(tree["security_groups"]),
        instance_profile=tree.get("instance_profile"),
        key_name=tree.get("key_name"),
        root_volume=None if volume is None else _root_volume(volume),
        user_data=tree.get("user_data"),
        tags=MappingProxyType(tree.get("tags", {})),
        origins=MappingProxyType(present_origins(layer)),
    )


def _root_volume(volume: Mapping[str, Any]) -> RootVolume:
    size_gib = int(volume["size"])
    return RootVolume(size_gib=size_gib, type=volume["type"]) if "type" in volume else RootVolume(size_gib=size_gib)


def _image(declared: str | Mapping[str, str]) -> Image:
    if not isinstance(declared, str):
        return ImageByName(owner=declared["owner"], name=declared["name"])
    if declared.startswith("ssm:"):
        return ImageByParameter(parameter=declared.removeprefix("ssm:"))
    return ImageById(image_id=ImageId(declared))
