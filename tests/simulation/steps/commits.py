"""What people commit."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from tests.simulation import schedules
from tests.simulation.specs import DAMAGE, ROLES, STEMS, TTLS_H, File, RoleShape, mended
from tests.simulation.steps.step import Step, below, choose
from tests.simulation.world import SimulatedWorld

COUNTS = (1, 2, 3, 0, 4)
EXPIRIES_H = (0, 1, 4, -1)  # 0: no date; the last has passed


def change(world: SimulatedWorld, stem: str, edit: Callable[[File], File]) -> None:
    """Commit one file's edit, if there is such a file and the edit changes it."""
    file = world.files.get(stem)
    if file is not None and (edited := edit(file)) != file:
        world.commit({**world.files, stem: edited})


def existing(world: SimulatedWorld, number: int) -> str:
    """One that has a file, while there is any."""
    return choose(sorted(world.files), number) or STEMS[number]


@dataclass(frozen=True, slots=True)
class Create(Step):
    stem: int = below(len(STEMS))
    roles: int = below(3)
    count: int = below(len(COUNTS))

    def apply(self, world: SimulatedWorld) -> None:
        shape = RoleShape(count=COUNTS[self.count])
        file = File(roles=dict.fromkeys(ROLES[: self.roles + 1], shape))
        if STEMS[self.stem] not in world.files:
            world.commit({**world.files, STEMS[self.stem]: file})


@dataclass(frozen=True, slots=True)
class CreateLike(Step):
    """A file that extends another, or one that is not there."""

    stem: int = below(len(STEMS))
    parent: int = below(len(STEMS))
    count: int = below(len(COUNTS))

    def apply(self, world: SimulatedWorld) -> None:
        if STEMS[self.stem] in world.files or self.stem == self.parent:
            return
        roles = {ROLES[0]: RoleShape(count=COUNTS[self.count])} if self.count else {}
        world.commit({**world.files, STEMS[self.stem]: File(roles=roles, parent=STEMS[self.parent])})


@dataclass(frozen=True, slots=True)
class Delete(Step):
    stem: int = below(len(STEMS))

    def apply(self, world: SimulatedWorld) -> None:
        gone = existing(world, self.stem)
        if gone in world.files:
            world.commit({stem: file for stem, file in world.files.items() if stem != gone})


@dataclass(frozen=True, slots=True)
class Rename(Step):
    stem: int = below(len(STEMS))
    to: int = below(len(STEMS))

    def apply(self, world: SimulatedWorld) -> None:
        files = dict(world.files)
        file = files.pop(existing(world, self.stem), None)
        if file is not None and STEMS[self.to] not in files:
            world.commit({**files, STEMS[self.to]: file})


@dataclass(frozen=True, slots=True)
class Park(Step):
    """Move a file into a folder below, or back: it is no environment there, and freezes its name."""

    stem: int = below(len(STEMS))

    def apply(self, world: SimulatedWorld) -> None:
        change(world, existing(world, self.stem), lambda file: replace(file, is_parked=not file.is_parked))


@dataclass(frozen=True, slots=True)
class ChangeEnding(Step):
    """`.yml` → `.yaml` alone is no change."""

    stem: int = below(len(STEMS))

    def apply(self, world: SimulatedWorld) -> None:
        change(
            world,
            existing(world, self.stem),
            lambda file: replace(file, ending="yaml" if file.ending == "yml" else "yml"),
        )


@dataclass(frozen=True, slots=True)
class Scale(Step):
    stem: int = below(len(STEMS))
    role: int = below(len(ROLES))
    count: int = below(len(COUNTS))

    def apply(self, world: SimulatedWorld) -> None:
        reshape(world, self.stem, self.role, count=COUNTS[self.count])


@dataclass(frozen=True, slots=True)
class ChangeShape(Step):
    """Another image, instance types, security group, attributes, tag or key."""

    stem: int = below(len(STEMS))
    role: int = below(len(ROLES))
    field: int = below(6)
    value: int = below(3)

    def apply(self, world: SimulatedWorld) -> None:
        name = ("image", "types", "group", "attributes", "label", "key")[self.field]
        reshape(world, self.stem, self.role, **{name: min(self.value, 1) if name == "group" else self.value})


def reshape(world: SimulatedWorld, stem: int, role: int, **changes: int) -> None:
    def edit(file: File) -> File:
        name = choose(sorted(file.roles), role)
        if name is None:
            return file
        return replace(file, roles={**file.roles, name: replace(file.roles[name], **changes)})

    change(world, existing(world, stem), edit)


@dataclass(frozen=True, slots=True)
class AddRole(Step):
    stem: int = below(len(STEMS))
    role: int = below(len(ROLES))

    def apply(self, world: SimulatedWorld) -> None:
        change(
            world,
            existing(world, self.stem),
            lambda file: replace(file, roles={ROLES[self.role]: RoleShape(), **file.roles}),
        )


@dataclass(frozen=True, slots=True)
class RemoveRole(Step):
    stem: int = below(len(STEMS))
    role: int = below(len(ROLES))

    def apply(self, world: SimulatedWorld) -> None:
        gone = ROLES[self.role]
        change(
            world,
            existing(world, self.stem),
            lambda file: replace(file, roles={name: shape for name, shape in file.roles.items() if name != gone}),
        )


@dataclass(frozen=True, slots=True)
class Protect(Step):
    stem: int = below(len(STEMS))
    on: int = below(2)

    def apply(self, world: SimulatedWorld) -> None:
        change(world, existing(world, self.stem), lambda file: replace(file, protected=bool(self.on)))


@dataclass(frozen=True, slots=True)
class SuspendInFile(Step):
    stem: int = below(len(STEMS))
    on: int = below(2)

    def apply(self, world: SimulatedWorld) -> None:
        change(world, existing(world, self.stem), lambda file: replace(file, suspend=bool(self.on)))


@dataclass(frozen=True, slots=True)
class ChangeBranch(Step):
    """What is deployed: it reaches Chef, and replaces nothing."""

    stem: int = below(len(STEMS))
    branch: int = below(3)

    def apply(self, world: SimulatedWorld) -> None:
        change(world, existing(world, self.stem), lambda file: replace(file, branch=self.branch))


@dataclass(frozen=True, slots=True)
class SetTtl(Step):
    stem: int = below(len(STEMS))
    ttl: int = below(len(TTLS_H))

    def apply(self, world: SimulatedWorld) -> None:
        change(world, existing(world, self.stem), lambda file: replace(file, ttl_h=TTLS_H[self.ttl]))


@dataclass(frozen=True, slots=True)
class SetExpiry(Step):
    stem: int = below(len(STEMS))
    expiry: int = below(len(EXPIRIES_H))

    def apply(self, world: SimulatedWorld) -> None:
        ahead_h = EXPIRIES_H[self.expiry]
        moment = (world.clock.now() + timedelta(hours=ahead_h)).replace(microsecond=0) if ahead_h else None
        change(world, existing(world, self.stem), lambda file: replace(file, expires=moment))


@dataclass(frozen=True, slots=True)
class Reschedule(Step):
    stem: int = below(len(STEMS))
    schedule: int = below(schedules.NUMBER)

    def apply(self, world: SimulatedWorld) -> None:
        change(world, existing(world, self.stem), lambda file: replace(file, schedule=self.schedule))


@dataclass(frozen=True, slots=True)
class Damage(Step):
    """A commit that breaks one file. What it does to the others is looked at at once: nothing."""

    stem: int = below(len(STEMS))
    how: int = below(len(DAMAGE))

    def apply(self, world: SimulatedWorld) -> None:
        stem = existing(world, self.stem)
        if stem not in world.files or world.files[stem].damage is not None:
            return
        with world.nothing_changes_but(stem):
            change(world, stem, lambda file: replace(file, damage=self.how))


@dataclass(frozen=True, slots=True)
class Mend(Step):
    stem: int = below(len(STEMS))

    def apply(self, world: SimulatedWorld) -> None:
        change(world, existing(world, self.stem), mended)


@dataclass(frozen=True, slots=True)
class Revert(Step):
    """A new commit with the content of an old one."""

    back: int = below(4)

    def apply(self, world: SimulatedWorld) -> None:
        revisions = list(world.ledger.revisions.values())
        world.commit(revisions[max(0, len(revisions) - 2 - self.back)])


@dataclass(frozen=True, slots=True)
class Empty(Step):
    """The render job failed, and somebody committed what it left."""

    def apply(self, world: SimulatedWorld) -> None:
        if world.files:
            world.commit({})


@dataclass(frozen=True, slots=True)
class Rewrite(Step):
    """A force-push over history, of what was there some commits ago."""

    back: int = below(4)

    def apply(self, world: SimulatedWorld) -> None:
        revisions = list(world.ledger.revisions.values())
        world.rewrite(revisions[max(0, len(revisions) - 1 - self.back)])
