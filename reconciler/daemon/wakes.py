"""The loop's mailbox: every thread may drop something in, only the loop takes it out.

A wake names a scope and carries no state, so that lost, repeated and reordered ones change nothing: all that lie in
the box become one.
"""

import threading
from concurrent.futures import Future
from dataclasses import dataclass, field

from reconciler.errors import Transient
from reconciler.model.names import EnvironmentName
from reconciler.model.passes import Pass, Scope


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Errand:
    """A pass that somebody waits for. Its `reply` ends with the pass, or with the error that kept it from being made."""

    scope: Scope
    is_preview: bool = False  # plan only, write nothing
    refresh_images: frozenset[EnvironmentName] = frozenset()
    reply: Future[Pass] = field(default_factory=Future)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """All that lay in the box."""

    scope: Scope | None = None  # merged; None: nobody woke the loop
    is_git_changed: bool = False
    errands: tuple[Errand, ...] = ()
    is_stopping: bool = False


class Wakes:
    """Thread-safe. Once stopped it stays so."""

    def __init__(self) -> None:
        self._filled = threading.Condition()
        self._scope: Scope | None = None
        self._is_git_changed = False
        self._errands: list[Errand] = []
        self._is_stopping = False

    def wake(self, scope: Scope) -> None:
        """Ask for a pass over `scope`, as soon as the one that runs has ended."""
        with self._filled:
            self._scope = scope if self._scope is None else self._scope.merge(scope)
            self._filled.notify_all()

    def git_changed(self) -> None:
        """The repository may have moved: the loop looks, and names the scope itself."""
        with self._filled:
            self._is_git_changed = True
            self._filled.notify_all()

    def ask(self, errand: Errand) -> Future[Pass]:
        """Like `wake`, for somebody who wants to see the pass."""
        with self._filled:
            if self._is_stopping:
                errand.reply.set_exception(_stopping())
            else:
                self._errands.append(errand)
                self._filled.notify_all()
        return errand.reply

    def stop(self) -> None:
        """End the loop after the calls that are in flight; whoever still waits for a pass is told so."""
        with self._filled:
            self._is_stopping = True
            abandoned, self._errands = self._errands, []
            self._filled.notify_all()
        for errand in abandoned:
            errand.reply.set_exception(_stopping())

    def is_stopping(self) -> bool:
        return self._is_stopping

    def take(self, timeout_s: float) -> Mail:
        """Empty the box; wait for something at most `timeout_s`."""
        with self._filled:
            self._filled.wait_for(self._is_filled, timeout=max(0.0, timeout_s))
            mail = Mail(
                scope=self._scope,
                is_git_changed=self._is_git_changed,
                errands=tuple(self._errands),
                is_stopping=self._is_stopping,
            )
            self._scope, self._is_git_changed, self._errands = None, False, []
        return mail

    def _is_filled(self) -> bool:
        return self._scope is not None or self._is_git_changed or bool(self._errands) or self._is_stopping


def _stopping() -> Transient:
    return Transient("the daemon is stopping", remedy="try again when it is back")
