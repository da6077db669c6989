"""Where new nodes go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.actions import Batch
from reconciler.model.names import RoleName
from reconciler.plan.placement import place
from tests.plan.builders import bare, environment, memory, node, out_everywhere, out_of, plan_one, role, said


def short(batches: tuple[Batch, ...]) -> list[tuple[str, str, int]]:
    return [(batch.instance_type, batch.subnet, batch.count) for batch in batches]


@pytest.mark.parametrize(
    ("count", "in_a", "in_b", "spread"),
    [
        (1, 0, 0, (1, 0)),
        (2, 0, 0, (1, 1)),
        (5, 0, 0, (3, 2)),
        (2, 2, 0, (0, 2)),
        (3, 2, 0, (1, 2)),
        (4, 2, 0, (1, 3)),
    ],
)
def test_nodes_are_spread_evenly_with_those_that_are_there(
    count: int, in_a: int, in_b: int, spread: tuple[int, int]
) -> None:
    nodes = [node(n, instance={"subnet": "subnet-a"}) for n in range(in_a)]
    nodes += [node(n + 10, instance={"subnet": "subnet-b"}) for n in range(in_b)]
    wanted = [("m7i.large", name, n) for name, n in zip(("subnet-a", "subnet-b"), spread, strict=True) if n]
    assert short(place(role(), count, nodes, ())) == wanted


def test_nodes_elsewhere_do_not_weigh() -> None:
    nodes = [node(1, instance={"subnet": "subnet-gone"}), node(2, instance={"subnet": None})]
    assert short(place(role(), 1, nodes, ())) == [("m7i.large", "subnet-a", 1)]


@pytest.mark.parametrize(
    ("exhausted", "offering"),
    [
        pytest.param([], ("m7i.large", "subnet-a"), id="the first of each"),
        pytest.param([("m7i.large", "subnet-a")], ("m7i.large", "subnet-b"), id="another subnet before another type"),
        pytest.param(
            [("m6i.large", "subnet-a")], ("m7i.large", "subnet-a"), id="what is out elsewhere does not matter"
        ),
        pytest.param(
            [("m7i.large", "subnet-a"), ("m7i.large", "subnet-b")], ("m6i.large", "subnet-a"), id="then the next type"
        ),
    ],
)
def test_an_offering_without_capacity_is_skipped(exhausted: list[tuple[str, str]], offering: tuple[str, str]) -> None:
    (batch,) = place(role(), 1, (), [out_of(*one) for one in exhausted])
    assert (batch.instance_type, batch.subnet) == offering


def test_a_role_for_which_there_is_no_room_anywhere_waits() -> None:
    made = plan_one(environment(), bare("checkout"), memory(exhausted=out_everywhere(role())))
    assert not any(name.startswith("launch") for name in said(made.actions))
    assert [waiting.message for waiting in made.waiting] == [
        "web: no capacity for m7i.large, m6i.large in subnet-a, subnet-b; tried again within 3 min"
    ]


def test_more_than_a_hundred_like_nodes_take_several_calls() -> None:
    one_subnet = role(subnets=("subnet-a",))
    assert [batch.count for batch in place(one_subnet, 250, (), ())] == [100, 100, 50]


@given(
    count=st.integers(0, 300),
    subnets=st.lists(st.sampled_from("abcdef"), min_size=1, unique=True),
    load=st.lists(st.sampled_from("abcdefg"), max_size=30),
)
def test_every_node_is_placed_and_no_subnet_is_favoured(count: int, subnets: list[str], load: list[str]) -> None:
    nodes = [node(n, instance={"subnet": subnet}) for n, subnet in enumerate(load)]
    batches = place(role(RoleName("web"), subnets=tuple(subnets)), count, nodes, ())
    assert sum(batch.count for batch in batches) == count
    new = {name: sum(batch.count for batch in batches if batch.subnet == name) for name in subnets}
    total = {name: new[name] + load.count(name) for name in subnets}
    # Whoever got a node is not fuller than anybody else by more than that one.
    assert all(total[name] <= min(total.values()) + 1 for name in subnets if new[name])
