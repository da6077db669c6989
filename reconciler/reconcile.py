"""One pass: the program's story.

    git revision → spec → observe → plan → guard → converge → report

Stages do not know each other; this is the only place that joins them. Nothing here waits: what needs time is started,
and the next pass sees how far it got.
"""

import logging
import random
import secrets
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from reconciler.converge import Converger, Launcher, setbacks
from reconciler.document import SIZE_LIMIT_BYTES
from reconciler.errors import Conflict, Denied, HivequeenError, Stalled, Transient
from reconciler.look import (
    Claims,
    Decision,
    Look,
    StageFailed,
    awaited,
    changed,
    due,
    failure_of,
    held_only,
    is_undecided,
    refreshed,
    stage,
    without_future,
)
from reconciler.model.desired import Desired, Environment, Role
from reconciler.model.facts import (
    EnvironmentRecovered,
    Looked,
    NodeForgotten,
    NodeGone,
    NodeMissing,
    RevisionApplied,
    SightedAgain,
)
from reconciler.model.memory import Blindness, Memory
from reconciler.model.names import BlobId, ChefName, EnvironmentName, IntentToken, RevisionId
from reconciler.model.passes import Failure, Outcome, Pass, Result, Scope
from reconciler.model.plan import EnvironmentPlan
from reconciler.observe import Joined, join, read
from reconciler.plan import Context, guard, plan
from reconciler.ports import ChefServer, Claim, Clock, Cloud, Journal, Repository
from reconciler.settings import Settings
from reconciler.source.claim import judge, own_claim
from reconciler.source.follow import Followed, choose
from reconciler.source.history import History
from reconciler.source.retire import Retirement, retired
from reconciler.spec import MonthlyCost, SpecReader

log = logging.getLogger(__name__)

SCOPE_MAX: Final = 20  # more environments than this are cheaper to read by four searches than one by one
BLIND_LEAST: Final = timedelta(minutes=1)  # a shorter failure to read does not move anybody's deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Everything outside that a pass needs."""

    clock: Clock
    repository: Repository
    cloud: Cloud
    chef: ChefServer
    journal: Journal


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
        self._spec = SpecReader(
            user_data_limit_bytes=user_data_limit_bytes, policy=settings.policy, monthly_cost=monthly_cost
        )
        self._history = History(
            ports.repository,
            folder=settings.repository.path,
            has_default_ttl=settings.rules.default_ttl is not None,
        )
        self._retirement = Retirement(ports.repository, folder=settings.repository.path)
        self._report = report
        self._knows_claim = knows_claim
        self._jitter = jitter
        self._pool = ThreadPoolExecutor(max_workers=settings.concurrency, thread_name_prefix="converge")
        self._tip: RevisionId | None = None
        self._tip_is_fresh = False  # fetched by changed_scope for the pass that follows it
        self._seen_tip: RevisionId | None = None  # that the last pass judged
        self._marked: RevisionId | None = None  # in the mirror
        self._desired: Desired | None = None  # of the last pass
        self._refresh: set[EnvironmentName] = set()
        self._blind_since: datetime | None = None
        self._may_not_write: str | None = "the first pass is not done yet"

    # --- what the loop and the listeners ask ------------------------------------------------------------------------

    def reconcile(self, scope: Scope) -> Pass:
        """One whole pass. What goes wrong in it is in its failures and outcomes.

        Raises:
            HivequeenError: the journal cannot be read or written, so that nothing can be known or kept.
        """
        look = self._look(scope)
        self._seen_tip = self._tip
        self._may_not_write = self._why_not_write(look)
        if any(failure.stage in ("claim", "observe") for failure in look.failures):
            self._blind_since = self._blind_since or look.at
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
        return self._pass_of(self._look(scope), ())

    def changed_scope(self) -> Scope | None:
        """Fetch. None: nothing is new. Else the scope that a pass begins with; the pass itself adds what changed.

        Raises:
            HivequeenError: the repository could not be fetched.
        """
        tip = self._ports.repository.fetch()
        is_news = tip != self._seen_tip
        self._tip, self._tip_is_fresh = tip, True
        if not is_news or self._desired is None:
            return Scope(environments=None, because="start") if self._desired is None else None
        return Scope(environments=frozenset(), because="commit")

    def refresh_images(self, environment: EnvironmentName) -> None:
        """Resolve the environment's moving images again in the next pass, instead of keeping their pins."""
        self._refresh.add(environment)

    def may_write(self) -> str | None:
        """None, or why nothing may be written to Chef now: registrations ask before they create a client."""
        return self._may_not_write

    def chef_environment(self, name: EnvironmentName) -> ChefName | None:
        """The Chef environment that its nodes belong to; None while it is not known, or its file suspends it."""
        declared = self._desired.environments.get(name) if self._desired is not None else None
        return declared.chef_environment_name if declared is not None and not declared.suspend else None

    def close(self) -> None:
        """End the threads; the calls in flight end first."""
        self._pool.shutdown()

    # --- reading ----------------------------------------------------------------------------------------------------

    def _look(self, scope: Scope) -> Look:
        """source → spec → observe → plan → guard."""
        at = self._ports.clock.now()
        look = Look(scope=scope, at=at, memory=self._ports.journal.recall(at))
        try:
            with stage("claim"):
                claims = self._read_claims(look)
            followed = self._follow(look, claims)
            desired = self._read_spec(look, followed)
            self._ask_history(look, desired, is_new=followed.is_new)
            look.scope = self._widened(look, desired)
            with stage("observe"):
                joined = self._observe(look, desired, claims)
            look.decision = self._decide(look, desired, joined, claims)
        except StageFailed as stop:
            look.failures.append(stop.failure)
        return look

    def _read_claims(self, look: Look) -> Claims:
        """Whose the fleet is, by one GET; and the account, which is asked once."""
        settings, account = self._settings, self._ports.cloud.account()
        if settings.aws.account_id is not None and account != settings.aws.account_id:
            raise Denied(
                f"these AWS credentials are of account {account}, the settings say {settings.aws.account_id}",
                remedy="use credentials of that account, or correct aws.account_id",
            )
        standing = self._ports.chef.claim()
        if standing is None:  # whether there is a fleet already shows only when all of it is read
            look.scope = look.scope.merge(Scope(environments=None, because="unclaimed"))
        return Claims(own=own_claim(settings, look.memory, account), standing=standing)

    def _follow(self, look: Look, claims: Claims) -> Followed:
        """The revision to desire. A repository that cannot be read leaves the last good one in force."""
        applied = look.memory.applied
        try:
            tip = self._newest(look.scope)
        except HivequeenError as error:
            if applied is None:
                raise StageFailed("source", error) from error
            look.failures.append(failure_of("source", error))
            return Followed(revision=applied, hold=None, is_new=False)
        with stage("source"):
            followed = choose(
                tip=tip,
                applied=applied,
                claimed=claims.standing.applied if claims.standing is not None else None,
                descends=self._ports.repository.descends,
                approvals=look.memory.approvals,
            )
        if followed.hold is not None:
            look.holds.append(followed.hold)
        return followed

    def _newest(self, scope: Scope) -> RevisionId:
        """Fetched in full passes, and in the first; in others what the loop fetched last."""
        is_fresh, self._tip_is_fresh = self._tip_is_fresh, False
        if self._tip is None or (scope.is_full and not is_fresh):
            self._tip = self._ports.repository.fetch()
        return self._tip

    def _read_spec(self, look: Look, followed: Followed) -> Desired:
        """What the revision declares; if its tree cannot be read whole, what the applied one did."""
        if followed.revision is None:
            raise StageFailed("source", Stalled(look.holds[0].message, remedy=look.holds[0].remedy))
        if self._desired is not None and self._desired.revision == followed.revision:
            return self._desired
        try:
            desired = self._desired_at(followed.revision)
        except HivequeenError as error:
            applied = look.memory.applied
            if applied is None or applied == followed.revision:
                raise StageFailed("source", error) from error
            look.failures.append(failure_of("source", error))
            with stage("source"):
                return self._desired_at(applied)
        return desired

    def _ask_history(self, look: Look, desired: Desired, *, is_new: bool) -> None:
        """Who asks for what. A history that cannot be read names nobody and ends nothing, and stops no pass."""
        look.told, trouble = self._history.tell(desired, look.memory)
        if trouble is not None:
            look.failures.append(failure_of("source", trouble))
        if is_new and look.told.commit is not None:
            look.committed_at = look.told.commit.at

    def _desired_at(self, revision: RevisionId) -> Desired:
        def read_blobs(blobs: Collection[BlobId]) -> Mapping[BlobId, bytes]:
            return self._ports.repository.read(blobs, limit_bytes=SIZE_LIMIT_BYTES)

        entries = self._ports.repository.tree(revision)
        folder = self._settings.repository.path
        return self._spec.read(revision=revision, folder=folder, entries=entries, read_blobs=read_blobs)

    def _widened(self, look: Look, desired: Desired) -> Scope:
        """A commit adds what it changed to the scope; a deletion, or much at once, makes it the whole fleet."""
        scope, before = look.scope, self._desired
        if scope.environments is None or before is None:
            return scope
        names = scope.environments | changed(before, desired)
        is_whole = (
            before.names - desired.names or len(names) > SCOPE_MAX or is_undecided(names - desired.names, look.memory)
        )
        return replace(scope, environments=None if is_whole else names)

    def _blindness(self, memory: Memory, at: datetime) -> Blindness | None:
        """A while that just ended in which nobody could see the fleet: reads failed, or no daemon ran."""
        without_daemon = 2 * timedelta(seconds=self._settings.intervals.resync_s) + BLIND_LEAST
        failed_since, looked_at = self._blind_since or at, memory.looked_at or at
        was_blind = at - failed_since >= BLIND_LEAST or at - looked_at >= without_daemon
        return Blindness(began_at=min(failed_since, looked_at), ended_at=at) if was_blind else None

    def _observe(self, look: Look, desired: Desired, claims: Claims) -> Joined:
        reading = read(
            cloud=self._ports.cloud,
            chef=self._ports.chef,
            journal=self._ports.journal,
            desired=desired,
            names=look.scope.environments,
            refresh=self._refresh,
            launch_deadline=self._rules.launch_deadline,
            at=look.at,
        )
        if reading.asked and self._ports.cloud.account(afresh=True) != claims.own.account:
            # Credentials may change under us; in another account everything of ours looks gone.
            raise Transient("the AWS credentials changed to another account in the middle of a pass")
        reading = replace(reading, memory=without_future(reading.memory, look.at))
        blindness = self._blindness(reading.memory, look.at)
        if blindness is not None:
            look.facts.append(SightedAgain(since=blindness.began_at))
            blindnesses = (*reading.memory.blindnesses, blindness)
            seen = replace(reading.memory, sighted_again_at=look.at, blindnesses=blindnesses)
            reading = replace(reading, memory=seen)
        return join(reading, desired, self._rules)

    def _decide(self, look: Look, desired: Desired, joined: Joined, claims: Claims) -> Decision:
        """plan → guard."""
        observed, memory = joined.observed, joined.memory
        look.facts.extend(joined.facts)
        touched = set(memory.backoffs) & changed(self._desired, desired) if self._desired is not None else set()
        if touched:  # a commit is a reason to try at once
            kept = {name: backoff for name, backoff in memory.backoffs.items() if name not in touched}
            memory = replace(memory, backoffs=kept)
            look.facts.extend(EnvironmentRecovered(environment=name) for name in sorted(touched))
        not_owner = None
        if self._knows_claim and not self._rules.is_observing:
            has_fleet = any(not there.is_empty for there in observed.environments.values())
            not_owner = judge(standing=claims.standing, own=claims.own, has_fleet=has_fleet)
        context = Context(
            desired=desired,
            observed=observed,
            memory=memory,
            rules=self._rules,
            now=look.at,
            commit=look.told.commit,
            touched=look.told.touched,
            folder=self._settings.repository.path,
        )
        decided = guard(plan(context), context, not_owner=not_owner, holds=look.holds)
        return Decision(
            desired=desired, observed=observed, memory=memory, claims=claims, not_owner=not_owner, plan=decided
        )

    # --- acting -----------------------------------------------------------------------------------------------------

    def _accept(self, look: Look, decision: Decision) -> None:
        """Make durable what was learnt and what is desired, before anything acts on it."""
        desired, memory = decision.desired, decision.memory
        may_write = self._may_not_write is None
        if not may_write:
            # Who may not act must not conclude from a fleet that may not be his that his own is gone.
            look.facts = [fact for fact in look.facts if not isinstance(fact, NodeMissing | NodeGone | NodeForgotten)]
        elif desired.revision != memory.applied:
            protection = {name: one.protected for name, one in desired.environments.items()}
            look.facts.insert(
                0, RevisionApplied(revision=desired.revision, declared=desired.declared, protection=protection)
            )
        look.facts.extend(fact for one in decision.plan.environments for fact in one.facts)
        if memory.looked_at is None or look.at - memory.looked_at >= BLIND_LEAST:
            look.facts.append(Looked())
        if look.facts:
            self._ports.journal.record(look.at, *look.facts)
        self._desired = desired
        self._blind_since = None
        if may_write:
            self._keep_claim(replace(decision.claims.own, applied=desired.revision), decision.claims.standing)
            if self._marked != desired.revision:
                self._ports.repository.mark_applied(desired.revision)
                self._marked = desired.revision

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
        self._refresh -= refreshed(look, decision, outcomes)
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
        if not self._settings.lifetimes.remove_files or self._may_not_write is not None:
            return
        for name in retired(decision.desired, decision.observed, decision.memory, self._rules):
            trouble = self._retirement.retire(decision.desired, name)
            if trouble is not None:
                look.failures.append(replace(failure_of("source", trouble), environment=name))

    # --- telling ----------------------------------------------------------------------------------------------------

    def _why_not_write(self, look: Look) -> str | None:
        if self._rules.is_observing:
            return "mode is observe"
        if look.decision is None:
            return look.failures[-1].message
        return look.decision.not_owner.message if look.decision.not_owner is not None else None

    def _pass_of(self, look: Look, outcomes: tuple[Outcome, ...]) -> Pass:
        decision = look.decision
        return Pass(
            scope=look.scope,
            started_at=look.at,
            ended_at=self._ports.clock.now(),
            revision=decision.desired.revision if decision is not None else None,
            committed_at=look.committed_at,
            commit=look.told.commit,
            desired=decision.desired if decision is not None else None,
            observed=decision.observed if decision is not None else None,
            memory=decision.memory if decision is not None else look.memory,
            plan=decision.plan if decision is not None else held_only(look),
            facts=tuple(look.facts),
            outcomes=outcomes,
            failures=tuple(look.failures),
            requeue_after_s=self._requeue(decision, outcomes),
            awaited=awaited(decision, outcomes),
            due=due(decision),
        )

    def _requeue(self, decision: Decision | None, outcomes: tuple[Outcome, ...]) -> float | None:
        """When to look again: soon at what is under way; at once where another offering may have capacity."""
        if decision is None:
            return self._rules.progress.total_seconds()
        if any(outcome.result == Result.REFUSED and not outcome.needs_person for outcome in outcomes):
            return 0.0
        return decision.plan.requeue_after_s
