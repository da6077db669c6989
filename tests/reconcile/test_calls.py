"""What a pass costs, in calls: the figures of DESIGN §3, exactly."""

from reconciler.model.names import EnvironmentName
from tests.reconcile.world import CHECKOUT, PRODUCTION, World


def fleet_of(world: World, size: int) -> None:
    small = PRODUCTION.replace("count: 4", "count: 1").replace("count: 2", "count: 1")
    world.repository.push({"production.yml": small} | {f"feature-{number}.yml": CHECKOUT for number in range(size - 1)})
    world.settle()
    world.chef.index()
    world.forget_calls()


def test_a_full_pass_with_nothing_to_do_makes_one_call_of_each_kind_whatever_the_number_of_environments(
    world: World,
) -> None:
    fleet_of(world, 200)
    done = world.reconcile()
    assert done.plan is not None
    assert len(done.plan.environments) == 200
    assert all(one.is_converged for one in done.plan.environments)
    assert world.cloud.calls == {"DescribeInstances": 1}  # 400 instances: one page
    assert world.chef.calls == {
        "claim": 1,
        "search nodes": 1,
        "search roles": 1,
        "search environments": 1,
        "search clients": 1,
    }
    assert (world.cloud.writes, world.chef.writes) == (0, 0)
    assert world.repository.walks == 0


def test_a_new_environment_costs_two_launches_and_its_chef_objects_and_is_read_alone(world: World) -> None:
    fleet_of(world, 50)
    world.commit(checkout=CHECKOUT)
    done = world.notice_commit()
    assert done is not None
    assert done.scope.environments == frozenset({EnvironmentName("checkout")})
    assert world.cloud.calls["DescribeInstances"] == 1
    assert world.cloud.calls["RunInstances"] == 2
    assert {call: count for call, count in world.chef.calls.items() if call.startswith("search")} == {}
    assert world.chef.calls["claim"] == 2  # once to know whose the fleet is, once more right before it is written
    assert world.chef.calls["update_claim"] == 1


def test_like_nodes_are_launched_in_one_call_per_subnet(world: World) -> None:
    world.commit(production=PRODUCTION.replace("count: 4", "count: 40"))
    world.reconcile()
    assert world.cloud.calls["RunInstances"] == 4  # two roles in two subnets
    assert world.counts() == {"production/web": 40, "production/worker": 2}


def test_a_teardown_terminates_in_one_call(world: World) -> None:
    world.commit(production=PRODUCTION, checkout=PRODUCTION)
    world.settle()
    world.forget_calls()
    world.commit(checkout=None)
    world.settle()
    assert world.cloud.calls["TerminateInstances"] == 1


def test_who_deleted_files_is_asked_once_however_many_they_are_and_however_long_the_teardown_takes(
    world: World,
) -> None:
    fleet_of(world, 5)
    world.commit(feature_0=None, feature_1=None)
    world.settle()
    assert {key.partition("/")[0] for key in world.counts()} == {"production", "feature-2", "feature-3"}
    assert world.repository.walks == 1


def test_a_commit_that_changes_nothing_here_costs_one_look_at_nothing(world: World) -> None:
    fleet_of(world, 5)
    world.repository.edit({"README.md": "hello"})
    done = world.notice_commit()
    assert done is not None
    assert done.plan is not None
    assert done.plan.environments == ()
    assert world.cloud.writes == 0
    assert world.chef.calls["update_claim"] == 1
