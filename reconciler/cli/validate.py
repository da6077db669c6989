"""`validate`: are the files right? Offline, for editors, hooks and CI."""

from pathlib import Path
from typing import Annotated

import typer

from reconciler.cli import screen


def validate(
    path: Annotated[Path, typer.Argument(help="The folder of environment files.", show_default=True)] = Path(
        "environments.d"
    ),
) -> None:
    """Check every environment file. Needs neither settings nor network.

    Every finding is printed as file:line, with its remedy; exit 1 if there are any.

    Example: [bold]hivequeen validate environments.d[/bold]
    """
    from reconciler.report.sentences import nodes_of  # noqa: PLC0415 - as below
    from reconciler.spec import validate_folder  # noqa: PLC0415 - jsonschema and YAML only where they are used

    desired = validate_folder(path)
    for finding in desired.findings:
        screen.say(str(finding))
    if desired.findings:
        count = len(desired.findings)
        screen.complain(f"{count} finding{'s' if count > 1 else ''} in {path}")
        raise typer.Exit(1)
    nodes = sum(role.count for environment in desired.environments.values() for role in environment.roles.values())
    count = len(desired.environments)
    environments = f"{count} environment{'' if count == 1 else 's'}"
    screen.say(f"OK: {environments}, {nodes_of(nodes)} in {path}", style="green")
