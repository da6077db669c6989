"""The git adapter on real repositories: names, shapes, and what git must not do on somebody else's behalf."""

import os
from pathlib import Path

import pytest

from reconciler.adapters.git import GitRepository
from reconciler.errors import SourceRejected, Stalled
from reconciler.model.names import RevisionId
from reconciler.settings import RepositorySettings
from tests.fakes.git_source import GitSource, run_git
from tests.fakes.repository import Content, Submodule, Symlink


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


class TestNames:
    @pytest.mark.parametrize(
        "name",
        [
            "with space.yml",
            "it's.yml",
            'quo"ted.yml',
            "--help",
            "-rf",
            "größe-日本.yml",
            "tab\tand\nnewline",
            "back\\slash",
            ":(top)x",
            "*",
        ],
    )
    def test_a_files_name_is_only_a_name(self, source: GitSource, mirror: Path, name: str) -> None:
        source.push({name: "x", "other": "y"})
        assert paths(follow(source.path, mirror)) == sorted([name, "other"])

    def test_a_name_that_is_not_utf8_is_shown_escaped(self, source: GitSource, mirror: Path) -> None:
        source.push({os.fsdecode(b"\xff.yml"): "x"})
        assert paths(follow(source.path, mirror)) == ["\\xff.yml"]

    @pytest.mark.parametrize("branch", ["feature/a-b", "-x", "größe", "it's", "a#b"])
    def test_any_branch_that_git_allows_is_followed(self, tmp_path: Path, mirror: Path, branch: str) -> None:
        source = GitSource(tmp_path / "upstream", branch=branch)
        first = source.push({"a": "1"})
        repository = follow(source.path, mirror, branch=branch)
        assert repository.fetch() == first
        second = source.push({"a": "2"})
        assert repository.fetch() == second
        run_git(source.path, "pack-refs", "--all")
        assert repository.fetch() == second

    @pytest.mark.parametrize(
        "branch", ["", "a b", "a..b", "a:b", "*", "main:refs/heads/x", "x\nurl = y", "@{-1}", "a~1"]
    )
    def test_any_other_branch_stalls(self, source: GitSource, mirror: Path, branch: str) -> None:
        source.push({"a": "1"})
        with pytest.raises(Stalled) as stalled:
            follow(source.path, mirror, branch=branch).fetch()
        assert stalled.value.remedy == "correct repository.branch"

    @pytest.mark.parametrize("folder", ["with space", ":(top)", "-r", "a/b/c", "ü", "."])
    def test_any_folder_is_watched(self, tmp_path: Path, mirror: Path, folder: str) -> None:
        source = GitSource(tmp_path / "upstream", folder=folder)
        source.push({"a.yml": "1", "old/b.yml": "2"})
        assert paths(follow(source.path, mirror, path=folder)) == ["a.yml", "old/b.yml"]

    def test_a_folder_whose_name_only_begins_alike_is_another_one(self, tmp_path: Path, mirror: Path) -> None:
        source = GitSource(tmp_path / "upstream", folder=".")
        source.push({"environments.d/a.yml": "1", "environments.d.old/b.yml": "2", "environments": "3"})
        assert paths(follow(source.path, mirror)) == ["a.yml"]

    @pytest.mark.parametrize("folder", ["../x", "/etc", "a/../../b"])
    def test_a_folder_outside_the_repository_stalls(self, source: GitSource, mirror: Path, folder: str) -> None:
        with pytest.raises(Stalled, match=r"repository\.path"):
            follow(source.path, mirror, path=folder).fetch()

    @pytest.mark.parametrize("name", ["with space", "it's", 'a"b', "back\\slash", "ha#sh;x", "%h", "a:b", "ü"])
    def test_a_repository_may_lie_anywhere(self, tmp_path: Path, mirror: Path, name: str) -> None:
        source = GitSource(tmp_path / name)
        source.push({"a.yml": "1"})
        assert paths(follow(source.path, mirror)) == ["a.yml"]


class TestShapes:
    def test_one_with_a_work_tree(self, source: GitSource, mirror: Path) -> None:
        source.push({"a.yml": "1"})
        (source.clone / "environments.d" / "uncommitted.yml").write_text("not read")
        repository = follow(source.clone, mirror)
        assert paths(repository) == ["a.yml"]
        source.push({"b.yml": "2"})
        assert paths(repository) == ["b.yml"]

    def test_a_linked_work_tree(self, source: GitSource, mirror: Path, tmp_path: Path) -> None:
        source.push({"a.yml": "1"})
        run_git(source.clone, "worktree", "add", "-q", str(tmp_path / "linked"), "-b", "side")
        repository = follow(tmp_path / "linked", mirror)
        assert paths(repository) == ["a.yml"]
        source.push({"b.yml": "2"})
        assert paths(repository) == ["b.yml"]

    def test_packed_refs_and_a_branch_that_points_to_another(self, source: GitSource, mirror: Path) -> None:
        repository = follow(source.path, mirror)
        source.push({"a.yml": "1"})
        run_git(source.path, "pack-refs", "--all", "--prune")
        assert paths(repository) == ["a.yml"]
        run_git(source.path, "branch", "-m", "main", "other")
        run_git(source.path, "symbolic-ref", "refs/heads/main", "refs/heads/other")
        source.branch = "other"
        source.push({"b.yml": "2"})
        assert paths(repository) == ["b.yml"]

    def test_a_shallow_clone_stalls_because_descent_cannot_be_told(
        self, source: GitSource, mirror: Path, tmp_path: Path
    ) -> None:
        source.push({"a.yml": "1"})
        repository = follow(tmp_path / "shallow.git", mirror)
        run_git(tmp_path, "clone", "-q", "--bare", str(source.path), "shallow.git")
        kept = repository.fetch()
        source.push({"a.yml": "2"})
        run_git(tmp_path, "clone", "-q", "--bare", "--depth=1", f"file://{source.path}", "new.git")
        (tmp_path / "shallow.git").rename(tmp_path / "old.git")
        (tmp_path / "new.git").rename(tmp_path / "shallow.git")
        with pytest.raises(Stalled, match="shallow"):
            repository.fetch()
        assert [entry.path for entry in repository.tree(kept)] == ["a.yml"]

    @pytest.mark.parametrize("stands_there", ["file", Symlink("elsewhere"), Submodule("2" * 40)])
    @pytest.mark.parametrize("folder", ["environments.d", "environments.d/below"])
    def test_something_else_in_place_of_the_folder_is_not_an_empty_folder(
        self, tmp_path: Path, mirror: Path, stands_there: Content, folder: str
    ) -> None:
        source = GitSource(tmp_path / "upstream", folder=".")
        source.push({"environments.d": stands_there, "elsewhere/a.yml": "1"})
        repository = follow(source.path, mirror, path=folder)
        revision = repository.fetch()
        with pytest.raises(SourceRejected, match="not a folder") as rejected:
            repository.tree(revision)
        assert "repository.path" in rejected.value.remedy


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a repository to another user")
class TestAnotherUsersRepository:
    NOBODY = 65534

    def give_away(self, *tops: Path) -> None:
        for top in tops:
            for at in (top, *top.rglob("*")):
                os.chown(at, self.NOBODY, self.NOBODY, follow_symlinks=False)

    def test_a_bare_one_is_followed(self, source: GitSource, mirror: Path) -> None:
        source.push({"a.yml": "1"})
        self.give_away(source.path)
        assert paths(follow(source.path, mirror)) == ["a.yml"]

    def test_one_with_a_work_tree_is_followed(self, source: GitSource, mirror: Path) -> None:
        source.push({"a.yml": "1"})
        self.give_away(source.clone)
        assert paths(follow(source.clone, mirror)) == ["a.yml"]
        assert paths(follow(source.clone / ".git", mirror.with_name("other"))) == ["a.yml"]

    def test_a_linked_work_tree_is_followed(self, source: GitSource, mirror: Path, tmp_path: Path) -> None:
        source.push({"a.yml": "1"})
        run_git(source.clone, "worktree", "add", "-q", str(tmp_path / "linked"), "-b", "side")
        self.give_away(source.clone, tmp_path / "linked")
        assert paths(follow(tmp_path / "linked", mirror)) == ["a.yml"]

    def test_it_is_followed_on_through_a_symlink(self, source: GitSource, mirror: Path, tmp_path: Path) -> None:
        source.push({"a.yml": "1"})
        self.give_away(source.path)
        (tmp_path / "link.git").symlink_to(source.path)
        assert paths(follow(f"{tmp_path}/link.git/", mirror)) == ["a.yml"]

    def test_no_other_repository_is_trusted(self, source: GitSource, mirror: Path, tmp_path: Path) -> None:
        source.push({"a.yml": "1"})
        other = GitSource(tmp_path / "foreign")
        other.push({"b.yml": "1"})
        self.give_away(other.path)
        follow(source.path, mirror).fetch()
        configured = (mirror / "hivequeen" / "gitconfig").read_text()
        assert str(other.path) not in configured
        # Git finds `envs.git` where `envs` is asked for: another path than the configured one.
        with pytest.raises(Stalled) as stalled:
            follow(other.path.with_suffix(""), mirror).fetch()
        assert "full path" in stalled.value.remedy

    def test_a_mirror_of_another_user_is_left_alone(self, source: GitSource, mirror: Path) -> None:
        source.push({"a.yml": "1"})
        follow(source.path, mirror).fetch()
        self.give_away(mirror)
        with pytest.raises(Stalled, match=f"belongs to uid {self.NOBODY}"):
            follow(source.path, mirror).fetch()


class TestNothingRuns:
    def test_hooks_and_commands_of_the_source_are_not_run(
        self, source: GitSource, mirror: Path, tmp_path: Path
    ) -> None:
        source.push({"a.yml": "1"})
        ran = tmp_path / "ran"
        script = f'#!/bin/sh\necho "$0" >> {ran}\n'
        hooks = source.path / "hooks"
        hooks.mkdir(exist_ok=True)
        for name in (
            *("reference-transaction", "post-upload-pack", "pre-upload-pack", "post-update", "post-checkout", "update"),
            *("fsmonitor-watchman", "pre-auto-gc", "post-index-change", "proc-receive", "pre-receive", "command"),
        ):
            (hooks / name).write_text(script)
            (hooks / name).chmod(0o755)
        for key, value in {
            "core.hooksPath": str(hooks),
            "core.fsmonitor": str(hooks / "command"),
            "core.sshCommand": str(hooks / "command"),
            "core.alternateRefsCommand": str(hooks / "command"),
            "core.gitProxy": str(hooks / "command"),
            "core.pager": str(hooks / "command"),
            "uploadpack.packObjectsHook": str(hooks / "command"),
            "extensions.partialClone": "evil",
            "remote.evil.url": f"ext::{hooks / 'command'}",
            "remote.evil.promisor": "true",
            "remote.evil.uploadpack": str(hooks / "command"),
        }.items():
            run_git(source.path, "config", key, value)
        repository = follow(source.path, mirror)
        revision = repository.fetch()
        assert [entry.path for entry in repository.tree(revision)] == ["a.yml"]
        repository.commit(revision)
        repository.mark_applied(revision)
        repository.fetch()
        assert not ran.exists(), ran.read_text()

    def test_hooks_in_the_mirror_are_not_run(self, source: GitSource, mirror: Path, tmp_path: Path) -> None:
        source.push({"a.yml": "1"})
        repository = follow(source.path, mirror)
        repository.fetch()
        (mirror / "hooks").mkdir()
        (mirror / "hooks" / "reference-transaction").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        (mirror / "hooks" / "reference-transaction").chmod(0o755)
        repository.mark_applied(source.push({"a.yml": "2"}) and repository.fetch())
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize(
        "url",
        [
            "ext::sh -c touch% {ran}",
            "fd::17",
            "http://127.0.0.1/x.git",
            "git://127.0.0.1/x.git",
            "ftp://127.0.0.1/x.git",
            "file:///srv/x.git",
            "testgit::/x",
            "ssh://-oProxyCommand=touch% {ran}/x",
            "https://-x/y",
            "-oProxyCommand=touch ran:x",
            "git@-oProxyCommand=touch:x",
            "git@host::x",
            "host:x",
            "--upload-pack=touch ran:x",
            "",
            "https://example.com/a\nb",
        ],
    )
    def test_any_other_kind_of_address_is_refused(self, tmp_path: Path, mirror: Path, url: str) -> None:
        ran = tmp_path / "ran"
        with pytest.raises(Stalled, match="not a supported address") as stalled:
            follow(url.format(ran=ran), mirror).fetch()
        assert "repository.url" in stalled.value.remedy
        assert not ran.exists()

    @pytest.mark.parametrize("url", ["--upload-pack=touch ran", "-x", "--upload-pack=touch /elsewhere/ran:x"])
    def test_a_relative_path_is_never_an_option(self, mirror: Path, url: str) -> None:
        with pytest.raises(Stalled, match="not appear to be a git repository"):
            follow(url, mirror).fetch()

    def test_nothing_of_the_users_git_settings_takes_part(
        self, source: GitSource, mirror: Path, tmp_path: Path
    ) -> None:
        source.push({"a.yml": "1"})
        (tmp_path / ".gitconfig").write_text(f'[url "/nowhere"]\n\tinsteadOf = {source.path}\n')
        repository = GitRepository(
            RepositorySettings(url=str(source.path)),
            mirror,
            inherited={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "GIT_CONFIG_GLOBAL": str(tmp_path / ".gitconfig"),
                "GIT_DIR": "/nowhere",
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "url./nowhere.insteadOf",
                "GIT_CONFIG_VALUE_0": str(source.path),
                "GIT_TRACE": str(tmp_path / "trace"),
            },
        )
        assert paths(repository) == ["a.yml"]
        assert not (tmp_path / "trace").exists()


def test_ids_that_git_could_take_for_options_are_refused(source: GitSource, mirror: Path) -> None:
    known = source.push({"a.yml": "1"})
    repository = follow(source.path, mirror)
    repository.fetch()
    for name in ("--help", "HEAD", known[:8], f"{known}^", "refs/hivequeen/tip", ""):
        with pytest.raises(SourceRejected):
            repository.tree(RevisionId(name))
        with pytest.raises(SourceRejected):
            repository.descends(RevisionId(name), known)


def test_a_commit_from_beyond_the_calendar_has_a_date(source: GitSource, mirror: Path) -> None:
    source.push({"a.yml": "1"})
    late = source.clone / "late"
    tree = run_git(source.clone, "rev-parse", "HEAD^{tree}")
    late.write_text(
        f"tree {tree}\nauthor A <a@b> 99999999999999 +0000\ncommitter A <a@b> 99999999999999 +0000\n\nlate\n"
    )
    name = run_git(source.clone, "hash-object", "-t", "commit", "-w", str(late))
    run_git(source.clone, "push", "-q", "-f", str(source.path), f"{name}:refs/heads/main")
    repository = follow(source.path, mirror)
    assert repository.commit(repository.fetch()).at.year == 9999
