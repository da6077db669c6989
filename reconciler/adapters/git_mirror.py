"""The bare mirror as files: making it, reading refs without a process, and what of a listing's text means what."""

import hashlib
import os
import re
import time
import zlib
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from reconciler.adapters import git_config, git_errors
from reconciler.adapters.git_process import Git
from reconciler.errors import SourceRejected, Stalled
from reconciler.model.names import BlobId, RevisionId
from reconciler.ports import TreeEntry
from reconciler.settings import RepositorySettings

LOCAL_TIMEOUT_S: Final = 30.0
LOCK_AGE_S: Final = 600.0  # a lock file older than any of our commands is what a power cut left

_OBJECT_ID: Final = re.compile(r"[0-9a-f]{40}")
_CHUNK_BYTES: Final = 1 << 16


class Mirror:
    """The directory, and the configuration that git gets when it works on it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.home = self.directory / "hivequeen"
        self.configuration_file = self.home / "gitconfig"

    def prepare(self, git: Git, settings: RepositorySettings) -> None:
        """Make what is missing of it.

        Raises:
            Stalled: the settings are unusable, or the directory cannot be written.
        """
        git_config.require_usable(settings)
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            owner = self.directory.stat().st_uid
            if owner != os.geteuid():  # root could write to it, and the daemon then could not
                raise Stalled(
                    f"the mirror {self.directory} belongs to uid {owner}", remedy="run hivequeen as that user"
                )
            self.home.mkdir(mode=0o700, exist_ok=True)
            self._write(git_config.configuration(settings))
        except OSError as trouble:
            raise Stalled(
                f"the mirror {self.directory} cannot be written: {trouble.strerror}",
                remedy="let the daemon's user write its state directory",
            ) from trouble
        if not (self.directory / "HEAD").exists():
            made = git.run("init", "--quiet", "--bare", "--template=", timeout_s=LOCAL_TIMEOUT_S)
            if not made.is_ok:
                raise Stalled(
                    f"the mirror {self.directory} cannot be made: {git_errors.reason(made.stderr)}",
                    remedy="delete it; the next fetch makes it anew",
                )
        if not git.run("check-ref-format", f"refs/heads/{settings.branch}", timeout_s=LOCAL_TIMEOUT_S).is_ok:
            raise Stalled(
                f'repository.branch: "{settings.branch}" cannot be the name of a branch',
                remedy="correct repository.branch",
            )

    def remove_old_locks(self) -> None:
        for lock in (*self.directory.glob("*.lock"), *self.directory.glob("refs/hivequeen/*.lock")):
            if time.time() - lock.stat().st_mtime > LOCK_AGE_S:
                lock.unlink(missing_ok=True)

    def discard_broken_objects(self, complaint: str) -> None:
        """Of the objects that git complains of, delete those that prove broken: a fetch does not replace what is there."""
        for name in set(_OBJECT_ID.findall(complaint)):
            file = self.directory / "objects" / name[:2] / name[2:]
            with suppress(OSError):
                compressed = file.read_bytes()
                if not _is_whole(name, compressed):
                    file.unlink()

    def _write(self, configuration: str) -> None:
        unfinished = self.configuration_file.with_suffix(".new")
        unfinished.touch(mode=0o600)  # the URL may hold a password
        unfinished.write_text(configuration)
        unfinished.replace(self.configuration_file)


def _is_whole(name: str, compressed: bytes) -> bool:
    try:
        return hashlib.sha1(zlib.decompress(compressed), usedforsecurity=False).hexdigest() == name
    except zlib.error:
        return False


def is_object_id(text: str) -> bool:
    return _OBJECT_ID.fullmatch(text) is not None


def read_ref(directory: Path, ref: str) -> RevisionId | None:
    """A ref of the repository in `directory`; None if it is absent or not in these files: only git can tell."""
    try:
        loose = (directory / ref).read_bytes()
    except OSError:
        return _packed_ref(directory, ref)
    text = loose.decode(errors="replace").strip()
    return RevisionId(text) if is_object_id(text) else None


def _packed_ref(directory: Path, ref: str) -> RevisionId | None:
    try:
        packed = (directory / "packed-refs").read_bytes()
    except OSError:
        return None
    before, found, _ = packed.partition(f" {ref}\n".encode())
    text = before[-40:].decode(errors="replace")
    return RevisionId(text) if found and is_object_id(text) else None


def missing_blob(line: bytes) -> BlobId | None:
    """The blob of a line of `ls-tree -z -l` whose size git could not read: it says BAD then, and exits with 0."""
    words = line.partition(b"\t")[0].split()
    return BlobId(words[2].decode()) if words[3] == b"BAD" else None


def tree_entry(line: bytes, folder: str) -> TreeEntry:
    """One line of `ls-tree -z -l`: mode, kind, object and size, a tab, the path.

    Raises:
        SourceRejected: the watched folder is no folder.
    """
    words, _, name = line.partition(b"\t")
    mode, _, blob, size = words.decode().split()
    path = name.decode(errors="backslashreplace")
    if path == folder:
        raise SourceRejected(f"{folder} is not a folder", remedy="make it a folder, or correct repository.path")
    return TreeEntry(
        path=path.removeprefix(f"{folder}/"),
        blob=BlobId(blob),
        mode=mode,
        size=None if size == "-" else int(size),
    )


def blob_content(answers: IO[bytes], blob: BlobId, limit_bytes: int) -> bytes | None:
    """The next answer of `cat-file --batch`, cut to `limit_bytes + 1`; None if it is not that blob, whole."""
    match answers.readline().split():
        case [name, b"blob", digits] if name == blob.encode():
            size = int(digits)
        case _:
            return None
    content = answers.read(min(size, limit_bytes + 1))
    left = size - len(content) + 1  # and the newline after it
    while left > 0:
        skipped = answers.read(min(left, _CHUNK_BYTES))
        if not skipped:
            return None
        left -= len(skipped)
    return content
