"""How actions and counts read in a sentence, for people who do not know the words of EC2 and Chef."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import assert_never

from reconciler.model.actions import (
    Action,
    DeleteChefClient,
    DeleteChefEnvironment,
    DeleteChefNode,
    DeleteChefRole,
    EnsureChefEnvironment,
    EnsureChefNode,
    EnsureChefRole,
    LaunchNodes,
    ReplaceNode,
    ReplayLaunch,
    StartNode,
    StopNode,
    TagNode,
    TerminateNode,
)
from reconciler.model.memory import Ending, EndingCause
from reconciler.model.passes import Outcome, Result
from reconciler.model.plan import Blocked

LISTED_MAX = 5


def nodes_of(count: int, role: str = "") -> str:
    """`1 web node`, `2 nodes`."""
    return f"{count} {f'{role} ' if role else ''}node{'' if count == 1 else 's'}"


def listed(parts: Iterable[str]) -> str:
    """Joined by semicolons, the first few of them."""
    known = [part for part in parts if part]
    more = [f"and {len(known) - LISTED_MAX} more"] if len(known) > LISTED_MAX else []
    return "; ".join([*known[:LISTED_MAX], *more])


def held_because(blocked: Blocked) -> str:
    """The guard's message, with who is behind it and until when, where it does not say so itself."""
    asked = blocked.actor and blocked.actor not in blocked.message
    parts = [
        f"asked for by {blocked.actor}" if asked else "",
        f"until {day(blocked.until)}" if blocked.until and not _says(blocked.message, blocked.until) else "",
    ]
    rest = ", ".join(part for part in parts if part)
    return f"{blocked.message} ({rest})" if rest else blocked.message


def why_it_ends(ending: Ending) -> str:
    """With the commit. Of an expiry only where that is known which the lifetime counts from: no commit is at fault."""
    is_known = bool(ending.author) or ending.cause is EndingCause.REMOVED
    return f"{ending.why} ({ending.revision[:8]})" if is_known else ending.why


def day(at: datetime) -> str:
    """`2026-11-23 12:00 UTC`: to the minute, for people."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _says(message: str, at: datetime) -> bool:
    return f"{at.astimezone(UTC):%H:%M}" in message


def would_do(actions: Sequence[Action]) -> list[str]:
    return [_doing(action) for action in actions]


def not_done(outcome: Outcome) -> str:  # noqa: C901, PLR0911, PLR0912 -- one line per kind of action
    """`web could not be launched`: how a trouble begins, for those who declare environments and know no API."""
    action = outcome.action
    may_be = "may not have been" if outcome.result is Result.UNKNOWN else "could not be"
    match action:
        case LaunchNodes() | ReplayLaunch():
            return f"{action.role} {may_be} launched"
        case ReplaceNode():
            return f"the node to replace {action.node} {may_be} launched"
        case TerminateNode():
            return f"{action.node} {may_be} terminated"
        case StopNode():
            return f"{action.node} {may_be} stopped"
        case StartNode():
            return f"{action.node} {may_be} started"
        case TagNode():
            return f"tags of {action.node} {may_be} corrected"
        case EnsureChefEnvironment():
            return f"Chef environment {action.wanted.name} {may_be} written"
        case EnsureChefRole():
            return f"Chef role {action.wanted.name} {may_be} written"
        case EnsureChefNode():
            return f"Chef node {action.node} {may_be} corrected"
        case DeleteChefNode() | DeleteChefClient():
            return f"Chef {'node' if isinstance(action, DeleteChefNode) else 'client'} {action.node} {may_be} deleted"
        case DeleteChefRole():
            return f"Chef role {action.chef_role} {may_be} deleted"
        case DeleteChefEnvironment():
            return f"Chef environment {action.chef_environment} {may_be} deleted"
        case _ as unreachable:
            assert_never(unreachable)


def _doing(action: Action) -> str:  # noqa: C901, PLR0911, PLR0912 -- one line per kind of action
    match action:
        case LaunchNodes():
            return f"launching {nodes_of(action.count, action.role)}"
        case ReplayLaunch():
            count = action.intent.parameters.count
            return f"asking again for {nodes_of(count, action.role)} whose launch went unanswered"
        case ReplaceNode():
            return f"replacing {action.node} ({action.change})"
        case TerminateNode():
            return f"terminating {action.node}"
        case StopNode():
            return f"stopping {action.node}"
        case StartNode():
            return f"starting {action.node}"
        case TagNode():
            return f"correcting tags of {action.node}"
        case EnsureChefEnvironment():
            return "writing its Chef environment"
        case EnsureChefRole():
            return f"writing Chef role {action.wanted.name}"
        case EnsureChefNode():
            return f"correcting Chef node {action.node}"
        case DeleteChefNode():
            return f"deleting Chef node {action.node}"
        case DeleteChefClient():
            return f"deleting Chef client {action.node}"
        case DeleteChefRole():
            return f"deleting Chef role {action.chef_role}"
        case DeleteChefEnvironment():
            return f"deleting Chef environment {action.chef_environment}"
        case _ as unreachable:
            assert_never(unreachable)
