"""`${environment}` and its like in the text of an environment file. What they put in is not looked at again.

They stand in values, never in keys, and everywhere but in `extends`. Branch, owner, project and commit, which are
themselves variables, may hold `${environment}` only. In user_data, which is shell, other names are the shell's.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from reconciler.document import suggest

NAMES: Final = ("environment", "branch", "owner", "project", "commit")
SOURCES: Final = frozenset({"branch", "owner", "project", "commit"})  # keys of an environment that give variables

_ANY: Final = re.compile(r"\$(?P<literal>\$\{[^{}]*\})|\$\{(?P<name>[^{}]*)\}")
_OURS: Final = re.compile(rf"\$(?P<literal>\$\{{(?:{'|'.join(NAMES)})\}})|\$\{{(?P<name>{'|'.join(NAMES)})\}}")


class Unset(Exception):
    """A variable that has no value here."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def holds_variables(text: str, *, is_shell: bool) -> bool:
    """Whether `expand` would change it."""
    return "${" in text and _pattern(is_shell=is_shell).search(text) is not None


def expand(text: str, values: Mapping[str, str | None], *, is_shell: bool) -> str:
    """
    Raises:
        Unset: it names a variable without a value.
    """

    def put_in(found: re.Match[str]) -> str:
        if found["literal"] is not None:
            return found["literal"]
        value = values[found["name"]]
        if value is None:
            raise Unset(found["name"])
        return value

    return _pattern(is_shell=is_shell).sub(put_in, text)


def variable_faults(where: str, text: str, *, is_source: bool) -> Iterator[tuple[str, str]]:
    """What is wrong with the variables in a text that is not shell: message and remedy."""
    for found in _ANY.finditer(text):
        name = found["name"]
        if name is None:
            continue
        if name not in NAMES:
            near = suggest(name, NAMES).replace('"', "")
            meant = near.replace("mean ", "mean ${").replace("?", "}?") if near else f"known: {', '.join(NAMES)}"
            yield f"unknown variable ${{{name}}} in {where}", f"{meant}; for the text itself write $${{{name}}}"
        elif is_source and name != "environment":
            yield f"{where} cannot hold ${{{name}}}", "only ${environment} is known there; write the value itself"


def _pattern(*, is_shell: bool) -> re.Pattern[str]:
    return _OURS if is_shell else _ANY
