"""`hivequeen why`: of one environment or one node, for everything done, awaited or blocked, the rule behind it. Pure.

Who asks gets statements instead of tables: each with its rule, commit, author, file and line, and what lifts or ends it.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from reconciler.errors import Stalled
from reconciler.model.conditions import Condition, ConditionType, Event
from reconciler.model.desired import Json
from reconciler.model.event_kinds import EventKind
from reconciler.model.names import EnvironmentName, NodeName
from reconciler.model.passes import Pass
from reconciler.ports import Journal
from reconciler.report import documents
from reconciler.report.documents import Document
from reconciler.report.picture import Picture
from reconciler.report.sentences import day
from reconciler.report.statements import Commits, Statement, Topic, Touched, nobody_knows, statement_document
from reconciler.report.why_environment import environment_statements
from reconciler.report.why_node import node_statements, node_summary

EVENTS_SEARCHED: Final = 1000
EVENTS_SHOWN: Final = 5

NOBODY_LOOKED: Final = "what EC2 and Chef say now, and what the next pass would do: only the journal was read"


def why(target: str, made: Pass | None, journal: Journal, now: datetime, touched: Touched = nobody_knows) -> Document:
    """Of an environment by its name, or of a node by any unique part of its name or id; also of one that is gone.

    Args:
        made: the newest picture of everything, or None.
        touched: asked once for each revision that something applied with.

    Raises:
        Stalled: nothing, or more than one node, is meant.
    """
    picture = Picture(made, journal.recall(now), journal.conditions())
    told = journal.events(limit=EVENTS_SEARCHED)
    environment, node = _find(target, picture, told, journal, now)
    about = journal.events(environment, limit=EVENTS_SEARCHED)
    if node is None:
        statements = (*environment_statements(environment, picture, now), *_end(environment, picture, about))
        summary, is_there = _environment_summary(environment, picture, about)
    else:
        about = _about(node, about)
        statements = tuple(node_statements(environment, node, picture, about, now))
        summary, is_there = node_summary(node, picture.node(environment, node), picture, about)
    commits = Commits(statements, touched, picture.endings, told)
    return {
        "at": documents.moment(now),
        "environment": environment,
        "node": node,
        "is_there": is_there,
        "summary": summary,
        "missing": list[Json](_missing(made)),
        "statements": [statement_document(one, commits) for one in _in_order(statements)],
        "events": documents.event_documents(about[-EVENTS_SHOWN:]),
    }


def _find(
    target: str, picture: Picture, told: Sequence[Event], journal: Journal, now: datetime
) -> tuple[EnvironmentName, NodeName | None]:
    """What is there; else what was."""
    try:
        return picture.find(target, now)
    except Stalled:
        if target in picture.names or len(picture.matching(target, now)) > 1:
            raise
        if journal.events(EnvironmentName(target), limit=1):
            return EnvironmentName(target), None
        part = target.removeprefix("i-")
        gone = {(one.environment, one.node) for one in told if one.environment and one.node and part in one.node}
        if not gone:
            raise
    names = sorted(name for _, name in gone if name is not None)
    if len(gone) > 1:
        listed = ", ".join(names[:5])
        raise Stalled(f"{target} is part of {len(gone)} former nodes' names", remedy=f"give more of one: {listed}")
    ((environment, node),) = gone
    assert environment is not None  # noqa: S101 - as it was chosen
    return environment, node


def _about(node: NodeName, events: Sequence[Event]) -> Sequence[Event]:
    """Those of the node, and the launches that name its instance."""
    instance_id = f"i-{node.rpartition('-')[2]}"
    return [one for one in events if one.node == node or instance_id in one.message]


def _missing(made: Pass | None) -> Iterator[str]:
    if made is None:
        yield NOBODY_LOOKED
        return
    for failure in made.failures:
        if failure.environment is None:
            yield f"what is so since the last pass failed ({failure.stage}: {failure.message})"


def _environment_summary(name: EnvironmentName, picture: Picture, events: Sequence[Event]) -> tuple[str, bool]:
    if name not in picture.names:
        gone = _torn_down(events)
        if gone is None:
            return f"{name} is not there, and nothing is known of it but its events", False
        return f"{name} is gone since {day(gone.at)}", False
    said = {one.type: one for one in picture.conditions if one.environment == name}
    ready = said.get(ConditionType.READY)
    if ready is None:
        return f"{name}: no pass has looked at it yet", True
    if ready.is_true:
        return f"{name} is ready: {ready.message}", True
    return f"{name} is not ready ({_spaced(ready)}): {ready.message}", True


def _end(name: EnvironmentName, picture: Picture, events: Sequence[Event]) -> Iterator[Statement]:
    """Of one that is gone: the receipt."""
    gone = _torn_down(events)
    if name not in picture.names and gone is not None:
        yield Statement(
            topic=Topic.ENDED,
            text=gone.message,
            rule="teardown",
            revision=gone.revision,
            actor=gone.actor,
            since=gone.at,
        )


def _torn_down(events: Sequence[Event]) -> Event | None:
    return next((event for event in reversed(events) if event.kind == EventKind.TORN_DOWN), None)


def _spaced(condition: Condition) -> str:
    """`TearingDown` → `tearing down`."""
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in condition.reason).strip()


def _in_order(statements: Sequence[Statement]) -> Sequence[Statement]:
    """By topic; each thing is said once."""
    topics = list(Topic)
    return sorted(dict.fromkeys(statements), key=lambda one: topics.index(one.topic))
