"""Writing facts. Each kind says here exactly what it changes; all of one call are one transaction.

A fact about something that is not remembered (a node forgotten meanwhile) changes nothing.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final, TypeAlias, assert_never

from sqlalchemy import Connection, and_, delete, func, literal, or_, select, update
from sqlalchemy.dialects.sqlite import insert

from reconciler.adapters.journal import rows
from reconciler.adapters.journal.life import record_life
from reconciler.adapters.journal.recall import ROLLING_HOUR
from reconciler.adapters.journal.tables import (
    Moment,
    approvals,
    backoffs,
    exhausted,
    facts,
    intents,
    nodes,
    orphans,
    pins,
    settled,
    suspensions,
    teardowns,
    terminations,
    troubles,
)
from reconciler.adapters.journal.writing import put, put_first, say
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
from reconciler.model.memory import Blindness, Cause, Intent, IntentState, NodeRecord
from reconciler.model.names import InstanceId, node_name

_COUNTED: Final = tuple(cause.value for cause in Cause if cause.is_counted)

# A settled intent outlives its nodes by this much: long enough to answer "who launched that?" after a bad week.
INTENTS_KEPT: Final = timedelta(days=7)
BLINDNESSES_KEPT: Final = 100  # each lasts a minute or more: no node boots for so long
SUSPENSIONS_KEPT: Final = timedelta(days=365)  # after their end
TERMINATIONS_KEPT: Final = timedelta(hours=24)  # the limits look back one hour only

MarkFact: TypeAlias = NodeMissing | NodeOdd | NodeFailed | NodeReady | NodeGone
NodeFact: TypeAlias = NodeSeen | MarkFact | NodeForgotten | RegistrationDeferred | FirstRunReported | TerminationAsked
RoleFact: TypeAlias = (
    RoleSettled
    | ImagePinned
    | RoleTroubled
    | RoleRecovered
    | OfferingExhausted
    | EnvironmentFailed
    | EnvironmentRecovered
)
# The column that keeps the first moment of each.
MARKS: Final[Mapping[type[MarkFact], str]] = MappingProxyType(
    {
        NodeMissing: "missing_since",
        NodeOdd: "odd_since",
        NodeFailed: "failed_at",
        NodeReady: "ready_at",
        NodeGone: "gone_at",
    }
)

PersonFact: TypeAlias = Suspended | Resumed | Approved | TookOver


def record(connection: Connection, at: datetime, fact: Fact) -> None:
    match fact:
        case (
            RevisionApplied()
            | EnvironmentEnding()
            | EndingCancelled()
            | ExpiryNoticed()
            | TeardownBegan()
            | TeardownItems()
            | TeardownEnded()
        ):
            record_life(connection, at, fact)
        case OrphanSighted(item=item):
            put_first(connection, orphans, rows.item_key(item), {"sighted_at": at})
        case OrphanCleared(item=item):
            is_it = and_(orphans.c.kind == item.kind.value, orphans.c.name == item.name)
            connection.execute(delete(orphans).where(is_it))
        case IntentOpened() | IntentLaunched() | IntentEnded():
            _intent(connection, at, fact)
        case (
            NodeSeen()
            | NodeMissing()
            | NodeOdd()
            | NodeFailed()
            | NodeReady()
            | NodeGone()
            | NodeForgotten()
            | RegistrationDeferred()
            | FirstRunReported()
            | TerminationAsked()
        ):
            _node(connection, at, fact)
        case (
            RoleSettled()
            | ImagePinned()
            | RoleTroubled()
            | RoleRecovered()
            | OfferingExhausted()
            | EnvironmentFailed()
            | EnvironmentRecovered()
        ):
            _role(connection, fact)
        case Suspended() | Resumed() | Approved() | TookOver():
            _person(connection, at, fact)
        case SightedAgain():
            _see_again(connection, at, fact)
        case Looked():
            say(connection, "looked_at", _text(at))
        case _ as unreachable:
            assert_never(unreachable)


def drop_expired(connection: Connection, at: datetime) -> None:
    """What nothing reads any more."""
    wanted = select(nodes.c.intent).where(nodes.c.intent.is_not(None))
    connection.execute(
        delete(intents).where(
            intents.c.state != IntentState.OPEN.value,
            intents.c.settled_at < at - INTENTS_KEPT,
            intents.c.token.not_in(wanted),
        )
    )
    connection.execute(delete(terminations).where(terminations.c.at < at - TERMINATIONS_KEPT))
    connection.execute(delete(teardowns).where(teardowns.c.at < at - TERMINATIONS_KEPT))
    connection.execute(delete(approvals).where(approvals.c.expires_at <= at))
    # A clock that jumps ahead for one pass must not end a suspension for good.
    connection.execute(delete(suspensions).where(suspensions.c.until <= at - SUSPENSIONS_KEPT))
    connection.execute(delete(exhausted).where(exhausted.c.until <= at))


def _intent(connection: Connection, at: datetime, fact: IntentOpened | IntentLaunched | IntentEnded) -> None:
    match fact:
        case IntentOpened(intent=intent):
            _open(connection, intent)
        case IntentLaunched():
            _launched(connection, at, fact)
        case IntentEnded(token=token, state=state, message=message):
            # Only an open one: instances that were found meanwhile are not talked away.
            # One that stays open for what it may have launched keeps the first moment.
            settled_at = func.coalesce(intents.c.settled_at, literal(at, Moment)) if state is IntentState.OPEN else at
            connection.execute(
                update(intents)
                .where(intents.c.token == token, intents.c.state == IntentState.OPEN.value)
                .values(state=state.value, settled_at=settled_at, user_data="", message=message)
            )
        case _ as unreachable:
            assert_never(unreachable)


def _open(connection: Connection, intent: Intent) -> None:
    """Once; opened again before a replay it only says when: a replay must not differ in a byte."""
    opened = insert(intents).values(
        token=intent.token,
        environment=intent.environment,
        role=intent.role,
        parameters=rows.parameters_text(intent.parameters),
        user_data=intent.parameters.user_data if intent.state is IntentState.OPEN else "",
        opened_at=intent.opened_at,
        attempted_at=intent.attempted_at,
        state=intent.state.value,
        instance_ids=rows.instance_ids_text(intent.instance_ids),
        settled_at=intent.settled_at,
        message="",
    )
    again = {"attempted_at": opened.excluded.attempted_at}
    connection.execute(opened.on_conflict_do_update(index_elements=["token"], set_=again))


def _launched(connection: Connection, at: datetime, fact: IntentLaunched) -> None:
    """A closed intent whose instances turn up after all has launched; what a listing adds is added."""
    row = connection.execute(select(intents).where(intents.c.token == fact.token)).first()
    if row is None:
        return
    known = rows.instance_ids(row.instance_ids)
    connection.execute(
        update(intents)
        .where(intents.c.token == fact.token)
        .values(
            state=IntentState.LAUNCHED.value,
            instance_ids=rows.instance_ids_text(dict.fromkeys((*known, *fact.instance_ids))),
            settled_at=row.settled_at or at,
            user_data="",
        )
    )
    for instance_id in dict.fromkeys(fact.instance_ids):
        first_sight = NodeRecord(
            instance_id=instance_id,
            environment=row.environment,
            role=row.role,
            name=node_name(row.environment, row.role, instance_id),
            intent=fact.token,
            launched_at=at,
            seen_at=at,
        )
        connection.execute(insert(nodes).values(**rows.node_columns(first_sight)).on_conflict_do_nothing())


def _node(connection: Connection, at: datetime, fact: NodeFact) -> None:
    match fact:
        case NodeSeen(record=node):
            _see(connection, node)
        case NodeMissing() | NodeOdd() | NodeFailed() | NodeReady() | NodeGone():
            _mark_first(connection, fact.instance_id, MARKS[type(fact)], at)
        case NodeForgotten(instance_id=instance_id):
            connection.execute(delete(nodes).where(nodes.c.instance_id == instance_id))
        case RegistrationDeferred(instance_id=instance_id):
            connection.execute(update(nodes).where(nodes.c.instance_id == instance_id).values(deferred_at=at))
        case FirstRunReported(instance_id=instance_id, ok=ok, log=log):
            connection.execute(
                update(nodes).where(nodes.c.instance_id == instance_id).values(first_run_ok=ok, first_run_log=log)
            )
        case TerminationAsked():
            _ask_termination(connection, at, fact)
        case _ as unreachable:
            assert_never(unreachable)


def _see(connection: Connection, node: NodeRecord) -> None:
    """Insert or update: the first sight, and whatever is known of registration and readiness, stay as they are."""
    kept = ("public_key", "registered_at", "deferred_at", "ready_at", "intent")
    unmarked = {"missing_since": None, "odd_since": None, "gone_at": None}
    offered = insert(nodes).values(**{**rows.node_columns(node), **unmarked})
    new = offered.excluded
    has_reported = nodes.c.first_run_ok.is_not(None)
    connection.execute(
        offered.on_conflict_do_update(
            index_elements=["instance_id"],
            set_={
                **{name: new[name] for name in ("environment", "role", "name", "launched_at", "failed_at")},
                **{name: func.coalesce(nodes.c[name], new[name]) for name in kept},
                "first_run_log": func.iif(has_reported, nodes.c.first_run_log, new.first_run_log),
                "first_run_ok": func.coalesce(nodes.c.first_run_ok, new.first_run_ok),
                **unmarked,
            },
        )
    )


def _mark_first(connection: Connection, instance_id: InstanceId, column: str, at: datetime) -> None:
    connection.execute(
        update(nodes).where(nodes.c.instance_id == instance_id, nodes.c[column].is_(None)).values({column: at})
    )


def _ask_termination(connection: Connection, at: datetime, fact: TerminationAsked) -> None:
    """One that counts does so once an hour, whatever it is asked for again; one that does not gives way to any other."""
    asked = insert(terminations).values(
        instance_id=fact.instance_id, environment=fact.environment, cause=fact.cause.value, at=at
    )
    new = asked.excluded
    connection.execute(
        asked.on_conflict_do_update(
            index_elements=["instance_id"],
            set_={"environment": new.environment, "cause": new.cause, "at": new.at},
            where=or_(terminations.c.at <= at - ROLLING_HOUR, terminations.c.cause.not_in(_COUNTED)),
        )
    )


def _role(connection: Connection, fact: RoleFact) -> None:
    match fact:
        case RoleSettled(environment=environment, role=role, count=count):
            put(connection, settled, {"environment": environment, "role": role}, {"count": count})
        case ImagePinned(environment=environment, role=role, pin=pin):
            key = {"environment": environment, "role": role}
            put(connection, pins, key, {"source": pin.source, "image": pin.image})
        case RoleTroubled(trouble=trouble):
            put(
                connection,
                troubles,
                {"environment": trouble.environment, "role": trouble.role},
                rows.trouble_columns(trouble),
            )
        case RoleRecovered(environment=environment, role=role):
            is_it = and_(troubles.c.environment == environment, troubles.c.role == role)
            connection.execute(delete(troubles).where(is_it))
        case OfferingExhausted(exhausted=offering):
            key = {"instance_type": offering.instance_type, "subnet": offering.subnet}
            put(connection, exhausted, key, {"until": offering.until})
        case EnvironmentFailed(backoff=backoff):
            put(
                connection,
                backoffs,
                {"environment": backoff.environment},
                {"failures": backoff.failures, "until": backoff.until, "message": backoff.message},
            )
        case EnvironmentRecovered(environment=environment):
            connection.execute(delete(backoffs).where(backoffs.c.environment == environment))
        case _ as unreachable:
            assert_never(unreachable)


def _person(connection: Connection, at: datetime, fact: PersonFact) -> None:
    match fact:
        case Suspended(suspension=suspension):
            put(
                connection,
                suspensions,
                {"environment": rows.scope_key(suspension.environment)},
                {
                    "reason": suspension.reason,
                    "actor": suspension.actor,
                    "since": suspension.since,
                    "until": suspension.until,
                },
            )
        case Resumed(environment=environment):
            key = rows.scope_key(environment)
            connection.execute(delete(suspensions).where(suspensions.c.environment == key))
            afresh = update(troubles).values(failed=rows.failed_text(()), is_halted=False, retry_at=None, since=at)
            at_once = delete(backoffs)
            if environment is not None:
                afresh = afresh.where(troubles.c.environment == environment)
                at_once = at_once.where(backoffs.c.environment == environment)
            connection.execute(at_once)
            connection.execute(afresh)
        case Approved(approval=approval):
            put(
                connection,
                approvals,
                {"digest": approval.digest},
                {
                    "removals": rows.removals_text(approval.removals),
                    "actor": approval.actor,
                    "at": approval.at,
                    "expires_at": approval.expires_at,
                },
            )
        case TookOver():
            say(connection, "taken_over_at", _text(at))
            connection.execute(delete(pins))  # whoever owned the fleet meanwhile may have refreshed them
        case _ as unreachable:
            assert_never(unreachable)


def _see_again(connection: Connection, at: datetime, fact: SightedAgain) -> None:
    say(connection, "sighted_again_at", _text(at))
    if fact.since is None:
        return
    text = connection.execute(select(facts.c.value).where(facts.c.name == "blindnesses")).scalar()
    known = (*rows.blindnesses(text), Blindness(began_at=fact.since, ended_at=at))
    say(connection, "blindnesses", rows.blindnesses_text(known[-BLINDNESSES_KEPT:]))


def _text(at: datetime) -> str:
    return at.isoformat()
