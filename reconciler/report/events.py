"""Events: what one pass did and what changed by it, once each. Pure.

An event is made of what was *done* (outcomes), of what was *concluded* (facts), and of conditions that *changed*. So a
trouble that stays the same from pass to pass is told once.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from enum import StrEnum
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
    TagNode,
    TerminateNode,
)
from reconciler.model.conditions import Condition, ConditionType, Event
from reconciler.model.facts import Fact, IntentEnded, NodeGone, NodeReady, RevisionApplied, TeardownBegan, TeardownEnded
from reconciler.model.memory import IntentState
from reconciler.model.names import EnvironmentName, InstanceId, IntentToken, NodeName
from reconciler.model.passes import Outcome, Pass, Result
from reconciler.report.conditions import READ_ONLY
from reconciler.report.sentences import nodes_of


class EventKind(StrEnum):
    """The kinds made here. Registrations, first runs and what operators do have their own, made where they happen."""

    REVISION_APPLIED = "RevisionApplied"
    NODES_LAUNCHED = "NodesLaunched"
    LAUNCH_GIVEN_UP = "LaunchGivenUp"
    NODE_READY = "NodeReady"
    NODE_REPLACING = "NodeReplacing"
    NODE_TAGGED = "NodeTagged"
    NODE_TERMINATED = "NodeTerminated"
    NODE_GONE = "NodeGone"
    CHEF_ENVIRONMENT_CREATED = "ChefEnvironmentCreated"
    CHEF_ENVIRONMENT_CHANGED = "ChefEnvironmentChanged"
    CHEF_ENVIRONMENT_DELETED = "ChefEnvironmentDeleted"
    CHEF_ROLE_CREATED = "ChefRoleCreated"
    CHEF_ROLE_CHANGED = "ChefRoleChanged"
    CHEF_ROLE_DELETED = "ChefRoleDeleted"
    CHEF_NODE_CORRECTED = "ChefNodeCorrected"
    CHEF_NODE_DELETED = "ChefNodeDeleted"
    CHEF_CLIENT_DELETED = "ChefClientDeleted"
    EXPIRING = "Expiring"
    TEARDOWN_BEGAN = "TeardownBegan"
    TORN_DOWN = "TornDown"
    READY = "Ready"
    STALLED = "Stalled"
    UNSTALLED = "Unstalled"
    HELD = "Held"
    HOLD_LIFTED = "HoldLifted"
    SUSPENDED_BY_FILE = "SuspendedByFile"
    SUSPENSION_ENDED = "SuspensionEnded"
    NODES_STALE = "NodesStale"
    NODES_HEARD = "NodesHeard"
    NODES_LOST = "NodesLost"
    NODES_FOUND = "NodesFound"
    NOT_OWNER = "NotOwner"
    OWNER = "Owner"
    DEGRADED = "Degraded"
    RECOVERED = "Recovered"


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

# What somebody should see who reads the log at level warning.
TROUBLES: Final = frozenset(
    {EventKind.STALLED, EventKind.HELD, EventKind.NODES_LOST, EventKind.NOT_OWNER, EventKind.DEGRADED}
)

# Where another message is another trouble. A failing API words the same one differently each time.
_TOLD_BY_MESSAGE: Final = frozenset({ConditionType.STALLED, ConditionType.HELD, ConditionType.LOST})


def of_pass(made: Pass, before: Iterable[Condition], after: Iterable[Condition]) -> tuple[Event, ...]:
    """In the order in which a person would tell it.

    Args:
        before: `Journal.conditions()` as it was.
        after: the new conditions of what the pass looked at (`conditions.of_pass`).
    """
    return (
        *_of_facts(made),
        *(event for outcome in made.outcomes if (event := _of_outcome(made, outcome)) is not None),
        *of_conditions(before, after, made.ended_at),
    )


def of_conditions(before: Iterable[Condition], after: Iterable[Condition], at: datetime) -> Iterator[Event]:
    """Of what turned true, what turned false, and what is another trouble than it was."""
    known = {(condition.environment, condition.type): condition for condition in before}
    for condition in after:
        old = known.get((condition.environment, condition.type))
        kind, message = _turn(old, condition)
        if kind is not None:
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
    if old is not None and new.environment is not None and old.reason in READ_ONLY.values():
        was_true = False  # told of the installation, whose mode or claim it is; not once more for each environment
    if not new.is_true:
        return (ended, all_clear) if was_true else (None, "")
    if old is not None and was_true:
        is_other = (old.reason, old.message) != (new.reason, new.message)
        if not (is_other and new.type in _TOLD_BY_MESSAGE):
            return None, ""
    if new.type is ConditionType.SUSPENDED and new.reason != "ByFile":
        return None, ""  # told with its actor when it was asked for; observe mode is a setting
    return begun, f"{new.message} → {new.remedy}" if new.remedy else new.message


def _of_facts(made: Pass) -> Iterator[Event]:
    names: dict[InstanceId, tuple[EnvironmentName, NodeName]] = {}
    for environment in made.observed.environments.values() if made.observed else ():
        names.update((node.instance_id, (node.environment, node.name)) for node in environment.nodes)
        names.update((node.instance_id, (node.environment, node.name)) for node in environment.departed)
    for fact in made.facts:
        event = _of_fact(made, fact, names)
        if event is not None:
            yield event


def _of_fact(  # noqa: PLR0911 -- one case per kind of fact
    made: Pass, fact: Fact, names: Mapping[InstanceId, tuple[EnvironmentName, NodeName]]
) -> Event | None:
    match fact:
        case RevisionApplied(revision=revision, declared=declared):
            count = f"{len(declared)} environment{'' if len(declared) == 1 else 's'}"
            return _event(made, EventKind.REVISION_APPLIED, f"revision {revision[:8]} applies: {count}", None)
        case NodeReady(instance_id=instance_id) if instance_id in names:
            environment, node = names[instance_id]
            return _event(made, EventKind.NODE_READY, f"{node} is ready: its Chef run succeeded", environment, node)
        case NodeGone(instance_id=instance_id) if instance_id in names:
            environment, node = names[instance_id]
            return _event(made, EventKind.NODE_GONE, f"{node} was seen terminated", environment, node)
        case TeardownBegan(environment=environment):
            message = f"its file is gone; {environment} is being torn down"
            return _event(made, EventKind.TEARDOWN_BEGAN, message, environment)
        case TeardownEnded(environment=environment):
            return _event(made, EventKind.TORN_DOWN, f"nothing of {environment} is left", environment)
        case IntentEnded(token=token, state=IntentState.CLOSED, message=message):
            return _given_up(made, token, message)
        case _:
            return None


def _given_up(made: Pass, token: IntentToken, message: str) -> Event | None:
    intent = made.memory.intents.get(token) if made.memory else None
    if intent is None:
        return None
    nodes = nodes_of(intent.parameters.count, intent.role)
    return _event(made, EventKind.LAUNCH_GIVEN_UP, f"launch of {nodes}: {message}", intent.environment)


def _of_outcome(made: Pass, outcome: Outcome) -> Event | None:
    """Only of what was done. What failed is a condition, told when that changes."""
    action = outcome.action
    if outcome.result is not Result.DONE or _only_marks_readiness(action):
        return None
    kind, message = _deed(made, action, outcome.message)
    node = (
        action.node
        if isinstance(
            action, TerminateNode | ReplaceNode | TagNode | EnsureChefNode | DeleteChefNode | DeleteChefClient
        )
        else None
    )
    return _event(made, kind, f"{message} ({action.reason})", action.environment, node)


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


def _event(
    made: Pass, kind: EventKind, message: str, environment: EnvironmentName | None, node: NodeName | None = None
) -> Event:
    return Event(
        at=made.ended_at,
        kind=kind.value,
        message=message,
        environment=environment,
        node=node,
        revision=made.revision,
    )
