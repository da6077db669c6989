"""The file of an environment whose lifetime is over goes by a commit of the daemon, where settings allow it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from reconciler.model.facts import Suspended
from reconciler.model.memory import EndingCause, Suspension
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


# --- what comes between the end and the removal of the file ---


@pytest.fixture
def over(retiring: World) -> World:
    """Expired and torn down, and its file is still there, for the push was refused until now."""
    retiring.repository.refuses_pushes = True
    outlive(retiring)
    retiring.repository.refuses_pushes = False
    return retiring


def settle(world: World) -> None:
    for _ in range(6):
        world.clock.advance(10)
        world.boot()
        world.reconcile()


def test_a_renewal_is_not_removed_by_the_pass_that_accepts_it(over: World) -> None:
    over.commit(checkout=CHECKOUT + "ttl: 30d\n")
    settle(over)
    assert "checkout.yml" in files(over)
    assert len(over.alive("checkout")) == 2


def test_a_renewal_between_the_pass_that_saw_all_gone_and_the_next_is_kept(retiring: World) -> None:
    retiring.commit(production=PRODUCTION, checkout=BRIEF)
    retiring.settle()
    retiring.clock.advance(timedelta(hours=1, minutes=1).total_seconds())
    known = None
    while known is None or known.ending is None or known.teardown_began_at is not None:
        retiring.reconcile()
        retiring.clock.advance(5)
        known = retiring.journal.recall(retiring.clock.now()).environments[NAME]
    assert "checkout.yml" in files(retiring)
    retiring.commit(checkout=CHECKOUT + "ttl: 30d\n")
    settle(retiring)
    assert "checkout.yml" in files(retiring)
    assert len(retiring.alive("checkout")) == 2


def test_protection_after_the_end_keeps_the_file(over: World) -> None:
    over.commit(checkout=BRIEF + "protected: true\n")
    settle(over)
    assert "checkout.yml" in files(over)


@pytest.mark.parametrize("how", ["all", "one", "file"])
def test_no_file_of_what_is_suspended_is_removed(over: World, how: str) -> None:
    now = over.clock.now()
    if how == "file":
        over.commit(checkout=BRIEF + "suspend: true\n")
        over.clock.advance(timedelta(days=2).total_seconds())
    else:
        suspension = Suspension(
            environment=None if how == "all" else NAME, reason="", actor="ops", since=now, until=None
        )
        over.journal.record(now, Suspended(suspension=suspension))
    settle(over)
    assert "checkout.yml" in files(over)


def test_a_commit_that_extends_it_just_before_the_push_keeps_it(over: World) -> None:
    over.repository.rival = {"child.yml": CHECKOUT.replace("production", "checkout")}
    over.reconcile()
    settle(over)
    assert "checkout.yml" in files(over)
    assert len(over.alive("child")) == 2


def test_nothing_is_pushed_onto_a_history_that_is_held(over: World) -> None:
    tip = over.repository.rewrite({"production.yml": PRODUCTION, "checkout.yml": BRIEF})
    settle(over)
    assert over.repository.tip == tip


def test_several_files_go_one_after_the_other(retiring: World) -> None:
    retiring.commit(other=BRIEF)
    outlive(retiring)
    settle(retiring)
    assert files(retiring) == {"production.yml"}
