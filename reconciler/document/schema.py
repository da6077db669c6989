"""JSON Schemas (2020-12), compiled once, whose errors become findings with file, line, value and remedy.

A schema says what it expects in the keyword `errorMessage`, which editors show too: a phrase that follows "must be",
or, beside `not`, one that follows the key's name.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from reconciler.document.plain import Document, KeyPath
from reconciler.document.wording import dotted, kind, show, suggest
from reconciler.model.findings import Finding

_TYPES: Final = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a map",
    "null": "null",
}
_ENDING: Final = ".schema.json"
_UNITS: Final = {"maxLength": "characters", "maxItems": "items", "maxProperties": "keys"}
_NOTHING_WRITTEN: Final[Mapping[KeyPath, str]] = MappingProxyType({})
_SHOWN_LENGTH_MAX: Final = 200  # of a message that may hold a whole value
_BOOLEAN_WORDS: Final = frozenset({"true", "false", "yes", "no", "on", "off"})


def schema_names() -> list[str]:
    """What `schema_text` knows: "environment", "settings", and what commands print."""
    return sorted(file.name.removesuffix(_ENDING) for file in _folder().iterdir() if file.name.endswith(_ENDING))


def schema_text(name: str) -> str:
    return (_folder() / f"{name}{_ENDING}").read_text("utf-8")


def _folder() -> Traversable:
    packaged = resources.files("reconciler") / "schemas"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "schemas"


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """As JSON Schema means it: Python's own `$` would also match before a line break at the end."""
    return re.compile(f"{pattern[:-1]}\\Z" if pattern.endswith("$") else pattern)


def _pattern(_validator: Any, pattern: str, value: object, _schema: Any) -> Iterator[ValidationError]:
    if isinstance(value, str) and not _compiled(pattern).search(value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


_Validator: Final = extend(  # type: ignore[no-untyped-call] # jsonschema leaves it untyped
    Draft202012Validator, {"pattern": _pattern}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Objection:
    """One thing that somebody else's schema does not allow."""

    path: KeyPath
    text: str  # as the schema says it itself, or in its terms; it begins with the path
    keyword: str  # of JSON Schema: "maximum"
    value: Any  # what stands at the path


class Schema:
    """One compiled schema. Checking is thread-safe."""

    def __init__(self, definition: Mapping[str, Any]) -> None:
        Draft202012Validator.check_schema(definition)
        self._validator = _Validator(definition)
        self._homes = dict(_homes(definition))

    @staticmethod
    @cache
    def named(name: str) -> "Schema":
        """The schema of this file name, from the installed package or from the checkout beside it."""
        return Schema(json.loads((_folder() / name).read_text("utf-8")))

    def check(self, document: Document, *, unchecked: Collection[KeyPath] = ()) -> tuple[Finding, ...]:
        """Everything that is wrong with the document's values, sorted.

        Args:
            unchecked: places whose own value is not judged.
        """
        faults = self.faults(document.tree, unchecked={*document.doubtful, *unchecked}, written=document.written)
        return tuple(
            sorted(
                {
                    Finding(origin=document.origin(path), message=message, remedy=remedy)
                    for path, message, remedy in faults
                }
            )
        )

    def faults(
        self,
        tree: Mapping[str, Any],
        *,
        unchecked: Collection[KeyPath] = frozenset(),
        written: Mapping[KeyPath, str] = _NOTHING_WRITTEN,
    ) -> Iterator[tuple[KeyPath, str, str]]:
        """Everything that is wrong with these values: where, what, remedy.

        Args:
            written: numbers and booleans as they stand in the file.
        """
        for error in self._validator.iter_errors(tree):
            yield from self._faults(error, unchecked, written)

    def objections(self, tree: Mapping[str, Any]) -> Iterator[Objection]:
        """Where the values are not as somebody else's schema wants them.

        Raises:
            RecursionError: the schema refers to itself without end.
        """
        for error in self._validator.iter_errors(tree):
            path: KeyPath = tuple(error.absolute_path)
            text = _objection(error)
            yield Objection(
                path=path,
                text=f"{dotted(path)}: {text}" if path else text,
                keyword=str(error.validator),
                value=error.instance,
            )

    def _faults(
        self, error: ValidationError, unchecked: Collection[KeyPath], written: Mapping[KeyPath, str]
    ) -> Iterator[tuple[KeyPath, str, str]]:
        path: KeyPath = tuple(error.absolute_path)
        schema: Any = error.schema
        value: Any = error.instance
        if "propertyNames" in error.absolute_schema_path:
            expected = schema.get("errorMessage", "another one")
            yield (*path, value), f"the key {show(value)} of {dotted(path)} must be {expected}", ""
        elif error.validator == "additionalProperties":
            known = schema["properties"]
            for key in value.keys() - known.keys():
                yield (*path, key), f"unknown key {show(key)}", self._advice(key, _offered(known))
        elif error.validator == "required":
            for key in schema["required"]:
                if key not in value:
                    yield path, f"{dotted((*path, key))} is missing", "add it"
        elif path not in unchecked:
            yield path, *_value_fault(error, dotted(path), written.get(path))

    def _advice(self, key: str, offered: list[str]) -> str:
        if home := self._homes.get(key):
            return f"it belongs to {home}"
        return suggest(key, offered) or f"known here: {', '.join(sorted(offered))}"


def _offered(properties: Mapping[str, Any]) -> list[str]:
    """Keys that may be used; those of later releases are known, but not advice."""
    return [key for key, schema in properties.items() if "later" not in str(schema.get("$ref", ""))]


def _homes(definition: Any) -> Iterator[tuple[str, str]]:
    """Each key → the title of the map that knows it, for keys put in the wrong place."""
    if isinstance(definition, dict):
        properties, title = definition.get("properties"), definition.get("title")
        if isinstance(properties, dict) and isinstance(title, str):
            yield from ((key, title[:1].lower() + title[1:]) for key in _offered(properties))
        for part in definition.values():
            yield from _homes(part)


def _objection(error: ValidationError) -> str:
    said = error.schema.get("errorMessage") if isinstance(error.schema, dict) else None
    text = f"must be {said}" if said else error.message
    return text if len(text) <= _SHOWN_LENGTH_MAX else f"{text[:_SHOWN_LENGTH_MAX]}…"


def _value_fault(error: ValidationError, where: str, written: str | None) -> tuple[str, str]:
    schema: Any = error.schema
    value: Any = error.instance
    limit: Any = error.validator_value
    said: str | None = schema.get("errorMessage")
    if error.validator == "not":
        return f"{where} {said or 'is not allowed'}", "remove it"
    if error.validator == "type":
        shown = f"the number {written}" if written is not None and _is_number(value) else kind(value)
        return f"{where} must be {said or _type_names(limit)}, not {shown}", _type_remedy(schema, value, written)
    if error.validator == "enum":
        offered = ", ".join(show(choice) for choice in limit if choice is not None)
        nearest = suggest(str(value), [choice for choice in limit if isinstance(choice, str)])
        return f"{where} must be one of {offered}, not {show(value)}", nearest
    return _limit_fault(str(error.validator), where, value, limit, said)


def _limit_fault(keyword: str, where: str, value: Any, limit: Any, said: str | None) -> tuple[str, str]:
    if keyword in _UNITS:
        return f"{where} has {len(value)} {_UNITS[keyword]}, at most {limit} are allowed", "shorten it"
    if keyword in ("minLength", "minItems", "minProperties"):
        return f"{where} is empty", f"it must be {said}" if said else "give it a value, or remove it"
    if keyword == "uniqueItems":
        twice = next(item for index, item in enumerate(value) if item in value[:index])
        return f"{where} names {show(twice)} twice", "keep one"
    expected = {"minimum": f"at least {limit}", "maximum": f"at most {limit}"}.get(keyword)
    return f"{where} must be {said or expected or 'another one'}, not {show(value)}", ""


def _type_names(types: str | list[str]) -> str:
    names = [types] if isinstance(types, str) else types
    return " or ".join(_TYPES[name] for name in names if name != "null" or len(names) == 1)


def _type_remedy(schema: Mapping[str, Any], value: object, written: str | None) -> str:
    types = schema["type"]
    wanted = {types} if isinstance(types, str) else set(types)
    if "string" in wanted and isinstance(value, bool | int | float):
        text = written if written is not None else show(value)
        # Quotes alone do not make a duration of a number.
        return f'quote it: "{text}"' if _compiled(schema.get("pattern", "")).search(text) else ""
    if "integer" in wanted and isinstance(value, str) and value.removeprefix("-").isdecimal():
        return f"remove the quotes: {value}"
    if "boolean" in wanted and isinstance(value, str) and value.lower() in _BOOLEAN_WORDS:
        return "write true or false, without quotes"
    if "array" in wanted and not isinstance(value, dict | list):
        return f"write it as a list: [{value}]"
    if "object" in wanted:
        return "write it as keys and values"
    return ""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
