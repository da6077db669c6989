"""`schema`: the JSON Schemas of what people write and of what commands print, for editors and scripts."""

from typing import Annotated

import typer

from reconciler.cli import screen
from reconciler.errors import Stalled


def schema(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="environment, settings, plan, …", show_default=True)
    ] = "environment",
) -> None:
    """Print a JSON Schema: of an environment file, of the settings, or of what a command prints.

    Editors with the YAML language server complete and check a file that says in its first line:
    # yaml-language-server: $schema=PATH

    Example: [bold]hivequeen schema > environment.schema.json[/bold]
    """
    from reconciler.document import schema_names, schema_text, suggest  # noqa: PLC0415 - only where it is used

    known = schema_names()
    if name not in known:
        raise Stalled(f"there is no schema {name}", remedy=suggest(name, known) or f"known: {', '.join(known)}")
    screen.write(schema_text(name))
