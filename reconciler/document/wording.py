"""How findings name keys and values."""

import difflib
import json
from collections.abc import Iterable, Sequence

_SHOWN_LENGTH_MAX = 60


def show(value: object) -> str:
    """A value as a person would write it, cut where it is long: `"checkout"`, `4`, `true`, a list, a map."""
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, list):
        return "a list"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN_LENGTH_MAX else f"{text[:_SHOWN_LENGTH_MAX]}…"


def kind(value: object) -> str:
    """What a value is, for "must be text, not …"."""
    match value:
        case None:
            return "null"
        case bool():
            return f"the boolean {show(value)}"
        case int() | float():
            return f"the number {value}"
        case dict():
            return "a map"
        case list():
            return "a list"
        case _:
            return f"the text {show(value)}"


def dotted(path: Sequence[str | int]) -> str:
    """`("roles", "web", "run_list", 1)` → `item 2 of roles.web.run_list`."""
    if path and isinstance(path[-1], int):
        return f"item {path[-1] + 1} of {dotted(path[:-1])}"
    return ".".join(str(part) for part in path)


def suggest(word: str, known: Iterable[str]) -> str:
    """`did you mean "run_list"?`, or nothing where no known word is near."""
    near = difflib.get_close_matches(word.lower(), sorted(known), n=1, cutoff=0.6)
    return f'did you mean "{near[0]}"?' if near else ""
