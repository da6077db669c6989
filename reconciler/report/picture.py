"""What is known now, from the last passes and from the journal: what status, show and why are made of."""

from collections.abc import Sequence
from datetime import datetime

from reconciler.errors import Stalled
from reconciler.model.conditions import Condition, ConditionType
from reconciler.model.desired import Environment, Json
from reconciler.model.memory import Memory
from reconciler.model.names import EnvironmentName, NodeName
from reconciler.model.observed import ObservedEnvironment
from reconciler.model.passes import Pass
from reconciler.model.plan import EnvironmentPlan, Guard
from reconciler.report import documents, holds
from reconciler.report.documents import Document


class Picture:
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
            "ending": self._ending(name),
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

    def holds(self, environment: EnvironmentName | None) -> list[Document]:
        """Of one environment, and those of everything; of all (None)."""
        found = holds.hold_documents(self._made.plan if self._made else None, self._conditions)
        return [one for one in found if environment is None or not one["environments"] or environment in _names(one)]

    def suspensions(self, environment: EnvironmentName | None) -> list[Document]:
        """Likewise."""
        return [
            holds.suspension_document(one)
            for one in self._memory.suspensions
            if environment is None or one.environment in (None, environment)
        ]

    def approvals(self, environment: EnvironmentName | None) -> list[Document]:
        """Likewise."""
        found = [holds.approval_document(one) for one in self._memory.approvals]
        return [one for one in found if environment is None or not one["environments"] or environment in _names(one)]

    def _ending(self, name: EnvironmentName) -> Document | None:
        known, plan = self._memory.environments.get(name), self.plan(name)
        ending = (known.ending if known else None) or (plan.ending if plan else None)
        if ending is None:
            return None
        grace = next((one for one in plan.blocked if one.guard is Guard.GRACE), None) if plan else None
        return holds.ending_document(ending, known, grace)

    def _declared(self, name: EnvironmentName) -> Environment | None:
        return self._made.desired.environments.get(name) if self._made and self._made.desired else None

    def _seen(self, name: EnvironmentName) -> ObservedEnvironment | None:
        return self._made.observed.environments.get(name) if self._made and self._made.observed else None


def _names(document: Document) -> list[Json]:
    names = document["environments"]
    return names if isinstance(names, list) else []
