"""`approve`, `claim`, `suspend`, `resume`: what a person decides."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import typer

from reconciler.cli import own, screen
from reconciler.cli.ask import answer
from reconciler.cli.options import All, DoneFormat, EnvironmentOrAll, one_or_all
from reconciler.cli.screen import Format
from reconciler.daemon import requests
from reconciler.daemon.requests import Request

_SPAN: Final = re.compile(r"(?P<count>[1-9][0-9]{0,5})(?P<unit>[mhd])")
_UNITS: Final = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def approve(
    context: typer.Context,
    digest: Annotated[
        str, typer.Argument(metavar="DIGEST|REVISION", help="As `hivequeen plan` shows it; its beginning is enough.")
    ],
    output: DoneFormat = Format.TABLE,
) -> None:
    """Let a held plan go on.

    The approval is for exactly the removals that the digest names, and for any part of them that is left, for 24 hours. Anything else needs another one. A revision is approved where history was rewritten.

    Example: [bold]hivequeen approve 3f2a91c04b7d[/bold]
    """
    _do(context, requests.Approve(target=digest), output)


def claim(
    context: typer.Context,
    *,
    take_over: Annotated[
        bool, typer.Option("--take-over", metavar="", help="Make the fleet this installation's.")
    ] = False,
    output: DoneFormat = Format.TABLE,
) -> None:
    """Say whose the fleet is, or take it over.

    Take over after the journal was lost or the repository moved, and only when no other daemon runs for the fleet. Then nothing launches for 5 minutes, and every removal needs approval for a day.

    Example: [bold]hivequeen claim --take-over[/bold]
    """
    _do(context, requests.TakeClaim(take_over=take_over), output)


def suspend(
    context: typer.Context,
    environment: EnvironmentOrAll = None,
    *,
    everything: All = False,
    reason: Annotated[str, typer.Option(help="For those who find it suspended.")] = "",
    until: Annotated[
        str | None,
        typer.Option(help="It ends by itself then: 2h, 3d, or 2027-01-31T18:00Z.", metavar="TIME", show_default=False),
    ] = None,
    output: DoneFormat = Format.TABLE,
) -> None:
    """Change nothing in an environment, or in all, until it is resumed.

    Examples: [bold]hivequeen suspend checkout --reason "load test" --until 2h[/bold] · [bold]hivequeen suspend --all[/bold]
    """
    name = one_or_all(environment, is_all=everything)
    end = None if until is None else moment(until, datetime.now(UTC))
    _do(context, requests.Suspend(environment=name, reason=reason, until=end), output)


def resume(
    context: typer.Context,
    environment: EnvironmentOrAll = None,
    *,
    everything: All = False,
    output: DoneFormat = Format.TABLE,
) -> None:
    """End a suspension. Roles that halted after failures, and backoffs, start afresh.

    Examples: [bold]hivequeen resume checkout[/bold] · [bold]hivequeen resume --all[/bold]
    """
    _do(context, requests.Resume(environment=one_or_all(environment, is_all=everything)), output)


def moment(text: str, now: datetime) -> datetime:
    """`2h` from now, or a time with its zone.

    Raises:
        BadParameter: neither.
    """
    span = _SPAN.fullmatch(text)
    if span is not None:
        return now + int(span["count"]) * _UNITS[span["unit"]]
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise typer.BadParameter(f"--until {text}: write 2h, 3d, or a time with its zone, such as 2027-01-31T18:00Z")
    return found.astimezone(UTC)


def _do(context: typer.Context, request: Request, output: Format) -> None:
    names_one = isinstance(request, requests.Suspend | requests.Resume) and request.environment is not None
    done = answer(context, request, own_desk=own.acting_on_one if names_one else own.acting)
    if output is Format.JSON:
        screen.dump(done)
    else:
        screen.say(str(done["message"]))
