"""Desks for commands that find no daemon. Imported when one is needed: this is where the heavy adapters come in."""

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from reconciler.daemon.requests import AskStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.daemon.desk import Desk
    from reconciler.settings import Settings

_UNCHECKED: Final = "no environment is known here yet, so nobody can tell whether there is one of that name"


@contextmanager
def looking(settings: "Settings") -> "Iterator[tuple[Desk, tuple[str, ...]]]":
    """Reads only; beside a daemon of another user as well."""
    from reconciler import wiring  # noqa: PLC0415 - boto3 and SQLAlchemy cost half a second

    with wiring.looking(settings) as found:
        yield found


@contextmanager
def acting(settings: "Settings") -> "Iterator[tuple[Desk, tuple[str, ...]]]":
    """With the daemon's lock, for the time of the command.

    Raises:
        Stalled: another process holds it.
    """
    from reconciler import wiring  # noqa: PLC0415 - as above

    with wiring.acting(settings) as desk:
        yield desk, ()


@contextmanager
def acting_on_one(settings: "Settings") -> "Iterator[tuple[Desk, tuple[str, ...]]]":
    """As `acting`, on an environment that somebody named.

    Where the journal is new or lost, people must be able to suspend what they know of: it is done, and not silently.
    """
    with acting(settings) as (desk, missing):
        known: Any = desk.answer(AskStatus(), "", lambda _: None)
        yield desk, missing if known["environments"] else (*missing, _UNCHECKED)
