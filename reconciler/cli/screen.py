"""What people and scripts see: tables and colours on a terminal, plain aligned text in a pipe, JSON where it was asked for."""

import json
import sys
from collections.abc import Collection, Iterable, Sequence
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Final

from reconciler.model.desired import Json

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_WIDTH: Final = 100_000  # a pipe has no edge: nothing is cut or wrapped


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"


def say(text: str, *, style: str = "") -> None:
    """One or more lines, as they are."""
    _out().print(text, style=style or None, markup=False, highlight=False, soft_wrap=True)


def complain(message: str, remedy: str = "") -> None:
    """An error: what, then what to do, on standard error."""
    console = _console(is_error=True)
    lines = message.splitlines() or ["failed"]
    for line in lines:
        console.print("Error: ", style="bold red", end="", highlight=False)
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if remedy:
        console.print(f"  {remedy}", style="dim", markup=False, highlight=False, soft_wrap=True)


def note(text: str) -> None:
    """Something beside the answer, on standard error: scripts do not read it."""
    _console(is_error=True).print(text, style="dim", markup=False, highlight=False, soft_wrap=True)


def dump(document: Json) -> None:
    """For scripts."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def table(headers: Sequence[str], rows: Iterable[Sequence[str | tuple[str, str]]], *, prose: Collection[str]) -> None:
    """Cells are text, or (text, style). Where the terminal is narrow, the columns of `prose` give way."""
    console = _out()
    cells = [[cell if isinstance(cell, tuple) else (cell, "") for cell in row] for row in rows]
    if console.is_terminal:
        from rich import box  # noqa: PLC0415 - rich is loaded where something is drawn
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
        for header in headers:
            drawn.add_column(header, overflow="fold", no_wrap=header not in prose)
        for row in cells:
            drawn.add_row(*(Text(text, style=style) for text, style in row))
        console.print(drawn)
        return
    lines = [list(headers), *([text.replace("\n", " ") for text, _ in row] for row in cells)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    for line in lines:
        say("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def _out() -> "Console":
    return _console(is_error=False)


@cache
def _shared(_stream: int, *, is_error: bool) -> "Console":
    from rich.console import Console  # noqa: PLC0415 - `--version` and completion do without

    console = Console(stderr=is_error)  # honours NO_COLOR and TERM=dumb
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    return console


def _console(*, is_error: bool) -> "Console":
    """One for each stream; a test's replaced stream is another one."""
    return _shared(id(sys.stderr if is_error else sys.stdout), is_error=is_error)
