"""Reading the world: raw answers of EC2, the journal and Chef, all of one moment, complete or not at all."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from reconciler.errors import Refused
from reconciler.model.desired import Desired, ImageById
from reconciler.model.memory import Memory, NodeRecord
from reconciler.model.names import (
    ChefName,
    EnvironmentName,
    ImageId,
    InstanceId,
    NodeName,
    RoleName,
    chef_role_name,
    node_name,
    split_chef_role_name,
)
from reconciler.model.observed import ChefEnvironment, ChefNode, ChefRole, Instance, Ownership
from reconciler.model.rules import UNSEEN_GRACE
from reconciler.ports import ChefServer, Cloud, Journal


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Everything that joining needs. `None` for `names`: the whole fleet."""

    at: datetime
    names: frozenset[EnvironmentName] | None
    memory: Memory
    listed: Mapping[InstanceId, Instance]  # carry our fleet tag
    by_id: Mapping[InstanceId, Instance]  # remembered, not listed, found by id
    asked: frozenset[InstanceId]  # those that were read by id
    chef_nodes: Mapping[str, ChefNode]
    chef_clients: frozenset[str]
    chef_roles: Mapping[str, ChefRole]
    chef_environments: Mapping[str, ChefEnvironment]
    images: Mapping[tuple[EnvironmentName, RoleName], ImageId] = field(default_factory=lambda: MappingProxyType({}))
    unresolved: Mapping[tuple[EnvironmentName, RoleName], tuple[str, str]] = field(
        default_factory=lambda: MappingProxyType({})
    )


def read(
    *,
    cloud: Cloud,
    chef: ChefServer,
    journal: Journal,
    desired: Desired,
    names: frozenset[EnvironmentName] | None,
    refresh: Collection[EnvironmentName],
    at: datetime,
) -> Reading:
    """Read what joining needs, EC2 before the journal: an instance is never seen before its intent is.

    Args:
        names: the environments in scope; None for all.
        refresh: environments whose moving images are to be resolved again.

    Raises:
        Transient, Denied: some part could not be read, so nothing was.
    """
    # A commit that changes no environment makes an empty scope: nothing is asked.
    instances = cloud.list_instances(names) if names is None or names else ()
    listed = {instance.instance_id: instance for instance in instances}
    memory = journal.recall(at)
    missing = frozenset(
        record.instance_id
        for record in memory.nodes.values()
        if _in_scope(record.environment, names)
        and record.gone_at is None
        and record.instance_id not in listed
        and at - record.launched_at >= UNSEEN_GRACE
    )
    by_id = cloud.get_instances(missing) if missing else {}
    nodes, clients = _read_nodes(chef, names, memory, {**listed, **by_id})
    roles, environments = _read_generated(chef, names, memory, desired)
    images, unresolved = _resolve_images(cloud, desired, names, roles, refresh)
    return Reading(
        at=at,
        names=names,
        memory=memory,
        listed=listed,
        by_id=by_id,
        asked=missing,
        chef_nodes=nodes,
        chef_clients=clients,
        chef_roles=roles,
        chef_environments=environments,
        images=images,
        unresolved=unresolved,
    )


def _in_scope(environment: EnvironmentName, names: frozenset[EnvironmentName] | None) -> bool:
    return names is None or environment in names


def _read_nodes(
    chef: ChefServer,
    names: frozenset[EnvironmentName] | None,
    memory: Memory,
    instances: Mapping[InstanceId, Instance],
) -> tuple[Mapping[str, ChefNode], frozenset[str]]:
    """Nodes and clients. What is left of a dead instance is always read by name: a search may lag, and a wrong
    "nothing left" would forget it for ever."""
    records = [record for record in memory.nodes.values() if _in_scope(record.environment, names)]
    dead = {record.name for record in records if _is_dead(record, instances)}
    if names is None:
        nodes, clients = dict(chef.nodes()), set(chef.clients())
        for name in dead:
            nodes.pop(name, None)
        clients.difference_update(dead)
    else:
        nodes, clients = {}, set()
    live: list[NodeName] = []
    if names is not None:
        live += [record.name for record in records if record.name not in dead]
        unknown = [one for one in instances.values() if one.instance_id not in memory.nodes]
        live += [known_as for one in unknown if (known_as := _name(one)) is not None]
    if live or dead:
        nodes.update(chef.nodes([*live, *dead]))
    if dead:
        clients |= chef.clients(dead)
    return nodes, frozenset(clients)


def _is_dead(record: NodeRecord, instances: Mapping[InstanceId, Instance]) -> bool:
    instance = instances.get(record.instance_id)
    return record.gone_at is not None or record.missing_since is not None or (instance is not None and instance.is_dead)


def _name(instance: Instance) -> NodeName | None:
    if instance.environment is None or instance.role is None:
        return None
    return node_name(EnvironmentName(instance.environment), RoleName(instance.role), instance.instance_id)


def _read_generated(
    chef: ChefServer, names: frozenset[EnvironmentName] | None, memory: Memory, desired: Desired
) -> tuple[Mapping[str, ChefRole], Mapping[str, ChefEnvironment]]:
    """Roles and environments. Those of an environment that is being torn down are read by name, for the same reason."""
    ending = {name for name in memory.environments if name not in desired.names and (names is None or name in names)}
    # What an ending environment has left must not depend on what we remember of it: a role that never held a node
    # would be overlooked, and the teardown called done.
    roles = dict(chef.roles()) if names is None or ending else {}
    environments = dict(chef.environments()) if names is None else {}
    in_question = ending if names is None else set(names)
    role_names = {chef_role_name(name, role) for name, role in _remembered_roles(memory) if name in in_question}
    role_names |= {
        ChefName(name)
        for name in roles
        if (parts := split_chef_role_name(name)) is not None and parts[0] in in_question
    }
    environment_names = {ChefName(name) for name in in_question if name not in desired.environments}
    for name in in_question & set(desired.environments):
        declared = desired.environments[name]
        environment_names.add(declared.chef_environment_name)
        role_names |= {chef_role_name(name, role) for role in declared.roles}
    if names is not None:
        roles = {}  # the search named them
    for role_name in role_names:
        roles.pop(role_name, None)
    for environment_name in environment_names:
        environments.pop(environment_name, None)
    if role_names:
        roles.update(chef.roles(role_names))
    if environment_names:
        environments.update(chef.environments(environment_names))
    return roles, environments


def _remembered_roles(memory: Memory) -> set[tuple[EnvironmentName, RoleName]]:
    nodes = {(record.environment, record.role) for record in memory.nodes.values()}
    return nodes | {(one.environment, one.role) for one in memory.intents.values()} | {*memory.settled}


def _resolve_images(
    cloud: Cloud,
    desired: Desired,
    names: frozenset[EnvironmentName] | None,
    roles: Mapping[str, ChefRole],
    refresh: Collection[EnvironmentName],
) -> tuple[
    Mapping[tuple[EnvironmentName, RoleName], ImageId], Mapping[tuple[EnvironmentName, RoleName], tuple[str, str]]
]:
    """Resolve each moving image once that a role has no pin for. One that cannot be is that role's trouble alone."""
    images: dict[tuple[EnvironmentName, RoleName], ImageId] = {}
    unresolved: dict[tuple[EnvironmentName, RoleName], tuple[str, str]] = {}
    answers: dict[str, ImageId | Refused] = {}
    for name, environment in desired.environments.items():
        if not _in_scope(name, names):
            continue
        for role in environment.roles.values():
            if isinstance(role.image, ImageById):
                continue
            source = str(role.image)
            chef_role = roles.get(chef_role_name(name, role.name))
            owner = Ownership.read(chef_role.default_attributes) if chef_role else None
            is_pinned = owner is not None and chef_role is not None and chef_role.pin(source) is not None
            if is_pinned and name not in refresh:
                continue
            if source not in answers:
                try:
                    answers[source] = cloud.resolve_image(role.image)
                except Refused as refusal:
                    answers[source] = refusal
            answer = answers[source]
            if isinstance(answer, Refused):
                unresolved[name, role.name] = (answer.message, answer.remedy)
            else:
                images[name, role.name] = answer
    return images, unresolved
