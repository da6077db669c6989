"""The sections of the settings that say what environments may be and do: lifetimes, policy, notify."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import unquote

from jsonschema.exceptions import SchemaError

from reconciler.document import Document, KeyPath, Schema, show
from reconciler.model.policy import Policy
from reconciler.settings.durations import is_duration, seconds
from reconciler.settings.faults import Fault, file_trouble
from reconciler.settings.values import Lifetimes, Receiver

_POLICY_KEYS: Final = (
    ("instance_types",),
    ("nodes", "environment"),
    ("nodes", "total"),
    ("monthly_cost", "environment"),
    ("monthly_cost", "total"),
    ("owner",),
    ("require_ttl",),
    ("parents",),
    ("protected",),
    ("schema",),
)


def lifetimes(tree: Mapping[str, Any]) -> Lifetimes:
    section = _section(tree, "lifetimes")
    given: dict[str, Any] = {
        f"{key}_s": seconds(section[key]) for key in ("default_ttl", "maximum_ttl") if key in section
    }
    if "notices" in section:
        given["notices_s"] = tuple(sorted({seconds(notice) for notice in section["notices"]}))
    if "remove_files" in section:
        given["remove_files"] = section["remove_files"]
    return Lifetimes(**given)


def policy(document: Document, bounds: Lifetimes) -> Policy:
    """The time to live is bounded by the lifetimes, so that it is said in one place."""
    section = _section(document.tree, "policy")
    nodes, cost = _section(section, "nodes"), _section(section, "monthly_cost")
    schema = section.get("schema")
    return Policy(
        instance_types=tuple(section.get("instance_types", ())),
        nodes_per_environment=_whole(nodes.get("environment")),
        nodes_in_total=_whole(nodes.get("total")),
        monthly_cost_per_environment=cost.get("environment"),
        monthly_cost_in_total=cost.get("total"),
        owner=section.get("owner"),
        requires_ttl=section.get("require_ttl") is True,
        default_ttl=_timedelta(bounds.default_ttl_s),
        maximum_ttl=_timedelta(bounds.maximum_ttl_s),
        parents=tuple(section.get("parents", ())),
        protected=tuple(section.get("protected", ())),
        schema=None if schema is None else MappingProxyType(schema),
        origins=MappingProxyType({".".join(key): document.origin(("policy", *key)) for key in _POLICY_KEYS}),
    )


def receivers(tree: Mapping[str, Any], folder: Path) -> tuple[Receiver, ...]:
    return tuple(
        Receiver(
            name=receiver.get("name") or f"notify[{index}]",
            url_file=folder / receiver["url_file"],
            secret_file=folder / receiver["secret_file"] if receiver.get("secret_file") else None,
            on=frozenset(receiver["on"]),
            environments=receiver.get("environments") or "*",
        )
        for index, receiver in enumerate(tree.get("notify") or ())
    )


def section_faults(document: Document) -> Iterator[Fault]:
    """What the schema cannot say of these sections. Tolerates missing keys and wrong types, which the schema reports."""
    ttls = _section(document.tree, "lifetimes")
    default, maximum = ttls.get("default_ttl"), ttls.get("maximum_ttl")
    if is_duration(default) and is_duration(maximum) and seconds(default) > seconds(maximum):
        message = f"lifetimes.default_ttl is longer than lifetimes.maximum_ttl: {default} and {maximum}"
        yield ("lifetimes", "default_ttl"), message, "make the maximum the longer one"
    schema = _section(document.tree, "policy").get("schema")
    if isinstance(schema, dict):
        yield from _schema_faults(schema)
    taken: set[str] = set()
    for index, receiver in _receivers(document):
        name = receiver.get("name")
        if isinstance(name, str) and name in taken:
            yield ("notify", index, "name"), f'two receivers have the name "{name}"', "rename one"
        taken.add(str(name))


def _schema_faults(schema: dict[str, Any]) -> Iterator[Fault]:
    try:
        Schema(schema)
    except SchemaError as error:
        where = ".".join(("policy.schema", *(str(part) for part in error.path)))
        message = f"{where} is not valid JSON Schema: {error.message}"
        yield ("policy", "schema", *error.path), message, "correct it, or remove it"
    for path, reference in _references(schema, ("policy", "schema")):
        if not _leads_somewhere(reference, schema):
            # Nothing is fetched: what a file may ask for must not hang on somebody's server.
            message = f"{'.'.join(str(part) for part in path)} {show(reference)} leads nowhere in this schema"
            yield path, message, "refer to a part of it, such as #/$defs/name"


def _references(value: object, path: KeyPath) -> Iterator[tuple[KeyPath, object]]:
    if isinstance(value, dict):
        for key, part in value.items():
            if key in ("$ref", "$dynamicRef"):
                yield (*path, key), part
            yield from _references(part, (*path, key))
    if isinstance(value, list):
        for index, part in enumerate(value):
            yield from _references(part, (*path, index))


def _leads_somewhere(reference: object, schema: object) -> bool:
    if not isinstance(reference, str) or (reference != "#" and not reference.startswith("#/")):
        return False
    part = schema
    for name in reference.split("/")[1:]:
        key = unquote(name).replace("~1", "/").replace("~0", "~")
        if not isinstance(part, dict) or key not in part:
            return False
        part = part[key]
    return isinstance(part, dict | bool)


def section_file_faults(document: Document, folder: Path) -> Iterator[Fault]:
    """Files that these sections name and that are not there."""
    named: list[tuple[KeyPath, str, object]] = [(("prices",), "prices", document.tree.get("prices"))]
    for index, receiver in _receivers(document):
        named += [
            (("notify", index, key), f"notify[{index}].{key}", receiver.get(key)) for key in ("url_file", "secret_file")
        ]
    for where, shown, written in named:
        if isinstance(written, str) and (fault := file_trouble(folder / written)):
            yield where, f"{shown}: {folder / written} {fault}", "correct the path, or put the file there"


def _receivers(document: Document) -> Iterator[tuple[int, dict[str, Any]]]:
    listed = document.tree.get("notify")
    for index, receiver in enumerate(listed if isinstance(listed, list) else ()):
        if isinstance(receiver, dict):
            yield index, receiver


def _section(tree: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Without what is null: that keeps its default."""
    section = tree.get(key)
    return {key: value for key, value in section.items() if value is not None} if isinstance(section, dict) else {}


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)  # JSON Schema takes 2.0 for a whole number


def _timedelta(duration_s: float | None) -> timedelta | None:
    return None if duration_s is None else timedelta(seconds=duration_s)
