"""The half of a pass that only reads: from the revision to the plan that the guards let through.

    git revision → spec → observe → plan → guard

Nothing is written here, so a preview is the same look at the world as a pass that acts.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from reconciler.document import SIZE_LIMIT_BYTES
from reconciler.errors import Denied, HivequeenError, Stalled, Transient
from reconciler.look import Claims, Decision, Look, failure_of
from reconciler.model.desired import Desired
from reconciler.model.facts import EnvironmentRecovered, SightedAgain
from reconciler.model.memory import Blindness, Memory
from reconciler.model.names import BlobId, EnvironmentName, RevisionId
from reconciler.model.passes import Scope
from reconciler.observe import Joined, join, read
from reconciler.plan import Context, guard, plan
from reconciler.ports import ChefServer, Clock, Cloud, Journal, Repository
from reconciler.settings import Settings
from reconciler.source.claim import judge, own_claim
from reconciler.source.follow import Followed, choose
from reconciler.source.history import History
from reconciler.spec import SpecReader

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


class Observer:
    """Looks at git, EC2, Chef and the journal, and decides what is to be done.

    It remembers what the last pass accepted, to see what a commit changed; forgetting it changes nothing but speed.

    Attributes:
        accepted: what was desired in the last pass that was made durable; None before the first.
        refresh: environments whose moving images are to be resolved again, instead of keeping their pins.
    """

    def __init__(self, *, ports: Ports, settings: Settings, spec: SpecReader, knows_claim: bool) -> None:
        self.accepted: Desired | None = None
        self.refresh: set[EnvironmentName] = set()
        self._ports = ports
        self._settings = settings
        self._rules = settings.rules
        self._spec = spec
        self._history = History(
            ports.repository,
            folder=settings.repository.path,
            has_default_ttl=settings.rules.default_ttl is not None,
        )
        self._knows_claim = knows_claim
        self._tip: RevisionId | None = None
        self._tip_is_fresh = False  # fetched by changed_scope for the pass that follows it
        self._seen_tip: RevisionId | None = None  # that the last pass judged
        self._behind: str | None = None  # why what was pushed last is not known; None: it is
        self._blind_since: datetime | None = None

    def changed_scope(self) -> Scope | None:
        """Fetch, and say what a pass for what is new begins with: `Reconciler.changed_scope`."""
        tip = self._fetch()
        is_news = tip != self._seen_tip
        self._tip, self._tip_is_fresh = tip, True
        if not is_news or self.accepted is None:
            return Scope(environments=None, because="start") if self.accepted is None else None
        return Scope(environments=frozenset(), because="commit")

    def keep(self, look: Look) -> None:
        """This look is a pass's, not a preview's: its revision is no news any more, and its blindness counts."""
        self._seen_tip = self._tip
        if any(failure.stage in ("claim", "observe") for failure in look.failures):
            self._blind_since = self._blind_since or look.at

    def accept(self, desired: Desired) -> None:
        """What was learnt and desired is durable now: later looks are compared with it."""
        self.accepted = desired
        self._blind_since = None

    def look(self, scope: Scope) -> Look:
        """source → spec → observe → plan → guard. What goes wrong in it is in its failures."""
        at = self._ports.clock.now()
        look = Look(scope=scope, at=at, memory=self._ports.journal.recall(at))
        try:
            with _stage("claim"):
                claims = self._read_claims(look)
            followed = self._follow(look, claims)
            desired = self._read_spec(look, followed)
            self._ask_history(look, desired, is_new=followed.is_new)
            look.scope = self._widened(look, desired)
            with _stage("observe"):
                joined = self._observe(look, desired, claims)
            look.decision = self._decide(look, desired, joined, claims)
        except _StageFailed as stop:
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
                raise _StageFailed("source", error) from error
            look.failures.append(failure_of("source", error))
            return Followed(revision=applied, hold=None, is_new=False)
        with _stage("source"):
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
            self._tip = self._fetch()
        return self._tip

    def _fetch(self) -> RevisionId:
        try:
            tip = self._ports.repository.fetch()
        except HivequeenError as error:
            self._behind = error.message
            raise
        self._behind = None
        return tip

    def _read_spec(self, look: Look, followed: Followed) -> Desired:
        """What the revision declares; if its tree cannot be read whole, what the applied one did."""
        if followed.revision is None:
            raise _StageFailed("source", Stalled(look.holds[0].message, remedy=look.holds[0].remedy))
        if self.accepted is not None and self.accepted.revision == followed.revision:
            return self.accepted
        try:
            desired = self._desired_at(followed.revision)
        except HivequeenError as error:
            applied = look.memory.applied
            if applied is None or applied == followed.revision:
                raise _StageFailed("source", error) from error
            look.failures.append(failure_of("source", error))
            with _stage("source"):
                return self._desired_at(applied)
        return desired

    def _desired_at(self, revision: RevisionId) -> Desired:
        def read_blobs(blobs: Collection[BlobId]) -> Mapping[BlobId, bytes]:
            return self._ports.repository.read(blobs, limit_bytes=SIZE_LIMIT_BYTES)

        entries = self._ports.repository.tree(revision)
        folder = self._settings.repository.path
        return self._spec.read(revision=revision, folder=folder, entries=entries, read_blobs=read_blobs)

    def _ask_history(self, look: Look, desired: Desired, *, is_new: bool) -> None:
        """Who asks for what. A history that cannot be read names nobody and ends nothing, and stops no pass."""
        look.told, trouble = self._history.tell(desired, look.memory)
        if trouble is not None:
            look.failures.append(failure_of("source", trouble))
        if is_new and look.told.commit is not None:
            look.committed_at = look.told.commit.at

    def _widened(self, look: Look, desired: Desired) -> Scope:
        """A commit adds what it changed to the scope; a deletion, or much at once, makes it the whole fleet."""
        scope, before = look.scope, self.accepted
        if scope.environments is None or before is None:
            return scope
        names = scope.environments | _changed(before, desired)
        is_whole = (
            before.names - desired.names or len(names) > SCOPE_MAX or _is_undecided(names - desired.names, look.memory)
        )
        return replace(scope, environments=None if is_whole else names)

    def _observe(self, look: Look, desired: Desired, claims: Claims) -> Joined:
        reading = read(
            cloud=self._ports.cloud,
            chef=self._ports.chef,
            journal=self._ports.journal,
            desired=desired,
            names=look.scope.environments,
            refresh=self.refresh,
            rules=self._rules,
            at=look.at,
        )
        if reading.asked and self._ports.cloud.account(afresh=True) != claims.own.account:
            # Credentials may change under us; in another account everything of ours looks gone.
            raise Transient("the AWS credentials changed to another account in the middle of a pass")
        reading = replace(reading, memory=_without_future(reading.memory, look.at))
        blindness = self._blindness(reading.memory, look.at)
        if blindness is not None:
            look.facts.append(SightedAgain(since=blindness.began_at))
            blindnesses = (*reading.memory.blindnesses, blindness)
            seen = replace(reading.memory, sighted_again_at=look.at, blindnesses=blindnesses)
            reading = replace(reading, memory=seen)
        return join(reading, desired, self._rules)

    def _blindness(self, memory: Memory, at: datetime) -> Blindness | None:
        """A while that just ended in which nobody could see the fleet: reads failed, or no daemon ran."""
        without_daemon = 2 * timedelta(seconds=self._settings.intervals.resync_s) + BLIND_LEAST
        failed_since, looked_at = self._blind_since or at, memory.looked_at or at
        was_blind = at - failed_since >= BLIND_LEAST or at - looked_at >= without_daemon
        return Blindness(began_at=min(failed_since, looked_at), ended_at=at) if was_blind else None

    def _decide(self, look: Look, desired: Desired, joined: Joined, claims: Claims) -> Decision:
        """plan → guard."""
        observed, memory = joined.observed, joined.memory
        look.facts.extend(joined.facts)
        touched = set(memory.backoffs) & _changed(self.accepted, desired) if self.accepted is not None else set()
        if touched:  # a commit is a reason to try at once
            kept = {name: backoff for name, backoff in memory.backoffs.items() if name not in touched}
            memory = replace(memory, backoffs=kept)
            look.facts.extend(EnvironmentRecovered(environment=name) for name in sorted(touched))
        not_owner = None
        if self._knows_claim and not self._rules.is_observing:
            has_fleet = any(not there.is_empty for there in observed.environments.values())
            not_owner = judge(standing=claims.standing, own=claims.own, has_fleet=has_fleet)
        stale = self._stale(look, desired)
        context = Context(
            desired=desired,
            observed=observed,
            memory=memory,
            rules=self._rules,
            now=look.at,
            commit=look.told.commit,
            touched=look.told.touched,
            folder=self._settings.repository.path,
            stale=stale,
        )
        decided = guard(plan(context), context, not_owner=not_owner, holds=look.holds)
        return Decision(
            desired=desired,
            observed=observed,
            memory=memory,
            claims=claims,
            not_owner=not_owner,
            stale=stale,
            plan=decided,
        )

    def _stale(self, look: Look, desired: Desired) -> str | None:
        """Why what is desired may not be what people want by now. No teardown begins on it: a revert may be waiting."""
        if self._behind is not None:
            return self._behind
        if look.holds:
            return look.holds[0].message
        return None if desired.revision == self._tip else "the newest revision cannot be read"


class _StageFailed(Exception):
    """Ends the pass: a stage could not conclude anything, and neither can those after it."""

    def __init__(self, stage: str, error: HivequeenError) -> None:
        super().__init__(error.message)
        self.failure = failure_of(stage, error)


@contextmanager
def _stage(name: str) -> Iterator[None]:
    try:
        yield
    except HivequeenError as error:
        raise _StageFailed(name, error) from error


def _without_future(memory: Memory, at: datetime) -> Memory:
    """What a clock that ran ahead wrote would hold deadlines up until that day."""
    return replace(
        memory,
        looked_at=memory.looked_at if memory.looked_at is None or memory.looked_at <= at else None,
        sighted_again_at=memory.sighted_again_at
        if memory.sighted_again_at is None or memory.sighted_again_at <= at
        else None,
        blindnesses=tuple(one for one in memory.blindnesses if one.ended_at <= at),
    )


def _is_undecided(undeclared: Collection[EnvironmentName], memory: Memory) -> bool:
    """Whether one of them is still to be torn down or swept, which full passes alone decide."""
    known = (memory.environments.get(name) for name in undeclared)
    return any(one is None or one.teardown_began_at is None for one in known)


def _changed(before: Desired, now: Desired) -> frozenset[EnvironmentName]:
    """Names whose declaration differs between the two, either way."""
    return frozenset(
        name
        for name in before.names | now.names
        if before.environments.get(name) != now.environments.get(name)
        or before.frozen.get(name) != now.frozen.get(name)
    )
