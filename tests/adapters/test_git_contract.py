"""What every `ports.Repository` does: the one in memory, and git's on a local path and over ssh."""

import threading
from pathlib import Path

import pytest

from reconciler.errors import SourceRejected, Stalled, Transient
from reconciler.model.names import BlobId, RevisionId
from tests.adapters.git_site import KINDS, UNKNOWN, Site, contents, make_site
from tests.fakes.repository import Executable, Submodule, Symlink


@pytest.fixture(params=KINDS)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    return make_site(request.param, tmp_path)


@pytest.fixture(params=KINDS)
def verifying(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    return make_site(request.param, tmp_path, verifies=True)


def test_a_fetch_brings_the_newest_revision_with_everything_below_the_folder(site: Site) -> None:
    pushed = site.upstream.push({"checkout.yml": "owner: jessica\n", "old/b.yml": b"\xff\x00", "a.yml": ""})
    revision = site.repository.fetch()
    assert revision == pushed
    assert [entry.path for entry in site.repository.tree(revision)] == ["a.yml", "checkout.yml", "old/b.yml"]
    assert contents(site.repository, revision) == {
        "a.yml": b"",
        "checkout.yml": b"owner: jessica\n",
        "old/b.yml": b"\xff\x00",
    }


def test_modes_and_sizes_tell_files_links_and_submodules_apart(site: Site) -> None:
    site.upstream.push(
        {"file": "12345", "run": Executable("#!"), "link": Symlink("file"), "other": Submodule("2" * 40)}
    )
    entries = {entry.path: entry for entry in site.repository.tree(site.repository.fetch())}
    assert {path: (entry.mode, entry.size) for path, entry in entries.items()} == {
        "file": ("100644", 5),
        "run": ("100755", 2),
        "link": ("120000", 4),
        "other": ("160000", None),
    }
    assert entries["other"].blob == "2" * 40
    link = entries["link"].blob
    assert site.repository.read([link], limit_bytes=100) == {link: b"file"}


def test_blob_ids_are_gits_own(site: Site) -> None:
    site.upstream.push({"empty": ""})
    (entry,) = site.repository.tree(site.repository.fetch())
    assert entry.blob == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"


def test_an_absent_folder_is_empty(site: Site) -> None:
    site.upstream.push({"a.yml": "a"})
    site.upstream.push({})
    assert site.repository.tree(site.repository.fetch()) == ()


def test_fetching_again_finds_nothing_new_and_a_later_push_is_found(site: Site) -> None:
    first = site.upstream.push({"a.yml": "1"})
    assert [site.repository.fetch(), site.repository.fetch()] == [first, first]
    second = site.upstream.push({"a.yml": "2"})
    assert site.repository.fetch() == second
    assert contents(site.repository, first) == {"a.yml": b"1"}
    assert contents(site.repository, second) == {"a.yml": b"2"}


def test_a_restart_finds_what_was_fetched_before(site: Site) -> None:
    first = site.upstream.push({"a.yml": "1"})
    site.repository.fetch()
    again = site.restarted()
    assert contents(again, first) == {"a.yml": b"1"}
    assert again.fetch() == first


def test_reading_cuts_each_blob_one_byte_beyond_the_limit(site: Site) -> None:
    site.upstream.push({"big": "x" * 300_000, "small": "yy", "same": "yy", "exact": "zzzz"})
    entries = {entry.path: entry.blob for entry in site.repository.tree(site.repository.fetch())}
    blobs = site.repository.read([*entries.values(), *reversed(entries.values())], limit_bytes=4)
    assert {path: blobs[blob] for path, blob in entries.items()} == {
        "big": b"xxxxx",
        "small": b"yy",
        "same": b"yy",
        "exact": b"zzzz",
    }
    assert set(blobs) == set(entries.values())


def test_reading_nothing_is_nothing(site: Site) -> None:
    site.upstream.push({})
    site.repository.fetch()
    assert site.repository.read([], limit_bytes=10) == {}


def test_a_missing_blob_is_never_an_absent_file(site: Site) -> None:
    revision = site.upstream.push({"a.yml": "a", "b.yml": "b"})
    site.repository.fetch()
    blob = site.repository.tree(revision)[0].blob
    site.lose(revision, blob)
    with pytest.raises(SourceRejected):
        site.repository.tree(revision)
    with pytest.raises(SourceRejected):
        site.repository.read([blob], limit_bytes=10)


def test_a_missing_folder_object_is_never_an_empty_folder(site: Site) -> None:
    revision = site.upstream.push({"a.yml": "a"})
    site.repository.fetch()
    site.lose(revision, None)
    with pytest.raises(SourceRejected):
        site.repository.tree(revision)


def test_an_unknown_revision_or_blob_is_rejected(site: Site) -> None:
    known = site.upstream.push({"a.yml": "a"})
    site.repository.fetch()
    for ask in (
        lambda: site.repository.tree(UNKNOWN),
        lambda: site.repository.commit(UNKNOWN),
        lambda: site.repository.mark_applied(UNKNOWN),
        lambda: site.repository.read([BlobId(UNKNOWN)], limit_bytes=10),
        lambda: site.repository.descends(UNKNOWN, known),
    ):
        with pytest.raises(SourceRejected):
            ask()


def test_descent_follows_history(site: Site) -> None:
    first = site.upstream.push({"a.yml": "1"})
    second = site.upstream.push({"a.yml": "2"})
    third = site.upstream.push({"a.yml": "3"})
    site.repository.fetch()
    assert site.repository.descends(third, first)
    assert site.repository.descends(third, second)
    assert site.repository.descends(second, second)
    assert not site.repository.descends(first, third)


def test_an_unknown_ancestor_is_no_ancestor_even_of_itself(site: Site) -> None:
    first = site.upstream.push({"a.yml": "1"})
    site.repository.fetch()
    later = site.upstream.push({"a.yml": "2"})
    assert not site.repository.descends(first, UNKNOWN)
    assert not site.repository.descends(UNKNOWN, UNKNOWN)
    assert not site.repository.descends(later, later), "it was not fetched yet"
    assert not site.repository.descends(first, RevisionId("--help"))


def test_rewritten_history_arrives_and_does_not_descend(site: Site) -> None:
    first = site.upstream.push({"a.yml": "1"})
    second = site.upstream.push({"a.yml": "2"})
    site.repository.fetch()
    site.repository.mark_applied(second)
    rewritten = site.upstream.rewrite({"b.yml": "1"}, onto=first)
    assert site.repository.fetch() == rewritten
    assert not site.repository.descends(rewritten, second)
    assert site.repository.descends(rewritten, first)
    rootless = site.upstream.rewrite({"c.yml": "1"})
    assert site.repository.fetch() == rootless
    assert not site.repository.descends(rootless, first)
    assert contents(site.repository, second) == {"a.yml": b"2"}


def test_a_branch_that_was_set_back_is_followed_back(site: Site) -> None:
    first = site.upstream.push({"a.yml": "1"})
    second = site.upstream.push({"a.yml": "2"})
    site.repository.fetch()
    site.upstream.reset(first)
    assert site.repository.fetch() == first
    assert not site.repository.descends(first, second)


def test_a_commit_says_who_when_and_why(site: Site) -> None:
    author = "Zoë O'Hara <zoe@example.com>"
    revision = site.upstream.push({"a.yml": "1"}, subject='Größer: "a", $(b)', author=author)
    site.repository.fetch()
    commit = site.repository.commit(revision)
    assert (commit.revision, commit.author, commit.subject) == (revision, author, 'Größer: "a", $(b)')
    assert commit.at.tzinfo is not None


def test_a_commits_subject_does_not_steer_terminals(site: Site) -> None:
    revision = site.upstream.push({"a.yml": "1"}, subject="red \x1b[31m")
    site.repository.fetch()
    assert site.repository.commit(revision).subject == "red \N{REPLACEMENT CHARACTER}[31m"


def test_marking_is_repeatable(site: Site) -> None:
    revision = site.upstream.push({"a.yml": "1"})
    site.repository.fetch()
    site.repository.mark_applied(revision)
    site.repository.mark_applied(revision)


def test_an_empty_repository_has_no_branch(site: Site) -> None:
    with pytest.raises(Stalled) as stalled:
        site.repository.fetch()
    assert "repository.branch" in stalled.value.remedy


def test_a_deleted_branch_stalls_and_the_mirror_keeps_its_revisions(site: Site) -> None:
    revision = site.upstream.push({"a.yml": "1"})
    site.repository.fetch()
    site.delete_branch()
    with pytest.raises(Stalled):
        site.repository.fetch()
    assert contents(site.repository, revision) == {"a.yml": b"1"}


@pytest.mark.parametrize("kind", ["memory", "ssh"])
def test_an_unreachable_repository_is_tried_again_and_what_was_fetched_stays_readable(
    kind: str, tmp_path: Path
) -> None:
    site = make_site(kind, tmp_path)
    revision = site.upstream.push({"a.yml": "1"})
    site.repository.fetch()
    site.cut_off()
    with pytest.raises(Transient):
        site.repository.fetch()
    assert contents(site.repository, revision) == {"a.yml": b"1"}


def test_only_a_signed_tip_is_accepted_and_what_lies_below_it_needs_no_signature(verifying: Site) -> None:
    verifying.upstream.push({"a.yml": "1"})
    for _ in range(2):
        with pytest.raises(SourceRejected):
            verifying.repository.fetch()
    signed = verifying.upstream.push({"a.yml": "2"}, is_signed=True)
    assert [verifying.repository.fetch(), verifying.repository.fetch()] == [signed, signed]
    verifying.upstream.push({"a.yml": "3"})
    with pytest.raises(SourceRejected):
        verifying.repository.fetch()
    assert contents(verifying.repository, signed) == {"a.yml": b"2"}


def test_many_threads_may_ask_at_once(site: Site) -> None:
    first = site.upstream.push({"a.yml": "1"})
    second = site.upstream.push({"a.yml": "2"})
    site.repository.fetch()
    wrong: list[object] = []

    def ask() -> None:
        for _ in range(5):
            answers = (
                site.repository.fetch(),
                site.repository.descends(second, first),
                contents(site.repository, first),
                site.repository.commit(second).revision,
            )
            if answers != (second, True, {"a.yml": b"1"}, second):
                wrong.append(answers)
            site.repository.mark_applied(second)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
    assert not any(thread.is_alive() for thread in threads)
