"""A reviewer, a running daemon, and the same answer without it."""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from reconciler.review.codec import parse
from tests.fakes.git_source import run_git
from tests.reconcile.world import CHECKOUT, PRODUCTION
from tests.stories.installation import Installation

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("stories")]


def change(clone: Path) -> None:
    """On a branch: another image for production and what is like it, one node less."""
    run_git(clone, "checkout", "-q", "-b", "feature")
    text = PRODUCTION.replace("ami-0123456789abcdef0", "ami-0fedcba9876543210").replace("count: 2", "count: 1")
    (clone / "environments.d" / "production.yml").write_text(text)
    run_git(clone, "commit", "-q", "-a", "-m", "Another image")


def ask(installation: Installation, *arguments: str) -> CompletedProcess[str]:
    with contextlib.chdir(installation.source.clone):
        return installation.command("plan", "--diff", "main..feature", *arguments)


def document(done: CompletedProcess[str]) -> Mapping[str, Any]:
    assert done.returncode == 2, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_review_is_the_same_live_offline_and_without_the_daemon(tmp_path: Path) -> None:
    with Installation(tmp_path) as installation:
        installation.source.push({"production.yml": PRODUCTION, "checkout.yml": CHECKOUT})
        installation.start()
        installation.until(lambda: installation.is_ready("production", "checkout"), "both are ready")
        change(installation.source.clone)

        live = document(ask(installation, "--format", "json"))
        running = {one["tags"]["Name"]: 0 for one in installation.launched()}
        assert set(running) == {"production-web", "production-worker", "checkout-web", "checkout-worker"}
        by_name = {one["name"]: one for one in live["environments"]}
        told = {
            (one["action"], one["role"], one["count"])
            for one in by_name["production"]["actions"]
            if one["risk"] != "in-place"
        }
        assert told == {("replace_node", "web", 4), ("replace_node", "worker", 1), ("terminate_node", "worker", 1)}
        assert {one["role"] for one in by_name["checkout"]["actions"]} == {"web", "worker"}

        assert installation.stop() == 0  # what it saw last is written then
        world = next(tmp_path.rglob("world.json"))
        assert len(parse(world.read_bytes(), file="").observed.environments) == 2
        offline = document(ask(installation, "--offline", "--format", "json"))
        alone = document(ask(installation, "--format", "json"))  # this command looks by itself
        for other in (offline, alone):
            assert {**other, "world": None} == {**live, "world": None}
