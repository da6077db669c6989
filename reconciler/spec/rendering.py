"""A merged spec as YAML that says at each value where it comes from, and that reads back as what it shows."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from reconciler.document import KeyPath, is_plain_text, show
from reconciler.model.desired import Json
from reconciler.spec.explain import Explained, Value

_INDENT = "  "
_WIDE = 60  # a longer line does not push the comments of all others to the right
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\uffef\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    path: KeyPath | None = None  # of the leaf that stands in it


def lines_of(explained: Explained, path: KeyPath, part: Json) -> Iterator[str]:
    """
    Args:
        path: what to show; all of it if empty.
        part: the value at `path`.
    """
    sources = {value.path: _source(value) for value in explained.values}
    drawn = list(_entry(str(path[-1]), part, path) if path else _map(dict(explained.tree), ()))
    width = max((len(line.text) for line in drawn if line.path is not None and len(line.text) <= _WIDE), default=0)
    for line in drawn:
        yield line.text if line.path is None else f"{line.text.ljust(width)}  # {sources[line.path]}"


def _source(value: Value) -> str:
    source = str(value.origin)
    if value.is_default:
        source += ", defaults"
    if value.written is not None:
        source += f", from {show(value.written)}"
    return _printable(source)


def _map(tree: Mapping[str, Json], path: KeyPath) -> Iterator[_Line]:
    for key, value in tree.items():
        yield from _entry(key, value, (*path, key))


def _entry(key: str, value: Json, path: KeyPath) -> Iterator[_Line]:
    name = _scalar(key)
    if isinstance(value, dict | list) and value:
        yield _Line(f"{name}:")
        for line in _inner(value, path):
            yield _Line(f"{_INDENT}{line.text}", line.path)
    else:
        yield _Line(f"{name}: {_scalar(value)}", path)


def _inner(value: dict[str, Json] | list[Json], path: KeyPath) -> Iterator[_Line]:
    if isinstance(value, dict):
        yield from _map(value, path)
        return
    for index, item in enumerate(value):
        where = (*path, index)
        if isinstance(item, dict | list) and item:
            first, *others = _inner(item, where)
            yield _Line(f"- {first.text}", first.path)
            yield from (_Line(f"{_INDENT}{line.text}", line.path) for line in others)
        else:
            yield _Line(f"- {_scalar(item)}", where)


def _scalar(value: Json) -> str:
    if isinstance(value, str) and is_plain_text(value):
        return value
    return _printable(json.dumps(value, ensure_ascii=False))


def _printable(text: str) -> str:
    """Without what YAML takes for the end of a line, or for no text at all."""
    return _UNPRINTABLE.sub(lambda found: _escaped(ord(found[0])), text)


def _escaped(code: int) -> str:
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004 - where YAML's escapes grow longer
