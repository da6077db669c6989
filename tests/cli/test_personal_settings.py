"""`launch`, `extend`, `teardown` and `plan` in a clone whose owner has set up git in every way that programs stumble over."""

import re
from contextlib import chdir
from pathlib import Path

import pytest

from reconciler.cli import invoke
from tests.adapters.test_worktree import HOSTILE
from tests.cli.test_launch import CHECKOUT, hivequeen
from tests.fakes.git_source import GitSource, make_key, run_git
from tests.fakes.person import PRODUCTION, Person

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


def told(directory: Path, capsys: Captured, *, settings: str) -> str:
    """A day's work, and all that is said in it, but for what no two repositories have in common."""
    source = GitSource(directory / "upstream")
    source.push({"production.yml": PRODUCTION})
    jessica = Person(source, directory / "jessica")
    for name, value in {"gpg.format": "ssh", "user.signingKey": str(make_key(directory, "key"))}.items():
        jessica.git("config", name, value)
    jessica.file("checkout.yml").write_text(CHECKOUT)
    jessica.git("add", "-A")
    jessica.git("commit", "-q", "-S", "-m", "Signed")
    jessica.git("push", "-q")
    for setting in settings.split():
        jessica.git("config", *setting.split("=", 1))
    capsys.readouterr()
    assert hivequeen(jessica, "launch", "search", "--from", "production", "--yes") == 0
    assert hivequeen(jessica, "extend", "checkout", "3d", "--yes") == 0
    assert hivequeen(jessica, "teardown", "checkout", "--yes") == 0
    with chdir(jessica.directory):
        assert invoke(["--config", "no-settings.yml", "plan", "--diff", "HEAD~3..HEAD", "--offline"]) == 2
    assert jessica.head == source.tip
    assert len(run_git(source.path, "log", "--format=%h").split()) == 5
    said = capsys.readouterr()
    plain = (said.out + said.err).replace(str(directory), "HERE")
    return re.sub(r"\b[0-9a-f]{8}\b|\d\d\d\d-\d\d-\d\d \d\d:\d\d|\b(240h|10d)\b", "#", plain)


def test_it_says_and_does_what_it_does_in_any_other_clone(tmp_path: Path, capsys: Captured) -> None:
    assert told(tmp_path / "one", capsys, settings=HOSTILE) == told(tmp_path / "two", capsys, settings="")
