"""Who answers a command: the daemon through its control socket, else a desk of our own."""

import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import typer

from reconciler.cli import screen
from reconciler.cli.invocation import Invocation
from reconciler.daemon.client import NoDaemon, ask
from reconciler.daemon.requests import AskEvents, AskPlan, AskShow, AskStatus, AskWhy, Request
from reconciler.errors import HivequeenError, SettingsError

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


def answer(context: typer.Context, request: Request, *, own_desk: OwnDesk, is_again: bool = False) -> Any:
    """The answer's document: of the running daemon if there is one.

    Args:
        is_again: what there is to note was noted the first time.
    """
    note = _nothing if is_again else screen.note
    try:
        chosen = settings(context)
    except SettingsError as wrong:
        return _in_spite_of(wrong, context, request, note)
    try:
        return ask(chosen.control, request, on_progress=screen.note)
    except NoDaemon as nobody:
        with own_desk(chosen) as (desk, missing):
            note(f"{nobody.message}; {_own_source(desk, request)}; {nobody.remedy}")
            for line in missing:
                note(line)
            return desk.answer(request, myself(), screen.note)


def _in_spite_of(wrong: SettingsError, context: typer.Context, request: Request, note: "Callable[[str], None]") -> Any:
    """A daemon that runs well answers, although its settings were broken since: asking it needs the socket alone.

    Raises:
        SettingsError: nobody answers.
    """
    from reconciler.settings import control_of  # noqa: PLC0415 - as above

    control = control_of(invocation(context).config)
    if control is None:
        raise wrong
    try:
        done = ask(control, request, on_progress=screen.note)
    except NoDaemon:
        raise wrong from None
    note("the daemon goes on with its former settings; these are wrong now:")
    for problem in wrong.problems:
        note(f"  {problem}")
    return done


def _own_source(desk: "Desk", request: Request) -> str:
    """Where a desk of our own has its answers from."""
    if isinstance(request, AskPlan):
        return "EC2, Chef and git are read by this command"
    if not isinstance(request, AskStatus | AskShow | AskWhy | AskEvents):
        return "this command does it by itself"
    newest: Any = desk.answer(AskEvents(limit=1), myself(), _nothing)
    when = f", up to {newest['events'][0]['at']}" if newest["events"] else ""
    return f"this is what the journal remembers{when}"


def _nothing(_: str) -> None: ...


def myself() -> str:
    """The actor of what is done without a daemon."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def environment_names(config: Path) -> list[str]:
    """For completion: what the daemon knows; nothing if it cannot be asked."""
    from reconciler.settings import control_of  # noqa: PLC0415 - as above

    control = control_of(config)
    try:
        status: Any = ask(control, AskStatus()) if control else {"environments": []}
        return [str(environment["name"]) for environment in status["environments"]]
    except (HivequeenError, OSError, KeyError, TypeError):
        return []
