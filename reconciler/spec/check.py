"""The faults of one file by itself: what its schema says, and what a schema cannot say.

Text with variables is judged once they are replaced: `check_expanded`.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from reconciler.document import Document, KeyPath, Schema, read_document, schema_text, show
from reconciler.model.desired import Json
from reconciler.model.findings import Finding
from reconciler.spec.lifetime import lifetime_faults
from reconciler.spec.run_list import FORMS, is_item
from reconciler.spec.secrets import secret_kind
from reconciler.spec.variables import NAMES, SOURCES, holds_variables, variable_faults

_MAY_HOLD_SECRETS: Final = frozenset({"attributes", "tags", "user_data"})
_LEAK_REMEDY: Final = "take it out of git and replace it; nodes can fetch it from a vault"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedFile:
    document: Document
    findings: tuple[Finding, ...]  # sorted
    size_bytes: int
    has_variables: bool

    @property
    def extends(self) -> str | None:
        parent = self.document.tree.get("extends")
        return parent if isinstance(parent, str) else None


def check_file(content: bytes, *, file: str, user_data_limit_bytes: int) -> CheckedFile:
    document = read_document(content, file=file)
    if not document.is_readable:
        return CheckedFile(document=document, findings=document.findings, size_bytes=len(content), has_variables=False)
    texts = dict(texts_of(document.tree))
    variable = {path for path, text in texts.items() if is_expanded(path, text)}
    findings = {*document.findings, *_schema().check(document, unchecked=variable)}
    for path, text in texts.items():
        faults = [*_secret_faults(path, text), *_variable_faults(path, text)]
        if path not in variable:
            faults += _text_faults(path, text, user_data_limit_bytes)
        findings.update(
            Finding(origin=document.origin(path), message=message, remedy=remedy) for message, remedy in faults
        )
    findings.update(_key_findings(document))
    return CheckedFile(
        document=document,
        findings=tuple(sorted(findings)),
        size_bytes=len(content),
        has_variables=bool(variable),
    )


def check_expanded(
    tree: Mapping[str, Json], expanded: Collection[KeyPath], *, user_data_limit_bytes: int
) -> Iterator[tuple[KeyPath, str, str]]:
    """What is wrong with values now that their variables are replaced: where, what, remedy.

    Args:
        tree: of the merged environment.
        expanded: where texts held variables. All else was judged in its file.
    """
    # Attributes may hold any text; leaving them out halves the time.
    judged = [path for path in expanded if _section(path) != "attributes"]
    if judged:
        yield from _schema().faults(_only(tree, judged))
    for path in expanded:
        text = _at(tree, path)
        if isinstance(text, str):
            for message, remedy in (*_secret_faults(path, text), *_text_faults(path, text, user_data_limit_bytes)):
                yield path, message, remedy


def is_expanded(path: KeyPath, text: str) -> bool:
    """Whether the text at `path` holds variables."""
    return path != ("extends",) and holds_variables(text, is_shell=_section(path) == "user_data")


def is_shell(path: KeyPath) -> bool:
    return _section(path) == "user_data"


def texts_of(value: Json, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    match value:
        case str():
            yield path, value
        case dict():
            for key, part in value.items():
                yield from texts_of(part, (*path, key))
        case list():
            for index, part in enumerate(value):
                yield from texts_of(part, (*path, index))


@cache
def _schema() -> Schema:
    """What editors have, without its exception for variables: `${…}` that is left after replacing is mere text."""
    return Schema(_without_exceptions(json.loads(schema_text("environment"))))


def _without_exceptions(definition: Any) -> Any:
    if isinstance(definition, list):
        return [_without_exceptions(part) for part in definition]
    if not isinstance(definition, dict):
        return definition
    otherwise = definition.get("else", {})
    kept = {key: part for key, part in definition.items() if key not in ("if", "then", "else")} | otherwise
    return {key: _without_exceptions(part) for key, part in kept.items()}


def _text_faults(path: KeyPath, text: str, user_data_limit_bytes: int) -> Iterator[tuple[str, str]]:
    section, where = _section(path), _where(path)
    if section == "user_data" and (size := len(text.encode())) > user_data_limit_bytes:
        yield (
            f"{where} is {size} bytes long, at most {user_data_limit_bytes} fit beside the bootstrap",
            "shorten it, or fetch the rest from the script",
        )
    if section == "run_list" and text and not is_item(text):
        yield f"{show(text)} is not a run-list item", f"write {FORMS}"
    if path[0] in ("expires", "schedule"):
        yield from lifetime_faults(path, text)


def _secret_faults(path: KeyPath, text: str) -> Iterator[tuple[str, str]]:
    if _section(path) in _MAY_HOLD_SECRETS and (secret := secret_kind(_of_role(path), text)):
        # The value itself stays out of the message: findings are logged.
        yield f"{_where(path)} looks like {secret}", _LEAK_REMEDY


def _variable_faults(path: KeyPath, text: str) -> Iterator[tuple[str, str]]:
    if "${" in text and not is_shell(path) and path != ("extends",):
        yield from variable_faults(_where(path), text, is_source=len(path) == 1 and path[0] in SOURCES)


def _key_findings(document: Document) -> Iterator[Finding]:
    for path in document.lines:
        key = path[-1] if path else ""
        if isinstance(key, str) and "${" in key and any(f"${{{name}}}" in key for name in NAMES):
            yield Finding(
                origin=document.origin(path),
                message=f"the key {show(key)} holds a variable",
                remedy="variables are replaced in values only",
            )


def _of_role(path: KeyPath) -> tuple[str, ...]:
    """The keys below a role or the defaults; nothing for what is elsewhere."""
    keys = tuple(part for part in path if isinstance(part, str))
    return keys[1:] if keys[0] == "defaults" else keys[2:] if keys[0] == "roles" else ()


def _section(path: KeyPath) -> str:
    of_role = _of_role(path)
    return of_role[0] if of_role else ""


def _where(path: KeyPath) -> str:
    return ".".join(part for part in path if isinstance(part, str))


def _only(tree: Mapping[str, Json], paths: Collection[KeyPath]) -> dict[str, Json]:
    """The parts of a tree that lead to these places; a list stays whole."""
    parts: dict[str, Json] = {}
    for path in paths:
        source: Mapping[str, Json] = tree
        target = parts
        for key in path:
            value = source[str(key)]
            if not isinstance(value, dict):
                target[str(key)] = value
                break
            below = target.setdefault(str(key), {})
            assert isinstance(below, dict)  # noqa: S101 - both walk the same tree
            source, target = value, below
    return parts


def _at(tree: Mapping[str, Json], path: KeyPath) -> Json:
    value: Json = dict(tree)
    for key in path:
        value = value[key]  # type: ignore[index] # the path was found in this very tree
    return value
