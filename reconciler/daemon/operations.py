"""What an operator may do to the state: the way out of every hold. The same through the control socket and without a daemon."""

import difflib
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from reconciler.errors import Stalled
from reconciler.model.actions import removal
from reconciler.model.conditions import Event
from reconciler.model.event_kinds import EventKind
from reconciler.model.facts import Approved, Fact, Resumed, Suspended, TookOver
from reconciler.model.memory import Approval, Removal, Suspension
from reconciler.model.names import EnvironmentName, is_environment_name
from reconciler.model.plan import Blocked, Guard, Plan
from reconciler.model.rules import APPROVAL_LIFETIME
from reconciler.ports import ChefServer, Clock, Journal
from reconciler.settings import Mode, Settings
from reconciler.source.claim import own_claim

DIGEST_LENGTH_LEAST: Final = 6  # of a digest that was shortened on the command line
REASON_LENGTH_MAX: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """What waits for somebody's yes under one digest; several environments may share one."""

    digest: str
    guard: Guard
    message: str
    environments: tuple[EnvironmentName, ...]  # empty: the whole installation
    removals: frozenset[Removal]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What an operation did, for people; and the environments that a pass should look at (None: all, empty: none)."""

    message: str
    wakes: frozenset[EnvironmentName] | None


def holds(plan: Plan) -> tuple[Hold, ...]:
    """Every hold that approval lifts, sorted by digest."""
    found: dict[str, Hold] = {}
    verdicts: list[tuple[EnvironmentName | None, Blocked]] = [(None, blocked) for blocked in plan.blocked]
    verdicts += [(environment.name, blocked) for environment in plan.environments for blocked in environment.blocked]
    for name, blocked in verdicts:
        if not blocked.digest:
            continue
        known = found.get(blocked.digest)
        hold = known or Hold(
            digest=blocked.digest,
            guard=blocked.guard,
            message=blocked.message,
            environments=(),
            removals=frozenset(),
        )
        found[blocked.digest] = replace(
            hold,
            environments=tuple(sorted({*hold.environments, *([name] if name else ())})),
            removals=hold.removals
            | blocked.removals
            | {gone for action in blocked.actions if (gone := removal(action)) is not None},
        )
    return tuple(found[digest] for digest in sorted(found))


class Operations:
    """Each one is recorded with its actor, as a fact and as an event.

    Args:
        chef, account: asked for the claim only; the rest works without Chef's key and AWS' credentials.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        journal: Journal,
        chef: Callable[[], ChefServer],
        account: Callable[[], str],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._journal = journal
        self._chef = chef
        self._account = account

    def approve(self, target: str, current: Collection[Hold], *, actor: str) -> Done:
        """Say yes to the hold whose digest (or revision) begins with `target`, for 24 hours.

        Raises:
            Stalled: no hold, or more than one, is meant; the message lists those there are.
        """
        hold = _chosen(target, current)
        now = self._clock.now()
        # A held revision is approved as such; prune limits look at what it removes once more.
        removals = frozenset[Removal]() if hold.guard is Guard.HISTORY else hold.removals
        approval = Approval(
            digest=hold.digest, removals=removals, actor=actor, at=now, expires_at=now + APPROVAL_LIFETIME
        )
        message = f"{actor} approved {hold.digest[:12]}: {hold.message}"
        self._record(
            Approved(approval=approval),
            *(_event(now, EventKind.APPROVED, message, actor, name) for name in hold.environments or (None,)),
        )
        return Done(
            message=f"approved until {approval.expires_at:%Y-%m-%d %H:%M} UTC: {hold.message}",
            wakes=frozenset(hold.environments) or None,
        )

    def suspend(self, environment: EnvironmentName | None, *, reason: str, until: datetime | None, actor: str) -> Done:
        """Change nothing in it (None: in anything) until resumed, or until then.

        Raises:
            Stalled: no such environment, or a time that has passed.
        """
        now = self._clock.now()
        if until is not None and until <= now:
            raise Stalled(f"--until {until:%Y-%m-%dT%H:%MZ} has passed already", remedy="give a time to come, or none")
        self.require_known(environment)
        reason = " ".join(reason.split())[:REASON_LENGTH_MAX]
        suspension = Suspension(environment=environment, reason=reason, actor=actor, since=now, until=until)
        end = f"until {until:%Y-%m-%d %H:%M} UTC" if until else "until resumed"
        message = f"{actor} suspended {environment or 'everything'} {end}{f': {reason}' if reason else ''}"
        self._record(Suspended(suspension=suspension), _event(now, EventKind.SUSPENDED, message, actor, environment))
        return Done(message=f"{environment or 'everything'} is suspended {end}", wakes=_scope(environment))

    def resume(self, environment: EnvironmentName | None, *, actor: str) -> Done:
        """End a suspension, and give halted roles and backoffs another try.

        Raises:
            Stalled: no such environment, or everything is suspended and only one was to be resumed.
        """
        now = self._clock.now()
        self.require_known(environment)
        suspended = {suspension.environment for suspension in self._journal.recall(now).suspensions}
        if environment is not None and None in suspended and environment not in suspended:
            raise Stalled(
                f"everything is suspended, {environment} with it", remedy="hivequeen resume --all ends that for all"
            )
        message = f"{actor} resumed {environment or 'everything'}"
        self._record(Resumed(environment=environment), _event(now, EventKind.RESUMED, message, actor, environment))
        was = "" if environment in suspended else " (it was not suspended; halted roles and backoffs start afresh)"
        return Done(message=f"{environment or 'everything'} is resumed{was}", wakes=_scope(environment))

    def claim(self, *, take_over: bool, actor: str) -> Done:
        """Say whose the fleet is; with `take_over`, make it this installation's.

        Raises:
            Stalled: it is somebody else's and is not to be taken over; or mode is observe.
            Transient, Denied: the Chef server or AWS does not answer.
        """
        now = self._clock.now()
        memory = self._journal.recall(now)
        chef = self._chef()
        standing = chef.claim()
        own = own_claim(self._settings, memory, self._account())
        differences = standing.differences(own) if standing else ("nobody has claimed it",)
        if not differences:
            return Done(message=f"fleet {own.fleet} is this installation's", wakes=frozenset())
        if not take_over:
            raise Stalled(
                f"fleet {own.fleet} is not this installation's: {'; '.join(differences)}",
                remedy="make sure that no other daemon runs for it, then: hivequeen claim --take-over",
            )
        if self._settings.mode is Mode.OBSERVE:
            raise Stalled("mode is observe: no claim is written", remedy="set `mode: converge` in the settings first")
        if standing is not None and not {"repository", "branch", "path"} & set(standing.differing(own)):
            # Of the two witnesses of history the newer one; the journal is asked as well.
            own = replace(own, applied=standing.applied or own.applied)
        # First the fact: whoever crashes between the two must still hold back launches and removals.
        message = f"{actor} took over fleet {own.fleet}: {'; '.join(differences)}"
        self._record(TookOver(actor=actor), _event(now, EventKind.TOOK_OVER, message, actor, None))
        if standing is None:
            chef.create_claim(own)
        else:
            chef.update_claim(own)
        return Done(
            message=f"fleet {own.fleet} is this installation's now; nothing launches for 5 minutes, "
            "and every removal needs approval",
            wakes=None,
        )

    def require_known(self, environment: EnvironmentName | None) -> None:
        """A typing error must not look like success.

        Raises:
            Stalled: there is no such environment.
        """
        if environment is None:
            return
        memory = self._journal.recall(self._clock.now())
        known = {
            *memory.environments,
            *(record.environment for record in memory.nodes.values()),
            *(condition.environment for condition in self._journal.conditions() if condition.environment),
            *(suspension.environment for suspension in memory.suspensions if suspension.environment),
        }
        if environment in known or (not known and is_environment_name(environment)):
            return
        near = difflib.get_close_matches(environment, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(sorted(known))}"
        raise Stalled(f"there is no environment {environment}", remedy=hint)

    def _record(self, fact: Fact, *events: Event) -> None:
        self._journal.record(self._clock.now(), fact)
        self._journal.append(*events)


def _chosen(target: str, current: Collection[Hold]) -> Hold:
    meant = [hold for hold in current if hold.digest.startswith(target)] if len(target) >= DIGEST_LENGTH_LEAST else []
    if len(meant) == 1:
        return meant[0]
    if not current:
        raise Stalled(f"nothing is held under {target}", remedy="nothing waits for approval now; see: hivequeen plan")
    listed = "; ".join(
        f"{hold.digest[:12]} ({', '.join(hold.environments) or 'all'}: {hold.message})" for hold in current
    )
    ambiguity = "more than one hold begins with" if meant else "nothing is held under"
    raise Stalled(f"{ambiguity} {target}", remedy=f"held now: {listed}")


def _event(at: datetime, kind: EventKind, message: str, actor: str, environment: EnvironmentName | None) -> Event:
    return Event(at=at, kind=kind.value, message=message, actor=actor, environment=environment)


def _scope(environment: EnvironmentName | None) -> frozenset[EnvironmentName] | None:
    return None if environment is None else frozenset({environment})
