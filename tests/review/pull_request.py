"""A build's checkout of a pull request, and the plan that is made there: what `docs/` and README show."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.fakes.git_source import GitSource, run_git

ROOT: Final = Path(__file__).resolve().parents[2]
SAMPLES: Final[Mapping[str, str]] = {path.name: path.read_text() for path in (ROOT / "environments.d").glob("*.yml")}
OPTIONS: Final = ("--diff", "main...feature", "--offline", "--region", "us-east-1")


def checkout(directory: Path, *, before: Mapping[str, str], after: Mapping[str, str]) -> Path:
    """No branch is checked out, and there are no settings."""
    source = GitSource(directory / "git")
    files: dict[str, Any] = dict(before)
    source.push(files)
    run_git(source.clone, "checkout", "-q", "-b", "feature")
    folder = source.clone / "environments.d"
    for name in before.keys() - after.keys():
        (folder / name).unlink()
    for name, text in after.items():
        (folder / name).write_text(text)
    run_git(source.clone, "add", "--all")
    run_git(source.clone, "commit", "-q", "-m", "What is asked for")
    run_git(source.clone, "push", "-q", str(source.path), "feature")
    run_git(directory, "clone", "-q", str(source.path), "build")
    run_git(directory / "build", "branch", "-q", "--track", "feature", "origin/feature")
    run_git(directory / "build", "checkout", "-q", "--detach", "origin/feature")
    return directory / "build"


def plan(directory: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "reconciler", "plan", *arguments],
        cwd=directory,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(directory), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
