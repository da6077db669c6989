"""`explain`: what an environment comes to, and which file and line each value is from. Needs no daemon."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli import screen
from reconciler.cli.ask import invocation
from reconciler.cli.options import FOLDER, OutputFormat
from reconciler.cli.screen import Format
from reconciler.cli.validate import finding_documents, readable_settings, user_data_limit

if TYPE_CHECKING:
    from reconciler.document import KeyPath
    from reconciler.model.desired import Json
    from reconciler.spec import Explained


def explain(
    context: typer.Context,
    environment: Annotated[
        str, typer.Argument(metavar="ENV", help="An environment, or a template.", show_default=False)
    ],
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="Only this, such as roles.web.count.", show_default=False)
    ] = "",
    folder: Annotated[Path, typer.Option(help="The folder of environment files.", metavar="FOLDER")] = Path(FOLDER),
    output: OutputFormat = Format.TABLE,
) -> None:
    """Print an environment with all that it extends merged in, and the file and line of each value.

    What is printed is YAML. A value that stands under defaults says so; one that held variables shows how it is written. Exit 1 if there are findings.

    Example: [bold]hivequeen explain checkout roles.web[/bold]
    """
    from reconciler.spec import explain_folder, part_of, rendering  # noqa: PLC0415 - YAML only where it is read

    explained = explain_folder(
        folder, environment, user_data_limit_bytes=user_data_limit(readable_settings(invocation(context).config))
    )
    path, part = part_of(explained, key) if key and explained.tree else ((), dict(explained.tree))
    if output is Format.JSON:
        screen.dump(_document(explained, path, part))
    else:
        for line in rendering.lines_of(explained, path, part):
            screen.write(f"{line}\n")
    if explained.findings:
        for finding in explained.findings:
            screen.note(str(finding))
        found = len(explained.findings)
        screen.complain(f"{found} finding{'s' if found > 1 else ''} about {environment}")
        raise typer.Exit(1)


def _document(explained: "Explained", path: "KeyPath", part: "Json") -> "Json":
    return {
        "environment": explained.stem,
        "spec": part,
        "values": [
            {
                "path": list(value.path),
                "key": value.key,
                "value": value.value,
                "file": value.origin.file,
                "line": value.origin.line,
                "is_default": value.is_default,
                "written": value.written,
            }
            for value in explained.values
            if value.path[: len(path)] == path
        ],
        "findings": finding_documents(explained.findings),
    }
