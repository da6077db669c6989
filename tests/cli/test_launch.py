"""`launch`, `teardown` and `extend` against real repositories: what is written, what is refused, and what it says."""

import os
import pty
import re
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reconciler.cli import invoke
from tests.cli.scene import write_settings
from tests.fakes.git_source import FOLDER, GitSource, run_git
from tests.fakes.person import PRODUCTION, Person

Captured = pytest.CaptureFixture[str]

CHECKOUT = """\
# Ask Jessica before you touch this.
extends: production   # like it

owner:    jessica@example.com
ttl: 7d   # until the launch
roles: { web: {count: 1},
         worker: {count: 1} }
"""


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def source(tmp_path: Path) -> GitSource:
    source = GitSource(tmp_path / "upstream")
    source.push({"production.yml": PRODUCTION, "checkout.yml": CHECKOUT, "_small.yml": "extends: production\n"})
    return source


@pytest.fixture
def jessica(source: GitSource, tmp_path: Path) -> Person:
    return Person(source, tmp_path / "jessica")


def hivequeen(person: Person, *arguments: str, config: Path | None = None) -> int:
    at = config or person.directory / "no-settings.yml"
    return invoke(["--config", str(at), *arguments, "--repository", str(person.directory)])


def files(source: GitSource) -> list[str]:
    return run_git(source.path, "ls-tree", "--name-only", "main", f"{FOLDER}/").replace(f"{FOLDER}/", "").split()


def content(source: GitSource, path: str) -> str:
    return run_git(source.path, "cat-file", "blob", f"main:{FOLDER}/{path}") + "\n"


def complaint(captured: Captured) -> str:
    return " ".join(captured.readouterr().err.split())


class TestLaunch:
    def test_the_smallest_file_is_committed_in_the_persons_name(self, source: GitSource, jessica: Person) -> None:
        assert hivequeen(jessica, "launch", "search", "--from", "production", "--yes") == 0
        assert content(source, "search.yml") == "extends: production\nowner: jessica@example.com\n"
        assert run_git(source.path, "log", "-1", "--format=%an %s") == "Jessica Launch search"
        assert jessica.file("search.yml").exists()
        assert jessica.head == source.tip

    def test_options_become_values(self, source: GitSource, jessica: Person) -> None:
        code = hivequeen(
            jessica,
            *("launch", "search", "--from", "_small", "--branch", "1.10", "--owner", "search team", "--yes"),
            *("--set", "roles.web.count=2", "--set", "roles.web.instance_type=[r7i.large, r6i.large]"),
            *("--set", "roles.worker=null", "--set", "roles.web.attributes.title='a: b'"),
        )
        assert code == 0
        assert content(source, "search.yml") == (
            "extends: _small\nowner: search team\nbranch: '1.10'\nroles:\n  web:\n    count: 2\n"
            "    instance_type:\n    - r7i.large\n    - r6i.large\n    attributes:\n      title: 'a: b'\n  worker: null\n"
        )

    def test_a_commit_that_looks_like_a_number_is_one_all_the_same(self, source: GitSource, jessica: Person) -> None:
        named = ("--branch", "1e10", "--set", 'commit="123e456"')
        assert hivequeen(jessica, "launch", "search", "--from", "production", *named, "--yes") == 0
        assert content(source, "search.yml").endswith("branch: '1e10'\ncommit: '123e456'\n")

    def test_ctrl_c_while_it_is_pushed_says_how_to_see_what_came_of_it(
        self, source: GitSource, jessica: Person
    ) -> None:
        hook = source.path / "hooks" / "post-receive"
        hook.parent.mkdir()
        hook.write_text("#!/bin/sh\nkill -INT -$(ps -o sid= -p $$ | tr -d ' ')\n")
        hook.chmod(0o755)
        launch = ("launch", "search", "--from", "production", "--yes", "--repository", str(jessica.directory))
        command = [sys.executable, "-m", "reconciler", *launch]
        done = subprocess.run(command, start_new_session=True, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 130
        said = " ".join(done.stderr.split())
        assert f"the commit {source.tip[:8]} may or may not be on origin/main" in said
        assert f"git branch -r --contains {source.tip[:8]}" in said

    def test_the_line_for_editors_is_taken_over_from_the_parent(self, source: GitSource, jessica: Person) -> None:
        line = "# yaml-language-server: $schema=../schemas/environment.schema.json\n"
        jessica.push("production.yml", line + PRODUCTION)
        assert hivequeen(jessica, "launch", "search", "--from", "production", "--yes") == 0
        assert content(source, "search.yml").startswith(f"{line}extends: production\n")

    def test_the_file_and_what_it_comes_to_are_shown(self, jessica: Person, capsys: Captured) -> None:
        hivequeen(jessica, "launch", "search", "--from", "production", "--set", "roles.web.count=1", "--yes")
        shown = capsys.readouterr().out
        for text in (
            "environments.d/search.yml",
            "  extends: production",
            "web: 1 x m7i.large (or m6i.large)",
            "worker: 2 x",
        ):
            assert text in shown

    def test_a_new_role_that_is_nearly_the_parents_is_warned_of_and_any_other_is_not(
        self, jessica: Person, capsys: Captured
    ) -> None:
        for role, warns in (("web2", True), ("cron", False)):
            values = ("--set", f"roles.{role}.run_list=['recipe[x]']", "--set", f"roles.{role}.count=1")
            assert hivequeen(jessica, "launch", "search", "--from", "production", *values, "--dry-run") == 0
            warning = f"warning: {role} is a new role; did you mean web?"
            assert (warning in capsys.readouterr().out) is warns

    def test_a_dry_run_commits_nothing(self, source: GitSource, jessica: Person, capsys: Captured) -> None:
        before, work = source.tip, jessica.work()
        assert hivequeen(jessica, "launch", "search", "--from", "production", "--dry-run") == 0
        assert (source.tip, jessica.work()) == (before, work)
        assert "extends: production" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (
                ("checkout", "--from", "production"),
                ("checkout exists already: environments.d/checkout.yml", "another name"),
            ),
            (("search", "--from", "prodction"), ("no environment or template prodction", "did you mean production?")),
            (("search", "--from", "nothing-like-it"), ("no environment or template", "_small, checkout, production")),
            (("Search", "--from", "production"), ("'Search' is not the name of an environment", "lower-case")),
            (("a" * 28, "--from", "production"), ("is not the name of an environment",)),
            (("search", "--from", "production", "--set", "roles.web.cuont=2"), ("search.yml:", "cuont", "count")),
            (("search", "--from", "_small", "--set", "roles.wbe.count=2"), ("roles.wbe", "did you mean web?")),
            (("search", "--from", "production", "--set", "roles.web.count=many"), ("search.yml:", "many")),
            (("search", "--from", "production", "--set", "roles.web"), ("--set roles.web:", "roles.web.count=2")),
            (("search", "--from", "production", "--set", "owner.name=x"), ("owner is a value already",)),
            (("search", "--from", "production", "--set", "branch=[a"), ("--set branch=[a:",)),
            (("search", "--from", "production", "--set", "commit=123e456"), ("--set 'commit=\"123e456\"'",)),
            (("search", "--from", "production", "--set", "extends=checkout"), ("say --from",)),
            (("search", "--from", "production", "--ttl", "soon"), ("search.yml:", "soon")),
            (
                ("search", "--from", "production", "--set", "expires=2020-01-01"),
                ("search.yml:3: search expired on 2020-01-02 00:00 UTC", "nothing was committed", "name a later date"),
            ),
            (("search", "--from", "production", "--branch", "a..b"), ("search.yml:", "a..b")),
            (("search", "--from", "production", "--path", "/etc"), ("--path /etc",)),
            (("search", "--from", "production", "--path", "elsewhere"), ("is --path the right folder?",)),
        ],
    )
    def test_what_is_wrong_is_told_with_its_remedy_and_nothing_is_committed(
        self, source: GitSource, jessica: Person, capsys: Captured, arguments: tuple[str, ...], told: tuple[str, ...]
    ) -> None:
        before, work = source.tip, jessica.work()
        assert hivequeen(jessica, "launch", *arguments, "--yes") == 1
        said = complaint(capsys)
        for text in told:
            assert text in said
        assert (source.tip, jessica.work()) == (before, work)

    def test_without_a_terminal_nobody_can_say_yes(self, source: GitSource, jessica: Person, capsys: Captured) -> None:
        before = source.tip
        assert hivequeen(jessica, "launch", "search", "--from", "production") == 1
        assert "say --yes" in complaint(capsys)
        assert source.tip == before

    @pytest.mark.parametrize(("answer", "code"), [(b"y\n", 0), (b"n\n", 1), (b"\n", 1), (b"\x04", 130)])
    def test_on_a_terminal_the_person_is_asked(
        self, source: GitSource, jessica: Person, answer: bytes, code: int
    ) -> None:
        before = source.tip
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            [
                *(sys.executable, "-m", "reconciler", "launch", "search", "--from", "production"),
                *("--repository", str(jessica.directory)),
            ],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        ) as running:
            os.close(theirs)
            seen = b""
            while b"?" not in seen:
                seen += os.read(ours, 4096)
            os.write(ours, answer)
            with suppress(OSError):  # the other end is closed
                while os.read(ours, 4096):
                    pass
        os.close(ours)
        assert running.returncode == code
        assert (source.tip != before) is (code == 0)

    def test_an_address_is_needed_for_the_owner(self, source: GitSource, jessica: Person, capsys: Captured) -> None:
        jessica.git("config", "--unset", "user.email")
        assert hivequeen(jessica, "launch", "search", "--from", "production", "--yes") == 1
        assert "say --owner" in complaint(capsys)

    def test_a_branch_or_folder_that_the_daemon_does_not_follow_is_told(
        self, source: GitSource, jessica: Person, tmp_path: Path, capsys: Captured
    ) -> None:
        config = write_settings(tmp_path, repository={"url": str(source.path), "branch": "release", "path": "envs"})
        assert hivequeen(jessica, "launch", "search", "--from", "production", "--yes", config=config) == 0
        shown = capsys.readouterr().out
        assert "the daemon follows release, and this goes to main" in shown
        assert "the daemon reads envs, and this is in environments.d" in shown

    def test_a_parent_that_somebody_deletes_meanwhile_stops_it(
        self, source: GitSource, jessica: Person, tmp_path: Path, capsys: Captured
    ) -> None:
        """The rival pushes when jessica's own push begins, through her pre-push hook."""
        tomas = Person(source, tmp_path / "tomas", name="Tomas")
        hook = jessica.directory / ".git" / "hooks" / "pre-push"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(
            f"#!/bin/sh\nunset GIT_DIR; cd {tomas.directory}\n"
            "git rm -q environments.d/_small.yml && git commit -q -m Gone && git push -q\n"
        )
        hook.chmod(0o755)
        assert hivequeen(jessica, "launch", "search", "--from", "_small", "--yes") == 1
        said = complaint(capsys)
        assert "_small" in said
        assert "nothing was committed" in said
        assert run_git(source.path, "log", "-1", "--format=%s") == "Gone"

    def test_two_people_may_launch_at_the_same_moment(
        self, source: GitSource, jessica: Person, tmp_path: Path, capsys: Captured
    ) -> None:
        tomas = Person(source, tmp_path / "tomas", name="Tomas")
        hook = jessica.directory / ".git" / "hooks" / "pre-push"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(
            f"#!/bin/sh\nunset GIT_DIR; cd {tomas.directory}; [ -e environments.d/ranking.yml ] && exit 0\n"
            "echo 'extends: production' >environments.d/ranking.yml\n"
            "git add -A && git commit -q -m Ranking && git push -q\n"
        )
        hook.chmod(0o755)
        assert hivequeen(jessica, "launch", "search", "--from", "production", "--yes") == 0
        assert run_git(source.path, "log", "-2", "--format=%s").split("\n") == ["Launch search", "Ranking"]
        assert {"search.yml", "ranking.yml"} <= set(files(source))
        assert "git pull --rebase" in complaint(capsys)

    def test_what_to_run_afterwards_works_with_changes_that_are_not_committed(
        self, source: GitSource, jessica: Person, tmp_path: Path, capsys: Captured
    ) -> None:
        Person(source, tmp_path / "tomas", name="Tomas").push("ranking.yml", "extends: production\n")
        jessica.file("checkout.yml").write_text("a draft\n")
        jessica.file("_small.yml").write_text("another\n")
        jessica.git("add", "environments.d/_small.yml")
        assert hivequeen(jessica, "launch", "search", "--from", "production", "--yes") == 0
        said = complaint(capsys)
        advice = re.search(
            r"to have the change there: (git pull [-a-z ]*--rebase)\b.* add (--autostash) to the pull", said
        )
        assert advice is not None, said
        jessica.git(*advice[1].split()[1:], advice[2])
        assert jessica.head == source.tip
        drafts = [jessica.file(path).read_text() for path in ("checkout.yml", "_small.yml")]
        assert drafts == ["a draft\n", "another\n"]

    def test_what_it_costs_is_told_where_the_daemons_settings_tell_the_region(
        self, jessica: Person, tmp_path: Path, capsys: Captured
    ) -> None:
        config = write_settings(tmp_path)
        assert hivequeen(jessica, "launch", "search", "--from", "production", "--dry-run", config=config) == 0
        assert "  $0.00 → $441.50 a month (+$441.50)" in capsys.readouterr().out.splitlines()
        assert hivequeen(jessica, "teardown", "checkout", "--dry-run", config=config) == 0
        assert "  $147.17 → $0.00 a month (-$147.17)" in capsys.readouterr().out.splitlines()
        (tmp_path / "prices.json").write_text("{")
        config = write_settings(tmp_path, prices="prices.json")
        assert hivequeen(jessica, "launch", "search", "--from", "production", "--dry-run", config=config) == 0
        shown = capsys.readouterr()
        assert "a month" not in shown.out
        assert "what it costs is not known" in shown.err

    def test_more_than_the_policy_allows_is_not_committed(
        self, source: GitSource, jessica: Person, tmp_path: Path, capsys: Captured
    ) -> None:
        config = write_settings(tmp_path, policy={"nodes": {"environment": 5}})
        before = source.tip
        assert hivequeen(jessica, "launch", "search", "--from", "production", "--yes", config=config) == 1
        assert "search asks for 6 nodes" in (said := complaint(capsys))
        assert "against the policy" in said
        assert source.tip == before
        smaller = ("--set", "roles.web.count=1")
        assert hivequeen(jessica, "launch", "search", "--from", "production", "--yes", *smaller, config=config) == 0


class TestTeardown:
    def test_the_file_is_deleted_by_a_commit_and_it_is_said_how_to_undo_it(
        self, source: GitSource, jessica: Person, capsys: Captured
    ) -> None:
        assert hivequeen(jessica, "teardown", "checkout", "--yes") == 0
        assert files(source) == ["_small.yml", "production.yml"]
        assert not jessica.file("checkout.yml").exists()
        assert f"git revert {source.tip[:8]}" in complaint(capsys)
        jessica.git("revert", "--no-edit", source.tip[:8])
        assert jessica.file("checkout.yml").read_text() == CHECKOUT

    def test_a_yaml_ending_is_as_good(self, source: GitSource, jessica: Person) -> None:
        jessica.push("other.yaml", "extends: production\nowner: jessica\n")
        assert hivequeen(jessica, "teardown", "other", "--yes") == 0
        assert "other.yaml" not in files(source)

    def test_it_tells_of_those_that_extend_it_and_of_protection_once_each(
        self, jessica: Person, capsys: Captured
    ) -> None:
        assert hivequeen(jessica, "teardown", "production", "--dry-run") == 0
        shown = capsys.readouterr().out
        assert "checkout is frozen by findings: what runs stays as it is" in shown
        assert shown.count('environments.d/checkout.yml:2: extends "production", which does not exist') == 1
        assert shown.count("production is protected") == 1
        assert "production goes" not in shown

    def test_what_is_protected_keeps_its_file(self, source: GitSource, jessica: Person, capsys: Captured) -> None:
        before = source.tip
        assert hivequeen(jessica, "teardown", "production", "--yes") == 1
        assert "production is protected" in (said := complaint(capsys))
        assert "first commit `protected: false`" in said
        assert "approve" not in said
        assert source.tip == before
        jessica.push("production.yml", PRODUCTION.replace("protected: true", "protected: false"))
        assert hivequeen(jessica, "teardown", "production", "--yes") == 0
        assert "production.yml" not in files(source)

    def test_it_warns_of_a_file_that_bears_its_name_and_would_keep_it(self, jessica: Person, capsys: Captured) -> None:
        jessica.push("old/checkout.yml", CHECKOUT)
        assert hivequeen(jessica, "teardown", "checkout", "--dry-run") == 0
        assert "checkout will not go: environments.d/old/checkout.yml" in " ".join(capsys.readouterr().out.split())

    @pytest.mark.parametrize(
        ("grace", "told"), [("5m", ", 5 min after"), ("90s", ", 1 min 30 s after"), ("0s", "Chef objects\n")]
    )
    def test_the_grace_period_is_the_daemons(
        self, jessica: Person, tmp_path: Path, capsys: Captured, grace: str, told: str
    ) -> None:
        config = write_settings(tmp_path, teardown={"grace": grace})
        assert hivequeen(jessica, "teardown", "checkout", "--dry-run", config=config) == 0
        assert told in capsys.readouterr().out

    def test_an_environment_that_there_is_not_is_told(
        self, source: GitSource, jessica: Person, capsys: Captured
    ) -> None:
        before = source.tip
        assert hivequeen(jessica, "teardown", "chekout", "--yes") == 1
        assert "did you mean checkout?" in complaint(capsys)
        assert hivequeen(jessica, "teardown", "_small", "--yes") == 1
        assert source.tip == before


class TestExtend:
    def ends_at(self, source: GitSource, ttl: timedelta) -> datetime:
        touched = int(run_git(source.path, "log", "-1", "--format=%ct", "main", "--", f"{FOLDER}/checkout.yml"))
        return datetime.fromtimestamp(touched, UTC) + ttl

    def test_what_is_left_and_the_time_are_added_up_and_comments_and_layout_survive(
        self, source: GitSource, jessica: Person
    ) -> None:
        before = self.ends_at(source, timedelta(days=7))
        assert hivequeen(jessica, "extend", "checkout", "3d", "--yes") == 0
        written = content(source, "checkout.yml")
        assert written in (CHECKOUT.replace("7d", "10d"), CHECKOUT.replace("7d", "240h"))
        after = self.ends_at(source, timedelta(days=10))
        assert before + timedelta(days=3) <= after <= before + timedelta(days=3, hours=1)
        assert run_git(source.path, "log", "-1", "--format=%s") == f"Extend checkout until {after:%Y-%m-%d %H:%M} UTC"

    def test_the_new_end_is_said(self, jessica: Person, capsys: Captured) -> None:
        assert hivequeen(jessica, "extend", "checkout", "12h", "--dry-run") == 0
        assert "checkout lives until " in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (("production", "3d"), "production is protected, and what is protected never ends by itself"),
            (("search", "3d"), "has neither ttl nor expires"),
            (("checkout", "3"), "write hours or days"),
            (("checkout", "0d"), "write hours or days"),
            (("chekout", "3d"), "did you mean checkout?"),
        ],
    )
    def test_what_cannot_be_extended_is_told(
        self, source: GitSource, jessica: Person, capsys: Captured, arguments: tuple[str, str], told: str
    ) -> None:
        before = jessica.push("search.yml", "extends: production\nowner: jessica\n")
        assert hivequeen(jessica, "extend", *arguments, "--yes") == 1
        assert told in complaint(capsys)
        assert source.tip == before

    def test_the_policys_longest_ttl_is_the_end_of_extending(
        self, source: GitSource, jessica: Person, tmp_path: Path, capsys: Captured
    ) -> None:
        config = write_settings(tmp_path, lifetimes={"maximum_ttl": "8d"})
        before = source.tip
        assert hivequeen(jessica, "extend", "checkout", "3d", "--yes", config=config) == 1
        assert "at most 8d are allowed" in complaint(capsys)
        assert source.tip == before
        assert hivequeen(jessica, "extend", "checkout", "12h", "--yes", config=config) == 0

    def test_the_daemons_default_ttl_is_extended_by_one_of_the_files_own(
        self, source: GitSource, jessica: Person, tmp_path: Path
    ) -> None:
        config = write_settings(tmp_path, lifetimes={"default_ttl": "2d"})
        assert hivequeen(jessica, "extend", "_small", "1d", "--yes", config=config) == 1
        jessica.push("search.yml", "extends: production\nowner: jessica # for ever?\n")
        assert hivequeen(jessica, "extend", "search", "1d", "--yes", config=config) == 0
        assert content(source, "search.yml") in (
            "extends: production\nowner: jessica # for ever?\nttl: 3d\n",
            "extends: production\nowner: jessica # for ever?\nttl: 72h\n",
        )

    def test_a_commit_of_a_year_to_come_is_told_and_not_extended(
        self, source: GitSource, jessica: Person, monkeypatch: pytest.MonkeyPatch, capsys: Captured
    ) -> None:
        monkeypatch.setenv("GIT_COMMITTER_DATE", "@253402300900 +0000")
        assert hivequeen(jessica, "launch", "search", "--from", "production", "--ttl", "8d", "--yes") == 0
        monkeypatch.delenv("GIT_COMMITTER_DATE")
        before = source.tip
        assert hivequeen(jessica, "extend", "search", "3d", "--yes") == 1
        assert "it ends 9999-12-31 as things are" in complaint(capsys)
        assert source.tip == before
