"""Commit a file and its environment comes up; delete it and it is gone, and nothing of anyone else's."""

from reconciler.model import tags
from reconciler.model.names import EnvironmentName, ImageId
from tests.reconcile.world import CHECKOUT, PRODUCTION, World


def test_a_committed_environment_comes_up_and_then_nothing_is_left_to_do(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    assert world.counts() == {"production/web": 4, "production/worker": 2}
    assert {one.subnet for one in world.alive("production", "web")} == {
        "subnet-0a1b2c3d4e5f60001",
        "subnet-0a1b2c3d4e5f60002",
    }
    assert set(world.chef.stored_environments) == {"_default", "production"}
    role = world.chef.stored_roles["production-web"]
    assert role.run_list == ("recipe[kickstarter::web]",)
    assert role.default_attributes["unicorn"] == {"workers": 8}
    assert role.default_attributes["hivequeen"] == {
        "fleet": "demo",
        "environment": "production",
        "role": "web",
        "project": "kickstarter",
        "branch": "main",
        "protected": False,
        "image": "ami-0123456789abcdef0",
        "image_source": "ami-0123456789abcdef0",
    }


def test_a_converged_fleet_sees_no_write_in_the_next_passes(world: World) -> None:
    world.commit(production=PRODUCTION, checkout=CHECKOUT)
    world.settle()
    world.forget_calls()
    for _ in range(10):
        world.clock.advance(60)
        world.reconcile()
    assert (world.cloud.writes, world.chef.writes) == (0, 0)


def test_every_ready_node_is_tagged_so_once(world: World) -> None:
    world.commit(checkout=PRODUCTION)
    world.settle()
    ready = {one.instance_id: one.tags[tags.READY] for one in world.cloud.alive()}
    world.clock.advance(3600)
    world.reconcile()
    assert {one.instance_id: one.tags[tags.READY] for one in world.cloud.alive()} == ready


def test_deleting_the_file_removes_everything_of_it_and_nothing_else(world: World) -> None:
    world.commit(production=PRODUCTION, checkout=CHECKOUT)
    world.settle()
    production = {one.instance_id for one in world.alive("production")}
    gone = {one.instance_id.removeprefix("i-") for one in world.alive("checkout")}
    world.commit(checkout=None)
    world.settle()
    assert world.counts() == {"production/web": 4, "production/worker": 2}
    assert {one.instance_id for one in world.cloud.alive()} == production
    assert set(world.chef.stored_roles) == {"production-web", "production-worker"}
    assert set(world.chef.stored_environments) == {"_default", "production"}
    assert not gone & {name.rpartition("-")[2] for name in world.chef.stored_nodes}
    assert not gone & {name.rpartition("-")[2] for name in world.chef.stored_clients}
    assert len(world.chef.stored_nodes) == 6


def test_chef_objects_of_a_node_stay_until_its_instance_was_seen_terminated(world: World) -> None:
    world.cloud.shutting_down_s = 60
    world.commit(production=PRODUCTION, checkout=CHECKOUT)
    world.settle()
    world.commit(checkout=None)
    for _ in range(3):
        world.reconcile()
        world.clock.advance(10)
        assert len(world.chef.stored_nodes) == 8
    world.clock.advance(60)
    world.settle()
    assert len(world.chef.stored_nodes) == 6


def test_scaling_up_launches_only_what_lacks(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    before = {one.instance_id for one in world.cloud.alive()}
    world.commit(production=PRODUCTION.replace("count: 4", "count: 6"))
    world.settle()
    assert world.counts() == {"production/web": 6, "production/worker": 2}
    assert before < {one.instance_id for one in world.cloud.alive()}


def test_scaling_down_takes_the_oldest_that_serve_and_leaves_no_chef_object(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    world.clock.advance(100)
    world.commit(production=PRODUCTION.replace("count: 4", "count: 6"))
    world.settle()
    newest = {one.instance_id for one in sorted(world.alive("production", "web"), key=lambda i: i.launched_at)[-2:]}
    world.commit(production=PRODUCTION.replace("count: 4", "count: 2"))
    world.settle()
    assert {one.instance_id for one in world.alive("production", "web")} == newest
    assert len(world.chef.stored_nodes) == 4


def test_a_new_image_replaces_nodes_one_by_one_and_never_serves_with_less(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    world.commit(production=PRODUCTION.replace("ami-0123456789abcdef0", "ami-0fedcba9876543210"))
    most = least = 4
    for _ in range(40):
        world.reconcile()
        alive = world.alive("production", "web")
        most = max(most, len(alive))
        least = min(least, sum(1 for one in alive if tags.READY in one.tags))
        world.clock.advance(10)
        world.boot()
    world.settle()
    assert {one.image for one in world.cloud.alive()} == {"ami-0fedcba9876543210"}
    assert (most, least) == (5, 4)
    assert world.counts() == {"production/web": 4, "production/worker": 2}


def test_a_removed_role_goes_with_its_chef_role(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    world.commit(production="\n".join(PRODUCTION.splitlines()[:-1]) + "\n")
    world.settle()
    assert world.counts() == {"production/web": 4}
    assert set(world.chef.stored_roles) == {"production-web"}


def test_a_dead_instance_is_replaced_and_its_chef_objects_go(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    victim = world.alive("production", "web")[0]
    world.cloud.terminate_by_hand(victim.instance_id)
    world.settle()
    assert world.counts() == {"production/web": 4, "production/worker": 2}
    assert not [name for name in world.chef.stored_nodes if name.endswith(victim.instance_id.removeprefix("i-"))]
    assert not [name for name in world.chef.stored_clients if name.endswith(victim.instance_id.removeprefix("i-"))]


def test_a_broken_file_freezes_its_environment_and_those_that_extend_it_only(world: World) -> None:
    world.commit(production=PRODUCTION, staging=PRODUCTION, checkout=CHECKOUT)
    world.settle()
    world.commit(production="roles: [", staging=PRODUCTION.replace("count: 4", "count: 5"))
    world.forget_calls()
    for _ in range(6):
        done = world.reconcile()
        world.clock.advance(10)
        world.boot()
    assert world.counts() == {
        "checkout/web": 1,
        "checkout/worker": 1,
        "production/web": 4,
        "production/worker": 2,
        "staging/web": 5,
        "staging/worker": 2,
    }
    assert done.plan is not None
    stalled = {str(one.name): one.stalls[0].message for one in done.plan.environments if one.stalls}
    assert set(stalled) == {"production", "checkout"}
    assert "environments.d/production.yml:" in stalled["production"]


def test_attributes_and_run_lists_are_changed_in_place(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    before = {one.instance_id for one in world.cloud.alive()}
    world.commit(production=PRODUCTION.replace("workers: 8", "workers: 9").replace("::worker", "::background"))
    world.settle()
    assert world.chef.stored_roles["production-web"].default_attributes["unicorn"] == {"workers": 9}
    assert world.chef.stored_roles["production-worker"].run_list == ("recipe[kickstarter::background]",)
    assert {one.instance_id for one in world.cloud.alive()} == before


def test_a_node_that_somebody_moved_in_chef_is_moved_back(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    name = min(world.chef.stored_nodes)
    world.chef.save_node(name, chef_environment="_default", run_list=["recipe[mine]"], ohai_time=1.0)
    world.settle()
    role = "-".join(name.split("-")[:2])
    assert world.chef.stored_nodes[name].run_list == (f"role[{role}]",)
    assert world.chef.stored_nodes[name].chef_environment == "production"


def test_an_image_that_moves_is_pinned_until_a_commit_or_a_refresh_asks_for_it_again(world: World) -> None:
    world.cloud.moving_images["ssm:/app/image"] = ImageId("ami-1")
    world.commit(production=PRODUCTION.replace("ami-0123456789abcdef0", "ssm:/app/image"))
    world.settle()
    world.cloud.moving_images["ssm:/app/image"] = ImageId("ami-2")
    world.commit(
        production=PRODUCTION.replace("ami-0123456789abcdef0", "ssm:/app/image").replace("count: 4", "count: 5")
    )
    world.settle()
    assert {one.image for one in world.cloud.alive()} == {"ami-1"}
    world.reconciler.refresh_images(EnvironmentName("production"))
    world.reconcile()
    for _ in range(40):
        world.clock.advance(10)
        world.boot()
        world.reconcile()
    assert {one.image for one in world.cloud.alive()} == {"ami-2"}


def test_upgrading_the_bootstrap_text_replaces_nothing(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    before = {one.instance_id for one in world.cloud.alive()}
    world.user_data = "#!/bin/sh\n# another release\n"
    world.restart()
    world.settle()
    assert {one.instance_id for one in world.cloud.alive()} == before
