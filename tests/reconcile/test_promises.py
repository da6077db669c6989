"""What README says that it never does, as stories of whole passes in which it would, were the rule not there."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from reconciler.model.names import InstanceId, RevisionId
from reconciler.model.observed import ChefEnvironment, ChefRole
from reconciler.model.policy import Policy
from reconciler.ports import Claim
from reconciler.settings import TeardownSettings
from tests.fakes.chef import FakeChefServer
from tests.reconcile.test_lifetimes import LASTING, REST, WHOLE, run
from tests.reconcile.world import CHECKOUT, PRODUCTION, World, settings_for


def ids(world: World, environment: str) -> set[InstanceId]:
    return {one.instance_id for one in world.alive(environment)}


# --- take down what runs because a policy became stricter -----------------------------------------------------------

STRICT = {
    "fewer nodes than run": Policy(nodes_per_environment=1),
    "fewer nodes in total": Policy(nodes_in_total=2),
    "other types": Policy(instance_types=("t3.*",)),
    "another owner": Policy(owner="*@elsewhere.example"),
    "another parent": Policy(parents=("_base",)),
    "an end that is named": Policy(requires_ttl=True),
}


@pytest.mark.parametrize("policy", STRICT.values(), ids=STRICT)
def test_what_ran_before_the_policy_became_stricter_stays_and_is_healed(world: World, policy: Policy) -> None:
    world.commit(production=PRODUCTION, checkout=CHECKOUT)
    world.settle()
    before = ids(world, "production") | ids(world, "checkout")
    world.change_settings(policy=policy)
    world.commit(checkout=f"# a commit that changes nothing\n{CHECKOUT}")
    run(world, 0.4)
    assert ids(world, "production") | ids(world, "checkout") == before
    for environment in ("production", "checkout"):
        world.cloud.terminate_by_hand(world.alive(environment, "web")[0].instance_id)
    run(world, 0.4)
    assert world.counts() == WHOLE


# --- act beside a second daemon -------------------------------------------------------------------------------------


@dataclass
class ContestedChef(FakeChefServer):
    """Between the look of one installation and its claim, another one makes a whole pass."""

    rival: Callable[[], object] | None = field(default=None)

    def __post_init__(self) -> None:
        super().__init__()

    def create_claim(self, claim: Claim) -> None:
        rival, self.rival = self.rival, None
        if rival is not None:
            rival()
        super().create_claim(claim)


def beside(world: World, directory: Path) -> World:
    """Another installation: the same fleet, EC2, Chef and repository, and a journal of its own."""
    directory.mkdir()
    other = World(directory=directory, settings=settings_for(directory), clock=world.clock, chef=world.chef)
    other.repository, other.cloud, other.tokens = world.repository, world.cloud, 1000
    other.close()
    other.restart()
    return other


def test_of_two_installations_that_begin_at_once_one_acts(world: World, tmp_path: Path) -> None:
    world.chef = chef = ContestedChef()
    world.restart()
    other = beside(world, tmp_path / "other")
    world.commit(production=PRODUCTION, checkout=CHECKOUT)
    chef.rival = other.reconcile
    for _ in range(10):
        world.reconcile()
        other.reconcile()
        world.clock.advance(60)
        other.boot()
    assert world.reconciler.may_write() is not None
    assert other.reconciler.may_write() is None
    assert world.journal.recall(world.clock.now()).intents == {}
    assert world.counts() == WHOLE
    assert len(world.cloud.everything()) == sum(WHOLE.values())
    other.close()


# --- create anything unrecorded -------------------------------------------------------------------------------------


@dataclass
class WitnessingChef(FakeChefServer):
    """Asks at each creation which revision the journal holds as applied."""

    applied: Callable[[], RevisionId | None] = lambda: None
    found: list[RevisionId | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def put_environment(self, environment: ChefEnvironment) -> bool:
        self.found.append(self.applied())
        return super().put_environment(environment)

    def put_role(self, role: ChefRole) -> bool:
        self.found.append(self.applied())
        return super().put_role(role)


def test_the_revision_is_durable_before_chef_is_asked_for_what_it_declares(world: World) -> None:
    world.chef = chef = WitnessingChef(applied=lambda: world.journal.recall(world.clock.now()).applied)
    world.restart()
    world.commit(production=PRODUCTION)
    world.settle()
    assert chef.found == [world.repository.tip] * 3


# --- let bad input for A change B -----------------------------------------------------------------------------------

BAD = {
    "no YAML": "roles: [",
    "an unknown key": CHECKOUT + "rolls: {}\n",
    "a parent that does not exist": CHECKOUT.replace("production", "nowhere"),
    "a circle": CHECKOUT.replace("production", "checkout"),
    "nothing": "",
    "no text": "\x00\x01",
    "too large": CHECKOUT + "# much\n" * 60_000,
    "a role that takes the place of another's Chef role": CHECKOUT.replace("web:", "we-b:"),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_bad_file_takes_no_node_and_holds_up_no_other_file(world: World, bad: str) -> None:
    world.commit(production=PRODUCTION, checkout=CHECKOUT, staging=PRODUCTION, old=CHECKOUT)
    world.settle()
    kept = {name: ids(world, name) for name in ("production", "checkout", "staging")}
    world.commit(checkout=bad, staging=PRODUCTION.replace("count: 4", "count: 5"), trial=CHECKOUT, old=None)
    run(world, 0.4)
    assert {name: ids(world, name) & kept[name] for name in kept} == kept
    assert world.counts() == WHOLE | {"staging/web": 5, "staging/worker": 2, "trial/web": 1, "trial/worker": 1}


# --- expire what it cannot date -------------------------------------------------------------------------------------


def test_what_was_dated_once_does_not_expire_while_its_commit_cannot_be_found(world: World) -> None:
    """The newest commit can be read, and what touched the file before it cannot: neither date may be guessed."""
    world.change_settings(teardown=TeardownSettings(grace_s=300))
    world.commit(production=PRODUCTION, checkout=LASTING)
    world.settle()
    touched = world.repository.tip
    assert touched is not None
    world.commit(production=PRODUCTION.replace("workers: 8", "workers: 9"))
    run(world, 1.2)  # dated, and told
    world.repository.lose(touched)
    world.close()
    world.restart()
    world.spend(passes=50, seconds=300)
    assert world.counts() == WHOLE
    world.repository.find(touched)
    run(world, 2)
    assert world.counts() == REST


# --- tear down because a revision declares nothing ------------------------------------------------------------------


def test_a_revision_that_declares_nothing_waits_for_a_person_where_more_than_one_runs(world: World) -> None:
    world.commit(production=PRODUCTION, checkout=CHECKOUT)
    world.settle()
    world.commit(production=None, checkout=None)
    run(world, 0.5)
    assert world.counts() == WHOLE


def test_the_only_environment_goes_by_its_commit_like_any_other(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    world.commit(production=None)
    world.settle()
    assert world.counts() == {}


# --- run more than was declared -------------------------------------------------------------------------------------


def test_a_failed_node_that_ec2_does_not_end_keeps_its_place_and_the_others_go_on(world: World) -> None:
    world.commit(production=PRODUCTION, checkout=CHECKOUT)
    world.reconcile()
    failing = world.alive("checkout", "web")[0].instance_id
    world.cloud.protect(failing)
    for _ in range(20):
        world.clock.advance(300)
        for instance in world.cloud.alive():
            if instance.instance_id != failing:
                world.boot_one(instance)
        world.reconcile()
    assert [one.instance_id for one in world.alive("checkout", "web")] == [failing]
    assert world.counts() == WHOLE
