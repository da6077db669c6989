"""Lifetimes through whole passes: notices, the end, the renewal, and nights in which nodes sleep."""

from datetime import datetime, timedelta

from reconciler.errors import SourceRejected
from reconciler.model.facts import EndingCancelled, ExpiryNoticed
from reconciler.model.memory import Ending, EndingCause
from reconciler.model.names import EnvironmentName, RevisionId
from reconciler.model.observed import InstanceState
from reconciler.model.passes import Pass
from reconciler.model.plan import Guard
from reconciler.model.policy import Policy
from reconciler.settings import Lifetimes, TeardownSettings
from tests.fakes.repository import AUTHOR, FakeRepository
from tests.reconcile.test_holds import blocked
from tests.reconcile.world import CHECKOUT, PRODUCTION, World

NAME = EnvironmentName("checkout")
LASTING = CHECKOUT + "ttl: 2h\n"
SLEEPING = CHECKOUT + 'schedule: {stop: "0 20 * * *", start: "0 7 * * *", timezone: UTC}\n'
WHOLE = {"checkout/web": 1, "checkout/worker": 1, "production/web": 4, "production/worker": 2}
REST = {"production/web": 4, "production/worker": 2}


def start(world: World, checkout: str = LASTING) -> World:
    world.change_settings(teardown=TeardownSettings(grace_s=300))
    world.commit(production=PRODUCTION, checkout=checkout)
    world.settle()
    assert world.counts() == WHOLE
    return world


def ending(world: World) -> Ending | None:
    return world.journal.recall(world.clock.now()).environments[NAME].ending


def run(world: World, hours: float, *, every_s: float = 300) -> list[Pass]:
    made = []
    for _ in range(round(hours * 3600 / every_s)):
        world.clock.advance(every_s)
        world.boot()
        known = {one.name for one in world.journal.recall(world.clock.now()).nodes.values()}
        for name in known & set(world.chef.stored_nodes):
            world.run_chef(name)
        made.append(world.reconcile())
        assert not made[-1].failures, world.describe(made[-1])
    return made


def notices(made: list[Pass]) -> list[timedelta]:
    return [fact.notice.ahead for done in made for fact in done.facts if isinstance(fact, ExpiryNoticed)]


def test_it_is_noticed_it_ends_and_it_stays_gone_without_a_write(world: World) -> None:
    start(world)
    made = run(world, 3)
    assert notices(made) == [timedelta(hours=1)]
    assert world.counts() == REST
    kept = ending(world)
    assert kept is not None
    assert (kept.cause, kept.author, kept.file) == (EndingCause.EXPIRED, AUTHOR, "environments.d/checkout.yml")
    assert kept.items
    assert all(kept.items.values())
    assert not {name for name in world.chef.stored_roles if name.startswith("checkout")}
    world.forget_calls()
    quiet = run(world, 1)
    assert not [fact for done in quiet for fact in done.facts if type(fact).__name__ not in ("Looked", "RoleSettled")]
    assert (world.cloud.writes, world.chef.writes) == (0, 0)


def test_the_loop_is_told_each_moment(world: World) -> None:
    start(world)
    touched = world.repository.commit(world.repository.tip or RevisionId("")).at
    moments = [touched + timedelta(hours=1), touched + timedelta(hours=2)]
    for moment in moments:
        assert dict(world.reconcile().due) == {NAME: moment}
        world.clock.advance((moment - world.clock.now()).total_seconds())
    (hold,) = blocked(world.reconcile("checkout"), Guard.GRACE)
    assert hold.until == moments[-1] + timedelta(minutes=5)


def test_a_commit_within_the_grace_loses_nothing(world: World) -> None:
    start(world)
    (hold,) = blocked(run(world, 2)[-1], Guard.GRACE)
    assert hold.actor == AUTHOR
    before = {one.instance_id for one in world.alive("checkout")}
    world.commit(checkout=CHECKOUT + "ttl: 7d\n")
    done = world.reconcile()
    assert any(isinstance(fact, EndingCancelled) for fact in done.facts), world.describe(done)
    world.settle()
    assert {one.instance_id for one in world.alive("checkout")} == before
    assert ending(world) is None


def test_a_renewal_brings_back_what_is_gone(world: World) -> None:
    start(world)
    run(world, 3)
    world.commit(checkout=CHECKOUT)
    world.settle()
    assert world.counts() == WHOLE
    assert ending(world) is None


def test_the_file_of_one_that_is_gone_may_go_too(world: World) -> None:
    start(world)
    run(world, 3)
    world.commit(checkout=None)
    world.settle()
    assert NAME not in world.journal.recall(world.clock.now()).environments


def test_the_default_of_the_settings_ends_what_names_nothing_but_not_what_is_protected(world: World) -> None:
    world.change_settings(lifetimes=Lifetimes(default_ttl_s=7200), teardown=TeardownSettings(grace_s=0))
    world.commit(production=PRODUCTION + "protected: true\n", checkout=CHECKOUT + "protected: false\n")
    world.settle()
    run(world, 3)
    assert world.counts() == REST


class ForgetfulRepository(FakeRepository):
    """Reads trees, and nothing of the past."""

    def commit(self, revision: RevisionId) -> None:  # type: ignore[override]  # it never answers
        raise SourceRejected("the history cannot be read")


def test_a_history_that_cannot_be_read_ends_nothing(world: World) -> None:
    world.repository = ForgetfulRepository()
    world.restart()
    world.commit(production=PRODUCTION, checkout=LASTING)
    for _ in range(10):
        world.reconcile()
        world.clock.advance(1800)
        world.boot()
    assert {one.environment for one in world.cloud.alive()} == {"production", "checkout"}


# --- nights ---------------------------------------------------------------------------------------------------------


def states(world: World) -> set[InstanceState]:
    return {one.state for one in world.alive("checkout")}


def test_nodes_sleep_through_the_night_and_are_the_same_in_the_morning(world: World) -> None:
    start(world, SLEEPING)
    before = {one.instance_id for one in world.alive("checkout")}
    noon = world.clock.now()
    run(world, 9)
    assert states(world) == {InstanceState.STOPPED}
    assert dict(world.reconcile().due) == {NAME: datetime(2026, 11, 2, 7, 0, tzinfo=noon.tzinfo)}
    world.forget_calls()
    run(world, 6, every_s=1800)
    assert world.cloud.writes == 0
    run(world, 6)
    assert states(world) == {InstanceState.RUNNING}
    assert {one.instance_id for one in world.alive("checkout")} == before


# --- policy ---------------------------------------------------------------------------------------------------------


def test_what_the_policy_forbids_does_not_grow_and_is_healed(world: World) -> None:
    start(world, CHECKOUT)
    world.change_settings(policy=Policy(nodes_per_environment=6))
    world.commit(checkout=CHECKOUT.replace("web: {count: 1}", "web: {count: 9}"))
    (hold,) = blocked(world.reconcile(), Guard.POLICY)
    assert hold.message.startswith("environments.d/checkout.yml:")
    (lost,) = world.alive("checkout", "web")
    world.cloud.terminate([lost.instance_id])
    run(world, 1)
    assert world.counts() == WHOLE
    world.change_settings(policy=Policy())
    world.settle()
    assert world.counts() == WHOLE | {"checkout/web": 9}


def test_a_schedule_that_is_deleted_at_night_leaves_time_to_start_the_nodes(world: World) -> None:
    start(world, SLEEPING)
    run(world, 10)  # from noon until ten in the evening: they sleep
    asleep = {one.instance_id for one in world.alive("checkout")}
    assert {one.state for one in world.alive("checkout")} == {InstanceState.STOPPED}
    world.commit(checkout=CHECKOUT)
    world.reconcile()
    world.reconcile()
    assert {one.instance_id for one in world.alive("checkout")} == asleep
    world.cloud.start_by_hand(*asleep)
    run(world, 1)
    assert {one.instance_id for one in world.alive("checkout")} == asleep
