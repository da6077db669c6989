"""`hivequeen prices update`."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler import prices
from reconciler.cli import invoke
from tests.cli.scene import write_settings
from tests.fakes.price_list import PriceListApi, instance, served, volume

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    products = (
        instance("m7i.large", "0.1008000000"),
        instance("t3.micro", "0.0104000000"),
        instance("m7i.large", "0.1124000000", region="eu-west-1"),
        volume("gp3", "0.0800000000"),
    )
    with served(PriceListApi(products)) as url:
        yield url


def update(config: Path, endpoint: str, *arguments: str) -> int:
    return invoke(["--config", str(config), "prices", "update", "--endpoint-url", endpoint, *arguments])


def test_the_table_of_the_settings_region_is_written(tmp_path: Path, endpoint: str, capsys: Captured) -> None:
    out = tmp_path / "prices.json"
    assert update(write_settings(tmp_path), endpoint, "--out", str(out)) == 0
    table = prices.load(out)
    assert set(table.regions) == {"us-east-1"}
    assert set(table.regions["us-east-1"].instances) == {"m7i.large", "t3.micro"}
    assert f"us-east-1: 2 instance types, 1 volume types in {out}" in capsys.readouterr().out
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".")] == []


def test_the_file_that_the_settings_name_is_written(tmp_path: Path, endpoint: str) -> None:
    (tmp_path / "table.json").write_text(json.dumps({"currency": "USD", "regions": {}}))
    assert update(write_settings(tmp_path, prices="table.json"), endpoint) == 0
    assert prices.load(tmp_path / "table.json").regions["us-east-1"].volumes


def test_without_settings_file_and_region_are_said(tmp_path: Path, endpoint: str, capsys: Captured) -> None:
    nowhere, out = tmp_path / "no.yml", str(tmp_path / "prices.json")
    assert update(nowhere, endpoint, "--out", out, "--region", "eu-west-1", "--region", "us-east-1") == 0
    assert set(prices.load(Path(out)).regions) == {"eu-west-1", "us-east-1"}
    capsys.readouterr()
    assert update(nowhere, endpoint, "--out", out) == 1
    assert "say --region" in capsys.readouterr().err
    assert update(nowhere, endpoint, "--region", "us-east-1") == 1
    assert "say --out FILE" in capsys.readouterr().err


def test_only_wanted_types_are_written_other_regions_stay_and_a_missing_one_is_said(
    tmp_path: Path, endpoint: str, capsys: Captured
) -> None:
    config, out = write_settings(tmp_path), str(tmp_path / "prices.json")
    assert update(config, endpoint, "--out", out, "--region", "eu-west-1") == 0
    capsys.readouterr()
    assert update(config, endpoint, "--out", out, "--types", "m7i.large, m9.large") == 0
    table = prices.load(Path(out))
    assert set(table.regions) == {"eu-west-1", "us-east-1"}
    assert set(table.regions["us-east-1"].instances) == {"m7i.large"}
    assert "no price is known for m9.large in us-east-1" in capsys.readouterr().err


def test_where_there_are_no_prices_nothing_is_written(tmp_path: Path, endpoint: str, capsys: Captured) -> None:
    out = tmp_path / "prices.json"
    assert update(write_settings(tmp_path), endpoint, "--out", str(out), "--region", "us-esat-1") == 1
    assert "us-esat-1; nothing was written" in capsys.readouterr().err
    assert not out.exists()


def test_a_file_that_is_no_price_table_is_never_overwritten(tmp_path: Path, endpoint: str, capsys: Captured) -> None:
    out = tmp_path / "notes.txt"
    out.write_text("precious")
    assert update(write_settings(tmp_path), endpoint, "--out", str(out)) == 1
    assert out.read_text() == "precious"
    assert "name another file" in capsys.readouterr().err


def test_a_folder_that_does_not_exist_is_said(tmp_path: Path, endpoint: str, capsys: Captured) -> None:
    out = tmp_path / "missing" / "prices.json"
    assert update(write_settings(tmp_path), endpoint, "--out", str(out)) == 1
    assert "cannot be written" in capsys.readouterr().err
