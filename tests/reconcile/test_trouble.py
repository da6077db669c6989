"""Crashes, lost replies, outages and bad machines: nothing doubled, nothing lost, nobody else delayed."""

import pytest

from reconciler.errors import Denied, QuotaReached, TokenMismatch, Transient
from reconciler.model.facts import Resumed
from reconciler.model.names import EnvironmentName, ImageId, NodeName
from reconciler.model.observed import InstanceState, Phase
from reconciler.model.passes import Pass
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


@pytest.mark.parametrize("how", ["no node runs Chef", "Chef lost its nodes"])
def test_nodes_that_served_and_are_stale_are_not_replaced(world: World, how: str) -> None:
    """What a long outage of Chef looks like when it is over: nobody has been heard of for a day, or ever."""
    world.commit(production=PRODUCTION)
    world.settle()
    served = {one.instance_id for one in world.cloud.alive()}
    world.clock.advance(86400)
    if how == "Chef lost its nodes":
        for name in list(world.chef.stored_nodes):
            world.chef.delete_node(NodeName(name))
    for _ in range(8):
        done = world.reconcile()
        world.clock.advance(900)
    assert {one.instance_id for one in world.cloud.everything()} == served
    assert done.observed is not None
    nodes = done.observed.environments[EnvironmentName("production")].nodes
    assert {(node.phase, node.is_stale) for node in nodes} == {(Phase.READY, True)}


@pytest.mark.parametrize("minutes", [5, 59, 300])
def test_a_listing_that_lacks_living_nodes_is_not_believed(world: World, minutes: int) -> None:
    """They are read by id: none is launched in their place, and nothing of theirs is removed from Chef."""
    world.commit(production=PRODUCTION, checkout=CHECKOUT)
    world.settle()
    alive = {one.instance_id for one in world.cloud.alive()}
    in_chef = set(world.chef.stored_nodes), set(world.chef.stored_clients)
    world.cloud.unlisted |= alive
    for _ in range(4):
        world.clock.advance(minutes * 60 / 4)
        world.forget_calls()
        done = world.reconcile()
        assert (done.failures, world.cloud.writes, world.chef.writes) == ((), 0, 0)
    assert world.cloud.calls["DescribeInstances"] > 1
    assert {one.instance_id for one in world.cloud.everything()} == alive
    assert (set(world.chef.stored_nodes), set(world.chef.stored_clients)) == in_chef


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


def pass_time(world: World, minutes: int) -> Pass:
    """With a look in between: a longer time without one would move the deadlines."""
    for _ in range(minutes):
        world.reconcile()
        world.clock.advance(60)
    return world.reconcile()


def stalls(done: Pass) -> list[str]:
    assert done.plan is not None
    return [stall.reason for stall in done.plan.environments[0].stalls]


@pytest.mark.parametrize("permanent", ["a bad image", "no permission"])
def test_a_launch_that_is_refused_for_good_is_not_tried_again_until_something_changes(
    world: World, permanent: str
) -> None:
    bad = "ami-0bad0bad0bad0bad0"
    if permanent == "a bad image":
        world.cloud.unknown_images.add(ImageId(bad))
        world.commit(production=PRODUCTION.replace("ami-0123456789abcdef0", bad))
    else:
        denial = Denied("not permitted", code="UnauthorizedOperation", remedy="allow ec2:RunInstances")
        world.cloud.fail("RunInstances", denial, times=2)
        world.commit(production=PRODUCTION)
    for _ in range(12):
        done = world.reconcile()
        world.clock.advance(120)
    assert stalls(done) == ["RoleHalted", "RoleHalted"]
    assert world.cloud.calls["RunInstances"] == 2  # one for each role
    if permanent == "a bad image":
        world.commit(production=PRODUCTION)
    else:
        world.journal.record(world.clock.now(), Resumed(environment=EnvironmentName("production")))
    world.settle()
    assert world.counts() == {"production/web": 4, "production/worker": 2}


def test_a_quota_is_asked_again_ever_more_rarely_and_used_as_soon_as_it_is_raised(world: World) -> None:
    world.cloud.quota = 3
    world.commit(production=PRODUCTION.replace("count: 2", "count: 0"))
    for _ in range(60):
        done = world.reconcile()
        world.clock.advance(60)
        world.boot()
    assert stalls(done) == ["BreakerOpen"]
    assert world.counts() == {"production/web": 3}  # one at a time, what it allows is used
    assert world.cloud.calls["RunInstances"] < 16
    world.cloud.quota = None
    world.settle(seconds=60, passes=40)
    assert world.counts() == {"production/web": 4}


def test_expired_credentials_halt_no_role_and_open_no_breaker(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.cloud.fail("RunInstances", Denied("expired", code="ExpiredToken", remedy="renew them"), times=8)
    for _ in range(8):
        done = world.reconcile()
        world.clock.advance(1000)
    assert stalls(done) == []
    world.settle()
    assert world.counts() == {"production/web": 4, "production/worker": 2}


def test_an_offering_without_capacity_falls_through_to_the_next_type(world: World) -> None:
    for subnet in ("subnet-0a1b2c3d4e5f60001", "subnet-0a1b2c3d4e5f60002"):
        world.cloud.exhausted.add(("m7i.large", subnet))
    world.commit(production=PRODUCTION)
    world.settle(seconds=1)
    assert {one.instance_type for one in world.cloud.alive()} == {"m6i.large"}
    assert world.counts() == {"production/web": 4, "production/worker": 2}


def test_where_one_of_several_batches_finds_no_capacity_only_what_lacks_goes_elsewhere(world: World) -> None:
    """Four nodes are two batches of two: the first launches, the second finds its subnet full, in quick passes."""
    world.cloud.exhausted.add(("m7i.large", "subnet-0a1b2c3d4e5f60002"))
    world.commit(production=PRODUCTION.replace("count: 2", "count: 0"))
    assert world.reconcile().requeue_after_s == 0
    assert world.counts() == {"production/web": 2}
    world.reconcile()
    assert world.counts() == {"production/web": 4}
    assert {one.subnet for one in world.cloud.alive()} == {"subnet-0a1b2c3d4e5f60001"}
    assert world.cloud.calls["RunInstances"] == 3
    world.settle()


def test_an_offering_that_was_full_is_tried_again_after_three_minutes(world: World) -> None:
    offerings = [(kind, f"subnet-0a1b2c3d4e5f6000{n}") for kind in ("m7i.large", "m6i.large") for n in (1, 2)]
    world.cloud.exhausted.update(offerings)
    world.commit(production=PRODUCTION.replace("count: 2", "count: 0"))
    for _ in offerings:
        assert world.reconcile().requeue_after_s == 0
    assert world.cloud.calls["RunInstances"] == 4
    world.clock.advance(170)
    done = world.reconcile()
    assert world.cloud.calls["RunInstances"] == 4
    assert done.plan is not None
    assert "no capacity for" in done.plan.environments[0].waiting[0].message
    world.cloud.exhausted.clear()
    world.clock.advance(11)
    world.reconcile()
    assert world.counts() == {"production/web": 4}


ONE = PRODUCTION.replace("count: 4", "count: 1").replace("count: 2", "count: 0")


def test_nodes_that_never_become_ready_are_replaced_and_then_tried_one_at_a_time(world: World) -> None:
    world.commit(production=PRODUCTION.replace("count: 2", "count: 0"))
    launched: set[str] = set()
    for minute in range(8 * 60):
        done = world.reconcile()
        alive = {one.instance_id for one in world.cloud.alive()}
        launched |= alive
        assert len(alive) <= (4 if minute < 35 else 1)
        world.clock.advance(60)
    assert stalls(done) == ["BreakerOpen"]
    assert len(launched) <= 4 + 8 * 60 / 30
    world.settle(seconds=60, passes=60)
    assert world.counts() == {"production/web": 4}


def test_instances_that_ec2_ends_as_soon_as_they_run_are_not_launched_with_every_pass(world: World) -> None:
    """As it does where a volume's key may not be used: RunInstances succeeds all the same."""
    world.commit(production=PRODUCTION.replace("count: 2", "count: 0"))
    for _ in range(12 * 60):
        done = world.reconcile()
        for one in world.cloud.alive():
            world.cloud.terminate_by_hand(one.instance_id)
        world.clock.advance(5)
    assert stalls(done) == ["BreakerOpen"]
    assert len(world.cloud.everything()) < 4 + 10
    world.settle(seconds=60, passes=40)
    assert world.counts() == {"production/web": 4}


def test_reads_that_fail_for_a_minute_every_half_hour_keep_no_dead_node_booting(world: World) -> None:
    world.commit(production=ONE)
    world.reconcile()
    (first,) = world.cloud.alive()
    for minute in range(1, 46):
        world.clock.advance(60)
        if minute in (28, 29, 30):
            world.cloud.fail("DescribeInstances", Transient("EC2 does not answer"))
        world.reconcile()
        if minute == 33:
            assert world.cloud.alive() == (first,)
    assert first.instance_id not in {one.instance_id for one in world.cloud.alive()}


def test_resuming_tries_all_at_once(world: World) -> None:
    world.commit(production=PRODUCTION.replace("count: 2", "count: 0"))
    assert stalls(pass_time(world, 30)) == ["BreakerOpen"]
    assert world.counts() == {}
    world.journal.record(world.clock.now(), Resumed(environment=EnvironmentName("production")))
    world.reconcile()
    assert world.counts() == {"production/web": 4}
    world.settle()


def test_the_pause_of_a_breaker_survives_a_restart_and_ends_by_itself(world: World) -> None:
    world.commit(production=ONE.replace("count: 1", "count: 3"))
    pass_time(world, 30)
    assert world.reconcile().requeue_after_s == 60
    world.restart()
    world.clock.advance(50)
    world.reconcile()
    assert world.cloud.alive() == ()
    world.clock.advance(10)
    world.reconcile()
    assert world.counts() == {"production/web": 1}


def test_a_failed_node_in_quarantine_stays_for_its_hour_beside_its_replacement(world: World) -> None:
    world.change_settings(quarantine_s=3600)
    world.commit(production=ONE)
    world.reconcile()
    (first,) = world.cloud.alive()
    done = pass_time(world, 30)
    assert len(world.cloud.alive()) == 2
    assert done.plan is not None
    assert "(quarantine)" in done.plan.environments[0].waiting[0].message
    newcomer = next(one for one in world.cloud.alive() if one.instance_id != first.instance_id)
    world.boot_one(newcomer)
    for _ in range(3):
        done = world.reconcile()
        world.clock.advance(600)
    world.forget_calls()
    done = world.reconcile()
    assert (world.cloud.writes, world.chef.writes) == (0, 0)
    assert done.requeue_after_s == 3600 - 1800
    world.restart()
    world.clock.advance(1800)
    world.settle()
    assert [one.instance_id for one in world.cloud.alive()] == [newcomer.instance_id]


def test_a_token_that_ec2_knows_otherwise_is_found_by_its_tag_and_adopted(world: World) -> None:
    """As after an upgrade that words the same launch differently."""
    world.cloud.visibility_lag_s = 100
    world.commit(production=ONE)
    world.cloud.fail("RunInstances", Transient("timed out"), after_commit=True)
    world.reconcile()
    world.clock.advance(10)
    world.cloud.fail("RunInstances", TokenMismatch("known with other parameters"))
    for _ in range(8):
        world.reconcile()
        world.restart()
        world.clock.advance(15)
    assert world.cloud.calls["RunInstances"] == 2  # the launch and one replay
    world.settle(seconds=30)
    assert len(world.cloud.everything()) == 1


def test_a_token_that_ec2_knows_otherwise_and_nothing_ever_shows_is_given_up_after_the_grace(world: World) -> None:
    world.commit(production=PRODUCTION.replace("count: 2", "count: 0"))
    world.reconcile()
    world.boot()
    world.settle()
    world.cloud.terminate_by_hand(world.alive("production", "web")[0].instance_id)
    world.cloud.fail("RunInstances", TokenMismatch("known with other parameters"))
    world.forget_calls()
    for _ in range(9):
        world.reconcile()
        world.clock.advance(30)
    assert (world.cloud.calls["RunInstances"], len(world.cloud.alive())) == (1, 3)
    world.clock.advance(60)
    world.settle(seconds=30)
    assert world.counts() == {"production/web": 4}
    assert world.cloud.calls["RunInstances"] == 2


def test_a_launch_whose_instances_died_before_they_showed_is_made_anew_at_once(world: World) -> None:
    world.cloud.visibility_lag_s = 600
    world.commit(production=ONE)
    world.cloud.fail("RunInstances", Transient("timed out"), after_commit=True)
    world.reconcile()
    world.cloud.terminate_by_hand(world.cloud.alive()[0].instance_id)
    world.clock.advance(10)
    done = world.reconcile()  # the replay is told that its token is spent
    assert done.requeue_after_s == 0
    world.reconcile()
    assert world.counts() == {"production/web": 1}


def test_of_a_batch_that_lost_members_only_what_lacks_is_launched(world: World) -> None:
    world.commit(production=PRODUCTION.replace("count: 2", "count: 0"))
    world.cloud.fail("RunInstances", Transient("timed out"), after_commit=True)
    world.reconcile()
    world.cloud.terminate_by_hand(world.cloud.alive()[0].instance_id)
    world.settle(seconds=60)
    assert world.counts() == {"production/web": 4}
    assert len(world.cloud.everything()) == 5


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
    world.cloud.fail("RunInstances", QuotaReached("VcpuLimitExceeded", remedy="raise the quota"), times=2)
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
