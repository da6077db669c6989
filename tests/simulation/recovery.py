"""After the trouble: the world heals, people do what they are told, time passes. Then all must be as declared, and stay."""

from collections.abc import Collection, Iterator
from dataclasses import replace

from reconciler.model import tags
from reconciler.model.names import chef_role_name, node_name, split_chef_role_name
from reconciler.model.observed import Instance, InstanceState, Ownership
from tests.simulation.invariants import Violation
from tests.simulation.person import change_to, follow_remedies, told
from tests.simulation.schedules import is_asleep
from tests.simulation.specs import Declared, lasting
from tests.simulation.world import SimulatedWorld

ROUNDS = 400  # of a minute each: more than every deadline, grace period and age together
ROUND_S = 60
REST = 100  # passes without a write
REST_S = 73
CHEF_EVERY = 25  # passes


def heal(world: SimulatedWorld) -> None:
    """No trouble is left, and nothing is about to expire, or to fall asleep: what has is as it is."""
    world.exchange.calm()
    cloud = world.cloud
    cloud.exhausted.clear()
    cloud.unknown_images.clear()
    cloud.quota = None
    cloud.visibility_lag_s = cloud.pending_s = cloud.shutting_down_s = 0
    world.show_all()
    world.protect_none()
    world.unlucky = 0
    cloud.partial_s.clear()
    cloud.lag_s.clear()
    world.chef.search_lag = False
    world.chef.index()
    if world.installations > 1:  # a new journal cannot know what it was that lost its tag before: somebody finds it
        for instance in world.lacks_tag():
            world.retag_by_hand(instance, {tags.FLEET: world.settings.fleet})
    if world.other is not None:  # "make sure that no other daemon runs for it"
        world.other.close()
        world.other = None
    declared, expiries = world.ledger.desired_at(world.tip), world.ledger.expiries(world.tip)
    calm = dict(world.files)
    for stem, file in world.files.items():
        wanted, expiry = declared[stem], expiries[stem]
        if expiry is None or expiry > world.clock.now():
            schedule = wanted.schedule if isinstance(wanted, Declared) else file.schedule
            calm[stem] = lasting(replace(file, schedule=schedule))
    change_to(world, calm)


def recover(world: SimulatedWorld) -> Iterator[Violation]:
    """Heal, wait, and look. Yields what is not as it should be."""
    heal(world)
    if (stuck := _settle(world)) is not None:
        yield stuck
        return
    for number in range(REST):
        before = world.writes
        done = world.reconcile()
        if world.writes != before:
            outcomes = [f"{o.action.name} {o.action.reason}" for o in done.outcomes] if done is not None else []
            yield Violation(rule="at rest nothing is written", evidence=f"pass {number}: {'; '.join(outcomes)}")
            return
        if world.violations:
            return
        world.clock.advance(REST_S)
        if number % CHEF_EVERY == 0:
            world.run_chef()
    if faults := list(wrong(world)):
        yield Violation(rule="as declared, and it stays so", evidence="; ".join(faults))


def _settle(world: SimulatedWorld) -> Violation | None:
    for number in range(ROUNDS):
        if number % CHEF_EVERY == CHEF_EVERY - 1:
            world.run_chef()
        done = world.reconcile()
        if world.violations:
            return None
        if done is not None and not list(told(done)) and not done.failures and not world.to_delete:
            faults = list(wrong(world))
            if not faults:
                return None
        if done is not None:
            follow_remedies(world, done)
        world.clock.advance(ROUND_S)
        world.boot()
    last = "; ".join(told(world.last)) if world.last is not None else "no pass came to an end"
    return Violation(
        rule="the desired state is reached",
        evidence=f"{'; '.join(wrong(world))} -- the daemon says: {last or 'nothing'}",
    )


def wrong(world: SimulatedWorld) -> Iterator[str]:
    """How the true state differs from what the newest revision declares."""
    if world.ledger.applied != world.tip:
        yield f"{world.tip[:8]} is not applied"
    desired = world.ledger.living_at(world.tip, world.clock.now())
    names: set[str] = set()
    counts: dict[tuple[str, str], int] = {}
    for instance in world.living():
        environment, role = instance.environment or "", instance.role or ""
        wanted = desired.get(environment)
        is_known = instance.instance_id in world.daemon.journal.memory.nodes
        if instance.tags.get(tags.FLEET) != world.settings.fleet and not is_known:
            continue  # it was given to somebody else before we ever saw it, and is theirs
        if not isinstance(wanted, Declared) or role not in wanted.roles:
            yield f"{instance.instance_id} of {environment}/{role} lives, and is not declared"
            continue
        names.add(node_name(environment, role, instance.instance_id))  # type: ignore[arg-type]  # names as tags have them
        counts[environment, role] = counts.get((environment, role), 0) + 1
        yield from _wrong_at(instance, wanted, world)
    for name, wanted in desired.items():
        if not isinstance(wanted, Declared) or is_asleep(wanted.schedule, world.clock.now()):
            continue  # what lacks in the night is launched in the morning, what is too much goes then
        for role, shape in wanted.roles.items():
            if (there := counts.get((name, role), 0)) != shape.count:
                yield f"{name}/{role} has {there} of {shape.count}"
    yield from _wrong_in_chef(world, names)
    if world.terms.removes_files:
        yield from _left_files(world, desired)


def _left_files(world: SimulatedWorld, living: Collection[str]) -> Iterator[str]:
    """The daemon takes out what has expired, but for what another extends."""
    extended = {file.parent for file in world.files.values() if not file.is_parked}
    for stem, file in world.files.items():
        if stem not in living and stem not in extended:
            yield f"{file.path(stem)} is left in the repository"


def _wrong_at(instance: Instance, wanted: Declared, world: SimulatedWorld) -> Iterator[str]:
    """One node that is declared, and how it is."""
    machine, shape = world.ledger.machines[instance.instance_id], wanted.roles[instance.role or ""]
    is_alike = instance.image == shape.image_id and instance.instance_type in shape.instance_types
    what = f"{instance.instance_id} of {instance.environment}/{instance.role}"
    if is_asleep(wanted.schedule, world.clock.now()):
        # One that never came up stays as it is until the morning.
        if machine.ready_at is not None and instance.state is not InstanceState.STOPPED:
            yield f"{what} is {instance.state}, and is to sleep"
    elif machine.ready_at is None or instance.state is not InstanceState.RUNNING or not is_alike:
        yield f"{what} is {instance.state}, ready since {machine.ready_at}, {instance.image}, {instance.instance_type}"
    if instance.tags.get(tags.FLEET) != world.settings.fleet:
        yield f"{what} lacks our tag"


def _wrong_in_chef(world: SimulatedWorld, names: Collection[str]) -> Iterator[str]:
    desired = world.ledger.living_at(world.tip, world.clock.now())
    roles = {
        str(chef_role_name(name, role))  # type: ignore[arg-type]  # names as files have them
        for name, wanted in desired.items()
        if isinstance(wanted, Declared)
        for role in wanted.roles
    }
    environments = {name for name, wanted in desired.items() if isinstance(wanted, Declared)}
    for kind, wanted_names, stored in (
        ("role", roles, world.chef.stored_roles),
        ("environment", environments, world.chef.stored_environments),
    ):
        ours = {
            name
            for name, one in stored.items()
            if (mark := Ownership.read(one.default_attributes)) is not None
            and mark.fleet == world.settings.fleet
            and mark.environment in (name, (split_chef_role_name(name) or ("", ""))[0])
        }
        if ours != wanted_names:
            yield f"Chef {kind}s: {sorted(ours - wanted_names)} too many, {sorted(wanted_names - ours)} missing"
    for kind, stored_names in (("node", set(world.chef.stored_nodes)), ("client", set(world.chef.stored_clients))):
        there = stored_names - {"chef-validator"}
        if world.installations > 1:
            continue  # whose they were was known to a journal that is lost: without an instance nothing proves it
        # A node that somebody deleted in Chef comes back with its next run, a client never does.
        if there - set(names):
            yield f"Chef {kind}s without an instance: {sorted(there - set(names))}"
