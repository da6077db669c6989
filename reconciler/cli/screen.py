"""What people and scripts see: tables and colours on a terminal, plain aligned text in a pipe, JSON where it was asked for."""

import json
import sys
import textwrap
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Final

from reconciler.errors import Stalled
from reconciler.model.desired import Json

if TYPE_CHECKING:
    from rich.console import Console

HANG: Final = 2
PART_LEAST: Final = 20  # columns; narrower parts would be harder to read than a line that the terminal breaks
PLAIN_WIDTH: Final = 100_000  # a pipe has no edge: nothing is cut or wrapped


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"


def say(text: str, *, style: str = "", hang: int | None = None) -> None:
    """One or more lines. A terminal breaks long ones between words, and continues them further to the right.

    Args:
        hang: the column at which a line goes on; None: a little further in than it began.
    """
    _print(_out(), text, style=style, hang=hang)


def complain(message: str, remedy: str = "") -> None:
    """An error: what, then what to do, on standard error."""
    console = _console(is_error=True)
    lines = message.splitlines() or ["failed"]
    for line in lines:
        console.print("Error: ", style="bold red", end="", highlight=False)
        _print(console, line, begins_at=len("Error: "), hang=len("Error: "))
    if remedy:
        _print(console, f"  {remedy}", style="dim")


def note(text: str) -> None:
    """Something beside the answer, on standard error: scripts do not read it."""
    _print(_console(is_error=True), text, style="dim")


def room() -> int:
    """Columns of the terminal; without limit in a pipe."""
    return _out().width


def is_terminal() -> bool:
    return _out().is_terminal


@contextmanager
def live() -> Iterator[Callable[[str], None]]:
    """A place on the terminal whose lines are drawn anew, in place of the former ones; the last ones stay."""
    from rich.live import Live  # noqa: PLC0415 - rich is loaded where something is drawn
    from rich.text import Text  # noqa: PLC0415

    with Live(console=_out(), auto_refresh=False) as drawn:
        yield lambda text: drawn.update(Text(text), refresh=True)


def dump(document: Json) -> None:
    """For scripts."""
    write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def write(text: str) -> None:
    """To standard output, at once."""
    with _writing():
        sys.stdout.write(text)
        sys.stdout.flush()


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
        with _writing():
            console.print(drawn)
        return
    lines = [list(headers), *([text.replace("\n", " ") for text, _ in row] for row in cells)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    for line in lines:
        say("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def _print(console: "Console", text: str, *, style: str = "", begins_at: int = 0, hang: int | None = None) -> None:
    for line in text.splitlines() or [""]:
        indent = len(line) - len(line.lstrip())
        for part in _broken(line, console.width, begins_at, indent + HANG if hang is None else hang):
            with _writing():
                console.print(part, style=style or None, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _writing() -> Iterator[None]:
    """
    Raises:
        Stalled: the disk that the output goes to is full, say. (A reader that has gone is no trouble: see `main`.)
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as trouble:
        raise Stalled(f"the output cannot be written: {trouble.strerror or trouble}") from trouble


def _broken(line: str, width: int, begins_at: int, hang: int) -> list[str]:
    """Into parts that fit, between words only: a command or an id stays whole, for copying."""
    if begins_at + len(line) <= width or width - hang < PART_LEAST:
        return [line]
    parts = textwrap.wrap(
        " " * begins_at + line,
        width,
        subsequent_indent=" " * hang,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [parts[0][begins_at:], *parts[1:]]


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
