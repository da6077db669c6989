"""The documents that people and scripts read: plan, status, show, events. Their schemas lie in `schemas/`.

Each is made of the last passes' picture of the world (None where no pass was made, as without a daemon), and of what
the journal remembers.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from reconciler.errors import Stalled
from reconciler.model.conditions import Condition, ConditionType, Event
from reconciler.model.desired import Environment, Json
from reconciler.model.findings import Finding
from reconciler.model.memory import Memory
from reconciler.model.names import EnvironmentName, NodeName
from reconciler.model.observed import ObservedEnvironment
from reconciler.model.passes import Pass
from reconciler.model.plan import EnvironmentPlan, Plan
from reconciler.ports import Journal
from reconciler.report import documents
from reconciler.report.documents import Document

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
    picture = _Picture(made, memory, conditions)
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
        "holds": list[Json](documents.hold_documents(made.plan if made else None)),
        "suspensions": [documents.suspension_document(one) for one in memory.suspensions],
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
    picture = _Picture(made, journal.recall(now), journal.conditions())
    environment, node = picture.find(target, now)
    events = journal.events(environment, limit=EVENTS_SEARCHED)
    nodes = [one for one in picture.nodes(environment, now) if node is None or one["name"] == node]
    told = [event for event in events if node is None or event.node == node]
    plan = picture.plan(environment)
    return {
        "at": documents.moment(now),
        "environment": picture.environment(environment),
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


class _Picture:
    """What is known now, from the last passes and from the journal."""

    def __init__(self, made: Pass | None, memory: Memory, conditions: Sequence[Condition]) -> None:
        self._made = made
        self._memory = memory
        self._conditions = conditions

    @property
    def names(self) -> list[EnvironmentName]:
        names: set[EnvironmentName] = set(self._memory.environments)
        names |= {record.environment for record in self._memory.nodes.values()}
        if self._made and self._made.desired:
            names |= self._made.desired.declared  # a README.md bears a name, and declares nothing
        if self._made and self._made.observed:
            names |= {name for name, seen in self._made.observed.environments.items() if not seen.is_empty}
        return sorted(names)

    def installation(self, kind: ConditionType) -> Condition | None:
        return next((one for one in self._conditions if one.environment is None and one.type is kind), None)

    def plan(self, name: EnvironmentName) -> EnvironmentPlan | None:
        plans = self._made.plan.environments if self._made and self._made.plan else ()
        return next((plan for plan in plans if plan.name == name), None)

    def environment(self, name: EnvironmentName) -> Document:
        declared, seen = self._declared(name), self._seen(name)
        records = [record for record in self._memory.nodes.values() if record.environment == name]
        desired = self._made.desired if self._made else None
        frozen = desired.frozen.get(name) if desired else None
        known = self._memory.environments.get(name)
        conditions = [one for one in self._conditions if one.environment == name]
        plan = self.plan(name)
        return {
            "name": name,
            "project": declared.project if declared else None,
            "owner": declared.owner if declared else None,
            "branch": declared.branch if declared else None,
            "revision": (self._made.revision if self._made else None) or (known.declared_by if known else None),
            "is_declared": name in desired.declared if desired else None,
            "is_frozen": frozen is not None,
            "findings": documents.finding_documents(frozen.findings if frozen else ()),
            "teardown_began_at": documents.moment(known.teardown_began_at if known else None),
            "conditions": [documents.condition_document(one) for one in conditions],
            "roles": list[Json](documents.role_documents(declared, seen, records)),
            "waiting": [waiting.message for waiting in plan.waiting] if plan else [],
        }

    def nodes(self, name: EnvironmentName, now: datetime) -> list[Document]:
        seen = self._seen(name)
        if seen is not None:
            known, plan = self._memory.nodes, self.plan(name)
            return [documents.node_document(node, known.get(node.instance_id), plan, now) for node in seen.nodes]
        records = sorted(self._memory.nodes.values(), key=lambda record: (record.launched_at, record.instance_id))
        return [documents.remembered_node_document(one, now) for one in records if one.environment == name]

    def find(self, target: str, now: datetime) -> tuple[EnvironmentName, NodeName | None]:
        if EnvironmentName(target) in self.names:
            return EnvironmentName(target), None
        part = target.removeprefix("i-")
        found = [
            (name, NodeName(str(node["name"])))
            for name in self.names
            for node in self.nodes(name, now)
            if part and part in str(node["name"])
        ]
        exact = [one for one in found if one[1] == part]
        if len(exact or found) == 1:
            return (exact or found)[0]
        if not found:
            listed = ", ".join(self.names) or "none"
            raise Stalled(f"no environment or node is called {target}", remedy=f"environments: {listed}")
        listed = ", ".join(name for _, name in found[:5])
        raise Stalled(f"{target} is part of {len(found)} nodes' names", remedy=f"give more of one: {listed}")

    def _declared(self, name: EnvironmentName) -> Environment | None:
        return self._made.desired.environments.get(name) if self._made and self._made.desired else None

    def _seen(self, name: EnvironmentName) -> ObservedEnvironment | None:
        return self._made.observed.environments.get(name) if self._made and self._made.observed else None
