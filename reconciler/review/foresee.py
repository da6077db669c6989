"""One revision planned against a world that was seen under another: what the daemon would do if it were the newest."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Final

from reconciler.model.commits import Commit
from reconciler.model.desired import Desired, Environment, ImageById, Role
from reconciler.model.names import EnvironmentName, ImageId, InstanceId, RoleName, chef_role_name
from reconciler.model.observed import ChefEnvironment, Node, Observed, ObservedEnvironment, Phase
from reconciler.model.plan import Plan
from reconciler.plan import Context, expires_at, guard, plan
from reconciler.plan.drift import Drift, drift
from reconciler.plan.environment import image_of
from reconciler.review.moving import looked_up, stand_in
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
    # Moving images that would be looked up once it is merged: what they name now nobody said.
    unresolved: Mapping[EnvironmentName, frozenset[str]]
    expires_at: Mapping[EnvironmentName, datetime]  # as people are told it; of those whose end is known

    def is_over(self, name: EnvironmentName) -> bool:
        return name in self.expires_at and self.expires_at[name] <= self.observed.at

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
    observed, waiting = _as_seen_by(side.desired, snapshot)
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
    ends = {name: expires_at(environment, context) for name, environment in side.desired.environments.items()}
    return Foreseen(
        desired=side.desired,
        observed=observed,
        plan=guard(plan(context), context),
        unresolved=waiting,
        expires_at={name: end for name, end in ends.items() if end is not None},
    )


def _as_seen_by(desired: Desired, snapshot: Snapshot) -> tuple[Observed, Mapping[EnvironmentName, frozenset[str]]]:
    """The observation, as if it had been made for this revision."""
    observed, answers = snapshot.observed, looked_up(snapshot)
    environments = dict(observed.environments)
    images: dict[tuple[EnvironmentName, RoleName], ImageId] = {}
    troubles: dict[tuple[EnvironmentName, RoleName], tuple[str, str]] = {}
    for name, environment in desired.environments.items():
        here = environments.get(name) or ObservedEnvironment(name=name, fleet=snapshot.rules.fleet)
        environments[name] = replace(here, chef_environment=_chef_environment(environment, here))
        for role in _unpinned(environment, here):
            answer = answers.get(str(role.image), stand_in(role.image))
            if isinstance(answer, str):
                images[name, role.name] = answer
            else:
                troubles[name, role.name] = answer
    seen = replace(observed, environments=environments, images=images, unresolved=troubles)
    waiting = {
        name: frozenset(
            str(role.image)
            for role in _unpinned(environment, environments[name])
            if _image(environment, role, seen) == stand_in(role.image)
        )
        for name, environment in desired.environments.items()
    }
    return seen, waiting


def _unpinned(environment: Environment, here: ObservedEnvironment) -> Iterator[Role]:
    for role in environment.roles.values():
        chef_role = here.chef_roles.get(chef_role_name(environment.name, role.name))
        if not isinstance(role.image, ImageById) and (chef_role is None or chef_role.pin(str(role.image)) is None):
            yield role


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
        image = _image(environment, role, observed)
        for node in _nodes(role, here):
            if image is not None and node.phase in _PLACED and (found := drift(role, image, node)):
                yield node.instance_id, found


def _image(environment: Environment, role: Role, observed: Observed) -> ImageId | None:
    """As planning goes by it."""
    here = observed.environments[environment.name]
    chef_role = here.chef_roles.get(chef_role_name(environment.name, role.name))
    return image_of(environment, role, observed, chef_role, _nodes(role, here))


def _nodes(role: Role, here: ObservedEnvironment) -> Sequence[Node]:
    return [node for node in here.nodes if node.role == role.name]
