"""What is known now, from the last passes and from the journal: what status, show and why are made of."""

from collections.abc import Sequence
from datetime import datetime

from reconciler.errors import Stalled
from reconciler.model.conditions import Condition, ConditionType
from reconciler.model.desired import Environment, Json
from reconciler.model.memory import Ending, Memory
from reconciler.model.names import EnvironmentName, NodeName
from reconciler.model.observed import Node, ObservedEnvironment
from reconciler.model.passes import Pass
from reconciler.model.plan import EnvironmentPlan, Guard
from reconciler.report import documents, holds
from reconciler.report.documents import Document


class Picture:
    """What is known now, from the last passes and from the journal."""

    def __init__(self, made: Pass | None, memory: Memory, conditions: Sequence[Condition]) -> None:
        self.made = made
        self.memory = memory
        self.conditions = conditions

    @property
    def names(self) -> list[EnvironmentName]:
        names: set[EnvironmentName] = set(self.memory.environments)
        names |= {record.environment for record in self.memory.nodes.values()}
        if self.made and self.made.desired:
            names |= self.made.desired.declared  # a README.md bears a name, and declares nothing
        if self.made and self.made.observed:
            names |= {name for name, seen in self.made.observed.environments.items() if not seen.is_empty}
        return sorted(names)

    def installation(self, kind: ConditionType) -> Condition | None:
        return next((one for one in self.conditions if one.environment is None and one.type is kind), None)

    def plan(self, name: EnvironmentName) -> EnvironmentPlan | None:
        plans = self.made.plan.environments if self.made and self.made.plan else ()
        return next((plan for plan in plans if plan.name == name), None)

    def environment(self, name: EnvironmentName) -> Document:
        declared, seen = self.declared(name), self.seen(name)
        records = [record for record in self.memory.nodes.values() if record.environment == name]
        desired = self.made.desired if self.made else None
        frozen = desired.frozen.get(name) if desired else None
        known = self.memory.environments.get(name)
        conditions = [one for one in self.conditions if one.environment == name]
        plan = self.plan(name)
        return {
            "name": name,
            "project": declared.project if declared else None,
            "owner": declared.owner if declared else None,
            "branch": declared.branch if declared else None,
            "revision": (self.made.revision if self.made else None) or (known.declared_by if known else None),
            "is_declared": name in desired.declared if desired else None,
            "is_frozen": frozen is not None,
            "findings": documents.finding_documents(frozen.findings if frozen else ()),
            "teardown_began_at": documents.moment(known.teardown_began_at if known else None),
            "ending": self.ending(name),
            "expires_at": documents.moment(plan.expires_at if plan else None),
            "conditions": [documents.condition_document(one) for one in conditions],
            "roles": list[Json](documents.role_documents(self.wanted(name), seen, records)),
            "waiting": [waiting.message for waiting in plan.waiting] if plan else [],
        }

    def nodes(self, name: EnvironmentName, now: datetime) -> list[Document]:
        """As the newest pass saw them, and those that were launched in it or since."""
        seen, known, plan = self.seen(name), self.memory.nodes, self.plan(name)
        records = [record for record in known.values() if record.environment == name]
        records.sort(key=lambda record: (record.launched_at, record.instance_id))
        if seen is None:
            return [documents.remembered_node_document(one, now, documents.NOT_ASKED) for one in records]
        shown = {node.instance_id for node in seen.nodes}
        new = [one for one in records if one.instance_id not in shown and one.gone_at is None]
        return [
            *(documents.node_document(node, known.get(node.instance_id), plan, now) for node in seen.nodes),
            *(documents.remembered_node_document(one, now, documents.JUST_LAUNCHED) for one in new),
        ]

    def find(self, target: str, now: datetime) -> tuple[EnvironmentName, NodeName | None]:
        if EnvironmentName(target) in self.names:
            return EnvironmentName(target), None
        found = self.matching(target, now)
        if len(found) == 1:
            return found[0]
        if not found:
            listed = ", ".join(self.names) or "none"
            raise Stalled(f"no environment or node is called {target}", remedy=f"environments: {listed}")
        listed = ", ".join(name for _, name in found[:5])
        raise Stalled(f"{target} is part of {len(found)} nodes' names", remedy=f"give more of one: {listed}")

    def matching(self, target: str, now: datetime) -> Sequence[tuple[EnvironmentName, NodeName]]:
        """Nodes whose name has this part; of an exact name only that one."""
        part = target.removeprefix("i-")
        found = [
            (name, NodeName(str(node["name"])))
            for name in self.names
            for node in self.nodes(name, now)
            if part and part in str(node["name"])
        ]
        return [one for one in found if one[1] == part] or found

    def node(self, environment: EnvironmentName, name: NodeName) -> Node | None:
        """None where no pass of this process has seen it."""
        seen = self.seen(environment)
        return next((node for node in seen.nodes if node.name == name), None) if seen else None

    def holds(self, environment: EnvironmentName | None) -> list[Document]:
        """Of one environment, and those of everything; of all (None)."""
        found = holds.hold_documents(self.made.plan if self.made else None, self.conditions)
        return [one for one in found if environment is None or not one["environments"] or environment in _names(one)]

    def suspensions(self, environment: EnvironmentName | None) -> list[Document]:
        """Likewise."""
        return [
            holds.suspension_document(one)
            for one in self.memory.suspensions
            if environment is None or one.environment in (None, environment)
        ]

    def approvals(self, environment: EnvironmentName | None) -> list[Document]:
        """Likewise."""
        found = [holds.approval_document(one) for one in self.memory.approvals]
        return [one for one in found if environment is None or not one["environments"] or environment in _names(one)]

    @property
    def endings(self) -> Sequence[Ending]:
        """Of everything that is to go."""
        plans = self.made.plan.environments if self.made and self.made.plan else ()
        found = [*(plan.ending for plan in plans), *(known.ending for known in self.memory.environments.values())]
        return [one for one in found if one is not None]

    def ending(self, name: EnvironmentName) -> Document | None:
        known, plan = self.memory.environments.get(name), self.plan(name)
        ending = (known.ending if known else None) or (plan.ending if plan else None)
        if ending is None:
            return None
        grace = next((one for one in plan.blocked if one.guard is Guard.GRACE), None) if plan else None
        return holds.ending_document(ending, known, grace)

    def declared(self, name: EnvironmentName) -> Environment | None:
        return self.made.desired.environments.get(name) if self.made and self.made.desired else None

    def wanted(self, name: EnvironmentName) -> Environment | None:
        """As declared, unless its lifetime is over."""
        plan = self.plan(name)
        return self.declared(name) if plan is None or plan.is_declared else None

    def seen(self, name: EnvironmentName) -> ObservedEnvironment | None:
        return self.made.observed.environments.get(name) if self.made and self.made.observed else None


def _names(document: Document) -> list[Json]:
    names = document["environments"]
    return names if isinstance(names, list) else []
