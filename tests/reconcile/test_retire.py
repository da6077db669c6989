"""The file of an environment whose lifetime is over goes by a commit of the daemon, where settings allow it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from reconciler.model.memory import EndingCause
from reconciler.model.names import EnvironmentName
from tests.reconcile.world import CHECKOUT, PRODUCTION, World

NAME = EnvironmentName("checkout")
BRIEF = CHECKOUT + "ttl: 1h\n"


def outlive(world: World) -> None:
    """An hour and a bit pass; then the teardown has all the passes that it needs."""
    world.commit(production=PRODUCTION, checkout=BRIEF)
    world.settle()
    world.clock.advance(timedelta(hours=1, minutes=1).total_seconds())
    for _ in range(8):
        world.reconcile()
        world.clock.advance(10)
    assert world.alive("checkout") == []


def files(world: World) -> set[str]:
    return {entry.path for entry in world.repository.tree(world.repository.fetch())}


@pytest.fixture
def retiring(world: World) -> World:
    world.change_settings(lifetimes=replace(world.settings.lifetimes, remove_files=True))
    return world


def test_its_file_is_removed_when_nothing_of_it_is_left_and_then_it_is_forgotten(retiring: World) -> None:
    outlive(retiring)
    assert files(retiring) == {"production.yml"}
    retiring.reconcile()
    assert NAME not in retiring.journal.recall(retiring.clock.now()).environments
    assert retiring.counts() == {"production/web": 4, "production/worker": 2}


def test_without_the_setting_the_file_stays_and_the_environment_stays_gone(world: World) -> None:
    outlive(world)
    assert files(world) == {"production.yml", "checkout.yml"}
    known = world.journal.recall(world.clock.now()).environments[NAME]
    assert known.ending is not None
    assert known.ending.cause is EndingCause.EXPIRED


def test_a_file_that_was_renewed_in_the_meantime_is_left_alone(retiring: World) -> None:
    retiring.commit(production=PRODUCTION, checkout=BRIEF)
    retiring.settle()
    retiring.clock.advance(timedelta(hours=1, minutes=1).total_seconds())
    retiring.reconcile()
    retiring.commit(checkout=BRIEF.replace("1h", "2h"))
    retiring.settle()
    assert "checkout.yml" in files(retiring)
    assert len(retiring.alive("checkout")) == 2


def test_no_file_is_removed_while_the_daemon_may_not_write(retiring: World) -> None:
    retiring.commit(production=PRODUCTION, checkout=BRIEF)
    retiring.settle()
    retiring.claim_elsewhere(installation="another")
    retiring.clock.advance(timedelta(hours=2).total_seconds())
    for _ in range(3):
        retiring.reconcile()
    assert "checkout.yml" in files(retiring)


def test_a_file_that_others_extend_stays(retiring: World) -> None:
    retiring.commit(child=CHECKOUT.replace("production", "checkout"))
    outlive(retiring)
    assert "checkout.yml" in files(retiring)
    assert len(retiring.alive("child")) == 2


def test_a_repository_that_refuses_the_push_is_said_and_tried_again(retiring: World) -> None:
    retiring.repository.refuses_pushes = True
    outlive(retiring)
    done = retiring.reconcile()
    assert [failure.environment for failure in done.failures] == [NAME]
    retiring.repository.refuses_pushes = False
    retiring.reconcile()
    assert files(retiring) == {"production.yml"}
