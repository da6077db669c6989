"""A deleted file, through whole passes: the grace in which it can be taken back, the end in order, and the receipt."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import pytest

from reconciler.errors import SourceRejected, Transient
from reconciler.model.actions import ActionName
from reconciler.model.facts import TeardownEnded, TeardownItems
from reconciler.model.memory import Ending, Item, ItemKind
from reconciler.model.names import ChefName, EnvironmentName, RevisionId
from reconciler.model.observed import ChefRole
from reconciler.model.passes import Pass
from reconciler.model.plan import Blocked, EnvironmentPlan, Guard
from reconciler.settings import Mode, TeardownSettings
from tests.fakes.repository import AUTHOR, FakeRepository
from tests.reconcile.test_holds import approve, blocked
from tests.reconcile.world import CHECKOUT, PRODUCTION, World

NAME = EnvironmentName("checkout")
GRACE = timedelta(minutes=5)


@pytest.fixture
def gracious(world: World) -> World:
    """Two environments that are up, and five minutes of grace."""
    world.change_settings(teardown=TeardownSettings(grace_s=300))
    world.commit(production=PRODUCTION, checkout=CHECKOUT)
    world.settle()
    world.forget_calls()
    return world


def plan_of(done: Pass) -> EnvironmentPlan:
    assert done.plan is not None
    return next(one for one in done.plan.environments if one.name == NAME)


def ending(world: World) -> Ending | None:
    known = world.journal.recall(world.clock.now()).environments.get(NAME)
    return known.ending if known is not None else None


def everything(world: World) -> tuple[object, ...]:
    """All that is there, to be compared."""
    return (
        world.cloud.alive(),
        dict(world.chef.stored_nodes),
        dict(world.chef.stored_clients),
        dict(world.chef.stored_roles),
        dict(world.chef.stored_environments),
    )


def pass_time(world: World, passes: int, seconds: float = 10) -> Pass:
    for _ in range(passes):
        done = world.reconcile()
        world.clock.advance(seconds)
        world.boot()
    return done


# --- taken back -----------------------------------------------------------------------------------------------------


def test_a_deletion_that_is_reverted_within_the_grace_loses_nothing(gracious: World) -> None:
    before = everything(gracious)
    gracious.commit(checkout=None)
    done = pass_time(gracious, 4, seconds=60)
    (hold,) = blocked(done, Guard.GRACE)
    assert hold.until == done.started_at - timedelta(minutes=3) + GRACE
    assert everything(gracious) == before
    gracious.commit(checkout=CHECKOUT)
    done = pass_time(gracious, 3, seconds=300)
    assert done.plan is not None
    assert done.plan.is_empty
    assert everything(gracious) == before
    assert ending(gracious) is None
    assert (gracious.cloud.writes, gracious.chef.calls["put_role"]) == (0, 0)


def test_a_restart_within_the_grace_starts_no_new_one(gracious: World) -> None:
    gracious.commit(checkout=None)
    first = gracious.reconcile().started_at
    for _ in range(3):
        gracious.clock.advance(60)
        gracious.close()
        gracious.restart()
        (hold,) = blocked(gracious.reconcile(), Guard.GRACE)
        assert hold.until == first + GRACE


def test_the_hold_names_the_commit_that_deleted_the_file_not_the_newest(gracious: World) -> None:
    gracious.commit(checkout=None)
    deleted = gracious.repository.tip
    assert deleted is not None
    gracious.commit(staging=PRODUCTION)
    (hold,) = blocked(gracious.reconcile(), Guard.GRACE)
    assert hold.actor == AUTHOR
    assert f"{AUTHOR} removed environments.d/checkout.yml ({deleted[:8]})" in hold.message
    assert f"git revert {deleted[:8]}" in hold.remedy


class AmnesicRepository(FakeRepository):
    """Reads trees, and nothing of the past."""

    def commit(self, revision: RevisionId) -> None:  # type: ignore[override]  # it never answers
        raise SourceRejected("the history cannot be read")


def test_a_history_that_cannot_be_read_shortens_no_grace(world: World) -> None:
    world.change_settings(teardown=TeardownSettings(grace_s=300))
    world.repository = AmnesicRepository()
    world.restart()
    world.commit(production=PRODUCTION, checkout=CHECKOUT)
    pass_time(world, 6)
    world.commit(checkout=None)
    (hold,) = blocked(world.reconcile(), Guard.GRACE)
    assert (hold.actor, hold.remedy) == ("", "to keep it, restore environments.d/checkout.yml and push before then")
    assert world.counts()["checkout/web"] == 1


# --- when it is looked at again -------------------------------------------------------------------------------------


def test_the_loop_is_told_when_the_grace_ends_and_one_look_then_is_enough(gracious: World) -> None:
    gracious.commit(checkout=None)
    done = gracious.reconcile()
    assert (done.requeue_after_s, dict(done.due), done.awaited) == (300.0, {NAME: done.started_at + GRACE}, frozenset())
    gracious.clock.advance(300)
    done = gracious.reconcile("checkout")
    assert done.scope.is_full
    assert [outcome.action.name for outcome in done.outcomes] == [ActionName.TERMINATE_NODE] * 2


def test_an_environment_that_comes_up_meanwhile_makes_no_look_at_the_ending_one(gracious: World) -> None:
    gracious.commit(checkout=None, staging=PRODUCTION)
    done = gracious.reconcile()
    assert done.requeue_after_s == 5.0
    assert done.awaited == {"staging"}
    assert set(done.due) == {NAME}


# --- the end, and its receipt ---------------------------------------------------------------------------------------


def run_down(world: World) -> list[Pass]:
    """Passes from the deletion until nothing is left."""
    world.commit(checkout=None)
    made = []
    for _ in range(60):
        made.append(world.reconcile())
        if ending(world) is None:
            return made
        world.clock.advance(10)
        world.boot()
    raise AssertionError(world.describe(made[-1]))


def test_the_receipt_lists_what_was_there_and_when_each_thing_was_seen_gone(gracious: World) -> None:
    gracious.cloud.shutting_down_s = 60
    instances = {one.instance_id for one in gracious.alive("checkout")}
    nodes = {name for name in gracious.chef.stored_nodes if name.startswith("checkout-")}
    made = run_down(gracious)
    receipt = _receipt(made)
    assert {(item.kind, item.name) for item in receipt} == {
        *((ItemKind.INSTANCE, one) for one in instances),
        *((kind, name) for kind in (ItemKind.CHEF_NODE, ItemKind.CHEF_CLIENT) for name in nodes),
        (ItemKind.CHEF_ROLE, "checkout-web"),
        (ItemKind.CHEF_ROLE, "checkout-worker"),
        (ItemKind.CHEF_ENVIRONMENT, "checkout"),
    }
    order = {kind: {at for item, at in receipt.items() if item.kind is kind} for kind in ItemKind}
    began = made[0].started_at + GRACE
    assert began + timedelta(seconds=60) <= min(order[ItemKind.INSTANCE])
    assert max(order[ItemKind.INSTANCE]) < min(order[ItemKind.CHEF_CLIENT])
    assert max(order[ItemKind.CHEF_CLIENT]) < min(order[ItemKind.CHEF_ROLE])


def _receipt(made: list[Pass]) -> Mapping[Item, datetime]:
    """As the facts tell it; what the journal keeps must say the same until the end."""
    found: set[Item] = set()
    gone: dict[Item, datetime] = {}
    for done in made:
        if done.memory is not None and NAME in done.memory.environments:
            kept = done.memory.environments[NAME].ending
            assert kept is None or dict(kept.items) == {item: gone.get(item) for item in found}
        for fact in done.facts:
            if isinstance(fact, TeardownItems):
                assert not gone.keys() & fact.gone
                found |= fact.found
                gone |= dict.fromkeys(fact.gone, done.started_at)
    assert found == gone.keys()
    assert any(isinstance(fact, TeardownEnded) for fact in made[-1].facts)
    return gone


def test_removed_and_reconciled_without_a_grace_it_begins_at_once(world: World) -> None:
    world.commit(production=PRODUCTION, checkout=CHECKOUT)
    world.settle()
    world.commit(checkout=None)
    done = world.reconcile()
    assert {outcome.action.name for outcome in done.outcomes} == {ActionName.TERMINATE_NODE}
    assert [type(fact).__name__ for fact in plan_of(done).facts] == [
        "EnvironmentEnding",
        "TeardownBegan",
        "TeardownItems",
    ]
    assert _receipt([done, *run_down_from(world)])


def run_down_from(world: World) -> list[Pass]:
    made = []
    while ending(world) is not None:
        world.clock.advance(10)
        made.append(world.reconcile())
        assert len(made) < 60
    return made


def test_a_role_that_no_search_shows_is_not_called_gone(gracious: World) -> None:
    """Before the end its Chef objects are asked for by name, however the search lags."""
    stray(gracious, "checkout-batch", "checkout")
    gracious.commit(checkout=None)
    gracious.reconcile()
    gracious.clock.advance(300)
    gracious.reconcile()
    gracious.chef.search_lag = True  # its index never saw anything
    run_down_from(gracious)
    assert not {name for name in gracious.chef.stored_roles if name.startswith("checkout")}


def test_a_teardown_that_breaks_off_goes_on_and_lists_nothing_twice(gracious: World) -> None:
    gracious.commit(checkout=None)
    gracious.reconcile()
    gracious.clock.advance(300)
    gracious.cloud.fail("TerminateInstances", Transient("EC2 does not answer"), times=2)
    made = [gracious.reconcile()]
    gracious.close()
    gracious.restart()
    assert _receipt([*made, *run_down_from(gracious)])
    assert "checkout/web" not in gracious.counts()


# --- beside other guards --------------------------------------------------------------------------------------------


def test_a_hold_is_approved_during_the_grace_and_the_end_then_waits_for_nothing(world: World) -> None:
    world.change_settings(teardown=TeardownSettings(grace_s=300))
    world.commit(production=PRODUCTION, checkout=CHECKOUT)
    world.settle()
    world.repository.push({"README.md": "nothing left"})
    done = world.reconcile()
    assert len(blocked(done, Guard.GRACE)) == 2
    approve(world, *blocked(done, Guard.EMPTY_REVISION))
    assert not blocked(world.reconcile(), Guard.EMPTY_REVISION)
    assert world.counts()["checkout/web"] == 1
    world.clock.advance(300)
    world.settle()
    assert world.counts() == {}


def test_a_removed_role_of_a_protected_environment_needs_one_approval(world: World) -> None:
    world.commit(production=PRODUCTION + "protected: true\n")
    world.settle()
    world.commit(production="\n".join(PRODUCTION.splitlines()[:-1]) + "\nprotected: true\n")
    held: list[Blocked] = blocked(world.reconcile(), Guard.PROTECTED)
    assert world.counts()["production/worker"] == 2
    approve(world, *held)
    world.settle()
    assert world.counts() == {"production/web": 4}
    assert set(world.chef.stored_roles) == {"production-web"}


# --- orphans in Chef ------------------------------------------------------------------------------------------------


def stray(world: World, name: str, environment: str) -> None:
    world.chef.put_role(
        ChefRole(
            name=ChefName(name),
            run_list=(),
            default_attributes={"hivequeen": {"fleet": "demo", "environment": environment, "protected": False}},
        )
    )


@pytest.mark.parametrize(
    ("name", "environment"),
    [("old-web", "old"), ("production-batch", "production")],
    ids=["of an environment that nobody knows", "of a role that no commit declared"],
)
def test_a_chef_role_that_nobody_asked_for_goes_after_two_sightings_and_a_while(
    world: World, name: str, environment: str
) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    stray(world, name, environment)
    for _ in range(10):
        world.reconcile()
        assert name in world.chef.stored_roles
        world.clock.advance(60)
    world.reconcile()
    assert name not in world.chef.stored_roles
    world.settle()
    assert dict(world.journal.recall(world.clock.now()).orphans) == {}


def test_one_that_is_declared_in_time_is_kept(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    stray(world, "production-batch", "production")
    world.reconcile()
    assert set(world.journal.recall(world.clock.now()).orphans) == {
        Item(kind=ItemKind.CHEF_ROLE, name="production-batch")
    }
    world.commit(production=PRODUCTION + '  batch: {count: 0, run_list: ["recipe[x]"]}\n')
    world.settle()
    world.clock.advance(3600)
    world.reconcile()
    assert world.chef.stored_roles[ChefName("production-batch")].run_list == ("recipe[x]",)
    assert dict(world.journal.recall(world.clock.now()).orphans) == {}


def test_mode_observe_notes_no_ending(world: World) -> None:
    """The grace begins with the mode in which the end can come."""
    world.commit(production=PRODUCTION, checkout=CHECKOUT)
    world.settle()
    world.change_settings(mode=Mode.OBSERVE, teardown=TeardownSettings(grace_s=300))
    world.commit(checkout=None)
    pass_time(world, 3, seconds=600)
    assert ending(world) is None
    world.change_settings(mode=Mode.CONVERGE)
    assert blocked(world.reconcile(), Guard.GRACE)
    assert world.counts()["checkout/web"] == 1


# --- what people pushed, and the daemon cannot follow yet ---


@pytest.mark.parametrize("how", ["unreachable", "forced"])
def test_a_revert_within_the_grace_counts_before_it_can_be_followed(gracious: World, how: str) -> None:
    good = gracious.repository.tip
    assert good is not None
    gracious.commit(checkout=None)
    gracious.reconcile()
    if how == "unreachable":
        gracious.commit(checkout=CHECKOUT)
        gracious.repository.is_unreachable = True
    else:
        gracious.repository.reset(good)  # git push --force of the commit before
    done = pass_time(gracious, 5, seconds=120)
    assert len(gracious.alive("checkout")) == 2
    (held,) = blocked(done, Guard.GRACE)
    assert "not torn down before the newest revision is followed" in held.message
    gracious.repository.is_unreachable = False
    pass_time(gracious, 2)
    assert len(gracious.alive("checkout")) == 2


def test_a_renewal_within_the_grace_counts_before_it_can_be_read(gracious: World) -> None:
    gracious.commit(checkout=CHECKOUT + "ttl: 1h\n")
    gracious.clock.advance(3700)
    gracious.reconcile()
    gracious.commit(checkout=CHECKOUT + "ttl: 30d\n")
    gracious.repository.is_unreachable = True
    pass_time(gracious, 5, seconds=120)
    assert len(gracious.alive("checkout")) == 2


def test_a_teardown_that_has_begun_goes_on_without_git(gracious: World) -> None:
    gracious.commit(checkout=None)
    gracious.reconcile()
    gracious.clock.advance(GRACE.total_seconds())
    gracious.reconcile()
    gracious.repository.is_unreachable = True
    pass_time(gracious, 5)
    assert gracious.alive("checkout") == []
    assert "checkout" not in gracious.chef.stored_environments
