"""What a commit alone does not take from a protected environment, by whichever way it asks."""

from reconciler.model.plan import Guard
from tests.reconcile.test_holds import approve, blocked
from tests.reconcile.world import PRODUCTION, World

TEN = PRODUCTION.replace("count: 2", "count: 0").replace("count: 4", "count: 10") + "protected: true\n"


def moved(file: str) -> str:
    """With another image: every node drifts."""
    return file.replace("ami-0123456789abcdef0", "ami-0123456789abcdef1")


def test_more_than_half_of_the_nodes_of_a_protected_environment_stay_until_a_person_agrees(world: World) -> None:
    world.commit(production=TEN)
    world.settle()
    world.commit(production=TEN.replace("count: 10", "count: 4"))
    (hold,) = blocked(world.reconcile(), Guard.PROTECTED)
    assert hold.message == "production is protected, and this would remove 6 of its 10 nodes"
    world.spend(passes=6, seconds=60)
    assert len(world.alive("production")) == 10
    approve(world, hold)
    world.settle()
    assert len(world.alive("production")) == 4


def test_a_role_of_a_protected_environment_stays_until_a_person_agrees(world: World) -> None:
    both = PRODUCTION + "protected: true\n"
    world.commit(production=both)
    world.settle()
    world.commit(production="".join(line for line in both.splitlines(keepends=True) if "  worker:" not in line))
    (hold,) = blocked(world.reconcile(), Guard.PROTECTED)
    world.spend(passes=6, seconds=60)
    assert world.counts() == {"production/web": 4, "production/worker": 2}
    approve(world, hold)
    world.settle()
    assert world.counts() == {"production/web": 4}


def test_a_protected_environment_is_not_drained_by_way_of_its_replacement(world: World) -> None:
    """The same commit changes the image: no node that it lowered goes as one that was replaced."""
    world.commit(production=TEN)
    world.settle()
    world.commit(production=moved(TEN.replace("count: 10", "count: 1")))
    (hold,) = blocked(world.reconcile(), Guard.PROTECTED)
    world.spend(passes=12, seconds=5)
    world.spend(passes=6, seconds=700)
    assert len(world.alive("production")) == 10
    approve(world, hold)
    world.settle(passes=20)
    (left,) = world.alive("production")
    assert left.image == "ami-0123456789abcdef1"
