"""The faults of one file by itself: what its schema says, and what a schema cannot say."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from reconciler.document import Document, KeyPath, Schema, read_document, show
from reconciler.model.desired import Json
from reconciler.model.findings import Finding
from reconciler.spec.run_list import FORMS, is_item
from reconciler.spec.secrets import secret_kind

_VARIABLE: Final = re.compile(r"\$\{(?:environment|branch|owner|project|commit)\}")
_MAY_HOLD_SECRETS: Final = frozenset({"attributes", "tags", "user_data"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedFile:
    document: Document
    findings: tuple[Finding, ...]  # sorted

    @property
    def extends(self) -> str | None:
        parent = self.document.tree.get("extends")
        return parent if isinstance(parent, str) else None


def check_file(content: bytes, *, file: str, user_data_limit_bytes: int) -> CheckedFile:
    document = read_document(content, file=file)
    if not document.is_readable:
        return CheckedFile(document=document, findings=document.findings)
    findings = {
        *document.findings,
        *Schema.named("environment.schema.json").check(document),
        *_value_findings(document, user_data_limit_bytes),
    }
    return CheckedFile(document=document, findings=tuple(sorted(findings)))


def _value_findings(document: Document, user_data_limit_bytes: int) -> Iterator[Finding]:
    for path, text in _texts(document.tree, ()):
        for message, remedy in _text_faults(path, text, user_data_limit_bytes):
            yield Finding(origin=document.origin(path), message=message, remedy=remedy)


def _text_faults(path: KeyPath, text: str, user_data_limit_bytes: int) -> Iterator[tuple[str, str]]:
    keys = tuple(part for part in path if isinstance(part, str))
    where = ".".join(keys)
    of_role = keys[1:] if keys[0] == "defaults" else keys[2:] if keys[0] == "roles" else ()
    section = of_role[0] if of_role else ""
    if section == "user_data" and (size := len(text.encode())) > user_data_limit_bytes:
        yield (
            f"{where} is {size} bytes long, at most {user_data_limit_bytes} fit beside the bootstrap",
            "shorten it, or fetch the rest from the script",
        )
    if section != "user_data" and (variable := _VARIABLE.search(text)):
        yield f"variables are not supported yet: {variable[0]} in {where}", "write the value itself"
    if section == "run_list" and text and not is_item(text):
        yield f"{show(text)} is not a run-list item", f"write {FORMS}"
    if section in _MAY_HOLD_SECRETS and (secret := secret_kind(of_role, text)):
        # The value itself stays out of the message: findings are logged.
        yield f"{where} looks like {secret}", "take it out of git and replace it; nodes can fetch it from a vault"


def _texts(value: Json, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    match value:
        case str():
            yield path, value
        case dict():
            for key, part in value.items():
                yield from _texts(part, (*path, key))
        case list():
            for index, part in enumerate(value):
                yield from _texts(part, (*path, index))
