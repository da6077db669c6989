"""Strict YAML: plain values only, and the line of every key. Faults are collected, not raised, so that all are told."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import yaml

from reconciler.document.syntax import syntax_finding
from reconciler.document.wording import dotted, show
from reconciler.model.desired import Json
from reconciler.model.findings import Finding, Origin

KeyPath: TypeAlias = tuple[str | int, ...]

SIZE_LIMIT_BYTES: Final = 256 * 1024
DEPTH_LIMIT: Final = 20

_INTEGER_MAX: Final = 2**63 - 1
_INTEGER_LENGTH_MAX: Final = 40

_BOOLEANS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULLS: Final = frozenset({"~", "null", "Null", "NULL"})
_INTEGER: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(?:(?:0|[1-9][0-9]*)\.[0-9]*|\.[0-9]+)(?:[eE][-+][0-9]+)?")
# What YAML 1.1 (PyYAML, Ruby) and YAML 1.2 (editors, Go) read differently. Guessing would be wrong for somebody.
_BOOLEAN_TO_SOME: Final = re.compile(r"yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF")
_KEYS_ALLOWED: Final = frozenset({"on"})  # a key of the settings, and well known as one from elsewhere
_NUMBER_TO_SOME: Final = re.compile(
    r"""
      [-+]?0[0-9_]+(?:\.[0-9_]*)?               # 010: eight or ten
    | 0o[0-7]+ | [-+]?0b[01_]+
    | [-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?   # 12:30: a number in base sixty
    | [-+]?[0-9]+_[0-9_]*(?:\.[0-9_]*)?         # 1_000
    | [-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+   # 1e3
    | [-+]?\.(?:inf|Inf|INF) | \.(?:nan|NaN|NAN)
    """,
    re.VERBOSE,
)
# Digits, signs and words of the tables above begin like this; all other plain text is text and skips them.
_MAY_BE_SPECIAL: Final = frozenset("0123456789+-.~tTfFnNyYoO")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_/$][A-Za-z0-9 ._/@:+=${}\[\]()*~#<>-]*(?<![ :])")
_CONTROL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")  # terminals obey some of them

# The C loader's *composer* recurses in C and dies of a few thousand brackets; its events are safe at any depth.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One file as plain values."""

    file: str  # as findings name it
    tree: dict[str, Json]  # empty where the file could not be read at all
    lines: Mapping[KeyPath, int]  # of every key and list item, from 1
    written: Mapping[KeyPath, str] = field(
        default_factory=lambda: MappingProxyType({})
    )  # numbers and booleans as they stand in the file: 1.10, not 1.1
    doubtful: frozenset[KeyPath] = frozenset()  # what has a finding already: its type is anyone's guess
    findings: tuple[Finding, ...] = ()
    is_readable: bool = True  # False: not even its keys are known

    def origin(self, path: KeyPath = ()) -> Origin:
        """Where `path` stands, or where the nearest thing around it does."""
        while path and path not in self.lines:
            path = path[:-1]
        return Origin(file=self.file, line=self.lines.get(path, 1))


def is_plain_text(text: str) -> bool:
    """Whether an unquoted scalar of a block means this very text, here and to any other reader of YAML."""
    return (
        _PLAIN.fullmatch(text) is not None
        and ": " not in text
        and " #" not in text
        and not _is_ambiguous(text)
        and isinstance(_plain(text), str)
    )


def read_document(content: bytes, *, file: str) -> Document:
    """Read one file. Never raises for what is in it: see `Document.findings`."""
    if len(content) > SIZE_LIMIT_BYTES:
        return _unreadable(
            file, 1, f"the file is larger than {SIZE_LIMIT_BYTES // 1024} KiB", "split it, or shorten it"
        )
    content = content.removeprefix(b"\xef\xbb\xbf")  # Windows editors put a byte order mark in front
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return _unreadable(file, line, "the file is not UTF-8", "save it in the encoding UTF-8")
    if control := _CONTROL.search(text):
        line = text.count("\n", 0, control.start()) + 1
        return _unreadable(file, line, f"there is a control character ({control[0]!r})", "delete it")
    return _Reading(content, file).document()


def _unreadable(file: str, line: int, message: str, remedy: str) -> Document:
    finding = Finding(origin=Origin(file=file, line=line), message=message, remedy=remedy)
    return Document(file=file, tree={}, lines={}, findings=(finding,), is_readable=False)


class _TooDeep(Exception):
    def __init__(self, line: int) -> None:
        self.line = line


class _Reading:
    """One walk over the events of one file."""

    def __init__(self, content: bytes, file: str) -> None:
        self._content = content
        self._file = file
        self._loader = _Loader(content)
        self._lines: dict[KeyPath, int] = {(): 1}
        self._written: dict[KeyPath, str] = {}
        self._doubtful: set[KeyPath] = set()
        self._findings: list[Finding] = []

    def document(self) -> Document:
        try:
            tree = self._document()
        except yaml.YAMLError as error:
            return Document(
                file=self._file,
                tree={},
                lines={},
                findings=(*self._findings, syntax_finding(error, self._content, self._file)),
                is_readable=False,
            )
        except _TooDeep as error:
            self._find(error.line, f"values are nested deeper than {DEPTH_LIMIT} levels", "flatten them")
            return Document(file=self._file, tree={}, lines={}, findings=tuple(self._findings), is_readable=False)
        finally:
            self._loader.dispose()
        return Document(
            file=self._file,
            tree=tree if isinstance(tree, dict) else {},
            lines=self._lines,
            written=self._written,
            doubtful=frozenset(self._doubtful),
            findings=tuple(self._findings),
            is_readable=isinstance(tree, dict),
        )

    def _document(self) -> Json:
        self._take()  # the stream's start
        if isinstance(self._loader.peek_event(), yaml.StreamEndEvent):
            self._find(1, "the file is empty", "declare something in it, or delete it")
            return None
        self._take()  # the document's start
        first = self._loader.peek_event()
        tree = self._value((), 1)
        if not isinstance(tree, dict):
            self._find(
                _line(first), "the file must be a map of keys and values", "begin with a line such as key: value"
            )
        self._take()  # the document's end
        after = self._loader.peek_event()
        if not isinstance(after, yaml.StreamEndEvent):
            self._find(_line(after), 'a second document begins with "---"', "keep one document in a file")
            self._drain()
        return tree

    def _drain(self) -> None:
        """What follows may hold syntax errors that people want to know of, too."""
        depth = 0
        while self._loader.check_event():
            event = self._take()
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEPTH_LIMIT:
                raise _TooDeep(_line(event))

    def _value(self, path: KeyPath, depth: int) -> Json:
        event = self._take()
        if isinstance(event, yaml.AliasEvent):
            self._find(_line(event), f"the alias *{event.anchor} is not allowed", "write the value out, or use extends")
            return None
        self._refuse_decoration(event)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, path)
        if depth > DEPTH_LIMIT:
            raise _TooDeep(_line(event))
        if isinstance(event, yaml.MappingStartEvent):
            return self._map(path, depth)
        return self._list(path, depth)

    def _map(self, path: KeyPath, depth: int) -> dict[str, Json]:
        tree: dict[str, Json] = {}
        while not isinstance(self._loader.peek_event(), yaml.MappingEndEvent):
            event = self._loader.peek_event()
            key = self._key(path, depth)
            where = (*path, key)
            if key in tree:
                self._find(
                    _line(event), f"the key {show(key)} is there twice", f"the first is in line {self._lines[where]}"
                )
                self._value((*where, "twice"), depth + 1)
                continue
            self._lines[where] = _line(event)
            tree[key] = self._value(where, depth + 1)
        self._take()
        return tree

    def _key(self, path: KeyPath, depth: int) -> str:
        event = self._loader.peek_event()
        line = _line(event)
        if not isinstance(event, yaml.ScalarEvent):
            self._value((*path, "?"), depth + 1)
            self._find(line, "a key must be text", "write it as key: value")
            return f"? in line {line}"
        self._take()
        self._refuse_decoration(event)
        text = str(event.value)
        if not event.style:
            if text == "<<":
                self._find(line, 'the merge key "<<" is not allowed', "use extends or defaults")
            elif (_is_ambiguous(text) and text not in _KEYS_ALLOWED) or not isinstance(_plain(text), str) or text == "":
                self._find(line, f"the key {text} is not text", f'quote it: "{text}"')
        return text

    def _list(self, path: KeyPath, depth: int) -> list[Json]:
        items: list[Json] = []
        while not isinstance(self._loader.peek_event(), yaml.SequenceEndEvent):
            where = (*path, len(items))
            self._lines[where] = _line(self._loader.peek_event())
            items.append(self._value(where, depth + 1))
        self._take()
        return items

    def _scalar(self, event: yaml.ScalarEvent, path: KeyPath) -> Json:
        text = str(event.value)
        if event.style:  # quoted, or a block
            if _CONTROL.search(text):
                self._find(_line(event), f"{dotted(path)} holds a control character", "remove the escape")
            return text
        if text == "":
            if path:  # an empty value looks like "as before" but null removes: too dangerous to guess
                where = f"{dotted(path)} has no value"
                self._find(_line(event), where, "give it one; {} is an empty map, and null removes what is inherited")
            return None
        if text[0] not in _MAY_BE_SPECIAL:
            return text
        if _is_ambiguous(text):
            self._doubtful.add(path)
            self._find(_line(event), *_ambiguity(dotted(path), text))
            return text
        value = _plain(text)
        if not isinstance(value, str):
            self._written[path] = text
        if isinstance(value, int | float) and abs(value) > _INTEGER_MAX:
            self._doubtful.add(path)
            self._find(_line(event), f"{dotted(path)}: the number {show(text)} is too large", "quote it to mean text")
            return text
        return value

    def _refuse_decoration(self, event: yaml.NodeEvent) -> None:
        if event.anchor is not None:
            self._find(_line(event), f"the anchor &{event.anchor} is not allowed", "remove it; use extends or defaults")
        tag = getattr(event, "tag", None)
        if tag is not None:
            short = str(tag).replace("tag:yaml.org,2002:", "!!")
            self._find(_line(event), f"the tag {short} is not allowed", "remove it; only plain YAML is read")

    def _take(self) -> Any:  # the stubs do not know which event has which fields
        return self._loader.get_event()

    def _find(self, line: int, message: str, remedy: str) -> None:
        self._findings.append(Finding(origin=Origin(file=self._file, line=line), message=message, remedy=remedy))


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _is_ambiguous(text: str) -> bool:
    return _BOOLEAN_TO_SOME.fullmatch(text) is not None or (
        _NUMBER_TO_SOME.fullmatch(text) is not None and _FLOAT.fullmatch(text) is None
    )


def _ambiguity(where: str, text: str) -> tuple[str, str]:
    if _BOOLEAN_TO_SOME.fullmatch(text):
        return (
            f"{where}: {text} is a boolean to some YAML readers and text to others",
            f'write true or false, or quote it: "{text}"',
        )
    return (
        f"{where}: {text} is a number to some YAML readers and text or another number to others",
        f'quote it to mean text: "{text}"; or write a plain decimal number',
    )


def _plain(text: str) -> Json:
    """What an unquoted, unambiguous scalar means."""
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.fullmatch(text):
        # Python refuses to convert thousands of digits; so many are too large anyway.
        return int(text, 0) if len(text) <= _INTEGER_LENGTH_MAX else float("inf")
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
