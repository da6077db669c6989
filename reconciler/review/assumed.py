"""A world for want of a better one: what a revision declares runs exactly so, and nothing else does."""

import hashlib
from collections.abc import Iterator
from datetime import datetime
from types import MappingProxyType
from typing import Final

from reconciler.model import tags
from reconciler.model.desired import Desired, Environment, Role
from reconciler.model.digest import spec_digest
from reconciler.model.memory import KnownEnvironment, Memory
from reconciler.model.names import (
    ImageId,
    InstallationId,
    InstanceId,
    chef_role_name,
    node_name,
    node_run_list,
)
from reconciler.model.observed import (
    ChefEnvironment,
    ChefNode,
    Instance,
    InstanceState,
    Node,
    Observed,
    ObservedEnvironment,
    Phase,
)
from reconciler.model.policy import Policy
from reconciler.model.rules import Rules
from reconciler.plan.chef import wanted_environment, wanted_role
from reconciler.plan.drift import live_fields, wanted_tags
from reconciler.review.snapshot import Snapshot

_ID_DIGITS: Final = 17


def assume(base: Desired, *, rules: Rules, policy: Policy, folder: str, region: str, at: datetime) -> Snapshot:
    """The world in which the base has nothing left to do."""
    environments = {
        name: ObservedEnvironment(
            name=name,
            nodes=tuple(_nodes(environment, rules, at)),
            chef_environment=_chef_environment(environment, rules),
            chef_roles={
                chef_role_name(name, role.name): wanted_role(rules.fleet, environment, role, ImageId(str(role.image)))
                for role in environment.roles.values()
            },
            fleet=rules.fleet,
        )
        for name, environment in base.environments.items()
    }
    known = {
        name: KnownEnvironment(
            name=name,
            declared_by=base.revision,
            is_protected=name in base.environments and base.environments[name].protected,
        )
        for name in base.declared
    }
    settled = {
        (name, role.name): role.count
        for name, environment in base.environments.items()
        for role in environment.roles.values()
    }
    return Snapshot(
        revision=None,
        folder=folder,
        region=region,
        rules=rules,
        policy=policy,
        observed=Observed(at=at, is_full=True, environments=environments),
        memory=Memory(
            installation=InstallationId("assumed"), applied=base.revision, environments=known, settled=settled
        ),
    )


def _chef_environment(environment: Environment, rules: Rules) -> ChefEnvironment:
    if environment.chef_environment is not None:
        return ChefEnvironment(name=environment.chef_environment, default_attributes={})
    return wanted_environment(rules.fleet, environment)


def _nodes(environment: Environment, rules: Rules, at: datetime) -> Iterator[Node]:
    for role in environment.roles.values():
        for number in range(role.count):
            yield _node(environment, role, number, rules, at)


def _node(environment: Environment, role: Role, number: int, rules: Rules, at: datetime) -> Node:
    digits = hashlib.sha256(f"{environment.name}/{role.name}/{number}".encode()).hexdigest()[:_ID_DIGITS]
    instance = Instance(
        instance_id=InstanceId(f"i-{digits}"),
        state=InstanceState.RUNNING,
        image=ImageId(str(role.image)),
        instance_type=role.instance_types[0],
        subnet=role.subnets[number % len(role.subnets)],
        security_groups=role.security_groups,
        instance_profile=role.instance_profile,
        private_address=None,
        launched_at=at,
        tags=MappingProxyType(
            {
                **wanted_tags(rules.fleet, environment, role),
                tags.SPEC: spec_digest(role),
                tags.READY: at.isoformat(timespec="seconds"),
            }
        ),
    )
    name = node_name(environment.name, role.name, instance.instance_id)
    return Node(
        name=name,
        environment=environment.name,
        role=role.name,
        instance=instance,
        phase=Phase.READY,
        was_ready=True,
        chef=ChefNode(
            name=name,
            chef_environment=environment.chef_environment_name,
            run_list=node_run_list(environment.name, role.name),
            ohai_time=at.timestamp(),
        ),
        has_client=True,
        launched_with=live_fields(instance),  # drift that comes later is a commit's doing
    )
