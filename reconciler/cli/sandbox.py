"""`sandbox`: EC2, Chef and booting nodes on loopback, for trying things out."""

import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from reconciler.cli import screen
from reconciler.errors import Stalled


def sandbox(
    repository: Annotated[
        str, typer.Option(help="The spec repository that the daemon shall follow.", metavar="URL")
    ] = ".",
    directory: Annotated[
        Path | None,
        typer.Option(help="For keys, settings and state; a temporary one if left out.", show_default=False),
    ] = None,
) -> None:
    """Serve an EC2 endpoint and a Chef Server on loopback, whose instances really boot. Nothing leaves this machine.

    It writes settings for a daemon of its own, says how to start that, and runs until Ctrl-C.

    Example: [bold]hivequeen sandbox --repository ~/environments.git[/bold]
    """
    try:
        from reconciler.sandbox import Sandbox  # noqa: PLC0415 - moto is heavy, and an extra
    except ModuleNotFoundError as missing:
        raise Stalled(
            f"the sandbox is not installed: no module {missing.name}",
            remedy="install with the extra: pip install '.[sandbox]' in the checkout",
        ) from missing
    where = str(Path(repository).absolute()) if ":" not in repository else repository
    with ExitStack() as held:
        folder = directory or Path(held.enter_context(tempfile.TemporaryDirectory(prefix="hivequeen-sandbox-")))
        running = held.enter_context(Sandbox(folder, repository=where))
        variables = " ".join(f"{name}={value}" for name, value in running.environment.items())
        screen.say(f"EC2 answers on {running.ec2_url}, Chef on {running.chef_url}")
        screen.say("In another terminal:")
        screen.say(f"  {variables} hivequeen --config {running.settings} run")
        screen.note("Ctrl-C ends it; nothing of it stays but the folder." if directory else "Ctrl-C ends it.")
        threading.Event().wait()
