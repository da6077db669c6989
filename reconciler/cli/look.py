"""`status`, `show`, `events`: how it is, and what happened."""

import time
from typing import Annotated, Any, Final

import typer

from reconciler.cli import own, render, screen
from reconciler.cli.ask import answer
from reconciler.cli.options import OneEnvironment, OutputFormat, one_environment
from reconciler.cli.screen import Format
from reconciler.daemon.requests import EVENTS_MOST, AskEvents, AskShow, AskStatus

FOLLOW_S: Final = 1.0  # between two looks


def status(context: typer.Context, output: OutputFormat = Format.TABLE) -> None:
    """Every environment in a line: its nodes, its conditions, and what it waits for.

    Example: [bold]hivequeen status --format json | jq '.environments[].name'[/bold]
    """
    document = answer(context, AskStatus(), own_desk=own.looking)
    if output is Format.JSON:
        screen.dump(document)
    else:
        render.status(document)


def show(
    context: typer.Context,
    target: Annotated[
        str, typer.Argument(metavar="ENV|NODE", help="An environment, or any unique part of a node's name.")
    ],
    output: OutputFormat = Format.TABLE,
) -> None:
    """All about one environment, or one node.

    Examples: [bold]hivequeen show checkout[/bold] · [bold]hivequeen show 0a1b2c[/bold]
    """
    document = answer(context, AskShow(target=target), own_desk=own.looking)
    if output is Format.JSON:
        screen.dump(document)
    else:
        render.show(document)


def events(
    context: typer.Context,
    environment: OneEnvironment = None,
    follow: Annotated[  # noqa: FBT002 - a flag on the command line
        bool, typer.Option("--follow", "-f", metavar="", help="Go on as they happen, until Ctrl-C.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=EVENTS_MOST, help="The newest so many.")] = 100,
    output: OutputFormat = Format.TABLE,
) -> None:
    """What happened, oldest first.

    Example: [bold]hivequeen events checkout --follow[/bold]
    """
    # To follow, always all that can be had: of what came at once, nothing must fall out between two looks.
    request = AskEvents(environment=one_environment(environment), limit=EVENTS_MOST if follow else limit)
    document = answer(context, request, own_desk=own.looking)
    if output is Format.JSON and not follow:
        screen.dump(document)
        return
    told: list[dict[str, Any]] = document["events"]
    render.events(told[-limit:], output)
    while follow:
        time.sleep(FOLLOW_S)
        newest: list[dict[str, Any]] = answer(context, request, own_desk=own.looking, is_again=True)["events"]
        render.events(since(told, newest), output, with_header=False)
        told = newest


def since(told: list[dict[str, Any]], newest: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What `newest` has beyond `told`: both are the end of the same list."""
    for overlap in range(min(len(told), len(newest)), 0, -1):
        if told[-overlap:] == newest[:overlap]:
            return newest[overlap:]
    return newest
