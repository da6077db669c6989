"""What the process is told from outside: signals, and the end of its loop. The main thread waits for nothing else."""

import contextlib
import signal
import socket
from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Final


class Notice(IntEnum):
    """The value is the byte that stands for it."""

    ENDED = 0  # the loop is no more, and nobody told it to end
    RELOAD = signal.SIGHUP
    STOP = signal.SIGTERM


_MEANING: Final[Mapping[int, Notice]] = {
    Notice.ENDED: Notice.ENDED,
    signal.SIGHUP: Notice.RELOAD,
    signal.SIGTERM: Notice.STOP,
    signal.SIGINT: Notice.STOP,
}


class Notices:
    """A queue of bytes in a socket pair.

    The interpreter itself writes the numbers of signals into it, at the moment of delivery and from whichever thread
    the kernel chose. A handler written in Python would run only when the main thread wakes, and waiting on a lock it
    may sleep through the signal.
    """

    def __init__(self) -> None:
        self._waiting, self._telling = socket.socketpair()
        self._telling.setblocking(False)  # noqa: FBT003 - the only way that it can be said

    def put(self, notice: Notice) -> None:
        """From any thread."""
        with contextlib.suppress(BlockingIOError):  # thousands of them are waiting already
            self._telling.send(bytes([notice]))

    def get(self) -> Notice:
        """The next one; waits for it."""
        while True:
            byte = self._waiting.recv(1)[0]
            if byte in _MEANING:
                return _MEANING[byte]

    def close(self) -> None:
        self._waiting.close()
        self._telling.close()

    @contextlib.contextmanager
    def of_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT stop, SIGHUP reloads, for the time of the block. Main thread only."""
        before = {
            number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        }
        former = signal.set_wakeup_fd(self._telling.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(former)
            for number, handler in before.items():
                signal.signal(number, handler)
