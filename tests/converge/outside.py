"""EC2, Chef and a real journal around one Converger; plans are made by hand."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from reconciler.adapters.journal import SqliteJournal
from reconciler.converge import Converger, Launcher
from reconciler.model import tags
from reconciler.model.actions import (
    Action,
    Batch,
    EnsureChefEnvironment,
    EnsureChefRole,
    LaunchNodes,
    Reason,
    ReplayLaunch,
    StartNode,
    StopNode,
    TagNode,
    TerminateNode,
)
from reconciler.model.desired import Environment
from reconciler.model.facts import Fact, IntentOpened, TerminationAsked
from reconciler.model.memory import Cause, Intent, IntentState
from reconciler.model.names import InstanceId, IntentToken, NodeName, RoleName
from reconciler.model.passes import Outcome
from reconciler.model.plan import EnvironmentPlan
from tests.fakes.chef import FakeChefServer
from tests.fakes.clock import FakeClock
from tests.fakes.cloud import FakeCloud
from tests.plan.builders import CHECKOUT, IMAGE, WEB, environment, generated, role

WHY = Reason(rule="test", detail="because")
HOME = environment(roles=[role(), role("worker", 1)])


class Journal(SqliteJournal):
    """The real one; it also notes what EC2 had been asked when a fact was written."""

    cloud: FakeCloud
    written: list[tuple[Fact, Counter[str]]]

    def record(self, at: Any, *facts: Fact) -> None:
        super().record(at, *facts)
        self.written.extend((fact, Counter(self.cloud.calls)) for fact in facts)

    def before(self, kind: type, operation: str) -> bool:
        """Was such a fact durable before the first such call?"""
        return any(isinstance(fact, kind) and calls[operation] == 0 for fact, calls in self.written)


@dataclass
class Outside:
    journal: Journal
    clock: FakeClock = field(default_factory=FakeClock)
    chef: FakeChefServer = field(default_factory=FakeChefServer)
    is_stopping: Callable[[], bool] = lambda: False
    tokens: int = 0

    def __post_init__(self) -> None:
        self.cloud = FakeCloud(clock=self.clock)
        self.journal.cloud, self.journal.written = self.cloud, []

    def converge(self, *actions: Action, declared: Environment | None = HOME) -> tuple[Outcome, ...]:
        converger = Converger(
            clock=self.clock,
            cloud=self.cloud,
            chef=self.chef,
            journal=self.journal,
            launcher=Launcher(
                clock=self.clock,
                cloud=self.cloud,
                journal=self.journal,
                new_token=self._new_token,
                is_stopping=self.is_stopping,
            ),
            first_boot=lambda home, one: f"#!/bin/sh\n# {home.name} {one.name}\n",
            is_stopping=self.is_stopping,
        )
        return converger.converge(EnvironmentPlan(name=CHECKOUT, actions=actions), declared)

    def _new_token(self) -> IntentToken:
        self.tokens += 1
        return IntentToken(f"hq-{self.tokens}")

    def intents(self) -> list[Intent]:
        """Everything that is remembered of launches, in order of their tokens; settled ones without nodes too."""
        tokens = sorted({fact.intent.token for fact, _ in self.journal.written if isinstance(fact, IntentOpened)})
        return [found for token in tokens if (found := self.journal.intent(token)) is not None]

    def states(self) -> list[IntentState]:
        return [one.state for one in self.intents()]

    def asked(self) -> list[InstanceId]:
        return [fact.instance_id for fact, _ in self.journal.written if isinstance(fact, TerminationAsked)]

    def running(self, count: int = 3) -> list[InstanceId]:
        """Instances that were launched before."""
        (outcome,) = self.converge(launch(("subnet-a", count)))
        assert outcome.message
        self.cloud.calls.clear()
        self.journal.written.clear()
        return [one.instance_id for one in self.cloud.alive()]


def launch(*batches: tuple[str, int], of: str = WEB, **changes: Any) -> LaunchNodes:
    declared = HOME.roles[RoleName(of)]
    fields: dict[str, Any] = {
        "environment": CHECKOUT,
        "role": declared.name,
        "declared": declared,
        "image": IMAGE,
        "tags": {tags.FLEET: "demo", tags.ENVIRONMENT: CHECKOUT, tags.ROLE: of, tags.SPEC: "v1:44136fa355b3678a"},
        "batches": tuple(Batch(subnet=subnet, instance_type="m7i.large", count=count) for subnet, count in batches),
        "reason": WHY,
    }
    return LaunchNodes(**{**fields, **changes})


def replay(intent: Intent) -> ReplayLaunch:
    return ReplayLaunch(environment=intent.environment, role=intent.role, intent=intent, reason=WHY)


def terminate(instance_id: InstanceId, cause: Cause = Cause.SCALE_DOWN) -> TerminateNode:
    return TerminateNode(
        environment=CHECKOUT, role=WEB, node=_node(instance_id), instance_id=instance_id, cause=cause, reason=WHY
    )


def stop(instance_id: InstanceId) -> StopNode:
    return StopNode(environment=CHECKOUT, role=WEB, node=_node(instance_id), instance_id=instance_id, reason=WHY)


def start(instance_id: InstanceId) -> StartNode:
    return StartNode(environment=CHECKOUT, role=WEB, node=_node(instance_id), instance_id=instance_id, reason=WHY)


def tag(instance_id: InstanceId, remove: tuple[str, ...] = (), **changes: str) -> TagNode:
    return TagNode(
        environment=CHECKOUT,
        role=WEB,
        node=_node(instance_id),
        instance_id=instance_id,
        set=changes,
        remove=remove,
        reason=WHY,
    )


def chef_role(of: str = WEB) -> EnsureChefRole:
    wanted = generated(HOME)["chef_roles"][f"checkout-{of}"]
    return EnsureChefRole(environment=CHECKOUT, role=RoleName(of), wanted=wanted, reason=WHY)


def chef_environment() -> EnsureChefEnvironment:
    return EnsureChefEnvironment(environment=CHECKOUT, wanted=generated(HOME)["chef_environment"], reason=WHY)


def _node(instance_id: InstanceId) -> NodeName:
    return NodeName(f"checkout-web-{instance_id.removeprefix('i-')}")
