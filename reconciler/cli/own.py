"""Desks for commands that find no daemon. Imported when one is needed: this is where the heavy adapters come in."""

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.daemon.desk import Desk
    from reconciler.settings import Settings


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
