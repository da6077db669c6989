"""A person's own clone of the spec repository: one file of it is committed and pushed as that person would, beside their work.

Commits are built by plumbing on the freshly fetched upstream branch, with an index of their own. What the person has
changed, staged or committed takes no part and stays as it is. Their configuration, keys and pre-push hook do take part.
"""

import os
import subprocess
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Final

from reconciler.adapters.git_config import masked
from reconciler.adapters.git_errors import reason, rejection, remark
from reconciler.adapters.git_mirror import blob_content, missing_blob, tree_entry
from reconciler.errors import Conflict, Refused, SourceRejected, Stalled, Transient
from reconciler.model.names import BlobId, RevisionId
from reconciler.ports import TreeEntry

PUSHES_MAX: Final = 5
LOCAL_TIMEOUT_S: Final = 30.0
NETWORK_TIMEOUT_S: Final = 180.0  # somebody may have to type a passphrase

# Set while git runs a hook, for the repository of that hook.
_OF_ANOTHER: Final = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_PREFIX",
    "GIT_OBJECT_DIRECTORY",
    "GIT_COMMON_DIR",
)
_RACES: Final = (
    "stale info",
    "fetch first",
    "non-fast-forward",
    "failed to update ref",
    "cannot lock ref",
    "incorrect old",
)


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
        self._here = directory
        self.folder = str(PurePosixPath(folder))
        if PurePosixPath(folder).is_absolute() or ".." in PurePosixPath(folder).parts:
            raise Stalled(
                f"--path {folder} is not a folder of the repository",
                remedy='write it from the top of the repository, such as "environments.d"',
            )
        self._here = Path(
            self._ask(
                "rev-parse",
                "--show-toplevel",
                trouble=f"{directory} is not in a clone of a git repository",
                remedy="name a clone with --repository",
            )
        )
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
        return self._configured("user.email")

    def fetch(self) -> Snapshot:
        """
        Raises:
            Transient: the remote repository could not be reached, or does not let this person in.
            SourceRejected: what came cannot be read.
        """
        upstream = self._upstream
        fetched = self._run(
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-write-fetch-head",
            upstream.remote,
            upstream.ref,
            timeout_s=NETWORK_TIMEOUT_S,
        )
        if fetched.returncode:
            raise Transient(
                f"{self.upstream} cannot be fetched: {_why(fetched)}", remedy=f"see: git fetch {upstream.remote}"
            )
        revision = RevisionId(
            self._ask(
                "rev-parse", "--verify", f"{upstream.tracking}^{{commit}}", trouble=f"{self.upstream} is not there"
            )
        )
        return Snapshot(revision=revision, entries=self._entries(revision), read=self._read)

    def touched_at(self, snapshot: Snapshot, path: str) -> datetime:
        """When the newest commit that touched the file was made.

        Raises:
            Stalled: the clone holds too little of the history to tell.
        """
        if self._ask("rev-parse", "--is-shallow-repository") == "true":
            raise Stalled(
                f"{self._here} is a shallow clone: who touched what is not known", remedy="git fetch --unshallow"
            )
        told = self._ask("log", "-1", "--format=%ct", snapshot.revision, "--", self._full(path))
        return datetime.fromtimestamp(int(told), UTC)

    def publish(self, edit: Edit, *, onto: Snapshot, message: str, check: Callable[[Snapshot], None]) -> Published:
        """Commit the edit on top of the snapshot and push it; on a newer one, if somebody pushed meanwhile.

        Args:
            check: raises if the edit does not fit a newer snapshot.

        Raises:
            Conflict: somebody changed the same file meanwhile.
            Refused: the remote repository does not take the push.
            Transient: it could not be reached, and the outcome is unknown; or others pushed again and again.
            Stalled: no commit can be made, for want of an identity, say.
        """
        snapshot = onto
        for _ in range(PUSHES_MAX):
            if snapshot.blob(edit.path) != edit.before:
                raise Conflict(
                    f"{self._full(edit.path)} was changed by somebody else meanwhile ({snapshot.revision[:8]})",
                    remedy="look at it, then try again",
                )
            revision = self._commit(edit, snapshot.revision, message)
            if self._push(revision, snapshot.revision):
                return Published(revision=revision, to_do=self._follow(revision, snapshot.revision))
            snapshot = self.fetch()
            check(snapshot)
        raise Transient(f"others pushed {PUSHES_MAX} times meanwhile, and nothing was changed", remedy="try again")

    # --- the upstream branch ---

    def _find_upstream(self) -> _Upstream:
        head = self._run("symbolic-ref", "--quiet", "HEAD")
        if head.returncode:
            raise Stalled(
                f"no branch is checked out in {self._here}",
                remedy="check one out that follows the repository: git switch main",
            )
        ref = head.stdout.decode().strip()
        branch = ref.removeprefix("refs/heads/")
        shown = "%(upstream)%00%(upstream:remotename)%00%(upstream:remoteref)"
        told = self._ask("for-each-ref", f"--format={shown}", ref) or "\0\0"
        tracking, remote, there = told.split("\0")
        if not (tracking and there and remote not in ("", ".")):
            raise Stalled(
                f"the branch {branch} follows no branch of a remote repository",
                remedy=f"git branch --set-upstream-to=origin/{branch}, or check out one that does",
            )
        return _Upstream(branch=branch, remote=remote, ref=there, tracking=tracking)

    def _entries(self, revision: RevisionId) -> tuple[TreeEntry, ...]:
        below = () if self.folder == "." else (self.folder,)
        listing = self._ask_bytes("ls-tree", "-r", "-z", "-l", "--full-tree", revision, "--", *below)
        lines = [line for line in listing.split(b"\0") if line]
        if any(missing_blob(line) for line in lines):
            raise SourceRejected(f"{self._here} lacks files of {revision[:8]}", remedy="see: git fsck")
        return tuple(sorted((tree_entry(line, self.folder) for line in lines), key=lambda entry: entry.path))

    def _read(self, blobs: Collection[BlobId]) -> Mapping[BlobId, bytes]:
        asked = "".join(f"{blob}\n" for blob in blobs).encode()
        answers = BytesIO(self._ask_bytes("cat-file", "--batch", content=asked))
        found = {blob: blob_content(answers, blob, len(answers.getbuffer())) for blob in blobs}
        if lost := [blob for blob, content in found.items() if content is None]:
            raise SourceRejected(f"{self._here} lacks the object {lost[0]}", remedy="see: git fsck")
        return {blob: content for blob, content in found.items() if content is not None}

    # --- committing ---

    def _commit(self, edit: Edit, tip: RevisionId, message: str) -> RevisionId:
        full = self._full(edit.path)
        with tempfile.TemporaryDirectory(prefix="hivequeen-") as made:
            variables = {"GIT_INDEX_FILE": str(Path(made) / "index")}
            self._ask("read-tree", tip, variables=variables)
            if edit.content is None:
                self._ask("update-index", "--force-remove", "--", full, variables=variables)
            else:
                blob = self._ask("hash-object", "-w", "--no-filters", "--stdin", content=edit.content)
                self._ask("update-index", "--add", "--cacheinfo", f"100644,{blob},{full}", variables=variables)
            tree = self._ask("write-tree", variables=variables)
        signs = self._configured("commit.gpgSign", "--type=bool") == "true"
        made_by = ("commit-tree", *(("-S",) if signs else ()), "-p", tip, "-m", message, tree)
        return RevisionId(self._ask(*made_by, trouble="no commit can be made", remedy=_IDENTITY))

    def _push(self, revision: RevisionId, onto: RevisionId) -> bool:
        """False: somebody else was faster."""
        upstream = self._upstream
        pushed = self._run(
            *("push", "--porcelain", "--no-follow-tags", "--recurse-submodules=no"),
            *(f"--force-with-lease={upstream.ref}:{onto}", upstream.remote, f"{revision}:{upstream.ref}"),
            timeout_s=NETWORK_TIMEOUT_S,
        )
        if pushed.returncode == 0:
            return True
        why = rejection(pushed.stdout.decode(errors="replace"))
        if any(race in why for race in _RACES):
            return False
        said = pushed.stderr.decode(errors="replace")
        if why:
            told = "; ".join(part for part in (why, remark(said)) if part)
            raise Refused(
                f"{self.upstream} does not take the push: {told}",
                remedy="nothing was changed; ask whoever keeps that repository",
            )
        raise Transient(f"the push to {self.upstream} failed: {_said(said)}", remedy=f"see: git push {upstream.remote}")

    # --- the local branch ---

    def _follow(self, revision: RevisionId, before: RevisionId) -> str:
        """Bring branch, index and the one file along, if nothing of the person's is in the way; else what they can run."""
        pull = "git pull --rebase"
        if self._run("rev-parse", "HEAD").stdout.decode().strip() != before:
            return pull
        # Refuses by itself, and leaves everything as it is, if the file has changes that are not committed.
        moved = self._run(
            *(
                "-c",
                "core.hooksPath=/dev/null",
                "-c",
                "gc.auto=0",
                "-c",
                "maintenance.auto=false",
                "-c",
                "merge.autoStash=false",
            ),
            *("merge", "--ff-only", "--quiet", "--no-stat", "--no-verify-signatures", revision),
        )
        return pull if moved.returncode else ""

    # --- running git ---

    def _full(self, path: str) -> str:
        return str(PurePosixPath(self.folder) / path)

    def _configured(self, name: str, *options: str) -> str | None:
        found = self._run("config", *options, "--get", name)
        return found.stdout.decode(errors="replace").strip() or None if found.returncode == 0 else None

    def _ask(
        self,
        *arguments: str,
        content: bytes = b"",
        variables: Mapping[str, str] | None = None,
        trouble: str = "",
        remedy: str = "",
    ) -> str:
        return (
            self._ask_bytes(*arguments, content=content, variables=variables, trouble=trouble, remedy=remedy)
            .decode(errors="surrogateescape")
            .strip()
        )

    def _ask_bytes(
        self,
        *arguments: str,
        content: bytes = b"",
        variables: Mapping[str, str] | None = None,
        trouble: str = "",
        remedy: str = "",
    ) -> bytes:
        done = self._run(*arguments, content=content, variables=variables)
        if done.returncode:
            raise Stalled(
                f"{trouble or f'git {arguments[0]} failed'}: {_why(done)}", remedy=remedy or "see: git status"
            )
        return done.stdout

    def _run(
        self,
        *arguments: str,
        content: bytes = b"",
        variables: Mapping[str, str] | None = None,
        timeout_s: float = LOCAL_TIMEOUT_S,
    ) -> "subprocess.CompletedProcess[bytes]":
        """In the person's own name, and on their terminal: ssh may ask for a passphrase."""
        kept = {name: value for name, value in os.environ.items() if name not in _OF_ANOTHER}
        try:
            return subprocess.run(
                ["git", *arguments],
                cwd=self._here,
                env={**kept, "LC_ALL": "C", "GIT_LITERAL_PATHSPECS": "1", **(variables or {})},
                input=content,
                capture_output=True,
                check=False,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired:
            raise Transient(f"git {arguments[0]} took longer than {timeout_s:.0f} s") from None
        except FileNotFoundError:
            missing = "git is not installed" if self._here.is_dir() else f"there is no folder {self._here}"
            raise Stalled(
                missing, remedy="install the package git" if self._here.is_dir() else "name a clone with --repository"
            ) from None
        except NotADirectoryError:
            raise Stalled(f"{self._here} is not a folder", remedy="name a clone with --repository") from None


_SAID_MAX: Final = 1000  # characters
_IDENTITY: Final = "say who you are: git config user.name and git config user.email"


def _why(done: "subprocess.CompletedProcess[bytes]") -> str:
    return reason(done.stderr.decode(errors="replace"))


def _said(stderr: str) -> str:
    """All of it, for a hook may say anything; without what git adds to every failed push."""
    told = [line.strip() for line in stderr.splitlines() if not line.startswith(("hint:", "error: failed to push"))]
    return masked(" ".join(filter(None, told))[:_SAID_MAX]) or "git said nothing"
