"""The parts that the documents are made of. Plain JSON values; every time is RFC 3339 in UTC."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, assert_never

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
    removal,
)
from reconciler.model.conditions import Condition, Event
from reconciler.model.desired import Environment, Json
from reconciler.model.findings import Finding
from reconciler.model.memory import NodeRecord
from reconciler.model.names import NodeName
from reconciler.model.observed import Node, ObservedEnvironment, Phase
from reconciler.model.plan import Blocked, EnvironmentPlan, Plan

Document = dict[str, Json]


def moment(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


# --- plan -----------------------------------------------------------------------------------------------------------


def plan_digest(plan: Plan) -> str:
    """Of the sorted removals and actions, held ones included: never of revision, time or reason."""
    actions = [action for one in plan.environments for action in one.actions]
    actions += [action for one in plan.environments for held in one.blocked for action in held.actions]
    rows = sorted(json.dumps(_content(action), sort_keys=True, ensure_ascii=False) for action in actions)
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def _content(action: Action) -> Document:
    removed = removal(action)
    content: Document = {**action_document(action), "environment": action.environment, "reason": None}
    if removed is not None:
        content |= {"target": removed.target, "change": removed.change}
    match action:
        case EnsureChefEnvironment() | EnsureChefRole():
            content["wanted"] = dict(action.wanted.default_attributes)
        case _:
            pass
    if isinstance(action, EnsureChefRole):
        content["run_list"] = list(action.wanted.run_list)
    if isinstance(action, LaunchNodes):
        content["image"] = action.image
        content["batches"] = [[batch.subnet, batch.instance_type, batch.count] for batch in action.batches]
    return content


def environment_plan(plan: EnvironmentPlan) -> Document:
    return {
        "name": plan.name,
        "actions": [action_document(action) for action in plan.actions],
        "blocked": [blocked_document(one) for one in plan.blocked],
        "waiting": [waiting.message for waiting in plan.waiting],
        "stalls": [{"reason": one.reason, "message": one.message, "remedy": one.remedy} for one in plan.stalls],
        "due_at": moment(plan.due_at),
    }


def blocked_document(blocked: Blocked) -> Document:
    return {
        "guard": blocked.guard.value,
        "message": blocked.message,
        "remedy": blocked.remedy,
        "digest": blocked.digest or None,
        "actor": blocked.actor or None,
        "until": moment(blocked.until),
        "actions": [action_document(action) for action in blocked.actions],
    }


def action_document(action: Action) -> Document:
    """`role` is null for what belongs to the environment itself; `count`, `node` and `change` are there where they apply."""
    document: Document = {"action": action.name.value, "role": None, "reason": str(action.reason)}
    if not isinstance(action, EnsureChefEnvironment | DeleteChefEnvironment):
        document["role"] = action.role
    match action:
        case LaunchNodes():
            document["count"] = action.count
        case ReplayLaunch():
            document["count"] = action.intent.parameters.count
        case TerminateNode() | ReplaceNode():
            document["node"] = action.node
            if action.change:
                document["change"] = action.change
        case TagNode():
            document["node"] = action.node
            document["change"] = ", ".join([*sorted(action.set), *(f"without {key}" for key in sorted(action.remove))])
        case EnsureChefNode() | DeleteChefNode() | DeleteChefClient() | StopNode() | StartNode():
            document["node"] = action.node
        case EnsureChefEnvironment() | EnsureChefRole() | DeleteChefRole() | DeleteChefEnvironment():
            pass
        case _ as unreachable:
            assert_never(unreachable)
    return document


# --- status and show ------------------------------------------------------------------------------------------------


def condition_document(condition: Condition) -> Document:
    return {
        "type": condition.type.value,
        "status": condition.is_true,
        "reason": condition.reason,
        "message": condition.message,
        "remedy": condition.remedy,
        "revision": condition.revision,
        "since": moment(condition.since),
    }


def finding_documents(findings: Iterable[Finding]) -> list[Json]:
    return [
        {"file": one.origin.file, "line": one.origin.line, "message": one.message, "remedy": one.remedy}
        for one in findings
    ]


def role_documents(
    declared: Environment | None,
    observed: ObservedEnvironment | None,
    records: Iterable[NodeRecord],
) -> list[Document]:
    """Desired is null where the file is gone or not known, or its lifetime is over.

    Without an observation, phases are what the journal remembers.
    """
    phases = {role: Counter[str]() for role in (declared.roles if declared else ())}
    seen = (
        [(node.role, node.phase) for node in observed.nodes] if observed else [(r.role, phase_of(r)) for r in records]
    )
    for role, phase in seen:
        phases.setdefault(role, Counter())[phase.value] += 1
    return [
        {
            "role": role,
            "desired": declared.roles[role].count if declared and role in declared.roles else None,
            "ready": tally[Phase.READY.value],
            "phases": dict(sorted(tally.items())),
        }
        for role, tally in sorted(phases.items())
    ]


def phase_of(record: NodeRecord) -> Phase:
    """As far as the journal alone can tell."""
    if record.gone_at is not None:
        return Phase.TERMINATING
    if record.ready_at is not None:
        return Phase.READY
    return Phase.PENDING if record.registered_at is None else Phase.REGISTERED


def node_document(node: Node, record: NodeRecord | None, plan: EnvironmentPlan | None, now: datetime) -> Document:
    instance = node.instance
    return {
        "name": node.name,
        "instance_id": node.instance_id,
        "environment": node.environment,
        "role": node.role,
        "phase": node.phase.value,
        "instance_state": instance.state.value,
        "instance_type": instance.instance_type,
        "image": instance.image,
        "subnet": instance.subnet,
        "address": instance.private_address,
        "launched_at": moment(instance.launched_at),
        "age_seconds": max(0, int((now - instance.launched_at).total_seconds())),
        "is_stale": node.is_stale,
        "first_run_ok": record.first_run_ok if record else None,
        "first_run_log": record.first_run_log if record else "",
        "why": _why(node, plan),
    }


NOT_ASKED: Final = "as the journal remembers it; EC2 and Chef were not asked"
JUST_LAUNCHED: Final = "launched a moment ago; the next pass looks at it"


def remembered_node_document(record: NodeRecord, now: datetime, why: str) -> Document:
    """Of a node that no pass of this process has seen."""
    return {
        "name": record.name,
        "instance_id": record.instance_id,
        "environment": record.environment,
        "role": record.role,
        "phase": phase_of(record).value,
        "instance_state": None,
        "instance_type": None,
        "image": None,
        "subnet": None,
        "address": None,
        "launched_at": moment(record.launched_at),
        "age_seconds": max(0, int((now - record.launched_at).total_seconds())),
        "is_stale": False,
        "first_run_ok": record.first_run_ok,
        "first_run_log": record.first_run_log,
        "why": why,
    }


def phase_in_words(node: Node) -> str:
    until = f"; it has until {moment(node.deadline_at)}" if node.deadline_at else ""
    now_is: Mapping[Phase, str] = {
        Phase.PENDING: f"launched, EC2 has not started it yet{until}",
        Phase.RUNNING: f"running, has not registered yet{until}",
        Phase.REGISTERED: f"registered, its first Chef run is not finished{until}",
        Phase.READY: "its Chef run succeeded",
        Phase.FAILED: node.why_failed,
        Phase.STOPPED: "stopped in EC2",
        Phase.TERMINATING: "terminating",
        Phase.LOST: "alive, but out of sight or without our tag: never touched",
    }
    return now_is[node.phase]


def _why(node: Node, plan: EnvironmentPlan | None) -> str:
    """Why it is as it is, and what is about to happen to it."""
    parts = [phase_in_words(node)]
    if node.phase is Phase.STOPPED and plan is not None:  # by hand, or by its schedule: what is awaited says which
        parts.extend(waiting.message for waiting in plan.waiting if waiting.role == node.role)
    if node.is_stale:
        parts.append("Chef has not heard of it lately")
    for action, held in _touching(node.name, plan):
        parts.append(f"{'held: ' if held else ''}{action.name.value.replace('_', ' ')}, {action.reason}")
    return "; ".join(part for part in parts if part)


def _touching(node: NodeName, plan: EnvironmentPlan | None) -> list[tuple[Action, bool]]:
    if plan is None:
        return []
    known = [(action, False) for action in plan.actions]
    known += [(action, True) for held in plan.blocked for action in held.actions]
    return [(action, held) for action, held in known if getattr(action, "node", None) == node]


def event_documents(events: Sequence[Event]) -> list[Json]:
    return [
        {
            "at": moment(event.at),
            "kind": event.kind,
            "message": event.message,
            "environment": event.environment,
            "node": event.node,
            "revision": event.revision,
            "actor": event.actor,
        }
        for event in events
    ]
