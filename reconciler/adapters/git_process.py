"""Running git: one bounded command at a time, in a process group of its own, with nothing of our terminal."""

import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from reconciler.errors import Stalled, Transient

ERRORS_KEPT_BYTES: Final = 64 * 1024
TERMINATION_TIMEOUT_S: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    code: int
    stdout: bytes
    stderr: str

    @property
    def is_ok(self) -> bool:
        return self.code == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a command prints while it runs."""

    stdout: IO[bytes]
    is_cut: Callable[[], bool]  # it was ended by us: what is missing then proves nothing


class Git:
    """The git command, bound to one bare repository. Its caller sees to it that one command runs at a time."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self._command = ("git", f"--git-dir={directory}")
        self._environment = dict(environment)
        self._stopping = threading.Event()
        self._running: subprocess.Popen[bytes] | None = None

    def run(self, *arguments: str, timeout_s: float, variables: Mapping[str, str] | None = None) -> Answer:
        """The answer, whatever its exit code.

        Args:
            variables: of its environment, beside those that every command gets.

        Raises:
            Transient: it took too long, was killed, or the daemon stops.
            Stalled: git is not installed.
        """
        with self._start(
            arguments, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, variables=variables or {}
        ) as process:
            try:
                stdout, stderr = process.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                raise Transient(f"git {arguments[0]} took longer than {timeout_s:.0f} s") from None
        if process.returncode < 0:
            raise Transient(f"git {arguments[0]} was ended by signal {-process.returncode}")
        return Answer(code=process.returncode, stdout=stdout, stderr=_text(stderr))

    @contextmanager
    def stream(self, *arguments: str, lines: Sequence[str], timeout_s: float) -> Iterator[Output]:
        """What it prints, to be read piece by piece; `lines` are what it reads. It is ended when the block is left.

        Output that ends early means that the command failed, unless it is cut.
        """
        is_late = threading.Event()

        def end_late(process: "subprocess.Popen[bytes]") -> None:
            is_late.set()
            _end(process)

        # A file, because a pipe that git does not drain while it prints could block us, and then git.
        with tempfile.TemporaryFile() as questions:
            questions.write("".join(f"{line}\n" for line in lines).encode())
            questions.seek(0)
            with self._start(arguments, stdin=questions, stderr=subprocess.DEVNULL, variables={}) as process:
                timer = threading.Timer(timeout_s, end_late, (process,))
                timer.daemon = True
                timer.start()
                try:
                    if process.stdout is not None:
                        yield Output(stdout=process.stdout, is_cut=lambda: is_late.is_set() or self._stopping.is_set())
                finally:
                    timer.cancel()

    def stop(self) -> None:
        """End what runs now, and refuse what comes later. May be called from any thread."""
        self._stopping.set()
        if (process := self._running) is not None:
            _end(process)

    @contextmanager
    def _start(
        self, arguments: Sequence[str], *, stdin: int | IO[bytes], stderr: int, variables: Mapping[str, str]
    ) -> Iterator[subprocess.Popen[bytes]]:
        if self._stopping.is_set():
            raise Transient("the repository is not read any more: the daemon stops")
        try:
            process = subprocess.Popen(
                [*self._command, *arguments],
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd="/",
                env={**self._environment, **variables},
                process_group=0,  # Ctrl-C is ours, and git's own children end with it
            )
        except FileNotFoundError:
            raise Stalled("git is not installed", remedy="install the package git") from None
        with process:
            self._running = process
            if self._stopping.is_set():  # `stop` may have looked before there was anything to end
                _end(process)
            try:
                yield process
            finally:
                _end(process)
                self._running = None


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End it with everything it started (ssh, upload-pack), which would otherwise keep its pipes open."""
    for last_word in (signal.SIGTERM, signal.SIGKILL):  # politely first: git removes its lock files then
        if process.poll() is not None:
            return
        os.killpg(process.pid, last_word)
        with suppress(subprocess.TimeoutExpired):
            process.wait(TERMINATION_TIMEOUT_S)


def _text(stderr: bytes) -> str:
    return stderr[-ERRORS_KEPT_BYTES:].decode(errors="backslashreplace")
