"""The watch on real repositories: every push is told of, whatever the repository's shape, and nothing ends the thread but stop."""

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from reconciler.daemon.watch import SourceWatch
from reconciler.settings import RepositorySettings
from tests.fakes.git_source import GitSource, run_git

SOON_S = 20.0
FAR_S = 3600.0  # a poll that a test never reaches


class Told:
    """What a watch called."""

    def __init__(self) -> None:
        self.changes: queue.Queue[None] = queue.Queue()
        self.troubles: queue.Queue[str] = queue.Queue()

    def next_change(self) -> None:
        self.changes.get(timeout=SOON_S)

    def until_quiet(self) -> None:
        with suppress(queue.Empty):
            while True:
                self.changes.get(timeout=0.5)


@contextmanager
def watching(path: Path | str, *, branch: str = "main", poll_s: float = FAR_S) -> Iterator[Told]:
    told = Told()
    watch = SourceWatch(
        RepositorySettings(url=str(path), branch=branch),
        poll_s,
        lambda: told.changes.put(None),
        told.troubles.put,
    )
    watch.start()
    try:
        yield told
    finally:
        watch.stop()


@pytest.fixture
def source(tmp_path: Path) -> GitSource:
    source = GitSource(tmp_path / "upstream")
    source.push({"a.yml": "1"})
    return source


def drain(told: Told) -> None:
    """The watch tells once when it begins."""
    told.next_change()


def test_every_push_to_a_bare_repository_is_told_of(source: GitSource) -> None:
    with watching(source.path) as told:
        drain(told)
        for number in range(5):
            source.push({"a.yml": f"{number} again"})
            told.next_change()
        assert told.troubles.empty()


def test_a_commit_in_a_repository_with_a_work_tree_is_told_of(source: GitSource) -> None:
    with watching(source.clone) as told:
        drain(told)
        source.push({"a.yml": "2"})
        told.next_change()


def test_a_commit_to_the_branch_of_a_linked_work_tree_is_told_of(source: GitSource, tmp_path: Path) -> None:
    run_git(source.clone, "worktree", "add", "-q", str(tmp_path / "linked"), "-b", "side")
    with watching(tmp_path / "linked") as told:
        drain(told)
        source.push({"a.yml": "2"})
        told.next_change()


def test_a_branch_in_folders_that_do_not_exist_yet_is_told_of(source: GitSource) -> None:
    with watching(source.path, branch="feature/x/y") as told:
        drain(told)
        source.branch = "feature/x/y"
        source.push({"a.yml": "2"})
        told.next_change()
        source.push({"a.yml": "3"})
        told.next_change()


def test_packing_and_pushing_again_is_told_of(source: GitSource) -> None:
    with watching(source.path) as told:
        drain(told)
        run_git(source.path, "pack-refs", "--all", "--prune")
        told.next_change()
        source.push({"a.yml": "2"})
        told.next_change()


def test_the_push_of_another_branch_wakes_nobody(source: GitSource) -> None:
    with watching(source.path) as told:
        drain(told)
        source.branch = "other"
        source.push({"a.yml": "2"})
        source.branch = "main"
        source.push({"a.yml": "3"})
        told.next_change()
    assert told.changes.empty()


def test_a_repository_that_vanishes_is_polled_and_watched_again_when_it_is_back(source: GitSource) -> None:
    with watching(source.path, poll_s=0.05) as told:
        drain(told)
        source.path.rename(source.path.with_name("away"))
        trouble = told.troubles.get(timeout=SOON_S)
        assert str(source.path) in trouble
        assert "polled every 0.05 s" in trouble
        for _ in range(3):
            told.next_change()
        source.path.with_name("away").rename(source.path)
        told.until_quiet()  # polling has ended
        source.push({"a.yml": "2"})
        told.next_change()
    assert told.troubles.empty(), "trouble that lasts is told of once"


def test_a_repository_put_in_the_place_of_another_is_watched(source: GitSource, tmp_path: Path) -> None:
    other = GitSource(tmp_path / "other")
    other.push({"b.yml": "1"})
    with watching(source.path) as told:
        drain(told)
        source.path.rename(source.path.with_name("away"))
        other.path.rename(source.path)
        told.next_change()
        other.path = source.path
        other.push({"b.yml": "2"})
        told.next_change()


def test_a_path_without_a_repository_is_trouble(tmp_path: Path) -> None:
    with watching(tmp_path, poll_s=0.01) as told:
        assert "is not a git repository" in told.troubles.get(timeout=SOON_S)
        told.next_change()


def test_a_remote_repository_is_polled() -> None:
    with watching("git@example.com:envs.git", poll_s=0.01) as told:
        for _ in range(3):
            told.next_change()
        assert told.troubles.empty()


@pytest.mark.parametrize("url", ["git@example.com:envs.git", "/nowhere", None])
def test_stop_ends_the_thread_however_long_it_would_wait(source: GitSource, url: str | None) -> None:
    with watching(url or source.path) as told:
        if url is None:
            drain(told)
    assert not [thread for thread in threading.enumerate() if thread.name == "source-watch"]


def test_stopping_what_was_never_started_is_nothing(source: GitSource) -> None:
    SourceWatch(RepositorySettings(url=str(source.path)), FAR_S, lambda: None, lambda _trouble: None).stop()
