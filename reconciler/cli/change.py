"""What `launch`, `teardown` and `extend` share: one file of the repository changed by a commit of the person's own."""

import difflib
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Final

import typer

from reconciler.cli import screen
from reconciler.cli.validate import readable_settings, reckoner, user_data_limit
from reconciler.errors import Stalled
from reconciler.model.names import BlobId, EnvironmentName

if TYPE_CHECKING:
    from reconciler.adapters.worktree import Clone, Edit, Published, Snapshot
    from reconciler.model.cost import Cost
    from reconciler.model.desired import Desired, Environment
    from reconciler.model.findings import Finding

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


class Workplace:
    """A person's clone, and the daemon's settings as far as that person can read them: they are not needed to change a file."""

    def __init__(self, repository: Path, folder: str, config: Path) -> None:
        """
        Raises:
            Stalled: there is no clone whose branch follows one of a remote repository.
        """
        from reconciler.adapters.worktree import Clone  # noqa: PLC0415 - for those who change something

        self.clone = Clone(repository, folder)
        self.settings = readable_settings(config)
        self._price = reckoner(self.settings)

    def declared(self, snapshot: "Snapshot", edit: "Edit | None" = None) -> "Desired":
        """What the branch declares; with the edit, what it would. The daemon's policy counts if it is known."""
        from reconciler.model.policy import Policy  # noqa: PLC0415 - YAML and schemas only where they are used
        from reconciler.ports import TreeEntry  # noqa: PLC0415 - as above
        from reconciler.spec import SpecReader, bounds_cost  # noqa: PLC0415 - as above

        policy = self.settings.policy if self.settings else Policy()
        entries = [entry for entry in snapshot.entries if edit is None or entry.path != edit.path]
        new = BlobId("new")
        if edit is not None and edit.content is not None:
            entries.append(TreeEntry(path=edit.path, blob=new, mode="100644", size=len(edit.content)))

        def read_blobs(blobs: Collection[BlobId]) -> Mapping[BlobId, bytes]:
            found = dict(snapshot.read([blob for blob in blobs if blob != new]))
            if new in blobs and edit is not None and edit.content is not None:
                found[new] = edit.content
            return found

        reader = SpecReader(
            user_data_limit_bytes=user_data_limit(self.settings),
            policy=policy,
            monthly_cost=self._price if bounds_cost(policy) else None,
        )
        return reader.read(
            revision=snapshot.revision,
            folder=self.clone.folder,
            entries=sorted(entries, key=lambda entry: entry.path),
            read_blobs=read_blobs,
        )

    def cost(self, environment: "Environment") -> "Cost | None":
        """Of a month; None without the settings, for nobody knows the region then."""
        return None if self._price is None else self._price(environment)

    def elsewhere(self) -> Iterable[str]:
        """Of a commit that the daemon would not see."""
        if self.settings is None:
            return
        followed = self.settings.repository
        if followed.branch != self.clone.branch:
            yield f"the daemon follows {followed.branch}, and this goes to {self.clone.branch}"
        if PurePosixPath(followed.path) != PurePosixPath(self.clone.folder):
            yield f"the daemon reads {followed.path}, and this is in {self.clone.folder}"


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


def require_declared(name: EnvironmentName, desired: "Desired") -> "Environment":
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


def require_valid(name: EnvironmentName, desired: "Desired", *, tolerated: "Collection[Finding]" = ()) -> "Environment":
    """Likewise, and within the policy.

    Args:
        tolerated: violations of the policy that were there before.

    Raises:
        Stalled: as above.
    """
    environment = require_declared(name, desired)
    known = {violation.message for violation in tolerated}
    if violations := [violation for violation in environment.violations if violation.message not in known]:
        raise Stalled("\n".join(map(str, violations)), remedy="nothing was committed: the daemon would not let it grow")
    return environment


def carry_out(
    proposal: Proposal,
    *,
    at: Workplace,
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
    proposal.check(at.declared(snapshot, proposal.edit))
    _show(proposal, at)
    if dry_run:
        screen.note("dry run: nothing was committed")
        return None
    if before is not None:
        before()
    if not yes:
        _confirm(proposal, at.clone)

    def check(newer: "Snapshot") -> None:
        proposal.check(at.declared(newer, proposal.edit))

    published = at.clone.publish(proposal.edit, onto=snapshot, message=proposal.subject, check=check)
    screen.say(f"{proposal.subject}: {published.revision[:SHORT]} is on {at.clone.upstream}", style="green")
    if published.to_do:
        screen.note(f"your branch and files are as they were; to have the change there: {published.to_do}")
    return published


def _show(proposal: Proposal, at: Workplace) -> None:
    edit = proposal.edit
    screen.say(str(PurePosixPath(at.clone.folder) / edit.path), style="bold")
    if edit.content is None:
        screen.say("  is deleted", style="red")
    else:
        for line in edit.content.decode().splitlines():
            screen.say(f"  {line}")
    for effect in proposal.effects:
        screen.say(effect, style="cyan")
    for warning in (*proposal.warnings, *at.elsewhere()):
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
