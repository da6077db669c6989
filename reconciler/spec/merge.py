"""Inheritance: maps merge, lists and single values replace, null removes; every value keeps its origin."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from reconciler.document import Document, KeyPath
from reconciler.model.desired import Json
from reconciler.model.findings import Origin

NOT_INHERITED: Final = ("extends", "protected", "owner", "suspend")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A tree and where each part of it was declared. A null in a map is still there: it removes from what lies below."""

    tree: Mapping[str, Json]
    origins: Mapping[KeyPath, Origin]  # may name paths that the tree lacks, never the other way round


def own_layer(document: Document) -> Layer:
    return Layer(
        tree=document.tree,
        origins={path: Origin(file=document.file, line=line) for path, line in document.lines.items()},
    )


def inherit(child: Layer, parent: Layer) -> Layer:
    """`extends`. A commit belongs to its branch: who declares a branch of its own does not inherit the parent's commit."""
    left_out = {*NOT_INHERITED, "commit"} if "branch" in child.tree else set(NOT_INHERITED)
    return Layer(
        tree=_lay(child.tree, {key: value for key, value in parent.tree.items() if key not in left_out}),
        origins={**parent.origins, **child.origins},
    )


def role_layers(merged: Layer) -> Mapping[str, Layer]:
    """Each role over the defaults, complete and without nulls; the paths of origins begin at the role."""
    defaults = _as_map(merged.tree.get("defaults"))
    below: dict[KeyPath, Origin] = {}
    own: dict[str | int, dict[KeyPath, Origin]] = {}
    for path, origin in merged.origins.items():
        match path:
            case ("defaults", _, *_):
                below[path[1:]] = origin
            case ("roles", role, *_):
                own.setdefault(role, {})[path[2:]] = origin
    return {
        name: Layer(tree=_without_nulls(_lay(_as_map(role), defaults)), origins={**below, **own.get(name, {})})
        for name, role in _as_map(merged.tree.get("roles")).items()
        if role is not None
    }


def present_origins(layer: Layer) -> dict[str, Origin]:
    """Origins by dotted key, of what is really there; `""` is the whole."""
    present: dict[str, Origin] = {}
    for path, origin in layer.origins.items():
        if all(isinstance(part, str) for part in path) and _has(layer.tree, path):
            present[".".join(str(part) for part in path)] = origin
    return present


def _lay(upper: Mapping[str, Json], lower: Mapping[str, Json]) -> dict[str, Json]:
    laid = dict(lower)
    for key, value in upper.items():
        below = laid.get(key)
        laid[key] = _lay(value, below) if isinstance(value, dict) and isinstance(below, dict) else value
    return laid


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
