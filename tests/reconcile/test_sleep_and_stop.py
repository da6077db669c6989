"""Nodes that are stopped, by their schedule or by hand: they are kept, and no second fleet comes beside them."""

from datetime import timedelta

import pytest

from reconciler.errors import Transient
from reconciler.model.actions import StartNode, TerminateNode
from reconciler.model.facts import Resumed, Suspended
from reconciler.model.memory import Suspension
from reconciler.model.names import EnvironmentName, InstanceId
from reconciler.model.observed import InstanceState
from reconciler.model.plan import Guard
from reconciler.settings import Mode
from tests.reconcile.test_holds import approve, blocked
from tests.reconcile.world import PRODUCTION, World

NAME = EnvironmentName("production")
NIGHTS = 'schedule: {stop: "0 20 * * *", start: "0 7 * * *", timezone: UTC}\n'
SLEEPING = PRODUCTION + NIGHTS
ALL = {"production/web": 4, "production/worker": 2}


def ids(world: World) -> set[InstanceId]:
    return {one.instance_id for one in world.alive("production")}


def states(world: World) -> set[InstanceState]:
    return {one.state for one in world.alive("production")}


def fall_asleep(world: World) -> set[InstanceId]:
    """It is 21:00, and all of them were stopped an hour ago."""
    world.commit(production=SLEEPING)
    world.settle()
    for _ in range(9):
        world.clock.advance(3600)
        world.reconcile()
    assert states(world) == {InstanceState.STOPPED}
    return ids(world)


def suspend(world: World, *, hours: int | None = None) -> None:
    now = world.clock.now()
    until = now + timedelta(hours=hours) if hours is not None else None
    suspension = Suspension(environment=NAME, reason="", actor="ops", since=now, until=until)
    world.journal.record(now, Suspended(suspension=suspension))


# --- by its schedule ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["suspended", "a bad file", "mode observe", "no daemon"])
def test_what_slept_is_started_though_the_morning_was_missed(world: World, how: str) -> None:
    slept = fall_asleep(world)
    if how == "suspended":
        suspend(world, hours=13)
    elif how == "a bad file":
        world.commit(production=SLEEPING + "roles: [\n")
    elif how == "mode observe":
        world.change_settings(mode=Mode.OBSERVE)
    for _ in range(26):
        if how != "no daemon":
            world.reconcile()
        world.clock.advance(1800)
    if how == "a bad file":
        world.commit(production=SLEEPING)
    elif how == "mode observe":
        world.change_settings(mode=Mode.CONVERGE)
    world.spend(passes=4, seconds=30)
    assert (ids(world), states(world)) == (slept, {InstanceState.RUNNING})


def test_ec2_that_starts_nothing_for_an_hour_of_the_morning_ends_nobody_who_slept(world: World) -> None:
    slept = fall_asleep(world)
    world.cloud.fail("StartInstances", Transient("timed out"), times=100)
    world.clock.advance(10 * 3600)
    world.spend(passes=12, seconds=300)
    world.cloud.recover()
    world.spend(passes=4, seconds=900)
    assert (ids(world), states(world)) == (slept, {InstanceState.RUNNING})


def test_at_dawn_nothing_is_started_that_goes_in_the_same_pass(world: World) -> None:
    fall_asleep(world)
    world.commit(production=SLEEPING.replace("count: 4", "count: 3"))
    world.reconcile()
    world.clock.advance(10 * 3600)
    done = [outcome.action for outcome in world.reconcile().outcomes]
    gone = {one.instance_id for one in done if isinstance(one, TerminateNode)}
    started = {one.instance_id for one in done if isinstance(one, StartNode)}
    assert (len(gone), len(started), gone & started) == (1, 5, set())


def test_a_templates_schedule_stops_nothing_of_a_protected_environment(world: World) -> None:
    """One line in a template would stop all that extend it, and no guard asks."""
    production = "extends: _base\nowner: ops@example.com\nprotected: true\n"
    asleep = NIGHTS.replace("UTC", "Pacific/Auckland")
    world.repository.push({"_base.yml": PRODUCTION, "production.yml": production})
    world.settle()
    world.repository.edit({"_base.yml": PRODUCTION + asleep})
    world.spend(passes=3, seconds=60)
    assert states(world) == {InstanceState.RUNNING}
    world.repository.edit({"production.yml": production + asleep})
    world.spend(passes=3, seconds=60)
    assert InstanceState.RUNNING not in states(world)


# --- by hand --------------------------------------------------------------------------------------------------------


def test_nodes_stopped_by_hand_get_no_second_fleet_beside_them_while_their_end_is_held(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    world.cloud.stop_by_hand(*ids(world))
    for _ in range(6):
        world.clock.advance(300)
        done = world.reconcile()
        assert world.counts() == ALL
    (hold,) = blocked(done, Guard.PRUNE_NODES)
    approve(world, hold)
    world.settle()
    assert (world.counts(), states(world)) == (ALL, {InstanceState.RUNNING})


def test_nodes_that_were_stopped_during_a_suspension_get_their_time_after_it(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    before = ids(world)
    suspend(world)
    (one, *_) = world.alive("production", "web")
    world.cloud.stop_by_hand(one.instance_id)
    for _ in range(4):
        world.reconcile()
        world.clock.advance(1800)
    world.journal.record(world.clock.now(), Resumed(environment=NAME))
    world.spend(passes=3, seconds=120)
    assert ids(world) == before
    world.spend(passes=8, seconds=120)
    assert (one.instance_id in ids(world), world.counts()) == (False, ALL)
