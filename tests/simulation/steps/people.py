"""What people do by hand: in EC2, in Chef, and with `hivequeen`."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from reconciler.errors import HivequeenError
from reconciler.model import tags
from reconciler.model.desired import Json
from reconciler.model.names import ChefName, EnvironmentName
from reconciler.model.observed import ChefEnvironment, ChefRole, Instance
from tests.simulation.person import approve_all
from tests.simulation.specs import ROLES, STEMS
from tests.simulation.steps.step import Step, below, choose
from tests.simulation.world import SimulatedWorld


@dataclass(frozen=True, slots=True)
class HandTerminate(Step):
    node: int = below(8)

    def apply(self, world: SimulatedWorld) -> None:
        if (instance := _node(world, self.node)) is not None:
            world.terminate_by_hand(instance)


@dataclass(frozen=True, slots=True)
class HandStop(Step):
    node: int = below(8)

    def apply(self, world: SimulatedWorld) -> None:
        if (instance := _node(world, self.node)) is not None:
            world.stop_by_hand(instance)


@dataclass(frozen=True, slots=True)
class HandStopRole(Step):
    """All of them, for an hour or for good."""

    node: int = below(8)

    def apply(self, world: SimulatedWorld) -> None:
        if (instance := _node(world, self.node)) is None:
            return
        for one in world.living():
            if (one.environment, one.role) == (instance.environment, instance.role):
                world.stop_by_hand(one)


@dataclass(frozen=True, slots=True)
class HandProtect(Step):
    """EC2 ends it no more, or all again."""

    node: int = below(8)
    on: int = below(3)

    def apply(self, world: SimulatedWorld) -> None:
        if self.on and (instance := _node(world, self.node)) is not None:
            world.cloud.protect(instance.instance_id)
        else:
            world.protect_none()


@dataclass(frozen=True, slots=True)
class HandStart(Step):
    node: int = below(8)

    def apply(self, world: SimulatedWorld) -> None:
        stopped = [one for one in world.living() if world.ledger.machines[one.instance_id].stopped_at is not None]
        if (instance := choose(stopped, self.node)) is not None:
            world.start_by_hand(instance)


@dataclass(frozen=True, slots=True)
class HandRetag(Step):
    """A tag of ours is removed, or edited."""

    node: int = below(8)
    tag: int = below(8)
    value: int = below(4)

    def apply(self, world: SimulatedWorld) -> None:
        if (instance := _node(world, self.node)) is None:
            return
        keys = (tags.FLEET, tags.FLEET, tags.ENVIRONMENT, tags.ROLE, tags.INTENT, tags.SPEC, tags.READY, tags.PROTECTED)
        values = (None, "other", "true", STEMS[0])
        world.retag_by_hand(instance, {keys[self.tag]: values[self.value]})


@dataclass(frozen=True, slots=True)
class HandCopy(Step):
    """As the console's "launch more like this" does: every tag is copied, or all but the environment, or the role."""

    node: int = below(8)
    edited: int = below(4)

    def apply(self, world: SimulatedWorld) -> None:
        if (instance := _node(world, self.node)) is not None:
            edits: tuple[dict[str, str], ...] = ({}, {}, {tags.ENVIRONMENT: "stray"}, {tags.ROLE: "stray"})
            world.copy_by_hand(instance, edits[self.edited])


@dataclass(frozen=True, slots=True)
class Hide(Step):
    """EC2 denies for a while that one instance exists, or shows all again."""

    node: int = below(8)
    on: int = below(2)

    def apply(self, world: SimulatedWorld) -> None:
        if self.on and (instance := _node(world, self.node)) is not None:
            world.hide(instance)
        else:
            world.show_all()


@dataclass(frozen=True, slots=True)
class HandDelete(Step):
    """Somebody deletes an object of ours in Chef."""

    kind: int = below(4)
    which: int = below(8)

    def apply(self, world: SimulatedWorld) -> None:
        kind, stored = (
            ("node", world.chef.stored_nodes),
            ("client", world.chef.stored_clients),
            ("role", world.chef.stored_roles),
            ("environment", world.chef.stored_environments),
        )[self.kind]
        name = choose(sorted(set(stored) - {"chef-validator", "_default"}), self.which)
        if name is not None:
            world.delete_from_chef(kind, name)


@dataclass(frozen=True, slots=True)
class HandEdit(Step):
    """Somebody edits a node's run list, or a role."""

    which: int = below(8)
    is_role: int = below(2)

    def apply(self, world: SimulatedWorld) -> None:
        if self.is_role:
            roles = world.chef.stored_roles
            if (name := choose(sorted(roles), self.which)) is not None:
                attributes = roles[name].default_attributes
                world.chef.put_role(
                    ChefRole(name=ChefName(name), run_list=("recipe[hand]",), default_attributes=attributes)
                )
            return
        nodes = world.chef.stored_nodes
        if (name := choose(sorted(nodes), self.which)) is not None:
            node = nodes[name]
            world.chef.save_node(name, run_list=["recipe[hand]"], ohai_time=node.ohai_time)


@dataclass(frozen=True, slots=True)
class Foreign(Step):
    """Objects of names that ours would have: without our mark, with another fleet's, or with a copy of ours."""

    stem: int = below(len(STEMS))
    role: int = below(len(ROLES))
    mark: int = below(3)
    is_role: int = below(2)

    def apply(self, world: SimulatedWorld) -> None:
        stem = STEMS[self.stem]
        fleet = ("", "another", str(world.settings.fleet))[self.mark]
        attributes: dict[str, Json] = (
            {"hivequeen": {"fleet": fleet, "environment": stem, "protected": False}} if fleet else {}
        )
        name = ChefName(f"{stem}-{ROLES[self.role]}" if self.is_role else stem)
        stored = world.chef.stored_roles if self.is_role else world.chef.stored_environments
        if name in stored:
            return
        if self.is_role:
            world.chef.put_role(ChefRole(name=name, run_list=("recipe[theirs]",), default_attributes=attributes))
        else:
            world.chef.put_environment(ChefEnvironment(name=name, default_attributes=attributes))
        world.ledger.made_by_hand["role" if self.is_role else "environment", name] = world.clock.now()


def _mark(fleet: str, environment: str) -> dict[str, Json]:
    return {"hivequeen": {"fleet": fleet, "environment": environment, "protected": False}} if fleet else {}


@dataclass(frozen=True, slots=True)
class Approve(Step):
    """Whatever is held now is approved."""

    def apply(self, world: SimulatedWorld) -> None:
        approve_all(world)


@dataclass(frozen=True, slots=True)
class Suspend(Step):
    stem: int = below(len(STEMS) + 1)  # the last: everything
    minutes: int = below(4)

    def apply(self, world: SimulatedWorld) -> None:
        name = EnvironmentName(STEMS[self.stem]) if self.stem < len(STEMS) else None
        until = world.clock.now() + timedelta(minutes=10 * self.minutes) if self.minutes else None
        _quietly(lambda: world.daemon.operations.suspend(name, reason="maintenance", until=until, actor="ops"))


@dataclass(frozen=True, slots=True)
class Resume(Step):
    stem: int = below(len(STEMS) + 1)

    def apply(self, world: SimulatedWorld) -> None:
        name = EnvironmentName(STEMS[self.stem]) if self.stem < len(STEMS) else None
        _quietly(lambda: world.daemon.operations.resume(name, actor="ops"))


@dataclass(frozen=True, slots=True)
class TakeOver(Step):
    """The claim is taken over: by the daemon, or by a second one."""

    by_other: int = below(4)

    def apply(self, world: SimulatedWorld) -> None:
        taker = world.start_other() if self.by_other == 0 else world.daemon
        _quietly(lambda: taker.operations.claim(take_over=True, actor="ops"))


def _quietly(work: Callable[[], object]) -> None:
    """A person may ask for what makes no sense; the answer is for that person."""
    with suppress(HivequeenError):
        work()


def _node(world: SimulatedWorld, number: int) -> Instance | None:
    return choose(world.living(), number)
