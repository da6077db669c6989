"""Which instances are made, touched and ended."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta

from reconciler.model import tags
from reconciler.model.facts import NodeGone
from reconciler.model.names import EnvironmentName
from tests.simulation.deeds import Deed, Launch, Recorded, Termination, Touch
from tests.simulation.scene import PASS_MOST, Scene
from tests.simulation.schedules import is_asleep
from tests.simulation.specs import Declared, RoleShape, is_allowed


def launch_is_declared(deed: Deed, scene: Scene) -> Iterator[str]:
    if not isinstance(deed, Launch) or not deed.made:
        return
    environment, role = _place(deed)
    shape = _shape(scene, environment, role) or _shape_of_what_lives_on(scene, environment, role)
    machine = scene.ledger.machines[deed.made[0]]
    if shape is None:
        yield f"{len(deed.made)} launched for {environment}/{role}, which {_revision(scene)} does not declare"
    elif scene.is_drifted(machine, shape):
        yield f"{deed.parameters.image} {deed.parameters.instance_type} launched for {environment}/{role}: not as declared"


def live_nodes_per_role(deed: Deed, scene: Scene) -> Iterator[str]:
    """After a launch: no more than declared, those included that are stopped or failed; one extra while something
    drifted serves, and one in quarantine."""
    if not isinstance(deed, Launch) or not deed.made:
        return
    environment, role = _place(deed)
    shape = _shape(scene, environment, role)
    if shape is None:
        return
    living = [
        one
        for one in scene.ledger.of_role(environment, role)
        if one.is_ours and not one.was_retagged and not scene.is_beyond_knowing(one) and not scene.is_proved_gone(one)
    ]
    failed = [one for one in living if not scene.is_known_ready(one) and scene.has_failed(one)]
    drifted = [one for one in living if scene.is_drifted(one, shape)]
    in_quarantine = 1 if failed and scene.rules.quarantine else 0
    if len(living) > shape.count + (1 if drifted else 0) + in_quarantine:
        yield (
            f"{environment}/{role} wants {shape.count} ({len(drifted)} drifted) and has "
            f"{[one.instance_id for one in living]} ({len(failed)} failed) after {deed.made}"
        )


def policy_bounds_growth(deed: Deed, scene: Scene) -> Iterator[str]:
    """What asks for more than the policy allows is healed, up to what it was allowed to be, and no further. A type that
    was never allowed never comes."""
    if not isinstance(deed, Launch) or not deed.made:
        return
    environment, role = _place(deed)
    if scene.ledger.has_policy and not is_allowed(deed.parameters.instance_type):
        yield f"{environment}/{role} gets {deed.parameters.instance_type}, which the policy never allowed"
    wanted = scene.living.get(environment)
    if not isinstance(wanted, Declared) or not scene.ledger.is_against_policy(wanted):
        return
    ever = [one for one in scene.ledger.machines.values() if one.is_of(environment, role)]
    if any(one.was_retagged or not one.is_ours for one in ever):
        return  # what was made by hand may have settled the count
    there = scene.ledger.of_role(environment, role)
    allowed = scene.ledger.allowed_before.get((environment, role), 0)
    placed = [
        one
        for one in there
        if not scene.is_beyond_knowing(one)
        and not scene.is_out_for_long(one, environment)
        and (scene.is_known_ready(one) or not scene.has_failed(one))
    ]
    if len(placed) > allowed:
        yield f"{environment}/{role} is against the policy and grows to {len(placed)}, it was allowed {allowed}"


def power_follows_schedule(deed: Deed, scene: Scene) -> Iterator[str]:
    """A node is stopped in the hours of its sleep, when it is ready; it is started in the others."""
    if not isinstance(deed, Touch) or deed.operation not in ("stop", "start"):
        return
    for instance_id in deed.asked:
        machine = scene.ledger.machines[instance_id]
        wanted = scene.ledger.desired.get(machine.environment)
        if machine.was_retagged or machine.ended_at is not None:
            continue
        if not isinstance(wanted, Declared) or not wanted.schedule:
            yield f"{instance_id}: {deed.operation}, and {machine.environment} has no schedule"
        elif deed.operation == "stop" and not scene.is_asleep(machine.environment):
            yield f"{instance_id} is stopped, and {machine.environment} is awake"
        elif deed.operation == "stop" and machine.ready_at is None and tags.READY not in dict(machine.parameters.tags):
            yield f"{instance_id} is stopped before it was ever ready"
        elif deed.operation == "start" and all(
            is_asleep(wanted.schedule, moment) for moment in (scene.now, scene.now - PASS_MOST)
        ):
            yield f"{instance_id} is started, and {machine.environment} is asleep"


def only_our_tag(deed: Deed, scene: Scene) -> Iterator[str]:
    asked = deed.asked if isinstance(deed, Termination | Touch) else ()
    for instance_id in asked:
        machine = scene.ledger.machines.get(instance_id)
        if machine is not None and machine.ended_at is not None:
            continue  # nothing happens to it any more
        if not scene.is_tagged(instance_id):
            yield f"{instance_id} lacks {tags.FLEET}={scene.rules.fleet}"


def never_the_unseen(deed: Deed, scene: Scene) -> Iterator[str]:
    for instance_id in deed.ended if isinstance(deed, Termination) else ():
        age = scene.now - scene.ledger.machines[instance_id].launched_at
        if age < timedelta(seconds=scene.cloud.visibility_lag_s):
            yield f"{instance_id} is {age.total_seconds():.0f} s old: EC2 shows it to nobody yet"


def never_in_spec(deed: Deed, scene: Scene) -> Iterator[str]:
    """Each has a reason of its own, or is one of too many."""
    if not isinstance(deed, Termination):
        return
    unexplained: dict[tuple[str, str], list[str]] = defaultdict(list)
    for instance_id in deed.ended:
        machine = scene.ledger.machines[instance_id]
        if scene.why_it_may_go(machine) is None:
            unexplained[machine.environment, machine.role].append(instance_id)
    for (environment, role), ids in unexplained.items():
        shape = _shape(scene, environment, role)
        living = [
            one
            for one in scene.ledger.seen_of_role(environment, role, scene.now)
            if one.ended_at is not None or scene.is_tagged(one.instance_id)
        ]
        explained = [one for one in living if one.instance_id in deed.ended and scene.why_it_may_go(one) is not None]
        excess = len(living) - len(explained) - shape.count if shape is not None else 0
        if len(ids) > max(0, excess):
            yield (
                f"{ids} of {environment}/{role} are as {_revision(scene)} declares, "
                f"{len(living)} live, {shape.count if shape else 'frozen'} wanted"
            )


def enough_serve(deed: Deed, scene: Scene) -> Iterator[str]:
    """Neither drift nor surplus takes a serving node while fewer than declared would be left, unless somebody said so."""
    if not isinstance(deed, Termination):
        return
    places = {(one.environment, one.role) for one in map(scene.ledger.machines.__getitem__, deed.ended)}
    for environment, role in places:
        shape = _shape(scene, environment, role)
        # A node whose tags were edited, or a copy of it, may pass for one that serves.
        if shape is None or any(one.was_retagged for one in scene.ledger.of_role(environment, role)):
            continue
        serving = [
            one
            for one in scene.ledger.seen_of_role(environment, role, scene.now)
            if (one.stopped_at is None or scene.now - one.stopped_at < scene.slack)
            and scene.is_tagged(one.instance_id)
            and scene.is_known_ready(one)
        ]
        going = [one for one in serving if one.instance_id in deed.ended and not scene.is_approved(one.instance_id)]
        if going and len(serving) - len(going) < shape.count:
            yield (
                f"{[one.instance_id for one in going]} of {environment}/{role} serve, "
                f"{len(serving) - len(going)} would be left of {shape.count} wanted"
            )


def gone_is_gone(deed: Deed, scene: Scene) -> Iterator[str]:
    for fact in deed.facts if isinstance(deed, Recorded) else ():
        machine = scene.ledger.machines.get(fact.instance_id) if isinstance(fact, NodeGone) else None
        if machine is None or machine.ended_at is not None:
            continue
        if not scene.is_proved_gone(machine):
            yield f"{machine.instance_id} of {machine.environment}/{machine.role} lives"


def _place(deed: Launch) -> tuple[str, str]:
    given = dict(deed.parameters.tags)
    return given[tags.ENVIRONMENT], given[tags.ROLE]


def _shape(scene: Scene, environment: str, role: str) -> RoleShape | None:
    wanted = scene.living.get(environment)
    return wanted.roles.get(role) if isinstance(wanted, Declared) else None


def _shape_of_what_lives_on(scene: Scene, environment: str, role: str) -> RoleShape | None:
    """What is over lives on, and is healed, until its end was announced and begins."""
    known = scene.journal.memory.environments.get(EnvironmentName(environment))
    wanted = scene.ledger.desired.get(environment)
    has_ended = known is not None and known.ending is not None
    return wanted.roles.get(role) if isinstance(wanted, Declared) and not has_ended else None


def _revision(scene: Scene) -> str:
    return (scene.ledger.applied or "no revision")[:8]
