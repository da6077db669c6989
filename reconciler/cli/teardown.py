"""`teardown`: an environment's file deleted by a commit."""

from typing import TYPE_CHECKING

import typer

from reconciler.cli import change, follow, screen
from reconciler.cli.ask import invocation
from reconciler.cli.change import FOLDER, HERE, DryRun, Folder, Proposal, Repository, Wait, Workplace, Yes
from reconciler.cli.options import DeclaredEnvironment, environment_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.model.desired import Desired
    from reconciler.model.names import EnvironmentName
    from reconciler.settings import Settings


def teardown(
    context: typer.Context,
    name: DeclaredEnvironment,
    *,
    repository: Repository = HERE,
    folder: Folder = FOLDER,
    wait: Wait = False,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Tear an environment down: delete its file by a commit in your name, and push it.

    Until the grace period has passed, reverting the commit keeps everything. Whatever you are working on in the clone takes no part, and stays as it is.

    With --wait it goes on until the environment is gone. Ctrl-C ends the waiting alone (exit 130). Exit codes: 0 done · 1 error, or a person must act · 3 a guard holds.

    Example: [bold]hivequeen teardown checkout --wait[/bold]
    """
    from reconciler.adapters.worktree import Edit  # noqa: PLC0415 - for those who change something

    wanted = environment_name(name)
    here = Workplace(repository, folder, invocation(context).config)
    snapshot = here.clone.fetch()
    path = change.require_file(wanted, snapshot, here.clone)
    edit = Edit(path=path, content=None, before=snapshot.blob(path))
    before, after = here.declared(snapshot), here.declared(snapshot, edit)
    proposal = Proposal(
        edit=edit,
        subject=f"Tear down {wanted}",
        effects=(
            f"{wanted} goes, with all its nodes and Chef objects{_grace(here.settings)}",
            *_savings(wanted, before, here),
        ),
        warnings=tuple(_warnings(wanted, before, after)),
    )
    watch = follow.Watch(follow.control_of(context), wanted) if wait else None
    published = change.carry_out(
        proposal, at=here, snapshot=snapshot, yes=yes, dry_run=dry_run, before=watch.begin if watch else None
    )
    if published is None:
        return
    is_at_once = here.settings is not None and here.settings.teardown.grace_s == 0
    loss = "it comes up anew then" if is_at_once else "within the grace period nothing is lost"
    screen.note(f"to keep it: git revert {published.revision[: change.SHORT]} and push; {loss}")
    if watch:
        raise typer.Exit(watch.until_gone(published.revision))


def _grace(settings: "Settings | None") -> str:
    if settings is None:
        return ", once the daemon's grace period has passed"
    if settings.teardown.grace_s == 0:
        return ""
    minutes, seconds = divmod(int(settings.teardown.grace_s), 60)
    parts = [f"{count} {unit}" for count, unit in ((minutes, "min"), (seconds, "s")) if count]
    return f", {' '.join(parts)} after the daemon has read it"


def _savings(name: "EnvironmentName", before: "Desired", here: Workplace) -> "Iterator[str]":
    environment = before.environments.get(name)
    cost = here.cost(environment) if environment else None
    if cost is not None:
        yield f"  it cost {cost}"


def _warnings(name: "EnvironmentName", before: "Desired", after: "Desired") -> "Iterator[str]":
    orphans = sorted(set(after.frozen) & set(before.environments))
    for child in orphans:
        yield f"{child} extends {name}; without it, {child} is neither changed nor torn down until its file is mended"
    if name in before.environments and before.environments[name].protected:
        yield f"{name} is protected: nothing of it goes until somebody approves (hivequeen status tells how)"
    if name in after.frozen:
        traces = "; ".join(f"{finding.origin.file}: {finding.message}" for finding in after.frozen[name].findings)
        yield f"{name} will not go: {traces}"
