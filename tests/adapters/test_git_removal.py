"""A file that the daemon removes by a commit: one contract for the repository in memory and git's, then git alone."""

import os
from pathlib import Path

import pytest

from reconciler.adapters.git import GitRepository
from reconciler.errors import Conflict, Denied, Refused, Transient
from reconciler.model.names import RevisionId
from reconciler.settings import RepositorySettings
from tests.adapters.git_site import KINDS, Site, contents, make_site
from tests.fakes.git_source import GitSource, run_git

MESSAGE = "Remove checkout\n\nIts time is over."


@pytest.fixture(params=KINDS)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    return make_site(request.param, tmp_path)


def test_a_removal_is_a_commit_on_top_of_the_branch_that_changes_nothing_else(site: Site) -> None:
    before = site.upstream.push({"checkout.yml": "1", "old/checkout.yml": "2", "other.yml": "3"})
    site.repository.fetch()
    removed = site.repository.remove("checkout.yml", onto=before, message=MESSAGE)
    assert site.repository.fetch() == removed
    assert site.repository.descends(removed, before)
    assert contents(site.repository, removed) == {"old/checkout.yml": b"2", "other.yml": b"3"}
    commit = site.repository.commit(removed)
    assert (commit.author, commit.subject) == ("Hivequeen <hivequeen@localhost>", "Remove checkout")
    assert site.repository.touched(removed, ["checkout.yml"])["checkout.yml"] == commit


def test_the_last_file_may_be_removed_and_one_in_a_folder_below(site: Site) -> None:
    before = site.upstream.push({"checkout.yml": "1", "old/checkout.yml": "2"})
    site.repository.fetch()
    for path in ("old/checkout.yml", "checkout.yml"):
        before = site.repository.remove(path, onto=before, message=MESSAGE)
    assert site.repository.tree(site.repository.fetch()) == ()


@pytest.mark.parametrize("change", [{"checkout.yml": "2"}, {"checkout.yml": "1", "child.yml": "2"}, {"other.yml": "1"}])
def test_what_somebody_pushed_meanwhile_is_to_be_read_first(site: Site, change: dict[str, str]) -> None:
    before = site.upstream.push({"checkout.yml": "1"})
    site.repository.fetch()
    newer = site.upstream.push(change)
    with pytest.raises(Conflict):
        site.repository.remove("checkout.yml", onto=before, message=MESSAGE)
    assert site.repository.fetch() == newer


@pytest.mark.parametrize("kind", KINDS)
def test_where_commits_must_be_signed_nothing_is_removed(kind: str, tmp_path: Path) -> None:
    site = make_site(kind, tmp_path, verifies=True)
    signed = site.upstream.push({"checkout.yml": "1"}, is_signed=True)
    site.repository.fetch()
    with pytest.raises(Refused) as refused:
        site.repository.remove("checkout.yml", onto=signed, message=MESSAGE)
    assert refused.value.remedy
    assert site.repository.fetch() == signed


@pytest.mark.parametrize("kind", ["memory", "ssh"])
def test_nothing_is_concluded_from_a_repository_that_cannot_be_reached(kind: str, tmp_path: Path) -> None:
    site = make_site(kind, tmp_path)
    before = site.upstream.push({"checkout.yml": "1"})
    site.repository.fetch()
    site.cut_off()
    with pytest.raises(Transient):
        site.repository.remove("checkout.yml", onto=before, message=MESSAGE)


# --- git alone ------------------------------------------------------------------------------------------------------


class Remote:
    """A repository behind an ssh that runs `before push` (a script, if there is one) before it lets a push in."""

    def __init__(self, directory: Path) -> None:
        self.source = GitSource(directory / "upstream")
        self.before_push = directory / "before push"
        self.pushes = directory / "pushes"
        programs = directory / "bin"
        programs.mkdir()
        (programs / "ssh").write_text(
            "#!/bin/sh\n"
            "unset GIT_CONFIG_GLOBAL\n"  # the other side has settings of its own
            'for last in "$@"; do :; done\n'
            f'case "$last" in *receive-pack*) echo . >>"{self.pushes}"; '
            f'if [ -e "{self.before_push}" ]; then . "{self.before_push}"; fi;; esac\n'
            'exec sh -c "$last"\n'
        )
        (programs / "ssh").chmod(0o755)
        self.mirror = directory / "mirror.git"
        self.repository = GitRepository(
            RepositorySettings(url=f"ssh://git@example.com{self.source.path}"),
            self.mirror,
            inherited={"PATH": f"{programs}:{os.environ['PATH']}"},
            identity="Demo's queen <queen@demo>",
        )

    def pushed(self, text: str) -> str:
        """A revision that adds one more file, already in the repository, but not on the branch."""
        tip = self.source.tip
        made = self.source.push({"checkout.yml": "1", "other.yml": text})
        self.source.reset(tip)
        return made

    def hook(self, name: str, script: str) -> None:
        hooks = self.source.path / "hooks"
        hooks.mkdir(exist_ok=True)
        (hooks / name).write_text(f"#!/bin/sh\n{script}\n")
        (hooks / name).chmod(0o755)

    def remove(self) -> RevisionId:
        return self.repository.remove("checkout.yml", onto=self.repository.fetch(), message=MESSAGE)


@pytest.fixture
def remote(tmp_path: Path) -> Remote:
    remote = Remote(tmp_path)
    remote.source.push({"checkout.yml": "1"})
    return remote


def test_whose_commit_it_is_is_set(remote: Remote) -> None:
    removed = remote.remove()
    author = run_git(remote.source.path, "log", "-1", "--format=%an <%ae> %cn <%ce>", removed)
    assert author == "Demo's queen <queen@demo> Demo's queen <queen@demo>"
    assert run_git(remote.source.path, "log", "-1", "--format=%B", removed).strip() == MESSAGE


def test_a_push_that_loses_a_race_at_the_last_moment_is_not_forced(remote: Remote) -> None:
    rival = remote.pushed("2")
    remote.before_push.write_text(f'git --git-dir="{remote.source.path}" update-ref refs/heads/main {rival}\n')
    with pytest.raises(Conflict):
        remote.remove()
    assert remote.source.tip == rival
    assert len(remote.pushes.read_text().splitlines()) == 1


def test_a_branch_that_was_set_back_meanwhile_is_not_brought_forward_again(tmp_path: Path) -> None:
    remote = Remote(tmp_path)
    first = remote.source.push({"checkout.yml": "1"})
    remote.source.push({"checkout.yml": "1", "withdrawn.yml": "2"})
    remote.before_push.write_text(f'git --git-dir="{remote.source.path}" update-ref refs/heads/main {first}\n')
    with pytest.raises(Conflict):
        remote.remove()
    assert remote.source.tip == first


def test_what_a_hook_says_is_told(remote: Remote) -> None:
    remote.hook("pre-receive", "echo 'commits need a ticket' >&2; exit 1")
    before = remote.source.tip
    with pytest.raises(Refused) as refused:
        remote.remove()
    assert "pre-receive hook declined" in refused.value.message
    assert "commits need a ticket" in refused.value.message
    assert "main" in refused.value.remedy
    assert remote.source.tip == before


def test_a_key_that_may_only_read_is_denied_with_the_setting_to_mend(remote: Remote) -> None:
    remote.before_push.write_text("echo 'ERROR: The key you are using is marked as read only.' >&2; exit 1\n")
    with pytest.raises(Denied) as denied:
        remote.remove()
    assert "read only" in denied.value.message
    assert "repository.ssh_key" in denied.value.remedy


def test_a_connection_that_breaks_leaves_the_outcome_unknown(remote: Remote) -> None:
    remote.before_push.write_text("echo 'ssh: connect: Connection refused' >&2; exit 255\n")
    with pytest.raises(Transient, match="Connection refused"):
        remote.remove()


def test_a_push_whose_answer_was_lost_is_found_done(remote: Remote) -> None:
    tip = remote.repository.fetch()
    remote.hook("reference-transaction", 'if [ "$1" = committed ]; then kill -9 $PPID; fi')
    with pytest.raises(Transient):
        remote.repository.remove("checkout.yml", onto=tip, message=MESSAGE)
    done = remote.source.tip
    assert done != tip
    assert remote.repository.fetch() == done


def test_a_checked_out_branch_is_not_pushed_to(tmp_path: Path) -> None:
    source = GitSource(tmp_path / "upstream")
    source.push({"checkout.yml": "1"})
    repository = GitRepository(RepositorySettings(url=str(source.clone)), tmp_path / "mirror.git")
    tip = repository.fetch()
    with pytest.raises(Refused, match="checked out"):
        repository.remove("checkout.yml", onto=tip, message=MESSAGE)
    assert (source.clone / "environments.d" / "checkout.yml").read_text() == "1"


def test_hooks_and_commands_of_a_repository_on_this_machine_are_not_run(tmp_path: Path) -> None:
    source = GitSource(tmp_path / "upstream")
    source.push({"checkout.yml": "1"})
    ran = tmp_path / "ran"
    hooks = source.path / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in (
        *("pre-receive", "update", "post-receive", "post-update", "reference-transaction"),
        *("push-to-checkout", "pre-auto-gc", "command"),
    ):
        (hooks / name).write_text(f'#!/bin/sh\necho "$0" >> {ran}\nexit 1\n')
        (hooks / name).chmod(0o755)
    other = GitSource(tmp_path / "other")
    other.push({"x.yml": "1"})
    (source.path / "objects" / "info").mkdir(exist_ok=True)
    (source.path / "objects" / "info" / "alternates").write_text(f"{other.path}/objects\n")
    for key, value in {
        "core.hooksPath": str(hooks),
        "core.alternateRefsCommand": str(hooks / "command"),
        "core.fsmonitor": str(hooks / "command"),
        "gc.auto": "1",
    }.items():
        run_git(source.path, "config", key, value)
    repository = GitRepository(RepositorySettings(url=str(source.path)), tmp_path / "mirror.git")
    tip = repository.fetch()
    assert repository.remove("checkout.yml", onto=tip, message=MESSAGE) == source.tip
    assert not ran.exists(), ran.read_text()


def test_nothing_is_left_behind_in_the_mirror(remote: Remote) -> None:
    remote.remove()
    assert [file.name for file in (remote.mirror / "hivequeen").iterdir()] == ["gitconfig"]
