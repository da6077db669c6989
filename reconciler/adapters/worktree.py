"""A person's own clone of the spec repository: one file of it is committed and pushed as that person would, beside their work.

Commits are built by plumbing on the freshly fetched upstream branch, with an index of their own. What the person has
changed, staged or committed takes no part and stays as it is. Their configuration, keys and pre-push hook do take part.
"""

import os
import shlex
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Final

from reconciler.adapters.git_errors import rejection, remark
from reconciler.adapters.git_history import moment
from reconciler.adapters.git_mirror import blob_content, missing_blob, tree_entry
from reconciler.adapters.git_personal import NETWORK_TIMEOUT_S, PersonalGit, said, why
from reconciler.errors import Conflict, Interrupted, Refused, SourceRejected, Stalled, Transient
from reconciler.model.names import BlobId, RevisionId
from reconciler.ports import TreeEntry

PUSHES_MAX: Final = 5
_RACES: Final = (
    "stale info",
    "fetch first",
    "non-fast-forward",
    "failed to update ref",
    "cannot lock ref",
    "incorrect old",
)
_EXECUTABLE: Final = "100755"
_IDENTITY: Final = "say who you are: git config user.name and git config user.email"
# Of an index that is thrown away: nothing of it is left in the clone, and no process watches it.
_OF_OUR_INDEX: Final = ("core.splitIndex=false", "core.fsmonitor=false")


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What becomes of one file of the folder."""

    path: str  # relative to the folder
    content: bytes | None  # None: it is removed
    before: BlobId | None  # what it was when somebody decided so; None: it was not there


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The upstream branch as it was fetched."""

    revision: RevisionId
    entries: tuple[TreeEntry, ...]  # at and below the folder
    read: Callable[[Collection[BlobId]], Mapping[BlobId, bytes]]

    def blob(self, path: str) -> BlobId | None:
        return next((entry.blob for entry in self.entries if entry.path == path), None)

    def mode(self, path: str) -> str:
        """Of the file, or of a new one."""
        is_executable = any(entry.path == path and entry.mode == _EXECUTABLE for entry in self.entries)
        return _EXECUTABLE if is_executable else "100644"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A commit that is on the upstream branch now."""

    revision: RevisionId
    to_do: str  # what brings the local branch up to date; empty where it is already


@dataclass(frozen=True, slots=True, kw_only=True)
class _Upstream:
    branch: str  # the local one
    remote: str
    ref: str  # there: "refs/heads/main"
    tracking: str  # here: "refs/remotes/origin/main"


class Clone:
    """One clone, with the branch that is checked out in it."""

    def __init__(self, directory: Path, folder: str) -> None:
        """
        Args:
            directory: anything inside the clone.
            folder: of environment files, from the top of the repository.

        Raises:
            Stalled: it is no clone, no branch is checked out, or the branch has no upstream.
        """
        self._git = PersonalGit(directory)
        self.folder = str(PurePosixPath(folder))
        if PurePosixPath(folder).is_absolute() or ".." in PurePosixPath(folder).parts:
            raise Stalled(
                f"--path {folder} is not a folder of the repository",
                remedy='write it from the top of the repository, such as "environments.d"',
            )
        top = self._git.ask(
            *("rev-parse", "--show-toplevel"),
            trouble=f"{directory} is not in a clone of a git repository",
            remedy="name a clone with --repository",
        )
        self._here = Path(top)
        self._git = PersonalGit(self._here)
        self._upstream = self._find_upstream()

    @property
    def upstream(self) -> str:
        """For people: `origin/main`."""
        return self._upstream.tracking.removeprefix("refs/remotes/")

    @property
    def branch(self) -> str:
        """What is pushed to: `main`."""
        return self._upstream.ref.removeprefix("refs/heads/")

    @property
    def email(self) -> str | None:
        return self._git.configured("user.email")

    def fetch(self) -> Snapshot:
        """
        Raises:
            Transient: the remote repository could not be reached, or does not let this person in.
            SourceRejected: what came cannot be read.
        """
        upstream = self._upstream
        fetched = self._git.run(
            *("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"),
            *(upstream.remote, upstream.ref),
            timeout_s=NETWORK_TIMEOUT_S,
        )
        if fetched.returncode:
            raise Transient(
                f"{self.upstream} cannot be fetched: {why(fetched)}", remedy=f"see: git fetch {upstream.remote}"
            )
        asked = ("rev-parse", "--verify", f"{upstream.tracking}^{{commit}}")
        revision = RevisionId(self._git.ask(*asked, trouble=f"{self.upstream} is not there"))
        return Snapshot(revision=revision, entries=self._entries(revision), read=self._read)

    def touched_at(self, snapshot: Snapshot, path: str) -> datetime:
        """When the newest commit that touched the file was made, as it says itself: that may be in the future.

        Raises:
            Stalled: the clone holds too little of the history to tell.
        """
        if self._git.ask("rev-parse", "--is-shallow-repository") == "true":
            raise Stalled(
                f"{self._here} is a shallow clone: who touched what is not known", remedy="git fetch --unshallow"
            )
        told = self._git.ask("rev-list", "-1", "--timestamp", snapshot.revision, "--", self._full(path))
        return moment(told.partition(" ")[0])

    def publish(self, edit: Edit, *, onto: Snapshot, message: str, check: Callable[[Snapshot], None]) -> Published:
        """Commit the edit on top of the snapshot and push it; on a newer one, if somebody pushed meanwhile.

        Args:
            check: raises if the edit does not fit a newer snapshot.

        Raises:
            Conflict: somebody changed the same file meanwhile.
            Refused: the remote repository does not take the push.
            Transient: it could not be reached, and the outcome is unknown; or others pushed again and again.
            Interrupted: by Ctrl-C while it was pushed, or after that.
            Stalled: no commit can be made, for want of an identity, say.
        """
        snapshot = onto
        for _ in range(PUSHES_MAX):
            if snapshot.blob(edit.path) != edit.before:
                raise Conflict(
                    f"{self._full(edit.path)} was changed by somebody else meanwhile ({snapshot.revision[:8]})",
                    remedy="look at it, then try again",
                )
            revision = self._commit(edit, snapshot, message)
            if self._push(revision, snapshot.revision):
                return Published(revision=revision, to_do=self._bring_along(edit, revision, snapshot.revision))
            snapshot = self.fetch()
            check(snapshot)
        raise Transient(f"others pushed {PUSHES_MAX} times meanwhile, and nothing was changed", remedy="try again")

    # --- the upstream branch ---

    def _find_upstream(self) -> _Upstream:
        head = self._git.run("symbolic-ref", "--quiet", "HEAD")
        if head.returncode:
            raise Stalled(
                f"no branch is checked out in {self._here}",
                remedy="check one out that follows the repository: git switch main",
            )
        ref = head.stdout.decode().strip()
        branch = ref.removeprefix("refs/heads/")
        shown = "%(upstream)%00%(upstream:remotename)%00%(upstream:remoteref)"
        told = self._git.ask("for-each-ref", f"--format={shown}", ref) or "\0\0"
        tracking, remote, there = told.split("\0")
        if not (tracking and there and remote not in ("", ".")):
            raise Stalled(
                f"the branch {branch} follows no branch of a remote repository",
                remedy=f"git branch --set-upstream-to=origin/{branch}, or check out one that does",
            )
        return _Upstream(branch=branch, remote=remote, ref=there, tracking=tracking)

    def _entries(self, revision: RevisionId) -> tuple[TreeEntry, ...]:
        below = () if self.folder == "." else (self.folder,)
        listing = self._git.ask_bytes("ls-tree", "-r", "-z", "-l", "--full-tree", revision, "--", *below)
        lines = [line for line in listing.split(b"\0") if line]
        if any(missing_blob(line) for line in lines):
            raise SourceRejected(f"{self._here} lacks files of {revision[:8]}", remedy="see: git fsck")
        return tuple(sorted((tree_entry(line, self.folder) for line in lines), key=lambda entry: entry.path))

    def _read(self, blobs: Collection[BlobId]) -> Mapping[BlobId, bytes]:
        asked = "".join(f"{blob}\n" for blob in blobs).encode()
        answers = BytesIO(self._git.ask_bytes("cat-file", "--batch", content=asked))
        found = {blob: blob_content(answers, blob, len(answers.getbuffer())) for blob in blobs}
        if lost := [blob for blob, content in found.items() if content is None]:
            raise SourceRejected(f"{self._here} lacks the object {lost[0]}", remedy="see: git fsck")
        return {blob: content for blob, content in found.items() if content is not None}

    # --- committing ---

    def _commit(self, edit: Edit, onto: Snapshot, message: str) -> RevisionId:
        full = self._full(edit.path)
        with tempfile.TemporaryDirectory(prefix="hivequeen-") as made:
            variables = {"GIT_INDEX_FILE": str(Path(made) / "index")}

            def ask(*arguments: str) -> str:
                return self._git.ask(*arguments, variables=variables, settings=_OF_OUR_INDEX)

            ask("read-tree", onto.revision)
            if edit.content is None:
                ask("update-index", "--force-remove", "--", full)
            else:
                blob = self._git.ask("hash-object", "-w", "--no-filters", "--stdin", content=edit.content)
                ask("update-index", "--add", "--cacheinfo", f"{onto.mode(edit.path)},{blob},{full}")
            tree = ask("write-tree")
        signs = self._git.configured("commit.gpgSign", "--type=bool") == "true"
        made_by = ("commit-tree", *(("-S",) if signs else ()), "-p", onto.revision, "-m", message, tree)
        return RevisionId(self._git.ask(*made_by, trouble="no commit can be made", remedy=_IDENTITY))

    def _push(self, revision: RevisionId, onto: RevisionId) -> bool:
        """False: somebody else was faster."""
        upstream = self._upstream
        try:
            pushed = self._git.run(
                *("push", "--porcelain", "--no-follow-tags", "--recurse-submodules=no"),
                *(f"--force-with-lease={upstream.ref}:{onto}", upstream.remote, f"{revision}:{upstream.ref}"),
                timeout_s=NETWORK_TIMEOUT_S,
            )
        except Transient as late:
            raise Transient(f"{late.message}: {self._doubt(revision)}", remedy=self._certainty(revision)) from late
        except KeyboardInterrupt:
            raise Interrupted(
                f"interrupted while it was pushed: {self._doubt(revision)}", remedy=self._certainty(revision)
            ) from None
        if pushed.returncode == 0:
            return True
        refusal = rejection(pushed.stdout.decode(errors="replace"))
        if any(race in refusal for race in _RACES):
            return False
        complaint = pushed.stderr.decode(errors="replace")
        if refusal:
            told = "; ".join(part for part in (refusal, remark(complaint)) if part)
            raise Refused(
                f"{self.upstream} does not take the push: {told}",
                remedy="nothing was changed; ask whoever keeps that repository",
            )
        # `git push` by hand would push the person's own branch, which is not what was to be pushed.
        raise Transient(f"the push to {self.upstream} failed: {said(complaint)}", remedy=self._certainty(revision))

    def _doubt(self, revision: RevisionId) -> str:
        return f"the commit {revision[:8]} may or may not be on {self.upstream}"

    def _certainty(self, revision: RevisionId) -> str:
        look = f"git fetch {self._upstream.remote} && git branch -r --contains {revision[:8]}"
        return f"{look} names {self.upstream} if the commit is there"

    # --- the local branch ---

    def _bring_along(self, edit: Edit, revision: RevisionId, before: RevisionId) -> str:
        try:
            return self._follow(edit, revision, before)
        except KeyboardInterrupt:
            raise Interrupted(
                f"interrupted: {revision[:8]} is on {self.upstream}, and maybe not on your branch yet",
                remedy="git pull --rebase",
            ) from None

    def _follow(self, edit: Edit, revision: RevisionId, before: RevisionId) -> str:
        """Bring branch, index and the one file along, if nothing of the person's is in the way; else what they can run."""
        full = self._full(edit.path)
        pull = "git pull --rebase"
        if os.path.lexists(self._here / full) and not self._git.ask("ls-files", "--", full):
            # Of a file that git does not know, and where it is told to ignore it, a pull would replace it silently.
            return f"mv {shlex.quote(full)} {shlex.quote(f'{full}.mine')} && {pull}"
        if self._git.run("rev-parse", "HEAD").stdout.decode().strip() != before:
            return pull
        # Refuses by itself, and leaves everything as it is, if the file has changes that are not committed.
        moved = self._git.run(
            *("merge", "--ff-only", "--quiet", "--no-stat", "--no-verify-signatures"),
            *("--no-squash", "--no-autostash", "--no-overwrite-ignore", revision),
            settings=("core.hooksPath=/dev/null", "gc.auto=0", "maintenance.auto=false"),
        )
        return pull if moved.returncode else ""

    def _full(self, path: str) -> str:
        return str(PurePosixPath(self.folder) / path)
