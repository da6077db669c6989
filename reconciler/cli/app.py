"""The commands, put together. Each one's work is in a file of its own and imports what it needs when it runs."""

from pathlib import Path
from typing import Annotated

import typer

from reconciler import __version__
from reconciler.cli import (
    explain,
    extend,
    hold,
    launch,
    look,
    plan,
    prices,
    reconcile,
    run,
    sandbox,
    schema,
    teardown,
    validate,
    why,
)
from reconciler.cli.invocation import DEFAULT_CONFIG, Invocation

app = typer.Typer(
    name="hivequeen",
    help="""Commit a YAML file and a production-like environment comes up; delete it and it is gone.

Hivequeen converges EC2 and Chef on the files in a git repository. One daemon does it (`hivequeen run`); the other commands ask that daemon, or look by themselves where none runs.""",
    epilog="""Exit codes: 0 fine, nothing to do · 1 error · 2 changes pending · 3 blocked by a guard.""",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(is_asked: bool) -> None:  # noqa: FBT001 - Typer's callbacks are called so
    if is_asked:
        typer.echo(f"hivequeen {__version__}")
        raise typer.Exit


@app.callback()
def _globals(
    context: typer.Context,
    config: Annotated[Path, typer.Option(help="The settings.", metavar="FILE")] = DEFAULT_CONFIG,
    debug: Annotated[  # noqa: FBT002 - a flag on the command line
        bool, typer.Option("--debug", metavar="", help="Show tracebacks of errors, and debugging logs.")
    ] = False,
    version: Annotated[  # noqa: ARG001, FBT002 - eager: its callback does it; a flag on the command line
        bool, typer.Option("--version", callback=_print_version, is_eager=True, metavar="", help="Print the version.")
    ] = False,
) -> None:
    context.obj = Invocation(config=config, is_debugging=debug)


_DAEMON, _LOOK, _HOLD, _TRY = "The daemon", "Looking", "Holds, and the way out of them", "Without AWS"
_CHANGE = "Environments, by commits of your own"

app.command("launch", rich_help_panel=_CHANGE)(launch.launch)
app.command("teardown", rich_help_panel=_CHANGE)(teardown.teardown)
app.command("extend", rich_help_panel=_CHANGE)(extend.extend)
app.command("run", rich_help_panel=_DAEMON)(run.run)
app.command("reconcile", rich_help_panel=_DAEMON)(reconcile.reconcile)
app.command("validate", rich_help_panel=_LOOK)(validate.validate)
app.command("explain", rich_help_panel=_LOOK)(explain.explain)
app.command("schema", rich_help_panel=_LOOK)(schema.schema)
app.command("plan", rich_help_panel=_LOOK)(plan.plan)
app.command("status", rich_help_panel=_LOOK)(look.status)
app.command("show", rich_help_panel=_LOOK)(look.show)
app.command("events", rich_help_panel=_LOOK)(look.events)
app.command("why", rich_help_panel=_LOOK)(why.why)
app.add_typer(prices.app, name="prices", rich_help_panel=_LOOK)
app.command("approve", rich_help_panel=_HOLD)(hold.approve)
app.command("claim", rich_help_panel=_HOLD)(hold.claim)
app.command("suspend", rich_help_panel=_HOLD)(hold.suspend)
app.command("resume", rich_help_panel=_HOLD)(hold.resume)
app.command("sandbox", rich_help_panel=_TRY)(sandbox.sandbox)
