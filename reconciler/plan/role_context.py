"""What the steps of one role's plan share: what they look at, and what they add to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeAlias

from reconciler.model.actions import Action, Reason, TerminateNode
from reconciler.model.desired import Environment, Role
from reconciler.model.facts import Fact
from reconciler.model.memory import Cause, Memory
from reconciler.model.names import EnvironmentName, ImageId, InstanceId, RoleName
from reconciler.model.observed import Node, Phase
from reconciler.model.plan import Difference, Stall, Waiting
from reconciler.model.rules import Rules
from reconciler.plan.context import Context
from reconciler.plan.drift import Drift

BOOTING: Final = (Phase.PENDING, Phase.RUNNING, Phase.REGISTERED)
# What a role's places are filled with: a lost or unseen node keeps its place, for it may still run.
PLACED: Final = (*BOOTING, Phase.READY, Phase.LOST)

Drifts: TypeAlias = Mapping[InstanceId, tuple[Drift, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleContext:
    """All that one role's plan depends on."""

    environment: Environment
    role: Role
    image: ImageId
    nodes: Sequence[Node]  # of this role, sorted by launch time, then id
    world: Context

    @property
    def key(self) -> tuple[EnvironmentName, RoleName]:
        return self.environment.name, self.role.name

    @property
    def memory(self) -> Memory:
        return self.world.memory

    @property
    def rules(self) -> Rules:
        return self.world.rules

    @property
    def now(self) -> datetime:
        return self.world.now

    def reason(self, rule: str, detail: str, key: str = "") -> Reason:
        return Reason(rule=rule, detail=detail, origin=self.role.origin(key), revision=self.world.revision)


@dataclass(slots=True)
class RolePlan:
    """What the steps found, in order."""

    actions: list[Action] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    stalls: list[Stall] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    drifted: dict[InstanceId, tuple[Difference, ...]] = field(default_factory=dict)
    due_at: datetime | None = None  # the next moment at which something comes due that only needs time

    def due(self, at: datetime) -> None:
        self.due_at = at if self.due_at is None else min(self.due_at, at)

    def wait(self, role: RoleName, message: str, *, until: datetime | None = None) -> None:
        """Say what is awaited; with `until`, something that ends then and not before."""
        self.waiting.append(Waiting(message=f"{role}: {message}", role=role, until=until))
        if until is not None:
            self.due(until)

    def terminate(self, node: Node, cause: Cause, reason: Reason, change: str = "") -> None:
        self.actions.append(
            TerminateNode(
                environment=node.environment,
                role=node.role,
                node=node.name,
                instance_id=node.instance_id,
                cause=cause,
                change=change,
                reason=reason,
            )
        )


def changes(found: Sequence[Drift]) -> str:
    return "; ".join(str(one) for one in found)


def lost_stall(node: Node, rules: Rules) -> Stall:
    return Stall(
        reason="NodeLost",
        message=f"{node.instance_id} is out of sight: it lost its tag hivequeen:fleet, or EC2 does not show it; its place in {node.role} is kept",
        remedy=f"give it the tag back (hivequeen:fleet={rules.fleet}), or terminate it",
    )
