"""`hivequeen plan --at` and `--diff`, as they are called in a clone, in a build and beside a daemon."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli import invoke
from reconciler.daemon import answers, requests
from reconciler.model.memory import Suspension
from reconciler.model.plan import Guard
from reconciler.model.policy import Policy
from reconciler.review import Snapshot, Stop
from reconciler.review.codec import dump, encode
from reconciler.review.wording import as_it_was
from tests.cli.scene import ScriptedDaemon, write_settings
from tests.daemon.test_latest import made
from tests.fakes.clock import BEGAN
from tests.fakes.git_source import GitSource, run_git
from tests.review.scene import FILES, declared, runs_as
from tests.spec.revision import CHECKOUT, PRODUCTION

Captured = pytest.CaptureFixture[str]
GROWN = CHECKOUT.replace("web: {count: 1}", "web: {count: 3}")


@pytest.fixture
def source(tmp_path: Path) -> GitSource:
    """`main` as in FILES; `feature` grows checkout and ends search."""
    made_source = GitSource(tmp_path / "git")
    made_source.push(dict(FILES))
    run_git(made_source.clone, "checkout", "-q", "-b", "feature")
    (made_source.clone / "environments.d" / "checkout.yml").write_text(GROWN)
    (made_source.clone / "environments.d" / "search.yml").unlink()
    run_git(made_source.clone, "commit", "-q", "-a", "-m", "Grow")
    run_git(made_source.clone, "push", "-q", str(made_source.path), "feature")
    return made_source


@pytest.fixture
def clone(source: GitSource, tmp_path: Path) -> Iterator[Path]:
    run_git(tmp_path, "clone", "-q", str(source.path), "here")
    run_git(tmp_path / "here", "branch", "-q", "feature", "origin/feature")
    with contextlib.chdir(tmp_path / "here"):
        yield tmp_path / "here"


def settings(folder: Path, source: GitSource, **changes: Any) -> Path:
    return write_settings(folder, repository={"url": str(source.path)}, **changes)


def world(source: GitSource, **changes: Any) -> Snapshot:
    """What is on `main` runs as declared."""
    base = replace(declared(FILES), revision=source.tip)
    return runs_as(base, **changes)


def plan(config: Path | None, *arguments: str) -> int:
    return invoke([*(["--config", str(config)] if config else []), "plan", *arguments])


def shown(capsys: Captured) -> Any:
    return json.loads(capsys.readouterr().out)


def test_a_running_daemon_tells_the_world(source: GitSource, clone: Path, tmp_path: Path, capsys: Captured) -> None:
    config = settings(tmp_path, source)
    with ScriptedDaemon(tmp_path / "control.sock", {requests.AskWorld: encode(world(source))}) as daemon:
        assert plan(config, "--diff", "main..feature", "--format", "json") == 2
        assert daemon.requests == [requests.AskWorld()]
    document = shown(capsys)
    assert document["world"] == {"at": "2026-11-01T12:00:00Z", "is_assumed": False}
    assert [(one["name"], one["risk"]) for one in document["environments"]] == [
        ("checkout", "create"),
        ("search", "destroy"),
    ]
    assert len(document["environments"][1]["actions"][0]["targets"]) == 1


def test_offline_the_last_known_world_beside_the_state_counts(
    source: GitSource, clone: Path, tmp_path: Path, capsys: Captured
) -> None:
    config = settings(tmp_path, source)
    (tmp_path / "state" / "world.json").write_bytes(dump(world(source)))
    assert plan(config, "--diff", "main..feature", "--offline") == 2
    told = capsys.readouterr().out
    assert "Against the world as it was at 2026-11-01 12:00 UTC" in told
    assert "search-web-" in told


def test_a_copy_of_it_needs_no_settings(source: GitSource, clone: Path, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "copy.json").write_bytes(dump(world(source)))
    assert plan(None, "checkout", "--diff", "main..feature", "--snapshot", str(tmp_path / "copy.json")) == 2
    told = capsys.readouterr().out
    assert "$147.17 → $294.34 a month" in told  # the region is the daemon's
    assert "search" not in told


def test_without_any_the_base_is_taken_to_run_as_declared_and_that_is_said(clone: Path, capsys: Captured) -> None:
    assert plan(None, "--diff", "main..feature", "--offline") == 2
    told = capsys.readouterr().out
    assert "is assumed to run exactly as it declares" in told
    assert "No price is known for a region that is not known (say --region)" in told
    assert plan(None, "--diff", "main..feature", "--offline", "--region", "us-east-1") == 2
    assert "$147.17 → $294.34 a month" in capsys.readouterr().out


def test_settings_alone_tell_the_rules_and_the_policy(
    source: GitSource, clone: Path, tmp_path: Path, capsys: Captured
) -> None:
    config = settings(tmp_path, source, policy={"nodes": {"environment": 6}}, teardown={"grace": "30m"})
    assert plan(config, "--diff", "main..feature", "--offline") == 2
    assert "within 30 minutes of the merge" in capsys.readouterr().out
    strict = settings(tmp_path, source, policy={"nodes": {"environment": 6, "total": 10}})
    run_git(clone, "checkout", "-q", "feature")
    (clone / "environments.d" / "checkout.yml").write_text(GROWN.replace("count: 3", "count: 30"))
    run_git(clone, "commit", "-q", "-a", "-m", "Grow more")
    assert plan(strict, "--diff", "main..feature", "--offline") == 1
    assert "new: environments.d/checkout.yml:4: against the policy" in capsys.readouterr().out


def test_the_snapshots_policy_counts_where_there_are_no_settings(
    source: GitSource, clone: Path, tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "copy.json").write_bytes(dump(world(source, policy=Policy(nodes_per_environment=3))))
    assert plan(None, "checkout", "--diff", "main..feature", "--snapshot", str(tmp_path / "copy.json")) == 1
    assert "against the policy" in capsys.readouterr().out


def test_nothing_changed_is_zero_and_held_is_three(
    source: GitSource, clone: Path, tmp_path: Path, capsys: Captured
) -> None:
    assert plan(None, "--diff", "main..main", "--offline") == 0
    assert "nothing changes" in capsys.readouterr().out
    held = world(source)
    suspension = Suspension(environment=None, reason="", actor="ops", since=BEGAN, until=None)
    held = replace(held, memory=replace(held.memory, suspensions=(suspension,)))
    (tmp_path / "copy.json").write_bytes(dump(held))
    assert plan(None, "--diff", "main..feature", "--snapshot", str(tmp_path / "copy.json")) == 3
    assert "2 environments change, 2 are held" in capsys.readouterr().out


def test_three_dots_leave_out_what_the_base_got_since(clone: Path, capsys: Captured) -> None:
    run_git(clone, "checkout", "-q", "main")
    (clone / "environments.d" / "new.yml").write_text(CHECKOUT)
    run_git(clone, "add", "--all")
    run_git(clone, "commit", "-q", "-m", "New")
    plan(None, "--diff", "main...feature", "--offline", "--format", "json")
    assert {one["name"] for one in shown(capsys)["environments"]} == {"checkout", "search"}
    plan(None, "--diff", "main..feature", "--offline", "--format", "json")
    captured = capsys.readouterr()
    assert {one["name"] for one in json.loads(captured.out)["environments"]} == {"checkout", "new", "search"}
    assert "three dots (BASE...HEAD) leave it out" in captured.err


def test_a_detached_checkout_of_a_build_will_do(clone: Path, capsys: Captured) -> None:
    run_git(clone, "checkout", "-q", "--detach", "origin/feature")
    assert plan(None, "--diff", "origin/main...", "--offline", "--format", "markdown") == 2
    assert capsys.readouterr().out.startswith("## hivequeen plan: 2 environments change\n")


def test_a_shallow_checkout_says_what_is_not_known(source: GitSource, tmp_path: Path, capsys: Captured) -> None:
    run_git(tmp_path, "clone", "-q", "--depth", "1", "--no-single-branch", f"file://{source.path}", "shallow")
    with contextlib.chdir(tmp_path / "shallow"):
        assert plan(None, "--diff", "origin/main..origin/feature", "--offline") == 2
        assert "the checkout is shallow" in capsys.readouterr().err
        assert plan(None, "--diff", "origin/main...origin/feature", "--offline") == 1
        assert "no revision in common" in capsys.readouterr().err


def test_at_a_revision_the_whole_plan_is_shown(
    source: GitSource, clone: Path, tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "copy.json").write_bytes(dump(world(source)))
    options = ("--snapshot", str(tmp_path / "copy.json"))
    assert plan(None, "--at", "main", *options) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert plan(None, "--at", "feature", "--format", "json", *options) == 2  # search is in its grace period
    document = shown(capsys)
    assert [one["action"] for one in document["environments"][0]["actions"]] == ["launch_nodes"]
    assert plan(None, "checkout", "--at", "feature", "--format", "markdown", *options) == 2
    assert capsys.readouterr().out.startswith("## hivequeen plan: changes are pending\n")
    assert plan(None, "--offline", *options) == 0  # at the revision that was desired
    assert capsys.readouterr().err == f"{as_it_was(world(source).at)}\n"


def test_the_snapshots_default_ttl_counts_where_there_are_no_settings(
    source: GitSource, clone: Path, tmp_path: Path, capsys: Captured
) -> None:
    late = world(source)
    late = replace(
        late,
        rules=replace(late.rules, default_ttl=timedelta(days=3), notices=()),
        observed=replace(late.observed, at=datetime.now(UTC) + timedelta(days=5)),
    )
    (tmp_path / "copy.json").write_bytes(dump(late))
    options = ("checkout", "--at", "main", "--snapshot", str(tmp_path / "copy.json"))
    assert plan(None, *options) == 2
    without = capsys.readouterr().out
    assert "ending: checkout is torn down" in without
    assert plan(settings(tmp_path, source), *options) == 2, "settings that know no default say nothing against it"
    assert capsys.readouterr().out == without


def test_at_a_revision_a_moving_image_that_nobody_looked_up_is_noted(
    source: GitSource, clone: Path, tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "copy.json").write_bytes(dump(world(source)))
    (clone / "environments.d" / "search.yml").write_text(CHECKOUT + "defaults: {image: 'ssm:/aws/service/debian'}\n")
    run_git(clone, "commit", "-q", "-a", "-m", "Move")
    options = ("--at", "HEAD", "--snapshot", str(tmp_path / "copy.json"))
    plan(None, *options)
    note = "ssm:/aws/service/debian is resolved by the daemon when this is merged"
    assert note in capsys.readouterr().err
    plan(None, "checkout", *options)
    assert note not in capsys.readouterr().err, "it is another environment's"


def test_at_a_revision_that_drops_what_was_applied_all_is_held(
    source: GitSource, clone: Path, tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "copy.json").write_bytes(dump(world(source)))
    run_git(clone, "checkout", "-q", "--orphan", "rewritten")
    run_git(clone, "commit", "-q", "-m", "Anew")
    assert plan(None, "--at", "HEAD", "--snapshot", str(tmp_path / "copy.json")) == 3
    assert "does not descend from the applied one" in capsys.readouterr().out
    unknown = world(source)
    memory = replace(unknown.memory, applied=declared(FILES).revision)
    (tmp_path / "copy.json").write_bytes(dump(replace(unknown, memory=memory)))
    assert plan(None, "--at", "main", "--snapshot", str(tmp_path / "copy.json")) == 0
    assert "whether history was rewritten is not known" in capsys.readouterr().err


def test_what_holds_everything_now_is_said(source: GitSource, clone: Path, tmp_path: Path, capsys: Captured) -> None:
    stop = Stop(guard=Guard.NOT_OWNER, message="the fleet is somebody else's", remedy="hivequeen claim --take-over")
    (tmp_path / "copy.json").write_bytes(dump(world(source, stops=(stop,))))
    for arguments in (
        ("--at", "feature"),
        ("--diff", "main..feature"),
        ("--diff", "main..feature", "--format", "markdown"),
    ):
        assert plan(None, *arguments, "--snapshot", str(tmp_path / "copy.json")) == 3
        assert "somebody else" in capsys.readouterr().out


def test_elsewhere_the_daemons_mirror_is_read(source: GitSource, tmp_path: Path, capsys: Captured) -> None:
    config = settings(tmp_path, source)
    mirror = tmp_path / "state" / "mirror.git"
    run_git(tmp_path, "clone", "-q", "--bare", str(source.path), str(mirror))
    run_git(mirror, "update-ref", "refs/hivequeen/tip", "refs/heads/feature")
    for ref in ("main", "feature"):
        run_git(mirror, "update-ref", "-d", f"refs/heads/{ref}")
    other = tmp_path / "other"
    other.mkdir()
    run_git(other, "init", "-q")
    for here in (other, tmp_path):  # a clone of something else, and no clone
        with contextlib.chdir(here):
            assert plan(config, "--diff", "main~1..main", "--offline") == 2
            assert "the daemon's mirror is read" in capsys.readouterr().err


@pytest.mark.parametrize("named", ["main..HEAD", "main..", "main...HEAD~1", "main..@"])
def test_in_the_daemons_mirror_nobodys_head_is_meant(
    source: GitSource, tmp_path: Path, capsys: Captured, named: str
) -> None:
    config = settings(tmp_path, source)
    mirror = tmp_path / "state" / "mirror.git"
    run_git(tmp_path, "clone", "-q", "--bare", str(source.path), str(mirror))
    run_git(mirror, "update-ref", "refs/hivequeen/tip", "refs/heads/main")
    with contextlib.chdir(tmp_path):
        assert plan(config, "--diff", named, "--offline") == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "means what is checked out in a clone" in told.err
    assert "name a branch" in told.err


def test_where_nothing_can_be_read_it_says_where_to_go(source: GitSource, tmp_path: Path, capsys: Captured) -> None:
    config = settings(tmp_path, source)
    with contextlib.chdir(tmp_path):
        assert plan(config, "--diff", "main..feature", "--offline") == 1
        assert "run it in a clone of that repository" in capsys.readouterr().err
        assert plan(None, "--diff", "main..feature", "--offline") == 1
        assert "is in no git repository" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--at", "main", "--diff", "main..feature"), "say one of them"),
        (("--diff", "main", "--offline"), "names one revision"),
        (("--diff", "main..feature"), "say --offline"),
        (("--diff", "main..nothing", "--offline"), "nothing is no revision"),
        (("--at", "main", "--offline"), "no snapshot of it is here"),
        (("--offline",), "no snapshot of it is here"),
        (("--diff", "main..feature", "--snapshot", "nowhere.json"), "nowhere.json cannot be read"),
        (("nobody", "--diff", "main..feature", "--offline"), "there is no environment nobody"),
    ],
)
def test_what_cannot_be_answered_is_an_error_with_a_way_out(
    clone: Path, capsys: Captured, arguments: tuple[str, ...], complaint: str
) -> None:
    assert plan(None, *arguments) == 1
    told = capsys.readouterr()
    assert complaint in told.err
    assert told.out == ""


def test_a_world_that_may_not_be_read_is_an_error(
    source: GitSource, clone: Path, tmp_path: Path, capsys: Captured
) -> None:
    config = settings(tmp_path, source)
    (tmp_path / "state" / "world.json").mkdir()
    assert plan(config, "--diff", "main..feature", "--offline") == 1
    assert "cannot be read" in capsys.readouterr().err


def test_findings_that_were_there_do_not_fail_a_change_that_has_no_part_in_them(
    source: GitSource, clone: Path, tmp_path: Path, capsys: Captured
) -> None:
    run_git(clone, "checkout", "-q", "main")
    (clone / "environments.d" / "broken.yml").write_text("a: 1\n")
    run_git(clone, "add", "--all")
    run_git(clone, "commit", "-q", "-m", "Broken")
    (clone / "environments.d" / "checkout.yml").write_text(GROWN)
    run_git(clone, "commit", "-q", "-a", "-m", "Grow")
    assert plan(None, "--diff", "HEAD~1..HEAD", "--offline") == 2
    assert "environments.d/broken.yml:1: unknown key" in capsys.readouterr().out
    assert plan(None, "--diff", "HEAD~2..HEAD", "--offline") == 1
    assert "new: environments.d/broken.yml:1: unknown key" in capsys.readouterr().out


def test_the_next_pass_is_shown_as_markdown_too(source: GitSource, tmp_path: Path, capsys: Captured) -> None:
    config = settings(tmp_path, source)
    with ScriptedDaemon(tmp_path / "control.sock", {requests.AskPlan: answers.passed(made())}):
        assert plan(config, "--format", "markdown") == 0
        assert capsys.readouterr().out.startswith("## hivequeen plan: nothing to do\n")
        assert plan(config, "--format", "table") == plan(config, "--format", "text") == 0


def test_nothing_is_written_where_it_is_asked(source: GitSource, clone: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in (*clone.rglob("*"), *source.path.rglob("*")) if path.is_file()}
    plan(None, "--diff", "main...feature", "--offline")
    after = {path: path.read_bytes() for path in (*clone.rglob("*"), *source.path.rglob("*")) if path.is_file()}
    assert after == before


def test_a_protected_environment_is_held(clone: Path, capsys: Captured) -> None:
    run_git(clone, "checkout", "-q", "feature")
    (clone / "environments.d" / "production.yml").write_text(
        PRODUCTION.replace("count: 4", "count: 1").replace("count: 2", "count: 1")
    )
    run_git(clone, "commit", "-q", "-a", "-m", "Halve it")
    assert plan(None, "production", "--diff", "main..feature", "--offline") == 3
    told = capsys.readouterr().out
    assert "held (protected): production is protected, and this would remove 4 of its 6 nodes" in told
    assert "once it is merged, lift it: hivequeen approve DIGEST" in told
