"""People who work in clones of their own of a real spec repository."""

import hashlib
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from reconciler.model.names import RevisionId
from tests.fakes.git_source import FOLDER, GitSource

PRODUCTION = """\
# What customers use.
project: kickstarter
owner: ops@example.com
branch: main
protected: true
defaults:
  image: ami-0123456789abcdef0
  instance_type: [m7i.large, m6i.large]
  subnets: [subnet-0a1b2c3d4e5f60001]
  security_groups: [sg-0a1b2c3d4e5f60001]
roles:
  web: {count: 4, run_list: ["recipe[kickstarter::web]"]}
  worker: {count: 2, run_list: ["recipe[kickstarter::worker]"]}
"""


class Person:
    """A clone with an identity; `branch` is checked out and follows the same one of the source."""

    def __init__(self, source: GitSource, directory: Path, *, name: str = "Jessica", branch: str = "main") -> None:
        self.directory = directory
        self.email = f"{name.lower()}@example.com"
        directory.parent.mkdir(parents=True, exist_ok=True)
        run(directory.parent, "clone", "-q", "--template=", str(source.path), str(directory))
        for key, value in {"user.name": name, "user.email": self.email}.items():
            self.git("config", key, value)
        self.git("checkout", "-q", branch)

    def git(self, *arguments: str) -> str:
        return run(self.directory, *arguments)

    @property
    def head(self) -> RevisionId:
        return RevisionId(self.git("rev-parse", "HEAD"))

    def file(self, path: str) -> Path:
        return self.directory / FOLDER / path

    def work(self) -> Mapping[str, str]:
        """Everything of theirs: each file's digest and mode, what is staged, what is stashed."""
        files = sorted(one for one in self.directory.rglob("*") if ".git" not in one.parts and not one.is_dir())
        return {
            **{str(one.relative_to(self.directory)): f"{one.lstat().st_mode} {_digest(one)}" for one in files},
            "staged": self.git("diff", "--cached", "--binary"),
            "stash": self.git("stash", "list"),
        }

    def push(self, path: str, content: str | None, *, message: str = "Work") -> RevisionId:
        """Their own commit of one file, pushed."""
        if content is None:
            self.file(path).unlink()
        else:
            self.file(path).parent.mkdir(exist_ok=True)
            self.file(path).write_text(content)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        self.git("push", "-q")
        return self.head


def _digest(path: Path) -> str:
    if path.is_symlink():
        return str(path.readlink())
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run(directory: Path, *arguments: str) -> str:
    """What git prints, in an environment of which only the repository's own settings count."""
    done = subprocess.run(
        ["git", *arguments],
        cwd=directory,
        env={
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=60,
    )
    if done.returncode:
        raise RuntimeError(f"git {' '.join(arguments)}: {done.stderr.decode(errors='replace')}")
    return done.stdout.decode().removesuffix("\n")
