"""`launch`, `teardown` and `extend` for scripts: one document on standard output, whatever happens."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from reconciler.cli import invoke
from reconciler.daemon import requests
from reconciler.errors import Denied
from tests.cli.scene import ScriptedDaemon, write_settings
from tests.cli.test_follow import BOOTING, COMING, READY, RUNNING, condition, hold, status
from tests.cli.test_launch import CHECKOUT, hivequeen
from tests.fakes.git_source import GitSource
from tests.fakes.person import PRODUCTION, Person

Captured = pytest.CaptureFixture[str]

SCHEMAS = Path(__file__).parents[2] / "schemas"
CHANGE: Any = json.loads((SCHEMAS / "change.schema.json").read_text())
REVIEW: Any = json.loads((SCHEMAS / "review.schema.json").read_text())
JSON = ("--format", "json")


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def source(tmp_path: Path) -> GitSource:
    source = GitSource(tmp_path / "upstream")
    source.push({"production.yml": PRODUCTION, "checkout.yml": CHECKOUT})
    return source


@pytest.fixture
def jessica(source: GitSource, tmp_path: Path) -> Person:
    return Person(source, tmp_path / "jessica")


@pytest.fixture
def config(source: GitSource, tmp_path: Path) -> Path:
    return write_settings(tmp_path, repository={"url": str(source.path)})


def document(captured: Captured) -> Any:
    """All of standard output is one, true to its schema."""
    made = json.loads(captured.readouterr().out)
    assert [error.message for error in Draft202012Validator(CHANGE).iter_errors(made)] == []
    if made["plan"] is not None:
        assert [error.message for error in Draft202012Validator(REVIEW).iter_errors(made["plan"])] == []
    return made


def test_the_schema_is_closed_and_printed(capsys: Captured) -> None:
    Draft202012Validator.check_schema(CHANGE)
    assert CHANGE["additionalProperties"] is False
    assert invoke(["schema", "change"]) == 0
    assert json.loads(capsys.readouterr().out) == CHANGE


def test_a_dry_run_tells_the_file_and_the_plan(jessica: Person, config: Path, capsys: Captured) -> None:
    assert hivequeen(jessica, "launch", "search", "--from", "production", "--dry-run", *JSON, config=config) == 0
    made = document(capsys)
    assert (made["environment"], made["file"]) == ("search", "environments.d/search.yml")
    assert made["content"] == "extends: production\nowner: jessica@example.com\n"
    assert (made["revision"], made["wait"]) == (None, None)
    (search,) = made["plan"]["environments"]
    assert {"launch_nodes", "ensure_chef_role"} <= {action["action"] for action in search["actions"]}
    assert search["cost"]["after"]["usd_per_month"] == "441.50"


def test_what_was_committed_is_told_with_its_revision(
    source: GitSource, jessica: Person, config: Path, capsys: Captured
) -> None:
    assert hivequeen(jessica, "teardown", "checkout", "--yes", *JSON, config=config) == 0
    made = document(capsys)
    assert (made["subject"], made["content"]) == ("Tear down checkout", None)
    assert (made["revision"], made["branch"], made["to_do"]) == (source.tip, "origin/main", "")


def test_an_extension_is_a_change_like_any_other(jessica: Person, config: Path, capsys: Captured) -> None:
    assert hivequeen(jessica, "extend", "checkout", "3d", "--dry-run", *JSON, config=config) == 0
    (checkout,) = document(capsys)["plan"]["environments"]
    assert [(field["key"], field["old"], field["line"]) for field in checkout["fields"]] == [("ttl", "7d", 5)]


def test_nobody_is_asked_so_yes_has_to_be_said(source: GitSource, jessica: Person, capsys: Captured) -> None:
    before = source.tip
    assert hivequeen(jessica, "teardown", "checkout", *JSON) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "say --yes, or --dry-run" in captured.err
    assert source.tip == before


def test_what_is_wrong_is_an_error_beside_an_empty_output(jessica: Person, capsys: Captured) -> None:
    assert hivequeen(jessica, "launch", "checkout", "--from", "production", "--yes", *JSON) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "checkout exists already" in captured.err


STALLED = condition("Stalled", "no such image", remedy="name another")


@pytest.mark.parametrize(
    ("answers", "ended"),
    [
        ((status(READY), RUNNING), (0, "ready")),
        ((status(STALLED), BOOTING), (1, "failed")),
        ((status(COMING, holds=(hold("suspended", "by maria"),)), BOOTING), (3, "held")),
    ],
)
def test_the_end_of_waiting_is_in_the_document_and_its_course_beside_it(
    jessica: Person, config: Path, capsys: Captured, answers: tuple[Any, Any], ended: tuple[int, str]
) -> None:
    jessica.push("checkout.yml", None)
    told: dict[type, Any] = {requests.AskStatus: [status(revision="1" * 40), answers[0]], requests.AskShow: answers[1]}
    launch = ("launch", "checkout", "--from", "production", "--yes", "--wait", *JSON)
    with ScriptedDaemon(config.with_name("control.sock"), told):
        code = hivequeen(jessica, *launch, config=config)
    captured = capsys.readouterr()
    waited = json.loads(captured.out)["wait"]
    assert (code, waited["result"]) == ended
    assert [node["name"] for node in waited["nodes"]] == ["checkout-web-0a"]
    assert "checkout-web-0a: " in captured.err
    assert [error.message for error in Draft202012Validator(CHANGE).iter_errors(json.loads(captured.out))] == []


def test_what_was_committed_is_told_also_where_the_daemon_then_refuses_to_answer(
    source: GitSource, jessica: Person, config: Path, tmp_path: Path, capsys: Captured
) -> None:
    answers: dict[type, Any] = {requests.AskStatus: [status(revision="1" * 40), Denied("no more", remedy="")]}
    with ScriptedDaemon(tmp_path / "control.sock", answers):
        assert hivequeen(jessica, "teardown", "checkout", "--yes", "--wait", *JSON, config=config) == 1
    made = document(capsys)
    assert made["revision"] == source.tip
    assert made["wait"]["result"] == "unknown"
