"""One pass: the program's story.

    git revision → spec → observe → plan → guard → converge → report

Up to the guard a pass only looks (`observer`); here it acts on what it saw. Stages do not know each other; they are
joined in these two places only. Nothing here waits: what needs time is started, and the next pass sees how far it got.
"""

import logging
import random
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

from reconciler.converge import Converger, Launcher, setbacks
from reconciler.errors import Conflict, HivequeenError, Transient
from reconciler.look import Decision, Look, failure_of, pass_of, refreshed
from reconciler.model.desired import Desired, Environment, Role
from reconciler.model.facts import Looked, NodeFailed, NodeForgotten, NodeGone, NodeMissing, NodeOdd, RevisionApplied
from reconciler.model.names import ChefName, EnvironmentName, IntentToken, RevisionId
from reconciler.model.passes import Failure, Outcome, Pass, Scope
from reconciler.model.plan import EnvironmentPlan
from reconciler.observer import BLIND_LEAST, Observer, Ports
from reconciler.ports import Claim
from reconciler.settings import Settings
from reconciler.source.retire import Retirement, retired
from reconciler.spec import MonthlyCost, SpecReader

__all__ = ["Ports", "Reconciler"]

log = logging.getLogger(__name__)

# What is noted of nodes without having asked for anything.
_CONCLUSIONS: Final = (NodeMissing, NodeOdd, NodeFailed, NodeGone, NodeForgotten)


class Reconciler:
    """Makes passes, one at a time (the caller's duty). Keeps caches only; forgetting them changes nothing but speed."""

    def __init__(
        self,
        *,
        ports: Ports,
        settings: Settings,
        first_boot: Callable[[Environment, Role], str],
        user_data_limit_bytes: int,
        report: Callable[[Pass], None] = lambda _: None,
        is_stopping: Callable[[], bool] = lambda: False,
        knows_claim: bool = True,
        monthly_cost: MonthlyCost | None = None,
        new_token: Callable[[], IntentToken] = lambda: IntentToken(f"hq-{secrets.token_hex(16)}"),
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """
        Args:
            first_boot: renders a role's user-data.
            user_data_limit_bytes: how much of it a file may declare.
            report: told of every pass, previews not.
            is_stopping: asked between actions; true ends the pass early.
            knows_claim: false where the journal is a stand-in for one that cannot be read: whose the fleet is does not
                show then, and only previews may be made.
            monthly_cost: what an environment costs, for the policy; without it, its bounds of cost are not applied.
            new_token: a client token that was never used, at most 64 ASCII characters.
            jitter: a number from 0 to 1, which spreads retries.
        """
        self._ports = ports
        self._settings = settings
        self._rules = settings.rules
        self._observer = Observer(
            ports=ports,
            settings=settings,
            spec=SpecReader(
                user_data_limit_bytes=user_data_limit_bytes, policy=settings.policy, monthly_cost=monthly_cost
            ),
            knows_claim=knows_claim,
        )
        self._converger = Converger(
            clock=ports.clock,
            cloud=ports.cloud,
            chef=ports.chef,
            journal=ports.journal,
            launcher=Launcher(
                clock=ports.clock,
                cloud=ports.cloud,
                journal=ports.journal,
                new_token=new_token,
                is_stopping=is_stopping,
            ),
            first_boot=first_boot,
            is_stopping=is_stopping,
        )
        self._retirement = Retirement(ports.repository, folder=settings.repository.path)
        self._report = report
        self._jitter = jitter
        self._pool = ThreadPoolExecutor(max_workers=settings.concurrency, thread_name_prefix="converge")
        self._marked: RevisionId | None = None  # in the mirror
        self._may_not_write: str | None = "the first pass is not done yet"

    # --- what the loop and the listeners ask ------------------------------------------------------------------------

    def reconcile(self, scope: Scope) -> Pass:
        """One whole pass. What goes wrong in it is in its failures and outcomes.

        Raises:
            HivequeenError: the journal cannot be read or written, so that nothing can be known or kept.
        """
        look = self._observer.look(scope)
        self._observer.keep(look)
        self._may_not_write = self._why_not_write(look)
        outcomes: tuple[Outcome, ...] = ()
        if look.decision is not None:
            try:
                self._accept(look, look.decision)
                outcomes = self._converge(look, look.decision)
                self._note_setbacks(look, look.decision, outcomes)
                self._retire(look, look.decision)
            except HivequeenError as error:
                look.failures.append(failure_of("converge", error))
        done = self._pass_of(look, outcomes)
        self._report(done)
        return done

    def preview(self, scope: Scope) -> Pass:
        """The same up to the guards, and nothing is written anywhere: `hivequeen plan`."""
        return self._pass_of(self._observer.look(scope), ())

    def changed_scope(self) -> Scope | None:
        """Fetch. None: nothing is new. Else the scope that a pass begins with; the pass itself adds what changed.

        Raises:
            HivequeenError: the repository could not be fetched.
        """
        return self._observer.changed_scope()

    def refresh_images(self, environment: EnvironmentName) -> None:
        """Resolve the environment's moving images again in the next pass, instead of keeping their pins."""
        self._observer.refresh.add(environment)

    def may_write(self) -> str | None:
        """None, or why nothing may be written to Chef now: registrations ask before they create a client."""
        return self._may_not_write

    def chef_environment(self, name: EnvironmentName) -> ChefName | None:
        """The Chef environment that its nodes belong to; None while it is not known, or its file suspends it."""
        accepted = self._observer.accepted
        declared = accepted.environments.get(name) if accepted is not None else None
        return declared.chef_environment_name if declared is not None and not declared.suspend else None

    def close(self) -> None:
        """End the threads; the calls in flight end first."""
        self._pool.shutdown()

    # --- acting -----------------------------------------------------------------------------------------------------

    def _accept(self, look: Look, decision: Decision) -> None:
        """Make durable what was learnt and what is desired, before anything acts on it."""
        desired, memory = decision.desired, decision.memory
        may_write = self._may_not_write is None
        if not may_write:
            # Who may not act must not conclude from a fleet that may not be his that his own is gone, nor set ages going.
            look.facts = [fact for fact in look.facts if not isinstance(fact, _CONCLUSIONS)]
        elif desired.revision != memory.applied:
            protection = {name: one.protected for name, one in desired.environments.items()}
            look.facts.insert(
                0, RevisionApplied(revision=desired.revision, declared=desired.declared, protection=protection)
            )
        look.facts.extend(fact for one in decision.plan.environments for fact in one.facts)
        if memory.looked_at is None or look.at - memory.looked_at >= BLIND_LEAST:
            look.facts.append(Looked())
        if look.facts:
            self._record(look)
        self._observer.accept(desired)
        if may_write:
            self._keep_claim(replace(decision.claims.own, applied=desired.revision), decision.claims.standing)
            if self._marked != desired.revision:
                self._ports.repository.mark_applied(desired.revision)
                self._marked = desired.revision

    def _record(self, look: Look) -> None:
        """Where nobody knows whether it is durable, registrations wait too: what they go by may be outdated."""
        try:
            self._ports.journal.record(look.at, *look.facts)
        except HivequeenError as error:
            self._may_not_write = error.message
            raise

    def _keep_claim(self, own: Claim, standing: Claim | None) -> None:
        """Written only on change."""
        if standing is None:
            try:
                self._ports.chef.create_claim(own)
            except Conflict as conflict:
                self._may_not_write = conflict.message
                raise Transient(
                    "another installation claimed the fleet just now", remedy="the next pass says whose it is"
                ) from conflict
        elif standing.applied != own.applied:
            # Chef has no conditional write: look again, so that a take-over in the meantime is not undone.
            if self._ports.chef.claim() != standing:
                self._may_not_write = "the claim changed during the pass"
                raise Transient("the claim changed during the pass", remedy="the next pass says whose it is")
            self._ports.chef.update_claim(own)

    def _converge(self, look: Look, decision: Decision) -> tuple[Outcome, ...]:
        """Environments side by side; each one's trouble is its own."""
        busy = [one for one in decision.plan.environments if one.actions]
        outcomes: list[Outcome] = []
        for done, failure in self._pool.map(lambda one: self._converge_one(one, decision.desired), busy):
            outcomes.extend(done)
            if failure is not None:
                look.failures.append(failure)
        return tuple(outcomes)

    def _converge_one(self, one: EnvironmentPlan, desired: Desired) -> tuple[tuple[Outcome, ...], Failure | None]:
        try:
            return self._converger.converge(one, desired.environments.get(one.name)), None
        except Exception as error:  # the one broad except: a defect met in one environment must not stop the others
            log.exception("converge broke off", extra={"environment": one.name})
            failure = Failure(
                stage="converge",
                message=f"a defect: {type(error).__name__}: {error}",
                remedy="the log has the traceback; please report it",
                needs_person=True,
                environment=one.name,
            )
            return (), failure

    def _note_setbacks(self, look: Look, decision: Decision, outcomes: tuple[Outcome, ...]) -> None:
        """Backoffs and halts, from how the actions went."""
        self._observer.refresh -= refreshed(look, decision, outcomes)
        broken = {failure.environment for failure in look.failures if failure.environment is not None}
        now = self._ports.clock.now()
        found = setbacks(
            outcomes, broken, decision.desired, decision.memory, now, jitter=self._jitter, noted=look.facts
        )
        if found:
            self._ports.journal.record(now, *found)
            look.facts.extend(found)

    def _retire(self, look: Look, decision: Decision) -> None:
        """Where settings allow it, the file of an expired environment goes when nothing else of it is left."""
        if not self._settings.lifetimes.remove_files or self._may_not_write is not None or decision.stale is not None:
            return
        names = retired(decision.plan, decision.desired, decision.observed, decision.memory, self._rules)
        name = next(names, None)  # the others by the next pass, which judges by the revision that this one makes
        trouble = self._retirement.retire(decision.desired, name) if name is not None else None
        if trouble is not None:
            look.failures.append(replace(failure_of("source", trouble), environment=name))

    def _why_not_write(self, look: Look) -> str | None:
        if self._rules.is_observing:
            return "mode is observe"
        if look.decision is None:
            return look.failures[-1].message
        return look.decision.not_owner.message if look.decision.not_owner is not None else None

    def _pass_of(self, look: Look, outcomes: tuple[Outcome, ...]) -> Pass:
        return pass_of(look, outcomes, ended_at=self._ports.clock.now(), progress=self._rules.progress)
