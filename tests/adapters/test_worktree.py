"""A person's own clone, with real repositories: what is committed there, and what is left alone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.adapters.worktree import PUSHES_MAX, Clone, Edit, Published, Snapshot
from reconciler.errors import Conflict, HivequeenError, Refused, Stalled, Transient
from tests.fakes.git_source import FOLDER, GitSource, run_git
from tests.fakes.person import PRODUCTION, Person

CHECKOUT = b"extends: production\nowner: jessica@example.com\n"
NEW = Edit(path="checkout.yml", content=CHECKOUT, before=None)


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def source(tmp_path: Path) -> GitSource:
    source = GitSource(tmp_path / "upstream")
    source.push({"production.yml": PRODUCTION, "staging.yml": "extends: production\nowner: ops\n"})
    return source


@pytest.fixture
def jessica(source: GitSource, tmp_path: Path) -> Person:
    return Person(source, tmp_path / "jessica")


@pytest.fixture
def tomas(source: GitSource, tmp_path: Path) -> Person:
    return Person(source, tmp_path / "tomas", name="Tomas")


def fits(_: Snapshot) -> None: ...


def publish(
    person: Person,
    edit: Edit = NEW,
    *,
    meanwhile: Callable[[], object] = lambda: None,
    message: str = "Launch checkout",
) -> Published:
    clone = Clone(person.directory, FOLDER)
    snapshot = clone.fetch()
    meanwhile()
    return clone.publish(edit, onto=snapshot, message=message, check=fits)


def at_source(source: GitSource, path: str) -> str:
    return run_git(source.path, "show", f"main:{FOLDER}/{path}")


def removal_of(person: Person, path: str) -> Edit:
    return Edit(path=path, content=None, before=Clone(person.directory, FOLDER).fetch().blob(path))


class TestCommitting:
    def test_the_commit_is_the_persons_own_and_holds_the_one_change(self, source: GitSource, jessica: Person) -> None:
        before = source.tip
        published = publish(jessica)
        assert source.tip == published.revision
        told = run_git(source.path, "log", "-1", "--format=%an %ae %cn %ce %s %P")
        assert told == f"Jessica {jessica.email} Jessica {jessica.email} Launch checkout {before}"
        assert run_git(source.path, "diff", "--name-status", before, "main") == f"A\t{FOLDER}/checkout.yml"
        assert at_source(source, "checkout.yml").encode() == CHECKOUT.rstrip()

    def test_a_file_is_changed_or_deleted_likewise(self, source: GitSource, jessica: Person) -> None:
        before = source.tip
        blob = Clone(jessica.directory, FOLDER).fetch().blob("staging.yml")
        publish(jessica, Edit(path="staging.yml", content=b"owner: jessica\n", before=blob))
        publish(jessica, removal_of(jessica, "production.yml"))
        assert run_git(source.path, "diff", "--name-status", before, "main").split() == [
            *("D", f"{FOLDER}/production.yml"),
            *("M", f"{FOLDER}/staging.yml"),
        ]

    def test_what_was_fetched_can_be_read(self, jessica: Person) -> None:
        snapshot = Clone(jessica.directory, FOLDER).fetch()
        assert [entry.path for entry in snapshot.entries] == ["production.yml", "staging.yml"]
        blob = snapshot.blob("production.yml")
        assert blob is not None
        assert snapshot.read([blob]) == {blob: PRODUCTION.encode()}

    @pytest.mark.parametrize("folder", [".", "./environments.d/", "a/b"])
    def test_the_folder_may_lie_anywhere_and_the_person_be_anywhere_in_the_clone(
        self, tmp_path: Path, folder: str
    ) -> None:
        source = GitSource(tmp_path / "other", folder=folder)
        source.push({"production.yml": PRODUCTION, "below/x": "y"})
        person = Person(source, tmp_path / "person")
        inside = next(one.parent for one in person.directory.rglob("x") if ".git" not in one.parts)
        clone = Clone(inside, folder)
        published = clone.publish(NEW, onto=clone.fetch(), message="Launch", check=fits)
        assert source.tip == published.revision == person.head
        assert (person.directory / folder / "checkout.yml").read_bytes() == CHECKOUT

    def test_a_clone_that_signs_its_commits_signs_this_one(
        self, source: GitSource, jessica: Person, tmp_path: Path
    ) -> None:
        from tests.fakes.git_source import make_key  # noqa: PLC0415 - one test needs it

        key = make_key(tmp_path / "keys", "jessica")
        for name, value in {"gpg.format": "ssh", "user.signingKey": str(key), "commit.gpgSign": "true"}.items():
            jessica.git("config", name, value)
        published = publish(jessica)
        assert "gpgsig" in run_git(source.path, "cat-file", "commit", published.revision)

    def test_without_an_identity_nothing_is_committed_and_it_is_said_how_to_have_one(
        self, source: GitSource, jessica: Person
    ) -> None:
        for name in ("user.name", "user.email"):
            jessica.git("config", "--unset", name)
        jessica.git("config", "user.useConfigOnly", "true")
        before = source.tip
        with pytest.raises(Stalled) as stalled:
            publish(jessica)
        assert "git config user.email" in stalled.value.remedy
        assert source.tip == before
        assert Clone(jessica.directory, FOLDER).email is None


class TestRaces:
    def test_a_push_that_loses_a_race_is_made_again_on_top(
        self, source: GitSource, jessica: Person, tomas: Person
    ) -> None:
        rivals: list[str] = []
        checked: list[Snapshot] = []
        clone = Clone(jessica.directory, FOLDER)
        snapshot = clone.fetch()
        rivals.append(tomas.push("ranking.yml", "extends: production\n"))
        published = clone.publish(NEW, onto=snapshot, message="Launch checkout", check=checked.append)
        assert [one.revision for one in checked] == rivals
        assert run_git(source.path, "log", "-1", "--format=%P", "main") == rivals[0]
        assert at_source(source, "ranking.yml") == "extends: production"
        assert published.to_do == "git pull --rebase"

    def test_a_change_that_does_not_fit_what_others_pushed_is_not_made(
        self, source: GitSource, jessica: Person, tomas: Person
    ) -> None:
        clone = Clone(jessica.directory, FOLDER)
        snapshot = clone.fetch()
        rival = tomas.push("production.yml", None)

        def check(_: Snapshot) -> None:
            raise Stalled("its parent is gone")

        with pytest.raises(Stalled, match="its parent is gone"):
            clone.publish(NEW, onto=snapshot, message="Launch checkout", check=check)
        assert source.tip == rival

    def test_a_file_that_somebody_else_changed_meanwhile_is_theirs(
        self, source: GitSource, jessica: Person, tomas: Person
    ) -> None:
        for path, edit in {
            "checkout.yml": NEW,
            "staging.yml": removal_of(jessica, "staging.yml"),
            "production.yml": replace(removal_of(jessica, "production.yml"), content=b"owner: jessica\n"),
        }.items():
            jessica.git("pull", "-q")
            tomas.git("pull", "-q")
            rival: list[str] = []
            with pytest.raises(Conflict) as conflict:
                publish(jessica, edit, meanwhile=lambda path=path, rival=rival: rival.append(tomas.push(path, "x")))  # type: ignore[misc]  # bound at once
            assert f"{FOLDER}/{path}" in conflict.value.message
            assert [source.tip] == rival

    def test_a_race_that_is_lost_again_and_again_ends(self, source: GitSource, jessica: Person, tmp_path: Path) -> None:
        hook = jessica.directory / ".git" / "hooks" / "pre-push"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(
            f"#!/bin/sh\nunset GIT_DIR\nexport GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a\n"
            f'cd "{source.path}" && git update-ref refs/heads/main $(git commit-tree main^{{tree}} -p main -m more)\n'
            f'echo . >>"{tmp_path}/pushes"\n'
        )
        hook.chmod(0o755)
        with pytest.raises(Transient, match="others pushed"):
            publish(jessica)
        assert len((tmp_path / "pushes").read_text().splitlines()) == PUSHES_MAX


class TestWhatIsLeftAlone:
    def dirty(self, person: Person) -> None:
        """Changed, staged, half staged, untracked and removed files."""
        person.file("staging.yml").write_text("staged\n")
        person.git("add", "-A")
        person.file("staging.yml").write_text("staged\nand more\n")
        person.file("untracked.yml").write_text("mine\r\n")
        person.file("production.yml").unlink()
        (person.directory / "notes").write_bytes(b"\x00\xff")
        person.git("add", "notes")

    def test_changed_staged_and_untracked_files_stay_byte_for_byte(self, source: GitSource, jessica: Person) -> None:
        self.dirty(jessica)
        before = jessica.work()
        published = publish(jessica)
        after = dict(jessica.work())
        assert after.pop(f"{FOLDER}/checkout.yml").startswith("33188 ")  # 0100644
        assert after == before
        assert published.to_do == ""
        assert jessica.head == published.revision
        assert run_git(source.path, "diff", "--name-only", "main^", "main") == f"{FOLDER}/checkout.yml"

    def test_the_branch_the_index_and_the_one_file_come_along(self, jessica: Person) -> None:
        published = publish(jessica)
        assert jessica.head == published.revision == jessica.git("rev-parse", "origin/main")
        assert jessica.file("checkout.yml").read_bytes() == CHECKOUT
        assert jessica.git("status", "--porcelain") == ""
        published = publish(jessica, removal_of(jessica, "checkout.yml"), message="Tear down checkout")
        assert published.to_do == ""
        assert not jessica.file("checkout.yml").exists()
        assert jessica.git("status", "--porcelain") == ""

    def test_a_file_of_that_name_that_is_not_committed_stays_and_it_is_said_what_to_run(self, jessica: Person) -> None:
        jessica.file("checkout.yml").write_text("my own draft\n")
        self.dirty(jessica)
        before, head = jessica.work(), jessica.head
        published = publish(jessica)
        assert published.to_do == "git pull --rebase"
        assert (jessica.work(), jessica.head) == (before, head)

    def test_a_file_with_changes_of_the_persons_own_is_not_deleted_under_them(
        self, source: GitSource, jessica: Person
    ) -> None:
        edit = removal_of(jessica, "staging.yml")
        jessica.file("staging.yml").write_text("my own draft\n")
        before = jessica.work()
        published = publish(jessica, edit)
        assert published.to_do == "git pull --rebase"
        assert jessica.work() == before
        assert run_git(source.path, "ls-tree", "--name-only", "main", f"{FOLDER}/") == f"{FOLDER}/production.yml"

    @pytest.mark.parametrize("local", ["ahead", "behind"])
    def test_a_branch_that_is_not_where_upstream_was_stays(
        self, source: GitSource, jessica: Person, tomas: Person, local: str
    ) -> None:
        if local == "ahead":
            jessica.git("commit", "-q", "--allow-empty", "-m", "not pushed")
        else:
            tomas.push("ranking.yml", "extends: production\n")
        before, head = jessica.work(), jessica.head
        published = publish(jessica)
        assert published.to_do == "git pull --rebase"
        assert (jessica.work(), jessica.head) == (before, head)
        assert run_git(source.path, "log", "--format=%s", "main").count("not pushed") == 0

    def test_no_hook_runs_but_the_one_for_pushes(self, jessica: Person, tmp_path: Path) -> None:
        hooks = jessica.directory / ".git" / "hooks"
        hooks.mkdir(exist_ok=True)
        for name in ("pre-commit", "commit-msg", "post-commit", "post-merge", "pre-push", "post-checkout"):
            (hooks / name).write_text(f'#!/bin/sh\necho {name} >>"{tmp_path}/ran"\n')
            (hooks / name).chmod(0o755)
        publish(jessica)
        assert (tmp_path / "ran").read_text().split() == ["pre-push"]

    def test_what_git_exports_to_a_hook_does_not_lead_elsewhere(
        self, source: GitSource, jessica: Person, tomas: Person, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GIT_DIR", str(tomas.directory / ".git"))
        monkeypatch.setenv("GIT_INDEX_FILE", str(tomas.directory / ".git" / "index"))
        before = tomas.work()
        published = publish(jessica)
        assert source.tip == published.revision
        assert tomas.work() == before


class TestRefusals:
    def test_what_a_hook_of_the_repository_says_is_told(self, source: GitSource, jessica: Person) -> None:
        hook = source.path / "hooks" / "pre-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\necho 'environments need a ticket' >&2\nexit 1\n")
        hook.chmod(0o755)
        before, work = source.tip, jessica.work()
        with pytest.raises(Refused) as refused:
            publish(jessica)
        assert "environments need a ticket" in refused.value.message
        assert (source.tip, jessica.work()) == (before, work)

    def test_a_hook_of_the_persons_own_may_refuse_the_push(self, source: GitSource, jessica: Person) -> None:
        hook = jessica.directory / ".git" / "hooks" / "pre-push"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\necho 'not on a Friday' >&2\nexit 1\n")
        hook.chmod(0o755)
        before = source.tip
        with pytest.raises(HivequeenError, match="not on a Friday"):
            publish(jessica)
        assert source.tip == before

    def test_a_repository_that_cannot_be_reached_is_told(self, source: GitSource, jessica: Person) -> None:
        source.path.rename(source.path.with_name("moved.git"))
        with pytest.raises(Transient) as unreachable:
            publish(jessica)
        assert "git fetch origin" in unreachable.value.remedy

    def test_a_branch_that_follows_none_is_told_how_to(self, jessica: Person) -> None:
        jessica.git("checkout", "-q", "--no-track", "-b", "mine")
        with pytest.raises(Stalled) as stalled:
            Clone(jessica.directory, FOLDER)
        assert "mine" in stalled.value.message
        assert "--set-upstream-to" in stalled.value.remedy
        jessica.git("branch", "-q", "--set-upstream-to=main")
        with pytest.raises(Stalled, match="follows no branch of a remote"):
            Clone(jessica.directory, FOLDER)

    def test_another_branch_that_follows_the_same_one_is_as_good(self, source: GitSource, jessica: Person) -> None:
        jessica.git("checkout", "-q", "--track", "-b", "mine", "origin/main")
        published = publish(jessica)
        assert source.tip == published.revision == jessica.head
        assert jessica.git("symbolic-ref", "HEAD") == "refs/heads/mine"
        assert Clone(jessica.directory, FOLDER).branch == "main"

    def test_without_a_branch_checked_out_nothing_is_done(self, jessica: Person) -> None:
        jessica.git("checkout", "-q", "--detach")
        with pytest.raises(Stalled, match="no branch is checked out") as stalled:
            Clone(jessica.directory, FOLDER)
        assert "git switch" in stalled.value.remedy

    def test_a_folder_that_is_no_clone_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        for directory in (tmp_path, tmp_path / "nowhere", tmp_path / "file"):
            with pytest.raises(Stalled) as stalled:
                Clone(directory, FOLDER)
            assert "--repository" in stalled.value.remedy

    @pytest.mark.parametrize("folder", ["/etc", "../x"])
    def test_a_folder_outside_is_refused(self, jessica: Person, folder: str) -> None:
        with pytest.raises(Stalled, match="is not a folder of the repository"):
            Clone(jessica.directory, folder)


def test_the_newest_touch_of_a_file_has_a_time_unless_the_clone_is_shallow(
    source: GitSource, jessica: Person, tomas: Person, tmp_path: Path
) -> None:
    clone = Clone(jessica.directory, FOLDER)
    touched = clone.touched_at(clone.fetch(), "staging.yml")
    assert f"{touched:%s}" == run_git(source.path, "log", "-1", "--format=%ct", "--", f"{FOLDER}/staging.yml")
    tomas.push("ranking.yml", "extends: production\n")
    run_git(tmp_path, "clone", "-q", "--depth=1", f"file://{source.path}", "shallow")
    shallow = Clone(tmp_path / "shallow", FOLDER)
    with pytest.raises(Stalled) as stalled:
        shallow.touched_at(shallow.fetch(), "staging.yml")
    assert "--unshallow" in stalled.value.remedy
