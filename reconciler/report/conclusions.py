"""Events of what a pass concluded: nodes that became ready, failed or went, and environments that end. Pure."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final

from reconciler.model.conditions import Condition, ConditionType, Event
from reconciler.model.event_kinds import EventKind
from reconciler.model.facts import (
    EndingCancelled,
    EnvironmentEnding,
    ExpiryNoticed,
    Fact,
    IntentEnded,
    NodeFailed,
    NodeGone,
    NodeReady,
    RevisionApplied,
    RoleRecovered,
    RoleTroubled,
    TeardownBegan,
    TeardownEnded,
    TeardownItems,
)
from reconciler.model.memory import Ending, EndingCause, IntentState, ItemKind, KnownEnvironment, Trouble
from reconciler.model.names import EnvironmentName, InstanceId, IntentToken, NodeName, RevisionId
from reconciler.model.observed import Node
from reconciler.model.passes import Pass
from reconciler.model.plan import Guard
from reconciler.report.leaving import is_over, items_after
from reconciler.report.sentences import day, nodes_of, why_it_ends

NAMED_MAX: Final = 20  # things of one kind that a receipt names; the others are counted


def of_facts(made: Pass, before: Mapping[tuple[EnvironmentName | None, ConditionType], Condition]) -> Iterator[Event]:
    """In the order of the facts.

    Args:
        before: `Journal.conditions()` as it was.
    """
    work = _Conclusions(made, before)
    for fact in made.facts:
        yield from work.of(fact)


class _Conclusions:
    def __init__(self, made: Pass, before: Mapping[tuple[EnvironmentName | None, ConditionType], Condition]) -> None:
        self._made = made
        self._before = before
        self._plans = {plan.name: plan for plan in made.plan.environments} if made.plan else {}
        self._seen: dict[InstanceId, Node] = {}
        self._names: dict[InstanceId, tuple[EnvironmentName, NodeName]] = {}
        for environment in made.observed.environments.values() if made.observed else ():
            self._seen.update((node.instance_id, node) for node in environment.nodes)
            self._names.update((node.instance_id, (node.environment, node.name)) for node in environment.nodes)
            self._names.update((gone.instance_id, (gone.environment, gone.name)) for gone in environment.departed)
        self._found: dict[type[Fact], set[EnvironmentName]] = defaultdict(set)
        for fact in made.facts:
            if isinstance(fact, EnvironmentEnding | EndingCancelled | TeardownBegan):
                self._found[type(fact)].add(fact.environment)

    def of(self, fact: Fact) -> Iterator[Event]:  # noqa: C901, PLR0912 -- one case per kind of fact
        match fact:
            case RevisionApplied():
                yield from self._applied(fact)
            case NodeReady(instance_id=instance_id) if instance_id in self._names:
                yield self._of_node(EventKind.NODE_READY, instance_id, "is ready: its Chef run succeeded")
            case NodeFailed(instance_id=instance_id) if instance_id in self._seen:
                yield self._of_node(EventKind.NODE_FAILED, instance_id, self._failure(self._seen[instance_id]))
            case NodeGone(instance_id=instance_id) if instance_id in self._names:
                yield self._of_node(EventKind.NODE_GONE, instance_id, "was seen terminated")
            case IntentEnded(token=token, state=IntentState.CLOSED, message=message):
                yield from self._given_up(token, message)
            case RoleTroubled(trouble=trouble):
                yield from self._breaker_opened(trouble)
            case RoleRecovered():
                yield from self._breaker_closed(fact)
            case ExpiryNoticed(environment=name, notice=notice):
                message = f"{name} expires at {day(notice.expires_at)} → to keep it: hivequeen extend {name} 3d"
                yield self._event(EventKind.EXPIRING, message, name)
            case EnvironmentEnding():
                yield from self._ending_began(fact)
            case EndingCancelled(environment=name):
                if name not in self._found[EnvironmentEnding]:
                    yield from self._cancelled(name)
            case TeardownBegan(environment=name):
                yield self._of_ending(EventKind.TEARDOWN_BEGAN, name, f"{name} is being torn down")
            case TeardownEnded(environment=name) if not self._was_torn_down(name):
                yield self._of_ending(EventKind.TORN_DOWN, name, f"nothing of {name} is left", self._receipt(name))
            case _:
                pass

    # --- revisions and nodes ---

    def _applied(self, fact: RevisionApplied) -> Iterator[Event]:
        count = f"{len(fact.declared)} environment{'' if len(fact.declared) == 1 else 's'}"
        commit = self._made.commit
        author = commit.author if commit is not None and commit.revision == fact.revision else ""
        subject = f" ({' '.join(commit.subject.split())})" if commit is not None and author else ""
        message = f"revision {fact.revision[:8]} applies: {count}{subject}"
        yield self._event(EventKind.REVISION_APPLIED, message, None, revision=fact.revision, actor=author)
        for name in sorted(fact.declared):
            ending = self._ending(name)
            if ending is not None and ending.cause is EndingCause.REMOVED:
                yield from self._cancelled(name, author=author)

    def _failure(self, node: Node) -> str:
        plan = self._plans.get(node.environment)
        waiting = (one for one in plan.waiting if node.instance_id in one.message) if plan else iter(())
        until = next((one.until for one in waiting if one.until is not None), None)
        kept = f"; it is kept to be looked at until {day(until)}" if until else ""
        return f"failed: {node.why_failed or 'it never became ready'}{kept}"

    def _of_node(self, kind: EventKind, instance_id: InstanceId, message: str) -> Event:
        environment, node = self._names[instance_id]
        return self._event(kind, f"{node} {message}", environment, node=node)

    def _given_up(self, token: IntentToken, message: str) -> Iterator[Event]:
        intent = self._made.memory.intents.get(token) if self._made.memory else None
        if intent is not None:
            nodes = nodes_of(intent.parameters.count, intent.role)
            yield self._event(EventKind.LAUNCH_GIVEN_UP, f"launch of {nodes}: {message}", intent.environment)

    # --- breakers ---

    def _breaker_opened(self, trouble: Trouble) -> Iterator[Event]:
        """Once, not with each canary that fails after it."""
        old = self._made.memory.troubles.get((trouble.environment, trouble.role)) if self._made.memory else None
        if trouble.retry_at is None or trouble.is_halted or (old is not None and old.retry_at is not None):
            return
        stalled = self._before.get((trouble.environment, ConditionType.STALLED))
        was_open = stalled is not None and stalled.is_true and stalled.reason == "BreakerOpen"
        if was_open and old is not None and old.failures == trouble.failures:
            return  # a refused canary: it was counted when it was refused, and the plan has only said until when to wait
        message = (
            f"{trouble.role}: {nodes_of(trouble.failures)} or launches in a row failed: {trouble.message}; "
            f"from {day(trouble.retry_at)} on one node at a time is tried"
            f" → fix the cause and commit, or run hivequeen resume {trouble.environment}"
        )
        yield self._event(EventKind.BREAKER_OPENED, message, trouble.environment)

    def _breaker_closed(self, fact: RoleRecovered) -> Iterator[Event]:
        old = self._made.memory.troubles.get((fact.environment, fact.role)) if self._made.memory else None
        if old is not None and old.retry_at is not None:
            message = f"{fact.role}: a node became ready; all that lack are launched again"
            yield self._event(EventKind.BREAKER_CLOSED, message, fact.environment)

    # --- endings ---

    def _ending_began(self, fact: EnvironmentEnding) -> Iterator[Event]:
        """Not where the grace period is nothing: then the teardown begins at once, and says why."""
        name = fact.environment
        if name in self._found[TeardownBegan]:
            return
        plan = self._plans.get(name)
        grace = next((one for one in plan.blocked if one.guard is Guard.GRACE), None) if plan else None
        if grace is not None:
            message = f"{grace.message} → {grace.remedy}"
        else:
            ending = Ending(
                cause=fact.cause,
                at=self._made.started_at,
                revision=fact.revision,
                author=fact.author,
                file=fact.file,
            )
            is_there = plan is None or not plan.is_converged
            what = f"{name} is to be torn down" if is_there else f"nothing of {name} is there, and nothing is launched"
            message = f"{what}: {why_it_ends(ending)}"
        actor = _asked_by(fact)
        yield self._event(EventKind.ENDING_BEGAN, message, name, revision=fact.revision, actor=actor)

    def _cancelled(self, name: EnvironmentName, *, author: str = "") -> Iterator[Event]:
        known = self._known(name)
        has_begun = known is not None and known.teardown_began_at is not None
        left = "what was removed comes back anew" if has_begun else "nothing of it was removed"
        yield self._event(EventKind.ENDING_CANCELLED, f"{name} stays: {left}", name, actor=author)

    def _of_ending(self, kind: EventKind, name: EnvironmentName, what: str, more: str = "") -> Event:
        """With who asked for it, by which commit."""
        ending = self._ending(name)
        if ending is None:
            return self._event(kind, f"{what}{more}", name)
        message = f"{what}: {why_it_ends(ending)}{more}"
        return self._event(kind, message, name, revision=ending.revision, actor=_asked_by(ending))

    def _was_torn_down(self, name: EnvironmentName) -> bool:
        """It expired and has its receipt: now its file went too, and nothing more was removed."""
        known = self._known(name)
        return known is not None and is_over(known)

    def _receipt(self, name: EnvironmentName) -> str:
        """`; removed: 2 instances (i-…, i-…), 1 chef role (checkout-web); all seen gone at 2026-11-23 12:07 UTC`."""
        ending = self._ending(name)
        concluded = [fact for fact in self._made.facts if isinstance(fact, TeardownItems) and fact.environment == name]
        items = items_after(ending, concluded, self._made.started_at) if ending is not None else {}
        if not items:
            return "; there was nothing to remove"
        parts = []
        for kind in ItemKind:
            names = sorted(item.name for item in items if item.kind is kind)
            if names:
                more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
                parts.append(
                    f"{len(names)} {kind}{'' if len(names) == 1 else 's'} ({', '.join(names[:NAMED_MAX])}{more})"
                )
        moments = [at for at in items.values() if at is not None]
        unseen = len(items) - len(moments)
        when = f"; seen gone by {day(max(moments))}" if moments else ""
        return f"; removed: {', '.join(parts)}{when}{f', but for {unseen} of them nobody saw it go' if unseen else ''}"

    def _ending(self, name: EnvironmentName) -> Ending | None:
        plan, known = self._plans.get(name), self._known(name)
        return (plan.ending if plan else None) or (known.ending if known else None)

    def _known(self, name: EnvironmentName) -> KnownEnvironment | None:
        return self._made.memory.environments.get(name) if self._made.memory else None

    def _event(
        self,
        kind: EventKind,
        message: str,
        environment: EnvironmentName | None,
        *,
        node: NodeName | None = None,
        revision: RevisionId | None = None,
        actor: str = "",
    ) -> Event:
        return Event(
            at=self._made.ended_at,
            kind=kind.value,
            message=message,
            environment=environment,
            node=node,
            revision=revision or self._made.revision,
            actor=actor,
        )


def _asked_by(ending: Ending | EnvironmentEnding) -> str:
    """Nobody asked for an expiry: the commit is the one that the lifetime counts from."""
    return ending.author if ending.cause is EndingCause.REMOVED else ""
