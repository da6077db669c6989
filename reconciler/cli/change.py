"""What `launch`, `teardown` and `extend` share: one file of the repository changed by a commit of the person's own."""

import difflib
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Final

import typer

from reconciler.cli import screen
from reconciler.errors import SettingsError, Stalled
from reconciler.model.names import BlobId, EnvironmentName

if TYPE_CHECKING:
    from reconciler.adapters.worktree import Clone, Edit, Published, Snapshot
    from reconciler.model.desired import Desired, Environment
    from reconciler.settings import Settings

ENDINGS: Final = (".yml", ".yaml")
SHORT: Final = 8

Repository = Annotated[Path, typer.Option(help="Your clone of the repository of environments.", metavar="DIR")]
Folder = Annotated[str, typer.Option("--path", help="The folder of environment files in it.", metavar="FOLDER")]
Wait = Annotated[bool, typer.Option("--wait", metavar="", help="Show how it goes, until it is there or gone.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", metavar="", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", metavar="", help="Show what would be committed, and stop there.")]

HERE: Final = Path()
FOLDER: Final = "environments.d"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What is shown before anybody says yes."""

    edit: "Edit"
    subject: str  # of the commit
    effects: tuple[str, ...]  # what will come of it
    warnings: tuple[str, ...] = ()
    check: "Callable[[Desired], None]" = field(default=lambda _: None)  # raises if the result is not what was meant


def open_clone(repository: Path, folder: str) -> "Clone":
    from reconciler.adapters.worktree import Clone  # noqa: PLC0415 - for those who change something

    return Clone(repository, folder)


def settings_at_hand(config: Path) -> "Settings | None":
    """The daemon's settings, where this person can read them: they are not needed to change a file."""
    from reconciler.settings import load  # noqa: PLC0415 - the schema's validator takes its time

    with suppress(SettingsError):
        return load(config, check_files=False) if config.exists() else None
    return None


def elsewhere(clone: "Clone", settings: "Settings | None") -> Iterable[str]:
    """A commit that the daemon will not see."""
    if settings is not None and settings.repository.branch != clone.branch:
        yield f"the daemon follows {settings.repository.branch}, and this goes to {clone.branch}"
    if settings is not None and PurePosixPath(settings.repository.path) != PurePosixPath(clone.folder):
        yield f"the daemon reads {settings.repository.path}, and this is in {clone.folder}"


def declared(snapshot: "Snapshot", clone: "Clone", edit: "Edit | None" = None) -> "Desired":
    """What the branch declares; with the edit, what it would."""
    from reconciler.enroll.first_boot import user_data_limit  # noqa: PLC0415 - as above
    from reconciler.ports import TreeEntry  # noqa: PLC0415 - as above
    from reconciler.spec import SpecReader  # noqa: PLC0415 - as above

    entries = [entry for entry in snapshot.entries if edit is None or entry.path != edit.path]
    new = BlobId("new")
    if edit is not None and edit.content is not None:
        entries.append(TreeEntry(path=edit.path, blob=new, mode="100644", size=len(edit.content)))

    def read_blobs(blobs: Collection[BlobId]) -> Mapping[BlobId, bytes]:
        found = dict(snapshot.read([blob for blob in blobs if blob != new]))
        if new in blobs and edit is not None and edit.content is not None:
            found[new] = edit.content
        return found

    return SpecReader(user_data_limit_bytes=user_data_limit(None)).read(
        revision=snapshot.revision, folder=clone.folder, entries=sorted(entries, key=_path), read_blobs=read_blobs
    )


def _path(entry: object) -> str:
    return str(getattr(entry, "path", ""))


def file_of(name: str, snapshot: "Snapshot") -> str | None:
    """Of an environment or a template: `checkout.yml`."""
    return next((f"{name}{ending}" for ending in ENDINGS if snapshot.blob(f"{name}{ending}")), None)


def stems(snapshot: "Snapshot") -> list[str]:
    """Every environment and template that has a file."""
    paths = (PurePosixPath(entry.path) for entry in snapshot.entries)
    return sorted({path.stem for path in paths if len(path.parts) == 1 and path.suffix in ENDINGS})


def require_file(name: EnvironmentName, snapshot: "Snapshot", clone: "Clone") -> str:
    """
    Raises:
        Stalled: there is no such environment.
    """
    found = file_of(name, snapshot)
    if found is None:
        known = [stem for stem in stems(snapshot) if not stem.startswith("_")]
        raise Stalled(f"{clone.upstream} declares no environment {name}", remedy=near(name, known))
    return found


def near(name: str, known: Sequence[str]) -> str:
    if guessed := difflib.get_close_matches(name, known, n=1):
        return f"did you mean {guessed[0]}?"
    return f"there are: {', '.join(known)}" if known else "there are none yet; is --path the right folder?"


def require_valid(name: EnvironmentName, desired: "Desired") -> "Environment":
    """The environment, if its file and those that it extends are right.

    Raises:
        Stalled: one line for each fault.
    """
    environment = desired.environments.get(name)
    if environment is None:
        frozen = desired.frozen.get(name)
        faults = "\n".join(map(str, frozen.findings)) if frozen else f"{name} is not declared"
        raise Stalled(faults, remedy="nothing was committed")
    return environment


def carry_out(
    proposal: Proposal,
    *,
    clone: "Clone",
    snapshot: "Snapshot",
    yes: bool,
    dry_run: bool,
    before: Callable[[], None] | None,
) -> "Published | None":
    """Show it, ask, commit and push. None: nothing was done, because nothing was to be done.

    Args:
        before: what must be in order before anything is committed.

    Raises:
        Exit: the person said no.
        Stalled: nobody is there to say yes.
    """
    proposal.check(declared(snapshot, clone, proposal.edit))
    _show(proposal, clone)
    if dry_run:
        screen.note("dry run: nothing was committed")
        return None
    if before is not None:
        before()
    if not yes:
        _confirm(proposal, clone)

    def check(newer: "Snapshot") -> None:
        proposal.check(declared(newer, clone, proposal.edit))

    published = clone.publish(proposal.edit, onto=snapshot, message=proposal.subject, check=check)
    screen.say(f"{proposal.subject}: {published.revision[:SHORT]} is on {clone.upstream}", style="green")
    if published.to_do:
        screen.note(f"your branch and files are as they were; to have the change there: {published.to_do}")
    return published


def _show(proposal: Proposal, clone: "Clone") -> None:
    edit = proposal.edit
    screen.say(str(PurePosixPath(clone.folder) / edit.path), style="bold")
    if edit.content is None:
        screen.say("  is deleted", style="red")
    else:
        for line in edit.content.decode().splitlines():
            screen.say(f"  {line}")
    for effect in proposal.effects:
        screen.say(effect, style="cyan")
    for warning in proposal.warnings:
        screen.say(f"warning: {warning}", style="yellow")


def _confirm(proposal: Proposal, clone: "Clone") -> None:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Stalled(
            "nobody is at a terminal to say yes, so nothing was committed",
            remedy="say --yes, or --dry-run to see what it would be",
        )
    if not typer.confirm(f"{proposal.subject}, by a commit to {clone.upstream}?"):
        screen.note("nothing was committed")
        raise typer.Exit(1)


def nodes(environment: "Environment") -> Iterable[str]:
    """What it will consist of, a role in a line."""
    for name, role in sorted(environment.roles.items()):
        first, *others = role.instance_types
        instead = f" (or {', '.join(others)})" if others else ""
        yield f"  {name}: {role.count} x {first}{instead}"
