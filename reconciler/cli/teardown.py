"""`teardown`: an environment's file deleted by a commit."""

from typing import TYPE_CHECKING, Final

import typer

from reconciler.cli import change, follow
from reconciler.cli.ask import invocation
from reconciler.cli.change import Manner, Proposal
from reconciler.cli.options import (
    FOLDER,
    HERE,
    ChangeFormat,
    DeclaredEnvironment,
    DryRun,
    Folder,
    Repository,
    Wait,
    Yes,
    environment_name,
)
from reconciler.cli.preview import Preview, preview
from reconciler.cli.screen import Format
from reconciler.cli.workplace import Workplace, require_file
from reconciler.errors import Stalled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.model.desired import Desired
    from reconciler.model.names import EnvironmentName
    from reconciler.settings import Settings

_VAIN: Final = "deleting its file tears nothing down"
_UNPROTECT: Final = "first commit `protected: false` in it, and let the daemon apply that"


def teardown(
    context: typer.Context,
    name: DeclaredEnvironment,
    *,
    repository: Repository = HERE,
    folder: Folder = FOLDER,
    wait: Wait = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    output: ChangeFormat = Format.TABLE,
) -> None:
    """Tear an environment down: delete its file by a commit in your name, and push it.

    Until the grace period has passed, reverting the commit keeps everything. Whatever you are working on in the clone takes no part, and stays as it is.

    Before it asks, it shows what the daemon would do and what a month costs: against what the daemon sees if one answers, else what it saw last, else as if all ran as declared. It says which.

    With --wait it goes on until the environment is gone. Ctrl-C ends the waiting alone (exit 130). With --format json its course goes to standard error, and its end into the document. Exit codes: 0 done · 1 error, or a person must act · 3 a guard holds.

    Example: [bold]hivequeen teardown checkout --wait[/bold]
    """
    from reconciler.adapters.worktree import Edit  # noqa: PLC0415 - for those who change something

    wanted = environment_name(name)
    here = Workplace(repository, folder, invocation(context).config)
    snapshot = here.clone.fetch()
    path = require_file(wanted, snapshot, here.clone)
    edit = Edit(path=path, content=None, before=snapshot.blob(path))
    subject = f"Tear down {wanted}"
    before, after = here.declared(snapshot), here.declared(snapshot, edit)
    told = preview(edit, subject, before=before, after=after, at=here)
    if not dry_run:
        _refuse_if_protected(wanted, before, told)
    proposal = Proposal(
        name=wanted,
        edit=edit,
        subject=subject,
        effects=tuple(_effects(wanted, before, after, here.settings)),
        preview=told,
        warnings=tuple(_warnings(wanted, before, after, told)),
        undo=f"to keep it: git revert {{revision}} and push; {_loss(here.settings)}",
        is_end=True,
    )
    watch = follow.Watch(follow.control_of(context), wanted, output=output) if wait else None
    manner = Manner(yes=yes, dry_run=dry_run, output=output, watch=watch)
    raise typer.Exit(change.carry_out(proposal, at=here, snapshot=snapshot, manner=manner))


def _refuse_if_protected(name: "EnvironmentName", before: "Desired", told: "Preview | None") -> None:
    """No approval lifts protection. The commit would end nothing, and freeze all that extend it.

    Raises:
        Stalled: its file says that it is protected, or what runs bears marks of it.
    """
    from reconciler.model.plan import Guard  # noqa: PLC0415 - planning only where something is planned

    if _is_protected(name, before) or (told is not None and told.is_held_by(Guard.PROTECTED)):
        raise Stalled(f"{name} is protected: {_VAIN}; nothing was committed", remedy=_UNPROTECT)


def _loss(settings: "Settings | None") -> str:
    is_at_once = settings is not None and settings.teardown.grace_s == 0
    return "it comes up anew then" if is_at_once else "within the grace period nothing is lost"


def _grace(settings: "Settings | None") -> str:
    if settings is None:
        return ", once the daemon's grace period has passed"
    if settings.teardown.grace_s == 0:
        return ""
    minutes, seconds = divmod(int(settings.teardown.grace_s), 60)
    parts = [f"{count} {unit}" for count, unit in ((minutes, "min"), (seconds, "s")) if count]
    return f", {' '.join(parts)} after the daemon has read it"


def _effects(
    name: "EnvironmentName", before: "Desired", after: "Desired", settings: "Settings | None"
) -> "Iterator[str]":
    if not (_is_protected(name, before) or name in after.frozen):
        yield f"{name} goes, with all its nodes and Chef objects{_grace(settings)}"


def _warnings(name: "EnvironmentName", before: "Desired", after: "Desired", told: "Preview | None") -> "Iterator[str]":
    """What the plan does not say, or would."""
    from reconciler.model.plan import Guard  # noqa: PLC0415 - as above

    for child in sorted(set(after.frozen) & set(before.environments)) if told is None else ():
        yield f"{child} extends {name}; without it, {child} is neither changed nor torn down until its file is mended"
    if _is_protected(name, before) and not (told is not None and told.is_held_by(Guard.PROTECTED)):
        yield f"{name} is protected: {_VAIN}; {_UNPROTECT}"
    if name in after.frozen:
        traces = "; ".join(f"{finding.origin.file}: {finding.message}" for finding in after.frozen[name].findings)
        yield f"{name} will not go: {traces}"


def _is_protected(name: "EnvironmentName", before: "Desired") -> bool:
    return name in before.environments and before.environments[name].protected
