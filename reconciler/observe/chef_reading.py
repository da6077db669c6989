"""Reading Chef: by search what is there, by name what must not be concluded from a search.

A search may lag, and a wrong "nothing left" would forget an object for ever, or delete one that is somebody else's by
now. So whatever ends, and whatever a moving image hangs on, is read by name; and so is a node that is past its deadline,
before it is called failed.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TypeVar

from reconciler.errors import HivequeenError
from reconciler.model.desired import Desired, Environment, ImageById
from reconciler.model.memory import ItemKind, Memory, NodeRecord
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
from reconciler.ports import ChefServer

OVERDUE_MAX: Final = 20  # nodes that one full pass reads by name because no search shows them as ready
Named = TypeVar("Named", bound=str)
Answer = TypeVar(
    "Answer", Mapping[str, ChefNode], Mapping[str, ChefRole], Mapping[str, ChefEnvironment], frozenset[str]
)


@dataclass(slots=True)
class ChefReading:
    nodes: dict[str, ChefNode] = field(default_factory=dict)
    clients: set[str] = field(default_factory=set)
    roles: dict[str, ChefRole] = field(default_factory=dict)
    environments: dict[str, ChefEnvironment] = field(default_factory=dict)
    asked_nodes: set[str] = field(default_factory=set)  # those that were read by name
    # Environments of which some object could not be read, with message and remedy: their trouble alone.
    unreadable: dict[EnvironmentName, tuple[str, str]] = field(default_factory=dict)


def read_chef(
    chef: ChefServer,
    *,
    names: frozenset[EnvironmentName] | None,
    memory: Memory,
    instances: Mapping[InstanceId, Instance],
    desired: Desired,
    bootstrap_deadline: timedelta,
    at: datetime,
) -> ChefReading:
    """Everything in Chef that concerns these environments; None: all.

    Args:
        bootstrap_deadline: whom no search shows as ready after it is read by name, some in each pass.

    Raises:
        Transient, Denied: a search failed, so nothing was read.
    """
    reading = ChefReading()
    if names is None:
        reading.nodes.update(chef.nodes())
        reading.clients.update(chef.clients())
    if names is None:
        in_doubt = _overdue(reading.nodes, memory, instances, bootstrap_deadline, at)
    else:
        in_doubt = _living(names, memory, instances)
    _read_nodes(chef, reading, in_doubt, _dead(names, memory, instances))
    _read_generated(chef, reading, names=names, memory=memory, desired=desired, live_images=_live_images(instances))
    return reading


def _read_nodes(
    chef: ChefServer,
    reading: ChefReading,
    in_doubt: Mapping[EnvironmentName, set[NodeName]],
    dead: Mapping[EnvironmentName, set[NodeName]],
) -> None:
    """By name: what is left of dead instances, and the living that are in doubt."""
    for gone in dead.values():
        for name in gone:
            reading.nodes.pop(name, None)
            reading.clients.discard(name)
    wanted = {one: dead.get(one, set()) | in_doubt.get(one, set()) for one in {*dead, *in_doubt}}
    for found_nodes in _by_name(chef.nodes, wanted, reading):
        reading.nodes.update(found_nodes)
    reading.asked_nodes.update(name for one in wanted.keys() - reading.unreadable.keys() for name in wanted[one])
    for found_clients in _by_name(chef.clients, dead, reading):
        reading.clients.update(found_clients)


def _dead(
    names: frozenset[EnvironmentName] | None, memory: Memory, instances: Mapping[InstanceId, Instance]
) -> Mapping[EnvironmentName, set[NodeName]]:
    found: dict[EnvironmentName, set[NodeName]] = defaultdict(set)
    for record in memory.nodes.values():
        if (names is None or record.environment in names) and _is_dead(record, instances):
            found[record.environment].add(record.name)
    return found


def _living(
    names: frozenset[EnvironmentName], memory: Memory, instances: Mapping[InstanceId, Instance]
) -> Mapping[EnvironmentName, set[NodeName]]:
    """Of a scoped pass, which does not search."""
    found: dict[EnvironmentName, set[NodeName]] = defaultdict(set)
    for record in memory.nodes.values():
        if record.environment in names and not _is_dead(record, instances):
            found[record.environment].add(record.name)
    for instance in instances.values():
        if instance.instance_id not in memory.nodes and instance.environment is not None and instance.role is not None:
            environment = EnvironmentName(instance.environment)
            found[environment].add(node_name(environment, RoleName(instance.role), instance.instance_id))
    return found


def _is_dead(record: NodeRecord, instances: Mapping[InstanceId, Instance]) -> bool:
    instance = instances.get(record.instance_id)
    return record.gone_at is not None or record.missing_since is not None or (instance is not None and instance.is_dead)


def _overdue(
    found: Mapping[str, ChefNode],
    memory: Memory,
    instances: Mapping[InstanceId, Instance],
    bootstrap_deadline: timedelta,
    at: datetime,
) -> Mapping[EnvironmentName, set[NodeName]]:
    """Who might be called failed if the search were right: those that are due longest, as many as one pass may ask for.

    What postpones a deadline beyond that is joining's to judge: here it would only save a question.
    """
    due: list[tuple[datetime, InstanceId]] = []
    for record in memory.nodes.values():
        instance, chef = instances.get(record.instance_id), found.get(record.name)
        is_ready = record.ready_at is not None or (chef is not None and chef.ohai_time is not None)
        is_judged = record.failed_at is not None or record.first_run_ok is False
        if instance is None or instance.is_dead or record.intent not in memory.intents or is_ready or is_judged:
            continue
        due_at = max(instance.launched_at, record.deferred_at or instance.launched_at) + bootstrap_deadline
        if due_at <= at:
            due.append((due_at, record.instance_id))
    names: dict[EnvironmentName, set[NodeName]] = defaultdict(set)
    for _, instance_id in sorted(due)[:OVERDUE_MAX]:
        names[memory.nodes[instance_id].environment].add(memory.nodes[instance_id].name)
    return names


def _read_generated(
    chef: ChefServer,
    reading: ChefReading,
    *,
    names: frozenset[EnvironmentName] | None,
    memory: Memory,
    desired: Desired,
    live_images: Mapping[ChefName, set[ImageId]],
) -> None:
    """Roles and environments: what the searches show, put right by what is asked by name."""
    ending = {
        name
        for name, known in memory.environments.items()
        if (name not in desired.names or known.ending is not None) and (names is None or name in names)
    }
    # What an ending environment has left must not depend on what we remember of it: a role that never held a node
    # would be overlooked, and the teardown called done.
    roles = dict(chef.roles()) if names is None or ending else {}
    environments = dict(chef.environments()) if names is None else {}
    if names is None:
        in_question = ending | (_owners(roles, environments) - desired.names)
        reading.roles.update(roles)
        reading.environments.update(environments)
    else:
        in_question = set(names)
    role_names, environment_names = _questions(in_question, roles, memory, desired)
    if names is None:
        for declared in desired.environments.values():
            role_names[declared.name] |= _in_doubt(declared, roles, live_images) | _missing(declared, roles)
            role_names[declared.name] |= _surplus(declared, roles)
            if declared.chef_environment_name not in environments:
                environment_names[declared.name] = {declared.chef_environment_name}
    for name in {one for asked in role_names.values() for one in asked}:
        reading.roles.pop(name, None)
    for name in {one for asked in environment_names.values() for one in asked}:
        reading.environments.pop(name, None)
    for found_roles in _by_name(chef.roles, role_names, reading):
        reading.roles.update(found_roles)
    for found_environments in _by_name(chef.environments, environment_names, reading):
        reading.environments.update(found_environments)


def _questions(
    in_question: Collection[EnvironmentName], roles: Collection[str], memory: Memory, desired: Desired
) -> tuple[dict[EnvironmentName, set[ChefName]], dict[EnvironmentName, set[ChefName]]]:
    """The Chef roles and environments to ask for by name: declared, remembered, or seen in a search."""
    role_names: dict[EnvironmentName, set[ChefName]] = defaultdict(set)
    environment_names: dict[EnvironmentName, set[ChefName]] = {}
    for name, role in _remembered_roles(memory):
        role_names[name].add(chef_role_name(name, role))
    for found in roles:
        parts = split_chef_role_name(found)
        if parts is not None:
            role_names[parts[0]].add(ChefName(found))
    for name in in_question:
        declared = desired.environments.get(name)
        environment_names[name] = {declared.chef_environment_name if declared is not None else ChefName(name)}
        role_names[name] |= {chef_role_name(name, role) for role in (declared.roles if declared is not None else ())}
    return defaultdict(set, {name: role_names[name] for name in in_question}), environment_names


def _in_doubt(
    declared: Environment, found: Mapping[str, ChefRole], live_images: Mapping[ChefName, set[ImageId]]
) -> set[ChefName]:
    """Roles with a moving image that would be resolved anew, or nodes be replaced for, if the search were right."""
    doubtful = set()
    for role in declared.roles.values():
        name = chef_role_name(declared.name, role.name)
        pin = found[name].pin(str(role.image)) if name in found else None
        if not isinstance(role.image, ImageById) and (pin is None or live_images.get(name, set()) - {pin}):
            doubtful.add(name)
    return doubtful


def _missing(declared: Environment, found: Collection[str]) -> set[ChefName]:
    """Roles that the search lacks: before one is made it must be certain that nobody else's stands there."""
    return {chef_role_name(declared.name, role) for role in declared.roles} - {ChefName(name) for name in found}


def _surplus(declared: Environment, found: Mapping[str, ChefRole]) -> set[ChefName]:
    """Roles with a mark that it declares no more: they are to go, if they are still ours."""
    marked = {name for name, role in found.items() if Ownership.read(role.default_attributes) is not None}
    parts = {name: split_chef_role_name(name) for name in marked}
    return {
        ChefName(name) for name, at in parts.items() if at and at[0] == declared.name and at[1] not in declared.roles
    }


def _live_images(instances: Mapping[InstanceId, Instance]) -> Mapping[ChefName, set[ImageId]]:
    """The images that run, by the Chef role of their nodes."""
    images: dict[ChefName, set[ImageId]] = defaultdict(set)
    for instance in instances.values():
        if not instance.is_dead and instance.environment is not None and instance.role is not None:
            name = chef_role_name(EnvironmentName(instance.environment), RoleName(instance.role))
            images[name].add(instance.image)
    return images


def _owners(roles: Mapping[str, ChefRole], environments: Mapping[str, ChefEnvironment]) -> set[EnvironmentName]:
    """Environments that a mark names."""
    attributes = [one.default_attributes for one in roles.values()]
    attributes += [one.default_attributes for one in environments.values()]
    marks = (Ownership.read(one) for one in attributes)
    return {EnvironmentName(mark.environment) for mark in marks if mark is not None}


def _remembered_roles(memory: Memory) -> set[tuple[EnvironmentName, RoleName]]:
    nodes = {(record.environment, record.role) for record in memory.nodes.values()}
    # What a teardown found is ticked off as gone only because it was asked for.
    listed = {
        parts
        for known in memory.environments.values()
        for item in (known.ending.items if known.ending is not None else ())
        if item.kind is ItemKind.CHEF_ROLE and (parts := split_chef_role_name(item.name)) is not None
    }
    return nodes | listed | {(one.environment, one.role) for one in memory.intents.values()} | {*memory.settled}


def _by_name(
    ask: Callable[[Collection[Named]], Answer], wanted: Mapping[EnvironmentName, set[Named]], reading: ChefReading
) -> list[Answer]:
    """All at once; if that fails, environment by environment, so that one object cannot blind us for the others."""
    everything = [name for names in wanted.values() for name in sorted(names)]
    if not everything:
        return []
    try:
        return [ask(everything)]
    except HivequeenError:
        answers = []
        for environment, names in sorted(wanted.items()):
            try:
                answers.append(ask(sorted(names)))
            except HivequeenError as error:
                reading.unreadable[environment] = (error.message, error.remedy)
        return answers
