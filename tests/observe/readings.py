"""Readings made by hand: what EC2, Chef and the journal said at one moment."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from reconciler.model import tags
from reconciler.model.desired import Desired
from reconciler.model.memory import Intent, IntentState, Memory, NodeRecord
from reconciler.model.names import (
    ChefName,
    EnvironmentName,
    FleetId,
    InstanceId,
    IntentToken,
    NodeName,
    RoleName,
    node_name,
)
from reconciler.model.observed import ChefNode, ChefRole, Instance, InstanceState, Node
from reconciler.model.rules import Rules
from reconciler.observe import Joined, Reading, join
from tests.plan.builders import (
    CHECKOUT,
    IMAGE,
    MINUTE,
    NOW,
    WEB,
    desired,
    environment,
    instance_id,
    intents,
    memory,
    parameters,
    role,
)

RULES = Rules(fleet=FleetId("demo"))
TOKEN = IntentToken("hq-1")


def name(number: int, of: str = CHECKOUT, role: str = WEB) -> NodeName:
    return node_name(EnvironmentName(of), RoleName(role), instance_id(number))


def instance(
    number: int,
    *,
    age: timedelta = 20 * MINUTE,
    state: InstanceState = InstanceState.RUNNING,
    tag: dict[str, str | None] | None = None,
    token: str | None = TOKEN,
    **changes: Any,
) -> Instance:
    """One of checkout's web nodes."""
    live: dict[str, str | None] = {
        tags.FLEET: "demo",
        tags.ENVIRONMENT: CHECKOUT,
        tags.ROLE: WEB,
        tags.INTENT: token,
        **(tag or {}),
    }
    made = Instance(
        instance_id=instance_id(number),
        state=state,
        image=IMAGE,
        instance_type="m7i.large",
        subnet="subnet-a",
        security_groups=frozenset({"sg-app"}),
        instance_profile=None,
        private_address=f"10.0.0.{number}",
        launched_at=NOW - age,
        tags={key: value for key, value in live.items() if value is not None},
    )
    return replace(made, **changes)


def record(
    number: int, *, of: str = CHECKOUT, role: str = WEB, age: timedelta = 20 * MINUTE, **changes: Any
) -> NodeRecord:
    made = NodeRecord(
        instance_id=instance_id(number),
        environment=EnvironmentName(of),
        role=RoleName(role),
        name=name(number, of, role),
        intent=TOKEN,
        launched_at=NOW - age,
        seen_at=NOW - age,
    )
    return replace(made, **changes)


def launch(*numbers: int, token: str = TOKEN, count: int | None = None, **changes: Any) -> Intent:
    """An intent that launched these; with no numbers, one that is open."""
    made = Intent(
        token=IntentToken(token),
        environment=CHECKOUT,
        role=WEB,
        parameters=parameters(role(), count or max(1, len(numbers)), token=token),
        opened_at=NOW - 20 * MINUTE,
        state=IntentState.LAUNCHED if numbers else IntentState.OPEN,
        instance_ids=tuple(instance_id(number) for number in numbers),
    )
    return replace(made, **changes)


def remembering(*records: NodeRecord, launches: Iterable[Intent] = (), **changes: Any) -> Memory:
    return memory(nodes={one.instance_id: one for one in records}, intents=intents(*launches), **changes)


def in_chef(number: int, *, ohai_ago: timedelta | None = MINUTE, of: str = CHECKOUT, role: str = WEB) -> ChefNode:
    return ChefNode(
        name=name(number, of, role),
        chef_environment=ChefName(of),
        run_list=(f"role[{of}-{role}]",),
        ohai_time=None if ohai_ago is None else (NOW - ohai_ago).timestamp(),
    )


def reading(
    *listed: Instance,
    remembered: Memory | None = None,
    by_id: Iterable[Instance] = (),
    asked: Iterable[InstanceId] | None = None,
    chef: Iterable[ChefNode] = (),
    clients: Iterable[str] = (),
    roles: Iterable[ChefRole] = (),
    names: Iterable[str] | None = None,
    **changes: Any,
) -> Reading:
    found = {one.instance_id: one for one in by_id}
    made = Reading(
        at=NOW,
        names=None if names is None else frozenset(EnvironmentName(one) for one in names),
        memory=remembered or memory(),
        listed={one.instance_id: one for one in listed},
        by_id=found,
        asked=frozenset(found if asked is None else asked),
        chef_nodes={one.name: one for one in chef},
        chef_asked=frozenset(one.name for one in remembered.nodes.values()) if remembered else frozenset(),
        chef_clients=frozenset(clients),
        chef_roles={one.name: one for one in roles},
        chef_environments={},
    )
    return replace(made, **changes)


def joined(made: Reading, wanted: Desired | None = None) -> Joined:
    return join(made, wanted if wanted is not None else desired(environment()), RULES)


def nodes(made: Joined, of: str = CHECKOUT) -> list[Node]:
    return list(made.observed.environments[EnvironmentName(of)].nodes)


def only(made: Joined, of: str = CHECKOUT) -> Node:
    (node,) = nodes(made, of)
    return node
