"""Events: what one pass did and what changed by it, once each. Pure.

An event is made of what was *done* (outcomes), of what was *concluded* (facts), and of conditions that *changed*. So a
trouble that stays the same from pass to pass is told once.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final, assert_never

from reconciler.model import tags
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
from reconciler.model.conditions import Condition, ConditionType, Event
from reconciler.model.event_kinds import EventKind
from reconciler.model.names import EnvironmentName
from reconciler.model.passes import Outcome, Pass, Result
from reconciler.report.conclusions import of_facts
from reconciler.report.reasons import READ_ONLY
from reconciler.report.sentences import nodes_of

# What it is called when a condition becomes true, and when it ends; None: nothing to tell.
_TURNS: Final[Mapping[ConditionType, tuple[EventKind, EventKind | None, str]]] = MappingProxyType(
    {
        ConditionType.READY: (EventKind.READY, None, ""),
        ConditionType.STALLED: (EventKind.STALLED, EventKind.UNSTALLED, "nothing waits for a person any more"),
        ConditionType.HELD: (EventKind.HELD, EventKind.HOLD_LIFTED, "nothing is held back any more"),
        ConditionType.SUSPENDED: (EventKind.SUSPENDED_BY_FILE, EventKind.SUSPENSION_ENDED, "not suspended any more"),
        ConditionType.STALE: (EventKind.NODES_STALE, EventKind.NODES_HEARD, "Chef hears of every node again"),
        ConditionType.LOST: (EventKind.NODES_LOST, EventKind.NODES_FOUND, "no node is out of sight any more"),
        ConditionType.NOT_OWNER: (EventKind.NOT_OWNER, EventKind.OWNER, "the claim is this installation's"),
        ConditionType.DEGRADED: (EventKind.DEGRADED, EventKind.RECOVERED, "works again"),
    }
)

# The mode, somebody else's claim, or a suspension of everything: environments share these reasons of Suspended.
_OF_EVERYTHING: Final = frozenset({*READ_ONLY.values(), "EverythingByPerson"})

# What somebody should see who reads the log at level warning.
TROUBLES: Final = frozenset(
    {
        EventKind.STALLED,
        EventKind.BREAKER_OPENED,
        EventKind.NODE_FAILED,
        EventKind.HELD,
        EventKind.NODES_LOST,
        EventKind.NOT_OWNER,
        EventKind.DEGRADED,
    }
)


def _subject(condition: Condition) -> tuple[str, str]:
    """What makes it another trouble: a failing API, a hold that grows old and a breaker's tries word the same one
    differently each time."""
    match condition.type:
        case ConditionType.STALLED if condition.reason != "BreakerOpen":
            return condition.reason, condition.message
        case ConditionType.HELD:
            return condition.reason, condition.remedy
        case ConditionType.LOST:
            return condition.reason, condition.message
        case ConditionType.STALLED:
            return condition.reason, ""
        case _:
            return "", ""


def of_pass(made: Pass, before: Iterable[Condition], after: Iterable[Condition]) -> tuple[Event, ...]:
    """In the order in which a person would tell it.

    Args:
        before: `Journal.conditions()` as it was.
        after: the new conditions of what the pass looked at (`conditions.of_pass`).
    """
    old = tuple(before)
    concluded = tuple(of_facts(made, {(one.environment, one.type): one for one in old}))
    told = {(event.kind, event.environment) for event in concluded}
    return (
        *concluded,
        *(event for outcome in made.outcomes if (event := _of_outcome(made, outcome)) is not None),
        *(event for event in of_conditions(old, after, made.ended_at) if not _is_told(event, told)),
    )


def _is_told(event: Event, told: Collection[tuple[str, EnvironmentName | None]]) -> bool:
    """A breaker that opens is why its environment is stalled: once is enough."""
    return event.kind == EventKind.STALLED and (EventKind.BREAKER_OPENED.value, event.environment) in told


def of_conditions(before: Iterable[Condition], after: Iterable[Condition], at: datetime) -> Iterator[Event]:
    """Of what turned true, what turned false, and what is another trouble than it was."""
    known = {(condition.environment, condition.type): condition for condition in before}
    turns = [(one, *_turn(known.get((one.environment, one.type)), one)) for one in after]
    # What fails so that it needs a person now is no recovery, nor does anybody know how all that comes after it is.
    graver = {one.environment for one, kind, _ in turns if kind is EventKind.STALLED}
    for condition, kind, message in turns:
        if kind is not None and not (kind is EventKind.RECOVERED and condition.environment in graver):
            yield Event(
                at=at,
                kind=kind.value,
                message=message,
                environment=condition.environment,
                revision=condition.revision,
            )


def _turn(old: Condition | None, new: Condition) -> tuple[EventKind | None, str]:
    if new.type not in _TURNS:
        return None, ""
    begun, ended, all_clear = _TURNS[new.type]
    was_true = old is not None and old.is_true
    if old is not None and new.environment is not None and old.reason in _OF_EVERYTHING:
        was_true = False  # told of the installation; not once more for each environment
    if not new.is_true:
        if was_true and old is not None and old.reason in ("ByPerson", "EverythingByPerson"):
            all_clear = f"over: {old.message}"
        return (ended, all_clear) if was_true else (None, "")
    if old is not None and was_true and _subject(old) == _subject(new):
        return None, ""
    if new.type is ConditionType.SUSPENDED and new.reason != "ByFile":
        return None, ""  # told with its actor when it was asked for; observe mode is a setting
    return begun, f"{new.message} → {new.remedy}" if new.remedy else new.message


def _of_outcome(made: Pass, outcome: Outcome) -> Event | None:
    """Only of what was done. What failed is a condition, told when that changes."""
    action = outcome.action
    if outcome.result is not Result.DONE or _only_marks_readiness(action):
        return None
    kind, message = _deed(made, action, outcome.message)
    return Event(
        at=made.ended_at,
        kind=kind.value,
        message=f"{message} ({action.reason})",
        environment=action.environment,
        node=getattr(action, "node", None),
        revision=made.revision,
    )


def _deed(  # noqa: C901, PLR0911, PLR0912 -- one case per kind of action
    made: Pass, action: Action, message: str
) -> tuple[EventKind, str]:
    ids = f": {message}" if message else ""
    match action:
        case LaunchNodes():
            return EventKind.NODES_LAUNCHED, f"launched {nodes_of(action.count, action.role)}{ids}"
        case ReplayLaunch():
            nodes = nodes_of(action.intent.parameters.count, action.role)
            return EventKind.NODES_LAUNCHED, f"launched {nodes}, asked for twice{ids}"
        case ReplaceNode():
            return EventKind.NODE_REPLACING, f"one more {action.role} node launched, to replace {action.node}{ids}"
        case StopNode():
            return EventKind.NODE_STOPPED, f"asked EC2 to stop {action.node}"
        case StartNode():
            return EventKind.NODE_STARTED, f"asked EC2 to start {action.node}"
        case TagNode():
            return EventKind.NODE_TAGGED, f"corrected the tags of {action.node}: {', '.join(sorted(action.set))}"
        case TerminateNode():
            return EventKind.NODE_TERMINATED, f"asked EC2 to terminate {action.node}"
        case EnsureChefEnvironment():
            if _has_chef_environment(made, action):
                return EventKind.CHEF_ENVIRONMENT_CHANGED, f"changed Chef environment {action.wanted.name}"
            return EventKind.CHEF_ENVIRONMENT_CREATED, f"created Chef environment {action.wanted.name}"
        case EnsureChefRole():
            if _has_chef_role(made, action):
                return EventKind.CHEF_ROLE_CHANGED, f"changed Chef role {action.wanted.name}"
            return EventKind.CHEF_ROLE_CREATED, f"created Chef role {action.wanted.name}"
        case EnsureChefNode():
            return EventKind.CHEF_NODE_CORRECTED, f"corrected run list and environment of Chef node {action.node}"
        case DeleteChefNode():
            return EventKind.CHEF_NODE_DELETED, f"deleted Chef node {action.node}"
        case DeleteChefClient():
            return EventKind.CHEF_CLIENT_DELETED, f"deleted Chef client {action.node}"
        case DeleteChefRole():
            return EventKind.CHEF_ROLE_DELETED, f"deleted Chef role {action.chef_role}"
        case DeleteChefEnvironment():
            return EventKind.CHEF_ENVIRONMENT_DELETED, f"deleted Chef environment {action.chef_environment}"
        case _ as unreachable:
            assert_never(unreachable)


def _only_marks_readiness(action: Action) -> bool:
    """`NodeReady` tells it already."""
    return isinstance(action, TagNode) and set(action.set) == {tags.READY} and not action.remove


def _has_chef_environment(made: Pass, action: EnsureChefEnvironment) -> bool:
    seen = made.observed.environments.get(action.environment) if made.observed else None
    return seen is not None and seen.chef_environment is not None


def _has_chef_role(made: Pass, action: EnsureChefRole) -> bool:
    seen = made.observed.environments.get(action.environment) if made.observed else None
    return seen is not None and action.wanted.name in seen.chef_roles
