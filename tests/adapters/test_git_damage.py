"""The git adapter when something is broken, unsigned or gone: nothing is concluded from it, and it mends itself."""

import os
import stat
import time
from pathlib import Path

import pytest

from reconciler.adapters.git import APPLIED, TIDY_EVERY_FETCHES, GitRepository
from reconciler.errors import SourceRejected, Stalled, Transient
from reconciler.settings import RepositorySettings
from tests.fakes.git_source import GitSource, explode, lose_objects, make_key, object_file, run_git


@pytest.fixture
def source(tmp_path: Path) -> GitSource:
    return GitSource(tmp_path / "upstream")


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    return tmp_path / "state" / "mirror.git"


def follow(url: Path | str, mirror: Path, **settings: str | Path) -> GitRepository:
    return GitRepository(RepositorySettings(url=str(url), **settings), mirror)  # type: ignore[arg-type]  # by name


def paths(repository: GitRepository) -> list[str]:
    return [entry.path for entry in repository.tree(repository.fetch())]


class TestDamage:
    def test_garbage_in_place_of_a_blob_is_rejected_and_fetched_again(self, source: GitSource, mirror: Path) -> None:
        revision = source.push({"a.yml": "1", "b.yml": "2"})
        repository = follow(source.path, mirror)
        repository.fetch()
        blob = repository.tree(revision)[0].blob
        explode(mirror)
        object_file(mirror, blob).chmod(0o644)
        object_file(mirror, blob).write_bytes(b"garbage")
        with pytest.raises(SourceRejected) as rejected:
            repository.read([blob], limit_bytes=10)
        assert rejected.value.remedy
        assert repository.fetch() == revision
        assert repository.read([blob], limit_bytes=10) == {blob: b"1"}

    def test_a_blob_that_ends_too_early_is_rejected(self, source: GitSource, mirror: Path) -> None:
        revision = source.push({"a.yml": os.urandom(100_000).hex()})
        repository = follow(source.path, mirror)
        repository.fetch()
        (entry,) = repository.tree(revision)
        explode(mirror)
        file = object_file(mirror, entry.blob)
        whole = file.read_bytes()
        file.chmod(0o644)
        file.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(SourceRejected):
            repository.read([entry.blob], limit_bytes=10)
        with pytest.raises(SourceRejected):
            repository.read([entry.blob], limit_bytes=1 << 20)

    @pytest.mark.parametrize("what", ["{tip}^{{tree}}", "{tip}:environments.d"])
    def test_garbage_in_place_of_a_tree_is_rejected_and_fetched_again(
        self, source: GitSource, mirror: Path, what: str
    ) -> None:
        revision = source.push({"a.yml": "1"})
        repository = follow(source.path, mirror)
        repository.fetch()
        tree = run_git(mirror, "rev-parse", what.format(tip=revision))
        explode(mirror)
        object_file(mirror, tree).chmod(0o644)
        object_file(mirror, tree).write_bytes(b"garbage")
        with pytest.raises(SourceRejected):
            repository.tree(revision)
        assert repository.fetch() == revision
        assert [entry.path for entry in repository.tree(revision)] == ["a.yml"]

    @pytest.mark.parametrize("what", ["{tip}^{{tree}}", "{tip}:environments.d", "{tip}:environments.d/a.yml"])
    def test_a_lost_object_comes_back_with_the_next_fetch(self, source: GitSource, mirror: Path, what: str) -> None:
        revision = source.push({"a.yml": "1"})
        repository = follow(source.path, mirror)
        repository.fetch()
        lose_objects(mirror, [run_git(mirror, "rev-parse", what.format(tip=revision))])
        with pytest.raises(SourceRejected):
            repository.tree(revision)
        assert repository.fetch() == revision
        assert [entry.path for entry in repository.tree(revision)] == ["a.yml"]

    def test_a_lost_commit_between_two_others_is_not_taken_for_no(self, source: GitSource, mirror: Path) -> None:
        first, second, third = (source.push({"a.yml": str(number)}) for number in range(3))
        repository = follow(source.path, mirror)
        repository.fetch()
        lose_objects(mirror, [second])
        with pytest.raises(SourceRejected):
            repository.descends(third, first)
        assert not repository.descends(third, second), "it is unknown here now"
        repository.fetch()
        assert repository.descends(third, first)

    def test_a_damaged_source_is_rejected_and_what_was_fetched_stays(self, source: GitSource, mirror: Path) -> None:
        first = source.push({"a.yml": "1"})
        repository = follow(source.path, mirror)
        repository.fetch()
        second = source.push({"a.yml": "2"})
        lose_objects(source.path, [run_git(source.path, "rev-parse", f"{second}:environments.d/a.yml")])
        with pytest.raises(SourceRejected) as rejected:
            repository.fetch()
        assert "fsck" in rejected.value.remedy
        assert [entry.path for entry in repository.tree(first)] == ["a.yml"]

    def test_a_malformed_object_does_not_enter_the_mirror(self, source: GitSource, mirror: Path) -> None:
        source.push({"a.yml": "1"})
        commit = source.clone / "commit"
        tree = run_git(source.clone, "rev-parse", "HEAD^{tree}")
        commit.write_text(f"tree {tree}\nauthor nobody\ncommitter nobody\n\nno dates\n")
        name = run_git(source.clone, "hash-object", "-t", "commit", "-w", "--literally", str(commit))
        run_git(source.clone, "push", "-q", "-f", str(source.path), f"{name}:refs/heads/main")
        with pytest.raises(SourceRejected, match=f"object {name}"):
            follow(source.path, mirror).fetch()

    def test_a_deleted_mirror_is_made_anew(self, source: GitSource, mirror: Path) -> None:
        source.push({"a.yml": "1"})
        repository = follow(source.path, mirror)
        repository.fetch()
        mirror.rename(mirror.with_name("gone"))
        assert paths(repository) == ["a.yml"]

    def test_a_lock_that_a_power_cut_left_does_not_stall_for_ever(self, source: GitSource, mirror: Path) -> None:
        source.push({"a.yml": "1"})
        repository = follow(source.path, mirror)
        repository.fetch()
        source.push({"b.yml": "1"})
        lock = mirror / "refs" / "hivequeen" / "tip.lock"
        lock.touch()
        with pytest.raises(Transient, match="lock"):
            repository.fetch()
        os.utime(lock, (0, time.time() - 3600))
        assert paths(repository) == ["b.yml"]


class TestTheMirror:
    def test_it_is_for_the_daemon_alone(self, source: GitSource, mirror: Path) -> None:
        source.push({"a.yml": "1"})
        follow(source.path, mirror).fetch()
        assert stat.S_IMODE(mirror.stat().st_mode) == 0o700
        assert stat.S_IMODE((mirror / "hivequeen" / "gitconfig").stat().st_mode) == 0o600

    def test_it_holds_one_branch_and_no_tags(self, source: GitSource, mirror: Path) -> None:
        source.push({"a.yml": "1"})
        run_git(source.path, "tag", "v1", "main")
        run_git(source.path, "branch", "other", "main")
        repository = follow(source.path, mirror)
        repository.mark_applied(repository.fetch())
        refs = run_git(mirror, "for-each-ref", "--format=%(refname)").splitlines()
        assert refs == [APPLIED, "refs/hivequeen/tip"]

    def test_the_applied_revision_survives_rewriting_and_collection(self, source: GitSource, mirror: Path) -> None:
        first = source.push({"a.yml": "1"})
        repository = follow(source.path, mirror)
        repository.mark_applied(repository.fetch())
        source.rewrite({"b.yml": "1"})
        source.collect()
        repository.fetch()
        run_git(mirror, "gc", "-q", "--prune=now")
        assert [entry.path for entry in repository.tree(first)] == ["a.yml"]
        assert repository.descends(first, first)

    @pytest.mark.slow
    def test_loose_objects_are_packed_once_in_a_while(self, source: GitSource, mirror: Path) -> None:
        revisions = [source.push({f"{number}.yml": f"{number}" for number in range(2000)}), source.push({"a": "1"})]
        repository = follow(source.path, mirror)
        repository.mark_applied(repository.fetch())
        explode(mirror)
        for turn in range(TIDY_EVERY_FETCHES - 1):  # the first fetch counts too
            run_git(source.path, "update-ref", "refs/heads/main", revisions[turn % 2])
            assert repository.fetch() == revisions[turn % 2]
        assert list((mirror / "objects" / "pack").glob("*.pack"))
        assert len(repository.tree(revisions[0])) == 2000

    def test_a_place_that_cannot_be_written_stalls(self, source: GitSource, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(Stalled, match="cannot be written") as stalled:
            follow(source.path, tmp_path / "file" / "mirror").fetch()
        assert "state directory" in stalled.value.remedy

    def test_other_settings_count_from_the_next_start(self, source: GitSource, mirror: Path, tmp_path: Path) -> None:
        source.push({"a.yml": "1"})
        follow(source.path, mirror).fetch()
        keys = tmp_path / "keys"
        keys.touch()
        with pytest.raises(SourceRejected):
            follow(source.path, mirror, verify_keys=keys).fetch()


class TestSignatures:
    @pytest.fixture
    def keys(self, source: GitSource, tmp_path: Path) -> Path:
        key = make_key(tmp_path, "jessica")
        source.sign_with(key)
        keys = tmp_path / "allowed_signers"
        keys.write_text(f"jessica@example.com {key.with_suffix('.pub').read_text()}")
        return keys

    def test_another_persons_key_is_rejected(self, source: GitSource, mirror: Path, keys: Path, tmp_path: Path) -> None:
        source.sign_with(make_key(tmp_path, "mallory"))
        source.push({"a.yml": "1"}, is_signed=True)
        with pytest.raises(SourceRejected) as rejected:
            follow(source.path, mirror, verify_keys=keys).fetch()
        assert "listed key" in rejected.value.remedy

    def test_a_key_that_is_taken_from_the_list_counts_no_more(
        self, source: GitSource, mirror: Path, keys: Path
    ) -> None:
        source.push({"a.yml": "1"}, is_signed=True)
        repository = follow(source.path, mirror, verify_keys=keys)
        repository.fetch()
        keys.write_text("")
        with pytest.raises(SourceRejected):
            repository.fetch()

    def test_a_signature_moved_to_another_tree_is_rejected(self, source: GitSource, mirror: Path, keys: Path) -> None:
        signed = source.push({"a.yml": "1"}, is_signed=True)
        source.push({"a.yml": "2"})
        other_tree = run_git(source.clone, "rev-parse", "HEAD^{tree}")
        forged = source.clone / "forged"
        text = run_git(source.clone, "cat-file", "commit", signed)
        forged.write_text(text.replace(run_git(source.clone, "rev-parse", f"{signed}^{{tree}}"), other_tree) + "\n")
        name = run_git(source.clone, "hash-object", "-t", "commit", "-w", str(forged))
        run_git(source.clone, "push", "-q", "-f", str(source.path), f"{name}:refs/heads/main")
        with pytest.raises(SourceRejected):
            follow(source.path, mirror, verify_keys=keys).fetch()

    def test_a_list_that_is_not_there_stalls(self, source: GitSource, mirror: Path, tmp_path: Path) -> None:
        source.push({"a.yml": "1"})
        with pytest.raises(Stalled) as stalled:
            follow(source.path, mirror, verify_keys=tmp_path / "absent").fetch()
        assert "verify_keys" in stalled.value.remedy


class TestTrouble:
    def test_a_path_without_a_repository_stalls(self, mirror: Path, tmp_path: Path) -> None:
        with pytest.raises(Stalled) as stalled:
            follow(tmp_path / "nowhere", mirror).fetch()
        assert stalled.value.remedy == "correct repository.url"

    def test_a_repository_that_went_away_is_followed_when_it_is_back(self, source: GitSource, mirror: Path) -> None:
        source.push({"a.yml": "1"})
        repository = follow(source.path, mirror)
        revision = repository.fetch()
        source.path.rename(source.path.with_name("away"))
        with pytest.raises(Stalled):
            repository.fetch()
        assert [entry.path for entry in repository.tree(revision)] == ["a.yml"]
        source.path.with_name("away").rename(source.path)
        assert repository.fetch() == revision

    def test_requests_are_counted_and_a_look_at_an_unchanged_local_one_is_none(
        self, source: GitSource, mirror: Path
    ) -> None:
        counted: list[tuple[str, str, str]] = []
        repository = GitRepository(
            RepositorySettings(url=str(source.path)), mirror, lambda *request: counted.append(request)
        )
        with pytest.raises(Stalled):
            repository.fetch()
        source.push({"a.yml": "1"})
        for _ in range(3):
            repository.fetch()
        assert counted == [("git", "fetch", "refused"), ("git", "fetch", "ok")]

    def test_after_close_nothing_starts_any_more(self, source: GitSource, mirror: Path) -> None:
        source.push({"a.yml": "1"})
        repository = follow(source.path, mirror)
        repository.close()
        with pytest.raises(Transient):
            repository.fetch()
