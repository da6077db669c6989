"""Wakes the loop when the spec repository may have moved: a local one is watched, a remote one polled.

It reads no revision and carries no state. Being told too often costs a tenth of a millisecond, being told too rarely
costs a commit its latency: so file system events only hasten a look that a timer makes anyway.
"""

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import watchfiles

from reconciler.settings import RepositorySettings

DEBOUNCE_MS: Final = 50  # with watchfiles' defaults a push is seen after 87 ms,
STEP_MS: Final = 5  # with these after 10 ms, for 0.5 % of one core
LOOK_MS: Final = 1000  # what events cannot tell (a folder replaced, a network file system) is seen then


class SourceWatch:
    """A thread that calls `on_change` when the branch may have moved. Only `stop` ends it."""

    def __init__(
        self,
        repository: RepositorySettings,
        poll_s: float,
        on_change: Callable[[], object],
        on_trouble: Callable[[str], object],
    ) -> None:
        """Both are called from the thread and must not raise.

        Args:
            poll_s: between looks at a remote repository, and at a local one that cannot be watched.
            on_change: also called once at the start, and whenever watching begins anew.
            on_trouble: gets one line for people when watching fails; again only after it worked in between.
        """
        self._repository = repository
        self._poll_s = poll_s
        self._on_change = on_change
        self._on_trouble = on_trouble
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="source-watch", daemon=True)

    def start(self) -> None:
        logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it logs every event, of other branches too
        self._thread.start()

    def stop(self) -> None:
        """Returns when the thread has ended: at once, but for a callback that is running."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        local = self._repository.local_path
        last_trouble = ""
        while not self._stopping.is_set():
            trouble = self._watch(local) if local else ""
            if trouble and not last_trouble:
                self._on_trouble(f"{local} cannot be watched, so it is polled every {self._poll_s:g} s: {trouble}")
            last_trouble = trouble
            if (trouble or local is None) and not self._stopping.wait(self._poll_s):
                self._on_change()

    def _watch(self, local: Path) -> str:
        """Until told to stop, or other folders are to be watched; why, if it cannot go on."""
        try:
            watched = Watched.find(local, self._repository.branch)
            seen = watched.look()
            self._on_change()
            for _ in watchfiles.watch(
                *watched.folders,
                watch_filter=None,  # the default one leaves out `.git`
                debounce=DEBOUNCE_MS,
                step=STEP_MS,
                stop_event=self._stopping,
                rust_timeout=LOOK_MS,
                yield_on_timeout=True,
                recursive=False,
                raise_interrupt=False,
            ):
                now = watched.look()
                if now != seen:
                    seen = now
                    self._on_change()
                if Watched.find(local, self._repository.branch) != watched:
                    break
        except (OSError, RuntimeError) as trouble:  # RuntimeError: of watchfiles' own, which it does not export
            return str(trouble)
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """Where a local repository keeps one branch: as a file of its own, or as a line of `packed-refs`."""

    folders: tuple[Path, ...]  # those that exist, down to where the branch's file is or would be
    identities: tuple[tuple[int, int], ...]  # device and inode of each: another folder may take a path over
    files: tuple[Path, ...]

    @staticmethod
    def find(repository: Path, branch: str) -> "Watched":
        """
        Raises:
            OSError: there is no repository, or it may not be read.
        """
        directory = _common_directory(repository)
        ref = directory / "refs" / "heads" / branch
        between = [folder for folder in reversed(ref.parents) if folder.is_relative_to(directory / "refs")]
        folders = (directory, *(folder for folder in between if folder.is_dir()))
        return Watched(
            folders=folders,
            identities=tuple((found.st_dev, found.st_ino) for found in map(os.stat, folders)),
            files=(ref, directory / "packed-refs"),
        )

    def look(self) -> tuple[tuple[int, int, int] | None, ...]:
        """What differs after a push: git never changes these files, it puts new ones in their place."""
        return tuple(_signature(file) for file in self.files)


def _signature(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _common_directory(repository: Path) -> Path:
    """The directory that holds the refs of a bare repository, of one with a work tree, or of a linked work tree."""
    own = repository / ".git"
    if own.is_file():  # "gitdir: PATH", relative to where it lies
        own = repository / own.read_text().removeprefix("gitdir:").strip()
    directory = own if own.is_dir() else repository
    with suppress(FileNotFoundError):
        directory /= (directory / "commondir").read_text().strip()
    if not (directory / "HEAD").is_file():
        raise FileNotFoundError(f"{repository} is not a git repository")
    return directory.resolve()
