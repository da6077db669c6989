"""A person's clone and a build's checkout are read as the daemon would, and nothing of them changes."""

import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from reconciler.adapters.git_borrowed import BorrowedRepository, is_same_address
from reconciler.errors import SourceRejected, Stalled
from tests.fakes.git_source import FOLDER, GitSource, run_git

Borrow = Callable[[Path], BorrowedRepository]


@pytest.fixture
def source(tmp_path: Path) -> GitSource:
    made = GitSource(tmp_path / "git")
    made.push({"checkout.yml": "a: 1\n"})
    made.push({"checkout.yml": "a: 2\n", "search.yml": "b: 1\n"})
    return made


@contextmanager
def borrowed(directory: Path, scratch: Path, **more: object) -> Iterator[BorrowedRepository]:
    with closing(BorrowedRepository(directory, scratch / "scratch.git", folder=FOLDER, **more)) as found:  # type: ignore[arg-type]  # options by name
        yield found


def everything(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_revisions_are_read_from_it_and_nothing_in_it_changes(source: GitSource, tmp_path: Path) -> None:
    run_git(tmp_path, "clone", "-q", str(source.path), "clone")
    clone = tmp_path / "clone"
    before = everything(clone)
    with borrowed(clone / FOLDER, tmp_path) as found:
        tip = found.revision("HEAD")
        entries = found.repository.tree(tip)
        assert [entry.path for entry in entries] == ["checkout.yml", "search.yml"]
        contents = found.repository.read([entry.blob for entry in entries], limit_bytes=100)
        assert sorted(contents.values()) == [b"a: 2\n", b"b: 1\n"]
        assert found.repository.touched(tip, ["checkout.yml"])["checkout.yml"].revision == tip
        assert found.revision("origin/main~1") == found.revision("HEAD^")
        assert found.repository.descends(tip, found.revision("HEAD^"))
        assert (found.top, found.addresses()) == (clone, (str(source.path),))
    assert everything(clone) == before


def test_the_base_of_two_branches_is_where_they_parted(source: GitSource, tmp_path: Path) -> None:
    parted = source.tip
    run_git(source.clone, "checkout", "-q", "-b", "feature")
    run_git(source.clone, "commit", "-q", "--allow-empty", "-m", "feature")
    run_git(source.clone, "checkout", "-q", "main")
    run_git(source.clone, "commit", "-q", "--allow-empty", "-m", "main")
    with borrowed(source.clone, tmp_path) as found:
        one, other = found.revision("main"), found.revision("feature")
        assert found.merge_base(one, other) == parted
        run_git(source.clone, "checkout", "-q", "--orphan", "alone")
        run_git(source.clone, "commit", "-q", "--allow-empty", "-m", "alone")
        with pytest.raises(Stalled, match="no revision in common"):
            found.merge_base(one, found.revision("alone"))


def test_a_history_that_is_cut_off_names_nobody_wrongly(source: GitSource, tmp_path: Path) -> None:
    run_git(tmp_path, "clone", "-q", "--depth", "1", f"file://{source.path}", "clone")
    with borrowed(tmp_path / "clone", tmp_path) as found:
        tip = found.revision("HEAD")
        assert found.is_shallow
        assert found.repository.tree(tip)
        with pytest.raises(SourceRejected):
            found.repository.touched(tip, ["checkout.yml"])
        with pytest.raises(Stalled, match="is no revision") as trouble:
            found.revision("HEAD~1")
        assert "fetch-depth: 0" in trouble.value.remedy


@pytest.mark.parametrize("name", ["--upload-pack=evil", "-h", "nothing", "HEAD:environments.d", ""])
def test_a_name_that_is_no_commit_is_refused(source: GitSource, tmp_path: Path, name: str) -> None:
    with borrowed(source.clone, tmp_path) as found, pytest.raises(Stalled, match="is no revision"):
        found.revision(name)


def test_names_may_stand_for_others_where_there_are_no_branches(source: GitSource, tmp_path: Path) -> None:
    with borrowed(source.path, tmp_path, aliases={"main": "refs/heads/main"}) as found:
        assert found.revision("main") == source.tip
        assert found.revision("main~1") != source.tip
        assert found.top == source.path


def test_where_there_is_no_repository_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(Stalled, match="in no git repository"):
        BorrowedRepository(tmp_path, tmp_path / "scratch.git", folder=FOLDER)


def test_in_a_hook_what_is_being_pushed_is_seen(source: GitSource, tmp_path: Path) -> None:
    hook = source.path / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    script = (
        "import sys, pathlib\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "from reconciler.adapters.git_borrowed import BorrowedRepository\n"
        "new = sys.stdin.read().split()[1]\n"
        f"found = BorrowedRepository(pathlib.Path(), pathlib.Path({str(tmp_path / 'scratch.git')!r}), folder='environments.d')\n"
        "entries = found.repository.tree(found.revision(new))\n"
        f"pathlib.Path({str(tmp_path / 'seen')!r}).write_text(' '.join(entry.path for entry in entries))\n"
    )
    (tmp_path / "hook.py").write_text(script)
    python = sys.executable
    hook.write_text(f"#!/bin/sh\nexec {python} {tmp_path / 'hook.py'}\n")
    hook.chmod(0o755)
    source.push({"new.yml": "c: 1\n"})
    assert "new.yml" in (tmp_path / "seen").read_text()


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("git@github.com:acme/envs.git", "https://github.com/acme/envs", True),
        ("ssh://git@github.com:22/acme/envs.git", "https://token:x@GitHub.com/acme/envs/", True),
        ("/srv/envs.git", "file:///srv/envs.git", True),
        ("/srv/envs/.git", "/srv/envs", True),
        ("git@github.com:acme/envs.git", "git@github.com:acme/other.git", False),
        ("git@github.com:acme/envs.git", "git@gitlab.com:acme/envs.git", False),
        ("/srv/envs", "/srv/other", False),
    ],
)
def test_addresses_that_mean_one_repository(one: str, other: str, is_same: bool) -> None:  # noqa: FBT001 - a parameter
    assert is_same_address(one, other) is is_same
