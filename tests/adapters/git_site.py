"""A spec repository with its upstream, in memory and in git, for the tests that hold both to one contract."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from reconciler.adapters.git import GitRepository
from reconciler.model.names import BlobId, RevisionId
from reconciler.ports import Repository
from reconciler.settings import RepositorySettings
from tests.fakes.git_source import GitSource, lose_objects, make_key, run_git
from tests.fakes.repository import Content, FakeRepository

UNKNOWN = RevisionId("1" * 40)
KINDS = ("memory", "local", "ssh")

# In place of ssh: runs the command here, or refuses while the file `down` exists.
SSH = """#!/bin/sh
if [ -e {down} ]; then echo 'ssh: connect to host example.com port 22: Connection refused' >&2; exit 255; fi
for last in "$@"; do :; done
exec sh -c "$last"
"""


class Upstream(Protocol):
    def push(
        self, files: Mapping[str, Content], *, subject: str = ..., author: str = ..., is_signed: bool = ...
    ) -> RevisionId: ...

    def rewrite(self, files: Mapping[str, Content], *, onto: RevisionId | None = None) -> RevisionId: ...

    def merge(self, files: Mapping[str, Content], *, other: RevisionId) -> RevisionId: ...

    def reset(self, revision: RevisionId) -> None: ...


@dataclass(frozen=True)
class Site:
    """A repository with its upstream, and what can happen to both."""

    kind: str
    upstream: Upstream
    repository: Repository
    cut_off: Callable[[], None]  # upstream cannot be reached from now on
    delete_branch: Callable[[], None]
    lose: Callable[[RevisionId, BlobId | None], None]  # a blob of that revision, or its folder, from the mirror
    restarted: Callable[[], Repository]  # the same upstream and mirror, after a restart


def memory_site(*, verifies: bool) -> Site:
    fake = FakeRepository()
    fake.verifies = verifies

    def cut_off() -> None:
        fake.is_unreachable = True

    def delete_branch() -> None:
        fake.has_branch = False

    return Site(
        kind="memory",
        upstream=fake,
        repository=fake,
        cut_off=cut_off,
        delete_branch=delete_branch,
        lose=lambda revision, blob: fake.lose(blob or revision),
        restarted=lambda: fake,
    )


def git_site(kind: str, directory: Path, *, verifies: bool) -> Site:
    source = GitSource(directory / "upstream")
    keys = None
    if verifies:
        key = make_key(directory, "jessica")
        source.sign_with(key)
        keys = directory / "allowed signers"
        keys.write_text(f"jessica@example.com {key.with_suffix('.pub').read_text()}")
    programs, down = directory / "bin", directory / "down"
    programs.mkdir()
    (programs / "ssh").write_text(SSH.format(down=down))
    (programs / "ssh").chmod(0o755)
    settings = RepositorySettings(
        url=str(source.path) if kind == "local" else f"ssh://git@example.com{source.path}", verify_keys=keys
    )
    mirror = directory / "state" / "mirror.git"

    def repository() -> GitRepository:
        return GitRepository(settings, mirror, inherited={"PATH": f"{programs}:{os.environ['PATH']}"})

    def lose(revision: RevisionId, blob: BlobId | None) -> None:
        lose_objects(mirror, [blob or run_git(mirror, "rev-parse", f"{revision}:environments.d")])

    return Site(
        kind=kind,
        upstream=source,
        repository=repository(),
        cut_off=down.touch,
        delete_branch=source.delete_branch,
        lose=lose,
        restarted=repository,
    )


def make_site(kind: str, directory: Path, *, verifies: bool = False) -> Site:
    return memory_site(verifies=verifies) if kind == "memory" else git_site(kind, directory, verifies=verifies)


def contents(repository: Repository, revision: RevisionId) -> dict[str, bytes]:
    entries = repository.tree(revision)
    blobs = repository.read([entry.blob for entry in entries], limit_bytes=1 << 20)
    return {entry.path: blobs[entry.blob] for entry in entries}
