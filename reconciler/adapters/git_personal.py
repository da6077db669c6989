"""Running git in a person's own clone: their name, keys and hooks count; how they like its output does not."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeAlias

from reconciler.adapters.git_config import masked
from reconciler.adapters.git_errors import reason
from reconciler.errors import Stalled, Transient

LOCAL_TIMEOUT_S: Final = 30.0
NETWORK_TIMEOUT_S: Final = 180.0  # somebody may have to type a passphrase

Done: TypeAlias = "subprocess.CompletedProcess[bytes]"

# Set while git runs a hook, for the repository of that hook.
_OF_ANOTHER: Final = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_PREFIX",
    "GIT_OBJECT_DIRECTORY",
    "GIT_COMMON_DIR",
)
# What git says is read here. Each may be set by itself, to colour even what is no terminal.
_PLAIN: Final = tuple(f"color.{what}=false" for what in ("ui", "advice", "push", "remote", "transport"))
_SAID_MAX: Final = 1000  # characters


class PersonalGit:
    """The git command in one clone. Only plumbing is asked to tell something: no setting changes what that prints."""

    def __init__(self, directory: Path) -> None:
        """
        Args:
            directory: anything inside the clone.
        """
        self.directory = directory

    def ask(
        self,
        *arguments: str,
        content: bytes = b"",
        variables: Mapping[str, str] | None = None,
        settings: tuple[str, ...] = (),
        trouble: str = "",
        remedy: str = "",
    ) -> str:
        """What it prints, without blanks around it.

        Args:
            content: what it reads.
            variables: of its environment.
            settings: `name=value`, beside those of the person, and before them.
            trouble: what to say has happened if it fails.

        Raises:
            Stalled: it failed.
            Transient: it took too long.
        """
        told = self.ask_bytes(
            *arguments, content=content, variables=variables, settings=settings, trouble=trouble, remedy=remedy
        )
        return told.decode(errors="surrogateescape").strip()

    def ask_bytes(
        self,
        *arguments: str,
        content: bytes = b"",
        variables: Mapping[str, str] | None = None,
        settings: tuple[str, ...] = (),
        trouble: str = "",
        remedy: str = "",
    ) -> bytes:
        """As above, byte for byte."""
        done = self.run(*arguments, content=content, variables=variables, settings=settings)
        if done.returncode:
            raise Stalled(f"{trouble or f'git {arguments[0]} failed'}: {why(done)}", remedy=remedy or "see: git status")
        return done.stdout

    def configured(self, name: str, *options: str) -> str | None:
        found = self.run("config", *options, "--get", name)
        return found.stdout.decode(errors="replace").strip() or None if found.returncode == 0 else None

    def run(
        self,
        *arguments: str,
        content: bytes = b"",
        variables: Mapping[str, str] | None = None,
        settings: tuple[str, ...] = (),
        timeout_s: float = LOCAL_TIMEOUT_S,
    ) -> Done:
        """Whatever comes of it. On the person's own terminal: ssh may ask for a passphrase."""
        kept = {name: value for name, value in os.environ.items() if name not in _OF_ANOTHER}
        ours = {"LC_ALL": "C", "GIT_LITERAL_PATHSPECS": "1", "GIT_NO_REPLACE_OBJECTS": "1"}
        try:
            return subprocess.run(
                ["git", *(word for setting in (*_PLAIN, *settings) for word in ("-c", setting)), *arguments],
                cwd=self.directory,
                env={**kept, **ours, **(variables or {})},
                input=content,
                capture_output=True,
                check=False,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired:
            raise Transient(f"git {arguments[0]} took longer than {timeout_s:.0f} s") from None
        except FileNotFoundError:
            is_there = self.directory.is_dir()
            raise Stalled(
                "git is not installed" if is_there else f"there is no folder {self.directory}",
                remedy="install the package git" if is_there else "name a clone with --repository",
            ) from None
        except NotADirectoryError:
            raise Stalled(f"{self.directory} is not a folder", remedy="name a clone with --repository") from None


def why(done: Done) -> str:
    """The line that tells why it failed."""
    return reason(done.stderr.decode(errors="replace"))


def said(stderr: str) -> str:
    """All of it, for a hook may say anything; without what git adds to every failed push."""
    told = [line.strip() for line in stderr.splitlines() if not line.startswith(("hint:", "error: failed to push"))]
    return masked(" ".join(filter(None, told))[:_SAID_MAX]) or "git said nothing"
