"""The journal's meaning, written down a second time without a database: what each fact does to the memory."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from reconciler.model.facts import (
    Approved,
    EndingCancelled,
    EnvironmentEnding,
    EnvironmentFailed,
    EnvironmentRecovered,
    ExpiryNoticed,
    Fact,
    FirstRunReported,
    ImagePinned,
    IntentEnded,
    IntentLaunched,
    IntentOpened,
    Looked,
    NodeFailed,
    NodeForgotten,
    NodeGone,
    NodeMissing,
    NodeOdd,
    NodeReady,
    NodeSeen,
    OfferingExhausted,
    OrphanCleared,
    OrphanSighted,
    RegistrationDeferred,
    Resumed,
    RevisionApplied,
    RoleRecovered,
    RoleSettled,
    RoleTroubled,
    SightedAgain,
    Suspended,
    TeardownBegan,
    TeardownEnded,
    TeardownItems,
    TerminationAsked,
    TookOver,
)
from reconciler.model.memory import (
    Blindness,
    Ending,
    EndingCause,
    Exhausted,
    Intent,
    IntentState,
    KnownEnvironment,
    Memory,
    NodeRecord,
    Suspension,
    Termination,
)
from reconciler.model.names import EnvironmentName, InstallationId, InstanceId, RevisionId, node_name

HOUR = timedelta(hours=1)

Key = TypeVar("Key")
Value = TypeVar("Value")


class JournalModel:
    """Forgets nothing by itself; `recall` leaves out what has expired."""

    def __init__(self, installation: InstallationId) -> None:
        self.memory = Memory(installation=installation)
        self.terminations: dict[InstanceId, Termination] = {}
        self.suspensions: dict[EnvironmentName | None, Suspension] = {}

    def recall(self, now: datetime) -> Memory:
        memory = self.memory
        remembered = {node.intent for node in memory.nodes.values()}
        return replace(
            memory,
            intents={
                token: intent
                for token, intent in memory.intents.items()
                if intent.state is IntentState.OPEN or token in remembered
            },
            terminations=tuple(
                sorted(
                    (asked for asked in self.terminations.values() if asked.at > now - HOUR),
                    key=lambda asked: (asked.at, asked.instance_id),
                )
            ),
            teardowns={name: at for name, at in memory.teardowns.items() if at > now - HOUR},
            approvals=tuple(
                sorted(
                    (approval for approval in memory.approvals if approval.expires_at > now),
                    key=lambda approval: (approval.at, approval.digest),
                )
            ),
            suspensions=tuple(
                sorted(
                    (held for held in self.suspensions.values() if held.until is None or held.until > now),
                    key=lambda held: held.environment or "",
                )
            ),
            exhausted=tuple(
                sorted(
                    (offering for offering in memory.exhausted if offering.until > now),
                    key=lambda offering: (offering.instance_type, offering.subnet),
                )
            ),
        )

    def register(self, instance_id: InstanceId, public_key: str, at: datetime) -> str:
        record = self.memory.nodes[instance_id]
        if record.public_key is None:
            record = self._set_node(replace(record, public_key=public_key, registered_at=at))
        return record.public_key or ""

    def record(self, at: datetime, *facts: Fact) -> None:
        for fact in facts:
            self._record(at, fact)

    def _record(self, at: datetime, fact: Fact) -> None:  # noqa: C901, PLR0912, PLR0915 -- one case per kind of fact
        memory = self.memory
        match fact:
            case RevisionApplied(revision=revision, declared=declared):
                known = {name: self._declared(memory.environments.get(name), name, fact) for name in declared}
                self.memory = replace(
                    memory,
                    applied=revision,
                    environments={**memory.environments, **known},
                    approvals=tuple(
                        one for one in memory.approvals if one.digest != memory.applied or memory.applied == revision
                    ),
                )
            case IntentOpened(intent=intent):
                before = memory.intents.get(intent.token)
                self._set_intent(replace(before, attempted_at=intent.attempted_at) if before else intent)
            case IntentLaunched():
                self._launch(at, fact)
            case IntentEnded(token=token, state=state):
                open_intent = memory.intents.get(token)
                if open_intent is not None and open_intent.state is IntentState.OPEN:
                    stays_open = state is IntentState.OPEN
                    since = (open_intent.settled_at or at) if stays_open else at
                    self._set_intent(_settled(open_intent, state, since))
            case NodeSeen(record=record):
                self._see(record)
            case NodeMissing(instance_id=instance_id):
                if (node := memory.nodes.get(instance_id)) is not None:
                    self._set_node(replace(node, missing_since=node.missing_since or at))
            case NodeOdd(instance_id=instance_id):
                if (node := memory.nodes.get(instance_id)) is not None:
                    self._set_node(replace(node, odd_since=node.odd_since or at))
            case NodeFailed(instance_id=instance_id):
                if (node := memory.nodes.get(instance_id)) is not None:
                    self._set_node(replace(node, failed_at=node.failed_at or at))
            case NodeReady(instance_id=instance_id):
                if (node := memory.nodes.get(instance_id)) is not None:
                    self._set_node(replace(node, ready_at=node.ready_at or at))
            case NodeGone(instance_id=instance_id):
                if (node := memory.nodes.get(instance_id)) is not None:
                    self._set_node(replace(node, gone_at=node.gone_at or at))
            case NodeForgotten(instance_id=instance_id):
                self.memory = replace(memory, nodes=_without(memory.nodes, instance_id))
            case RegistrationDeferred(instance_id=instance_id):
                if (node := memory.nodes.get(instance_id)) is not None:
                    self._set_node(replace(node, deferred_at=at))
            case FirstRunReported(instance_id=instance_id, ok=ok, log=log):
                if (node := memory.nodes.get(instance_id)) is not None:
                    self._set_node(replace(node, first_run_ok=ok, first_run_log=log))
            case TerminationAsked(instance_id=instance_id, environment=environment, cause=cause):
                asked = self.terminations.get(instance_id)
                if asked is None or asked.at <= at - HOUR or not asked.cause.is_counted:
                    self.terminations[instance_id] = Termination(
                        instance_id=instance_id, environment=environment, cause=cause, at=at
                    )
            case EnvironmentEnding(environment=name, cause=cause, revision=revision, author=author, file=file):
                ending = Ending(cause=cause, at=at, revision=revision, author=author, file=file)
                one = self._known(name, revision)
                self._set_environment(replace(one, ending=one.ending or ending))
            case EndingCancelled(environment=name):
                if name in memory.environments:
                    self._set_environment(replace(memory.environments[name], ending=None, teardown_began_at=None))
            case ExpiryNoticed(environment=name, notice=notice):
                if name in memory.environments:
                    self._set_environment(replace(memory.environments[name], notice=notice))
            case TeardownBegan(environment=name, revision=revision):
                one = self._known(name, revision)
                if one.teardown_began_at is None:
                    self._set_environment(replace(one, teardown_began_at=at))
                    self.memory = replace(self.memory, teardowns={**memory.teardowns, name: at})
            case TeardownItems():
                self._list(at, fact)
            case TeardownEnded(environment=name):
                self._end(name)
            case OrphanSighted(item=item):
                self.memory = replace(memory, orphans={item: at, **memory.orphans})
            case OrphanCleared(item=item):
                self.memory = replace(memory, orphans=_without(memory.orphans, item))
            case RoleSettled(environment=name, role=role, count=count):
                self.memory = replace(memory, settled={**memory.settled, (name, role): count})
            case ImagePinned(environment=name, role=role, pin=pin):
                self.memory = replace(memory, pins={**memory.pins, (name, role): pin})
            case RoleTroubled(trouble=trouble):
                key = (trouble.environment, trouble.role)
                self.memory = replace(memory, troubles={**memory.troubles, key: trouble})
            case RoleRecovered(environment=name, role=role):
                self.memory = replace(memory, troubles=_without(memory.troubles, (name, role)))
            case OfferingExhausted(exhausted=offering):
                others = (o for o in memory.exhausted if (o.instance_type, o.subnet) != _key(offering))
                self.memory = replace(memory, exhausted=(*others, offering))
            case EnvironmentFailed(backoff=backoff):
                self.memory = replace(memory, backoffs={**memory.backoffs, backoff.environment: backoff})
            case EnvironmentRecovered(environment=name):
                self.memory = replace(memory, backoffs=_without(memory.backoffs, name))
            case Suspended(suspension=suspension):
                self.suspensions[suspension.environment] = suspension
            case Resumed(environment=scope):
                self._resume(at, scope)
            case Approved(approval=approval):
                rest = (known for known in memory.approvals if known.digest != approval.digest)
                self.memory = replace(memory, approvals=(*rest, approval))
            case TookOver():
                self.memory = replace(memory, taken_over_at=at, pins={})
            case Looked():
                self.memory = replace(memory, looked_at=at)
            case SightedAgain(since=since):
                new = (Blindness(began_at=since, ended_at=at),) if since is not None else ()
                blindnesses = (*memory.blindnesses, *new)[-100:]
                self.memory = replace(memory, sighted_again_at=at, blindnesses=blindnesses)

    def _launch(self, at: datetime, fact: IntentLaunched) -> None:
        intent = self.memory.intents.get(fact.token)
        if intent is None:
            return
        ids = tuple(dict.fromkeys((*intent.instance_ids, *fact.instance_ids)))
        self._set_intent(replace(_settled(intent, IntentState.LAUNCHED, intent.settled_at or at), instance_ids=ids))
        for instance_id in fact.instance_ids:
            if instance_id not in self.memory.nodes:
                self._set_node(
                    NodeRecord(
                        instance_id=instance_id,
                        environment=intent.environment,
                        role=intent.role,
                        name=node_name(intent.environment, intent.role, instance_id),
                        intent=intent.token,
                        launched_at=at,
                        seen_at=at,
                    )
                )

    def _see(self, seen: NodeRecord) -> None:
        known = self.memory.nodes.get(seen.instance_id)
        seen = replace(seen, missing_since=None, odd_since=None, gone_at=None)
        if known is None:
            self._set_node(seen)
            return
        has_reported = known.first_run_ok is not None
        self._set_node(
            replace(
                seen,
                seen_at=known.seen_at,
                intent=seen.intent if known.intent is None else known.intent,
                public_key=seen.public_key if known.public_key is None else known.public_key,
                registered_at=known.registered_at or seen.registered_at,
                deferred_at=known.deferred_at or seen.deferred_at,
                ready_at=known.ready_at or seen.ready_at,
                first_run_ok=known.first_run_ok if has_reported else seen.first_run_ok,
                first_run_log=known.first_run_log if has_reported else seen.first_run_log,
            )
        )

    def _resume(self, at: datetime, scope: EnvironmentName | None) -> None:
        self.suspensions.pop(scope, None)
        self.memory = replace(
            self.memory,
            backoffs=_without(self.memory.backoffs, scope) if scope else {},
            troubles={
                key: replace(trouble, failed=frozenset(), is_halted=False, retry_at=None, since=at)
                if scope in (None, key[0])
                else trouble
                for key, trouble in self.memory.troubles.items()
            },
        )

    def _declared(
        self, before: KnownEnvironment | None, name: EnvironmentName, fact: RevisionApplied
    ) -> KnownEnvironment:
        one = before or KnownEnvironment(name=name, declared_by=fact.revision)
        if not _is_expired(one):
            one = replace(one, ending=None, teardown_began_at=None)
        return replace(one, declared_by=fact.revision, is_protected=fact.protection.get(name, one.is_protected))

    def _known(self, name: EnvironmentName, revision: RevisionId) -> KnownEnvironment:
        return self.memory.environments.get(name) or KnownEnvironment(name=name, declared_by=revision)

    def _list(self, at: datetime, fact: TeardownItems) -> None:
        one = self.memory.environments.get(fact.environment)
        if one is None or one.ending is None:
            return
        items = dict(one.ending.items)
        for item in fact.found:
            items.setdefault(item, None)
        for item in fact.gone:
            items[item] = items.get(item) or at
        self._set_environment(replace(one, ending=replace(one.ending, items=items)))

    def _end(self, name: EnvironmentName) -> None:
        memory = self.memory
        self.memory = replace(
            memory,
            environments=_without(memory.environments, name),
            settled={key: count for key, count in memory.settled.items() if key[0] != name},
            pins={key: pin for key, pin in memory.pins.items() if key[0] != name},
            troubles={key: trouble for key, trouble in memory.troubles.items() if key[0] != name},
            backoffs=_without(memory.backoffs, name),
        )
        one = memory.environments.get(name)
        if one is not None and _is_expired(one) and one.declared_by == memory.applied:
            self._set_environment(replace(one, teardown_began_at=None))

    def _set_environment(self, one: KnownEnvironment) -> None:
        self.memory = replace(self.memory, environments={**self.memory.environments, one.name: one})

    def _set_node(self, record: NodeRecord) -> NodeRecord:
        self.memory = replace(self.memory, nodes={**self.memory.nodes, record.instance_id: record})
        return record

    def _set_intent(self, intent: Intent) -> None:
        self.memory = replace(self.memory, intents={**self.memory.intents, intent.token: intent})


def _is_expired(one: KnownEnvironment) -> bool:
    return one.ending is not None and one.ending.cause is EndingCause.EXPIRED


def _settled(intent: Intent, state: IntentState, at: datetime) -> Intent:
    """Its user-data goes: only a replay of an open intent needs it."""
    return replace(intent, state=state, settled_at=at, parameters=replace(intent.parameters, user_data=""))


def _key(offering: Exhausted) -> tuple[str, str]:
    return offering.instance_type, offering.subnet


def _without(mapping: Mapping[Key, Value], key: Key) -> dict[Key, Value]:
    return {name: value for name, value in mapping.items() if name != key}
