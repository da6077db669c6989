"""`plan`: what would be done now, and what keeps it from being done."""

from typing import Any

import typer

from reconciler.cli import own, render, screen
from reconciler.cli.ask import answer
from reconciler.cli.options import OneEnvironment, OutputFormat, one_environment
from reconciler.cli.screen import Format
from reconciler.daemon.requests import AskPlan


def plan(context: typer.Context, environment: OneEnvironment = None, output: OutputFormat = Format.TABLE) -> None:
    """Show what the next pass would do, and write nothing.

    A running daemon is asked. Without one, its journal is read if there is one; what is not known then is said.

    Exit codes: 0 no changes · 2 changes pending · 3 blocked by a guard · 1 error.

    Examples: [bold]hivequeen plan checkout[/bold] · [bold]hivequeen plan --format json | jq .environments[/bold]
    """
    made: dict[str, Any] = answer(context, AskPlan(environment=one_environment(environment)), own_desk=own.looking)
    if output is Format.JSON:
        screen.dump(made["plan"])
    else:
        render.plan(made)
    for failure in made["failures"]:
        screen.complain(f"{failure['stage']}: {failure['message']}", failure["remedy"])
    raise typer.Exit(made["verdict"])
