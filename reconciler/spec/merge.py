"""Inheritance: maps merge, lists and single values replace, null removes; every value keeps its origin."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeGuard

from reconciler.document import Document, KeyPath
from reconciler.model.desired import Json
from reconciler.model.findings import Origin

# What is about one environment's life rather than what it is like. A schedule is inherited: templates may have one.
NOT_INHERITED: Final = ("extends", "protected", "owner", "suspend", "ttl", "expires")


class Anew(dict[str, Json]):
    """A map that was declared over a null, a single value or a list: nothing that lies further down shows through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A tree and where each part of it was declared. A null in a map is still there: it removes from what lies below."""

    tree: Mapping[str, Json]
    origins: Mapping[KeyPath, Origin]  # may name paths that the tree lacks, never the other way round


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """All values of an environment: roles are complete, and nothing is null."""

    top: Layer  # without defaults and roles
    roles: Mapping[str, Layer]  # over the defaults; the paths of origins begin at the role
    own: Mapping[str, frozenset[KeyPath]]  # of each role, what does not come from the defaults
    origins: Mapping[KeyPath, Origin]  # of ("roles",) and of each role

    def tree(self) -> dict[str, Json]:
        return {**self.top.tree, "roles": {name: dict(role.tree) for name, role in self.roles.items()}}

    def origin(self, path: KeyPath) -> Origin | None:
        """Where the value at `path` was declared, or the nearest thing around it."""
        layer, rest = self._home(path)
        while rest:
            if rest in layer.origins:
                return layer.origins[rest]
            rest = rest[:-1]
        return self.origins.get(path[:2]) or self.origins.get(path[:1])

    def is_default(self, path: KeyPath) -> bool:
        """Whether the value at `path` comes from `defaults`."""
        match path:
            case ("roles", str(role), *rest) if rest:
                return tuple(rest) not in self.own[role]
            case _:
                return False

    def _home(self, path: KeyPath) -> tuple[Layer, KeyPath]:
        match path:
            case ("roles", str(role), *rest) if role in self.roles:
                return self.roles[role], tuple(rest)
            case _:
                return self.top, path


def own_layer(document: Document) -> Layer:
    return Layer(
        tree=document.tree,
        origins={path: Origin(file=document.file, line=line) for path, line in document.lines.items()},
    )


def inherit(child: Layer, parent: Layer) -> Layer:
    """`extends`. A commit belongs to its branch: who declares a branch of its own does not inherit the parent's commit.
    And what is protected sleeps by its own schedule only: a template's would stop all of it at once.
    """
    left_out = set(NOT_INHERITED)
    if "branch" in child.tree:
        left_out.add("commit")
    if child.tree.get("protected") is True:
        left_out.add("schedule")
    below = {key: value for key, value in parent.tree.items() if key not in left_out}
    replaced = {path: len(path) for path in _replaced_maps(child.tree, below, ())}
    origins = parent.origins
    if replaced:  # who declares such a map again does not get the lines of what it held before
        depths = set(replaced.values())
        origins = {
            path: origin for path, origin in origins.items() if not any(path[:depth] in replaced for depth in depths)
        }
    return Layer(tree=_lay(child.tree, below), origins={**origins, **child.origins})


def complete(layer: Layer) -> Merged:
    """Lay each role over the defaults, and drop nulls, which have removed what they should."""
    defaults = _as_map(layer.tree.get("defaults"))
    below: dict[KeyPath, Origin] = {}
    own: dict[str | int, dict[KeyPath, Origin]] = {}
    top: dict[KeyPath, Origin] = {}
    outer: dict[KeyPath, Origin] = {}
    for path, origin in layer.origins.items():
        match path:
            case ("defaults", _, *_):
                below[path[1:]] = origin
            case ("roles", role, *_):
                own.setdefault(role, {})[path[2:]] = origin
            case ("roles",):
                outer[path] = origin
            case _:
                top[path] = origin
    declared = _as_map(layer.tree.get("roles"))
    roles = {name: _as_map(role) for name, role in declared.items() if role is not None}
    return Merged(
        top=Layer(
            tree=_without_nulls({key: value for key, value in layer.tree.items() if key not in ("defaults", "roles")}),
            origins=top,
        ),
        roles={
            name: Layer(tree=_without_nulls(_lay(role, defaults)), origins={**below, **own.get(name, {})})
            for name, role in roles.items()
        },
        own={name: frozenset(own.get(name, ())) for name in roles},
        origins=outer | {("roles", name): own[name][()] for name in roles if name in own and () in own[name]},
    )


def present_origins(layer: Layer) -> dict[str, Origin]:
    """Origins by dotted key, of what is really there; `""` is the whole."""
    present: dict[str, Origin] = {}
    for path, origin in layer.origins.items():
        if all(isinstance(part, str) for part in path) and _has(layer.tree, path):
            present[".".join(str(part) for part in path)] = origin
    return present


def _lay(upper: Mapping[str, Json], lower: Mapping[str, Json]) -> dict[str, Json]:
    laid = Anew(lower) if isinstance(lower, Anew) else dict(lower)
    for key, value in upper.items():
        if not _merges(value) or key not in laid:
            laid[key] = value
        else:
            below = laid[key]
            # The roles of a whole chain lie over its defaults: a null in the middle must still be seen there.
            laid[key] = _lay(value, below) if isinstance(below, dict) else Anew(value)
    return laid


def _replaced_maps(upper: Mapping[str, Json], lower: Mapping[str, Json], path: KeyPath) -> Iterator[KeyPath]:
    for key, value in upper.items():
        below = lower.get(key)
        if isinstance(below, dict):
            if _merges(value):
                yield from _replaced_maps(value, below, (*path, key))
            else:
                yield (*path, key)


def _merges(value: Json) -> TypeGuard[dict[str, Json]]:
    return isinstance(value, dict) and not isinstance(value, Anew)


def _without_nulls(tree: Mapping[str, Json]) -> dict[str, Json]:
    return {
        key: _without_nulls(value) if isinstance(value, dict) else value
        for key, value in tree.items()
        if value is not None
    }


def _as_map(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def _has(tree: Mapping[str, Json], path: KeyPath) -> bool:
    value: object = tree
    for part in path:
        if not isinstance(value, Mapping) or part not in value:
            return False
        value = value[part]
    return True
