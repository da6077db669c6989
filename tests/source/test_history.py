"""What the history is asked, and how it is kept: against a repository in memory that counts."""

from collections.abc import Collection, Mapping
from datetime import timedelta

import pytest

from reconciler.model.commits import Commit
from reconciler.model.desired import Desired, Environment, Lifetime
from reconciler.model.findings import Origin
from reconciler.model.memory import Ending, EndingCause, KnownEnvironment, Memory
from reconciler.model.names import EnvironmentName, InstallationId, RevisionId
from reconciler.source.history import History
from tests.fakes.repository import FIRST_COMMIT_AT, FakeRepository

WEEK = Lifetime(ttl=timedelta(days=7))
UNKNOWN = RevisionId("1" * 40)
ENDING = Ending(
    cause=EndingCause.REMOVED, at=FIRST_COMMIT_AT, revision=RevisionId("1" * 40), author="", file="gone.yml"
)


class CountingRepository(FakeRepository):
    """Keeps what was asked of the history: paths, and after which revision."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[frozenset[str], RevisionId | None]] = []

    def touched(
        self, revision: RevisionId, paths: Collection[str], *, after: RevisionId | None = None
    ) -> Mapping[str, Commit]:
        self.asked.append((frozenset(paths), after))
        return super().touched(revision, paths, after=after)


@pytest.fixture
def repository() -> CountingRepository:
    return CountingRepository()


def desired(revision: RevisionId, *, folder: str = "environments.d", **lifetimes: Lifetime) -> Desired:
    environments = {
        EnvironmentName(name): Environment(
            name=EnvironmentName(name),
            origin=Origin(file=f"{folder}/{name}.yml", line=1),
            project="kickstarter",
            owner="jessica",
            branch="main",
            roles={},
            lifetime=lifetime,
        )
        for name, lifetime in lifetimes.items()
    }
    return Desired(revision=revision, environments=environments, frozen={}, findings=())


def remembering(*names: str, ending: Ending | None = None, declared_by: RevisionId = UNKNOWN) -> Memory:
    return Memory(
        installation=InstallationId("i"),
        environments={
            EnvironmentName(name): KnownEnvironment(name=EnvironmentName(name), declared_by=declared_by, ending=ending)
            for name in names
        },
    )


def told(history: History, wanted: Desired, memory: Memory) -> dict[str, RevisionId]:
    found, trouble = history.tell(wanted, memory)
    assert trouble is None
    assert found.commit is not None
    assert found.commit.revision == wanted.revision
    return {path: commit.revision for path, commit in found.touched.items()}


def test_whoever_removed_a_file_is_told_and_only_of_files_whose_end_is_news(repository: CountingRepository) -> None:
    repository.push({"gone.yml": "1", "old.yml": "1", "kept.yml": "1"})
    removed = repository.push({"kept.yml": "1"})
    repository.fetch()
    history = History(repository, folder="environments.d")
    memory = remembering("gone", "kept")
    both = {**memory.environments, **remembering("old", ending=ENDING).environments}
    assert told(
        history, desired(removed, kept=Lifetime()), Memory(installation=InstallationId("i"), environments=both)
    ) == {"gone.yml": removed}
    assert repository.asked == [(frozenset({"gone.yml", "gone.yaml"}), None)]


def test_only_what_came_after_the_last_declaration_is_walked_if_that_is_known(repository: CountingRepository) -> None:
    declaring = repository.push({"gone.yml": "1", "late.yml": "1"})
    removed = repository.push({"late.yml": "1"})
    tip = repository.push({})
    repository.fetch()
    history = History(repository, folder="environments.d")
    memory = remembering("gone", declared_by=declaring)
    late = remembering("late", declared_by=removed)
    both = Memory(installation=memory.installation, environments={**memory.environments, **late.environments})
    assert told(history, desired(tip), both) == {"gone.yml": removed, "late.yml": tip}
    assert {(len(paths), after) for paths, after in repository.asked} == {(2, declaring), (2, removed)}


def test_where_nothing_is_gone_and_nothing_expires_the_history_is_not_asked(repository: CountingRepository) -> None:
    tip = repository.push({"kept.yml": "1"})
    repository.fetch()
    history = History(repository, folder="environments.d")
    assert told(history, desired(tip, kept=Lifetime()), remembering("kept")) == {}
    assert repository.asked == []


@pytest.mark.parametrize("folder", ["environments.d", "a/b/", "./environments.d"])
def test_a_lifetime_counts_from_the_commit_that_touched_its_file(repository: CountingRepository, folder: str) -> None:
    first = repository.push({"short.yml": "1"})
    tip = repository.push({"short.yml": "1", "other.yml": "1"})
    repository.fetch()
    history = History(repository, folder=folder)
    wanted = desired(tip, folder=folder.rstrip("/"), short=WEEK)
    assert told(history, wanted, remembering("short")) == {"short.yml": first}


def test_a_later_revision_costs_only_the_commits_since_and_a_quiet_pass_nothing(repository: CountingRepository) -> None:
    first = repository.push({"a.yml": "1", "b.yml": "1"})
    repository.fetch()
    history = History(repository, folder="environments.d")
    assert told(history, desired(first, a=WEEK, b=WEEK), remembering()) == {"a.yml": first, "b.yml": first}
    second = repository.push({"a.yml": "1", "b.yml": "2", "c.yml": "1"})
    repository.fetch()
    repository.asked.clear()
    expected = {"a.yml": first, "b.yml": second, "c.yml": second}
    for _ in range(3):
        assert told(history, desired(second, a=WEEK, b=WEEK, c=WEEK), remembering()) == expected
    assert repository.asked == [(frozenset({"a.yml", "b.yml"}), first), (frozenset({"c.yml"}), None)]


def test_what_is_gone_is_asked_once_for_each_revision(repository: CountingRepository) -> None:
    repository.push({"gone.yml": "1"})
    removed = repository.push({})
    repository.fetch()
    history = History(repository, folder="environments.d")
    for _ in range(3):
        assert told(history, desired(removed), remembering("gone")) == {"gone.yml": removed}
    assert len(repository.asked) == 1
    later = repository.push({"other.yml": "1"})
    repository.fetch()
    assert told(history, desired(later), remembering("gone")) == {"gone.yml": removed}
    assert len(repository.asked) == 2


def test_after_history_was_rewritten_everything_is_asked_anew(repository: CountingRepository) -> None:
    first = repository.push({"a.yml": "1"})
    second = repository.push({"a.yml": "2"})
    repository.fetch()
    history = History(repository, folder="environments.d")
    assert told(history, desired(second, a=WEEK), remembering()) == {"a.yml": second}
    rewritten = repository.rewrite({"a.yml": "1", "b.yml": "1"}, onto=first)
    repository.fetch()
    assert told(history, desired(rewritten, a=WEEK), remembering()) == {"a.yml": first}


def test_a_file_that_came_back_after_its_removal_counts_from_its_coming_back(repository: CountingRepository) -> None:
    first = repository.push({"a.yml": "1"})
    repository.fetch()
    history = History(repository, folder="environments.d")
    assert told(history, desired(first, a=WEEK), remembering("a")) == {"a.yml": first}
    removed = repository.push({})
    repository.fetch()
    assert told(history, desired(removed), remembering("a")) == {"a.yml": removed}
    back = repository.push({"a.yml": "1"})
    repository.fetch()
    assert told(history, desired(back, a=WEEK), remembering("a")) == {"a.yml": back}


def test_a_history_that_cannot_be_read_names_nobody_and_is_read_again(repository: CountingRepository) -> None:
    first = repository.push({"a.yml": "1"})
    tip = repository.push({"a.yml": "1", "b.yml": "1"})
    repository.fetch()
    repository.lose(first)
    history = History(repository, folder="environments.d")
    found, trouble = history.tell(desired(tip, a=WEEK), remembering("gone"))
    assert trouble is not None
    assert found.touched == {}
    assert found.commit is not None
    repository.find(first)
    assert told(history, desired(tip, a=WEEK), remembering()) == {"a.yml": first}


def test_of_a_revision_that_is_unknown_nothing_is_told(repository: CountingRepository) -> None:
    known = repository.push({"a.yml": "1"})
    repository.fetch()
    history = History(repository, folder="environments.d")
    assert told(history, desired(known), remembering()) == {}
    found, trouble = history.tell(desired(RevisionId("2" * 40)), remembering())
    assert trouble is not None
    assert found.commit is None
