"""What `hivequeen why` says: one statement for each thing that is so, done, awaited or held, with its rule and origin."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, TypeAlias

from reconciler.model.actions import Action, Reason
from reconciler.model.commits import Commit
from reconciler.model.conditions import Event
from reconciler.model.event_kinds import EventKind
from reconciler.model.findings import Origin
from reconciler.model.memory import Ending
from reconciler.model.names import REVISION_SHOWN, RevisionId
from reconciler.model.plan import Blocked, Guard
from reconciler.report.documents import Document, moment
from reconciler.report.sentences import would_do

_ENDINGS: Final = (EventKind.ENDING_BEGAN, EventKind.TEARDOWN_BEGAN, EventKind.TORN_DOWN)


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
    revision: RevisionId | None = (
        None  # that it applied with, or the commit that ends it; perhaps only its first digits
    )
    actor: str = ""  # who asked for it, where that is not the commit's author
    live: str = ""
    wanted: str = ""
    since: datetime | None = None
    until: datetime | None = None
    remedy: str = ""
    details: tuple[str, ...] = ()  # what a hold holds, one thing each


# Of files, as an origin names them, the newest commit up to a revision that touched each; those that cannot be told
# are left out.
Touched: TypeAlias = Callable[[RevisionId, frozenset[str]], Mapping[str, Commit]]


def nobody_knows(_revision: RevisionId, _files: frozenset[str]) -> Mapping[str, Commit]:
    """`Touched` where there is no history to ask."""
    return {}


class Commits:
    """Who is behind a statement: the newest commit that touched its file. The one that applies may be anybody's."""

    def __init__(
        self, statements: Iterable[Statement], touched: Touched, endings: Iterable[Ending], events: Iterable[Event]
    ) -> None:
        files: dict[RevisionId, set[str]] = defaultdict(set)
        for one in statements:
            if one.origin is not None and one.revision is not None and len(one.revision) > REVISION_SHOWN:
                files[one.revision].add(one.origin.file)
        self._touched = {revision: touched(revision, frozenset(names)) for revision, names in files.items()}
        # Who deleted a file is no part of what is declared, but of its ending.
        self._endings = {
            event.revision[:REVISION_SHOWN]: (event.revision, event.actor)
            for event in events
            if event.kind in _ENDINGS and event.revision and event.actor
        }
        self._endings.update(
            (one.revision[:REVISION_SHOWN], (one.revision, one.author)) for one in endings if one.author
        )

    def behind(self, statement: Statement) -> tuple[RevisionId | None, str]:
        """The commit and its author; None and "" where they cannot be told."""
        if statement.revision is None:
            return None, ""
        if statement.origin is None:
            return self._endings.get(statement.revision[:REVISION_SHOWN], (None, ""))
        found = self._touched.get(statement.revision, {}).get(statement.origin.file)
        return (found.revision, found.author) if found is not None else (None, "")


def statement_document(statement: Statement, commits: Commits) -> Document:
    origin, (commit, author) = statement.origin, commits.behind(statement)
    return {
        "topic": statement.topic.value,
        "text": statement.text,
        "rule": statement.rule or None,
        "file": origin.file if origin else None,
        "line": origin.line if origin else None,
        "revision": statement.revision,
        "commit": commit,
        "author": author or None,
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
