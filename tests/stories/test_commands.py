"""An environment's life by command, as a person lives it: launch, extend, teardown, in a clone of their own."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.git_source import run_git
from tests.fakes.person import Person
from tests.reconcile.world import PRODUCTION
from tests.stories.installation import Installation

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("stories")]

SMALL = PRODUCTION.replace("count: 4", "count: 1").replace("count: 2", "count: 1")


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with Installation(tmp_path, pending_s=0.2, boot_s=0.2, run_s=0.1) as installation:
        yield installation


def test_launch_extend_and_teardown_by_command_with_somebody_else_pushing_in_between(
    installation: Installation, tmp_path: Path
) -> None:
    installation.source.push({"production.yml": SMALL})
    jessica = Person(installation.source, tmp_path / "jessica")
    tomas = Person(installation.source, tmp_path / "tomas", name="Tomas")
    draft = jessica.file("draft.txt")
    draft.write_text("not finished\n")
    here = ("--yes", "--repository", str(jessica.directory))
    installation.start()
    installation.until(lambda: installation.command("status").returncode == 0, "the daemon answers")

    launched = installation.command("launch", "checkout", "--from", "production", "--ttl", "7d", "--wait", *here)
    assert launched.returncode == 0, launched.stdout + launched.stderr
    told = launched.stdout.splitlines()
    assert told[-1] == "checkout is ready, 2 nodes"
    assert any(line.startswith("checkout-web-") for line in told), "each node is told of"
    assert installation.is_ready("checkout")
    ready = {one["instance_id"] for one in installation.launched()}

    tomas.git("pull", "-q")
    tomas.push("notes.md", "to be read\n")
    extended = installation.command("extend", "checkout", "3d", *here)
    assert extended.returncode == 0, extended.stderr
    assert "git pull --rebase" in extended.stderr
    assert run_git(installation.source.path, "log", "-2", "--format=%an").split() == ["Jessica", "Tomas"]
    jessica.git("pull", "-q", "--rebase")

    gone = installation.command("teardown", "checkout", "--wait", *here)
    assert gone.returncode == 0, gone.stdout + gone.stderr
    assert gone.stdout.splitlines()[-1] == "checkout is gone"
    assert installation.running() == {"production/web": 1, "production/worker": 1}
    assert {one["instance_id"] for one in installation.launched()} == ready, "extending launched nothing"
    assert draft.read_text() == "not finished\n"
    assert jessica.git("status", "--porcelain", "--untracked-files=all").split() == ["??", "environments.d/draft.txt"]


def test_interrupting_the_waiting_leaves_the_environment_coming_up(installation: Installation, tmp_path: Path) -> None:
    installation.source.push({"production.yml": SMALL})
    jessica = Person(installation.source, tmp_path / "jessica")
    installation.start()
    installation.until(lambda: installation.is_ready("production"), "production is ready")
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "reconciler", "--config", str(installation.sandbox.settings)),
            *("launch", "checkout", "--from", "production", "--wait", "--yes"),
            *("--repository", str(jessica.directory)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as waiting:
        assert waiting.stdout is not None
        while "is on origin/main" not in (line := waiting.stdout.readline()):
            assert line, waiting.stderr and waiting.stderr.read()
        waiting.stdout.readline()  # it watches
        waiting.send_signal(signal.SIGINT)
        _, said = waiting.communicate(timeout=30)
    assert waiting.returncode == 130
    assert "checkout goes on coming up" in said
    installation.until(lambda: installation.is_ready("checkout"), "checkout is ready")
