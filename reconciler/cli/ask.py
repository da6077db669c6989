"""Who answers a command: the daemon through its control socket, else a desk of our own."""

import os
import pwd
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import typer

from reconciler.cli import screen
from reconciler.cli.invocation import Invocation
from reconciler.daemon.client import NoDaemon, ask
from reconciler.daemon.requests import AskStatus, Request
from reconciler.errors import HivequeenError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from reconciler.daemon.desk import Desk
    from reconciler.settings import Settings

# A desk without a daemon, for the time of one command; and what it cannot know, as lines for people.
OwnDesk: TypeAlias = "Callable[[Settings], AbstractContextManager[tuple[Desk, tuple[str, ...]]]]"


def settings(context: typer.Context, *, check_files: bool = False) -> "Settings":
    """Those that `--config` names. Commands that only talk to the daemon need none of the files named in it.

    Raises:
        SettingsError: one line for each thing that is wrong.
    """
    from reconciler.settings import load  # noqa: PLC0415 - the schema's validator takes its time

    return load(invocation(context).config, check_files=check_files)


def invocation(context: typer.Context) -> Invocation:
    found = context.find_object(Invocation)
    assert found is not None  # noqa: S101 - the app's callback always sets it
    return found


def answer(context: typer.Context, request: Request, *, own_desk: OwnDesk) -> Any:
    """The answer's document: of the running daemon if there is one."""
    chosen = settings(context)
    with suppress(NoDaemon):
        return ask(chosen.control, request, on_progress=screen.note)
    with own_desk(chosen) as (desk, missing):
        for line in missing:
            screen.note(f"no daemon runs: {line}")
        return desk.answer(request, myself(), screen.note)


def myself() -> str:
    """The actor of what is done without a daemon."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def environment_names(config: Path) -> list[str]:
    """For completion: what the daemon knows; nothing if it cannot be asked."""
    from reconciler.settings import load  # noqa: PLC0415

    try:
        status: Any = ask(load(config, check_files=False).control, AskStatus())
        return [str(environment["name"]) for environment in status["environments"]]
    except (HivequeenError, OSError, KeyError, TypeError):
        return []
