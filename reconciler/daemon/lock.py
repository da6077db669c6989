"""One process writes a journal: an flock beside the state file. The kernel drops it with the process, however that ends."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from reconciler.errors import Stalled


class Lock:
    """Held from `with` to its end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def take(self) -> None:
        """
        Raises:
            Stalled: another process holds it, or the folder cannot be written.
        """
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        except OSError as trouble:
            raise Stalled(
                f"cannot lock the state at {self._path}: {trouble.strerror}",
                remedy="run as the daemon's user (sudo -u hivequeen), or correct `state` in the settings",
            ) from trouble
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as trouble:
            holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise Stalled(
                f"the state is in use by another hivequeen{f' (pid {holder})' if holder else ''}: {self._path}",
                remedy="let that one finish or stop it; commands ask a running daemon through its control socket",
            ) from trouble
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)  # for people; only the flock counts
        self._descriptor = descriptor

    def release(self) -> None:
        """The file stays: removing it would let a third process lock a file that nobody else sees."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        self.take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
