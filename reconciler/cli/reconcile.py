"""`reconcile`: one pass now, or as many as it takes."""

import time
from typing import Annotated, Any, Final

import typer

from reconciler.cli import own, render, screen
from reconciler.cli.ask import answer
from reconciler.cli.options import Environments, OutputFormat, environment_name
from reconciler.cli.screen import Format
from reconciler.daemon.requests import MakePass

LOOK_AGAIN_S: Final = 2.0  # between passes, while something is under way
LOOK_MOST_S: Final = 15.0  # where only a moment is awaited: a commit may come before it


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
    told: dict[str, Any] = {}
    while True:
        made: dict[str, Any] = answer(context, request, own_desk=own.acting)
        if output is Format.TABLE and news(made) != news(told):
            render.made(made)
        told = made
        verdict = Verdict(made["verdict"])
        if not wait or verdict is not Verdict.PENDING:
            break
        time.sleep(pause_s(made))
        request = MakePass(environments=names)  # images are resolved once
    if output is Format.JSON:
        screen.dump(made)
    raise typer.Exit(verdict)


def news(made: dict[str, Any]) -> list[Any]:
    """What somebody who watches wants to see again only when it is otherwise."""
    return [made.get(part) for part in ("verdict", "plan", "outcomes", "failures")]


def pause_s(made: dict[str, Any]) -> float:
    """Until the next pass: soon, unless only a grace period is awaited."""
    plan = made["plan"] or {"environments": []}
    is_under_way = made["outcomes"] or any(one["actions"] or one["waiting"] for one in plan["environments"])
    most_s = LOOK_AGAIN_S if is_under_way else LOOK_MOST_S
    return min(float(made["requeue_after_s"] or LOOK_AGAIN_S), most_s)
