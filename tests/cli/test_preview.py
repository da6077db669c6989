"""What `launch`, `teardown` and `extend` say that the daemon would do, before anything is committed."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.preview import preview
from reconciler.cli.workplace import Workplace
from reconciler.daemon import requests
from reconciler.model.names import EnvironmentName, FleetId
from reconciler.model.policy import Policy
from reconciler.model.rules import Rules
from reconciler.review import Snapshot, assume
from reconciler.review.codec import dump, encode
from tests.cli.scene import ScriptedDaemon, write_settings
from tests.cli.test_launch import CHECKOUT, hivequeen
from tests.fakes.git_source import FOLDER, GitSource
from tests.fakes.person import PRODUCTION, Person

Captured = pytest.CaptureFixture[str]

SEEN_AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
SEARCH = "extends: production\nowner: jessica@example.com\n"


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


def world(jessica: Person) -> Snapshot:
    """Somebody saw that all runs as what is on `main` declares."""
    here = Workplace(jessica.directory, FOLDER, Path("/nonexistent"))
    base = here.declared(here.clone.fetch())
    seen = assume(
        base, rules=Rules(fleet=FleetId("demo")), policy=Policy(), folder=FOLDER, region="us-east-1", at=SEEN_AT
    )
    return replace(seen, revision=base.revision)


def told(captured: Captured) -> str:
    """Words alone: how long a path is, and with it where a line breaks, is this machine's affair."""
    return " ".join(captured.readouterr().out.split())


def test_a_running_daemon_is_asked_how_the_world_is(
    jessica: Person, config: Path, tmp_path: Path, capsys: Captured
) -> None:
    with ScriptedDaemon(tmp_path / "control.sock", {requests.AskWorld: encode(world(jessica))}) as daemon:
        assert hivequeen(jessica, "teardown", "checkout", "--dry-run", config=config) == 0
        assert daemon.requests == [requests.AskWorld()]
    shown = capsys.readouterr().out
    assert "Plan, as the daemon sees the world now:\ncheckout is deleted (destroy)\n  terminate 1 web node\n" in shown
    assert "\n      checkout-web-" in shown, "who was looked at has a name"


def test_without_a_daemon_what_it_saw_last_counts_and_that_is_said(
    jessica: Person, config: Path, tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "state" / "world.json").write_bytes(dump(world(jessica)))
    assert hivequeen(jessica, "launch", "search", "--from", "production", "--dry-run", config=config) == 0
    shown = told(capsys)
    assert "Plan, as the daemon last saw the world, at 2026-11-01 12:00 UTC (no daemon answers on " in shown
    assert "launch 4 web nodes count: web.count 0 → 4 (environments.d/production.yml:12)" in shown


def test_without_either_what_is_declared_is_taken_to_run_and_that_is_said(
    jessica: Person, config: Path, tmp_path: Path, capsys: Captured
) -> None:
    assert hivequeen(jessica, "teardown", "checkout", "--dry-run", config=config) == 0
    shown = told(capsys)
    assert "Plan, taking what is declared to run exactly so (no daemon answers on " in shown
    assert "terminate 1 web node" in shown
    (tmp_path / "state" / "world.json").write_text("{")
    assert hivequeen(jessica, "teardown", "checkout", "--dry-run", config=config) == 0
    assert f"{tmp_path}/state/world.json" in told(capsys), "a snapshot that cannot be read is named"


def test_the_world_of_a_daemon_that_follows_another_repository_tells_nothing(
    jessica: Person, tmp_path: Path, capsys: Captured
) -> None:
    seen = world(jessica)
    foreign = replace(seen, memory=replace(seen.memory, applied=None))
    with ScriptedDaemon(tmp_path / "control.sock", {requests.AskWorld: encode(foreign)}):
        assert hivequeen(jessica, "teardown", "checkout", "--dry-run", config=write_settings(tmp_path)) == 0
    assert "to run exactly so (the daemon follows another repository than this clone)" in told(capsys)


def test_a_plan_that_cannot_be_had_is_told_in_a_line_and_hinders_nothing(
    jessica: Person, tmp_path: Path, capsys: Captured
) -> None:
    from reconciler.adapters.worktree import Edit  # noqa: PLC0415 - as the commands do

    here = Workplace(jessica.directory, FOLDER, Path("/nonexistent"))
    here.directory = tmp_path  # no repository: nothing of the history can be read
    desired = here.declared(here.clone.fetch())
    edit = Edit(path="search.yml", content=SEARCH.encode(), before=None)
    capsys.readouterr()
    assert preview(edit, "Launch search", before=desired, after=desired, at=here) is None
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("what the daemon would do is not known: ")


def test_to_tear_down_what_is_protected_shows_the_guard_that_would_hold_it_and_its_way_out(
    jessica: Person, config: Path, tmp_path: Path, capsys: Captured
) -> None:
    with ScriptedDaemon(tmp_path / "control.sock", {requests.AskWorld: encode(world(jessica))}):
        assert hivequeen(jessica, "teardown", "production", "--dry-run", config=config) == 0
    shown = told(capsys)
    assert "held (protected): production is protected: removing its file tears nothing down → restore the file" in shown
    assert "$441.50 → $0.00 a month (-$441.50)" in shown
    assert "production goes" not in shown


def test_what_still_runs_as_protected_keeps_its_file_though_that_says_otherwise(
    source: GitSource, jessica: Person, config: Path, tmp_path: Path, capsys: Captured
) -> None:
    seen = world(jessica)
    before = jessica.push("production.yml", PRODUCTION.replace("protected: true", "protected: false"))
    with ScriptedDaemon(tmp_path / "control.sock", {requests.AskWorld: encode(seen)}):
        assert hivequeen(jessica, "teardown", "production", "--yes", config=config) == 1
    assert "let the daemon apply that" in " ".join(capsys.readouterr().err.split())
    assert source.tip == before


def test_what_still_runs_under_the_name_is_replaced_where_another_image_is_set(
    source: GitSource, jessica: Person, config: Path, tmp_path: Path, capsys: Captured
) -> None:
    jessica.push("search.yml", SEARCH)
    runs = world(jessica)
    jessica.push("search.yml", None)
    again = ("launch", "search", "--from", "production", "--dry-run")
    with ScriptedDaemon(tmp_path / "control.sock", {requests.AskWorld: encode(runs)}):
        assert hivequeen(jessica, *again, config=config) == 0
        assert "replace" not in capsys.readouterr().out
        image = "roles.web.image=ami-0fedcba9876543210"
        assert hivequeen(jessica, *again, "--set", image, config=config) == 0
    shown = told(capsys)
    assert "replace 4 web nodes, one after the other" in shown
    assert "ami-0123456789abcdef0 → ami-0fedcba9876543210" in shown
    assert "environments.d/search.yml:" in shown


def test_an_extension_shows_what_changes_and_where_and_that_nothing_runs_otherwise(
    jessica: Person, config: Path, tmp_path: Path, capsys: Captured
) -> None:
    with ScriptedDaemon(tmp_path / "control.sock", {requests.AskWorld: encode(world(jessica))}):
        assert hivequeen(jessica, "extend", "checkout", "3d", "--dry-run", config=config) == 0
    shown = capsys.readouterr().out
    assert re.search(r'\n  ttl: "7d" → "(10d|240h)" \(in-place, environments.d/checkout.yml:5\)\n', shown)
    plan = shown[shown.index("Plan, ") :]
    _, _, end, *rest = plan.splitlines()
    assert re.fullmatch(r"  expires on \d{4}-\d\d-\d\d \d\d:\d\d UTC", end)
    assert len(rest) == 2, "the field, the cost"


def test_to_extend_what_expired_and_is_gone_shows_that_it_is_launched_anew(
    jessica: Person, config: Path, tmp_path: Path, capsys: Captured
) -> None:
    long_ago = {"GIT_COMMITTER_DATE": "2026-01-01T12:00:00Z", "PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    jessica.file("checkout.yml").write_text(CHECKOUT.replace("until the launch", "or never"))
    subprocess.run(["git", "commit", "-qam", "Old"], cwd=jessica.directory, env=long_ago, check=True)
    jessica.git("push", "-q")
    runs = world(jessica)
    gone = replace(
        runs,
        observed=replace(runs.observed, environments=_without_checkout(runs.observed.environments)),
        memory=replace(runs.memory, environments=_without_checkout(runs.memory.environments), settled={}),
    )
    with ScriptedDaemon(tmp_path / "control.sock", {requests.AskWorld: encode(gone)}):
        assert hivequeen(jessica, "extend", "checkout", "3d", "--dry-run", config=config) == 0
    assert "launch 1 web node" in told(capsys)


def _without_checkout(named: Mapping[EnvironmentName, Any]) -> dict[EnvironmentName, Any]:
    return {name: one for name, one in named.items() if name != "checkout"}


def test_on_a_narrow_terminal_the_file_comes_first_then_the_plan_then_the_question(
    jessica: Person, config: Path
) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "reconciler", "--config", str(config), "launch", "search", "--from", "production"),
            *("--repository", str(jessica.directory)),
        ],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "COLUMNS": "80", "TERM": "xterm", "NO_COLOR": "1"},
    ):
        os.close(theirs)
        seen = b""
        while b"?" not in seen:
            seen += os.read(ours, 4096)
        os.write(ours, b"n\n")
        with suppress(OSError):  # the other end is closed
            while os.read(ours, 4096):
                pass
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;]*m", "", seen.decode().replace("\r", ""))
    parts = ["environments.d/search.yml", "extends: production", "Plan, ", "search is created", "Launch search, by a"]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    sockets = str(config.parent)  # a path is not broken, for copying
    assert all(len(line) <= 80 for line in text.splitlines() if sockets not in line)
