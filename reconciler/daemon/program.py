"""Everything that runs under one set of settings: the loop in its thread, and the listeners around it."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
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
        """`parts` start in this order and stop in the reverse, all of them around the loop."""
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
            self._stop_parts()
            raise
        self._thread = threading.Thread(target=self._run, args=(on_end,), name="loop", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Let the calls in flight end, then stop everything. False: some call did not end in time and is abandoned."""
        deadline = time.monotonic() + timeout_s
        self._wakes.stop()
        if self._thread is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
        self._stop_parts()
        return self._thread is None or not self._thread.is_alive()

    def _run(self, on_end: Callable[[], None]) -> None:
        try:
            self._loop.run()
        except BaseException:
            log.exception("the loop ended by an error")
            raise
        finally:
            on_end()

    def _stop_parts(self) -> None:
        while self._started:
            part = self._started.pop()
            try:
                part.stop()
            except Exception:
                log.exception("a part did not stop", extra={"part": type(part).__name__})
