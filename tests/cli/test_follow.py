"""`--wait`: what is told while an environment comes or goes, when it ends, and with which exit code."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.follow import SILENCE_MAX_S, Watch
from reconciler.daemon import requests
from reconciler.errors import HivequeenError, Stalled, Transient
from reconciler.model.names import EnvironmentName
from tests.cli.scene import ScriptedDaemon

Captured = pytest.CaptureFixture[str]
Document = dict[str, Any]

NAME = EnvironmentName("checkout")
OLD, NEW, RIVAL = "1" * 40, "2" * 40, "3" * 40
ENDLESS = 1000


def condition(kind: str, message: str = "", *, is_true: bool = True, remedy: str = "") -> Document:
    return {"type": kind, "status": is_true, "reason": kind, "message": message, "remedy": remedy}


READY = condition("Ready", "2 nodes")
COMING = condition("Ready", "web 0 of 2 ready", is_true=False)


def status(
    *conditions: Document,
    revision: str = NEW,
    name: str = "checkout",
    waiting: tuple[str, ...] = (),
    holds: tuple[Document, ...] = (),
    installation: tuple[Document, ...] = (),
    is_declared: bool = True,
) -> Document:
    """As the daemon answers, as far as anybody here looks. Without conditions the environment is not there."""
    environment = {
        "name": name,
        "conditions": list(conditions),
        "waiting": list(waiting),
        "is_declared": is_declared,
    }
    return {
        "revision": revision,
        "environments": [environment] if conditions else [],
        "holds": list(holds),
        "conditions": list(installation),
    }


def hold(guard: str, message: str) -> Document:
    return {"guard": guard, "environments": ["checkout"], "message": message, "remedy": f"lift {guard}"}


def shown(*nodes: tuple[str, str, str], name: str | None = "checkout") -> Document:
    return {
        "environment": {"name": name},
        "nodes": [{"name": node, "phase": phase, "why": why} for node, phase, why in nodes],
    }


BOOTING = shown(("checkout-web-0a", "pending", "launched, EC2 has not started it yet"))
RUNNING = shown(("checkout-web-0a", "ready", "its Chef run succeeded"))


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[ScriptedDaemon]:
    with ScriptedDaemon(tmp_path / "control.sock") as answering:
        answering.answers = {requests.AskShow: BOOTING}
        yield answering


class Pauses:
    """Instead of sleeping: how long it would have been; `after` happens in one of them."""

    def __init__(self) -> None:
        self.spans: list[float] = []
        self.interrupted_after: int | None = None

    def __call__(self, span_s: float) -> None:
        self.spans.append(span_s)
        assert len(self.spans) < ENDLESS, "it waits for what never comes"
        if self.interrupted_after == len(self.spans):
            raise KeyboardInterrupt


def watch(daemon: ScriptedDaemon, *told: Document | HivequeenError, pauses: Pauses | None = None) -> Watch:
    """Begun while the daemon still had the former revision; then it tells one of these after the other, the last for ever."""
    daemon.answers[requests.AskStatus] = [status(revision=OLD), *told]
    watching = Watch(daemon.path, NAME, pause=pauses or Pauses())
    watching.begin()
    return watching


def test_it_goes_on_until_the_environment_is_ready_and_tells_each_thing_once(
    daemon: ScriptedDaemon, capsys: Captured
) -> None:
    pauses = Pauses()
    daemon.answers[requests.AskShow] = [BOOTING, BOOTING, RUNNING]
    coming = status(COMING, waiting=("web: 1 node boots, until 18:30",))
    watching = watch(daemon, status(revision=OLD), status(), coming, coming, status(READY), pauses=pauses)
    assert watching.until_ready(NEW) == 0
    assert capsys.readouterr().out.splitlines() == [
        "the daemon has not read 22222222 yet",
        "the daemon does not know checkout yet",
        "checkout-web-0a: pending, launched, EC2 has not started it yet",
        "waiting: web: 1 node boots, until 18:30",
        "checkout-web-0a: ready, its Chef run succeeded",
        "checkout is ready, 1 node",
    ]
    assert pauses.spans == [1.0] * 4


def test_one_that_was_ready_before_the_commit_is_read_is_not_taken_for_the_new_one(daemon: ScriptedDaemon) -> None:
    pauses = Pauses()
    daemon.answers[requests.AskShow] = RUNNING
    watching = watch(daemon, status(READY, revision=OLD), status(COMING), status(READY), pauses=pauses)
    assert watching.until_ready(NEW) == 0
    assert len(pauses.spans) == 2


def test_a_later_commit_is_as_good(daemon: ScriptedDaemon) -> None:
    assert watch(daemon, status(READY, revision="3" * 40)).until_ready(NEW) == 0


def test_a_rivals_commit_that_was_pushed_just_before_tells_nothing_of_ours(daemon: ScriptedDaemon) -> None:
    stalled = condition("Stalled", "web keeps failing")
    ending = status(condition("Ending"), is_declared=False)
    assert watch(daemon, status(stalled, revision=RIVAL), ending, status()).until_gone(NEW) == 0
    pauses = Pauses()
    former = status(READY, revision=RIVAL, is_declared=False)  # what bore the name before, and is leaving
    assert watch(daemon, former, status(COMING), status(READY), pauses=pauses).until_ready(NEW) == 0
    assert len(pauses.spans) == 2


@pytest.mark.parametrize("told", [{"is_declared": False}, {"conditions": ("Ending",)}])
def test_trouble_after_a_later_commit_is_trouble_where_the_end_has_begun(
    daemon: ScriptedDaemon, told: Document
) -> None:
    conditions = map(condition, ("Stalled", *told.get("conditions", ())))
    seen = status(*conditions, revision=RIVAL, is_declared=told.get("is_declared", True))
    assert watch(daemon, seen).until_gone(NEW) == 1


def test_a_daemon_that_has_just_begun_and_read_nothing_does_not_say_that_it_is_gone(daemon: ScriptedDaemon) -> None:
    pauses = Pauses()
    nothing = {**status(), "revision": None}
    assert watch(daemon, nothing, status(), pauses=pauses).until_gone(NEW) == 0
    assert len(pauses.spans) == 1


def test_one_whose_lifetime_is_over_never_gets_ready_and_is_not_waited_for(
    daemon: ScriptedDaemon, capsys: Captured
) -> None:
    over = condition("Expired", "nothing of it is left", remedy="hivequeen extend checkout 3d")
    assert watch(daemon, status(over)).until_ready(NEW) == 1
    assert capsys.readouterr().err == "Error: Expired: nothing of it is left\n  hivequeen extend checkout 3d\n"
    assert watch(daemon, status(over), status(over), status()).until_gone(NEW) == 0


def test_it_goes_on_until_the_environment_is_gone(daemon: ScriptedDaemon, capsys: Captured) -> None:
    ending = condition("Ending", "jessica removed environments.d/checkout.yml", remedy="git revert 22222222")
    grace = hold("grace", "a commit can still keep it until 18:30")
    watching = watch(daemon, status(READY, revision=OLD), status(ending, holds=(grace,)), status(ending), status())
    assert watching.until_gone(NEW) == 0
    told = capsys.readouterr().out
    assert "Ending: jessica removed environments.d/checkout.yml → git revert 22222222" in told
    assert told.splitlines()[-1] == "checkout is gone"


def test_one_that_the_daemon_never_knew_is_gone_as_soon_as_the_commit_is_read(daemon: ScriptedDaemon) -> None:
    pauses = Pauses()
    assert watch(daemon, status(revision=OLD), status(), pauses=pauses).until_gone(NEW) == 0
    assert len(pauses.spans) == 1


def test_of_another_environment_whose_nodes_bear_the_name_nothing_is_told(
    daemon: ScriptedDaemon, capsys: Captured
) -> None:
    other = shown(("checkout-v2-web-0a", "ready", ""), name="checkout-v2")
    daemon.answers[requests.AskShow] = [other, Stalled("no environment or node is called checkout")]
    watching = watch(daemon, status(COMING), status(COMING), status(READY))
    assert watching.until_ready(NEW) == 0
    assert "checkout-v2" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("told", "code", "complaint"),
    [
        (
            status(COMING, condition("Stalled", "web: AMI not found", remedy="declare another image")),
            1,
            "Error: Stalled: web: AMI not found\n  declare another image\n",
        ),
        (
            status(COMING, condition("Suspended", "suspended by ops", remedy="hivequeen resume checkout")),
            3,
            "Error: Suspended: suspended by ops\n  hivequeen resume checkout\n",
        ),
        (
            status(COMING, holds=(hold("protected", "checkout is protected"),)),
            3,
            "Error: held (protected): checkout is protected\n  lift protected\n",
        ),
    ],
)
def test_where_it_takes_a_person_the_waiting_ends_with_the_way_out(
    daemon: ScriptedDaemon, capsys: Captured, told: Document, code: int, complaint: str
) -> None:
    assert watch(daemon, told).until_ready(NEW) == code
    assert capsys.readouterr().err == complaint
    assert watch(daemon, told).until_gone(NEW) == code


def test_what_keeps_everything_waiting_is_told(daemon: ScriptedDaemon, capsys: Captured) -> None:
    degraded = condition("Degraded", "source: the repository cannot be fetched")
    watch(daemon, status(revision=OLD, installation=(degraded,)), status(READY)).until_ready(NEW)
    assert "Degraded: source: the repository cannot be fetched" in capsys.readouterr().out


def test_interrupting_ends_the_waiting_alone_and_says_so(daemon: ScriptedDaemon, capsys: Captured) -> None:
    pauses = Pauses()
    pauses.interrupted_after = 2
    assert watch(daemon, status(COMING), pauses=pauses).until_ready(NEW) == 130
    told = capsys.readouterr().err
    assert "checkout goes on coming up" in told
    assert "hivequeen show checkout" in told


def test_a_daemon_that_is_away_for_a_while_is_asked_again(daemon: ScriptedDaemon, capsys: Captured) -> None:
    watching = watch(daemon, status(COMING), Transient("the daemon is stopping"), status(READY))
    assert watching.until_ready(NEW) == 0
    assert "the daemon is stopping; asking again" in capsys.readouterr().out


def test_a_daemon_that_stays_away_ends_the_waiting(tmp_path: Path) -> None:
    pauses = Pauses()
    with ScriptedDaemon(tmp_path / "control.sock") as daemon:
        watching = watch(daemon, status(COMING), pauses=pauses)
    with pytest.raises(Stalled, match="no daemon answers"):
        watching.until_ready(NEW)
    assert sum(pauses.spans) == SILENCE_MAX_S


def test_without_a_daemon_nothing_is_begun(tmp_path: Path) -> None:
    with pytest.raises(Stalled, match=re.escape("--wait: no daemon answers")) as stalled:
        Watch(tmp_path / "control.sock", NAME).begin()
    assert "nothing was committed" in stalled.value.message


def test_on_a_terminal_the_lines_take_each_others_place(daemon: ScriptedDaemon) -> None:
    daemon.answers[requests.AskShow] = [BOOTING, BOOTING, RUNNING]
    daemon.answers[requests.AskStatus] = [status(revision=OLD), *(status(COMING),) * 3, status(READY)]
    script = (
        "import sys; from pathlib import Path; from reconciler.cli.follow import Watch\n"
        f"watch = Watch(Path({str(daemon.path)!r}), 'checkout', pause=lambda _: None)\n"
        f"watch.begin(); sys.exit(watch.until_ready({NEW!r}))"
    )
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm"}
    ) as running:
        os.close(theirs)
        seen = b""
        with suppress(OSError):  # the other end is closed
            while part := os.read(ours, 4096):
                seen += part
    os.close(ours)
    text = seen.decode()
    assert running.returncode == 0, text
    assert "\x1b[2K" in text, "a line was wiped to be drawn anew"
    assert "pending, launched" in text
    assert "checkout is ready, 1 node" in text.splitlines()[-1]
