"""Reading the world: raw answers of EC2, the journal and Chef, all of one moment, complete or not at all."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from reconciler.errors import HivequeenError
from reconciler.model.desired import Desired, ImageById
from reconciler.model.memory import Memory
from reconciler.model.names import EnvironmentName, ImageId, InstanceId, RoleName, chef_role_name
from reconciler.model.observed import ChefEnvironment, ChefNode, ChefRole, Instance, InstanceState, Ownership
from reconciler.model.rules import UNSEEN_GRACE, Rules
from reconciler.observe.chef_reading import read_chef
from reconciler.ports import ChefServer, Cloud, Journal


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Everything that joining needs. `None` for `names`: the whole fleet."""

    at: datetime
    names: frozenset[EnvironmentName] | None
    memory: Memory
    listed: Mapping[InstanceId, Instance]  # carry our fleet tag
    by_id: Mapping[InstanceId, Instance]  # remembered and not listed, or in doubt: found by id
    asked: frozenset[InstanceId]  # those that were read by id
    chef_nodes: Mapping[str, ChefNode]
    chef_asked: frozenset[str]  # nodes that were read by name: what a search lacks proves nothing
    chef_clients: frozenset[str]
    chef_roles: Mapping[str, ChefRole]
    chef_environments: Mapping[str, ChefEnvironment]
    refreshing: frozenset[EnvironmentName] = frozenset()
    unreadable: Mapping[EnvironmentName, tuple[str, str]] = field(default_factory=lambda: MappingProxyType({}))
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
    rules: Rules,
    at: datetime,
) -> Reading:
    """Read what joining needs, EC2 before the journal: an instance is never seen before its intent is.

    Args:
        names: the environments in scope; None for all.
        refresh: environments whose moving images are to be resolved again.
        rules: what is still listed as pending after the launch deadline is read by id, for a listing may be minutes old;
            and who is not ready after the bootstrap deadline is read by name, for a search may stand still.

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
    late = {
        instance.instance_id
        for instance in instances
        if instance.state is InstanceState.PENDING and at - instance.launched_at >= rules.launch_deadline
    }
    asked = missing | late
    by_id = cloud.get_instances(asked) if asked else {}
    found = read_chef(
        chef,
        names=names,
        memory=memory,
        instances={**listed, **by_id},
        desired=desired,
        bootstrap_deadline=rules.bootstrap_deadline,
        at=at,
    )
    images, unresolved = _resolve_images(cloud, desired, names, found.roles, refresh)
    return Reading(
        at=at,
        names=names,
        memory=memory,
        listed=listed,
        by_id=by_id,
        asked=asked,
        chef_nodes=found.nodes,
        chef_asked=frozenset(found.asked_nodes),
        chef_clients=frozenset(found.clients),
        chef_roles=found.roles,
        chef_environments=found.environments,
        refreshing=frozenset(refresh),
        unreadable=found.unreadable,
        images=images,
        unresolved=unresolved,
    )


def _in_scope(environment: EnvironmentName, names: frozenset[EnvironmentName] | None) -> bool:
    return names is None or environment in names


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
    answers: dict[str, ImageId | HivequeenError] = {}
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
                except HivequeenError as error:
                    answers[source] = error
            answer = answers[source]
            if isinstance(answer, HivequeenError):
                unresolved[name, role.name] = (answer.message, answer.remedy)
            else:
                images[name, role.name] = answer
    return images, unresolved
