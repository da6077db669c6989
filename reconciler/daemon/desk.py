"""The desk: answers every request, the same in the daemon and in a command that runs without one."""

import difflib
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError, Future
from dataclasses import replace
from typing import Final, Protocol, assert_never

from reconciler import __version__
from reconciler.daemon import answers, requests
from reconciler.daemon.latest import Latest
from reconciler.daemon.loop import Passes
from reconciler.daemon.operations import Done, Operations, holds
from reconciler.daemon.requests import Request
from reconciler.daemon.snapshots import snapshot_of
from reconciler.daemon.wakes import Errand
from reconciler.errors import HivequeenError, Stalled, Transient
from reconciler.model.desired import Json
from reconciler.model.names import EnvironmentName
from reconciler.model.passes import Pass, Scope
from reconciler.ports import Clock, Journal
from reconciler.report import views
from reconciler.report.statements import Touched, nobody_knows
from reconciler.report.why import why
from reconciler.review.codec import encode
from reconciler.settings import Settings

SIGN_OF_LIFE_S: Final = 5.0  # whoever waits for a pass hears from us this often
PASS_S: Final = 600.0  # nobody waits for a pass longer than this


class Passmaker(Protocol):
    """Makes passes for whoever waits for one: the daemon's mailbox, or a reconciler at hand."""

    def ask(self, errand: Errand) -> Future[Pass]: ...

    def wake(self, scope: Scope) -> None: ...


class Desk:
    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        journal: Journal,
        operations: Operations,
        passes: Passmaker,
        latest: Latest,
        progress_age_s: Callable[[], float],
        touched: Touched = nobody_knows,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._journal = journal
        self._operations = operations
        self._passes = passes
        self._latest = latest
        self._progress_age_s = progress_age_s
        self._touched = touched

    def answer(  # noqa: C901, PLR0911, PLR0912 - one arm for each request
        self, request: Request, actor: str, tell: Callable[[str], None]
    ) -> Json:
        """One of the documents of `report.views`, or what an operation did."""
        match request:
            case requests.Ping():
                return {
                    "fleet": self._settings.fleet,
                    "mode": self._settings.mode.value,
                    "version": __version__,
                    "progress_age_s": self._progress_age_s(),
                }
            case requests.AskPlan(environment=environment):
                return self._plan(environment, tell)
            case requests.AskWorld():
                return self._world(tell)
            case requests.AskStatus():
                now = self._clock.now()
                return views.status(self._latest.whole, self._journal.recall(now), self._journal.conditions(), now)
            case requests.AskShow(target=target):
                return views.show(target, self._latest.whole, self._journal, self._clock.now())
            case requests.AskWhy(target=target):
                return why(target, self._latest.whole, self._journal, self._clock.now(), self._touched)
            case requests.AskEvents(environment=environment, limit=limit):
                return self._events(environment, limit)
            case requests.Approve(target=target):
                return self._approve(target, actor, tell)
            case requests.TakeClaim(take_over=take_over):
                return self._did(self._operations.claim(take_over=take_over, actor=actor), actor)
            case requests.Suspend(environment=environment, reason=reason, until=until):
                done = self._operations.suspend(environment, reason=reason, until=until, actor=actor)
                return self._did(done, actor)
            case requests.Resume(environment=environment):
                return self._did(self._operations.resume(environment, actor=actor), actor)
            case requests.MakePass(environments=environments, refresh_images=refresh_images):
                return self._pass(environments, refresh_images, actor, tell)
            case _ as unreachable:
                assert_never(unreachable)

    def _events(self, environment: EnvironmentName | None, limit: int) -> Json:
        told = self._journal.events(environment, limit=limit)
        if environment is not None and not told:
            self._operations.require_known(environment)
        return views.events(told)

    def _plan(self, environment: EnvironmentName | None, tell: Callable[[str], None]) -> Json:
        # Always a full preview: whether an undeclared environment goes is decided by full passes only.
        made = self._made(Errand(scope=Scope(environments=None, because="plan"), is_preview=True), tell)
        if environment is not None:
            _check_known((environment,), made)
            made = _only(environment, made)
        return answers.passed(made)

    def _world(self, tell: Callable[[str], None]) -> Json:
        made = self._made(Errand(scope=Scope(environments=None, because="plan"), is_preview=True), tell)
        snapshot = snapshot_of(made, self._settings)
        if snapshot is None:
            raise _failure(made)
        return encode(snapshot)

    def _approve(self, target: str, actor: str, tell: Callable[[str], None]) -> Json:
        known = self._latest.whole
        current = holds(known.plan) if known is not None and known.plan is not None else ()
        if not any(hold.digest.startswith(target) for hold in current):
            # The plan that its reader saw may be newer than the last pass.
            made = self._made(Errand(scope=Scope(environments=None, because="approve"), is_preview=True), tell)
            if made.plan is None:
                raise _failure(made)
            current = holds(made.plan)
        return self._did(self._operations.approve(target, current, actor=actor), actor)

    def _pass(
        self,
        environments: tuple[EnvironmentName, ...],
        refresh_images: tuple[EnvironmentName, ...],
        actor: str,
        tell: Callable[[str], None],
    ) -> Json:
        names = frozenset(environments) | (frozenset(refresh_images) if environments else frozenset())
        scope = Scope(environments=names or None, because=f"requested by {actor}")
        made = self._made(Errand(scope=scope, refresh_images=frozenset(refresh_images)), tell)
        _check_known((*environments, *refresh_images), made)
        return answers.passed(made)

    def _did(self, done: Done, actor: str) -> Json:
        if done.wakes is None or done.wakes:
            self._passes.wake(Scope(environments=done.wakes, because=f"requested by {actor}"))
        return {"message": done.message}

    def _made(self, errand: Errand, tell: Callable[[str], None]) -> Pass:
        reply = self._passes.ask(errand)
        waited_s = 0.0
        while waited_s < PASS_S:
            try:
                return reply.result(timeout=SIGN_OF_LIFE_S)
            except CancelledError as trouble:
                raise Transient("the daemon is stopping", remedy="try again when it is back") from trouble
            except TimeoutError:
                if reply.done():
                    raise  # the pass itself ended so
            waited_s += SIGN_OF_LIFE_S
            tell(f"still at it after {waited_s:.0f} s")
        reply.cancel()
        raise Transient(f"no pass ended within {PASS_S:.0f} s", remedy="see: hivequeen status, and the daemon's log")


class AtHand:
    """A `Passmaker` without a daemon: the pass is made while its asker waits."""

    def __init__(self, reconciler: Callable[[], Passes], latest: Latest) -> None:
        self._reconciler = reconciler
        self._latest = latest

    def ask(self, errand: Errand) -> Future[Pass]:
        reconciler = self._reconciler()
        for environment in sorted(errand.refresh_images):
            reconciler.refresh_images(environment)
        if errand.is_preview:
            errand.reply.set_result(reconciler.preview(errand.scope))
        else:
            made = reconciler.reconcile(errand.scope)
            self._latest.keep(made)
            errand.reply.set_result(made)
        return errand.reply

    def wake(self, scope: Scope) -> None:
        """Nobody sleeps: the next daemon's first pass is a full one."""


def _only(environment: EnvironmentName, made: Pass) -> Pass:
    """The pass, as far as this environment and the whole installation are concerned."""
    plan = made.plan
    return replace(
        made,
        plan=plan and replace(plan, environments=tuple(one for one in plan.environments if one.name == environment)),
        failures=tuple(failure for failure in made.failures if failure.environment in (None, environment)),
    )


def _check_known(names: Iterable[EnvironmentName], made: Pass) -> None:
    """A typing error must not look like an environment with nothing to do."""
    if made.plan is None or made.desired is None:
        return
    known = {
        *made.desired.declared,
        *(one.name for one in made.plan.environments),
        *(made.memory.environments if made.memory else ()),
    }
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            listed = f"there are: {', '.join(sorted(known))}" if known else "the repository declares none"
            raise Stalled(f"there is no environment {name}", remedy=f"did you mean {near[0]}?" if near else listed)


def _failure(made: Pass) -> HivequeenError:
    for failure in made.failures:
        return Stalled(failure.message, remedy=failure.remedy)
    return Stalled("no plan could be made", remedy="see: hivequeen status")
