"""`explain` and `schema`: for people, and for scripts and editors."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from reconciler.cli import invoke
from tests.spec.revision import CHECKOUT, PRODUCTION

Captured = pytest.CaptureFixture[str]
ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "environments.d"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "production.yml").write_text(PRODUCTION)
    (tmp_path / "checkout.yml").write_text(CHECKOUT)
    return tmp_path


def test_an_environment_is_printed_with_the_source_of_every_value(folder: Path, capsys: Captured) -> None:
    assert invoke(["explain", "checkout", "--folder", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert yaml.safe_load(printed)["roles"]["web"]["count"] == 1
    [line] = [line for line in printed.splitlines() if "recipe[kickstarter::web]" in line]
    assert line.endswith(f"# {folder}/production.yml:13")
    values = [line for line in printed.splitlines() if not line.endswith(":")]
    assert all("  # " in line for line in values)


def test_one_key_is_printed_alone(folder: Path, capsys: Captured) -> None:
    assert invoke(["explain", "checkout", "roles.web.count", "--folder", str(folder)]) == 0
    assert capsys.readouterr().out == f"count: 1  # {folder}/checkout.yml:5\n"


def test_scripts_get_the_same_by_its_schema(folder: Path, capsys: Captured) -> None:
    assert invoke(["explain", "checkout", "roles.web.attributes", "--folder", str(folder), "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, json.loads((ROOT / "schemas" / "explain.schema.json").read_text()))
    assert document["spec"] == {"unicorn": {"workers": 8, "timeout": 30}}
    assert [(value["key"], value["line"]) for value in document["values"]] == [
        ("roles.web.attributes.unicorn.workers", 14),
        ("roles.web.attributes.unicorn.timeout", 14),
    ]


def test_findings_are_an_error_and_do_not_hide_the_rest(folder: Path, capsys: Captured) -> None:
    (folder / "checkout.yml").write_text(CHECKOUT + "dns: x\n")
    assert invoke(["explain", "checkout", "--folder", str(folder)]) == 1
    captured = capsys.readouterr()
    assert "branch: checkout-redesign" in captured.out
    assert f"{folder}/checkout.yml:7: dns is not supported yet" in captured.err
    assert "1 finding about checkout" in captured.err


def test_of_a_broken_file_the_key_is_not_blamed(folder: Path, capsys: Captured) -> None:
    (folder / "checkout.yml").write_text("extends: [\n")
    assert invoke(["explain", "checkout", "owner", "--folder", str(folder)]) == 1
    assert "not valid YAML" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["chekout"], 'did you mean "checkout"?'),
        (["checkout", "roles.wep"], 'did you mean "web"?'),
        (["checkout", "--folder", "nowhere"], "nowhere cannot be read"),
    ],
)
def test_what_is_not_there_is_told_with_what_may_be_meant(
    folder: Path, capsys: Captured, arguments: list[str], said: str
) -> None:
    where = [] if "--folder" in arguments else ["--folder", str(folder)]
    assert invoke(["explain", *arguments, *where]) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "schemas").glob("*.schema.json")))
def test_each_schema_is_printed_as_it_is(name: str, capsys: Captured) -> None:
    assert invoke(["schema", name.removesuffix(".schema.json")]) == 0
    printed = capsys.readouterr().out
    assert printed == (ROOT / "schemas" / name).read_text()
    jsonschema.Draft202012Validator.check_schema(json.loads(printed))


def test_the_schema_of_environments_is_what_one_mostly_wants(capsys: Captured) -> None:
    assert invoke(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "The environment"


def test_a_schema_that_is_not_there_is_told_which_are(capsys: Captured) -> None:
    assert invoke(["schema", "enviroment"]) == 1
    assert 'did you mean "environment"?' in capsys.readouterr().err


# --- editors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", sorted(path.name for path in SAMPLES.glob("*.yml")))
def test_samples_lead_editors_to_the_schema(sample: str) -> None:
    [mark] = [line for line in (SAMPLES / sample).read_text().splitlines() if "yaml-language-server" in line]
    path = mark.removeprefix("# yaml-language-server: $schema=")
    assert (SAMPLES / path).resolve() == ROOT / "schemas" / "environment.schema.json"


def test_a_plain_validator_says_the_same_of_the_samples() -> None:
    schema = json.loads((ROOT / "schemas" / "environment.schema.json").read_text())
    for path in SAMPLES.glob("*.yml"):
        jsonschema.Draft202012Validator(schema).validate(yaml.safe_load(path.read_text()))


def test_everything_that_an_editor_offers_is_described_and_every_example_holds() -> None:
    schema = json.loads((ROOT / "schemas" / "environment.schema.json").read_text())
    seen = 0
    for key, part in offered(schema):
        seen += 1
        assert {"title", "description"} <= part.keys() or "$ref" in part, key
        for example in part.get("examples", ()):
            jsonschema.Draft202012Validator({**part, "$defs": schema["$defs"]}).validate(example)
    assert seen > 30


def offered(schema: dict[str, Any], above: str = "") -> list[tuple[str, dict[str, Any]]]:
    found = []
    properties = schema.get("properties", {})
    assert isinstance(properties, dict)
    for key, part in properties.items():
        if "later" not in str(part.get("$ref", "")) and "not" not in part:
            found.append((f"{above}{key}", part))
            found += offered(part, f"{above}{key}.")
    definitions = schema.get("$defs", {})
    assert isinstance(definitions, dict)
    for name, part in definitions.items():
        found += offered(part, f"{name}.")
    return found
