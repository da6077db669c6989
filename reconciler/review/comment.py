"""What fits into a comment on GitHub, and how text that is not ours is shown there."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from reconciler.review import wording

LENGTH_MAX: Final = 60_000  # characters; GitHub takes no comment over 65,536, and a workflow adds a line of its own
LISTED_MAX: Final = 20  # what is shown unfolded of one kind: more, and nobody reads on
# Inside backticks these mean nothing, in a cell of a table either. A pipe or a backslash would, and a backtick ends it.
_SAFE: Final = re.compile(r"[^`|\\]+")


def code(text: str) -> str:
    """As code, in a table or out of it."""
    text = wording.printable(text)
    if not text:
        return ""
    return f"`{text}`" if _SAFE.fullmatch(text) and text.strip() == text else f"<code>{escaped(text)}</code>"


def escaped(text: str) -> str:
    """As HTML, in which Markdown finds nothing to read either."""
    return "".join(letter if letter.isalnum() or letter in " -" else f"&#{ord(letter)};" for letter in text)


def fitting(parts: Sequence[str], room: int, more: Callable[[int], str]) -> list[str]:
    """As many of the parts as so many characters hold, line ends included, whole and in order; then how many more."""
    lengths = [len(part) + 2 for part in parts]
    if sum(lengths) <= room:
        return list(parts)
    left, kept = room - len(more(len(parts))) - 2, 0
    while lengths[kept] <= left:
        left -= lengths[kept]
        kept += 1
    return [*parts[:kept], more(len(parts) - kept)]


def folded(summary: str, parts: Sequence[str]) -> Iterator[str]:
    """
    Args:
        summary: HTML.
    """
    yield f"<details><summary>{summary}</summary>"
    yield ""
    yield from parts
    yield ""
    yield "</details>"
