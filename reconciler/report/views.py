"""The documents that people and scripts read: plan, status, show, events. Their schemas lie in `schemas/`.

Each is made of the last passes' picture of the world (None where no pass was made, as without a daemon), and of what
the journal remembers.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from reconciler.model.conditions import Condition, ConditionType, Event
from reconciler.model.desired import Json
from reconciler.model.findings import Finding
from reconciler.model.memory import Memory
from reconciler.model.passes import Pass
from reconciler.model.plan import Plan
from reconciler.ports import Journal
from reconciler.report import documents, holds
from reconciler.report.documents import Document
from reconciler.report.picture import Picture

EVENTS_SHOWN: Final = 20
EVENTS_SEARCHED: Final = 100  # for those of one node


def plan_document(plan: Plan) -> Document:
    return {
        "revision": plan.revision,
        "digest": documents.plan_digest(plan),
        "environments": [documents.environment_plan(one) for one in plan.environments],
        "blocked": [documents.blocked_document(one) for one in plan.blocked],
    }


def status(made: Pass | None, memory: Memory, conditions: Sequence[Condition], now: datetime) -> Document:
    """Every environment that is declared, frozen, observed or remembered.

    Args:
        made: the newest picture of everything, or None.
    """
    picture = Picture(made, memory, conditions)
    not_owner = picture.installation(ConditionType.NOT_OWNER)
    return {
        "at": documents.moment(now),
        "revision": (made.revision if made else None) or memory.applied,
        "last_pass_at": documents.moment(made.ended_at if made else None),
        "installation": memory.installation,
        "is_owner": None if not_owner is None else not not_owner.is_true,
        "conditions": [documents.condition_document(one) for one in conditions if one.environment is None],
        "environments": [picture.environment(name) for name in picture.names],
        "findings": documents.finding_documents(loose_findings(made)),
        "holds": list[Json](picture.holds(None)),
        "suspensions": list[Json](picture.suspensions(None)),
        "approvals": list[Json](picture.approvals(None)),
        "claim": holds.claim_document(memory, conditions),
        "failures": [
            {"stage": one.stage, "environment": one.environment, "message": one.message, "remedy": one.remedy}
            for one in (made.failures if made else ())
        ],
        "foreign": [
            {"kind": one.kind, "name": one.name, "environment": one.environment, "message": one.message}
            for one in (made.observed.foreign if made and made.observed else ())
        ],
    }


def show(target: str, made: Pass | None, journal: Journal, now: datetime) -> Document:
    """One environment by its name, with its nodes and newest events; or one node, by any unique part of its name or id.

    Raises:
        Stalled: nothing, or more than one node, is meant.
    """
    picture = Picture(made, journal.recall(now), journal.conditions())
    environment, node = picture.find(target, now)
    events = journal.events(environment, limit=EVENTS_SEARCHED)
    nodes = [one for one in picture.nodes(environment, now) if node is None or one["name"] == node]
    told = [event for event in events if node is None or event.node == node]
    plan = picture.plan(environment)
    return {
        "at": documents.moment(now),
        "environment": picture.environment(environment),
        "holds": list[Json](picture.holds(environment)),
        "suspensions": list[Json](picture.suspensions(environment)),
        "approvals": list[Json](picture.approvals(environment)),
        "nodes": list[Json](nodes),
        "plan": documents.environment_plan(plan) if plan is not None else None,
        "events": documents.event_documents(told[-EVENTS_SHOWN:]),
    }


def events(told: Sequence[Event]) -> Document:
    return {"events": documents.event_documents(told)}


def loose_findings(made: Pass | None) -> Sequence[Finding]:
    """Those of files that stand for no environment, such as `Bad_Name.yml`: nothing else would tell of them."""
    desired = made.desired if made else None
    if desired is None:
        return ()
    told = {finding for name in desired.declared & set(desired.frozen) for finding in desired.frozen[name].findings}
    return tuple(finding for finding in desired.findings if finding not in told)
