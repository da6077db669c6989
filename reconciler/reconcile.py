"""One pass: the program's story.

    git revision → spec → observe → plan → guard → converge → report

Stages do not know each other; this is the only place that joins them. Nothing here waits: what needs time is started,
and the next pass sees how far it got.
"""

import logging
import random
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from reconciler.converge import Converger, Launcher, setbacks
from reconciler.errors import Conflict, Denied, HivequeenError, Transient
from reconciler.model.desired import Desired, Environment, Role
from reconciler.model.memory import EnvironmentRecovered, Fact, Memory, RevisionApplied, SightedAgain
from reconciler.model.names import BlobId, ChefName, EnvironmentName, IntentToken, RevisionId
from reconciler.model.observed import Observed
from reconciler.model.passes import Failure, Outcome, Pass, Result, Scope
from reconciler.model.plan import Blocked, EnvironmentPlan, Plan
from reconciler.model.rules import Rules
from reconciler.observe import join, read
from reconciler.plan import Context, guard, plan
from reconciler.ports import ChefServer, Claim, Clock, Cloud, Journal, Repository
from reconciler.settings import Mode, Settings
from reconciler.source.claim import judge, own_claim
from reconciler.source.follow import Followed, choose
from reconciler.spec import SpecReader

log = logging.getLogger(__name__)

SCOPE_MAX: Final = 20  # more environments than this are cheaper to read by four searches than one by one
BLIND_LEAST: Final = timedelta(minutes=1)  # a shorter failure to read does not move anybody's deadline
BLOB_LIMIT_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Everything outside that a pass needs."""

    clock: Clock
    repository: Repository
    cloud: Cloud
    chef: ChefServer
    journal: Journal


class StageFailed(Exception):
    """Ends the pass: a stage could not conclude anything, and neither can those after it."""

    def __init__(self, stage: str, error: HivequeenError) -> None:
        super().__init__(error.message)
        self.failure = _failure(stage, error)


@dataclass(slots=True, kw_only=True)
class Look:
    """What a pass finds out before anything acts. Made by reading only, so that a preview is the same."""

    scope: Scope
    at: datetime
    memory: Memory
    failures: list[Failure] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    holds: list[Blocked] = field(default_factory=list)
    desired: Desired | None = None
    observed: Observed | None = None
    plan: Plan | None = None
    own: Claim | None = None  # as it should be
    standing: Claim | None = None  # as it is; None: nobody's
    not_owner: Blocked | None = None
    committed_at: datetime | None = None


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
        new_token: Callable[[], IntentToken] = lambda: IntentToken(f"hq-{secrets.token_hex(16)}"),
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """
        Args:
            first_boot: renders a role's user-data.
            user_data_limit_bytes: how much of it a file may declare.
            report: told of every pass, previews not.
            is_stopping: asked between actions; true ends the pass early.
            new_token: a client token that was never used, at most 64 ASCII characters.
            jitter: a number from 0 to 1, which spreads retries.
        """
        self._ports = ports
        self._settings = settings
        self._rules = rules(settings)
        self._converger = Converger(
            clock=ports.clock,
            cloud=ports.cloud,
            chef=ports.chef,
            journal=ports.journal,
            launcher=Launcher(clock=ports.clock, cloud=ports.cloud, journal=ports.journal, new_token=new_token),
            first_boot=first_boot,
            is_stopping=is_stopping,
        )
        self._spec = SpecReader(user_data_limit_bytes=user_data_limit_bytes)
        self._report = report
        self._jitter = jitter
        self._pool = ThreadPoolExecutor(max_workers=settings.concurrency, thread_name_prefix="converge")
        self._tip: RevisionId | None = None
        self._tip_is_fresh = False  # fetched by changed_scope for the pass that follows it
        self._desired: Desired | None = None  # of the last pass
        self._refresh: set[EnvironmentName] = set()
        self._blind_since: datetime | None = None
        self._may_not_write: str | None = "the first pass is not done yet"

    # --- what the loop and the listeners ask ------------------------------------------------------------------------

    def reconcile(self, scope: Scope) -> Pass:
        """One whole pass: journal, conditions and events are written. Never raises HivequeenError."""
        look = self._look(scope)
        outcomes: tuple[Outcome, ...] = ()
        if look.plan is not None and look.observed is not None:
            try:
                self._accept(look)
                outcomes = self._converge(look.plan, look)
                self._note_setbacks(look, outcomes)
            except HivequeenError as error:
                look.failures.append(_failure("converge", error))
        done = self._pass_of(look, outcomes)
        self._report(done)
        return done

    def preview(self, scope: Scope) -> Pass:
        """The same up to the guards, and nothing is written anywhere: `hivequeen plan`."""
        return self._pass_of(self._look(scope), ())

    def changed_scope(self) -> Scope | None:
        """Fetch, and name what changed since the last pass; None: nothing did.

        Raises:
            HivequeenError: the repository could not be fetched.
        """
        tip = self._ports.repository.fetch()
        is_news = tip != self._tip
        self._tip, self._tip_is_fresh = tip, True
        if not is_news or self._desired is None:
            return Scope(environments=None, because="start") if self._desired is None else None
        return Scope(environments=frozenset(), because="commit")  # the pass itself sees which

    def refresh_images(self, environment: EnvironmentName) -> None:
        """Resolve the environment's moving images again in the next pass, instead of keeping their pins."""
        self._refresh.add(environment)

    def may_write(self) -> str | None:
        """None, or why nothing may be written to Chef now: registrations ask before they create a client."""
        return self._may_not_write

    def chef_environment(self, name: EnvironmentName) -> ChefName | None:
        """The Chef environment that the environment's nodes belong to; None while it is not known."""
        declared = self._desired.environments.get(name) if self._desired is not None else None
        return declared.chef_environment_name if declared is not None else None

    def close(self) -> None:
        """End the threads; the calls in flight end first."""
        self._pool.shutdown()

    # --- reading ----------------------------------------------------------------------------------------------------

    def _look(self, scope: Scope) -> Look:
        """source → spec → observe → plan → guard."""
        at = self._ports.clock.now()
        look = Look(scope=scope, at=at, memory=self._ports.journal.recall(at))
        try:
            with _stage("claim"):
                self._read_claim(look)
            followed = self._follow(look)
            look.desired = self._read_spec(look, followed)
            self._widen(look)
            with _stage("observe"):
                self._observe(look)
            self._judge_claim(look)
            self._plan(look)
        except StageFailed as stop:
            look.failures.append(stop.failure)
            if stop.failure.stage in ("claim", "observe"):
                self._blind_since = self._blind_since or at
        self._may_not_write = self._why_not_write(look)
        return look

    def _read_claim(self, look: Look) -> None:
        """Whose the fleet is, by one GET; and the account, which is asked once."""
        settings, account = self._settings, self._ports.cloud.account()
        if settings.aws.account_id is not None and account != settings.aws.account_id:
            raise Denied(
                f"these AWS credentials are of account {account}, the settings say {settings.aws.account_id}",
                remedy="use credentials of that account, or correct aws.account_id",
            )
        look.standing = self._ports.chef.claim()
        look.own = own_claim(settings, look.memory, account)
        if look.standing is None:  # whether there is a fleet already shows only when all of it is read
            look.scope = look.scope.merge(Scope(environments=None, because="unclaimed"))

    def _follow(self, look: Look) -> Followed:
        """The revision to desire. A repository that cannot be read leaves the last good one in force."""
        applied = look.memory.applied
        try:
            tip = self._newest(look.scope)
        except HivequeenError as error:
            look.failures.append(_failure("source", error))
            if applied is None:
                raise StageFailed("source", error) from error
            return Followed(revision=applied, hold=None, is_new=False)
        claimed = look.standing.applied if look.standing is not None else None
        with _stage("source"):
            followed = choose(
                tip=tip,
                applied=applied,
                claimed=claimed,
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
            look.plan = Plan(revision=RevisionId(""), environments=(), blocked=tuple(look.holds))
            raise StageFailed("source", Transient(look.holds[0].message, remedy=look.holds[0].remedy))
        if self._desired is not None and self._desired.revision == followed.revision:
            return self._desired
        try:
            desired = self._desired_at(followed.revision)
            if followed.is_new:
                look.committed_at = self._ports.repository.commit(followed.revision).at
        except HivequeenError as error:
            look.failures.append(_failure("source", error))
            applied = look.memory.applied
            if applied is None or applied == followed.revision:
                raise StageFailed("source", error) from error
            with _stage("source"):
                return self._desired_at(applied)
        return desired

    def _desired_at(self, revision: RevisionId) -> Desired:
        def read_blobs(blobs: Collection[BlobId]) -> Mapping[BlobId, bytes]:
            return self._ports.repository.read(blobs, limit_bytes=BLOB_LIMIT_BYTES)

        entries = self._ports.repository.tree(revision)
        folder = self._settings.repository.path
        return self._spec.read(revision=revision, folder=folder, entries=entries, read_blobs=read_blobs)

    def _widen(self, look: Look) -> None:
        """A commit adds what it changed to the scope; a deletion, or much at once, makes it the whole fleet."""
        before, now = self._desired, look.desired
        if look.scope.environments is None or before is None or now is None:
            return
        names = look.scope.environments | changed(before, now)
        is_whole = before.names - now.names or len(names) > SCOPE_MAX
        look.scope = replace(look.scope, environments=None if is_whole else names)

    def _observe(self, look: Look) -> None:
        assert look.desired is not None  # noqa: S101  for the type checker: the stage before made it
        reading = read(
            cloud=self._ports.cloud,
            chef=self._ports.chef,
            journal=self._ports.journal,
            desired=look.desired,
            names=look.scope.environments,
            refresh=self._refresh,
            at=look.at,
        )
        if self._blind_since is not None and look.at - self._blind_since >= BLIND_LEAST:
            look.facts.append(SightedAgain())
            reading = replace(reading, memory=replace(reading.memory, sighted_again_at=look.at))
        joined = join(reading, look.desired, self._rules)
        look.observed, look.memory = joined.observed, joined.memory
        look.facts.extend(joined.facts)

    def _judge_claim(self, look: Look) -> None:
        """The claim is ours, or free and there is no fleet yet; otherwise nothing is written."""
        assert look.own is not None and look.observed is not None  # noqa: S101, PT018  the stages before made them
        if self._rules.is_observing:
            return
        has_fleet = any(not there.is_empty for there in look.observed.environments.values())
        look.not_owner = judge(standing=look.standing, own=look.own, has_fleet=has_fleet)

    def _plan(self, look: Look) -> None:
        assert look.desired is not None and look.observed is not None  # noqa: S101, PT018  as above
        memory = look.memory
        touched = set(memory.backoffs) & changed(self._desired, look.desired) if self._desired else set()
        if touched:  # a commit is a reason to try at once
            kept = {name: backoff for name, backoff in memory.backoffs.items() if name not in touched}
            look.memory = memory = replace(memory, backoffs=kept)
            look.facts.extend(EnvironmentRecovered(environment=name) for name in sorted(touched))
        context = Context(desired=look.desired, observed=look.observed, memory=memory, rules=self._rules, now=look.at)
        look.plan = guard(plan(context), context, not_owner=look.not_owner, holds=look.holds)

    # --- acting -----------------------------------------------------------------------------------------------------

    def _accept(self, look: Look) -> None:
        """Make durable what was learnt and what is desired, before anything acts on it."""
        assert look.desired is not None and look.plan is not None  # noqa: S101, PT018  reconcile() asked
        facts = [*look.facts, *(fact for one in look.plan.environments for fact in one.facts)]
        may_write = self._may_not_write is None
        is_new = may_write and look.desired.revision != look.memory.applied
        if is_new:
            facts.insert(0, RevisionApplied(revision=look.desired.revision, declared=look.desired.declared))
        if facts:
            self._ports.journal.record(look.at, *facts)
        look.facts = facts
        self._desired = look.desired
        self._blind_since = None
        self._refresh.difference_update(look.scope.environments or look.desired.names)
        if may_write:
            self._keep_claim(look, is_new=is_new)

    def _keep_claim(self, look: Look, *, is_new: bool) -> None:
        assert look.own is not None and look.desired is not None  # noqa: S101, PT018  as above
        own = replace(look.own, applied=look.desired.revision)
        if look.standing is None:
            try:
                self._ports.chef.create_claim(own)
            except Conflict as conflict:
                self._may_not_write = conflict.message
                raise Transient(
                    "another installation claimed the fleet just now", remedy="the next pass says whose it is"
                ) from conflict
        elif look.standing.applied != own.applied:
            self._ports.chef.update_claim(own)
        if is_new:
            self._ports.repository.mark_applied(look.desired.revision)

    def _converge(self, decided: Plan, look: Look) -> tuple[Outcome, ...]:
        """Environments side by side; each one's trouble is its own."""
        busy = [one for one in decided.environments if one.actions]
        outcomes: list[Outcome] = []
        for one, (done, failure) in zip(
            busy, self._pool.map(lambda one: self._converge_one(one, look), busy), strict=True
        ):
            outcomes.extend(done)
            if failure is not None:
                log.error("converge broke off", extra={"environment": one.name, "problem": failure.message})
                look.failures.append(failure)
        return tuple(outcomes)

    def _converge_one(self, one: EnvironmentPlan, look: Look) -> tuple[tuple[Outcome, ...], Failure | None]:
        assert look.desired is not None  # noqa: S101  as above
        try:
            return self._converger.converge(one, look.desired.environments.get(one.name)), None
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

    def _note_setbacks(self, look: Look, outcomes: tuple[Outcome, ...]) -> None:
        """Backoffs and halts, from how the actions went."""
        assert look.desired is not None  # noqa: S101  as above
        broken = {failure.environment for failure in look.failures if failure.environment is not None}
        now = self._ports.clock.now()
        found = setbacks(outcomes, broken, look.desired, look.memory, now, jitter=self._jitter)
        if found:
            self._ports.journal.record(now, *found)
            look.facts.extend(found)

    # --- telling ----------------------------------------------------------------------------------------------------

    def _why_not_write(self, look: Look) -> str | None:
        if self._rules.is_observing:
            return "mode is observe"
        if look.not_owner is not None:
            return look.not_owner.message
        if look.plan is None or look.observed is None:
            return look.failures[-1].message if look.failures else "the last pass failed"
        return None

    def _pass_of(self, look: Look, outcomes: tuple[Outcome, ...]) -> Pass:
        decided = look.plan
        awaited = {outcome.action.environment for outcome in outcomes}
        awaited |= {one.name for one in decided.environments if one.actions or one.waiting} if decided else set()
        return Pass(
            scope=look.scope,
            started_at=look.at,
            ended_at=self._ports.clock.now(),
            revision=look.desired.revision if look.desired is not None else None,
            committed_at=look.committed_at,
            desired=look.desired,
            observed=look.observed,
            memory=look.memory,
            plan=decided,
            facts=tuple(look.facts),
            outcomes=outcomes,
            failures=tuple(look.failures),
            requeue_after_s=self._requeue(look, outcomes),
            awaited=frozenset(awaited),
        )

    def _requeue(self, look: Look, outcomes: tuple[Outcome, ...]) -> float | None:
        """When to look again: soon at what is under way; at once where another offering may have capacity."""
        if look.plan is None or look.observed is None:
            return self._rules.progress.total_seconds()
        if any(outcome.result == Result.REFUSED and not outcome.needs_person for outcome in outcomes):
            return 0.0
        return look.plan.requeue_after_s


def rules(settings: Settings) -> Rules:
    """What planning needs of the settings."""
    return Rules(
        fleet=settings.fleet,
        is_observing=settings.mode is Mode.OBSERVE,
        launch_deadline=timedelta(seconds=settings.deadlines.launch_s),
        bootstrap_deadline=timedelta(seconds=settings.deadlines.bootstrap_s),
        stale_after=timedelta(seconds=4 * settings.chef.interval_s),
        nodes_least=settings.limits.nodes_least,
        nodes_share=settings.limits.nodes_share,
        environments_least=settings.limits.environments_least,
        environments_share=settings.limits.environments_share,
        orphan_age=timedelta(seconds=settings.limits.orphan_age_s),
        failures_in_a_row=settings.limits.failures_in_a_row,
        progress=timedelta(seconds=settings.intervals.progress_s),
    )


@contextmanager
def _stage(name: str) -> Iterator[None]:
    try:
        yield
    except HivequeenError as error:
        raise StageFailed(name, error) from error


def _failure(stage: str, error: HivequeenError) -> Failure:
    needs_person = not isinstance(error, Transient)
    return Failure(stage=stage, message=error.message, remedy=error.remedy, needs_person=needs_person)


def changed(before: Desired, now: Desired) -> frozenset[EnvironmentName]:
    """Names whose declaration differs between the two, either way."""
    return frozenset(
        name
        for name in before.names | now.names
        if before.environments.get(name) != now.environments.get(name)
        or before.frozen.get(name) != now.frozen.get(name)
    )
