"""Every refusal is counted and logged; the history gets one event a minute of a kind, so that nobody can flood it."""

import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from reconciler.enroll.verdicts import Refusal
from reconciler.errors import HivequeenError
from reconciler.model.conditions import Event
from reconciler.model.event_kinds import EventKind
from reconciler.model.memory import NodeRecord
from reconciler.model.names import InstanceId
from reconciler.ports import Journal

log = logging.getLogger(__name__)

EVENT_EVERY = timedelta(minutes=1)
REMEMBERED_MAX = 1024


class Refusals:
    """Takes note of them. `on_refusal` is called with the value of a `Refusal` each time."""

    def __init__(self, journal: Journal, on_refusal: Callable[[str], None]) -> None:
        self._journal = journal
        self._on_refusal = on_refusal
        self._told_at: dict[tuple[Refusal, InstanceId | None], datetime] = {}
        self._lock = threading.Lock()

    def note(
        self,
        reason: Refusal,
        message: str,
        *,
        at: datetime,
        instance_id: InstanceId | None = None,
        record: NodeRecord | None = None,
    ) -> None:
        """`instance_id` only if it can be believed."""
        self._on_refusal(reason)
        log.warning(
            "registration refused", extra={"reason": str(reason), "detail": message, "instance_id": instance_id or ""}
        )
        if not self._is_due(reason, instance_id, at):
            return
        is_reuse = reason is Refusal.IDENTITY_REUSED
        kind = (EventKind.IDENTITY_REUSED if is_reuse else EventKind.REGISTRATION_REFUSED).value
        event = Event(
            at=at,
            kind=kind,
            message=f"{reason}: {instance_id or 'an unknown machine'}: {message}",
            environment=record.environment if record else None,
            node=record.name if record else None,
        )
        try:
            self._journal.append(event)
        except HivequeenError as error:  # it stays refused: the counter and the log know of it
            log.warning("event lost", extra={"kind": event.kind, "detail": error.message})

    def _is_due(self, reason: Refusal, instance_id: InstanceId | None, at: datetime) -> bool:
        with self._lock:
            told_at = self._told_at.get((reason, instance_id))
            if told_at is not None and at - told_at < EVENT_EVERY:
                return False
            if len(self._told_at) >= REMEMBERED_MAX:
                self._told_at.clear()
            self._told_at[reason, instance_id] = at
            return True
