"""`run`: the daemon."""

import os
import sys

import typer

from reconciler.cli.ask import invocation


def run(context: typer.Context) -> None:
    """Run the daemon in the foreground, as systemd does.

    SIGTERM ends it after the calls in flight, within ten seconds; SIGHUP reads the settings again.

    Example: [bold]hivequeen --config /etc/hivequeen/hivequeen.yml run[/bold]
    """
    from reconciler import wiring  # noqa: PLC0415 - the daemon's libraries are for those who run it

    chosen = invocation(context)
    if not wiring.serve(chosen.config, is_debugging=chosen.is_debugging):
        # Some call would not end: its thread would hold up an ordinary exit, and the journal makes this one safe.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)
