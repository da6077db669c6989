"""The last complete observation, kept as a file beside the state: what `hivequeen plan --offline` goes by."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from reconciler.model.passes import Pass
from reconciler.model.plan import Guard
from reconciler.review import Snapshot, Stop, sources_of
from reconciler.review.codec import dump
from reconciler.settings import Settings

log = logging.getLogger(__name__)

EVERY_S: Final = 60.0  # at most so often: it is for people, and costs some milliseconds of processor for 1,000 nodes
_MODE: Final = 0o640  # whoever may use the control socket may know as much
# Others are of one revision, and a change is reviewed as if it were the newest.
_STOPS: Final = (Guard.OBSERVE_MODE, Guard.NOT_OWNER)


def file_beside(state: Path) -> Path:
    return state.with_name("world.json")


def snapshot_of(made: Pass, settings: Settings) -> Snapshot | None:
    """None where not everything was seen."""
    if not made.scope.is_full or made.observed is None or made.memory is None or made.desired is None:
        return None
    blocked = made.plan.blocked if made.plan is not None else ()
    return Snapshot(
        revision=made.desired.revision,
        folder=settings.repository.path,
        region=settings.aws.region,
        rules=settings.rules,
        policy=settings.policy,
        observed=made.observed,  # dated by the last look at everything, though newer ones may have seen parts of it
        memory=made.memory,
        sources=sources_of(made.observed, made.desired),
        stops=tuple(
            Stop(guard=one.guard, message=one.message, remedy=one.remedy) for one in blocked if one.guard in _STOPS
        ),
    )


class Snapshots:
    """Writes in a thread of its own, so that no pass waits for it."""

    def __init__(
        self, file: Path, settings: Settings, *, monotonic: Callable[[], float], every_s: float = EVERY_S
    ) -> None:
        self._file = file
        self._settings = settings
        self._monotonic = monotonic
        self._every_s = every_s
        self._changing = threading.Condition()
        self._next: Pass | None = None
        self._written_at: float | None = None
        self._is_stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._write_all, name="snapshots", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """What was kept last is written first."""
        with self._changing:
            self._is_stopping = True
            self._changing.notify()
        if self._thread is not None:
            self._thread.join()

    def keep(self, whole: Pass | None) -> None:
        """Everything as the newest passes saw it. Of several within the time between two, the last is written."""
        with self._changing:
            self._next = whole
            self._changing.notify()

    def _write_all(self) -> None:
        while True:
            with self._changing:
                self._changing.wait_for(lambda: self._is_stopping or self._next is not None)
                self._changing.wait_for(lambda: self._is_stopping, timeout=self._early_s())
                made, self._next = self._next, None
                is_last = self._is_stopping
            if made is not None:
                self._write(made)
            if is_last:
                return

    def _early_s(self) -> float:
        """How long the next one has to wait."""
        if self._written_at is None:
            return 0.0
        return max(0.0, self._written_at + self._every_s - self._monotonic())

    def _write(self, made: Pass) -> None:
        """Whole or not at all: somebody may be reading it."""
        snapshot = snapshot_of(made, self._settings)
        if snapshot is None:
            return
        self._written_at = self._monotonic()
        unfinished = self._file.with_name(f".{self._file.name}.new")
        try:
            unfinished.write_bytes(dump(snapshot))
            unfinished.chmod(_MODE)
            unfinished.replace(self._file)
        except OSError as trouble:
            log.warning("snapshot not written", extra={"file": str(self._file), "problem": str(trouble)})
