"""`validate` in other people's programs: GitHub's annotations, pre-commit, and the policy of the settings."""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from reconciler.cli import invoke
from reconciler.cli.validate import annotation
from reconciler.model.findings import Finding, Origin
from tests.cli.scene import write_settings
from tests.spec.revision import CHECKOUT, PRODUCTION

Captured = pytest.CaptureFixture[str]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "environments.d"
    folder.mkdir()
    (folder / "production.yml").write_text(PRODUCTION)
    (folder / "checkout.yml").write_text(CHECKOUT)
    return folder


def test_github_is_given_a_file_and_line_to_each_finding(folder: Path, capsys: Captured) -> None:
    (folder / "checkout.yml").write_text(CHECKOUT + "dns: 100%\n")
    assert invoke(["validate", str(folder), "--format", "github"]) == 1
    assert capsys.readouterr().out == (
        f"::error file={folder}/checkout.yml,line=7,title=hivequeen::dns is not supported yet (remove it)\n"
    )


def test_github_is_told_nothing_where_nothing_is_wrong(folder: Path, capsys: Captured) -> None:
    assert invoke(["validate", str(folder), "--format", "github"]) == 0
    assert capsys.readouterr().out == ""


def test_no_value_can_forge_another_annotation() -> None:
    finding = Finding(origin=Origin(file="a,b:c%\n.yml", line=3), message='"50%\r\n::error::x"', remedy="")
    assert annotation(finding) == ('::error file=a%2Cb%3Ac%25%0A.yml,line=3,title=hivequeen::"50%25%0D%0A::error::x"')


def test_the_policy_of_the_settings_counts(folder: Path, tmp_path: Path, capsys: Captured) -> None:
    config = write_settings(tmp_path, policy={"owner": "*@example.org", "nodes": {"total": 3}})
    assert invoke(["--config", str(config), "validate", str(folder)]) == 1
    told = capsys.readouterr().out.splitlines()
    assert (
        f'{folder}/checkout.yml:2: against the policy: owner "jessica@example.com" is not like *@example.org (name another)'
        in told
    )
    assert any(
        line.startswith(f"{config}:1: against the policy: all environments together ask for 8 nodes") for line in told
    )


def test_the_policys_bounds_of_cost_count(folder: Path, tmp_path: Path, capsys: Captured) -> None:
    config = write_settings(tmp_path, policy={"monthly_cost": {"environment": 200, "total": 10_000}})
    assert invoke(["--config", str(config), "validate", str(folder)]) == 1
    (told,) = capsys.readouterr().out.splitlines()
    assert told.startswith(f"{folder}/production.yml:10: against the policy: a month of production costs 441.50")


def test_a_price_table_that_cannot_be_read_is_noted_and_hinders_no_check(
    folder: Path, tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "prices.json").write_text("{")
    config = write_settings(tmp_path, policy={"monthly_cost": {"environment": 200}}, prices="prices.json")
    assert invoke(["--config", str(config), "validate", str(folder)]) == 0
    assert "what it costs is not known" in capsys.readouterr().err
    config = write_settings(tmp_path, prices="prices.json")
    assert invoke(["--config", str(config), "validate", str(folder)]) == 0
    assert capsys.readouterr().err == "", "nobody needs prices"


def test_settings_that_somebody_names_must_be_right(folder: Path, tmp_path: Path, capsys: Captured) -> None:
    config = write_settings(tmp_path, policy={"onwer": "x"})
    assert invoke(["--config", str(config), "validate", str(folder)]) == 1
    assert 'unknown key "onwer"' in capsys.readouterr().err


def test_settings_that_are_not_there_are_said_to_count_for_nothing(
    folder: Path, tmp_path: Path, capsys: Captured
) -> None:
    assert invoke(["--config", str(tmp_path / "nothing.yml"), "validate", str(folder)]) == 0
    assert "no policy counts" in capsys.readouterr().err


def test_the_hook_for_pre_commit_runs_as_it_is_written(folder: Path) -> None:
    [hook] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert hook["language"] == "python", "pre-commit installs this repository, whose script the entry names"
    assert hook["entry"].split()[0] == "hivequeen"
    command = [sys.executable, "-m", "reconciler", *hook["entry"].split()[1:], *hook["args"]]
    assert hook["pass_filenames"] is False

    def run() -> int:
        environment = {"PYTHONPATH": str(ROOT)}
        return subprocess.run(command, cwd=folder.parent, env=environment, capture_output=True, check=False).returncode

    assert run() == 0
    (folder / "production.yml").unlink()
    assert run() == 1


def test_a_date_that_has_passed_is_a_warning_with_its_line_in_every_form(folder: Path, capsys: Captured) -> None:
    (folder / "checkout.yml").write_text(CHECKOUT + "expires: 2020-01-01T12:00Z\n")
    at, what = f"{folder}/checkout.yml", "checkout expired on 2020-01-01 12:00 UTC: nothing of it is launched"
    assert invoke(["validate", str(folder)]) == 0
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"warning: {at}:7: {what}")
    assert first.endswith("(name a later date, or delete the file)")
    assert last.startswith("OK: 2 environments")
    assert invoke(["validate", str(folder), "--format", "github"]) == 0
    assert capsys.readouterr().out.startswith(f"::warning file={at},line=7,title=hivequeen::{what}")
    assert invoke(["validate", str(folder), "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, json.loads((ROOT / "schemas" / "findings.schema.json").read_text()))
    assert [(one["file"], one["line"]) for one in document["warnings"]] == [(at, 7)]


def test_dates_to_come_and_what_is_protected_warn_of_nothing(folder: Path, capsys: Captured) -> None:
    (folder / "checkout.yml").write_text(CHECKOUT + "expires: 2999-01-01\n")
    (folder / "production.yml").write_text(PRODUCTION + "expires: 2020-01-01\n")
    assert invoke(["validate", str(folder)]) == 0
    assert "warning" not in capsys.readouterr().out


def test_settings_that_cannot_be_read_hinder_no_check(folder: Path, tmp_path: Path, capsys: Captured) -> None:
    assert invoke(["--config", str(tmp_path), "validate", str(folder)]) == 0, "a folder is no file"
    captured = capsys.readouterr()
    assert captured.out.startswith("OK: 2 environments")
    assert captured.err == f"{tmp_path} cannot be read: no policy counts\n"
