"""A spec repository in memory: an upstream that tests push to, and a mirror that knows only what was fetched.

Held to the real adapter by `tests/adapters/test_git_contract.py`. Blob ids are git's own; commit ids only look so.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TypeAlias

from reconciler.errors import Conflict, Refused, SourceRejected, Stalled, Transient
from reconciler.model.commits import Commit
from reconciler.model.names import BlobId, RevisionId
from reconciler.ports import TreeEntry

AUTHOR = "Jessica <jessica@example.com>"
DAEMON = "Hivequeen <hivequeen@localhost>"
FIRST_COMMIT_AT = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


class Symlink(str):
    """In place of a file's content: what the link points to."""

    __slots__ = ()


class Submodule(str):
    """In place of a file's content: 40 hex digits, a commit of some other repository."""

    __slots__ = ()


class Executable(str):
    """Content of a file that may be run."""

    __slots__ = ()


Content: TypeAlias = str | bytes  # or one of the three above


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """One commit with the whole watched folder."""

    commit: Commit
    parents: tuple[RevisionId, ...]
    entries: tuple[TreeEntry, ...]
    is_signed: bool


class FakeRepository:
    """`push`, `edit` and `reset` change the upstream; everything of `ports.Repository` sees only what was fetched."""

    def __init__(self, now: Callable[[], datetime] | None = None) -> None:
        """`now` dates commits; without it they are a minute apart."""
        self._now = now
        self.is_unreachable = False
        self.has_branch = True  # False: the branch was deleted, or never pushed
        self.verifies = False  # as with `verify_keys`: unsigned revisions are rejected
        self.rival: Mapping[str, Content | None] = {}  # what somebody pushes right before our next push
        self.refuses_pushes = False  # as a hook or a protected branch does; `remove` only
        self.applied: RevisionId | None = None
        self.fetches = 0
        self.walks = 0  # over the history
        self._commits: dict[RevisionId, _Stored] = {}
        self._blobs: dict[BlobId, bytes] = {}
        self._files: dict[RevisionId, Mapping[str, Content]] = {}
        self._tip: RevisionId | None = None
        self._fetched: set[RevisionId] = set()
        self._lost: set[str] = set()

    # --- upstream: what tests do ---

    @property
    def tip(self) -> RevisionId | None:
        """The branch's newest revision upstream, fetched or not."""
        return self._tip

    def push(
        self,
        files: Mapping[str, Content],
        *,
        subject: str = "Change environments",
        author: str = AUTHOR,
        is_signed: bool = False,
    ) -> RevisionId:
        """Commit exactly these files (paths below the watched folder) on top of the branch."""
        return self._store(files, parents=self._on_tip(), subject=subject, author=author, is_signed=is_signed)

    def edit(self, changes: Mapping[str, Content | None], *, subject: str = "Change environments") -> RevisionId:
        """Commit the newest files with these changes; None deletes one."""
        files = dict(self._files[self._tip]) if self._tip else {}
        for path, content in changes.items():
            if content is None:
                del files[path]
            else:
                files[path] = content
        return self.push(files, subject=subject)

    def rewrite(self, files: Mapping[str, Content], *, onto: RevisionId | None = None) -> RevisionId:
        """Force-push a commit whose parent is `onto` (None: it has none)."""
        return self._store(files, parents=(onto,) if onto else (), subject="Rewrite", author=AUTHOR, is_signed=False)

    def merge(self, files: Mapping[str, Content], *, other: RevisionId) -> RevisionId:
        """Commit exactly these files on top of the branch and of another revision."""
        return self._store(files, parents=(*self._on_tip(), other), subject="Merge", author=AUTHOR, is_signed=False)

    def reset(self, revision: RevisionId) -> None:
        """Force-push a revision that exists already."""
        self._tip = self._commits[revision].commit.revision

    def lose(self, thing: BlobId | RevisionId) -> None:
        """A blob, or the tree of a revision, becomes unreadable in the mirror."""
        self._lost.add(thing)

    def find(self, thing: BlobId | RevisionId) -> None:
        """What was lost is readable again."""
        self._lost.discard(thing)

    def lose_mirror(self) -> None:
        """The mirror is gone, its mark too: the next fetch brings what upstream still reaches."""
        self._fetched.clear()
        self.applied = None

    # --- the port ---

    def fetch(self) -> RevisionId:
        self.fetches += 1
        if self.is_unreachable:
            raise Transient("the repository cannot be reached")
        if self._tip is None or not self.has_branch:
            raise Stalled("the repository has no branch main", remedy="push it, or correct repository.branch")
        self._fetched.update(self._history(self._tip))
        if self.verifies and not self._commits[self._tip].is_signed:
            raise SourceRejected(f"revision {self._tip[:8]} is not signed", remedy="sign it")
        return self._tip

    def tree(self, revision: RevisionId) -> tuple[TreeEntry, ...]:
        stored = self._known(revision)
        if revision in self._lost:
            raise SourceRejected(f"the tree of {revision[:8]} cannot be read")
        if lost := [entry.path for entry in stored.entries if entry.blob in self._lost]:
            raise SourceRejected(f"{lost[0]} of {revision[:8]} cannot be read")
        return stored.entries

    def read(self, blobs: Collection[BlobId], *, limit_bytes: int) -> Mapping[BlobId, bytes]:
        for blob in blobs:
            if blob in self._lost or blob not in self._blobs:
                raise SourceRejected(f"blob {blob[:8]} cannot be read")
        return MappingProxyType({blob: self._blobs[blob][: limit_bytes + 1] for blob in blobs})

    def descends(self, revision: RevisionId, ancestor: RevisionId) -> bool:
        if ancestor not in self._fetched:
            return False
        self._known(revision)
        return ancestor in self._history(revision)

    def commit(self, revision: RevisionId) -> Commit:
        return self._known(revision).commit

    def touched(
        self, revision: RevisionId, paths: Collection[str], *, after: RevisionId | None = None
    ) -> Mapping[str, Commit]:
        if not paths:
            return {}
        self.walks += 1
        for end in (revision, *([after] if after else ())):
            self._known(end)
        old = set(self._history(after)) if after else set[RevisionId]()
        found = {path: self._touching(path, revision, old) for path in paths}
        return MappingProxyType({path: self._commits[one].commit for path, one in found.items() if one})

    def remove(self, path: str, *, onto: RevisionId, message: str) -> RevisionId:
        if self.verifies:
            raise Refused("the daemon signs nothing", remedy="delete the file by hand")
        if self.is_unreachable:
            raise Transient("the repository cannot be reached")
        if self.rival:
            self.edit(self.rival)
            self.rival = {}
        if self._tip != onto:
            raise Conflict("somebody pushed meanwhile")
        if self.refuses_pushes:
            raise Refused("the push is not allowed", remedy="allow it")
        files = {name: content for name, content in self._files[onto].items() if name != path}
        removed = self.push(files, subject=message.partition("\n")[0], author=DAEMON)
        self._fetched.add(removed)
        return removed

    def mark_applied(self, revision: RevisionId) -> None:
        self.applied = self._known(revision).commit.revision

    # --- inside ---

    def _store(
        self,
        files: Mapping[str, Content],
        *,
        parents: tuple[RevisionId, ...],
        subject: str,
        author: str,
        is_signed: bool,
    ) -> RevisionId:
        entries = tuple(sorted((self._entry(*item) for item in files.items()), key=lambda entry: entry.path))
        number = len(self._commits)
        revision = RevisionId(_sha1(repr((number, parents, entries, subject, author)).encode()))
        self._commits[revision] = _Stored(
            commit=Commit(
                revision=revision,
                author=_printable(author),
                subject=_printable(subject),
                at=self._now() if self._now is not None else FIRST_COMMIT_AT + timedelta(minutes=number),
            ),
            parents=parents,
            entries=entries,
            is_signed=is_signed,
        )
        self._files[revision] = dict(files)
        self._tip = revision
        return revision

    def _entry(self, path: str, content: Content) -> TreeEntry:
        if isinstance(content, Submodule):
            return TreeEntry(path=path, blob=BlobId(str(content)), mode="160000", size=None)
        body = content if isinstance(content, bytes) else content.encode()
        blob = BlobId(_sha1(b"blob %d\0" % len(body) + body))
        self._blobs[blob] = body
        plain = TreeEntry(path=path, blob=blob, mode="100644", size=len(body))
        match content:
            case Symlink():
                return replace(plain, mode="120000")
            case Executable():
                return replace(plain, mode="100755")
            case _:
                return plain

    def _history(self, revision: RevisionId) -> Iterable[RevisionId]:
        seen: set[RevisionId] = set()
        ahead = [revision]
        while ahead:
            at = ahead.pop()
            if at not in seen:
                seen.add(at)
                yield at
                ahead.extend(self._commits[at].parents)

    def _touching(self, path: str, revision: RevisionId, old: Collection[RevisionId]) -> RevisionId | None:
        """As git simplifies history: of a merge, the first parent that has the path alike is followed."""
        at = revision
        while at not in old:
            stored = self._readable(at)
            here = _entry_at(stored, path)
            alike = [parent for parent in stored.parents if _entry_at(self._readable(parent), path) == here]
            if alike:
                at = alike[0]
            else:
                return at if stored.parents or here else None
        return None

    def _readable(self, revision: RevisionId) -> _Stored:
        if revision in self._lost:
            raise SourceRejected(f"the tree of {revision[:8]} cannot be read")
        return self._commits[revision]

    def _on_tip(self) -> tuple[RevisionId, ...]:
        return (self._tip,) if self._tip else ()

    def _known(self, revision: RevisionId) -> _Stored:
        if revision not in self._fetched:
            raise SourceRejected(f"revision {revision[:8]} is not in the mirror")
        return self._commits[revision]


def _entry_at(stored: _Stored, path: str) -> TreeEntry | None:
    return next((entry for entry in stored.entries if entry.path == path), None)


def _sha1(body: bytes) -> str:
    return hashlib.sha1(body, usedforsecurity=False).hexdigest()


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
