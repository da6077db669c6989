"""The steps that a change adds: actions that are alike as one, and replacements as a whole instead of their first half."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, assert_never

from reconciler.model import tags
from reconciler.model.actions import (
    Action,
    ActionName,
    DeleteChefClient,
    DeleteChefEnvironment,
    DeleteChefNode,
    DeleteChefRole,
    EnsureChefEnvironment,
    EnsureChefNode,
    EnsureChefRole,
    LaunchNodes,
    Reason,
    ReplaceNode,
    ReplayLaunch,
    StartNode,
    StopNode,
    TagNode,
    TerminateNode,
)
from reconciler.model.desired import Environment
from reconciler.model.memory import Cause
from reconciler.model.names import InstanceId, RoleName
from reconciler.model.observed import Node
from reconciler.plan.drift import Drift
from reconciler.review.fields import Risk
from reconciler.review.moving import is_uncertain, told

# What the tag `hivequeen:spec` is a digest of: drift tells of the first in the name of all.
_DIGESTED: Final = ("user_data", "key_name", "root_volume")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Like things done to one role, or to the environment itself where there is no role."""

    action: ActionName
    role: RoleName | None
    targets: tuple[str, ...]  # names of nodes and of Chef objects; none of nodes that are launched
    count: int
    reason: Reason
    risk: Risk
    replaces: frozenset[str] = frozenset()  # of a replacement: the keys of the role that cause it
    may_replace: frozenset[str] = frozenset()  # those that cause it only if a moving image is another than what runs

    @property
    def is_certain(self) -> bool:
        return not self.may_replace or bool(self.replaces)


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """An action of the change."""

    action: Action
    count: int  # of nodes to launch those that nobody asked for before; else 1


def added(before: Sequence[Action], after: Sequence[Action]) -> tuple[Added, ...]:
    """What is to be done now, and was not before: the same thing for another reason is the same."""
    known = {key for action in before if (key := _key(action)) is not None}
    pending = [action for action in before if isinstance(action, LaunchNodes)]
    written = [_wanted(action) for action in before if _key(action) is None]
    found: list[Added] = []
    for action in after:
        if isinstance(action, LaunchNodes):
            # Whatever they are launched as: those that are pending would have come without the change, too.
            count = action.count - sum(one.count for one in pending if one.role == action.role)
            if count > 0:
                found.append(Added(action=action, count=count))
        elif (key := _key(action)) is not None:
            if key not in known:
                found.append(Added(action=action, count=1))
        elif _wanted(action) not in written:
            found.append(Added(action=action, count=1))
    return tuple(found)


def steps_of(actions: Iterable[Added], drifts: Mapping[InstanceId, tuple[Drift, ...]]) -> tuple[Step, ...]:
    """Each action as it is; the worst first."""
    return _in_order(_caused(_step(one), one.action, drifts) for one in actions)


def steps_of_change(
    actions: Sequence[Added],
    drifts: Mapping[InstanceId, tuple[Drift, ...]],
    nodes: Iterable[Node],
    before: Environment | None,
    after: Environment | None,
) -> tuple[Step, ...]:
    """
    Args:
        drifts: of each node those that the change brings: it is replaced, in this pass or in a later one.
        nodes: of the environment.
    """
    shrinking = _shrinking(before, after)
    # Where nodes are to be fewer, what the plan has drifted ones go for is nobody's place.
    others = [_shrunk(one, shrinking) for one in actions if not _is_for_drift(one.action, shrinking)]
    leaving = {one.action.instance_id for one in others if isinstance(one.action, TerminateNode)}
    staying = [node for node in nodes if node.instance_id in drifts and node.instance_id not in leaving]
    return _in_order(
        (*(_step(one) for one in others), *(_replacement(node, drifts[node.instance_id], after) for node in staying))
    )


def _shrinking(before: Environment | None, after: Environment | None) -> Mapping[RoleName, Reason]:
    """Roles of which fewer nodes are wanted, and why."""
    if before is None or after is None:
        return {}
    return {
        name: Reason(rule="count", detail=f"{name}.count {old.count} → {new.count}", origin=new.origin("count"))
        for name, old in before.roles.items()
        if (new := after.roles.get(name)) is not None and new.count < old.count
    }


def _is_for_drift(action: Action, shrinking: Mapping[RoleName, Reason]) -> bool:
    match action:
        case ReplaceNode():
            return True
        case TerminateNode():
            return action.change != "" and (action.role not in shrinking or action.cause is Cause.NEVER_READY)
        case _:
            return False


def _shrunk(one: Added, shrinking: Mapping[RoleName, Reason]) -> Added:
    action = one.action
    if not isinstance(action, TerminateNode) or action.change == "":
        return one
    return replace(one, action=replace(action, change="", reason=shrinking[action.role]))


def _replacement(node: Node, found: tuple[Drift, ...], declared: Environment | None) -> Step:
    role = declared.roles[node.role] if declared is not None else None
    origins = (role.origins.get(key) for key in _keys(found)) if role is not None else ()
    step = Step(
        action=ActionName.REPLACE_NODE,
        role=node.role,
        targets=(node.name,),
        count=1,
        reason=Reason(
            rule="drift",
            detail="; ".join(told(one) for one in found),
            origin=next((origin for origin in origins if origin is not None), None),
        ),
        risk=Risk.REPLACE,
    )
    return _because(step, found)


def _caused(step: Step, action: Action, drifts: Mapping[InstanceId, tuple[Drift, ...]]) -> Step:
    match action:
        case ReplaceNode() | TerminateNode() if action.change:
            return _because(step, drifts.get(action.instance_id, ()))
        case _:
            return step


def _because(step: Step, found: Sequence[Drift]) -> Step:
    return replace(
        step,
        replaces=frozenset(_keys(one for one in found if not is_uncertain(one))),
        may_replace=frozenset(_keys(one for one in found if is_uncertain(one))),
    )


def _keys(found: Iterable[Drift]) -> Iterator[str]:
    for one in found:
        yield from _DIGESTED if one.field == _DIGESTED[0] else (one.field,)


def _in_order(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Those that are alike become one, in the order of the first."""
    found: dict[tuple[ActionName, RoleName | None, str, str], Step] = {}
    for step in steps:
        key = (step.action, step.role, step.reason.rule, step.reason.detail)
        known = found.get(key)
        found[key] = (
            step
            if known is None
            else replace(known, targets=(*known.targets, *step.targets), count=known.count + step.count)
        )
    return tuple(sorted(found.values(), key=lambda step: -step.risk))  # stable


# --- when two actions are the same ----------------------------------------------------------------------------------


def _key(action: Action) -> tuple[object, ...] | None:
    """By what it is known; None of what writes something, where that tells."""
    match action:
        case ReplaceNode():
            return action.name, action.node, action.change
        case ReplayLaunch():
            return action.name, action.intent.token
        case EnsureChefEnvironment() | EnsureChefRole() | EnsureChefNode() | TagNode() | LaunchNodes():
            return None
        case _:
            return action.name, *_targets(action)


def _wanted(action: Action) -> object:
    match action:
        case EnsureChefEnvironment() | EnsureChefRole():
            return action.wanted
        case EnsureChefNode():
            return action.node, action.chef_environment, action.run_list
        case TagNode():
            # The moment at which a node became ready is told anew in every plan.
            return action.node, {key: value for key, value in action.set.items() if key != tags.READY}, action.remove
        case _:
            return action


# --- how an action reads --------------------------------------------------------------------------------------------


def _step(one: Added) -> Step:
    action = one.action
    return Step(
        action=action.name,
        role=None if isinstance(action, EnsureChefEnvironment | DeleteChefEnvironment) else action.role,
        targets=_targets(action),
        count=one.count,
        reason=replace(action.reason, revision=None),
        risk=_risk(action),
    )


def _targets(action: Action) -> tuple[str, ...]:
    match action:
        case LaunchNodes() | ReplayLaunch():
            return ()
        case EnsureChefEnvironment() | EnsureChefRole():
            return (action.wanted.name,)
        case DeleteChefRole():
            return (action.chef_role,)
        case DeleteChefEnvironment():
            return (action.chef_environment,)
        case _:
            return (action.node,)


def _risk(action: Action) -> Risk:
    match action:
        case LaunchNodes() | ReplayLaunch():
            return Risk.CREATE
        case ReplaceNode():
            return Risk.REPLACE
        case TerminateNode():
            return Risk.REPLACE if action.change else Risk.DESTROY
        case DeleteChefNode() | DeleteChefClient() | DeleteChefRole() | DeleteChefEnvironment():
            return Risk.DESTROY
        case EnsureChefEnvironment() | EnsureChefRole() | EnsureChefNode() | TagNode() | StopNode() | StartNode():
            return Risk.IN_PLACE
        case _ as unreachable:
            assert_never(unreachable)


def held(actions: Iterable[Added], by: Collection[Action]) -> tuple[Added, ...]:
    """Those of the change that a guard holds."""
    ids = {id(action) for action in by}
    return tuple(one for one in actions if id(one.action) in ids)
