"""Prices from AWS's price list, asked over HTTP."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import botocore.session
import pytest

from reconciler.adapters.pricing import SOURCE, PriceList
from reconciler.errors import Denied, HivequeenError, Throttled, Transient
from reconciler.model.cost import RegionPrices
from tests.fakes.price_list import PriceListApi, instance, served, volume

TODAY = date(2026, 11, 1)
PRODUCTS = (
    instance("m7i.large", "0.1008000000"),
    instance("m7i.xlarge", "0.2016000000"),
    instance("c7i.large", "0.0892500000"),
    instance("t3.micro", "0.0104000000"),
    instance("m7i.large", "0.1124000000", region="eu-west-1"),
    instance("m7i.large", "0.1928000000", operatingSystem="Windows", operation="RunInstances:0002"),
    instance("m7i.large", "0.1108000000", tenancy="Dedicated", usagetype="DedicatedUsage:m7i.large"),
    instance("m7i.large", "0.0000000000", capacitystatus="AllocatedCapacityReservation"),
    instance("m7i.large", "0.5808000000", preInstalledSw="SQL Web", operation="RunInstances:0200"),
    volume("gp3", "0.0800000000"),
    volume("gp2", "0.1000000000"),
    volume("io2", "0.1250000000"),
)


def session() -> botocore.session.Session:
    made = botocore.session.Session()
    made.set_credentials("AKIDEXAMPLE", "secret")
    return made


def learn(products: Sequence[dict[str, Any]], *types: str, region: str = "us-east-1") -> RegionPrices:
    with served(PriceListApi(products)) as url:
        return PriceList(sessions=session, endpoint_url=url).region(region, today=TODAY, types=types)


def test_all_plain_linux_prices_of_a_region_are_learnt_over_several_pages() -> None:
    learnt = learn(PRODUCTS)
    assert learnt.instances == {
        "c7i.large": Decimal("0.08925"),
        "m7i.large": Decimal("0.1008"),
        "m7i.xlarge": Decimal("0.2016"),
        "t3.micro": Decimal("0.0104"),
    }
    assert learnt.volumes == {"gp2": Decimal("0.1"), "gp3": Decimal("0.08")}
    assert (learnt.as_of, learnt.source) == (TODAY, SOURCE)


def test_another_region_has_its_own() -> None:
    assert learn(PRODUCTS, region="eu-west-1").instances == {"m7i.large": Decimal("0.1124")}
    assert learn(PRODUCTS, region="nowhere-1").instances == {}


def test_only_the_wanted_types_are_asked_for() -> None:
    assert set(learn(PRODUCTS, "m7i.large", "m9.large").instances) == {"m7i.large"}


def test_what_is_free_or_has_two_prices_stays_unknown() -> None:
    learnt = learn([*PRODUCTS, instance("t3.micro", "0.0208"), instance("x1.large", "0.0000000000")])
    assert not {"t3.micro", "x1.large"} & set(learnt.instances)


@pytest.mark.parametrize(
    ("code", "error"), [("AccessDeniedException", Denied), ("ThrottlingException", Throttled), ("Odd", HivequeenError)]
)
def test_a_refusal_is_named_by_the_next_step(code: str, error: type[HivequeenError]) -> None:
    with served(PriceListApi((), refusal=code)) as url, pytest.raises(error, match=code):
        PriceList(sessions=session, endpoint_url=url).region("us-east-1", today=TODAY)


@pytest.mark.parametrize(
    "garbage",
    ["<html>log in</html>", "{}", '{"PriceList": ["{"]}', '{"PriceList": [5]}', '{"PriceList": ["[]"]}'],
)
def test_an_answer_that_cannot_be_read_teaches_nothing(garbage: str) -> None:
    with served(PriceListApi((), garbage=garbage)) as url, pytest.raises(Transient):
        PriceList(sessions=session, endpoint_url=url).region("us-east-1", today=TODAY)


def test_a_price_that_is_none_teaches_nothing() -> None:
    with pytest.raises(Transient, match="cannot be read"):
        learn([instance("t3.micro", "free of charge")])


def test_without_credentials_it_is_denied_with_a_remedy() -> None:
    def nobody() -> botocore.session.Session:
        made = botocore.session.Session()
        made.get_component("credential_provider").providers.clear()
        return made

    with served(PriceListApi(PRODUCTS)) as url, pytest.raises(Denied) as denial:
        PriceList(sessions=nobody, endpoint_url=url).region("us-east-1", today=TODAY)
    assert "credentials" in denial.value.remedy
