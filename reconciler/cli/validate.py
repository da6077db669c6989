"""`validate`: are the files right? Offline, for editors, hooks and CI."""

import os
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli import screen
from reconciler.cli.ask import invocation
from reconciler.cli.invocation import DEFAULT_CONFIG
from reconciler.cli.options import FOLDER
from reconciler.errors import SettingsError, Stalled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.model.desired import Desired, Json
    from reconciler.model.findings import Finding
    from reconciler.settings import Settings
    from reconciler.spec import MonthlyCost


class ValidateFormat(StrEnum):
    TABLE = "table"
    JSON = "json"
    GITHUB = "github"  # workflow commands, which GitHub shows beside the lines


def validate(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="The folder of environment files.", show_default=True)] = Path(FOLDER),
    output: Annotated[
        ValidateFormat,
        typer.Option(
            "--format", help="json is for scripts (hivequeen schema findings); github annotates a pull request."
        ),
    ] = ValidateFormat.TABLE,
) -> None:
    """Check every environment file. Needs neither daemon nor network.

    Every finding is printed as file:line, with its remedy; exit 1 if there are any. A date of expiry that has passed is a warning alone. Where the daemon's settings can be read, their policy counts too, bounds of cost included, and they say how much user_data fits beside the bootstrap; else as much is allowed as surely does.

    Example: [bold]hivequeen validate environments.d[/bold]
    """
    from reconciler.model.policy import Policy  # noqa: PLC0415 - as below
    from reconciler.report.sentences import nodes_of  # noqa: PLC0415 - as below
    from reconciler.spec import bounds_cost, validate_folder  # noqa: PLC0415 - YAML and schemas only where they are used

    settings = readable_settings(invocation(context).config)
    policy = settings.policy if settings else Policy()
    desired = validate_folder(
        path,
        user_data_limit_bytes=user_data_limit(settings),
        policy=policy,
        monthly_cost=reckoner(settings) if bounds_cost(policy) else None,
    )
    count, nodes, warnings = len(desired.environments), _nodes(desired), past_ends(desired, datetime.now(UTC))
    match output:
        case ValidateFormat.JSON:
            told = {"findings": finding_documents(desired.findings), "warnings": finding_documents(warnings)}
            screen.dump({"environments": count, "nodes": nodes, **told})
        case ValidateFormat.GITHUB:
            for finding in desired.findings:
                screen.write(f"{annotation(finding)}\n")
            for warning in warnings:
                screen.write(f"{annotation(warning, level='warning')}\n")
        case ValidateFormat.TABLE:
            for finding in desired.findings:
                screen.say(str(finding))
            for warning in warnings:
                screen.say(f"warning: {warning}", style="yellow")
    if desired.findings:
        found = len(desired.findings)
        screen.complain(f"{found} finding{'s' if found > 1 else ''} in {path}")
        raise typer.Exit(1)
    if output is ValidateFormat.TABLE:
        environments = f"{count} environment{'' if count == 1 else 's'}"
        screen.say(f"OK: {environments}, {nodes_of(nodes)} in {path}", style="green")


def past_ends(desired: "Desired", now: datetime) -> "list[Finding]":
    """Of environments whose files name a date that has passed. No fault, for every date passes some day."""
    from reconciler.model.findings import Finding  # noqa: PLC0415 - as above

    found = []
    for name, environment in sorted(desired.environments.items()):
        end = environment.lifetime.expires_at
        if end is not None and end <= now and not environment.protected:
            found.append(
                Finding(
                    origin=environment.origins.get("expires", environment.origin),
                    message=f"{name} expired on {end:%Y-%m-%d %H:%M} UTC: nothing of it is launched, what runs goes",
                    remedy="name a later date, or delete the file",
                )
            )
    return found


def user_data_limit(settings: "Settings | None") -> int:
    """How many bytes a file's user_data may take; as many as surely fit where that cannot be said."""
    from reconciler.enroll.first_boot import user_data_limit as limit_of  # noqa: PLC0415 - as above

    try:
        return limit_of(settings)
    except Stalled:  # a certificate that the daemon reads is not there
        return limit_of(None)


def reckoner(settings: "Settings | None") -> "MonthlyCost | None":
    """By the daemon's price table; None where nobody can tell. Its trouble is noted, and nobody else's work waits for it."""
    from reconciler import prices  # noqa: PLC0415 - as above

    if settings is None:
        return None
    try:
        return prices.reckoner(settings.prices, settings.aws.region)
    except Stalled as trouble:
        screen.note(f"what it costs is not known: {trouble.message}")
        return None


def annotation(finding: "Finding", *, level: str = "error") -> str:
    """A workflow command: https://docs.github.com/actions/reference/workflow-commands-for-github-actions"""
    message = finding.message + (f" ({finding.remedy})" if finding.remedy else "")
    file = _escaped(finding.origin.file).replace(":", "%3A").replace(",", "%2C")
    return f"::{level} file={file},line={finding.origin.line},title=hivequeen::{_escaped(message)}"


def finding_documents(findings: "Iterable[Finding]") -> "list[Json]":
    return [
        {
            "file": finding.origin.file,
            "line": finding.origin.line,
            "message": finding.message,
            "remedy": finding.remedy,
        }
        for finding in findings
    ]


def readable_settings(config: Path) -> "Settings | None":
    """None where there are none. Wrong ones are an error if somebody named them, else as good as none.

    Raises:
        SettingsError: somebody named them, and they are wrong.
    """
    from reconciler.settings import load  # noqa: PLC0415 - as above

    if config.is_dir() or not os.access(config, os.R_OK):
        if config != DEFAULT_CONFIG:
            screen.note(f"{config} cannot be read: no policy counts")
        return None
    try:
        return load(config, check_files=False)
    except SettingsError:
        if config != DEFAULT_CONFIG:
            raise
        screen.note(f"{config} is wrong: no policy counts")
        return None


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _nodes(desired: "Desired") -> int:
    return sum(role.count for environment in desired.environments.values() for role in environment.roles.values())
