"""What `hivequeen why` says: one statement for each thing that is so, done, awaited or held, with its rule and origin."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from reconciler.model.actions import Action, Reason
from reconciler.model.conditions import Event
from reconciler.model.event_kinds import EventKind
from reconciler.model.findings import Origin
from reconciler.model.memory import Memory
from reconciler.model.names import RevisionId
from reconciler.model.passes import Pass
from reconciler.model.plan import Blocked, Guard
from reconciler.report.documents import Document, moment
from reconciler.report.sentences import would_do

SHORT: Final = 8  # digits of a revision in a reason's text


class Topic(StrEnum):
    """What a statement is about, in the order in which a person would ask."""

    DECLARED = "declared"  # which file asks for it
    FROZEN = "frozen"  # its file cannot be trusted
    ENDING = "ending"
    EXPIRES = "expires"
    LAUNCHED = "launched"
    NOW = "now"  # the phase of a node
    ROLE = "role"
    DRIFT = "drift"
    DOING = "doing"
    SUSPENDED = "suspended"
    HELD = "held"
    WAITING = "waiting"
    STALLED = "stalled"
    POLICY = "policy"
    APPROVED = "approved"
    CHEF = "chef"
    ENDED = "ended"  # why a node went


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What does not apply, or is not known, is None or empty."""

    topic: Topic
    text: str
    rule: str = ""
    origin: Origin | None = None
    revision: RevisionId | None = None  # perhaps only its first digits
    actor: str = ""  # who is behind it, where that is not the revision's author
    live: str = ""
    wanted: str = ""
    since: datetime | None = None
    until: datetime | None = None
    remedy: str = ""
    details: tuple[str, ...] = ()  # what a hold holds, one thing each


class Authors:
    """Who made which revision, as far as passes and events have told."""

    def __init__(self, made: Pass | None, memory: Memory, events: Iterable[Event]) -> None:
        known: dict[str, str] = {
            event.revision[:SHORT]: event.actor
            for event in events
            if event.kind == EventKind.REVISION_APPLIED and event.revision and event.actor
        }
        for environment in memory.environments.values():
            if environment.ending is not None and environment.ending.author:
                known[environment.ending.revision[:SHORT]] = environment.ending.author
        if made is not None and made.commit is not None:
            known[made.commit.revision[:SHORT]] = made.commit.author
        self._known: Mapping[str, str] = known

    def of(self, revision: RevisionId | None) -> str:
        """ "" where nobody knows."""
        return self._known.get(revision[:SHORT], "") if revision else ""


def statement_document(statement: Statement, authors: Authors) -> Document:
    origin = statement.origin
    return {
        "topic": statement.topic.value,
        "text": statement.text,
        "rule": statement.rule or None,
        "file": origin.file if origin else None,
        "line": origin.line if origin else None,
        "revision": statement.revision,
        "author": authors.of(statement.revision) or None,
        "actor": statement.actor or None,
        "live": statement.live or None,
        "wanted": statement.wanted or None,
        "since": moment(statement.since),
        "until": moment(statement.until),
        "remedy": statement.remedy or None,
        "details": list(statement.details),
    }


def of_action(topic: Topic, action: Action) -> Statement:
    reason, doing = action.reason, would_do([action])[0]
    return Statement(
        topic=topic,
        text=doing if reason.detail in doing else f"{doing}: {reason.detail}",
        rule=reason.rule,
        origin=reason.origin,
        revision=reason.revision,
    )


def of_hold(
    blocked: Blocked, actions: Sequence[Action], since: datetime | None, *, revision: RevisionId | None = None
) -> Statement:
    """A guard's verdict, and which of these actions it holds."""
    topic = {Guard.GRACE: Topic.ENDING, Guard.SUSPENDED: Topic.SUSPENDED}.get(blocked.guard, Topic.HELD)
    return Statement(
        topic=topic,
        text=blocked.message,
        rule=blocked.guard.value,
        revision=revision,
        actor=blocked.actor,
        since=since,
        until=blocked.until,
        remedy=blocked.remedy,
        details=tuple(
            doing if action.reason.detail in blocked.message else f"{doing}, {action.reason}"
            for action, doing in zip(actions, would_do(actions), strict=True)
        ),
    )


_REASON = re.compile(
    r"(?P<rule>[a-z][a-z ]*): (?P<detail>.*?)"
    r"(?: \((?:(?P<file>[^()]+):(?P<line>[1-9]\d*))?(?:(?:(?<=\d) |(?<=\())at (?P<revision>[0-9a-f]{1,8}))?\))?"
)


def reason_in(message: str) -> Reason | None:
    """The reason at the end of an event's message, `asked EC2 to … (count: web.count 4 → 2 (…:12 at 3f2a91c0))`."""
    if not message.endswith(")"):
        return None
    for start in (found.end() for found in re.finditer(r" \(", message)):
        found = _REASON.fullmatch(message, start, len(message) - 1)
        if found is not None:
            file, line, revision = found["file"], found["line"], found["revision"]
            return Reason(
                rule=found["rule"],
                detail=found["detail"],
                origin=Origin(file=file, line=int(line)) if file else None,
                revision=RevisionId(revision) if revision else None,
            )
    return None
