"""A real spec repository for tests: pushed to by a second clone, as people do."""

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from reconciler.model.names import BlobId, RevisionId
from tests.fakes.repository import AUTHOR, Content, Executable, Submodule, Symlink

FOLDER = "environments.d"


class GitSource:
    """`push`, `rewrite` and `reset` change the upstream, named as in `FakeRepository`. Nothing of the machine's git settings counts."""

    def __init__(self, directory: Path, *, branch: str = "main", folder: str = FOLDER) -> None:
        """Makes `directory/source.git`, bare and empty, and `directory/clone`, where tests commit."""
        self.path = directory / "source.git"
        self.clone = directory / "clone"
        self.branch = branch
        self._folder = folder
        self._key: Path | None = None
        directory.mkdir(parents=True, exist_ok=True)
        run_git(directory, "init", "-q", "--bare", "--template=", "-b", "main", str(self.path))
        run_git(directory, "init", "-q", "--template=", "-b", "main", str(self.clone))

    def sign_with(self, key: Path) -> None:
        """The private key file for revisions pushed with `is_signed`."""
        self._key = key

    @property
    def tip(self) -> RevisionId:
        return RevisionId(run_git(self.path, "rev-parse", f"refs/heads/{self.branch}"))

    def push(
        self,
        files: Mapping[str, Content],
        *,
        subject: str = "Change environments",
        author: str = AUTHOR,
        is_signed: bool = False,
    ) -> RevisionId:
        """Commit exactly these files (paths below the watched folder) on top of the branch, and push."""
        self._fill(files)
        signing = (
            ("-c", "gpg.format=ssh", "-c", f"user.signingkey={self._key}", "commit", "-S") if is_signed else ("commit",)
        )
        run_git(self.clone, *signing, "-q", "--allow-empty", "-m", subject, f"--author={author}")
        return self.push_head()

    def push_head(self) -> RevisionId:
        run_git(self.clone, "push", "-q", "--force", str(self.path), f"HEAD:refs/heads/{self.branch}")
        return self.tip

    def rewrite(self, files: Mapping[str, Content], *, onto: RevisionId | None = None) -> RevisionId:
        """Force-push a commit whose parent is `onto` (None: it has none)."""
        if onto:
            run_git(self.clone, "checkout", "-q", "-f", "-B", "main", onto)
        else:
            run_git(self.clone, "checkout", "-q", "-f", "--orphan", f"rewritten-{os.urandom(4).hex()}")
        return self.push(files, subject="Rewrite")

    def merge(self, files: Mapping[str, Content], *, other: RevisionId) -> RevisionId:
        """Commit exactly these files on top of the branch and of another revision, and push."""
        self._fill(files)
        tree = run_git(self.clone, "write-tree")
        merged = run_git(self.clone, "commit-tree", tree, "-p", self.tip, "-p", other, "-m", "Merge")
        run_git(self.clone, "checkout", "-q", "-f", "-B", "main", merged)
        return self.push_head()

    def reset(self, revision: RevisionId) -> None:
        """Force-push a revision that exists already."""
        run_git(self.clone, "checkout", "-q", "-f", "-B", "main", revision)
        self.push_head()

    def delete_branch(self) -> None:
        run_git(self.path, "update-ref", "-d", f"refs/heads/{self.branch}")

    def collect(self) -> None:
        """Forget, upstream, what no ref reaches."""
        run_git(self.path, "gc", "-q", "--prune=now")

    def _fill(self, files: Mapping[str, Content]) -> None:
        top = self.clone / self._folder
        run_git(self.clone, "read-tree", "--empty")
        if top != self.clone:
            shutil.rmtree(top, ignore_errors=True)
        for path, content in files.items():
            at = top / path
            at.parent.mkdir(parents=True, exist_ok=True)
            match content:
                case Submodule():
                    where = str(at.relative_to(self.clone))
                    run_git(self.clone, "update-index", "--add", "--cacheinfo", f"160000,{content},{where}")
                case Symlink():
                    at.symlink_to(content)
                case bytes():
                    at.write_bytes(content)
                case _:
                    at.write_text(content)
                    at.chmod(0o755 if isinstance(content, Executable) else 0o644)
        added = [path for path, content in files.items() if not isinstance(content, Submodule)]
        if added:
            run_git(top, "add", "-f", "--", *(f"./{path}" for path in added))


def run_git(directory: Path, *arguments: str) -> str:
    """What git prints, without the last newline."""
    done = subprocess.run(
        ["git", *arguments],
        cwd=directory,
        env={
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "Jessica",
            "GIT_AUTHOR_EMAIL": "jessica@example.com",
            "GIT_COMMITTER_NAME": "Jessica",
            "GIT_COMMITTER_EMAIL": "jessica@example.com",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=60,
    )
    if done.returncode:
        raise RuntimeError(f"git {' '.join(arguments)}: {done.stderr.decode(errors='replace')}")
    return done.stdout.decode().removesuffix("\n")


def explode(repository: Path) -> None:
    """Make every object of it a file of its own, so that a test can break one."""
    packs = list((repository / "objects" / "pack").glob("*"))
    for pack in packs:
        moved = pack.rename(repository / pack.name)
        if moved.suffix == ".pack":
            with moved.open("rb") as stream:
                subprocess.run(
                    ["git", f"--git-dir={repository}", "unpack-objects", "-q"], stdin=stream, check=True, timeout=60
                )
        moved.unlink()


def object_file(repository: Path, name: BlobId | RevisionId | str) -> Path:
    return repository / "objects" / name[:2] / name[2:]


def lose_objects(repository: Path, names: Iterable[str]) -> None:
    explode(repository)
    for name in names:
        object_file(repository, name).unlink()


def make_key(directory: Path, name: str) -> Path:
    """An SSH key pair; the path of the private half."""
    directory.mkdir(parents=True, exist_ok=True)
    key = directory / name
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(key)],
        stdin=subprocess.DEVNULL,
        check=True,
        timeout=30,
    )
    return key
