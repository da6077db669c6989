from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.cost import Cost, Prices, RegionPrices, monthly_cost
from reconciler.model.desired import RootVolume
from tests.plan.builders import environment, role

REGION = "us-east-1"
PRICES = Prices(
    regions={
        REGION: RegionPrices(
            as_of=date(2026, 11, 1),
            source="a test",
            instances={"m7i.large": Decimal("0.1008"), "t3.micro": Decimal("0.0104")},
            volumes={"gp3": Decimal("0.08")},
        )
    }
)


def test_a_month_is_730_hours_of_every_node_as_its_preferred_type() -> None:
    cost = monthly_cost(environment(roles=[role(count=2), role("worker", 1)]), PRICES, REGION)
    assert cost == Cost(known=Decimal("0.1008") * 730 * 3)
    assert cost.usd_per_month == Decimal("220.752")
    assert str(cost) == "$220.75 a month"


def test_declared_root_volumes_are_paid_by_gib() -> None:
    volume = RootVolume(size_gib=50)
    with_volume = monthly_cost(environment(roles=[role(count=2, root_volume=volume)]), PRICES, REGION)
    without = monthly_cost(environment(roles=[role(count=2)]), PRICES, REGION)
    assert with_volume.known - without.known == Decimal(8)


def test_no_nodes_cost_nothing_and_need_no_price() -> None:
    idle = role(count=0, instance_types=("m9.large",))
    assert monthly_cost(environment(roles=[idle]), PRICES, REGION) == Cost()
    assert monthly_cost(environment(roles=[]), PRICES, "nowhere-1").usd_per_month == 0


@pytest.mark.parametrize(
    ("changes", "region", "unknown"),
    [
        ({"instance_types": ("m9.large", "m7i.large")}, REGION, "m9.large in us-east-1"),
        ({"root_volume": RootVolume(size_gib=8, type="io2")}, REGION, "io2 volumes in us-east-1"),
        ({}, "eu-west-9", "m7i.large in eu-west-9"),
    ],
    ids=["type", "volume", "region"],
)
def test_an_unknown_price_is_said_and_never_guessed(changes: dict[str, Any], region: str, unknown: str) -> None:
    cost = monthly_cost(environment(roles=[role(**changes)]), PRICES, region)
    assert cost.usd_per_month is None
    assert cost.unknown == (unknown,)
    assert unknown in str(cost)


def test_beside_an_unknown_price_the_known_ones_are_the_least_that_it_costs() -> None:
    cost = monthly_cost(environment(roles=[role(count=1), role("db", 1, instance_types=("m9.large",))]), PRICES, REGION)
    assert str(cost) == "at least $73.58 a month; no price is known for m9.large in us-east-1"
    alone = monthly_cost(environment(roles=[role("db", 1, instance_types=("m9.large",))]), PRICES, REGION)
    assert str(alone) == "unknown: no price is known for m9.large in us-east-1"


COSTS = st.builds(
    lambda known, unknown: Cost(known=known, unknown=tuple(sorted(unknown))),
    st.decimals(0, 10_000, places=4),
    st.frozensets(st.sampled_from(["a", "b", "c"])),
)


@given(COSTS, COSTS, COSTS)
def test_costs_add_up_in_any_order(first: Cost, second: Cost, third: Cost) -> None:
    assert first + second == second + first
    assert (first + second) + third == first + (second + third)
    assert first + Cost() == first
