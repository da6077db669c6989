"""Crashes, lost replies, outages and bad machines: nothing doubled, nothing lost, nobody else delayed."""

import pytest

from reconciler.errors import Denied, Refused, Transient
from reconciler.model.facts import Resumed
from reconciler.model.names import EnvironmentName, ImageId
from reconciler.model.observed import InstanceState
from tests.reconcile.world import CHECKOUT, PRODUCTION, World


def test_a_lost_reply_after_the_launch_makes_no_second_fleet(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.cloud.fail("RunInstances", Transient("timed out"), after_commit=True)
    world.reconcile()
    world.restart()
    world.settle(seconds=30)
    assert world.counts() == {"production/web": 4, "production/worker": 2}
    assert len(world.cloud.everything()) == 6


def test_a_lost_reply_is_replayed_even_while_no_listing_shows_the_instances(world: World) -> None:
    world.cloud.visibility_lag_s = 120
    world.commit(production=PRODUCTION)
    world.cloud.fail("RunInstances", Transient("timed out"), after_commit=True, times=2)
    for _ in range(8):
        world.reconcile()
        world.restart()
        world.clock.advance(20)
    world.settle(seconds=30)
    assert len(world.cloud.everything()) == 6


def test_a_launch_that_never_reached_ec2_is_made_once(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.cloud.fail("RunInstances", Transient("timed out"))
    world.settle(seconds=30)
    assert len(world.cloud.everything()) == 6


def test_instances_that_no_listing_shows_yet_are_not_launched_again(world: World) -> None:
    world.cloud.visibility_lag_s = 200
    world.commit(production=PRODUCTION)
    for _ in range(15):
        world.reconcile()
        world.clock.advance(15)
    assert len(world.cloud.everything()) == 6


@pytest.mark.parametrize("operation", ["DescribeInstances", "TerminateInstances", "RunInstances", "CreateTags"])
def test_an_outage_of_ec2_changes_nothing_and_is_recovered_from(world: World, operation: str) -> None:
    world.commit(production=PRODUCTION, checkout=CHECKOUT)
    world.settle()
    world.commit(checkout=None, production=PRODUCTION.replace("count: 2", "count: 3"))
    world.cloud.fail(operation, Transient("EC2 does not answer"), times=3)
    for _ in range(3):
        world.reconcile()
        world.clock.advance(30)
    world.cloud.recover()
    world.settle(seconds=60)
    assert world.counts() == {"production/web": 4, "production/worker": 3}
    assert world.chef.stored_roles.keys() == {"production-web", "production-worker"}


def test_a_chef_outage_rolls_no_fleet_and_fails_no_deadline(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.reconcile()
    for _ in range(4):
        world.clock.advance(900)
        for operation in ("claim", "search nodes", "get nodes"):
            world.chef.fail_next(operation, Transient("Chef does not answer"))
        done = world.reconcile()
        assert done.failures[0].stage == "claim"
        assert done.requeue_after_s is not None
    launched = {one.instance_id for one in world.cloud.alive()}
    world.reconcile()
    world.boot()
    world.settle()
    assert {one.instance_id for one in world.cloud.alive()} == launched


def test_wrong_credentials_are_said_and_recovered_from(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.cloud.fail("DescribeInstances", Denied("AuthFailure", remedy="check the credentials"))
    done = world.reconcile()
    assert done.failures[0].needs_person
    assert done.failures[0].remedy == "check the credentials"
    world.settle()


def test_one_environments_refusal_delays_nobody_else(world: World) -> None:
    world.commit(bad=PRODUCTION.replace("ami-0123456789abcdef0", "ami-0bad0bad0bad0bad0"), good=PRODUCTION)
    world.cloud.unknown_images.add(ImageId("ami-0bad0bad0bad0bad0"))
    world.reconcile()
    assert world.counts() == {"good/web": 4, "good/worker": 2}


def test_a_role_whose_launches_are_refused_halts_after_three_and_a_commit_starts_it_again(world: World) -> None:
    bad = "ami-0bad0bad0bad0bad0"
    world.cloud.unknown_images.add(ImageId(bad))
    world.commit(production=PRODUCTION.replace("ami-0123456789abcdef0", bad))
    for _ in range(12):
        done = world.reconcile()
        world.clock.advance(120)
    assert done.plan is not None
    assert [stall.reason for stall in done.plan.environments[0].stalls] == ["RoleHalted", "RoleHalted"]
    assert world.cloud.calls["RunInstances"] <= 6
    world.commit(production=PRODUCTION)
    world.settle()
    assert world.counts() == {"production/web": 4, "production/worker": 2}


def test_an_offering_without_capacity_falls_through_to_the_next_type(world: World) -> None:
    for subnet in ("subnet-0a1b2c3d4e5f60001", "subnet-0a1b2c3d4e5f60002"):
        world.cloud.exhausted.add(("m7i.large", subnet))
    world.commit(production=PRODUCTION)
    world.settle(seconds=1)
    assert {one.instance_type for one in world.cloud.alive()} == {"m6i.large"}
    assert world.counts() == {"production/web": 4, "production/worker": 2}


def test_a_node_that_never_becomes_ready_is_replaced_and_the_third_failure_halts_the_role(world: World) -> None:
    world.commit(production=PRODUCTION.replace("count: 4", "count: 1").replace("count: 2", "count: 0"))
    launched: set[str] = set()
    for _ in range(24):
        done = world.reconcile()
        launched |= {one.instance_id for one in world.cloud.alive()}
        world.clock.advance(300)
    assert len(launched) == 3
    assert done.plan is not None
    (stall,) = done.plan.environments[0].stalls
    assert stall.reason == "RoleHalted"
    assert "hivequeen resume production" in stall.remedy
    assert len(world.cloud.alive()) == 1  # the last one stays to be looked at
    world.journal.record(world.clock.now(), Resumed(environment=EnvironmentName("production")))
    world.settle()
    assert world.counts() == {"production/web": 1}


def test_a_stopped_node_is_given_time_and_then_replaced(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    victim = world.alive("production", "web")[0].instance_id
    world.cloud.stop_by_hand(victim)
    world.reconcile()
    world.clock.advance(300)
    world.reconcile()
    assert len(world.alive("production", "web")) == 4
    world.clock.advance(301)
    world.settle()
    alive = world.alive("production", "web")
    assert len(alive) == 4
    assert victim not in {one.instance_id for one in alive}
    assert all(one.state is InstanceState.RUNNING for one in alive)


def test_a_node_that_lost_its_tag_is_neither_replaced_nor_touched(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    victim = world.alive("production", "web")[0].instance_id
    world.cloud.retag(victim, {"hivequeen:fleet": None})
    for _ in range(5):
        done = world.reconcile()
        world.clock.advance(600)
    assert len(world.cloud.everything()) == 6
    assert done.plan is not None
    assert done.plan.environments[0].stalls[0].reason == "NodeLost"
    assert len(world.chef.stored_nodes) == 6


def test_a_copy_launched_by_hand_is_removed_and_no_node_that_serves(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    serving = {one.instance_id for one in world.cloud.alive()}
    world.cloud.launch_by_hand(world.cloud.parameters_of(world.alive("production", "web")[0].instance_id))
    world.settle()
    assert {one.instance_id for one in world.cloud.alive()} == serving


def test_a_repository_that_cannot_be_reached_leaves_the_last_good_revision_in_force(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    world.repository.is_unreachable = True
    world.cloud.terminate_by_hand(world.alive("production", "web")[0].instance_id)
    for _ in range(4):
        done = world.reconcile()
        world.clock.advance(10)
        world.boot()
    assert [failure.stage for failure in done.failures] == ["source"]
    assert world.counts() == {"production/web": 4, "production/worker": 2}


def test_termination_protection_set_by_hand_is_said_and_holds_up_no_other_node(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    world.cloud.protect(*[one.instance_id for one in world.alive("production", "web")][:1])
    world.commit(production=PRODUCTION.replace("count: 4", "count: 2"))
    done = world.reconcile()
    assert any(outcome.needs_person for outcome in done.outcomes)
    assert len(world.alive("production", "web")) == 3


def test_a_refusal_is_retried_with_a_growing_pause(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.cloud.fail("RunInstances", Refused("VcpuLimitExceeded", remedy="raise the quota"), times=2)
    world.reconcile()
    world.forget_calls()
    done = world.reconcile()
    assert world.cloud.calls["RunInstances"] == 0
    assert done.plan is not None
    assert "next try at" in done.plan.environments[0].waiting[-1].message


def test_a_missing_chef_permission_is_told_as_one_and_not_as_the_environments_fault(world: World) -> None:
    world.commit(production=PRODUCTION)
    denial = Denied("403 on roles", remedy="grant CREATE on container roles")
    for _ in range(2):
        world.chef.fail_next("put_role", denial)
    done = world.reconcile()
    assert [outcome.is_denied for outcome in done.outcomes if outcome.needs_person] == [True, True]
    assert world.counts() == {}  # no node is launched that could not find its role
    world.clock.advance(60)
    world.settle()


def test_a_terminated_instance_that_ec2_lists_no_more_is_gone_only_after_an_hour(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    victim = world.alive("production", "web")[0].instance_id
    world.cloud.linger_s = 0
    world.cloud.terminate_by_hand(victim)
    for _ in range(6):
        world.reconcile()
        world.clock.advance(500)
        assert len(world.alive("production", "web")) == 3
        assert len(world.chef.stored_nodes) == 6
    world.clock.advance(1200)
    world.settle()
    assert len(world.alive("production", "web")) == 4
    assert len(world.chef.stored_nodes) == 6
