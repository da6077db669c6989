"""What is seen on terminals of several widths, and that each trouble is told once."""

import os
import pty
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli import render
from reconciler.daemon import answers, requests
from reconciler.model.conditions import Condition
from reconciler.model.memory import Approval, EndingCause, Memory, Suspension
from reconciler.model.names import EnvironmentName
from reconciler.model.observed import Phase
from reconciler.model.passes import Failure, Pass
from reconciler.model.plan import Blocked, EnvironmentPlan, Guard, Stall
from reconciler.plan.guard import removals
from reconciler.report import conditions, documents, views
from tests.cli.scene import ScriptedDaemon, write_settings
from tests.report.world import (
    CHECKOUT,
    JESSICA,
    NOON,
    PRODUCTION,
    desired,
    ending,
    environment,
    grace,
    launch,
    made,
    memory,
    node,
    observed,
    remembering,
    seen,
    terminate,
)

Captured = pytest.CaptureFixture[str]

REMEDY = "declare an image that exists in this region and is shared with this account"
STALL = Stall(
    reason="RoleHalted",
    message="web: 3 nodes or launches in a row failed, nothing more is launched: InvalidAMIID.NotFound",
    remedy=REMEDY,
)
OBSERVING = Blocked(
    guard=Guard.OBSERVE_MODE, message="mode is observe: nothing is written", remedy="set mode: converge"
)


def status_of(passed: Pass, before: tuple[Condition, ...] = ()) -> dict[str, Any]:
    said = [replace(one, since=NOON) for group in conditions.of_pass(passed, before).values() for one in group]
    return views.status(passed, passed.memory or memory(), said, NOON)


def shown(document: Any, capsys: Captured) -> str:
    render.status(document)
    return capsys.readouterr().out


def row(text: str, name: str) -> list[str]:
    return next(line.split() for line in text.splitlines() if line.startswith(f"{name} "))


def test_in_observe_mode_an_environment_with_something_to_do_says_so(capsys: Captured) -> None:
    plan = EnvironmentPlan(name=CHECKOUT, blocked=(replace(OBSERVING, actions=(launch(),)),))
    text = shown(status_of(made(plan, blocked=[OBSERVING])), capsys)
    assert row(text, "checkout")[1:3] == ["Suspended", "2/2"]
    assert text.count("mode is observe") == 1
    assert text.count("set mode: converge") == 1


def test_an_environment_of_which_nothing_is_true_says_why_it_is_not_ready(capsys: Captured) -> None:
    passed = made(EnvironmentPlan(name=CHECKOUT), world=observed(seen(node(1, Phase.PENDING))))
    text = shown(status_of(passed), capsys)
    assert "Unknown" not in text
    assert row(text, "checkout")[1] == "Converging"
    assert "web 0 of 2 ready, 1 pending" in text


def test_what_is_stalled_or_frozen_is_told_with_its_remedy_below_the_table(capsys: Captured) -> None:
    frozen = Stall(reason="BadFile", message="production.yml:3: unknown key", remedy="remove it")
    passed = made(
        EnvironmentPlan(name=CHECKOUT, stalls=(STALL,)),
        EnvironmentPlan(name=PRODUCTION, stalls=(frozen,), is_frozen=True),
        wanted=desired(environment(), frozen=[PRODUCTION]),
    )
    text = shown(status_of(passed), capsys)
    assert f"checkout: {STALL.message}\n  → {REMEDY}\n" in text
    assert f"production: {frozen.message}\n  → remove it" in text
    assert text.count(STALL.message) == 1


def test_a_trouble_that_several_share_is_told_once(capsys: Captured) -> None:
    plans = [EnvironmentPlan(name=name, stalls=(STALL,)) for name in (CHECKOUT, PRODUCTION)]
    both = desired(environment(), environment(PRODUCTION))
    text = shown(status_of(made(*plans, wanted=both)), capsys)
    assert f"checkout, production: {STALL.message}" in text
    assert text.count(STALL.message) == 1


def test_a_pass_that_failed_is_told_once(capsys: Captured) -> None:
    failure = Failure(stage="claim", message="claimed by another", remedy="take it over", needs_person=True)
    passed = made(failures=[failure], is_planned=False)
    text = shown(status_of(passed), capsys)
    assert text.count("claimed by another") == 1
    assert "Stalled: claim: claimed by another\n  → take it over\n" in text


@pytest.mark.parametrize("scope", [CHECKOUT, None])
def test_a_suspension_is_told_once(capsys: Captured, scope: EnvironmentName | None) -> None:
    suspension = Suspension(environment=scope, reason="load test", actor="maria", since=NOON, until=NOON)
    suspension = replace(suspension, until=NOON.replace(hour=14))
    remembered: Memory = replace(memory(), suspensions=(suspension,))
    stop = Blocked(guard=Guard.SUSPENDED, message=str(suspension), remedy=suspension.remedy, actions=(launch(),))
    passed = made(EnvironmentPlan(name=CHECKOUT, blocked=(stop,)), remembered=remembered)
    text = shown(status_of(passed), capsys)
    assert text.count("load test") == 1
    assert (
        f"{scope or 'everything'}: suspended by maria since 2026-11-23 12:00 UTC until 2026-11-23 14:00 UTC: load"
        in text
    )
    assert "held" not in text


def test_a_hold_is_told_once_also_where_only_the_journal_remembers_it(capsys: Captured) -> None:
    hold = Blocked(
        guard=Guard.PROTECTED,
        message="checkout is protected",
        remedy="hivequeen approve 3f2a91c04b7d",
        digest="3f2a91c04b7d",
        actions=(terminate(),),
    )
    document = status_of(made(EnvironmentPlan(name=CHECKOUT, blocked=(hold,))))
    assert shown(document, capsys).count("checkout is protected") == 1
    text = shown({**document, "holds": []}, capsys)
    assert "\ncheckout is protected\n  → hivequeen approve 3f2a91c04b7d\n" in text


def test_what_is_ready_needs_no_message(capsys: Captured) -> None:
    text = shown(status_of(made(EnvironmentPlan(name=CHECKOUT))), capsys)
    assert row(text, "checkout") == ["checkout", "Ready", "2/2", "0s", "ago", "web", "2/2"]


# --- widths ---------------------------------------------------------------------------------------------------------


def on_terminal(columns: int, *command: str) -> list[str]:
    """The lines of a command on a terminal that is so wide."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "reconciler", *command],
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": str(columns), "TERM": "xterm", "NO_COLOR": "1"},
    ) as running:
        os.close(theirs)
        received = b""
        try:
            while part := os.read(ours, 65536):
                received += part
        except OSError:  # that is how the end of a terminal looks
            pass
        finally:
            os.close(ours)
        running.wait(20)
    return re.sub(r"\x1b\[[0-9;]*m", "", received.decode().replace("\r", "")).splitlines()


@pytest.mark.parametrize("columns", [80, 120, 160])
@pytest.mark.parametrize("command", [("events",), ("status",), ("show", "checkout"), ("plan",)])
def test_no_line_is_too_long_and_no_word_is_broken(tmp_path: Path, columns: int, command: tuple[str, ...]) -> None:
    config = write_settings(tmp_path)
    passed = made(EnvironmentPlan(name=CHECKOUT, stalls=(STALL,), actions=(launch(),)))
    document = status_of(passed)
    event = {
        "at": "2026-11-23T12:00:00Z",
        "kind": "Stalled",
        "message": f"{STALL.message} → {REMEDY}",
        "environment": "checkout",
        "node": None,
        "revision": None,
        "actor": "",
    }
    show = {
        "at": document["at"],
        "environment": document["environments"][0],
        "holds": [],
        "suspensions": [],
        "approvals": [],
        "nodes": _nodes(passed),
        "plan": answers.passed(passed)["plan"]["environments"][0],  # type: ignore[call-overload, index] # it is JSON
        "events": [event] * 7,
    }
    with ScriptedDaemon(tmp_path / "control.sock") as daemon:
        daemon.answers = {
            requests.AskEvents: {"events": [event]},
            requests.AskStatus: document,
            requests.AskShow: show,
            requests.AskPlan: answers.passed(passed),
        }
        lines = on_terminal(columns, "--config", str(config), *command)
    assert max(map(len, lines)) <= columns
    words = {word for line in lines for word in line.split()}
    told = {*STALL.message.split()} | ({*REMEDY.split()} if command != ("plan",) else set())
    assert told <= words
    if command[0] == "show":
        assert sum("Stalled" in line and "2026" in line for line in lines) == render.EVENTS_SHOWN
        assert lines[-1] == "more: hivequeen events checkout"


def _nodes(passed: Pass) -> list[Any]:
    assert passed.observed is not None
    return [documents.node_document(one, None, None, NOON) for one in passed.observed.environments[CHECKOUT].nodes]


def test_a_plan_without_anything_in_it_says_so(capsys: Captured) -> None:
    render.plan(answers.passed(made()))
    assert capsys.readouterr().out.splitlines()[-1] == "nothing to do"
    render.plan(answers.passed(made(EnvironmentPlan(name=CHECKOUT))))
    assert capsys.readouterr().out.splitlines()[-1] == "checkout: nothing to do"


# --- holds ----------------------------------------------------------------------------------------------------------


def test_a_hold_says_who_asked_since_when_and_until_when(capsys: Captured) -> None:
    hold = Blocked(
        guard=Guard.TAKE_OVER,
        message="every removal needs approval",
        remedy="hivequeen approve 3f2a91c04b7d",
        digest="3f2a91c04b7d",
        actor=JESSICA,
        until=NOON.replace(day=24),
        actions=(terminate(),),
    )
    text = shown(status_of(made(EnvironmentPlan(name=CHECKOUT, blocked=(hold,)))), capsys)
    assert (
        f"held (take_over), checkout: every removal needs approval (asked for by {JESSICA}, since 0s ago, "
        "until 2026-11-24 12:00 UTC)\n  → hivequeen approve 3f2a91c04b7d\n"
    ) in text


def test_an_approval_in_force_says_who_gave_it_and_until_when(capsys: Captured) -> None:
    approval = Approval(
        digest="3f2a91c04b7d",
        removals=removals([terminate(1), terminate(2)]),
        actor="maria",
        at=NOON,
        expires_at=NOON.replace(day=24),
    )
    document = status_of(made(EnvironmentPlan(name=CHECKOUT), remembered=replace(memory(), approvals=(approval,))))
    line = "approved (3f2a91c04b7d): 2 removals in checkout, by maria until 2026-11-24 12:00 UTC"
    assert line in shown(document, capsys).splitlines()


def test_a_grace_period_is_an_ending_and_no_hold(capsys: Captured) -> None:
    plan = EnvironmentPlan(name=CHECKOUT, is_declared=False, ending=ending(), blocked=(grace(),))
    passed = made(plan, wanted=desired(environment(PRODUCTION)), remembered=remembering(ending()))
    text = shown(status_of(passed), capsys)
    assert row(text, "checkout")[1] == "Ending"
    told = f"{grace().message}\n  → to keep it, git revert 9c1d9c1d and push before then\n"
    assert told in text
    assert text.count(grace().message) == 1
    assert "held" not in text
    render.plan(answers.passed(passed))
    text = capsys.readouterr().out
    assert f"  ending: {grace().message}\n      would terminate_node web checkout-web-00000000000000001\n" in text
    assert "      → to keep it, git revert 9c1d9c1d and push before then\n" in text


def test_what_has_expired_says_once_why_it_goes_and_when_it_is_gone_how_to_have_it_back(capsys: Captured) -> None:
    over = ending(EndingCause.EXPIRED)
    plan = EnvironmentPlan(name=CHECKOUT, is_declared=False, ending=over, actions=(terminate(),))
    text = shown(status_of(made(plan, remembered=remembering(over, NOON))), capsys)
    assert row(text, "checkout")[1] == "Expired"
    assert text.count("the lifetime that environments.d/checkout.yml gives it is over") == 1
    gone = made(EnvironmentPlan(name=CHECKOUT, is_declared=False), world=observed(), remembered=remembering(over))
    text = shown(status_of(gone), capsys)
    assert row(text, "checkout")[1] == "Expired"
    assert "checkout: the lifetime that environments.d/checkout.yml gives it is over" in text
    assert "→ hivequeen extend checkout 3d, or commit a longer ttl or a later expires in " in text


def test_a_node_that_is_out_of_sight_is_told_once(capsys: Captured) -> None:
    lost = Stall(reason="NodeLost", message="i-3 is out of sight", remedy="give it its tag back")
    passed = made(EnvironmentPlan(name=CHECKOUT, stalls=(lost,)), world=observed(seen(node(1), node(3, Phase.LOST))))
    assert shown(status_of(passed), capsys).count("out of sight") == 1
