"""`hivequeen why`, as it is read."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from reconciler.adapters.journal import SqliteJournal
from reconciler.cli import invoke
from reconciler.cli.why import DETAILS_SHOWN
from reconciler.daemon import requests
from reconciler.errors import Stalled
from reconciler.model.conditions import Event
from reconciler.model.facts import RevisionApplied
from reconciler.model.names import InstanceId
from reconciler.model.plan import Blocked, EnvironmentPlan, Guard
from reconciler.report.why import NOBODY_LOOKED, why
from tests.cli.scene import ScriptedDaemon, write_settings
from tests.cli.test_terminal import on_terminal
from tests.report.test_why import COMMIT, HELD, LATER, TOUCHING, launched, tell, touched
from tests.report.world import BECAUSE, CHECKOUT, JESSICA, NOON, REVISION, desired, environment, made, node, terminate

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_settings(tmp_path)


@pytest.fixture
def daemon(tmp_path: Path, config: Path) -> Iterator[ScriptedDaemon]:
    with ScriptedDaemon(tmp_path / "control.sock") as answering:
        yield answering


@pytest.fixture
def journal(tmp_path: Path, config: Path) -> Iterator[SqliteJournal]:
    """What a daemon of these settings has left."""
    with SqliteJournal(f"sqlite:///{tmp_path}/state/state.db") as opened:
        yield opened


def held(journal: SqliteJournal) -> Any:
    """Node 1, which a guard keeps from being terminated."""
    launched(journal)
    hold = replace(HELD, actor="maria", until=datetime(2026, 11, 24, tzinfo=UTC))
    plan = EnvironmentPlan(name=CHECKOUT, blocked=(hold,))
    return why(node(1).name, tell(journal, made(plan, commit=COMMIT)), journal, LATER, touched)


def test_each_statement_has_its_origin_its_moments_and_the_way_out(
    daemon: ScriptedDaemon, config: Path, journal: SqliteJournal, capsys: Captured
) -> None:
    daemon.answers = {requests.AskWhy: held(journal)}
    assert invoke(["--config", str(config), "why", "00000000000000001"]) == 0
    assert daemon.requests == [requests.AskWhy(target="00000000000000001")]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{node(1).name} is ready"
    assert lines[1:6] == [
        "  launched   web.count 1 → 2",
        f"             rule count, environments.d/checkout.yml:1 at {TOUCHING.revision[:8]} by {JESSICA}",
        "             at 2026-11-23 11:50 UTC, 40m ago",
        "             m7i.large of ami-1 in subnet-a",
        "             intent token-1",
    ]
    at = lines.index("  held       2 of 2 nodes would go")
    assert lines[at + 1 : at + 5] == [
        "             rule prune_nodes, asked for by maria",
        "             since 2026-11-23 12:00 UTC, 30m ago; until 2026-11-24 00:00 UTC",
        f"             terminating {node(1).name}, {BECAUSE}",
        "             → hivequeen approve 3f2a91c04b7d",
    ]
    assert lines[-1] == "more: hivequeen events checkout"


def test_a_topic_is_named_once_and_long_lists_are_cut(
    daemon: ScriptedDaemon, config: Path, journal: SqliteJournal, capsys: Captured
) -> None:
    many = Blocked(
        guard=Guard.PRUNE_NODES, message="too many", remedy="approve", actions=tuple(map(terminate, range(1, 11)))
    )
    other = Blocked(guard=Guard.PROTECTED, message="protected", remedy="unprotect")
    plan = EnvironmentPlan(name=CHECKOUT, blocked=(many, other))
    document = why("checkout", tell(journal, made(plan)), journal, LATER, touched)
    daemon.answers = {requests.AskWhy: document}
    invoke(["--config", str(config), "why", "checkout"])
    text = capsys.readouterr().out
    assert text.count("  held  ") == 1
    assert text.count("terminating ") == DETAILS_SHOWN
    assert f"             and {10 - DETAILS_SHOWN} more\n" in text
    invoke(["--config", str(config), "why", "checkout", "--format", "json"])
    assert json.loads(capsys.readouterr().out) == document


def test_without_a_daemon_the_journal_answers_and_says_what_is_missing(
    config: Path, journal: SqliteJournal, capsys: Captured
) -> None:
    journal.record(NOON, RevisionApplied(revision=REVISION, declared=frozenset({CHECKOUT})))
    journal.append(Event(at=NOON, kind="Ready", message="web 2 of 2 ready", environment=CHECKOUT))
    assert invoke(["--config", str(config), "why", "checkout"]) == 0
    captured = capsys.readouterr()
    assert "this is what the journal remembers" in captured.err
    assert f"  not known  {NOBODY_LOOKED}\n" in captured.out


def test_what_nobody_knows_is_an_error(daemon: ScriptedDaemon, config: Path, capsys: Captured) -> None:
    daemon.answers = {requests.AskWhy: Stalled("no environment or node is called x", remedy="environments: checkout")}
    assert invoke(["--config", str(config), "why", "x"]) == 1
    assert capsys.readouterr().err == "Error: no environment or node is called x\n  environments: checkout\n"


@pytest.mark.parametrize("columns", [80, 120])
def test_a_line_fits_the_terminal_and_keeps_its_column(tmp_path: Path, columns: int) -> None:
    config = write_settings(tmp_path)
    declared = environment()
    with (
        SqliteJournal(f"sqlite:///{tmp_path}/state/state.db") as journal,
        ScriptedDaemon(tmp_path / "control.sock") as daemon,
    ):
        nodes = " ".join(str(InstanceId(f"i-{number:017x}")) for number in range(12))
        plan = EnvironmentPlan(name=CHECKOUT, blocked=(replace(HELD, message=f"these would go: {nodes}"),))
        passed = tell(journal, made(plan, wanted=desired(declared)))
        daemon.answers = {requests.AskWhy: why("checkout", passed, journal, LATER, touched)}
        lines = on_terminal(columns, "--config", str(config), "why", "checkout")
    assert max(map(len, lines)) <= columns
    start = next(number for number, line in enumerate(lines) if line.startswith("  held"))
    assert lines[start + 1].startswith(" " * 13 + "i-")
    assert set(nodes.split()) <= {word for line in lines for word in line.split()}
