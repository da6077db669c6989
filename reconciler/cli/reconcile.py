"""`reconcile`: one pass now, or as many as it takes."""

import time
from typing import Annotated, Any, Final

import typer

from reconciler.cli import own, render, screen
from reconciler.cli.ask import answer
from reconciler.cli.options import Environments, OutputFormat, environment_name
from reconciler.cli.screen import Format
from reconciler.daemon.requests import MakePass

LOOK_AGAIN_S: Final = 2.0  # between passes, where the pass itself does not say


def reconcile(
    context: typer.Context,
    environments: Environments = None,
    wait: Annotated[  # noqa: FBT002 - a flag on the command line
        bool,
        typer.Option(
            "--wait", metavar="", help="Go on until nothing is left to do, a guard holds, or something fails."
        ),
    ] = False,
    refresh_images: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ENV", help="Resolve its moving images again: nodes of older ones are replaced.", show_default=False
        ),
    ] = None,
    output: OutputFormat = Format.TABLE,
) -> None:
    """Make one pass: read the world, plan, and carry the plan out.

    A running daemon makes it; without one, this command does, with the daemon's lock.

    Exit codes: 0 nothing is left to do · 2 something was done or is awaited · 3 a guard holds · 1 error.

    Examples: [bold]hivequeen reconcile checkout --wait[/bold] · [bold]hivequeen reconcile --refresh-images staging[/bold]
    """
    from reconciler.daemon.verdict import Verdict  # noqa: PLC0415 - it knows what passes and plans are

    names = tuple(map(environment_name, environments or ()))
    request = MakePass(environments=names, refresh_images=tuple(map(environment_name, refresh_images or ())))
    while True:
        made: dict[str, Any] = answer(context, request, own_desk=own.acting)
        if output is Format.TABLE:
            render.made(made)
        verdict = Verdict(made["verdict"])
        if not wait or verdict is not Verdict.PENDING:
            break
        time.sleep(min(made["requeue_after_s"] or LOOK_AGAIN_S, LOOK_AGAIN_S))
        request = MakePass(environments=names)  # images are resolved once
    if output is Format.JSON:
        screen.dump(made)
    raise typer.Exit(verdict)
