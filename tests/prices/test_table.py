"""Price tables as files, and the one that comes with the program."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from reconciler import prices
from reconciler.errors import Stalled
from reconciler.model.cost import Prices, RegionPrices

TABLE = Prices(
    regions={
        "us-east-1": RegionPrices(
            as_of=date(2026, 11, 1),
            source="a test",
            instances={"m7i.large": Decimal("0.1008"), "u-24tb1.112xlarge": Decimal(218)},
            volumes={"gp3": Decimal("0.08")},
        )
    }
)
WRITTEN = prices.write(TABLE)


def test_a_table_survives_being_written_and_read() -> None:
    assert prices.read(WRITTEN.encode(), file="t") == TABLE
    assert prices.write(prices.read(WRITTEN.encode(), file="t")) == WRITTEN


def test_trailing_zeros_of_the_price_list_are_not_written() -> None:
    region = replace(TABLE.regions["us-east-1"], instances={"a.large": Decimal("0.1000000000"), "b": Decimal("1E+2")})
    written = prices.write(Prices(regions={"us-east-1": region}))
    assert '"a.large": "0.1"' in written
    assert '"b": "100"' in written


def test_the_table_of_the_program_is_right_says_its_source_and_knows_what_the_samples_ask_for() -> None:
    table = prices.load()
    assert {"us-east-1", "us-east-2", "us-west-2", "eu-west-1"} == set(table.regions)
    for region in table.regions.values():
        assert region.source.startswith("https://aws.amazon.com/")
        assert region.as_of < date(2030, 1, 1)
        assert all(price > 0 for price in (*region.instances.values(), *region.volumes.values()))
        assert "gp3" in region.volumes
    assert table.regions["us-east-1"].instances["m7i.large"] == Decimal("0.1008")
    assert table.regions["us-east-1"].instances["m6i.large"] == Decimal("0.096")


def test_in_the_table_of_the_program_twice_the_size_is_twice_the_price() -> None:
    for region in prices.load().regions.values():
        for name, price in region.instances.items():
            family, _, size = name.partition(".")
            if size == "xlarge":
                assert price == 2 * region.instances[f"{family}.large"], name


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is no JSON"),
        ("[]", "is no price table"),
        ("{}", "regions is missing"),
        (WRITTEN.replace("USD", "EUR"), "currency"),
        (WRITTEN.replace('"0.1008"', "0.1008"), "must be a price as text"),
        (WRITTEN.replace("0.1008", "-1"), "must be a price as text"),
        (WRITTEN.replace("2026-11-01", "yesterday"), "must be a date"),
        (WRITTEN.replace("2026-11-01", "2026-02-31"), "day"),
        (WRITTEN.replace('"volumes"', '"discs"'), "discs"),
    ],
)
def test_what_is_no_price_table_is_refused_with_a_remedy(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text(content)
    with pytest.raises(Stalled) as refusal:
        prices.load(path)
    assert said in refusal.value.message
    assert str(path) in refusal.value.message
    assert "hivequeen prices update" in refusal.value.remedy


def test_a_table_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(Stalled, match="cannot be read: No such file"):
        prices.load(tmp_path / "prices.json")
