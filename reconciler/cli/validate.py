"""`validate`: are the files right? Offline, for editors, hooks and CI."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli import screen
from reconciler.cli.ask import invocation
from reconciler.cli.options import OutputFormat
from reconciler.cli.screen import Format
from reconciler.errors import SettingsError, Stalled

if TYPE_CHECKING:
    from reconciler.model.desired import Desired, Json


def validate(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="The folder of environment files.", show_default=True)] = Path(
        "environments.d"
    ),
    output: OutputFormat = Format.TABLE,
) -> None:
    """Check every environment file. Needs neither settings nor network.

    Every finding is printed as file:line, with its remedy; exit 1 if there are any. Where the daemon's settings can be
    read, they say how much user_data fits beside the bootstrap; else as much is allowed as surely does.

    Example: [bold]hivequeen validate environments.d[/bold]
    """
    from reconciler.report.sentences import nodes_of  # noqa: PLC0415 - as below
    from reconciler.spec import validate_folder  # noqa: PLC0415 - jsonschema and YAML only where they are used

    desired = validate_folder(path, user_data_limit_bytes=_user_data_limit(invocation(context).config))
    count, nodes = len(desired.environments), _nodes(desired)
    if output is Format.JSON:
        screen.dump({"environments": count, "nodes": nodes, "findings": _findings(desired)})
    else:
        for finding in desired.findings:
            screen.say(str(finding))
    if desired.findings:
        found = len(desired.findings)
        screen.complain(f"{found} finding{'s' if found > 1 else ''} in {path}")
        raise typer.Exit(1)
    if output is Format.TABLE:
        environments = f"{count} environment{'' if count == 1 else 's'}"
        screen.say(f"OK: {environments}, {nodes_of(nodes)} in {path}", style="green")


def _user_data_limit(config: Path) -> int:
    from reconciler.enroll.first_boot import user_data_limit  # noqa: PLC0415 - as above
    from reconciler.settings import load  # noqa: PLC0415 - as above

    with suppress(SettingsError, Stalled):
        if config.exists():
            return user_data_limit(load(config, check_files=False))
    return user_data_limit(None)


def _nodes(desired: "Desired") -> int:
    return sum(role.count for environment in desired.environments.values() for role in environment.roles.values())


def _findings(desired: "Desired") -> "list[Json]":
    return [
        {
            "file": finding.origin.file,
            "line": finding.origin.line,
            "message": finding.message,
            "remedy": finding.remedy,
        }
        for finding in desired.findings
    ]
