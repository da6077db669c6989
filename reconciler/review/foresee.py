"""One revision planned against a world that was seen under another: what the daemon would do if it were the newest."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from reconciler.model.commits import Commit
from reconciler.model.desired import Desired, Environment, ImageById
from reconciler.model.names import EnvironmentName, ImageId, InstanceId, RoleName, chef_role_name
from reconciler.model.observed import ChefEnvironment, Observed, ObservedEnvironment, Phase
from reconciler.model.plan import Plan
from reconciler.plan import Context, guard, plan
from reconciler.plan.drift import Drift, drift
from reconciler.plan.environment import image_of
from reconciler.review.snapshot import Snapshot

_PLACED: Final = (Phase.PENDING, Phase.RUNNING, Phase.REGISTERED, Phase.READY, Phase.STOPPED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A revision, and what its history says: nothing of it where that cannot be read."""

    desired: Desired
    commit: Commit | None = None
    touched: Mapping[str, Commit] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, kw_only=True)
class Foreseen:
    """What a revision would do to the world."""

    desired: Desired
    observed: Observed
    plan: Plan  # after the guards
    unresolved: tuple[str, ...]  # moving images of which nobody said what they name now, sorted

    def drifts(self, name: EnvironmentName) -> Mapping[InstanceId, tuple[Drift, ...]]:
        """Of each node that holds a place, in what it would not be as declared: such nodes are replaced."""
        environment, here = self.desired.environments.get(name), self.observed.environments.get(name)
        if environment is None or here is None:
            return {}
        return dict(_drifts(environment, here, self.observed))


def foresee(side: Side, snapshot: Snapshot) -> Foreseen:
    """
    What is of the moment stays out: pauses after failures, and what holds the whole installation.
    """
    observed, unresolved = _as_seen_by(side.desired, snapshot)
    context = Context(
        desired=side.desired,
        observed=observed,
        memory=replace(snapshot.memory, backoffs={}),
        rules=replace(snapshot.rules, is_observing=False),
        now=snapshot.at,
        commit=side.commit,
        touched=side.touched,
        folder=snapshot.folder,
    )
    return Foreseen(
        desired=side.desired, observed=observed, plan=guard(plan(context), context), unresolved=tuple(unresolved)
    )


def _as_seen_by(desired: Desired, snapshot: Snapshot) -> tuple[Observed, list[str]]:
    """The observation, as if it had been made for this revision."""
    observed = snapshot.observed
    environments = dict(observed.environments)
    images: dict[tuple[EnvironmentName, RoleName], ImageId] = {}
    unresolved: set[str] = set()
    for name, environment in desired.environments.items():
        here = environments.get(name) or ObservedEnvironment(name=name, fleet=snapshot.rules.fleet)
        environments[name] = replace(here, chef_environment=_chef_environment(environment, here))
        for role, source in _unpinned(environment, here):
            if snapshot.sources.get((name, role)) == source:
                images |= {key: image for key, image in observed.images.items() if key == (name, role)}
            else:  # it stands for itself: nobody may ask EC2 here, and it is another image than before in any case
                images[name, role] = ImageId(source)
                unresolved.add(source)
    seen = replace(observed, environments=environments, images=images)
    return seen, sorted(unresolved)


def _unpinned(environment: Environment, here: ObservedEnvironment) -> Iterator[tuple[RoleName, str]]:
    for role in environment.roles.values():
        chef_role = here.chef_roles.get(chef_role_name(environment.name, role.name))
        if not isinstance(role.image, ImageById) and (chef_role is None or chef_role.pin(str(role.image)) is None):
            yield role.name, str(role.image)


def _chef_environment(environment: Environment, here: ObservedEnvironment) -> ChefEnvironment | None:
    """The one under the name that this revision gives it. Somebody else's that was not looked for is taken to exist."""
    found, wanted = here.chef_environment, environment.chef_environment
    if found is not None and found.name == environment.chef_environment_name:
        return found
    return None if wanted is None else ChefEnvironment(name=wanted, default_attributes={})


def _drifts(
    environment: Environment, here: ObservedEnvironment, observed: Observed
) -> Iterator[tuple[InstanceId, tuple[Drift, ...]]]:
    for role in environment.roles.values():
        nodes = [node for node in here.nodes if node.role == role.name]
        chef_role = here.chef_roles.get(chef_role_name(environment.name, role.name))
        image = image_of(environment, role, observed, chef_role, nodes)
        for node in nodes:
            if image is not None and node.phase in _PLACED and (found := drift(role, image, node)):
                yield node.instance_id, found
