"""Everything that runs under one set of settings: the loop in its thread, and the listeners around it."""

import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from reconciler.daemon.loop import Loop
from reconciler.daemon.wakes import Wakes

log = logging.getLogger(__name__)


class Part(Protocol):
    """A listener, a watcher or a lock."""

    def start(self) -> None:
        """
        Raises:
            Stalled: it cannot; nothing of it is left running.
        """

    def stop(self) -> None:
        """Within a few seconds. Safe without `start`."""


class Program:
    """Built by the wiring; started and stopped once."""

    def __init__(self, *, loop: Loop, wakes: Wakes, parts: Sequence[Part]) -> None:
        """`parts` start in this order, before the loop, and stop all at once."""
        self._wakes = wakes
        self._parts = tuple(parts)
        self._started: list[Part] = []
        self._loop = loop
        self._thread: threading.Thread | None = None

    def start(self, on_end: Callable[[], None]) -> None:
        """`on_end` is called from the loop's thread when that ends, for whatever reason.

        Raises:
            Stalled: a part cannot start; those before it are stopped again.
        """
        try:
            for part in self._parts:
                self._started.append(part)
                part.start()
        except BaseException:
            for thread in self._stop_parts():
                thread.join()
            raise
        self._thread = threading.Thread(target=self._run, args=(on_end,), name="loop", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Let the calls in flight end, and stop everything. False: something did not end in time and is abandoned."""
        deadline = time.monotonic() + timeout_s
        self._wakes.stop()
        threads = self._stop_parts()
        if self._thread is not None:
            threads.append(self._thread)
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        stuck = [thread for thread in threads if thread.is_alive()]
        for thread in stuck:
            log.error("did not stop in time", extra={"stuck": thread.name, "at": _position(thread)})
        return not stuck

    def _run(self, on_end: Callable[[], None]) -> None:
        try:
            self._loop.run()
        except BaseException:
            log.exception("the loop ended by an error")
            raise
        finally:
            on_end()

    def _stop_parts(self) -> list[threading.Thread]:
        """Each in a thread of its own: one that is slow must not take the others' time."""
        threads = []
        while self._started:
            part = self._started.pop()
            thread = threading.Thread(target=_stop, args=(part,), name=f"stop {type(part).__name__}", daemon=True)
            thread.start()
            threads.append(thread)
        return threads


def _position(thread: threading.Thread) -> str:
    """Where it stands, innermost call first: enough to find what hangs."""
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - the documented way to look at another thread
    calls = reversed(traceback.extract_stack(frame)[-8:]) if frame is not None else ()
    return " < ".join(f"{call.name} ({Path(call.filename).name}:{call.lineno})" for call in calls)


def _stop(part: Part) -> None:
    try:
        part.stop()
    except Exception:
        log.exception("a part did not stop", extra={"part": type(part).__name__})
