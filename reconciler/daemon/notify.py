"""Being told: what happened is posted to whoever asked for it, by a thread for each, so that no pass waits for them.

The journal's events are the queue, and a receiver's cursor says how far it has been told. So a restart neither repeats
what was delivered nor loses what was not: only an answer that gets lost makes a second post, with the same key. The
queue is as long as the journal's memory; whoever cannot be told for longer than that loses events, which is said.
"""

import logging
import random
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import Final

from reconciler.errors import HivequeenError, Transient
from reconciler.model.conditions import Event
from reconciler.model.event_kinds import EventKind
from reconciler.model.names import FleetId, InstallationId
from reconciler.ports import EventLog, Webhook
from reconciler.report.metrics import Notified
from reconciler.settings import Receiver

log = logging.getLogger(__name__)

# What receivers ask for, and the kinds of event that are it.
TOPICS: Final[Mapping[str, frozenset[EventKind]]] = MappingProxyType(
    {
        "ready": frozenset({EventKind.READY}),
        "stalled": frozenset({EventKind.STALLED, EventKind.BREAKER_OPENED}),
        "held": frozenset({EventKind.HELD}),
        "expiring": frozenset({EventKind.EXPIRING}),
        "torn_down": frozenset({EventKind.TORN_DOWN}),
    }
)

WAITS_S: Final = (15.0, 60.0, 180.0, 360.0)  # between the tries for one event: five in about ten minutes
WAIT_MOST_S: Final = 600.0  # however long the receiver asks us to wait
SPREAD: Final = 0.1  # of a wait, and at most: daemons that one outage stopped shall not all come back at once
JOURNAL_WAIT_S: Final = 60.0  # when the journal cannot be read or written
STOP_S: Final = 2.0  # for a post that is under way when the daemon stops
_BATCH: Final = 100
_TEXT_LIMIT: Final = 3000  # of one message in Slack


@dataclass(slots=True, kw_only=True)
class _Pending:
    event_id: int
    event: Event
    due_s: float  # monotonic
    tries: int = 0


class Delivery:
    """All that one receiver is to be told, in order. One thread at a time may use it."""

    def __init__(
        self,
        receiver: Receiver,
        *,
        fleet: FleetId,
        installation: InstallationId,
        events: EventLog,
        webhook: Webhook,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
        count: Callable[[Notified], None] = lambda _: None,
    ) -> None:
        """
        Args:
            installation: a lost journal counts from one again, under another one.
            jitter: a number from 0 to 1; it spreads retries.
        """
        self.name = receiver.name
        self.key = f"{receiver.name} {receiver.url_file}"
        self._receiver = receiver
        self._kinds = frozenset(kind for topic in receiver.on for kind in TOPICS[topic])
        self._fleet = fleet
        self._installation = installation
        self._events = events
        self._webhook = webhook
        self._monotonic = monotonic
        self._jitter = jitter
        self._count = count
        self._done = 0  # the last event that it has been told, or need not be
        self._pending: _Pending | None = None

    def begin(self) -> None:
        """Go on where it stopped. A receiver that is new is not told what happened before."""
        known = self._events.cursor(self.key)
        self._done = self._events.newest() if known is None else known
        self._events.keep_cursor(self.key, self._done)

    def deliver(self, is_stopping: Callable[[], bool] = lambda: False) -> float | None:
        """Post what is due; the seconds until something is again, None: when something happens.

        Raises:
            HivequeenError: the journal cannot be read or written.
        """
        while not is_stopping():
            self._pending = self._pending or self._next()
            if self._pending is None:
                return None
            wait_s = self._pending.due_s - self._monotonic()
            if wait_s > 0:
                return wait_s
            self._try(self._pending)
        return None

    def count_failure(self) -> None:
        """That `deliver` broke off."""
        self._count(Notified.FAILED)

    def _next(self) -> _Pending | None:
        before = self._done
        while found := self._events.after(self._done, limit=_BATCH):
            self._mention_gap(found[0][0])
            for event_id, event in found:
                if self._is_asked_for(event):
                    return _Pending(event_id=event_id, event=event, due_s=self._monotonic())
                self._done = event_id
        if self._done != before:
            # Passed over for good: what it asks for later is not told it from the past.
            self._events.keep_cursor(self.key, self._done)
        return None

    def _is_asked_for(self, event: Event) -> bool:
        """What concerns the whole installation has no environment's name: only `*` asks for it."""
        return event.kind in self._kinds and fnmatchcase(event.environment or "", self._receiver.environments)

    def _mention_gap(self, event_id: int) -> None:
        """The journal keeps its newest events; their ids grow by one."""
        missed = event_id - self._done - 1
        if missed:
            self._count(Notified.GIVEN_UP)
            log.warning(
                "notifications lost",
                extra={
                    "receiver": self.name,
                    "events": missed,
                    "problem": "they waited longer than the journal keeps events",
                    "remedy": "see what the receiver answered before",
                },
            )

    def _try(self, pending: _Pending) -> None:
        pending.tries += 1
        trouble = self._post(pending.event_id, pending.event)
        if trouble is None:
            self._count(Notified.DELIVERED)
        else:
            is_last = pending.tries > len(WAITS_S)
            self._report(pending, trouble, is_last=is_last)
            if not is_last:
                asked_s = trouble.retry_after_s if isinstance(trouble, Transient) else None
                wait_s = max(WAITS_S[pending.tries - 1], min(asked_s or 0.0, WAIT_MOST_S))
                pending.due_s = self._monotonic() + wait_s * (1 + SPREAD * self._jitter())
                return
        # First in memory: a journal that fails now must not make us post it again.
        self._pending, self._done = None, pending.event_id
        self._events.keep_cursor(self.key, self._done)

    def _post(self, event_id: int, event: Event) -> HivequeenError | None:
        # With the moment: a journal restored from a backup gives ids again that were given before.
        key = f"{self._installation}-{event_id}-{int(event.at.timestamp())}"
        try:
            self._webhook.post(document_of(event_id, event, self._fleet), key=key)
        except HivequeenError as trouble:
            return trouble
        except Exception as surprise:  # noqa: BLE001 - one event or receiver that breaks us must not end all telling
            return Transient(_unexpected(surprise))
        return None

    def _report(self, pending: _Pending, trouble: HivequeenError, *, is_last: bool) -> None:
        self._count(Notified.GIVEN_UP if is_last else Notified.FAILED)
        log.warning(
            "notification given up" if is_last else "notification not delivered",
            extra={
                "receiver": self.name,
                "kind": pending.event.kind,
                "environment": pending.event.environment or "",
                "tries": pending.tries,
                "problem": trouble.message,
                "remedy": trouble.remedy,
            },
        )


class Notifier:
    """The deliveries, each in a thread. A part of the program."""

    def __init__(self, events: EventLog, deliveries: Sequence[Delivery]) -> None:
        self._events = events
        self._deliveries = tuple(deliveries)
        self._stopping = threading.Event()
        self._news = tuple(threading.Event() for _ in self._deliveries)
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        self._events.forget_cursors(but=[delivery.key for delivery in self._deliveries])
        for delivery, news in zip(self._deliveries, self._news, strict=True):
            delivery.begin()
            thread = threading.Thread(
                target=self._run, args=(delivery, news), name=f"notify {delivery.key}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def wake(self) -> None:
        """Something may have happened."""
        for news in self._news:
            news.set()

    def stop(self) -> None:
        """What is not delivered by then is left to the next start."""
        self._stopping.set()
        self.wake()
        deadline = time.monotonic() + STOP_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self, delivery: Delivery, news: threading.Event) -> None:
        said = ""
        while True:
            news.clear()
            if self._stopping.is_set():  # only now: it is set before the last wake
                break
            try:
                wait_s = delivery.deliver(self._stopping.is_set)
            except Exception as trouble:  # noqa: BLE001 - the thread outlives it: nobody would start another one
                problem = trouble.message if isinstance(trouble, HivequeenError) else _unexpected(trouble)
                delivery.count_failure()
                if problem != said:  # once, not each minute
                    log.warning("notifications interrupted", extra={"receiver": delivery.name, "problem": problem})
                said, wait_s = problem, JOURNAL_WAIT_S
            else:
                said = ""
            news.wait(wait_s)


def _unexpected(surprise: Exception) -> str:
    """Its kind and place. Not its text, which may hold the receiver's address."""
    innermost = traceback.extract_tb(surprise.__traceback__)[-1]
    return f"unexpected {type(surprise).__name__} at {Path(innermost.filename).name}:{innermost.lineno}"


def document_of(event_id: int, event: Event, fleet: FleetId) -> Mapping[str, object]:
    """What a receiver gets. Slack shows `text` and passes over the rest."""
    about = f"*{event.environment}* " if event.environment else ""
    text = f"{about}{event.kind}: {_escaped(event.message)}"
    by = f" (by {_escaped(event.actor)})" if event.actor else ""
    return {
        "text": f"{text[:_TEXT_LIMIT]}{by} [{fleet}]",
        "id": event_id,
        "fleet": fleet,
        "at": event.at.astimezone(UTC).isoformat(timespec="seconds"),
        "kind": event.kind,
        "environment": event.environment,
        "node": event.node,
        "message": event.message,
        "revision": event.revision,
        "actor": event.actor,
    }


def _escaped(text: str) -> str:
    """As Slack asks for: nobody's message may ring a channel or dress up as a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
