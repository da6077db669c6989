"""What the policy forbids never comes; what it allowed once, and what others ask for, goes on."""

import pytest

from reconciler.model.findings import Origin
from reconciler.model.names import ImageId
from reconciler.model.plan import Guard
from reconciler.model.policy import Policy
from tests.reconcile.test_holds import blocked
from tests.reconcile.test_lifetimes import run
from tests.reconcile.world import CHECKOUT, PRODUCTION, World

FORBIDDEN = "x1e.32xlarge"
LARGE = Policy(instance_types=("m7i.*", "m6i.*"))
LINE = "web: {count: 1}"
NEW_IMAGE = ImageId("ami-0123456789abcdef1")


@pytest.fixture
def others(world: World) -> World:
    """Production, and two that are like it."""
    world.commit(production=PRODUCTION, checkout=CHECKOUT, other=CHECKOUT)
    world.settle()
    return world


def types(world: World) -> set[str]:
    return {one.instance_type for one in world.alive("checkout", "web")}


def lose_a_node(world: World) -> None:
    lost, *_ = world.alive("checkout", "web")
    world.cloud.terminate([lost.instance_id])


def test_a_forbidden_type_does_not_come_by_healing(others: World) -> None:
    others.change_settings(policy=LARGE)
    others.commit(checkout=CHECKOUT.replace(LINE, f"web: {{count: 1, instance_type: {FORBIDDEN}}}"))
    run(others, 1)
    assert types(others) == {"m7i.large"}
    lose_a_node(others)
    (hold,) = blocked(others.reconcile(), Guard.POLICY)
    assert FORBIDDEN in hold.message
    run(others, 1)
    assert types(others) == set()
    others.commit(checkout=CHECKOUT)
    others.settle()
    assert types(others) == {"m7i.large"}


def test_a_type_that_ran_before_it_was_forbidden_comes_back(others: World) -> None:
    others.change_settings(policy=Policy(instance_types=("t3.*",)))
    lose_a_node(others)
    run(others, 1)
    assert types(others) == {"m7i.large"}


def test_what_one_asks_for_beyond_the_total_holds_no_replacement_and_no_healing_of_others(others: World) -> None:
    others.change_settings(policy=Policy(nodes_in_total=20, origins={"nodes.total": Origin(file="h.yml", line=1)}))
    others.commit(greedy=CHECKOUT.replace(LINE, "web: {count: 30}"))
    run(others, 0.2)
    lose_a_node(others)
    others.commit(production=PRODUCTION.replace("ami-0123456789abcdef0", NEW_IMAGE))
    run(others, 2)
    assert others.alive("greedy") == []
    assert {one.image for one in others.alive("checkout") + others.alive("other")} == {NEW_IMAGE}
    assert len(others.alive("checkout", "web")) == 1
