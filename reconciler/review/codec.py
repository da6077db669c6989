"""A snapshot as JSON and back. What the daemon writes, another release and another machine may read: so it is versioned.

Left out is what planning does not need and a build's artefacts should not hold: keys, logs of first runs, user-data.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from types import MappingProxyType
from typing import Any, Final, Union, get_args, get_origin

from cattrs import Converter
from cattrs.errors import ForbiddenExtraKeysError

from reconciler.errors import Stalled
from reconciler.model.desired import Json
from reconciler.model.memory import Memory
from reconciler.review.snapshot import Snapshot

VERSION: Final = 1
_REMEDY: Final = "let a daemon of this release make one, or say which file holds it with --snapshot"


def encode(snapshot: Snapshot) -> Json:
    lean = replace(snapshot, memory=_lean(snapshot.memory))
    document: Json = {"version": VERSION, **_converter().unstructure(lean, Snapshot)}
    return document


def dump(snapshot: Snapshot) -> bytes:
    return json.dumps(encode(snapshot), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def parse(content: bytes, *, file: str) -> Snapshot:
    """
    Raises:
        Stalled: it is no snapshot that this release understands.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Stalled(f"{file} is no snapshot: {error}", remedy=_REMEDY) from error
    return decode(document, file=file)


def decode(document: Json, *, file: str) -> Snapshot:
    """
    Raises:
        Stalled: as `parse`.
    """
    if not isinstance(document, dict) or "version" not in document:
        raise Stalled(f"{file} is no snapshot", remedy=_REMEDY)
    if document["version"] != VERSION:
        raise Stalled(
            f"{file} is a snapshot of version {document['version']}, this release reads version {VERSION}",
            remedy="use the release of the daemon that wrote it",
        )
    content = {key: value for key, value in document.items() if key != "version"}
    try:
        snapshot: Snapshot = _converter().structure(content, Snapshot)
    except (ForbiddenExtraKeysError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise Stalled(f"{file} is no whole snapshot: {type(error).__name__}: {error}", remedy=_REMEDY) from error
    return snapshot


def _lean(memory: Memory) -> Memory:
    return replace(
        memory,
        nodes={key: replace(one, public_key=None, first_run_log="") for key, one in memory.nodes.items()},
        intents={
            key: replace(one, parameters=replace(one.parameters, user_data="")) for key, one in memory.intents.items()
        },
    )


@cache
def _converter() -> Converter:
    """Made when it is needed: it takes its time."""
    made = Converter(forbid_extra_keys=True, detailed_validation=False)
    made.register_unstructure_hook(datetime, lambda moment: moment.astimezone(UTC).isoformat())
    made.register_structure_hook(datetime, lambda text, _: datetime.fromisoformat(text))
    made.register_unstructure_hook(timedelta, lambda span: span.total_seconds())
    made.register_structure_hook(timedelta, lambda seconds, _: timedelta(seconds=seconds))
    made.register_unstructure_hook_func(_is_json, _plain)
    made.register_structure_hook_func(_is_json, lambda value, _: value)
    made.register_unstructure_hook_func(_is_set, lambda values: sorted(made.unstructure(one) for one in values))
    made.register_unstructure_hook_factory(_is_map, lambda kind: _map_writer(made, kind))
    made.register_structure_hook_factory(_is_map, lambda kind: _map_reader(made, kind))
    return made


def _is_json(kind: Any) -> bool:
    """`Json`, however far Python has unrolled it."""
    return get_origin(kind) is Union and {bool, int, float, str, type(None)} <= set(get_args(kind))


def _plain(value: Any) -> Json:
    """A frozen map is no map to `json`."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    plain: Json = value
    return plain


def _is_set(kind: Any) -> bool:
    return get_origin(kind) is frozenset


def _is_map(kind: Any) -> bool:
    return get_origin(kind) is Mapping


def _has_text_keys(kind: Any) -> bool:
    key = get_args(kind)[0]
    return getattr(key, "__supertype__", key) is str


def _map_writer(converter: Converter, kind: Any) -> Callable[[Mapping[Any, Any]], Any]:
    """Of a map whose keys are no text, a list of pairs."""
    key_kind, value_kind = get_args(kind)

    def write(found: Mapping[Any, Any]) -> Any:
        if _has_text_keys(kind):
            return {str(key): converter.unstructure(value, value_kind) for key, value in found.items()}
        return [
            [converter.unstructure(key, key_kind), converter.unstructure(value, value_kind)]
            for key, value in found.items()
        ]

    return write


def _map_reader(converter: Converter, kind: Any) -> Callable[[Any, Any], Mapping[Any, Any]]:
    key_kind, value_kind = get_args(kind)

    def read(found: Any, _: Any) -> Mapping[Any, Any]:
        pairs = found.items() if _has_text_keys(kind) else found
        return MappingProxyType(
            {converter.structure(key, key_kind): converter.structure(value, value_kind) for key, value in pairs}
        )

    return read
