"""Where people change environments: a clone of theirs, and what of the daemon's settings they can read."""

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from reconciler.cli.validate import readable_settings, reckoner, user_data_limit
from reconciler.errors import Stalled
from reconciler.model.findings import new_findings
from reconciler.model.names import SPEC_SUFFIXES, BlobId, EnvironmentName

if TYPE_CHECKING:
    from reconciler.adapters.worktree import Clone, Edit, Snapshot
    from reconciler.model.desired import Desired, Environment
    from reconciler.model.findings import Violation


class Workplace:
    """A person's clone, and the daemon's settings as far as that person can read them: they are not needed to change a file."""

    def __init__(self, repository: Path, folder: str, config: Path) -> None:
        """
        Raises:
            Stalled: there is no clone whose branch follows one of a remote repository.
        """
        from reconciler.adapters.worktree import Clone  # noqa: PLC0415 - for those who change something

        self.directory = repository
        self.config = config
        self.clone = Clone(repository, folder)
        self.settings = readable_settings(config)
        self.price = reckoner(self.settings)  # None: nobody can tell what anything costs

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
            monthly_cost=self.price if bounds_cost(policy) else None,
        )
        return reader.read(
            revision=snapshot.revision,
            folder=self.clone.folder,
            entries=sorted(entries, key=lambda entry: entry.path),
            read_blobs=read_blobs,
        )

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
    return next((f"{name}{ending}" for ending in SPEC_SUFFIXES if snapshot.blob(f"{name}{ending}")), None)


def stems(snapshot: "Snapshot") -> list[str]:
    """Every environment and template that has a file."""
    paths = (PurePosixPath(entry.path) for entry in snapshot.entries)
    return sorted({path.stem for path in paths if len(path.parts) == 1 and path.suffix in SPEC_SUFFIXES})


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


def require_valid(
    name: EnvironmentName, desired: "Desired", *, tolerated: "Collection[Violation]" = ()
) -> "Environment":
    """Likewise, and within the policy.

    Args:
        tolerated: violations of the policy that were there before, and may be as bad as they were.

    Raises:
        Stalled: as above.
    """
    environment = require_declared(name, desired)
    found = [violation.finding for violation in environment.violations]
    if worse := new_findings(found, [violation.finding for violation in tolerated]):
        raise Stalled("\n".join(map(str, worse)), remedy="nothing was committed: the daemon would not let it grow")
    return environment
