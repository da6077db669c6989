"""Chef roles and environments that carry our mark, and copies of them that only look like ours."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.model.desired import Json
from reconciler.model.names import ChefName, EnvironmentName, FleetId, is_environment_name, split_chef_role_name
from reconciler.model.observed import ChefRole, Foreign, Ownership
from reconciler.observe.reading import Reading


@dataclass(slots=True)
class Generated:
    """By the environment that the mark names."""

    roles: dict[EnvironmentName, dict[ChefName, ChefRole]] = field(default_factory=lambda: defaultdict(dict))
    environments: set[EnvironmentName] = field(default_factory=set)
    copies: list[Foreign] = field(default_factory=list)

    @property
    def names(self) -> set[EnvironmentName]:
        return {*self.roles, *self.environments}


def generated(reading: Reading, fleet: FleetId) -> Generated:
    """Sort out whose each object is. One that somebody saved under another name bears the mark too, but is not ours."""
    found = Generated()
    for role in reading.chef_roles.values():
        owner, parts = _owner(fleet, role.default_attributes), split_chef_role_name(role.name)
        if owner is not None and parts is not None and parts[0] == owner:
            found.roles[owner][role.name] = role
        elif owner is not None:
            found.copies.append(_copy("chef role", role.name, owner))
    for environment in reading.chef_environments.values():
        owner = _owner(fleet, environment.default_attributes)
        if owner is not None and str(environment.name) == owner:
            found.environments.add(owner)
        elif owner is not None:
            found.copies.append(_copy("chef environment", environment.name, owner))
    return found


def _owner(fleet: FleetId, default_attributes: Mapping[str, Json]) -> EnvironmentName | None:
    owner = Ownership.read(default_attributes)
    if owner is None or owner.fleet != fleet or not is_environment_name(owner.environment):
        return None
    return EnvironmentName(owner.environment)


def _copy(kind: str, name: str, environment: EnvironmentName) -> Foreign:
    message = f"it bears the mark of {environment}, but not a name that we would have given it"
    return Foreign(kind=kind, name=name, environment=environment, message=message)
