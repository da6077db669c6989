"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated, Final

import typer

from reconciler.cli.ask import environment_names
from reconciler.cli.invocation import DEFAULT_CONFIG
from reconciler.cli.screen import Format
from reconciler.errors import Stalled
from reconciler.model.names import EnvironmentName, is_environment_name

HERE: Final = Path()
FOLDER: Final = "environments.d"


def _complete(context: typer.Context, incomplete: str) -> list[str]:
    """Environments that the daemon knows. Without one there is nothing to offer, and nothing to complain about."""
    config = context.find_root().params.get("config") or DEFAULT_CONFIG
    return [name for name in environment_names(Path(config)) if name.startswith(incomplete)]


OneEnvironment = Annotated[
    str | None,
    typer.Argument(
        metavar="ENV", help="An environment; all if left out.", autocompletion=_complete, show_default=False
    ),
]
EnvironmentOrAll = Annotated[
    str | None,
    typer.Argument(
        metavar="ENV",
        help="An environment; for all of them say --all instead.",
        autocompletion=_complete,
        show_default=False,
    ),
]
DeclaredEnvironment = Annotated[
    str, typer.Argument(metavar="NAME", help="The environment.", autocompletion=_complete, show_default=False)
]
Environments = Annotated[
    list[str] | None,
    typer.Argument(metavar="ENV", help="Environments; all if left out.", autocompletion=_complete, show_default=False),
]
OutputFormat = Annotated[
    Format, typer.Option("--format", help="json is for scripts; hivequeen schema prints its shape.")
]
DoneFormat = Annotated[Format, typer.Option("--format", help="json: an object whose message says what was done.")]
ChangeFormat = Annotated[
    Format,
    typer.Option("--format", help="json: one document at the end (hivequeen schema change); needs --yes or --dry-run."),
]
Repository = Annotated[Path, typer.Option(help="Your clone of the repository of environments.", metavar="DIR")]
Folder = Annotated[str, typer.Option("--path", help="The folder of environment files in it.", metavar="FOLDER")]
Wait = Annotated[bool, typer.Option("--wait", metavar="", help="Show how it goes, until it is there or gone.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", metavar="", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", metavar="", help="Show what would be committed, and stop there.")]
All = Annotated[bool, typer.Option("--all", metavar="", help="Everything, instead of one environment.")]


def environment_name(text: str) -> EnvironmentName:
    """
    Raises:
        Stalled: it cannot be one.
    """
    if not is_environment_name(text):
        raise Stalled(
            f"{text!r} is not the name of an environment",
            remedy="lower-case letters, digits and hyphens, such as checkout-v2",
        )
    return EnvironmentName(text)


def one_environment(text: str | None) -> EnvironmentName | None:
    return None if text is None else environment_name(text)


def one_or_all(text: str | None, *, is_all: bool) -> EnvironmentName | None:
    """None means everything, and has to be said.

    Raises:
        BadParameter: neither or both were given.
    """
    if (text is None) != is_all:
        raise typer.BadParameter("name one environment, or say --all")
    return one_environment(text)
