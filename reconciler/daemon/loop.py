"""The loop: sleep until something wakes it, make one pass, remember when to look again. One pass at a time."""

import logging
import math
from collections.abc import Callable
from typing import Final, Protocol

from reconciler.daemon.wakes import Errand, Mail
from reconciler.errors import HivequeenError
from reconciler.model.names import EnvironmentName
from reconciler.model.passes import Pass, Scope
from reconciler.settings import Intervals

log = logging.getLogger(__name__)

BEAT_S: Final = 10.0  # an idle loop shows at least this often that it lives
REQUEUE_LEAST_S: Final = 0.05  # a requeue of zero must not become a busy loop
TOGETHER_S: Final = 0.5  # requeues that are due this close to each other share a pass
BACKOFF_FIRST_S: Final = 1.0
BACKOFF_LONGEST_S: Final = 60.0


class Mailbox(Protocol):
    def take(self, timeout_s: float) -> Mail: ...


class Passes(Protocol):
    """What the loop needs of the reconciler."""

    def reconcile(self, scope: Scope) -> Pass: ...

    def preview(self, scope: Scope) -> Pass: ...

    def changed_scope(self) -> Scope | None: ...

    def refresh_images(self, environment: EnvironmentName) -> None: ...


class Loop:
    def __init__(
        self,
        *,
        passes: Passes,
        mailbox: Mailbox,
        monotonic: Callable[[], float],
        intervals: Intervals,
        on_pass: Callable[[Pass], None],
        on_progress: Callable[[], None],
    ) -> None:
        """`on_pass` sees every pass that was made, previews not; `on_progress` is called at least every `BEAT_S` and between passes."""
        self._passes = passes
        self._mailbox = mailbox
        self._monotonic = monotonic
        self._intervals = intervals
        self._on_pass = on_pass
        self._on_progress = on_progress
        self._resync_at = -math.inf  # the first pass is a full one, at once
        self._requeue_at: dict[EnvironmentName, float] = {}
        self._git_at = math.inf  # when to look at the repository again after it failed
        self._owed: Scope | None = None  # what a pass that broke off has left undone
        self._not_before = -math.inf
        self._breaks = 0

    def run(self) -> None:
        """Until the mailbox says stop."""
        while self.step():
            pass

    def step(self) -> bool:
        """Wait for the next reason and act on it; False when it was to stop."""
        mail = self._mailbox.take(min(BEAT_S, self._idle_s()))
        self._on_progress()
        if mail.is_stopping:
            for errand in mail.errands:
                errand.reply.cancel()
            return False
        for errand in mail.errands:
            if errand.is_preview:
                self._preview(errand)
        errands = tuple(errand for errand in mail.errands if not errand.is_preview)
        scope = self._wanted(mail, errands)
        if scope is not None and (errands or self._monotonic() >= self._not_before):
            self._pass(scope, errands)
        else:
            self._owed = scope
        self._on_progress()
        return True

    def _idle_s(self) -> float:
        """How long nothing needs to be done."""
        due = min((self._resync_at, self._git_at, *self._requeue_at.values()))
        if self._owed is not None:
            due = -math.inf
        return max(0.0, max(due, self._not_before) - self._monotonic())

    def _wanted(self, mail: Mail, errands: tuple[Errand, ...]) -> Scope | None:
        """All that asks for a pass now, merged."""
        now = self._monotonic()
        scope = _merged(self._owed, mail.scope)
        for errand in errands:
            scope = _merged(scope, errand.scope)
        if mail.is_git_changed or self._git_at <= now:
            scope = _merged(scope, self._changed_scope())
        if self._resync_at <= now:
            scope = _merged(scope, Scope(environments=None, because="resync"))
        if any(at <= now for at in self._requeue_at.values()):
            awaited = frozenset(name for name, at in self._requeue_at.items() if at <= now + TOGETHER_S)
            scope = _merged(scope, Scope(environments=awaited, because="awaited"))
        return scope

    def _changed_scope(self) -> Scope | None:
        """What a commit changed. A repository that fails is looked at again after the poll interval."""
        is_first_failure = math.isinf(self._git_at)
        try:
            scope = self._passes.changed_scope()
        except HivequeenError as trouble:
            log.warning("repository not read", extra={"problem": trouble.message, "remedy": trouble.remedy})
        except Exception:
            log.exception("looking for a new revision broke off")
        else:
            self._git_at = math.inf
            return scope
        self._git_at = self._monotonic() + self._intervals.poll_s
        # The first failure gets a pass, which makes a condition of it; the next ones would say the same.
        return Scope(environments=None, because="repository not read") if is_first_failure else None

    def _preview(self, errand: Errand) -> None:
        if not errand.reply.set_running_or_notify_cancel():
            return
        try:
            errand.reply.set_result(self._passes.preview(errand.scope))
        except Exception as trouble:  # noqa: BLE001 - as in _pass: the loop outlives it; it goes to whoever asked
            errand.reply.set_exception(trouble)
        self._on_progress()

    def _pass(self, scope: Scope, errands: tuple[Errand, ...]) -> None:
        waiting = tuple(errand for errand in errands if errand.reply.set_running_or_notify_cancel())
        try:
            for environment in sorted(frozenset().union(*(errand.refresh_images for errand in errands))):
                self._passes.refresh_images(environment)
            done = self._passes.reconcile(scope)
            self._on_pass(done)
        except Exception as trouble:
            # Whatever is wrong with the program, the process stays: metrics, conditions and registrations live in it.
            again_in_s = self._back_off(scope)
            log.exception("pass broke off", extra={"because": scope.because, "again_in_s": again_in_s})
            for errand in waiting:
                errand.reply.set_exception(trouble)
            return
        self._owed = None
        self._breaks = 0
        self._remember(done)
        for errand in waiting:
            errand.reply.set_result(done)

    def _back_off(self, scope: Scope) -> float:
        """Keep what is owed and pause before it is tried again; returns for how long, seconds."""
        backoff_s = min(BACKOFF_LONGEST_S, BACKOFF_FIRST_S * 2.0**self._breaks)
        self._breaks = min(self._breaks + 1, 16)
        self._owed = scope
        self._not_before = self._monotonic() + backoff_s
        return backoff_s

    def _remember(self, done: Pass) -> None:
        """When to look again, and at what."""
        now = self._monotonic()
        if done.scope.environments is None:
            self._requeue_at.clear()
            self._resync_at = now + self._intervals.resync_s
        for name in done.scope.environments or ():
            self._requeue_at.pop(name, None)
        for name, at in done.due.items():
            self._requeue_at[name] = now + max(REQUEUE_LEAST_S, (at - done.ended_at).total_seconds())
        if done.requeue_after_s is None or (done.due and not done.awaited):
            return
        again_at = now + max(REQUEUE_LEAST_S, done.requeue_after_s)
        awaited = done.awaited or done.scope.environments
        if not awaited:  # all of it; or it ended before it saw what its commit changed
            self._resync_at = min(self._resync_at, again_at)
        for name in awaited or ():
            self._requeue_at[name] = min(again_at, self._requeue_at.get(name, math.inf))


def _merged(one: Scope | None, other: Scope | None) -> Scope | None:
    if one is None or other is None:
        return one or other
    return one.merge(other)
