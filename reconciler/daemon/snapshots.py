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

EVERY_S: Final = 60.0  # at most so often; an older one is no less true, only older
_MODE: Final = 0o640  # whoever may use the control socket may know as much
# Of the moment, and of a revision: a change is reviewed as if it were the newest.
_STOPS: Final = (Guard.OBSERVE_MODE, Guard.NOT_OWNER)


def snapshot_of(made: Pass, settings: Settings) -> Snapshot | None:
    """None where the pass did not see everything."""
    if not made.scope.is_full or made.observed is None or made.memory is None or made.desired is None:
        return None
    blocked = made.plan.blocked if made.plan is not None else ()
    return Snapshot(
        revision=made.desired.revision,
        folder=settings.repository.path,
        region=settings.aws.region,
        rules=settings.rules,
        policy=settings.policy,
        observed=made.observed,
        memory=made.memory,
        sources=sources_of(made.observed, made.desired),
        stops=tuple(
            Stop(guard=one.guard, message=one.message, remedy=one.remedy) for one in blocked if one.guard in _STOPS
        ),
    )


class Snapshots:
    """Writes in a thread of its own, so that no pass waits for it."""

    def __init__(self, file: Path, settings: Settings, *, monotonic: Callable[[], float]) -> None:
        self._file = file
        self._settings = settings
        self._monotonic = monotonic
        self._changing = threading.Condition()
        self._next: Snapshot | None = None
        self._kept_at: float | None = None
        self._is_stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._write_all, name="snapshots", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """What was kept is written first."""
        with self._changing:
            self._is_stopping = True
            self._changing.notify()
        if self._thread is not None:
            self._thread.join()

    def keep(self, made: Pass) -> None:
        """Of full passes that saw everything, at most one a minute."""
        now = self._monotonic()
        if self._kept_at is not None and now - self._kept_at < EVERY_S:
            return
        snapshot = snapshot_of(made, self._settings)
        if snapshot is None:
            return
        self._kept_at = now
        with self._changing:
            self._next = snapshot
            self._changing.notify()

    def _write_all(self) -> None:
        while True:
            with self._changing:
                self._changing.wait_for(lambda: self._next is not None or self._is_stopping)
                snapshot, self._next = self._next, None
            if snapshot is None:
                return
            try:
                self._write(dump(snapshot))
            except OSError as trouble:
                log.warning("snapshot not written", extra={"file": str(self._file), "problem": str(trouble)})

    def _write(self, content: bytes) -> None:
        """Whole or not at all: somebody may be reading it."""
        unfinished = self._file.with_name(f".{self._file.name}.new")
        unfinished.write_bytes(content)
        unfinished.chmod(_MODE)
        unfinished.replace(self._file)
