"""Why a node is there, why it is as it is, and why it goes, stays or went."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from reconciler.model import tags
from reconciler.model.conditions import Event
from reconciler.model.event_kinds import EventKind
from reconciler.model.memory import Intent, NodeRecord
from reconciler.model.names import EnvironmentName, NodeName, RevisionId
from reconciler.model.observed import Node, Phase
from reconciler.model.plan import Blocked, EnvironmentPlan, Guard
from reconciler.report.documents import JUST_LAUNCHED, phase_in_words, phase_of
from reconciler.report.holds import held_since
from reconciler.report.picture import Picture
from reconciler.report.sentences import day
from reconciler.report.statements import Statement, Topic, of_action, of_hold, reason_in
from reconciler.report.why_environment import holds, stalls, waits

_LAUNCHES = (EventKind.NODES_LAUNCHED, EventKind.NODE_REPLACING)


def node_summary(name: NodeName, node: Node | None, picture: Picture, events: Sequence[Event]) -> tuple[str, bool]:
    """In a sentence, and whether it is there as far as anybody knows."""
    if node is not None:
        words = {Phase.TERMINATING: "is going", Phase.FAILED: "has failed"}
        return f"{name} {words.get(node.phase, f'is {node.phase}')}", True
    gone = _newest(events, EventKind.NODE_GONE)
    if gone is not None:
        return f"{name} is gone since {day(gone.at)}", False
    is_known = any(one.name == name for one in picture.memory.nodes.values())
    return (f"{name} is new" if picture.made and is_known else f"{name}: what is remembered of it"), is_known


def node_statements(
    environment: EnvironmentName, name: NodeName, picture: Picture, events: Sequence[Event], now: datetime
) -> Iterator[Statement]:
    """
    Args:
        events: those about the node, oldest first.
    """
    node = picture.node(environment, name)
    record = next((one for one in picture.memory.nodes.values() if one.name == name), None)
    plan = picture.plan(environment)
    yield _launch(node, record, picture, events)
    if node is not None:
        yield _phase(node, record, events)
        if plan is not None:
            yield from _drift(node, plan, picture)
            yield from _fate(node, plan, picture, now)
        yield from _chef(node, record)
    elif record is not None and record.gone_at is None:
        text = JUST_LAUNCHED if picture.made else f"{phase_of(record)} when it was last heard of"
        yield Statement(topic=Topic.NOW, text=text, since=record.ready_at or record.registered_at or record.launched_at)
    if node is None or node.phase is Phase.TERMINATING:
        yield from _endings(events)


# --- why it came ----------------------------------------------------------------------------------------------------


def _launch(node: Node | None, record: NodeRecord | None, picture: Picture, events: Sequence[Event]) -> Statement:
    intent = picture.memory.intents.get(record.intent) if record is not None and record.intent else None
    told = next((event for event in events if event.kind in _LAUNCHES), None)
    reason = reason_in(told.message) if told is not None else None
    at = node.instance.launched_at if node else record.launched_at if record else told.at if told else None
    revision = (reason.revision if reason else None) or _revision(node, intent) or (told.revision if told else None)
    text = "nobody here remembers its launch: it is older than this journal, or not ours"
    if reason is not None and told is not None:
        is_surge = told.kind == EventKind.NODE_REPLACING
        text = f"{told.message.partition(' (')[0]}, {reason.detail}" if is_surge else reason.detail
    elif intent is not None:
        text = "launched for its role; the event that said why is not kept any more"
    return Statement(
        topic=Topic.LAUNCHED,
        text=text,
        rule=reason.rule if reason else "",
        origin=reason.origin if reason else None,
        revision=told.revision
        if told and told.revision and revision and told.revision.startswith(revision)
        else revision,
        since=at,
        details=tuple(_as_what(node, intent)),
    )


def _revision(node: Node | None, intent: Intent | None) -> RevisionId | None:
    """Of its launch, as its tag says."""
    found = dict(intent.parameters.tags) if intent is not None else node.instance.tags if node is not None else {}
    revision = found.get(tags.REVISION)
    return RevisionId(revision) if revision else None


def _as_what(node: Node | None, intent: Intent | None) -> Iterator[str]:
    if node is not None:
        instance = node.instance
        yield f"{instance.instance_type} of {instance.image} in {instance.subnet or 'no subnet'}"
    elif intent is not None:
        wanted = intent.parameters
        yield f"{wanted.instance_type} of {wanted.image} in {wanted.subnet}"
    if intent is not None:
        yield f"intent {intent.token}"


# --- how it is ------------------------------------------------------------------------------------------------------


def _phase(node: Node, record: NodeRecord | None, events: Sequence[Event]) -> Statement:
    return Statement(
        topic=Topic.NOW,
        text=phase_in_words(node) or node.phase.value,
        rule=node.phase.value,
        since=_since(node, record, events),
        until=None if node.phase is Phase.FAILED else node.deadline_at,
    )


def _since(node: Node, record: NodeRecord | None, events: Sequence[Event]) -> datetime | None:
    asked = _newest(events, EventKind.NODE_TERMINATED)
    known = {
        Phase.PENDING: node.instance.launched_at,
        Phase.RUNNING: node.instance.launched_at,
        Phase.REGISTERED: record.registered_at if record else None,
        Phase.READY: record.ready_at if record else None,
        Phase.FAILED: node.failed_at,
        Phase.STOPPED: node.odd_since,
        Phase.TERMINATING: asked.at if asked else None,
        Phase.LOST: record.missing_since if record else None,
    }
    return known[node.phase]


def _drift(node: Node, plan: EnvironmentPlan, picture: Picture) -> Iterator[Statement]:
    declared = picture.declared(node.environment)
    role = declared.roles.get(node.role) if declared else None
    for one in plan.drifted.get(node.instance_id, ()):
        yield Statement(
            topic=Topic.DRIFT,
            text=f"{one.field}: {one.live or 'none'} → {one.wanted or 'none'}",
            rule="drift",
            origin=role.origin(one.field) if role else None,
            revision=picture.made.revision if picture.made else None,
            live=one.live,
            wanted=one.wanted,
        )


def _fate(node: Node, plan: EnvironmentPlan, picture: Picture, now: datetime) -> Iterator[Statement]:
    """What is done to it, what keeps that from being done, and what its role waits for."""
    mine = [action for action in plan.actions if getattr(action, "node", None) == node.name]
    for action in mine:
        yield of_action(Topic.DOING, action)
    keeping = [blocked for blocked in plan.blocked if _of(node, blocked)]
    for blocked in keeping:
        held = [action for action in blocked.actions if getattr(action, "node", None) == node.name]
        revision = plan.ending.revision if plan.ending and blocked.guard is Guard.GRACE else None
        since = held_since(blocked.guard, plan.name, picture.conditions)
        yield of_hold(blocked, held, since, revision=revision)
    # Suspensions and what holds everything keep whatever may be next from it as well.
    told = {blocked.message for blocked in keeping}
    for statement in holds(plan.name, picture, None):
        if statement.text not in told:
            yield statement
    is_drifted = node.instance_id in plan.drifted
    if is_drifted and not mine and not keeping:
        text = "it is replaced when its turn comes: one node after the other, the oldest first"
        yield Statement(topic=Topic.WAITING, text=text, rule="drift")
    if is_drifted or node.phase is not Phase.READY:
        yield from waits(plan, picture, now, role=node.role)
        yield from stalls(plan, picture, role=node.role, mention=node.instance_id)


def _of(node: Node, blocked: Blocked) -> bool:
    return any(getattr(action, "node", None) == node.name for action in blocked.actions)


def _chef(node: Node, record: NodeRecord | None) -> Iterator[Statement]:
    if record is not None and record.first_run_ok is False:
        text = f"its first Chef run failed; the end of its log: hivequeen show {node.name}"
        yield Statement(topic=Topic.CHEF, text=text, rule="first run")
    client = "it has its Chef client" if node.has_client else "it has no Chef client"
    if node.chef is None:
        yield Statement(topic=Topic.CHEF, text=f"Chef has no node of its name; {client}")
        return
    chef = node.chef
    ran_at = datetime.fromtimestamp(chef.ohai_time, tz=node.instance.launched_at.tzinfo) if chef.ohai_time else None
    run = f"last ran at {day(ran_at)}" if ran_at else "never ran to its end"
    stale = "; Chef has not heard of it lately, and it is never replaced for this" if node.is_stale else ""
    yield Statement(
        topic=Topic.CHEF,
        text=f"Chef {run}, in environment {chef.chef_environment} with {', '.join(chef.run_list) or 'no run list'}{stale}",
    )


# --- why it went ----------------------------------------------------------------------------------------------------


def _endings(events: Sequence[Event]) -> Iterator[Statement]:
    asked, gone = _newest(events, EventKind.NODE_TERMINATED), _newest(events, EventKind.NODE_GONE)
    if asked is not None:
        reason = reason_in(asked.message)
        statement = Statement(topic=Topic.ENDED, text=asked.message, since=asked.at, revision=asked.revision)
        if reason is not None:
            statement = replace(statement, text=reason.detail, rule=reason.rule, origin=reason.origin)
            if asked.revision is None or not asked.revision.startswith(reason.revision or ""):
                statement = replace(statement, revision=reason.revision)
        yield statement
    if gone is not None:
        text = "its instance was seen terminated" if asked else "its instance ended, and nobody here asked for it"
        yield Statement(topic=Topic.ENDED, text=text, since=gone.at)


def _newest(events: Sequence[Event], kind: EventKind) -> Event | None:
    return next((event for event in reversed(events) if event.kind == kind), None)
