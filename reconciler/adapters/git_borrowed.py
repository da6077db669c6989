"""A repository on this machine that is somebody else's to write: a person's clone, a build's checkout, the daemon's mirror.

Names are looked up by git in that repository. Everything else is read through a scratch mirror that borrows its objects,
so that nothing is ever written to it, and its configuration takes no part in what is read.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from reconciler.adapters import git_config
from reconciler.adapters.git import GitRepository
from reconciler.adapters.git_errors import reason
from reconciler.adapters.git_mirror import LOCAL_TIMEOUT_S, Mirror
from reconciler.adapters.git_process import Git
from reconciler.errors import Stalled, Transient
from reconciler.model.names import RevisionId
from reconciler.settings import RepositorySettings

# Set while git runs a hook, for the repository of that hook; the objects of a push in flight are quarantined so.
_OF_ANOTHER: Final = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR")


class BorrowedRepository:
    def __init__(
        self, directory: Path, scratch: Path, *, folder: str, aliases: Mapping[str, str] | None = None
    ) -> None:
        """
        Args:
            directory: anything inside of it.
            scratch: an empty directory, for as long as this is used.
            folder: the watched one.
            aliases: what some names stand for here: a mirror has no branches.

        Raises:
            Stalled: there is no repository.
        """
        self._directory = directory
        self._aliases = aliases or {}
        common = Path(self._ask("rev-parse", "--path-format=absolute", "--git-common-dir"))
        top = self._run("rev-parse", "--path-format=absolute", "--show-toplevel")
        self.top = Path(os.fsdecode(top.stdout).strip()) if top.returncode == 0 else common  # a bare one has no files
        settings = RepositorySettings(url=str(common), path=folder)
        mirror = Mirror(scratch)
        environment = git_config.environment(
            settings, home=mirror.home, configuration_file=mirror.configuration_file, inherited=os.environ
        )
        mirror.prepare(Git(mirror.directory, environment), settings)
        borrowed = [str(common / "objects"), *self._of_push()]
        (mirror.directory / "objects" / "info").mkdir(exist_ok=True)
        (mirror.directory / "objects" / "info" / "alternates").write_text("".join(f"{path}\n" for path in borrowed))
        if (common / "shallow").exists():  # a history that is cut off must not look like one that begins there
            shutil.copy(common / "shallow", mirror.directory / "shallow")
        self.is_shallow = (common / "shallow").exists()
        self.repository = GitRepository(settings, mirror.directory)

    def revision(self, name: str) -> RevisionId:
        """
        Raises:
            Stalled: it names no commit here.
        """
        found = self._run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{self._meant(name)}^{{commit}}")
        if found.returncode:
            raise Stalled(
                f"{name} is no revision in {self.top}",
                remedy="git fetch, or name one that is there; in a build, check out the whole history (fetch-depth: 0)",
            )
        return RevisionId(found.stdout.decode().strip())

    def merge_base(self, one: RevisionId, other: RevisionId) -> RevisionId:
        """The newest revision that both descend from.

        Raises:
            Stalled: there is none, or the history is cut off before it.
        """
        found = self._run("merge-base", one, other)
        if found.returncode:
            raise Stalled(
                f"{one[:8]} and {other[:8]} have no revision in common in {self.top}",
                remedy="check out the whole history (git fetch --unshallow; in a build, fetch-depth: 0)",
            )
        return RevisionId(found.stdout.decode().strip())

    def addresses(self) -> tuple[str, ...]:
        """Of the repositories that it was cloned from."""
        found = self._run("config", "--get-regexp", r"^remote\..*\.url$")
        return tuple(line.partition(" ")[2] for line in os.fsdecode(found.stdout).splitlines())

    def close(self) -> None:
        self.repository.close()

    def _meant(self, name: str) -> str:
        """`main~1` of an alias is a parent of what that stands for."""
        end = next((at for at, letter in enumerate(name) if letter in "~^@:"), len(name))
        return self._aliases.get(name[:end], name[:end]) + name[end:]

    def _of_push(self) -> tuple[str, ...]:
        """In a hook that judges a push, what was pushed lies apart."""
        apart = os.environ.get("GIT_OBJECT_DIRECTORY"), os.environ.get("GIT_ALTERNATE_OBJECT_DIRECTORIES")
        return tuple(str(Path(path).absolute()) for paths in apart if paths for path in paths.split(os.pathsep))

    def _ask(self, *arguments: str) -> str:
        done = self._run(*arguments)
        if done.returncode:
            raise Stalled(
                f"{self._directory.absolute()} is in no git repository: {reason(done.stderr.decode(errors='replace'))}",
                remedy="run this in a clone of the repository of environments",
            )
        return os.fsdecode(done.stdout).strip()

    def _run(self, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
        kept = {name: value for name, value in os.environ.items() if name not in _OF_ANOTHER}
        try:
            return subprocess.run(
                ["git", *arguments],
                cwd=self._directory,
                env={**kept, "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=LOCAL_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            raise Transient(f"git {arguments[0]} took longer than {LOCAL_TIMEOUT_S:.0f} s") from None
        except FileNotFoundError:
            raise Stalled("git is not installed", remedy="install the package git") from None


def is_same_address(one: str, other: str) -> bool:
    """Whether two addresses mean one repository, by whatever way they reach it."""
    return _place(one) == _place(other)


def _place(address: str) -> str:
    """`git@github.com:acme/envs.git`, `https://github.com/acme/envs` → `github.com/acme/envs`; of a path, where it leads."""
    scheme, separator, rest = address.partition("://")
    if separator and scheme == "file":
        return str(Path(rest).resolve()).removesuffix("/.git")
    if not separator and ":" not in address.partition("/")[0]:
        return str(Path(address).resolve()).removesuffix("/.git")
    place = rest if separator else address.replace(":", "/", 1)
    host, slash, path = place.rpartition("@")[2].partition("/")
    return f"{host.partition(':')[0].lower()}{slash}{path.strip('/').removesuffix('.git')}"
