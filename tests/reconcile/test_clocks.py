"""A clock that ran ahead for a month, did things, and was put right: nothing is stuck until that day comes."""

from datetime import timedelta

import pytest

from reconciler.daemon.operations import Operations
from reconciler.errors import NoCapacity, Transient
from reconciler.model.facts import TookOver
from reconciler.model.plan import Guard
from tests.reconcile.test_holds import blocked
from tests.reconcile.world import PRODUCTION, World

AHEAD_S = timedelta(days=30).total_seconds()
ONE = PRODUCTION.replace("count: 4", "count: 1").replace("count: 2", "count: 0")


@pytest.fixture
def ahead(world: World) -> World:
    """One environment is up; then the clock jumps."""
    world.commit(production=ONE)
    world.settle()
    world.clock.advance(AHEAD_S)
    return world


def put_right(world: World) -> None:
    world.clock.set_back(AHEAD_S)
    for _ in range(12):
        world.clock.advance(600)
        world.boot()
        world.reconcile()


def test_an_offering_without_capacity_is_tried_again(ahead: World) -> None:
    ahead.commit(other=ONE)
    ahead.cloud.fail("RunInstances", NoCapacity("none", code="InsufficientInstanceCapacity"), times=20)
    for _ in range(20):
        ahead.reconcile()
    ahead.cloud.recover()
    put_right(ahead)
    assert ahead.counts().get("other/web") == 1


def test_a_launch_of_unknown_outcome_keeps_no_place_for_a_month(ahead: World) -> None:
    ahead.commit(other=ONE)
    ahead.cloud.fail("RunInstances", Transient("no answer"))
    ahead.reconcile()
    ahead.commit(other=ONE.replace("m7i.large, ", ""))
    put_right(ahead)
    assert ahead.counts().get("other/web") == 1


def test_a_missing_node_keeps_no_place_for_a_month(ahead: World) -> None:
    (lost,) = ahead.alive("production", "web")
    ahead.cloud.terminate_by_hand(lost.instance_id)
    ahead.cloud.denied.add(lost.instance_id)
    ahead.cloud.unlisted.add(lost.instance_id)
    ahead.reconcile()
    put_right(ahead)
    assert ahead.counts().get("production/web") == 1


def test_a_take_over_holds_no_launch_for_a_month(ahead: World) -> None:
    ahead.journal.record(ahead.clock.now(), TookOver(actor="ops"))
    ahead.commit(other=ONE)
    put_right(ahead)
    assert ahead.counts().get("other/web") == 1


def test_a_claim_that_is_taken_back_keeps_the_newer_witness_of_history(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    old = world.repository.tip
    assert old is not None
    newer = world.repository.edit({"checkout.yml": ONE})
    world.claim_elsewhere(installation="other", applied=newer)
    operations = Operations(
        settings=world.settings,
        clock=world.clock,
        journal=world.journal,
        chef=lambda: world.chef,
        account=world.cloud.account,
    )
    operations.claim(take_over=True, actor="ops")
    world.repository.reset(old)
    assert blocked(world.reconcile(), Guard.HISTORY)
