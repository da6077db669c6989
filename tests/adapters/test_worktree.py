"""A person's own clone, with real repositories: what is committed there, and what is left alone."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reconciler.adapters.worktree import PUSHES_MAX, Clone, Edit, Published, Snapshot
from reconciler.errors import Conflict, HivequeenError, Refused, Stalled, Transient
from tests.fakes.git_source import FOLDER, GitSource, make_key, run_git
from tests.fakes.person import PRODUCTION, Person

CHECKOUT = b"extends: production\nowner: jessica@example.com\n"
NEW = Edit(path="checkout.yml", content=CHECKOUT, before=None)

# What people have in their settings, and what stands in the way of programs that read git's output.
HOSTILE = """
log.showSignature=true log.date=relative log.follow=true format.pretty=fuller i18n.logOutputEncoding=UTF-16
color.ui=always color.advice=always color.push=always color.remote=always color.transport=always
core.pager=false core.quotePath=true column.ui=always diff.noprefix=true diff.external=false diff.renames=copies
merge.ff=false pull.rebase=true push.default=nothing push.followTags=true rerere.enabled=true
fetch.prune=true fetch.recurseSubmodules=true submodule.recurse=true commit.template=/nonexistent
"""


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

    def test_a_file_that_may_be_executed_still_may(self, source: GitSource, jessica: Person) -> None:
        jessica.file("staging.yml").chmod(0o755)
        jessica.push("staging.yml", "extends: production\n")
        blob = Clone(jessica.directory, FOLDER).fetch().blob("staging.yml")
        publish(jessica, Edit(path="staging.yml", content=b"owner: jessica\n", before=blob))
        assert run_git(source.path, "ls-tree", "main", f"{FOLDER}/staging.yml").startswith("100755 ")

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


class TestInterruption:
    """By a hook that ends everything at the terminal, as Ctrl-C does."""

    CTRL_C = "kill -INT -$(ps -o sid= -p $$ | tr -d ' ')"

    def told(self, person: Person) -> tuple[str, str]:
        script = (
            "import sys; from pathlib import Path\n"
            "from reconciler.adapters.worktree import Clone, Edit\n"
            "from reconciler.errors import Interrupted\n"
            f"clone = Clone(Path({str(person.directory)!r}), {FOLDER!r})\n"
            f"edit = Edit(path='checkout.yml', content={CHECKOUT!r}, before=None)\n"
            "try:\n"
            "    clone.publish(edit, onto=clone.fetch(), message='Launch', check=lambda _: None)\n"
            "except Interrupted as interrupted:\n"
            "    print(interrupted.message); print(interrupted.remedy)\n"
        )
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, start_new_session=True, capture_output=True, text=True, check=True, timeout=60)
        message, remedy = done.stdout.splitlines()
        return message, remedy

    @pytest.mark.parametrize("hook", ["pre-receive", "post-receive"])
    def test_of_a_push_leaves_a_doubt_and_it_is_said_how_to_know(
        self, source: GitSource, jessica: Person, hook: str
    ) -> None:
        before, at = source.tip, source.path / "hooks" / hook
        at.parent.mkdir()
        at.write_text(f"#!/bin/sh\n{self.CTRL_C}\n")
        at.chmod(0o755)
        message, remedy = self.told(jessica)
        assert "interrupted while it was pushed" in message
        assert "may or may not be on origin/main" in message
        look = remedy.partition(" names ")[0]
        seen = subprocess.run(look, shell=True, cwd=jessica.directory, check=True, capture_output=True, text=True)
        assert ("origin/main" in seen.stdout) is (source.tip != before) is (hook == "post-receive")

    def test_while_the_branch_comes_along_tells_that_the_commit_is_there(
        self, source: GitSource, jessica: Person
    ) -> None:
        jessica.git("config", "filter.slow.smudge", f"{self.CTRL_C}; cat")
        (jessica.directory / ".git" / "info").mkdir(exist_ok=True)
        (jessica.directory / ".git" / "info" / "attributes").write_text("checkout.yml filter=slow\n")
        message, remedy = self.told(jessica)
        assert f"{source.tip[:8]} is on origin/main" in message
        assert remedy == "git pull --rebase"


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

    @pytest.mark.parametrize("rivals", [(), ("ranking.yml",)])
    def test_a_file_that_git_is_told_to_ignore_is_not_replaced_and_what_to_run_does_not_replace_it_either(
        self, source: GitSource, jessica: Person, tomas: Person, rivals: Sequence[str]
    ) -> None:
        for path in rivals:
            tomas.push(path, "extends: production\n")
        (jessica.directory / ".git" / "info").mkdir(exist_ok=True)
        (jessica.directory / ".git" / "info" / "exclude").write_text("checkout.yml\n")
        jessica.file("checkout.yml").write_text("my own draft\n")
        published = publish(jessica)
        assert jessica.file("checkout.yml").read_text() == "my own draft\n"
        assert source.tip == published.revision != jessica.head
        subprocess.run(published.to_do, shell=True, cwd=jessica.directory, check=True, capture_output=True)
        assert jessica.file("checkout.yml.mine").read_text() == "my own draft\n"
        assert jessica.head == source.tip

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


class TestSettingsOfThePerson:
    """However git is set up, what is committed, told and left alone is the same."""

    @pytest.fixture
    def hostile(self, jessica: Person, tmp_path: Path) -> Person:
        jessica.git("config", "gpg.format", "ssh")
        jessica.git("config", "user.signingKey", str(make_key(tmp_path / "keys", "jessica")))
        jessica.git("commit", "-q", "-S", "--allow-empty", "-m", "Signed")
        jessica.push("staging.yml", "extends: production\nowner: größe\n")
        for setting in HOSTILE.split():
            jessica.git("config", *setting.split("=", 1))
        jessica.git("config", "branch.main.mergeOptions", "--no-ff --squash --autostash")
        return jessica

    def test_the_commit_is_made_and_comes_along(self, source: GitSource, hostile: Person) -> None:
        clone = Clone(hostile.directory, FOLDER)
        snapshot = clone.fetch()
        told = run_git(source.path, "log", "-1", "--format=%ct", "--", f"{FOLDER}/staging.yml")
        assert f"{clone.touched_at(snapshot, 'staging.yml'):%s}" == told
        published = clone.publish(NEW, onto=snapshot, message="Launch checkout", check=fits)
        assert source.tip == published.revision == hostile.head
        assert published.to_do == ""
        assert run_git(source.path, "diff", "--name-only", "main^", "main") == f"{FOLDER}/checkout.yml"
        assert run_git(source.path, "log", "-1", "--format=%s%n%b") == "Launch checkout\n"
        assert hostile.git("status", "--porcelain") == ""

    def test_a_race_is_seen_as_one(self, source: GitSource, hostile: Person, tomas: Person) -> None:
        publish(hostile, meanwhile=lambda: tomas.push("ranking.yml", "extends: production\n"))
        assert run_git(source.path, "log", "-2", "--format=%s") == "Launch checkout\nWork"

    def test_what_a_hook_says_is_told_in_plain_letters(self, source: GitSource, hostile: Person) -> None:
        hook = source.path / "hooks" / "pre-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\necho 'error: environments need a ticket' >&2\nexit 1\n")
        hook.chmod(0o755)
        with pytest.raises(Refused) as refused:
            publish(hostile)
        assert "(pre-receive hook declined); error: environments need a ticket" in refused.value.message

    def test_a_split_index_leaves_no_part_of_ours_behind(self, jessica: Person) -> None:
        jessica.git("commit", "-q", "--allow-empty", "-m", "not pushed")
        jessica.git("config", "core.splitIndex", "true")
        publish(jessica)
        assert list((jessica.directory / ".git").glob("sharedindex*")) == []

    def test_hooks_lie_where_the_person_keeps_them(self, jessica: Person, tmp_path: Path) -> None:
        hook = tmp_path / "hooks" / "pre-push"
        hook.parent.mkdir()
        hook.write_text("#!/bin/sh\necho 'not on a Friday' >&2\nexit 1\n")
        hook.chmod(0o755)
        jessica.git("config", "core.hooksPath", str(hook.parent))
        with pytest.raises(HivequeenError, match="not on a Friday"):
            publish(jessica)


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
        with pytest.raises(Transient, match="not on a Friday") as failed:
            publish(jessica)
        assert "names origin/main if the commit is there" in failed.value.remedy
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


def test_a_commit_that_claims_to_be_of_a_later_year_than_there_is_was_made_at_the_last_moment(
    source: GitSource, jessica: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = Clone(jessica.directory, FOLDER)
    monkeypatch.setenv("GIT_COMMITTER_DATE", "@253402300900 +0000")
    publish(jessica)
    assert clone.touched_at(clone.fetch(), "checkout.yml") == datetime.max.replace(microsecond=0, tzinfo=UTC)
