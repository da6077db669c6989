"""The simulated person: reads what the daemon says and does what its remedies say, and nothing else."""

from collections.abc import Iterable
from dataclasses import replace

from reconciler.daemon.operations import holds
from reconciler.errors import HivequeenError
from reconciler.model import tags
from reconciler.model.names import EnvironmentName
from reconciler.model.passes import Pass
from reconciler.model.plan import Blocked, EnvironmentPlan, Guard, Stall
from tests.simulation.specs import Declared, File, Files, RoleShape, lasting
from tests.simulation.world import SimulatedWorld

ACTOR = "ops"


def approve_all(world: SimulatedWorld) -> None:
    """Everything that the last pass held."""
    done = world.last
    if done is None or done.plan is None:
        return
    current = holds(done.plan)
    for hold in current:
        world.daemon.operations.approve(hold.digest, current, actor=ACTOR)
        world.ledger.approvals.append((world.clock.now(), hold.removals))
        if hold.guard is Guard.HISTORY:
            world.ledger.approved_revisions.add(hold.digest)


def follow_remedies(world: SimulatedWorld, done: Pass) -> None:
    approve_all(world)
    _wake(world)
    if done.plan is None:
        return
    for blocked in done.plan.blocked:
        if blocked.guard is Guard.NOT_OWNER:
            _try(world, "claim")
    for one in done.plan.environments:
        for blocked in one.blocked:
            _lift(world, one, blocked)
        for stall in one.stalls:
            _end(world, one, stall)
    _tidy(world, done)


def _wake(world: SimulatedWorld) -> None:
    """Whatever is suspended shows as a condition, whether it holds anything up or not."""
    for suspension in world.daemon.journal.recall(world.clock.now()).suspensions:
        world.daemon.operations.resume(suspension.environment, actor=ACTOR)
    awake = {
        stem: lasting(replace(file, suspend=False)) if file.suspend else file for stem, file in world.files.items()
    }
    change_to(world, awake)


def _lift(world: SimulatedWorld, one: EnvironmentPlan, blocked: Blocked) -> None:
    match blocked.guard:
        case Guard.PROTECTED if not blocked.digest:
            # Restore the file with `protected: false`; it is deleted again once that is applied.
            if one.name not in world.files:
                world.commit({**world.files, one.name: replace(_last_file(world, one.name), protected=False)})
                world.to_delete.add(one.name)
        case Guard.POLICY:
            _make_modest(world, one.name)
        case _:
            pass  # approved above, or it ends by itself


def _make_modest(world: SimulatedWorld, name: str) -> None:
    """One node of each role, of the type that is allowed."""
    file, wanted = world.files.get(name), world.ledger.desired_at(world.tip).get(name)
    if file is not None and isinstance(wanted, Declared):
        modest = {role: replace(shape, count=1, types=0) for role, shape in wanted.roles.items()}
        change_to(world, {**world.files, name: lasting(replace(file, roles=modest))})


def _end(world: SimulatedWorld, one: EnvironmentPlan, stall: Stall) -> None:
    match stall.reason:
        case "BadFile":
            _mend(world, one.name)
        case "NodeLost":
            for instance in world.lacks_tag():
                world.retag_by_hand(instance, {tags.FLEET: world.settings.fleet})
        case "ForeignChefEnvironment":
            world.delete_from_chef("environment", one.name)
        case "ForeignChefRole":
            for name in sorted(world.chef.stored_roles):
                if name.startswith(f"{one.name}-") and f" {name} " in stall.message:
                    world.delete_from_chef("role", name)
        case _:
            _try(world, "resume", one.name)


def _mend(world: SimulatedWorld, name: str) -> None:
    """Put the file right, and those that it extends."""
    files, at, seen = dict(world.files), name, set()
    while at in files and at not in seen:
        seen.add(at)
        file = files[at]
        parent = file.parent if file.parent in files and file.parent not in seen else None
        roles = file.roles or {"web": RoleShape()}
        files[at] = lasting(replace(file, damage=None, is_parked=False, parent=parent, roles=roles))
        at = parent or ""
    change_to(world, files)


def change_to(world: SimulatedWorld, files: Files) -> None:
    """Commit them, if that changes anything."""
    if files != world.files:
        world.commit(files)


def _last_file(world: SimulatedWorld, name: str) -> File:
    known = [files[name] for files in world.ledger.revisions.values() if name in files]
    last = known[-1] if known else File()  # protected by a tag alone: no file ever declared it
    roles = last.roles or {"web": RoleShape()}
    return lasting(replace(last, damage=None, is_parked=False, parent=None, roles=roles))


def _tidy(world: SimulatedWorld, done: Pass) -> None:
    """What was restored to lose its protection goes again; what is reported as not ours to touch is looked after."""
    assert done.plan is not None
    quiet = {str(one.name) for one in done.plan.environments if one.is_declared and one.is_converged}
    for name in sorted(world.to_delete & quiet):
        world.to_delete.discard(name)
        world.commit({stem: file for stem, file in world.files.items() if stem != name})
    for there in done.observed.environments.values() if done.observed is not None else ():
        for node in there.nodes:
            # Stale means: somebody must look. Of some, older than the journal, it turns out that they never ran Chef.
            machine = world.ledger.machines[node.instance_id]
            if node.is_stale and machine.ready_at is None and machine.ended_at is None:
                world.terminate_by_hand(node.instance)
    for foreign in done.observed.foreign if done.observed is not None else ():
        kind, name = foreign.kind, foreign.name
        if kind == "instance":
            for instance in world.living():
                if instance.instance_id == name:
                    world.terminate_by_hand(instance)
        else:
            world.delete_from_chef(kind.removeprefix("chef "), name)


def _try(world: SimulatedWorld, what: str, name: str = "") -> None:
    operations = world.daemon.operations
    try:
        if what == "claim":
            operations.claim(take_over=True, actor=ACTOR)
        else:
            operations.resume(EnvironmentName(name), actor=ACTOR)
    except HivequeenError:
        pass  # it says why; the next pass shows whether something is left


def told(done: Pass) -> Iterable[str]:
    """What the last pass says is left to do, held or stalled: for evidence."""
    for failure in done.failures:
        yield f"failure {failure.stage}: {failure.message}"
    for one in done.plan.environments if done.plan is not None else ():
        yield from (f"{one.name}: {action.name} {action.reason}" for action in one.actions)
        yield from (f"{one.name}: held by {blocked.guard}: {blocked.message}" for blocked in one.blocked)
        # A night's sleep is no work that is left.
        awaited = (waiting for waiting in one.waiting if ": asleep until " not in waiting.message)
        yield from (f"{one.name}: waits: {waiting.message}" for waiting in awaited)
        yield from (f"{one.name}: stalled {stall.reason}: {stall.message}" for stall in one.stalls)
