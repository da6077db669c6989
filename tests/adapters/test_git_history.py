"""Which commit touched a file last: one contract for the repository in memory and git's."""

import random
from pathlib import Path

import pytest

from reconciler.adapters.git import GitRepository
from reconciler.errors import SourceRejected
from reconciler.model.names import RevisionId
from reconciler.settings import RepositorySettings
from tests.adapters.git_site import KINDS, UNKNOWN, Site, make_site
from tests.fakes.git_source import GitSource, lose_objects, run_git
from tests.fakes.repository import Executable


@pytest.fixture(params=KINDS)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    return make_site(request.param, tmp_path)


def touching(site: Site, revision: RevisionId, *paths: str, after: RevisionId | None = None) -> dict[str, RevisionId]:
    site.repository.fetch()
    found = site.repository.touched(revision, paths, after=after)
    return {path: commit.revision for path, commit in found.items()}


def test_each_file_names_the_commit_that_added_changed_or_removed_it_last(site: Site) -> None:
    added = site.upstream.push({"added.yml": "1", "changed.yml": "1", "removed.yml": "1"})
    changed = site.upstream.push({"added.yml": "1", "changed.yml": "2", "removed.yml": "1"})
    removed = site.upstream.push({"added.yml": "1", "changed.yml": "2"})
    last = site.upstream.push({"added.yml": "1", "changed.yml": "2", "old/added.yml": "1"})
    paths = ("added.yml", "changed.yml", "removed.yml", "old/added.yml")
    assert touching(site, last, *paths) == dict(zip(paths, (added, changed, removed, last), strict=True))
    assert touching(site, changed, *paths) == {"added.yml": added, "changed.yml": changed, "removed.yml": added}


def test_it_is_told_who_did_it_as_of_any_commit(site: Site) -> None:
    author = "Zoë \x1b[31m O'Hara \u2028 <zoe@example.com>"
    revision = site.upstream.push({"a.yml": "1"}, subject='Größer: "a", $(b)', author=author)
    later = site.upstream.push({"b.yml": "1", "a.yml": "1"})
    site.repository.fetch()
    found = site.repository.touched(later, ["a.yml"])
    assert found == {"a.yml": site.repository.commit(revision)}
    assert (
        found["a.yml"].author == "Zoë \N{REPLACEMENT CHARACTER}[31m O'Hara \N{REPLACEMENT CHARACTER} <zoe@example.com>"
    )


def test_a_file_that_never_was_is_left_out(site: Site) -> None:
    revision = site.upstream.push({"a.yml": "1"})
    assert touching(site, revision, "never.yml", "a", "a.yml/below", ":(glob)*", "*") == {}
    assert touching(site, revision) == {}


def test_a_file_deleted_and_made_again_names_the_newest_making(site: Site) -> None:
    site.upstream.push({"a.yml": "1", "b.yml": "1"})
    gone = site.upstream.push({"b.yml": "1"})
    again = site.upstream.push({"a.yml": "1", "b.yml": "1"})
    assert touching(site, gone, "a.yml") == {"a.yml": gone}
    assert touching(site, again, "a.yml") == {"a.yml": again}


def test_a_renaming_removes_one_file_and_adds_another(site: Site) -> None:
    site.upstream.push({"a.yml": "the same content\n" * 10})
    renamed = site.upstream.push({"b.yml": "the same content\n" * 10})
    assert touching(site, renamed, "a.yml", "b.yml") == {"a.yml": renamed, "b.yml": renamed}


def test_a_change_of_mode_or_into_a_folder_counts(site: Site) -> None:
    site.upstream.push({"a.yml": "1", "b.yml": "1"})
    mode = site.upstream.push({"a.yml": Executable("1"), "b.yml": "1"})
    folder = site.upstream.push({"a.yml": Executable("1"), "b.yml/below": "1"})
    assert touching(site, folder, "a.yml", "b.yml") == {"a.yml": mode, "b.yml": folder}


def test_only_commits_after_a_revision_count_where_one_is_given(site: Site) -> None:
    first = site.upstream.push({"a.yml": "1", "b.yml": "1"})
    second = site.upstream.push({"a.yml": "2", "b.yml": "1"})
    third = site.upstream.push({"a.yml": "2", "b.yml": "2"})
    assert touching(site, third, "a.yml", "b.yml", after=second) == {"b.yml": third}
    assert touching(site, third, "a.yml", "b.yml", after=first) == {"a.yml": second, "b.yml": third}
    assert touching(site, third, "a.yml", "b.yml", after=third) == {}
    assert touching(site, second, "a.yml", "b.yml", after=third) == {}


class TestMerges:
    """first ── side (b) ──── merge
    └─── main (a) ──┘"""

    def forked(self, site: Site) -> tuple[RevisionId, RevisionId]:
        first = site.upstream.push({"a.yml": "1", "b.yml": "1"})
        side = site.upstream.rewrite({"a.yml": "1", "b.yml": "2"}, onto=first)
        site.upstream.reset(first)
        return side, site.upstream.push({"a.yml": "2", "b.yml": "1"})

    def test_a_merge_that_only_joins_touched_nothing(self, site: Site) -> None:
        side, main = self.forked(site)
        merge = site.upstream.merge({"a.yml": "2", "b.yml": "2"}, other=side)
        assert touching(site, merge, "a.yml", "b.yml") == {"a.yml": main, "b.yml": side}

    def test_a_merge_that_decides_by_itself_touched_it(self, site: Site) -> None:
        side, main = self.forked(site)
        merge = site.upstream.merge({"a.yml": "2", "b.yml": "3"}, other=side)
        assert touching(site, merge, "a.yml", "b.yml") == {"a.yml": main, "b.yml": merge}

    def test_what_a_merge_discards_touched_nothing(self, site: Site) -> None:
        side, main = self.forked(site)
        merge = site.upstream.merge({"a.yml": "2", "b.yml": "1"}, other=side)
        found = touching(site, merge, "a.yml", "b.yml")
        assert found["a.yml"] == main
        assert found["b.yml"] not in (side, merge)

    def test_a_removal_that_came_by_a_merge_names_whoever_removed(self, site: Site) -> None:
        first = site.upstream.push({"a.yml": "1", "b.yml": "1"})
        side = site.upstream.rewrite({"a.yml": "1"}, onto=first)
        site.upstream.reset(first)
        main = site.upstream.push({"a.yml": "2", "b.yml": "1"})
        merge = site.upstream.merge({"a.yml": "2"}, other=side)
        assert touching(site, merge, "a.yml", "b.yml") == {"a.yml": main, "b.yml": side}

    def test_commits_that_a_merge_brings_in_are_after_what_lay_beside_them(self, site: Site) -> None:
        side, main = self.forked(site)
        merge = site.upstream.merge({"a.yml": "2", "b.yml": "2"}, other=side)
        assert touching(site, merge, "a.yml", "b.yml", after=main) == {"b.yml": side}
        assert touching(site, merge, "a.yml", "b.yml", after=side) == {"a.yml": main}


def test_an_unknown_revision_is_rejected_at_both_ends(site: Site) -> None:
    known = site.upstream.push({"a.yml": "1"})
    site.repository.fetch()
    for revision, after in ((UNKNOWN, None), (UNKNOWN, known), (known, UNKNOWN), (RevisionId("--all"), None)):
        with pytest.raises(SourceRejected):
            site.repository.touched(revision, ["a.yml"], after=after)


def test_a_history_that_cannot_be_read_is_rejected(site: Site) -> None:
    site.upstream.push({"a.yml": "1"})
    broken = site.upstream.push({"a.yml": "2"})
    last = site.upstream.push({"a.yml": "2", "b.yml": "1"})
    site.repository.fetch()
    site.lose(broken, None)
    with pytest.raises(SourceRejected):
        site.repository.touched(last, ["a.yml"])


# --- git alone ------------------------------------------------------------------------------------------------------


@pytest.fixture
def source(tmp_path: Path) -> GitSource:
    return GitSource(tmp_path / "upstream")


@pytest.fixture
def repository(source: GitSource, tmp_path: Path) -> GitRepository:
    return GitRepository(RepositorySettings(url=str(source.path)), tmp_path / "mirror.git")


def test_what_cannot_be_read_is_fetched_again(source: GitSource, repository: GitRepository, tmp_path: Path) -> None:
    first = source.push({"a.yml": "1"})
    lost = source.push({"a.yml": "2"})
    last = source.push({"a.yml": "2", "b.yml": "1"})
    repository.fetch()
    for name in (lost, run_git(source.path, "rev-parse", f"{first}^{{tree}}")):
        lose_objects(tmp_path / "mirror.git", [name])
        with pytest.raises(SourceRejected) as rejected:
            repository.touched(last, ["a.yml", "c.yml"])
        assert rejected.value.remedy
        repository = GitRepository(RepositorySettings(url=str(source.path)), tmp_path / "mirror.git")
        with pytest.raises(SourceRejected):
            repository.touched(last, ["a.yml", "c.yml"])
        repository.fetch()
        assert repository.touched(last, ["a.yml", "c.yml"])["a.yml"].revision == lost


def test_a_shallow_history_is_rejected_since_all_would_look_new_where_it_ends(
    source: GitSource, repository: GitRepository, tmp_path: Path
) -> None:
    source.push({"a.yml": "1"})
    last = source.push({"a.yml": "1", "b.yml": "1"})
    repository.fetch()
    (tmp_path / "mirror.git" / "shallow").write_text(f"{last}\n")
    with pytest.raises(SourceRejected) as rejected:
        repository.touched(last, ["a.yml"])
    assert "delete it" in rejected.value.remedy


@pytest.mark.parametrize("folder", [".", "a/b"])
def test_the_folder_may_lie_anywhere(tmp_path: Path, folder: str) -> None:
    source = GitSource(tmp_path / "upstream", folder=folder)
    first = source.push({"a.yml": "1", "old/ü\n.yml": "1", "1" * 40: "1"})
    last = source.push({"a.yml": "1", "b.yml": "1"})
    repository = GitRepository(RepositorySettings(url=str(source.path), path=folder), tmp_path / "mirror.git")
    repository.fetch()
    found = repository.touched(last, ["a.yml", "b.yml", "old/ü\n.yml", "1" * 40])
    assert {path: commit.revision for path, commit in found.items()} == {
        "a.yml": first,
        "b.yml": last,
        "old/ü\n.yml": last,
        "1" * 40: last,
    }


@pytest.mark.parametrize("seed", range(4))
def test_over_random_histories_it_agrees_with_git_asked_for_each_file_alone(
    source: GitSource, repository: GitRepository, seed: int
) -> None:
    chance = random.Random(seed)
    paths = ["a.yml", "b.yml", "c.yml", "d.yml"]
    known = [source.push({})]
    for _ in range(25):
        source.reset(chance.choice(known))
        files = {path: str(chance.randint(0, 2)) for path in paths if chance.random() < 0.7}
        if chance.random() < 0.4:
            known.append(source.merge(files, other=chance.choice(known)))
        else:
            known.append(source.push(files))
    tip = known[-1]
    repository.fetch()
    expected = {
        path: run_git(source.path, "log", "-1", "--format=%H", tip, "--", f"environments.d/{path}") for path in paths
    }
    found = repository.touched(tip, paths)
    assert {path: commit.revision for path, commit in found.items()} == {
        path: one for path, one in expected.items() if one
    }
