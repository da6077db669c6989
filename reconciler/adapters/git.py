"""The spec repository through the git command and a bare mirror of our own: one branch, one folder, no checkout."""

import os
import threading
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Final

from reconciler.adapters import git_config, git_errors, git_history, git_push
from reconciler.adapters.git_mirror import (
    LOCAL_TIMEOUT_S,
    Mirror,
    blob_content,
    is_object_id,
    missing_blob,
    read_ref,
    tree_entry,
)
from reconciler.adapters.git_process import Git
from reconciler.errors import Refused, SourceRejected, Stalled, Transient
from reconciler.model.commits import Commit
from reconciler.model.names import BlobId, RevisionId
from reconciler.ports import RequestCounter, TreeEntry
from reconciler.settings import RepositorySettings

TIP: Final = "refs/hivequeen/tip"
APPLIED: Final = "refs/hivequeen/applied"

FETCH_TIMEOUT_S: Final = 60.0
WHOLE_FETCH_TIMEOUT_S: Final = 240.0  # of all history; below the time after which the loop counts as stuck
TIDY_EVERY_FETCHES: Final = 100
ENTRIES_MAX: Final = 100_000


def _uncounted(_service: str, _operation: str, _result: str) -> None:
    """For whoever does not count."""


class GitRepository:
    """`ports.Repository` on a mirror directory that belongs to this class alone.

    With `verify_keys` the newest revision must be signed by one of them. Its commit signs the whole tree that it
    holds, and only that tree is ever applied; so the commits below it need no signature.
    """

    def __init__(
        self,
        settings: RepositorySettings,
        mirror: Path,
        count_request: RequestCounter = _uncounted,
        *,
        inherited: Mapping[str, str] | None = None,
        identity: str = "Hivequeen <hivequeen@localhost>",
    ) -> None:
        """Touches nothing: the mirror is made by the first fetch.

        Args:
            mirror: its directory. Deleting it costs a fetch, and a hold if upstream rewrote its history meanwhile.
            inherited: the environment of which git gets the few variables that it needs; None: this process's.
            identity: who commits what the daemon removes.
        """
        self._settings = settings
        self._mirror = Mirror(mirror)
        self._count_request = count_request
        self._identity = identity
        self._git = Git(
            self._mirror.directory,
            git_config.environment(
                settings,
                home=self._mirror.home,
                configuration_file=self._mirror.configuration_file,
                inherited=os.environ if inherited is None else inherited,
            ),
        )
        self._lock = threading.Lock()
        self._is_prepared = False
        self._source: Path | None = None  # where a local repository keeps its refs
        self._fetches = 0
        self._verified: tuple[RevisionId, int, int] | None = None  # with modification time and inode of the keys
        self._is_suspect = False  # an object of the mirror could not be read
        self._mended_for: RevisionId | None = None  # the tip for which everything was fetched again

    def close(self) -> None:
        """End the git that runs, and refuse what comes later. Waits for no lock, so that a stop is quick."""
        self._git.stop()

    # --- ports.Repository ---

    def fetch(self) -> RevisionId:
        with self._lock:
            return self._newest()

    def tree(self, revision: RevisionId) -> tuple[TreeEntry, ...]:
        folder = str(PurePosixPath(self._settings.path))
        with self._lock:
            lines = self._list(revision, folder, "-r")
            if len(lines) > ENTRIES_MAX:
                raise SourceRejected(
                    f"{folder} holds {len(lines)} files, more than {ENTRIES_MAX}",
                    remedy="keep environments in a folder of their own and name it in repository.path",
                )
            if not lines:
                self._require_folders_above(revision, folder)
            return tuple(sorted((tree_entry(line, folder) for line in lines), key=lambda entry: entry.path))

    def read(self, blobs: Collection[BlobId], *, limit_bytes: int) -> Mapping[BlobId, bytes]:
        wanted = [BlobId(_checked(blob)) for blob in dict.fromkeys(blobs)]
        contents: dict[BlobId, bytes] = {}
        if not wanted:
            return contents
        asked = self._git.stream("cat-file", "--batch", "--buffer", lines=wanted, timeout_s=LOCAL_TIMEOUT_S)
        with self._lock, asked as answers:
            for blob in wanted:
                content = blob_content(answers.stdout, blob, limit_bytes)
                if content is None and answers.is_cut():
                    raise Transient(f"{len(wanted)} blobs were not read within {LOCAL_TIMEOUT_S:.0f} s")
                if content is None:
                    raise self._unreadable(f"blob {blob} is missing or unreadable")
                contents[blob] = content
        return MappingProxyType(contents)

    def descends(self, revision: RevisionId, ancestor: RevisionId) -> bool:
        if not is_object_id(ancestor):  # the claim on the Chef server may say anything
            return False
        with self._lock:
            answer = self._git.run(
                *("merge-base", "--is-ancestor", ancestor, _checked(revision)), timeout_s=LOCAL_TIMEOUT_S
            )
            # A missing commit between the two ends in 1 as well, git's code for "no", but not without a complaint.
            if answer.code in (0, 1) and not answer.stderr:
                return answer.is_ok
            if self._lacks(ancestor):
                return False
            raise self._failed(answer.stderr, revision)

    def commit(self, revision: RevisionId) -> Commit:
        with self._lock:
            return self._commits([revision])[revision]

    def touched(
        self, revision: RevisionId, paths: Collection[str], *, after: RevisionId | None = None
    ) -> Mapping[str, Commit]:
        with self._lock:
            found = self._walk(revision, paths, after) if paths else {}
            commits = self._commits(sorted(set(found.values())))
        return MappingProxyType({path: commits[touching] for path, touching in found.items()})

    def remove(self, path: str, *, onto: RevisionId, message: str) -> RevisionId:
        """Hooks of a repository on this machine are not run, for that would be with the daemon's rights."""
        if self._settings.verify_keys is not None:
            raise Refused(
                f"{path} stays: commits must be signed (repository.verify_keys), and the daemon has no key",
                remedy=f"delete {path} in a signed commit",
            )
        full = str(PurePosixPath(self._settings.path) / path)
        with self._lock:
            made = git_push.commit_removal(
                self._git, self._mirror, tip=onto, path=full, identity=self._identity, message=message
            )
            try:
                trouble = git_push.push(self._git, self._settings, revision=made, onto=onto)
            except Transient:
                self._count_request("git", "push", "unreachable")
                raise
        if trouble is not None:
            self._count_request("git", "push", "unreachable" if isinstance(trouble, Transient) else "refused")
            raise trouble
        self._count_request("git", "push", "ok")
        return made

    def mark_applied(self, revision: RevisionId) -> None:
        with self._lock:
            if read_ref(self._mirror.directory, APPLIED) != revision:
                self._ask(revision, "update-ref", APPLIED, revision)

    # --- fetching ---

    def _newest(self) -> RevisionId:
        tip = read_ref(self._mirror.directory, TIP)
        if tip is None or not self._is_prepared:
            self._mirror.prepare(self._git, self._settings)
            self._is_prepared = True
        mends = self._is_suspect and self._mended_for != tip
        if tip is None or mends or self._source_tip() != tip:
            tip = self._fetch(is_first=tip is None, mends=mends)
        self._verify(tip)
        return tip

    def _source_tip(self) -> RevisionId | None:
        """The branch's newest revision, read from a local repository's files; None: only a fetch can tell."""
        local = self._settings.local_path
        if local is None:
            return None
        if self._source is None:
            self._source = self._source_directory(local)
        return read_ref(self._source, f"refs/heads/{self._settings.branch}") if self._source else None

    def _source_directory(self, local: Path) -> Path | None:
        for candidate in (local / ".git", local):  # in the order in which upload-pack looks
            # The later of two --git-dir counts.
            asked = ("rev-parse", "--path-format=absolute", "--git-common-dir")
            found = self._git.run(f"--git-dir={candidate}", *asked, timeout_s=LOCAL_TIMEOUT_S)
            if found.is_ok:
                return Path(os.fsdecode(found.stdout.removesuffix(b"\n")))
        return None

    def _fetch(self, *, is_first: bool, mends: bool) -> RevisionId:
        self._mirror.remove_old_locks()
        if mends:
            self._is_suspect, self._mended_for = False, read_ref(self._mirror.directory, TIP)
        try:
            answer = self._git.run(
                *("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head"),
                *("--no-auto-maintenance", *(("--refetch",) if mends else ()), "--", git_config.REMOTE),
                f"+refs/heads/{self._settings.branch}:{TIP}",
                timeout_s=WHOLE_FETCH_TIMEOUT_S if is_first or mends else FETCH_TIMEOUT_S,
            )
        except Transient:
            self._count_request("git", "fetch", "unreachable")
            raise
        tip = read_ref(self._mirror.directory, TIP)
        # A shallow source only earns a warning, and the ref stays where it was.
        if not answer.is_ok or tip is None or "shallow" in answer.stderr:
            trouble = git_errors.fetch_failed(answer.stderr, self._settings)
            self._count_request("git", "fetch", "unreachable" if isinstance(trouble, Transient) else "refused")
            raise trouble
        self._count_request("git", "fetch", "ok")
        self._fetches += 1
        if self._fetches % TIDY_EVERY_FETCHES == 0:  # each leaves loose objects, and many of them slow down every read
            with suppress(Transient):  # the fetch went well, and tidying can wait
                self._git.run("-c", "gc.auto=1000", "gc", "--auto", "--quiet", timeout_s=FETCH_TIMEOUT_S)
        return tip

    def _verify(self, tip: RevisionId) -> None:
        keys = self._settings.verify_keys
        if keys is None:
            return
        try:
            found = keys.stat()
        except OSError as trouble:
            raise Stalled(
                f"the keys {keys} cannot be read: {trouble.strerror}", remedy="correct repository.verify_keys"
            ) from trouble
        checked = (tip, found.st_mtime_ns, found.st_ino)
        if self._verified == checked:
            return
        answer = self._git.run("verify-commit", tip, timeout_s=LOCAL_TIMEOUT_S)
        if not answer.is_ok:
            why = git_errors.reason(answer.stderr) if answer.stderr else "it carries no signature"
            raise SourceRejected(
                f"revision {tip[:8]} is not signed by a key of {keys}: {why}",
                remedy="push a commit on top of it that a listed key signs, or list the signer's key",
            )
        self._verified = checked

    # --- pushing ---

    # --- history ---

    def _walk(self, revision: RevisionId, paths: Collection[str], after: RevisionId | None) -> Mapping[str, RevisionId]:
        if (self._mirror.directory / "shallow").exists():  # where it is cut off, everything looks new
            raise SourceRejected(
                f"the mirror {self._mirror.directory} lacks a part of the history",
                remedy="delete it; the next fetch makes it anew",
            )
        if after is not None and self._lacks(_checked(after)):
            raise SourceRejected(f"revision {after[:8]} is not in the repository")
        since = () if after is None else (f"^{after}",)
        history = git_history.steps(self._ask(revision, "rev-list", "--topo-order", "--parents", revision, *since))
        folder = str(PurePosixPath(self._settings.path))
        # Of the whole folder: to look for every path by itself would cost git more than to name what changed.
        asked = self._git.stream(
            *("diff-tree", "--stdin", "--always", "--root", "--no-renames", "--raw", "-r", "-z", "--"),
            *(() if folder == "." else (folder,)),
            lines=tuple(git_history.comparisons(history)),
            timeout_s=LOCAL_TIMEOUT_S,
        )
        with asked as answers:
            try:
                changes = git_history.differences(answers.stdout, folder)
                return git_history.newest(revision, history, changes, paths)
            except EOFError as missing:
                if answers.is_cut():
                    raise Transient(f"the history was not read within {LOCAL_TIMEOUT_S:.0f} s") from missing
                broken = RevisionId(str(missing))
        self._ask(broken, "diff-tree", "--root", "-m", "-r", broken)  # tells what is wrong with it
        raise self._unreadable(f"the tree of {broken} is missing or unreadable")

    def _commits(self, revisions: Sequence[RevisionId]) -> Mapping[RevisionId, Commit]:
        if not revisions:
            return {}
        names = [RevisionId(_checked(revision)) for revision in revisions]
        answer = self._git.run(
            *("log", "--no-walk=unsorted", "--encoding=UTF-8", "--format=%an <%ae>%x00%ct%x00%s", *names),
            timeout_s=LOCAL_TIMEOUT_S,
        )
        if not answer.is_ok:
            raise self._failed(answer.stderr, next(filter(self._lacks, names), names[0]))
        lines = answer.stdout.decode(errors="replace").removesuffix("\n").split("\n")
        return {revision: _commit(revision, line) for revision, line in zip(revisions, lines, strict=True)}

    # --- reading ---

    def _list(self, revision: RevisionId, path: str, *options: str) -> list[bytes]:
        below = () if path == "." else (path,)
        listing = self._ask(revision, "ls-tree", "-z", "-l", "--full-tree", *options, revision, "--", *below)
        lines = [line for line in listing.split(b"\0") if line]
        for line in lines:
            if (blob := missing_blob(line)) is not None:
                raise self._unreadable(f"blob {blob} is missing or unreadable")
        return lines

    def _require_folders_above(self, revision: RevisionId, folder: str) -> None:
        """An absent folder is empty. Behind a symlink or a submodule it is not absent: nobody knows what it holds."""
        for above in PurePosixPath(folder).parents:
            for line in self._list(revision, str(above)) if str(above) != "." else ():
                if not line.startswith(b"040000"):
                    raise SourceRejected(f"{above} is not a folder", remedy="correct repository.path")

    def _ask(self, revision: RevisionId, *arguments: str) -> bytes:
        _checked(revision)
        answer = self._git.run(*arguments, timeout_s=LOCAL_TIMEOUT_S)
        if not answer.is_ok:
            raise self._failed(answer.stderr, revision)
        return answer.stdout

    def _lacks(self, name: str) -> bool:
        return self._git.run("cat-file", "-e", name, timeout_s=LOCAL_TIMEOUT_S).code == 1

    def _failed(self, stderr: str, revision: RevisionId) -> SourceRejected:
        if self._lacks(revision):
            return SourceRejected(f"revision {revision[:8]} is not in the repository")
        return self._unreadable(git_errors.reason(stderr), named=stderr)

    def _unreadable(self, message: str, *, named: str = "") -> SourceRejected:
        self._is_suspect = True
        self._mirror.discard_broken_objects(named or message)
        return SourceRejected(
            f"the mirror {self._mirror.directory} cannot be read: {message}",
            remedy="it is fetched anew by itself once; if that does not help, run git fsck in the repository",
        )


def _commit(revision: RevisionId, line: str) -> Commit:
    author, seconds, subject = map(_printable, line.split("\0", 2))
    return Commit(revision=revision, author=author, subject=subject, at=git_history.moment(seconds))


def _checked(name: str) -> str:
    """No option of git can look like this."""
    if not is_object_id(name):
        raise SourceRejected(f'"{name}" is no full revision or blob id')
    return name


def _printable(text: str) -> str:
    """Whoever may push could otherwise steer the terminal of whoever looks."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
