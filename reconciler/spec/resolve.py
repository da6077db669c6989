"""A file and all that it extends become one set of values: merged, complete, with variables replaced."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from reconciler.document import KeyPath
from reconciler.model.desired import Json
from reconciler.model.findings import Finding, Origin
from reconciler.model.names import EnvironmentName
from reconciler.spec.assemble import holding_themselves, missing
from reconciler.spec.check import CheckedFile, check_expanded, is_expanded, is_shell
from reconciler.spec.merge import Layer, Merged, complete
from reconciler.spec.variables import SOURCES, Unset, expand

SIZE_MAX_BYTES: Final = 1_000_000  # of what is merged, as JSON; a Chef Server takes no larger request
_GROWTH_MAX: Final = 4  # JSON of a file is surely no larger than this many times the YAML


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    merged: Merged | None  # None: too large to be looked at
    written: Mapping[KeyPath, str] = field(default_factory=lambda: MappingProxyType({}))  # texts that held variables
    findings: tuple[Finding, ...] = ()  # sorted: what stands against it, beside the faults of single files


def resolve(
    name: EnvironmentName, files: Sequence[CheckedFile], layer: Layer, *, user_data_limit_bytes: int
) -> Resolved:
    """
    Args:
        files: the environment's own, then what it extends.
        layer: all of them merged.
    """
    own = files[0]
    if size := _size_over_limit(files, layer):
        return Resolved(merged=None, findings=(_too_large(own, f"{size} bytes are declared or inherited"),))
    merged = complete(layer)
    findings = set(missing(own.document, merged, told=own.findings))
    written: dict[KeyPath, str] = {}
    if not findings and not own.findings and any(file.has_variables for file in files):
        expansion = _Expansion(name, merged, own)
        merged = expansion.merged()
        written = expansion.written
        findings.update(expansion.findings)
        if written and not findings:
            faults = check_expanded(merged.tree(), written, user_data_limit_bytes=user_data_limit_bytes)
            findings.update(
                Finding(origin=_origin(merged, path, own), message=message, remedy=remedy)
                for path, message, remedy in faults
            )
    findings.update(holding_themselves(name, own.document, merged))
    return Resolved(merged=merged, written=written, findings=tuple(sorted(findings)))


class _Expansion:
    """One environment's variables put in."""

    def __init__(self, name: EnvironmentName, merged: Merged, own: CheckedFile) -> None:
        self.written: dict[KeyPath, str] = {}
        self.findings: list[Finding] = []
        self._before = merged
        self._own = own
        self._growth_bytes = 0
        self._values: dict[str, str | None] = {"environment": name}

    def merged(self) -> Merged:
        merged = self._before
        top = dict(merged.top.tree)
        for key in sorted(SOURCES):
            # These are texts, or are not there: else there were findings.
            value = top.get(key)
            self._values[key] = None if value is None else str(self._expanded((key,), value))
            if value is not None:
                top[key] = self._values[key]
        rest = {key: value for key, value in top.items() if key not in SOURCES}
        roles = {
            name: replace(layer, tree=self._map(("roles", name), layer.tree)) for name, layer in merged.roles.items()
        }
        expanded = replace(merged, top=replace(merged.top, tree={**top, **self._map((), rest)}), roles=roles)
        if self._growth_bytes > SIZE_MAX_BYTES:
            self.findings.append(_too_large(self._own, f"variables add {self._growth_bytes} bytes"))
        return expanded

    def _map(self, path: KeyPath, tree: Mapping[str, Json]) -> dict[str, Json]:
        return {key: self._expanded((*path, key), value) for key, value in tree.items()}

    def _expanded(self, path: KeyPath, value: Json) -> Json:
        match value:
            case str() if "${" in value and is_expanded(path, value):
                return self._text(path, value)
            case dict():
                return self._map(path, value)
            case list():
                return [self._expanded((*path, index), item) for index, item in enumerate(value)]
            case _:
                return value

    def _text(self, path: KeyPath, text: str) -> str:
        self.written[path] = text
        try:
            expanded = expand(text, self._values, is_shell=is_shell(path))
        except Unset as unset:
            message = f"{self._values['environment']} has no {unset.name} for ${{{unset.name}}} in "
            message += ".".join(str(part) for part in path)
            self.findings.append(
                Finding(
                    origin=_origin(self._before, path, self._own),
                    message=message,
                    remedy=f"add {unset.name} to {self._own.document.file}, or leave the variable out",
                )
            )
            return text
        self._growth_bytes += len(expanded) - len(text)
        return expanded


def _origin(merged: Merged, path: KeyPath, own: CheckedFile) -> Origin:
    return merged.origin(path) or own.document.origin(path)


def _too_large(own: CheckedFile, what: str) -> Finding:
    return Finding(
        origin=own.document.origin(("extends",)),
        message=f"{what}, at most {SIZE_MAX_BYTES} are allowed",
        remedy="shorten attributes or user_data; each role has the defaults, too",
    )


def _size_over_limit(files: Sequence[CheckedFile], layer: Layer) -> int:
    """What the merged environment comes to, before it is made; 0 where that is within the limit."""
    declared, defaults = layer.tree.get("roles"), layer.tree.get("defaults")
    roles = len(declared) if isinstance(declared, dict) else 0
    if sum(file.size_bytes for file in files) * (roles + 1) * _GROWTH_MAX <= SIZE_MAX_BYTES:
        return 0
    rest = {key: value for key, value in layer.tree.items() if key != "defaults"}
    size = _json_bytes(rest) + roles * _json_bytes(defaults)
    return size if size > SIZE_MAX_BYTES else 0


def _json_bytes(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode())
