"""The same reading without git, for `hivequeen validate`: a folder, or one file with its parents beside it."""

import hashlib
import os
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Final

from reconciler.document import SIZE_LIMIT_BYTES
from reconciler.errors import Stalled
from reconciler.model.desired import Desired
from reconciler.model.findings import Finding, Origin
from reconciler.model.names import SPEC_SUFFIXES, BlobId, EnvironmentName, RevisionId
from reconciler.model.policy import Policy
from reconciler.ports import TreeEntry
from reconciler.spec.files import Files, ReadBlobs
from reconciler.spec.policy import MonthlyCost
from reconciler.spec.reader import SpecReader

NO_REVISION: Final = RevisionId("0" * 40)
_NO_POLICY: Final = Policy()
_UNREAD: Final = BlobId("0" * 40)
_ENTRIES_MAX: Final = 20_000


def validate_folder(
    path: Path,
    *,
    user_data_limit_bytes: int,
    policy: Policy = _NO_POLICY,
    monthly_cost: MonthlyCost | None = None,
) -> Desired:
    """What this folder declares, or this one file of a folder.

    Raises:
        Stalled: there is no such folder or file, or something in it cannot be read.
    """
    with _reading(path):
        path.lstat()  # a dangling link is something, too
    if not path.is_dir() and (faults := _not_a_spec(path)):
        return Desired(revision=NO_REVISION, environments={}, frozen={}, findings=tuple(faults))
    folder = path if path.is_dir() else path.parent
    entries, read_blobs = _listed(folder)
    reader = SpecReader(user_data_limit_bytes=user_data_limit_bytes, policy=policy, monthly_cost=monthly_cost)
    desired = reader.read(revision=NO_REVISION, folder=str(folder), entries=entries, read_blobs=read_blobs)
    return desired if path.is_dir() else _only(desired, path)


def files_of(folder: Path, *, user_data_limit_bytes: int) -> Files:
    """The files of this folder, each checked by itself.

    Raises:
        Stalled: there is no such folder, or something in it cannot be read.
    """
    entries, read_blobs = _listed(folder)
    return Files(
        folder=str(folder),
        entries=entries,
        read_blobs=read_blobs,
        user_data_limit_bytes=user_data_limit_bytes,
        known={},
    )


def _listed(folder: Path) -> tuple[Sequence[TreeEntry], ReadBlobs]:
    contents: dict[BlobId, bytes] = {}

    def read_blobs(blobs: Collection[BlobId]) -> Mapping[BlobId, bytes]:
        return {blob: contents[blob] for blob in blobs}

    with _reading(folder):
        return tuple(_entries(folder, contents)), read_blobs


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Stalled(
            f"{error.filename or path} cannot be read: {error.strerror}",
            remedy="name a folder of environment files, or one of them",
        ) from error


def _entries(folder: Path, contents: dict[BlobId, bytes]) -> Iterator[TreeEntry]:
    count = 0
    for parent, folders, files in os.walk(folder, onerror=_raise):
        here = Path(parent)
        links = [name for name in folders if (here / name).is_symlink()]
        folders[:] = sorted(name for name in folders if name != ".git" and name not in links)
        for name in sorted((*files, *links)):
            count += 1
            if count > _ENTRIES_MAX:
                raise Stalled(
                    f"{folder} holds more than {_ENTRIES_MAX} files", remedy="name a folder of environment files"
                )
            yield _entry(here / name, folder, contents)


def _raise(error: OSError) -> None:
    raise error


def _entry(path: Path, folder: Path, contents: dict[BlobId, bytes]) -> TreeEntry:
    """As git would list it. What is not a plain file counts as a link: it is not read either."""
    status = path.lstat()
    relative = path.relative_to(folder).as_posix()
    if not stat.S_ISREG(status.st_mode):
        return TreeEntry(path=relative, blob=_UNREAD, mode="120000", size=0)
    if path.parent != folder or status.st_size > SIZE_LIMIT_BYTES:
        return TreeEntry(path=relative, blob=_UNREAD, mode="100644", size=status.st_size)
    content = path.read_bytes()
    blob = BlobId(hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest())
    contents[blob] = content
    return TreeEntry(path=relative, blob=blob, mode="100644", size=len(content))


def _only(desired: Desired, path: Path) -> Desired:
    """The part that is about one file: its environment, its findings, and those of its parent that freeze it."""
    name = EnvironmentName(path.stem)
    frozen = desired.frozen.get(name)
    own = {finding for finding in desired.findings if finding.origin.file == str(path)}
    environment = desired.environments.get(name)
    blocking = set(frozen.findings) if frozen and not frozen.is_trace else set()
    violated = {violation.finding for violation in environment.violations} if environment else set()
    return Desired(
        revision=desired.revision,
        environments=MappingProxyType({name: environment} if environment else {}),
        frozen=MappingProxyType({name: frozen} if frozen else {}),
        findings=tuple(sorted(own | blocking | violated)),
    )


def _not_a_spec(path: Path) -> set[Finding]:
    if path.suffix in SPEC_SUFFIXES:
        return set()
    origin = Origin(file=str(path), line=1)
    return {
        Finding(origin=origin, message="this is not an environment file", remedy="name one that ends in .yml or .yaml")
    }
