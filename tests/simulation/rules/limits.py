"""How much may go in an hour, counted from what really went."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta

from reconciler.model.memory import Cause
from tests.simulation.deeds import ChefRemoval, Deed, Termination
from tests.simulation.ledger import Machine
from tests.simulation.scene import Scene
from tests.simulation.specs import Declared

# A pass decides when it begins and acts when it gets there: the two ends of an hour may be this much closer.
WINDOW = timedelta(hours=1) - timedelta(minutes=1)


def cause_is_true(deed: Deed, scene: Scene) -> Iterator[str]:
    """It was written down before, and one that does not count is borne out."""
    for instance_id in deed.ended if isinstance(deed, Termination) else ():
        cause, machine = scene.claimed_cause(instance_id), scene.ledger.machines[instance_id]
        if cause is None:
            yield f"{instance_id} is terminated, and the journal was not told"
        elif not cause.is_counted and not any(
            _is_borne_out(cause, machine, scene, *identity) for identity in scene.identities(machine)
        ):
            yield f"{instance_id} of {machine.environment}/{machine.role} goes as {cause}, which is not so"


def _is_borne_out(cause: Cause, machine: Machine, scene: Scene, environment: str, role: str) -> bool:
    wanted = scene.living.get(environment)
    shape = wanted.roles.get(role) if isinstance(wanted, Declared) else None
    most = scene.ledger.declared_before.get((environment, role), 0)
    match cause:
        case Cause.NEVER_READY:
            return not scene.is_known_ready(machine)
        case Cause.SCALE_DOWN:
            return shape is not None and most > shape.count
        case Cause.TEARDOWN:
            was_declared = any(name == environment for name, _ in scene.ledger.declared_before)
            return shape is None and (was_declared or environment in scene.ledger.protected)
        case Cause.REPLACED:
            return shape is not None and machine.is_ours and scene.is_drifted(machine, shape)
        case _:
            return True


def sweeps_have_age(deed: Deed, scene: Scene) -> Iterator[str]:
    """What nobody ever declared is swept only after it was there for a while."""
    for instance_id in deed.ended if isinstance(deed, Termination) else ():
        machine = scene.ledger.machines[instance_id]
        since = max(machine.launched_at, scene.ledger.moved_at.get(instance_id, machine.launched_at))
        if scene.claimed_cause(instance_id) is Cause.SWEEP and scene.now - since < scene.rules.orphan_age:
            yield f"{instance_id} is swept {(scene.now - since).total_seconds():.0f} s after it appeared"


def nodes_per_hour(deed: Deed, scene: Scene) -> Iterator[str]:
    """Those that no commit asked for, of one environment: one, or a tenth."""
    if not isinstance(deed, Termination):
        return
    going: dict[str, list[str]] = defaultdict(list)
    for instance_id in deed.ended:
        cause = scene.claimed_cause(instance_id)
        if (cause is None or cause.is_counted) and not scene.is_approved(instance_id):
            going[scene.ledger.machines[instance_id].environment].append(instance_id)
    for environment, ids in going.items():
        lately = [
            one.instance_id
            for one in scene.ledger.ended
            if one.environment == environment and one.counts and not one.is_approved and scene.now - one.at < WINDOW
        ]
        living = [
            one for one in scene.ledger.machines.values() if one.environment == environment and one.ended_at is None
        ]
        limit = max(scene.rules.nodes_least, int(scene.rules.nodes_share * len(living) + 1e-6))
        if len({*lately, *ids}) > limit:
            yield f"{ids} of {environment} go, {lately} went within an hour, the limit is {limit}"


def environments_per_hour(deed: Deed, scene: Scene) -> Iterator[str]:
    """Teardowns that begin: three, or a fifth; none by a revision that declares nothing."""
    if not isinstance(deed, Termination | ChefRemoval):
        return
    ledger = scene.ledger
    day = timedelta(hours=24)
    approved = {
        str(removal.environment) for given, them in ledger.approvals if given > scene.now - day for removal in them
    }
    new = scene.torn_down_by(deed) - ledger.under_way - approved
    if not new:
        return
    known = {*ledger.protected, *ledger.desired}
    lately = {name for at, name in ledger.begun if scene.now - at < WINDOW and name not in approved}
    limit = max(scene.rules.environments_least, int(scene.rules.environments_share * len(known) + 1e-6))
    if len(lately | new) > limit:
        yield f"{sorted(new)} begin to go, {sorted(lately)} did within an hour, the limit is {limit}"
    new -= _began_before(scene)  # let through under a revision that declared something, though a crash came first
    if new and not ledger.desired and len(ledger.protected.keys() & _living(scene) | new) > 1:
        yield f"{sorted(new)} go, and the revision declares nothing"


def _began_before(scene: Scene) -> set[str]:
    """Teardowns that the journal held before the applied revision was."""
    known, applied_at = scene.journal.memory.environments.values(), scene.ledger.applied_at
    if applied_at is None:
        return set()
    return {one.name for one in known if one.teardown_began_at is not None and one.teardown_began_at < applied_at}


def _living(scene: Scene) -> set[str]:
    there = (one for one in scene.ledger.machines.values() if one.ended_at is None)
    return {one.environment for one in there if not scene.is_proved_gone(one)}
