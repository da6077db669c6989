"""What adversaries found: each of these once terminated, doubled, lost or blocked something. Kept so that none comes back."""

import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from reconciler.daemon.operations import Operations
from reconciler.errors import Denied, Transient
from reconciler.model import tags
from reconciler.model.facts import EnvironmentFailed, Resumed, TookOver
from reconciler.model.memory import Backoff
from reconciler.model.names import (
    ChefName,
    EnvironmentName,
    ImageId,
    InstanceId,
    NodeName,
    RevisionId,
    RoleName,
    node_name,
)
from reconciler.model.observed import ChefNode, ChefRole, Instance
from reconciler.model.plan import Guard
from reconciler.observe.chef_reading import OVERDUE_MAX
from reconciler.observer import SCOPE_MAX
from reconciler.ports import TreeEntry
from reconciler.settings import Mode
from tests.fakes.cloud import FakeCloud
from tests.reconcile.test_holds import approve, blocked
from tests.reconcile.world import CHECKOUT, EVERYTHING, PRODUCTION, World

MOVING = PRODUCTION.replace("ami-0123456789abcdef0", "ssm:/golden/web")
ONE = PRODUCTION.replace("count: 4", "count: 1").replace("count: 2", "count: 0")


def pass_time(world: World, passes: int, seconds: float) -> None:
    for _ in range(passes):
        world.reconcile()
        world.clock.advance(seconds)
        world.boot()


# --- the wrong account ---


@pytest.mark.parametrize("mode", [Mode.CONVERGE, Mode.OBSERVE])
def test_an_hour_in_another_account_ends_no_node_of_ours(world: World, mode: Mode) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    real = world.cloud
    world.cloud = FakeCloud(clock=world.clock, account_id="999999999999")
    world.change_settings(mode=mode)
    pass_time(world, passes=8, seconds=600)
    assert all(node.gone_at is None for node in world.journal.recall(world.clock.now()).nodes.values())
    world.cloud = real
    world.change_settings(mode=Mode.CONVERGE)
    world.reconcile()
    victim = world.alive("production", "web")[0].instance_id
    real.retag(victim, {tags.FLEET: None})
    pass_time(world, passes=3, seconds=10)
    assert world.chef.calls["delete_node"] == world.chef.calls["delete_client"] == 0
    assert len(real.everything()) == 6


class TurningCloud(FakeCloud):
    """Its credentials become another account's, and nothing refuses them: an instance profile was exchanged."""

    has_turned = False

    def list_instances(self, environments: Collection[EnvironmentName] | None = None) -> Sequence[Instance]:
        return () if self.has_turned else super().list_instances(environments)

    def get_instances(self, instance_ids: Collection[InstanceId]) -> Mapping[InstanceId, Instance]:
        return {} if self.has_turned else super().get_instances(instance_ids)


def test_credentials_that_turn_to_another_account_unnoticed_end_no_node_of_ours(world: World) -> None:
    cloud = world.cloud = TurningCloud(clock=world.clock)
    world.restart()
    world.commit(production=PRODUCTION)
    world.settle()
    cloud.has_turned, cloud.account_id = True, "999999999999"
    for _ in range(10):
        world.reconcile()
        world.clock.advance(600)
    assert world.chef.calls["delete_node"] == 0
    assert len(cloud.everything()) == 6


# --- lost and unseen nodes ---


def test_a_lost_node_pushes_no_serving_one_out_at_scale_down(world: World) -> None:
    world.commit(production=ONE.replace("count: 1", "count: 2"))
    world.settle()
    first, second = world.alive("production", "web")
    world.cloud.retag(first.instance_id, {tags.FLEET: None})
    world.clock.advance(400)
    world.reconcile()
    world.commit(production=ONE)
    world.reconcile()
    assert [one.instance_id for one in world.alive("production", "web")] == [second.instance_id]


def test_a_journal_restored_from_an_old_copy_makes_no_serving_node_surplus(world: World) -> None:
    world.commit(production=ONE)
    world.settle()
    world.close()
    shutil.copy(world.directory / "state.db", world.directory / "old.db")
    world.restart()
    world.commit(production=ONE.replace("ami-0123456789abcdef0", "ami-0123456789abcdef1"))
    world.settle(passes=30)
    (live,) = world.alive("production", "web")
    world.clock.advance(7200)
    world.close()
    for file in world.directory.glob("state.db*"):
        file.unlink()
    shutil.copy(world.directory / "old.db", world.directory / "state.db")
    world.restart()
    world.reconcile()
    assert live.instance_id in {one.instance_id for one in world.cloud.alive()}


@pytest.mark.parametrize("whole", [True, False], ids=["environment", "role"])
def test_a_young_node_that_lost_its_tag_survives_what_its_environment_loses(world: World, *, whole: bool) -> None:
    world.commit(production=PRODUCTION, checkout=PRODUCTION)
    world.settle()
    victim = world.alive("checkout", "worker")[0].instance_id
    world.cloud.retag(victim, {tags.FLEET: None})
    without_worker = "\n".join(PRODUCTION.splitlines()[:-1]) + "\n"
    world.commit(checkout=None if whole else without_worker)
    for _ in range(3):
        world.reconcile()
        world.clock.advance(5)
    assert victim in {one.instance_id for one in world.cloud.alive()}


# --- searches that lag ---


def test_an_empty_search_index_rolls_no_fleet_with_a_moving_image(world: World) -> None:
    world.cloud.moving_images["ssm:/golden/web"] = ImageId("ami-00000000000000001")
    world.commit(production=MOVING)
    world.settle()
    before = {one.instance_id for one in world.cloud.alive()}
    world.cloud.moving_images["ssm:/golden/web"] = ImageId("ami-00000000000000002")
    world.chef.search_lag = True
    world.reconcile()
    world.chef.search_lag = False
    world.settle(passes=60)
    assert {one.instance_id for one in world.cloud.alive()} == before


def test_a_chef_role_deleted_by_hand_takes_no_pin_with_it(world: World) -> None:
    world.cloud.moving_images["ssm:/golden/web"] = ImageId("ami-00000000000000001")
    world.commit(production=MOVING)
    world.settle()
    before = {one.instance_id for one in world.cloud.alive()}
    world.cloud.moving_images["ssm:/golden/web"] = ImageId("ami-00000000000000002")
    world.chef.delete_role(ChefName("production-web"))
    world.settle(passes=60)
    assert {one.instance_id for one in world.cloud.alive()} == before


@pytest.mark.parametrize("image", ["ami-00000000000000001", "ami-00000000000000009"])
def test_a_pin_that_no_commit_moved_rolls_no_fleet(world: World, image: str) -> None:
    """Somebody restored the Chef role from a backup, or edited it."""
    world.cloud.moving_images["ssm:/golden/web"] = ImageId("ami-00000000000000001")
    world.commit(production=MOVING)
    world.settle()
    world.cloud.moving_images["ssm:/golden/web"] = ImageId("ami-00000000000000002")
    world.reconciler.refresh_images(EnvironmentName("production"))
    world.reconcile()
    world.settle(passes=80)
    before = {one.instance_id for one in world.cloud.alive()}
    role = world.chef.stored_roles["production-web"]
    mark = role.default_attributes["hivequeen"]
    assert isinstance(mark, dict)
    edited = {**role.default_attributes, "hivequeen": {**mark, "image": image}}
    world.chef.put_role(replace(role, default_attributes=edited))
    pass_time(world, passes=30, seconds=60)
    assert {one.instance_id for one in world.cloud.alive()} == before
    assert world.chef.stored_roles["production-web"] == role


def test_a_refresh_by_another_owner_is_not_undone_by_who_takes_over(world: World) -> None:
    world.cloud.moving_images["ssm:/golden/web"] = ImageId("ami-00000000000000001")
    world.commit(production=MOVING)
    world.settle()
    world.claim_elsewhere(installation="other")
    role = world.chef.stored_roles["production-web"]
    mark = role.default_attributes["hivequeen"]
    assert isinstance(mark, dict)
    refreshed = {**role.default_attributes, "hivequeen": {**mark, "image": "ami-00000000000000002"}}
    world.chef.put_role(replace(role, default_attributes=refreshed))
    world.reconcile()
    world.journal.record(world.clock.now(), TookOver(actor="ops"))
    world.claim_elsewhere(installation=world.journal.recall(world.clock.now()).installation)
    pass_time(world, passes=3, seconds=600)
    assert world.chef.stored_roles["production-web"].pin("ssm:/golden/web") == "ami-00000000000000002"


def test_a_stale_search_deletes_no_role_that_somebody_else_made_since(world: World) -> None:
    world.commit(production=PRODUCTION, checkout=CHECKOUT)
    world.settle()
    world.chef.index()
    world.chef.search_lag = True
    world.commit(checkout=None)
    world.settle(passes=30)
    world.chef.put_role(ChefRole(name=ChefName("checkout-web"), run_list=("recipe[theirs]",), default_attributes={}))
    pass_time(world, passes=3, seconds=5)
    assert "checkout-web" in world.chef.stored_roles


def test_a_search_that_stands_still_fails_no_newcomers_and_hides_no_failure(world: World) -> None:
    """So many environments are under way that every pass is a full one, and a full one searches."""
    names = [f"feature{number}" for number in range(SCOPE_MAX + 5)]
    world.repository.push({f"{name}.yml": ONE for name in names})
    world.chef.index()
    world.chef.search_lag = True
    world.reconcile()
    launched = {one.instance_id for one in world.cloud.alive()}
    broken, *booting = world.cloud.alive()
    world.clock.advance(10)
    for one in booting:
        world.boot_one(one)
    world.reconcile(*names)
    for _ in range(9):
        world.clock.advance(240)
        world.chef.calls.clear()
        world.reconcile(*names)
        assert world.chef.calls["get nodes"] <= OVERDUE_MAX
    assert launched - {one.instance_id for one in world.cloud.alive()} == {broken.instance_id}


# --- protection, limits, approvals, claim ---


def test_protection_holds_though_it_never_reached_the_resources(world: World) -> None:
    world.commit(production=PRODUCTION, other=PRODUCTION)
    world.settle()
    world.commit(production=PRODUCTION + "protected: true\nsuspend: true\n")
    world.reconcile()
    world.clock.advance(300)
    world.reconcile()
    world.commit(production=None)
    pass_time(world, passes=3, seconds=60)
    assert world.counts()["production/web"] == 4


def test_sweeps_count_among_the_environments_of_an_hour(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    parameters = world.cloud.parameters_of(world.alive("production", "web")[0].instance_id)
    for number in range(8):
        copied = {**dict(parameters.tags), tags.ENVIRONMENT: f"other{number}"}
        del copied[tags.INTENT]
        world.cloud.launch_by_hand(replace(parameters, count=1, tags=tuple(copied.items())))
        world.reconcile()
        world.clock.advance(120)
    for _ in range(12):
        world.reconcile()
        world.clock.advance(120)
    assert len([key for key in world.counts() if key.startswith("other")]) >= 5


def test_the_approval_of_a_revision_is_used_up_by_applying_it(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    rewritten = world.repository.rewrite({"production.yml": PRODUCTION + "# new\n"})
    (hold,) = blocked(world.reconcile(), Guard.HISTORY)
    approve(world, hold)
    world.settle()
    world.commit(checkout=CHECKOUT)
    world.settle()
    world.clock.advance(18000)
    world.repository.reset(rewritten)
    assert blocked(world.reconcile(), Guard.HISTORY)
    assert world.counts()["checkout/web"] == 1


def test_a_hold_over_several_environments_can_be_lifted_while_one_of_them_is_suspended(world: World) -> None:
    world.repository.push({f"feature{n}.yml": ONE for n in range(6)})
    world.settle()
    world.commit(feature0=ONE + "suspend: true\n")
    world.reconcile()
    world.repository.push({"README.md": "nothing left"})
    holds = blocked(world.reconcile(), Guard.EMPTY_REVISION)
    approve(world, *holds)
    pass_time(world, passes=6, seconds=10)
    assert not [key for key in world.counts() if key != "feature0/web"]


def test_a_take_over_with_a_lost_journal_keeps_the_witness_of_history(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    world.commit(checkout=CHECKOUT)
    world.settle()
    standing = world.chef.claim()
    assert standing is not None
    world.lose_journal()
    operations = Operations(
        settings=world.settings,
        clock=world.clock,
        journal=world.journal,
        chef=lambda: world.chef,
        account=world.cloud.account,
    )
    operations.claim(take_over=True, actor="ops")
    world.repository.rewrite({"production.yml": PRODUCTION})
    done = world.reconcile()
    claim = world.chef.claim()
    assert claim is not None
    assert claim.applied == standing.applied
    assert blocked(done, Guard.HISTORY)


def test_a_take_over_during_a_pass_is_not_undone_by_it(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    tree = world.repository.tree

    def taken(revision: RevisionId) -> tuple[TreeEntry, ...]:
        world.claim_elsewhere(installation="other")
        world.repository.tree = tree  # type: ignore[method-assign]  # once
        return tree(revision)

    world.commit(checkout=CHECKOUT)
    world.repository.tree = taken  # type: ignore[method-assign]  # somebody takes over in the middle of the pass
    world.reconcile()
    claim = world.chef.claim()
    assert claim is not None
    assert claim.installation == "other"
    assert "checkout/web" not in world.counts()


# --- one's trouble is its own ---


def test_a_parameter_store_that_does_not_answer_stops_one_role(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    world.cloud.fail("GetParameter", Transient("ssm does not answer"), times=100000)
    world.commit(bad=MOVING)
    world.cloud.terminate_by_hand(world.alive("production", "web")[0].instance_id)
    pass_time(world, passes=6, seconds=60)
    assert world.counts()["production/web"] == 4


def test_a_chef_node_that_may_not_be_read_stops_one_environment(world: World) -> None:
    world.commit(production=PRODUCTION, other=PRODUCTION)
    world.settle()
    victim = world.alive("other", "worker")[0].instance_id
    poisoned = node_name(EnvironmentName("other"), RoleName("worker"), victim)
    real = world.chef.nodes

    def nodes(names: "object" = None) -> dict[str, ChefNode]:
        if names and poisoned in names:  # type: ignore[operator]  # a collection of names
            raise Denied("403", remedy="grant READ")
        return dict(real(names))  # type: ignore[arg-type]  # as above

    world.chef.nodes = nodes  # type: ignore[method-assign]  # one object's own ACL
    world.cloud.terminate_by_hand(victim)
    world.reconcile()
    world.cloud.terminate_by_hand(world.alive("production", "web")[0].instance_id)
    pass_time(world, passes=6, seconds=60)
    assert world.counts()["production/web"] == 4
    done = world.reconcile()
    assert done.plan is not None
    assert [stall.reason for one in done.plan.environments for stall in one.stalls] == ["Unreadable"]


def test_a_foreign_chef_role_stops_that_role_alone(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    world.chef.put_role(ChefRole(name=ChefName("production-db"), run_list=(), default_attributes={}))
    world.commit(production=PRODUCTION + '  db: {count: 1, run_list: ["recipe[x]"]}\n')
    world.cloud.terminate_by_hand(world.alive("production", "web")[0].instance_id)
    pass_time(world, passes=6, seconds=60)
    assert world.counts() == {"production/web": 4, "production/worker": 2}


def test_a_chef_node_that_cannot_be_written_holds_up_no_launch(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    victim = world.alive("production", "worker")[0].instance_id
    poisoned = node_name(EnvironmentName("production"), RoleName("worker"), victim)
    now = world.clock.now().timestamp()
    world.chef.save_node(poisoned, chef_environment="production", run_list=["recipe[hand]"], ohai_time=now)
    real = world.chef.put_node

    def put(name: NodeName, chef_environment: ChefName, run_list: "tuple[str, ...]") -> bool:
        if name == poisoned:
            raise Transient("500")
        return real(name, chef_environment, run_list)

    world.chef.put_node = put  # type: ignore[method-assign, assignment]  # one object that the server chokes on
    world.cloud.terminate_by_hand(world.alive("production", "web")[0].instance_id)
    pass_time(world, passes=6, seconds=900)
    assert world.counts()["production/web"] == 4


# --- stuck for ever ---


def test_nodes_that_boot_while_no_daemon_runs_get_their_time(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.reconcile()
    world.close()
    world.clock.advance(2400)
    world.restart()
    done = world.settle(seconds=30, passes=30)
    assert done.plan is not None
    assert len(world.cloud.everything()) == 6


def test_credentials_that_were_refused_for_a_while_halt_no_role(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.cloud.fail("RunInstances", Denied("refused", code="AuthFailure", remedy="correct them"), times=6)
    for _ in range(6):
        world.reconcile()
        world.clock.advance(20)
    world.cloud.recover()
    world.clock.advance(900)
    world.settle()
    assert world.counts()["production/web"] == 4


def test_resuming_everything_starts_halted_roles_afresh(world: World) -> None:
    bad = ImageId("ami-0bad0bad0bad0bad0")
    world.cloud.unknown_images.add(bad)
    world.commit(production=PRODUCTION.replace("ami-0123456789abcdef0", bad))
    pass_time(world, passes=12, seconds=120)
    world.cloud.unknown_images.clear()
    world.journal.record(world.clock.now(), Resumed(environment=None))
    world.settle()
    assert world.counts()["production/web"] == 4


def test_a_clock_that_ran_ahead_leaves_no_backoff_of_weeks(world: World) -> None:
    world.commit(production=PRODUCTION)
    backoff = Backoff(
        environment=EnvironmentName("production"),
        failures=3,
        until=world.clock.now() + timedelta(days=30),
        message="x",
    )
    world.journal.record(world.clock.now(), EnvironmentFailed(backoff=backoff))
    world.settle()


def test_suspension_in_the_file_puts_registrations_off(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.reconcile()
    assert world.reconciler.chef_environment(EnvironmentName("production")) == "production"
    world.commit(production=PRODUCTION + "suspend: true\n")
    world.reconcile()
    assert world.reconciler.chef_environment(EnvironmentName("production")) is None


def test_a_preview_swallows_no_commit(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    world.commit(checkout=CHECKOUT)
    world.reconciler.preview(EVERYTHING)
    assert world.notice_commit() is not None
    assert world.counts()["checkout/web"] == 1


def test_a_failed_preview_puts_no_registration_off(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    world.cloud.fail("DescribeInstances", Transient("EC2 does not answer"))
    world.reconciler.preview(EVERYTHING)
    assert world.reconciler.may_write() is None


def test_a_refresh_of_images_outlives_a_failure(world: World) -> None:
    world.cloud.moving_images["ssm:/golden/web"] = ImageId("ami-00000000000000001")
    world.commit(production=MOVING.replace("count: 4", "count: 1").replace("count: 2", "count: 1"))
    world.settle()
    world.cloud.moving_images["ssm:/golden/web"] = ImageId("ami-00000000000000002")
    world.reconciler.refresh_images(EnvironmentName("production"))
    world.chef.fail_next("put_role", Transient("500"))
    world.reconcile()
    for _ in range(20):
        world.clock.advance(10)
        world.boot()
        world.reconcile()
    assert {one.image for one in world.cloud.alive()} == {"ami-00000000000000002"}


# --- what the first mends had opened ---


def test_no_node_is_launched_whose_chef_role_was_skipped(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.chef.fail_next("put_role", Transient("500"))
    world.reconcile()
    assert {f"production-{one.role}" for one in world.cloud.alive()} <= set(world.chef.stored_roles)
    world.settle()


def test_an_approved_revision_stays_approved_until_the_claim_holds_it(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    world.repository.rewrite({"production.yml": PRODUCTION + "# new\n"})
    (hold,) = blocked(world.reconcile(), Guard.HISTORY)
    approve(world, hold)
    world.chef.fail_next("update_claim", Transient("500"))
    world.reconcile()
    world.clock.advance(30)
    done = world.reconcile()
    assert not done.failures
    assert not blocked(done, Guard.HISTORY)


def test_a_refresh_wins_over_what_serves_where_the_pin_was_deleted(world: World) -> None:
    world.cloud.moving_images["ssm:/golden/web"] = ImageId("ami-00000000000000001")
    world.commit(production=MOVING)
    world.settle()
    world.cloud.moving_images["ssm:/golden/web"] = ImageId("ami-00000000000000002")
    world.chef.delete_role(ChefName("production-web"))
    world.reconciler.refresh_images(EnvironmentName("production"))
    world.reconcile()
    world.settle(passes=80)
    assert {one.image for one in world.cloud.alive()} == {"ami-00000000000000002"}


def test_a_clock_that_ran_ahead_leaves_deadlines_where_they_were(world: World) -> None:
    world.commit(production=ONE)
    world.settle()
    world.clock.advance(30 * 86400)
    world.reconcile()
    world.clock.set_back(30 * 86400)
    world.commit(production=ONE.replace("count: 1", "count: 2"))
    world.reconcile()
    before = {one.instance_id for one in world.alive("production", "web")}
    for _ in range(20):
        world.clock.advance(300)
        world.reconcile()
    assert before != {one.instance_id for one in world.alive("production", "web")}


def test_a_refresh_that_could_not_be_asked_for_is_asked_again(world: World) -> None:
    world.cloud.moving_images["ssm:/golden/web"] = ImageId("ami-00000000000000001")
    world.commit(production=MOVING)
    world.settle()
    world.cloud.moving_images["ssm:/golden/web"] = ImageId("ami-00000000000000002")
    world.reconciler.refresh_images(EnvironmentName("production"))
    world.cloud.fail("GetParameter", Transient("ssm does not answer"), times=1)
    world.reconcile("production")
    world.reconcile()
    world.settle(passes=80)
    assert {one.image for one in world.cloud.alive()} == {"ami-00000000000000002"}


def test_a_stale_search_ends_no_newcomer_after_a_refresh(world: World) -> None:
    world.cloud.moving_images["ssm:/golden/web"] = ImageId("ami-00000000000000001")
    world.commit(production=MOVING)
    world.settle()
    world.cloud.moving_images["ssm:/golden/web"] = ImageId("ami-00000000000000002")
    world.chef.index()
    world.chef.search_lag = True
    world.reconciler.refresh_images(EnvironmentName("production"))
    world.reconcile("production")
    done = world.reconcile()
    assert [
        outcome.action.name.value for outcome in done.outcomes if outcome.action.name.value == "terminate_node"
    ] == []


def test_protection_can_be_lifted_while_a_role_is_halted(world: World) -> None:
    world.commit(production=PRODUCTION, other=ONE + "protected: true\n")
    world.reconcile()
    for _ in range(60):
        world.clock.advance(300)
        world.reconcile()
    world.commit(other=ONE + "protected: false\n")
    for _ in range(3):
        world.clock.advance(10)
        world.reconcile()
    world.commit(other=None)
    for _ in range(6):
        world.clock.advance(10)
        world.reconcile()
    assert "other/web" not in world.counts()
