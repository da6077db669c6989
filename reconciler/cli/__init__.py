"""The command `hivequeen`: arguments in, words and exit codes out. Errors end here, as one or two lines."""

import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn


def main() -> NoReturn:
    """The console script."""
    code = invoke(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _write_nothing_more()  # the reader (`| head`) has what it wanted
    except OSError:
        _write_nothing_more()  # a full disk, which was told when it was written to
        code = 1
    sys.exit(code)


def _write_nothing_more() -> None:
    """Else the interpreter tries once more at exit, and complains."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def invoke(arguments: Sequence[str]) -> int:
    """One command; returns its exit code: 0 fine, 1 error, 2 changes pending, 3 blocked by a guard, 130 interrupted."""
    import typer  # noqa: PLC0415 - `import reconciler.cli` stays cheap

    from reconciler.cli.app import app  # noqa: PLC0415
    from reconciler.cli.screen import complain  # noqa: PLC0415
    from reconciler.errors import HivequeenError, Interrupted  # noqa: PLC0415

    # Usage errors would exit with 2, which means "changes pending" here. Their base is click's or a copy of it, by Typer's release.
    usage_error: Any = typer.BadParameter.__mro__[2]
    try:
        result = app(args=list(arguments), prog_name="hivequeen", standalone_mode=False)
    except HivequeenError as trouble:
        if "--debug" in arguments:
            raise
        complain(trouble.message, trouble.remedy)
        return 130 if isinstance(trouble, Interrupted) else 1
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        return 0
    except usage_error as trouble:
        if type(trouble).__name__ != "NoArgsIsHelpError":  # that one has printed the help
            context = getattr(trouble, "ctx", None)
            command = context.command_path if context else "hivequeen"
            complain(trouble.format_message().replace("Value error, ", ""), f"{command} --help explains it")
        return 1
    return result if isinstance(result, int) else 0
