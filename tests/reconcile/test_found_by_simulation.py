"""What script/simulate and the stale matrix found, as stories: each was the shortest trace of a broken invariant."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

import pytest

from reconciler.adapters.journal import SqliteJournal
from reconciler.errors import Denied, Transient
from reconciler.model import tags
from reconciler.model.desired import Json
from reconciler.model.facts import Fact
from reconciler.model.names import ChefName, EnvironmentName
from reconciler.model.observed import ChefEnvironment, ChefRole
from reconciler.settings import TeardownSettings
from tests.reconcile.world import CHECKOUT, PRODUCTION, World

THEIRS: Final[Mapping[str, Json]] = {"hivequeen": {"fleet": "another", "environment": "checkout", "protected": False}}


def test_a_stale_search_overwrites_no_chef_environment_that_somebody_else_made_since(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    world.chef.index()
    world.chef.search_lag = True
    world.chef.put_environment(ChefEnvironment(name=ChefName("checkout"), default_attributes=THEIRS))
    world.commit(checkout=CHECKOUT)
    world.reconcile()
    assert world.chef.stored_environments["checkout"].default_attributes == THEIRS


def test_a_stale_search_overwrites_no_chef_role_that_somebody_else_made_since(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    world.chef.index()
    world.chef.search_lag = True
    world.chef.put_role(ChefRole(name=ChefName("checkout-web"), run_list=("recipe[theirs]",), default_attributes={}))
    world.commit(checkout=CHECKOUT)
    world.reconcile()
    assert world.chef.stored_roles["checkout-web"].run_list == ("recipe[theirs]",)


def lag_behind(world: World) -> None:
    """From now on searches show Chef as it is now."""
    world.chef.index()
    world.chef.search_lag = True


def test_a_stale_search_ends_no_chef_environment_that_is_somebody_elses_by_the_time_it_expires(world: World) -> None:
    world.change_settings(teardown=TeardownSettings(grace_s=0))
    world.commit(production=PRODUCTION, checkout=CHECKOUT + "ttl: 2h\n")
    world.settle()
    lag_behind(world)
    world.chef.put_environment(ChefEnvironment(name=ChefName("checkout"), default_attributes=THEIRS))
    world.spend(passes=40, seconds=300)
    assert world.counts() == {"production/web": 4, "production/worker": 2}
    assert world.chef.stored_environments["checkout"].default_attributes == THEIRS
    assert "checkout-web" not in world.chef.stored_roles


def test_nor_one_that_never_held_a_node(world: World) -> None:
    world.change_settings(teardown=TeardownSettings(grace_s=0))
    world.commit(production=PRODUCTION, checkout=CHECKOUT.replace("count: 1", "count: 0") + "ttl: 2h\n")
    world.settle()
    lag_behind(world)
    world.chef.put_environment(ChefEnvironment(name=ChefName("checkout"), default_attributes=THEIRS))
    world.spend(passes=40, seconds=300)
    assert world.chef.stored_environments["checkout"].default_attributes == THEIRS
    assert "checkout-web" not in world.chef.stored_roles


def test_a_stale_search_ends_no_chef_role_that_is_somebody_elses_by_the_time_it_is_declared_no_more(
    world: World,
) -> None:
    world.commit(production=PRODUCTION, checkout=CHECKOUT)
    world.settle()
    lag_behind(world)
    theirs = ChefRole(name=ChefName("checkout-worker"), run_list=("recipe[theirs]",), default_attributes=THEIRS)
    world.chef.put_role(theirs)
    world.commit(checkout=CHECKOUT.replace("worker: {count: 1}", "worker: null"))
    world.spend(passes=10, seconds=300)
    assert world.chef.stored_roles["checkout-worker"].run_list == ("recipe[theirs]",)


def test_a_file_that_breaks_lets_nobody_through_a_limit_that_held_them_together(world: World) -> None:
    world.change_settings(teardown=TeardownSettings(grace_s=0))
    short = dict.fromkeys(("one", "two", "three", "four"), CHECKOUT + "ttl: 2h\n")
    world.commit(production=PRODUCTION, **short)
    world.settle()
    world.spend(passes=40, seconds=300)
    before = world.counts()
    assert len(before) == 2 + 2 * 4
    world.commit(four="roles: [")
    world.spend(passes=10, seconds=300)
    assert world.counts() == before


def test_teardowns_that_an_outage_kept_from_going_on_count_from_when_they_went(world: World) -> None:
    world.change_settings(teardown=TeardownSettings(grace_s=0))
    names = ("one", "two", "three", "four")
    world.commit(production=PRODUCTION, **dict.fromkeys(names, CHECKOUT))
    world.settle()
    world.commit(one=None, two=None, three=None)
    world.cloud.fail("TerminateInstances", Transient("timed out"), times=3)
    world.reconcile()
    world.spend(passes=1, seconds=3000)
    world.spend(passes=3, seconds=60)
    assert set(world.counts()) == {"four/web", "four/worker", "production/web", "production/worker"}
    world.commit(four=None)
    world.spend(passes=5, seconds=180)  # more than an hour since the first three began, less since they went
    assert "four/web" in world.counts()
    world.spend(passes=12, seconds=300)
    assert "four/web" not in world.counts()


class MuteJournal(SqliteJournal):
    """Its answer to one write is lost."""

    is_mute = False

    def record(self, now: datetime, *facts: Fact) -> None:
        super().record(now, *facts)
        if self.is_mute:
            self.is_mute = False
            raise Transient("the disk did not answer")


def test_nobody_registers_while_it_is_not_known_which_revision_is_applied(world: World) -> None:
    world.close()
    world.open_journal = MuteJournal
    world.restart()
    world.commit(production=PRODUCTION, checkout=CHECKOUT)
    world.settle()
    assert isinstance(world.journal, MuteJournal)
    world.commit(checkout="roles: [")
    world.journal.is_mute = True
    world.reconcile()
    assert world.reconciler.may_write() == "the disk did not answer"
    world.reconcile()
    assert world.reconciler.may_write() is None
    assert world.reconciler.chef_environment(EnvironmentName("checkout")) is None


@pytest.mark.parametrize("missing", ["subnet", "security_groups"])
def test_a_young_record_that_lacks_something_ends_no_node(world: World, missing: str) -> None:
    world.cloud.partial_s[missing] = 20
    world.commit(production=PRODUCTION)
    for _ in range(3):
        world.reconcile()
        world.clock.advance(5)
    assert world.cloud.calls["TerminateInstances"] == 0
    assert len(world.cloud.everything()) == 6


def test_a_replay_without_permission_says_nothing_about_the_launch_before_it(world: World) -> None:
    world.commit(production=PRODUCTION.replace("count: 4", "count: 1").replace("count: 2", "count: 0"))
    world.cloud.visibility_lag_s = 60
    world.cloud.fail("RunInstances", Transient("the connection was closed"), after_commit=True)
    world.reconcile()
    world.clock.advance(5)
    world.cloud.fail("RunInstances", Denied("UnauthorizedOperation", remedy="grant ec2:RunInstances"))
    for _ in range(20):
        world.reconcile()
        world.clock.advance(20)
        world.boot()
    assert len(world.cloud.everything()) == 1


def test_a_node_stopped_while_its_environment_was_ending_keeps_its_place_as_long_as_any(world: World) -> None:
    world.change_settings(teardown=TeardownSettings(grace_s=300))
    world.commit(production=PRODUCTION, checkout=CHECKOUT)
    world.settle()
    world.commit(checkout=None)
    world.reconcile()
    world.clock.advance(240)
    (victim,) = world.alive("checkout", "web")
    world.cloud.stop_by_hand(victim.instance_id)
    world.commit(checkout=CHECKOUT)
    world.reconcile()
    world.clock.advance(400)  # more than the age since it was unwanted, less since it was stopped
    world.reconcile()
    assert victim.instance_id in {one.instance_id for one in world.alive("checkout", "web")}


def test_a_copy_elsewhere_answers_no_launch_whose_reply_was_lost(world: World) -> None:
    role = PRODUCTION.replace("count: 4", "count: 2").replace(
        'count: 2, run_list: ["recipe[kickstarter::worker', 'count: 0, run_list: ["recipe[kickstarter::worker'
    )
    world.commit(
        production=role.replace("[subnet-0a1b2c3d4e5f60001, subnet-0a1b2c3d4e5f60002]", "[subnet-0a1b2c3d4e5f60001]")
    )
    world.cloud.fail("RunInstances", Transient("the connection was closed"), after_commit=True)
    world.reconcile()
    first, second = world.cloud.everything()
    world.cloud.unlisted.add(second.instance_id)
    copied = {**first.tags, tags.ENVIRONMENT: "stray"}
    parameters = world.cloud.parameters_of(first.instance_id)
    world.cloud.launch_by_hand(replace(parameters, count=1, tags=tuple(sorted(copied.items()))))
    for _ in range(6):
        world.clock.advance(10)
        world.reconcile()
    assert world.counts()["production/web"] == 2


def test_a_listing_that_is_minutes_old_ends_no_node_that_runs_by_now(world: World) -> None:
    world.cloud.pending_s = 500
    world.cloud.lag_s["list_instances"] = 200
    world.commit(production=PRODUCTION)
    world.reconcile()
    world.clock.advance(650)  # past the launch deadline; the listing shows how it was after 450 s
    world.reconcile()
    assert world.cloud.calls["TerminateInstances"] == 0
    world.cloud.lag_s.clear()
    world.settle()
    assert len(world.cloud.everything()) == 6
