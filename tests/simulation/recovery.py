"""After the trouble: the world heals, people do what they are told, time passes. Then all must be as declared, and stay."""

from collections.abc import Collection, Iterator

from reconciler.model import tags
from reconciler.model.names import chef_role_name, node_name, split_chef_role_name
from reconciler.model.observed import InstanceState, Ownership
from tests.simulation.invariants import Violation
from tests.simulation.person import follow_remedies, told
from tests.simulation.specs import Declared
from tests.simulation.world import SimulatedWorld

ROUNDS = 400  # of a minute each: more than every deadline, grace period and age together
ROUND_S = 60
REST = 100  # passes without a write
REST_S = 73
CHEF_EVERY = 25  # passes


def heal(world: SimulatedWorld) -> None:
    world.exchange.calm()
    cloud = world.cloud
    cloud.exhausted.clear()
    cloud.unknown_images.clear()
    cloud.quota = None
    cloud.visibility_lag_s = cloud.pending_s = cloud.shutting_down_s = 0
    world.show_all()
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
    desired = world.ledger.desired_at(world.tip)
    if world.ledger.applied != world.tip:
        yield f"{world.tip[:8]} is not applied"
    names: set[str] = set()
    counts: dict[tuple[str, str], int] = {}
    for instance in world.living():
        machine = world.ledger.machines[instance.instance_id]
        environment, role = instance.environment or "", instance.role or ""
        wanted = desired.get(environment)
        shape = wanted.roles.get(role) if isinstance(wanted, Declared) else None
        what = f"{instance.instance_id} of {environment}/{role}"
        is_known = instance.instance_id in world.daemon.journal.memory.nodes
        if instance.tags.get(tags.FLEET) != world.settings.fleet and not is_known:
            continue  # it was given to somebody else before we ever saw it, and is theirs
        if shape is None:
            yield f"{what} lives, and is not declared"
            continue
        names.add(node_name(environment, role, instance.instance_id))  # type: ignore[arg-type]  # names as tags have them
        counts[environment, role] = counts.get((environment, role), 0) + 1
        is_alike = instance.image == shape.image_id and instance.instance_type in shape.instance_types
        if machine.ready_at is None or instance.state is not InstanceState.RUNNING or not is_alike:
            yield f"{what} is {instance.state}, ready since {machine.ready_at}, {instance.image}, {instance.instance_type}"
        if instance.tags.get(tags.FLEET) != world.settings.fleet:
            yield f"{what} lacks our tag"
    for name, wanted in desired.items():
        for role, shape in wanted.roles.items() if isinstance(wanted, Declared) else ():
            if (there := counts.get((name, role), 0)) != shape.count:
                yield f"{name}/{role} has {there} of {shape.count}"
    yield from _wrong_in_chef(world, names)


def _wrong_in_chef(world: SimulatedWorld, names: Collection[str]) -> Iterator[str]:
    desired = world.ledger.desired_at(world.tip)
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
