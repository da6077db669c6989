import json
import os
import pwd
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from reconciler import __version__
from reconciler.adapters.journal import SqliteJournal
from reconciler.cli import invoke
from reconciler.cli.hold import moment
from reconciler.cli.look import since
from reconciler.cli.reconcile import pause_s
from reconciler.daemon import answers, requests
from reconciler.daemon.lock import Lock
from reconciler.errors import Refused
from reconciler.model.conditions import Event
from reconciler.model.facts import RevisionApplied
from reconciler.model.plan import Blocked, EnvironmentPlan, Guard, Plan, Stall, Waiting
from reconciler.report import views
from tests.cli.scene import ScriptedDaemon, write_settings
from tests.daemon.test_latest import ACTION, CHECKOUT, FAILURE, NOW, OLD, STAGING, made
from tests.fakes.clock import FakeClock

Captured = pytest.CaptureFixture[str]

BUSY = EnvironmentPlan(name=CHECKOUT, actions=(ACTION,))
HOLD = Blocked(
    guard=Guard.PROTECTED,
    message="checkout is protected",
    remedy="hivequeen approve 3f2a91c04b7d",
    digest="3f2a91c04b7d",
    actions=(ACTION,),
)
HELD = EnvironmentPlan(name=CHECKOUT, blocked=(HOLD,))
STALLED = EnvironmentPlan(name=CHECKOUT, stalls=(Stall(reason="BadFile", message="bad file", remedy="mend it"),))
WAITING = EnvironmentPlan(name=CHECKOUT, waiting=(Waiting(message="web: 2 nodes booting"),))
IDLE = EnvironmentPlan(name=STAGING)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_settings(tmp_path)


@pytest.fixture
def daemon(tmp_path: Path, config: Path) -> Iterator[ScriptedDaemon]:
    with ScriptedDaemon(tmp_path / "control.sock") as answering:
        yield answering


def hivequeen(config: Path, *arguments: str) -> int:
    return invoke(["--config", str(config), *arguments])


# --- plan and reconcile ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plans", "code"),
    [((IDLE,), 0), ((BUSY, IDLE), 2), ((WAITING,), 2), ((HELD, IDLE), 3), ((STALLED,), 1)],
)
@pytest.mark.parametrize("command", ["plan", "reconcile"])
def test_the_exit_code_says_what_it_comes_to(
    daemon: ScriptedDaemon, config: Path, command: str, plans: tuple[EnvironmentPlan, ...], code: int
) -> None:
    answer = answers.passed(made(*plans))
    daemon.answers = {requests.AskPlan: answer, requests.MakePass: answer}
    assert hivequeen(config, command) == code


def test_a_plan_shows_actions_with_their_reasons_and_holds_with_the_way_out(
    daemon: ScriptedDaemon, config: Path, capsys: Captured
) -> None:
    both = EnvironmentPlan(name=CHECKOUT, actions=(ACTION,), blocked=(HOLD,))
    daemon.answers = {requests.AskPlan: answers.passed(made(both, IDLE))}
    hivequeen(config, "plan")
    shown = capsys.readouterr().out
    for text in (
        "checkout",
        "delete_chef_environment",
        "teardown: gone",
        "held (protected)",
        HOLD.remedy,
        "staging: nothing to do",
    ):
        assert text in shown


def test_a_plan_as_json_is_the_plans_document(daemon: ScriptedDaemon, config: Path, capsys: Captured) -> None:
    plan = Plan(revision=OLD, environments=(BUSY,))
    daemon.answers = {requests.AskPlan: answers.passed(replace(made(), plan=plan))}
    assert hivequeen(config, "plan", "checkout", "--format", "json") == 2
    assert json.loads(capsys.readouterr().out) == views.plan_document(plan)
    assert daemon.requests == [requests.AskPlan(environment=CHECKOUT)]


def test_a_world_that_cannot_be_read_is_an_error_with_its_remedy(
    daemon: ScriptedDaemon, config: Path, capsys: Captured
) -> None:
    failure = replace(FAILURE, remedy="see AWS")
    daemon.answers = {requests.AskPlan: answers.passed(replace(made(failures=(failure,)), plan=None))}
    assert hivequeen(config, "plan") == 1
    assert "observe: throttled" in (complaint := capsys.readouterr().err)
    assert "see AWS" in complaint


def test_reconcile_asks_for_its_scope_and_refreshes_images_once(daemon: ScriptedDaemon, config: Path) -> None:
    pending = {**answers.passed(made(BUSY)), "requeue_after_s": 0.01}
    daemon.answers = {requests.MakePass: [pending, pending, answers.passed(made(IDLE))]}
    assert hivequeen(config, "reconcile", "checkout", "--wait", "--refresh-images", "staging") == 0
    assert daemon.requests == [
        requests.MakePass(environments=(CHECKOUT,), refresh_images=(STAGING,)),
        requests.MakePass(environments=(CHECKOUT,)),
        requests.MakePass(environments=(CHECKOUT,)),
    ]


def in_grace() -> dict[str, Any]:
    grace = Blocked(guard=Guard.GRACE, message="checkout is torn down at 12:05:00", remedy="git revert", until=NOW)
    return answers.passed(made(EnvironmentPlan(name=CHECKOUT, is_declared=False, blocked=(grace,))))


@pytest.mark.parametrize("command", ["plan", "reconcile"])
def test_a_grace_period_is_a_change_that_is_pending(
    daemon: ScriptedDaemon, config: Path, capsys: Captured, command: str
) -> None:
    daemon.answers = {requests.AskPlan: in_grace(), requests.MakePass: in_grace()}
    assert hivequeen(config, command) == 2
    shown = capsys.readouterr().out
    assert "ending: checkout is torn down at 12:05:00" in shown
    assert "→ git revert" in shown


def test_waiting_through_a_grace_period_says_it_once(daemon: ScriptedDaemon, config: Path, capsys: Captured) -> None:
    waiting = {**in_grace(), "requeue_after_s": 0.01}
    daemon.answers = {requests.MakePass: [waiting, waiting, waiting, answers.passed(made(IDLE))]}
    assert hivequeen(config, "reconcile", "--wait") == 0
    assert capsys.readouterr().out.count("is torn down") == 1


@pytest.mark.parametrize(
    ("made_so", "requeue_after_s", "expected_s"),
    [(in_grace(), 300.0, 15.0), (in_grace(), 3.0, 3.0), (in_grace(), None, 2.0)]
    + [(answers.passed(made(plan)), 300.0, 2.0) for plan in (BUSY, WAITING)]
    + [({**answers.passed(made()), "plan": None}, None, 2.0)],
)
def test_the_next_pass_is_soon_unless_only_a_moment_is_awaited(
    made_so: dict[str, Any], requeue_after_s: float | None, expected_s: float
) -> None:
    assert pause_s({**made_so, "requeue_after_s": requeue_after_s}) == expected_s


@pytest.mark.parametrize(("plan", "code"), [(HELD, 3), (STALLED, 1)])
def test_waiting_ends_where_only_a_person_can_go_on(
    daemon: ScriptedDaemon, config: Path, plan: EnvironmentPlan, code: int
) -> None:
    daemon.answers = {requests.MakePass: answers.passed(made(plan))}
    assert hivequeen(config, "reconcile", "--wait") == code
    assert len(daemon.requests) == 1


# --- looking --------------------------------------------------------------------------------------------------------


@pytest.fixture
def journal(config: Path, tmp_path: Path) -> Iterator[SqliteJournal]:
    """What a daemon of these settings has left."""
    with SqliteJournal(f"sqlite:///{tmp_path}/state/state.db") as opened:
        opened.record(FakeClock().now(), RevisionApplied(revision=OLD, declared=frozenset({CHECKOUT, STAGING})))
        opened.append(
            Event(at=NOW, kind="TornDown", message="checkout is gone", environment=CHECKOUT),
            Event(at=NOW, kind="Suspended", message="maria suspended staging", environment=STAGING, actor="maria"),
        )
        yield opened


def test_status_of_a_daemon_is_a_line_for_each_environment(
    daemon: ScriptedDaemon, config: Path, journal: SqliteJournal, capsys: Captured
) -> None:
    daemon.answers = {
        requests.AskStatus: views.status(made(HELD, IDLE), journal.recall(NOW), journal.conditions(), NOW)
    }
    assert hivequeen(config, "status") == 0
    shown = capsys.readouterr().out
    assert re.search(r"^checkout ", shown, re.MULTILINE)
    assert re.search(r"^staging ", shown, re.MULTILINE)
    assert HOLD.remedy in shown


@pytest.mark.usefixtures("journal")
def test_without_a_daemon_the_journal_is_read(config: Path, capsys: Captured) -> None:
    assert hivequeen(config, "status", "--format", "json") == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)["environments"]] == ["checkout", "staging"]
    assert hivequeen(config, "show", "checkout") == 0
    assert "TornDown" in capsys.readouterr().out


@pytest.mark.usefixtures("journal")
@pytest.mark.parametrize("arguments", [("status",), ("show", "checkout"), ("events",)])
def test_what_the_journal_remembers_is_never_taken_for_what_is_so(
    config: Path, tmp_path: Path, capsys: Captured, arguments: tuple[str, ...]
) -> None:
    assert hivequeen(config, *arguments) == 0
    assert capsys.readouterr().err == (
        f"no daemon answers on {tmp_path}/control.sock; "
        "this is what the journal remembers, up to 2026-11-01T00:00:00Z; "
        "start it: systemctl start hivequeen, or hivequeen run\n"
    )


@pytest.mark.usefixtures("journal")
def test_where_this_command_cannot_look_either_it_says_how_to_start_the_daemon(config: Path, capsys: Captured) -> None:
    assert hivequeen(config, "plan") == 1  # Chef's key is missing here
    assert "start it: systemctl start hivequeen" in capsys.readouterr().err


def test_a_daemon_whose_settings_were_broken_since_still_answers(
    daemon: ScriptedDaemon, tmp_path: Path, capsys: Captured
) -> None:
    daemon.answers = {requests.AskEvents: {"events": [event("web is held")]}}
    wrong = write_settings(tmp_path, mode="explode")
    assert hivequeen(wrong, "events") == 0
    captured = capsys.readouterr()
    assert "web is held" in captured.out
    assert captured.err.startswith("the daemon goes on with its former settings")
    assert "mode must be one of" in captured.err


def test_without_daemon_and_journal_it_says_what_is_not_known(config: Path, capsys: Captured) -> None:
    assert hivequeen(config, "status") == 0
    captured = capsys.readouterr()
    assert "no environments" in captured.out
    assert "there is no journal yet; not known are" in captured.err


@pytest.mark.usefixtures("journal")
def test_events_are_those_of_the_environment(config: Path, capsys: Captured) -> None:
    hivequeen(config, "events", "staging", "--format", "json")
    assert [event["actor"] for event in json.loads(capsys.readouterr().out)["events"]] == ["maria"]
    hivequeen(config, "events")
    assert "checkout is gone" in capsys.readouterr().out


def event(message: str, **other: Any) -> dict[str, Any]:
    """As the daemon tells it."""
    return {
        "at": "2026-11-01T00:00:00Z",
        "kind": "Held",
        "message": message,
        "environment": "checkout",
        "node": None,
        "revision": None,
        "actor": "",
        **other,
    }


def test_following_loses_nothing_that_came_at_once_and_limits_the_first_look_only(
    daemon: ScriptedDaemon, config: Path
) -> None:
    told = [event(str(number)) for number in range(50)]

    def newest(request: requests.AskEvents) -> Any:
        count = 10 if len(daemon.asked) == 1 else 50
        return {"events": told[:count][-request.limit :]}

    daemon.answers = {requests.AskEvents: newest}
    command = ["--config", str(config), "events", "--follow", "--limit", "3", "--format", "json"]
    with subprocess.Popen(
        [sys.executable, "-m", "reconciler", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        shown = [json.loads(running.stdout.readline())["message"] for _ in range(43)]
        running.send_signal(2)
        assert running.wait(10) == 130
        assert running.stdout.read() == ""
    assert shown == [str(number) for number in range(7, 50)]


def test_following_shows_each_event_once() -> None:
    a, b, c = ({"message": name} for name in "abc")
    assert since([a, b], [b, c]) == [c]
    assert since([a], [a, b, c]) == [b, c]
    assert since([a, a], [a, a]) == []
    assert since([], [a]) == [a]
    assert since([a], [b, c]) == [b, c]


def test_show_finds_an_environment_that_does_not_exist(config: Path, journal: SqliteJournal, capsys: Captured) -> None:
    assert hivequeen(config, "show", "chekout") == 1
    assert "chekout" in capsys.readouterr().err


# --- deciding -------------------------------------------------------------------------------------------------------


def test_what_an_operator_decides_goes_to_the_daemon(daemon: ScriptedDaemon, config: Path, capsys: Captured) -> None:
    done = {"message": "done so"}
    daemon.answers = dict.fromkeys((requests.Approve, requests.TakeClaim, requests.Suspend, requests.Resume), done)
    for arguments in (
        ["approve", "3f2a91c04b7d"],
        ["claim", "--take-over"],
        ["suspend", "checkout", "--reason", "load test", "--until", "2027-01-31T18:00Z"],
        ["suspend", "--all"],
        ["resume", "checkout"],
        ["resume", "--all"],
    ):
        assert hivequeen(config, *arguments) == 0
    assert daemon.requests == [
        requests.Approve(target="3f2a91c04b7d"),
        requests.TakeClaim(take_over=True),
        requests.Suspend(environment=CHECKOUT, reason="load test", until=datetime(2027, 1, 31, 18, tzinfo=UTC)),
        requests.Suspend(),
        requests.Resume(environment=CHECKOUT),
        requests.Resume(),
    ]
    assert {actor for _, actor in daemon.asked} == {pwd.getpwuid(os.getuid()).pw_name}
    assert capsys.readouterr().out == "done so\n" * 6


@pytest.mark.parametrize("command", [("approve", "3f2a91c0"), ("claim",), ("suspend", "--all"), ("resume", "--all")])
def test_a_script_is_told_as_json_what_was_done(
    daemon: ScriptedDaemon, config: Path, capsys: Captured, command: tuple[str, ...]
) -> None:
    done = {"message": "done so"}
    daemon.answers = dict.fromkeys((requests.Approve, requests.TakeClaim, requests.Suspend, requests.Resume), done)
    assert hivequeen(config, *command, "--format", "json") == 0
    assert json.loads(capsys.readouterr().out) == done


def test_without_a_daemon_it_is_done_under_the_daemons_lock(
    config: Path, journal: SqliteJournal, tmp_path: Path, capsys: Captured
) -> None:
    assert hivequeen(config, "suspend", "checkout", "--until", "2h") == 0
    (suspension,) = journal.recall(datetime.now(UTC)).suspensions
    assert suspension.actor == pwd.getpwuid(os.getuid()).pw_name
    with Lock(tmp_path / "state" / "state.db.lock"):
        assert hivequeen(config, "resume", "checkout") == 1
    assert "in use by another hivequeen" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["suspend", "resume"])
def test_without_a_daemon_a_name_that_the_journal_does_not_know_is_refused(
    config: Path, journal: SqliteJournal, capsys: Captured, command: str
) -> None:
    assert hivequeen(config, command, "chekcout") == 1
    told = capsys.readouterr().err
    assert "there is no environment chekcout" in told
    assert "did you mean checkout?" in told
    assert "nobody can tell" not in told
    assert journal.recall(datetime.now(UTC)).suspensions == ()


def test_with_a_new_journal_any_name_can_be_suspended_but_not_silently(config: Path, capsys: Captured) -> None:
    unchecked = "nobody can tell whether there is one of that name"
    assert hivequeen(config, "suspend", "--all") == 0
    assert unchecked not in capsys.readouterr().err
    assert hivequeen(config, "suspend", "checkout") == 0
    assert unchecked in capsys.readouterr().err


@pytest.mark.parametrize("command", ["suspend", "resume"])
@pytest.mark.parametrize("arguments", [[], ["checkout", "--all"]])
def test_everything_has_to_be_said(config: Path, capsys: Captured, command: str, arguments: list[str]) -> None:
    assert hivequeen(config, command, *arguments) == 1
    assert "say --all" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2h", NOW + timedelta(hours=2)),
        ("3d", NOW + timedelta(days=3)),
        ("2027-01-31T19:00+01:00", datetime(2027, 1, 31, 18, tzinfo=UTC)),
    ],
)
def test_a_time_is_written_as_people_do(text: str, expected: datetime) -> None:
    assert moment(text, NOW) == expected


@pytest.mark.parametrize("text", ["tomorrow", "2027-01-31", "2027-01-31T18:00", "", "-2h"])
def test_a_time_that_is_none_is_a_usage_error(config: Path, capsys: Captured, text: str) -> None:
    assert hivequeen(config, "suspend", "checkout", f"--until={text}") == 1
    assert "--until" in capsys.readouterr().err


# --- errors ---------------------------------------------------------------------------------------------------------


def test_a_refusal_is_two_lines_and_no_traceback(daemon: ScriptedDaemon, config: Path, capsys: Captured) -> None:
    daemon.answers = {requests.Approve: Refused("nothing is held", remedy="see: hivequeen plan")}
    assert hivequeen(config, "approve", "abcdef") == 1
    assert capsys.readouterr().err == "Error: nothing is held\n  see: hivequeen plan\n"
    with pytest.raises(Refused):
        hivequeen(config, "--debug", "approve", "abcdef")


def test_a_choice_that_does_not_exist_is_told_without_the_librarys_words(config: Path, capsys: Captured) -> None:
    hivequeen(config, "plan", "--format", "yaml")
    complaint = capsys.readouterr().err
    assert complaint.startswith("Error: Invalid value for '--format': 'yaml' is not one of")


@pytest.mark.parametrize(
    "arguments",
    [["frobnicate"], ["plan", "--frob"], ["approve"], ["events", "--limit", "0"], ["plan", "--format", "xml"]],
)
def test_a_usage_error_exits_1_for_2_means_changes_pending(
    config: Path, capsys: Captured, arguments: list[str]
) -> None:
    assert hivequeen(config, *arguments) == 1
    assert capsys.readouterr().err.startswith("Error: ")


def test_a_name_that_cannot_be_one_is_refused_before_anything_is_asked(config: Path, capsys: Captured) -> None:
    assert hivequeen(config, "plan", "Not_A_Name") == 1
    assert "not the name of an environment" in capsys.readouterr().err


def test_settings_that_are_missing_or_wrong_are_one_line_each(tmp_path: Path, capsys: Captured) -> None:
    assert hivequeen(tmp_path / "missing.yml", "status") == 1
    wrong = write_settings(tmp_path, fleet=7, mode="explode")
    assert hivequeen(wrong, "status") == 1
    complaints = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error: ")]
    assert len(complaints) == 3
    assert any("mode" in line for line in complaints)


# --- the process ----------------------------------------------------------------------------------------------------


def process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "reconciler", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )


def test_it_says_its_version() -> None:
    done = process("--version")
    assert (done.returncode, done.stdout) == (0, f"hivequeen {__version__}\n")


def test_help_teaches_by_examples() -> None:
    done = process("suspend", "--help")
    assert done.returncode == 0
    assert "hivequeen suspend checkout" in done.stdout


@pytest.mark.parametrize("command", ["suspend", "resume"])
def test_help_does_not_promise_what_is_refused(command: str) -> None:
    text = " ".join(process(command, "--help", COLUMNS="200").stdout.split())
    assert "all if left out" not in text
    assert "for all of them say --all instead" in text


@pytest.mark.parametrize("command", [(), ("reconcile",), ("suspend",), ("events",), ("claim",)])
def test_a_flag_looks_like_a_flag(command: tuple[str, ...]) -> None:
    lines = process(*command, "--help", COLUMNS="200").stdout.splitlines()
    flags = ("--debug", "--version", "--wait", "--all", "--follow", "--take-over")
    assert [line for line in lines if "<bool>" in line and any(flag in line for flag in flags)] == []


def test_alone_it_prints_its_help_and_nothing_else() -> None:
    done = process()
    assert done.returncode == 1
    assert "Usage: hivequeen" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("form", ["table", "json"])
def test_output_that_cannot_be_written_is_one_line(daemon: ScriptedDaemon, config: Path, form: str) -> None:
    daemon.answers = {requests.AskEvents: {"events": [event("web is held")]}}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "reconciler", "--config", str(config), "events", "--format", form],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "Error: the output cannot be written: No space left on device\n"


def test_help_loads_none_of_the_heavy_libraries() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "reconciler", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert loaded.isdisjoint(
        {"boto3", "botocore", "sqlalchemy", "jsonschema", "cryptography", "starlette", "uvicorn", "requests", "yaml"}
    )


def test_a_pipe_gets_plain_text(daemon: ScriptedDaemon, config: Path) -> None:
    daemon.answers = {requests.AskPlan: answers.passed(made(HELD))}
    done = process("--config", str(config), "plan")
    assert done.returncode == 3
    assert "\x1b" not in done.stdout
    assert all(ord(character) < 0x2500 for character in done.stdout)  # no boxes


def test_a_reader_that_goes_away_is_no_error(daemon: ScriptedDaemon, config: Path) -> None:
    events = [
        {"at": "2026-11-01T00:00:00Z", "kind": "K", "message": "m" * 500, "environment": "e", "node": None, "actor": ""}
    ]
    daemon.answers = {requests.AskEvents: {"events": events * 1000}}
    with subprocess.Popen(
        [sys.executable, "-m", "reconciler", "--config", str(config), "events"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.read(10)
        running.stdout.close()
        assert running.stderr.read() == b""


def test_completion_knows_the_commands_and_the_environments(daemon: ScriptedDaemon, config: Path) -> None:
    daemon.answers = {requests.AskStatus: {"environments": [{"name": "checkout"}, {"name": "staging"}]}}
    line = f"hivequeen --config {config} plan ch"
    words = {"COMP_WORDS": line, "COMP_CWORD": "4", "_HIVEQUEEN_COMPLETE": "complete_bash"}
    assert process(**words).stdout.split() == ["checkout"]
    words = {"COMP_WORDS": "hivequeen appr", "COMP_CWORD": "1", "_HIVEQUEEN_COMPLETE": "complete_bash"}
    assert process(**words).stdout.split() == ["approve"]


def test_ctrl_c_ends_following_without_a_word(daemon: ScriptedDaemon, config: Path) -> None:
    first: dict[str, Any] = {
        "at": "2026-11-01T00:00:00Z",
        "kind": "K",
        "message": "first",
        "environment": "e",
        "node": None,
        "actor": "",
    }
    daemon.answers = {requests.AskEvents: [{"events": [first]}, {"events": [first, {**first, "message": "second"}]}]}
    with subprocess.Popen(
        [sys.executable, "-m", "reconciler", "--config", str(config), "events", "--follow", "--format", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        told = [json.loads(running.stdout.readline())["message"] for _ in range(2)]
        running.send_signal(2)
        assert running.wait(10) == 130
        assert running.stderr.read() == ""
    assert told == ["first", "second"]


@pytest.mark.slow
def test_the_sandbox_says_how_to_start_a_daemon_against_it(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "reconciler", "sandbox", "--directory", str(tmp_path / "box"), "--repository", "."],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        lines = [running.stdout.readline() for _ in range(3)]
        running.send_signal(2)
        assert running.wait(20) == 130
    assert lines[0].startswith("EC2 answers on http://127.0.0.1:")
    assert lines[2].strip().endswith(f"hivequeen --config {tmp_path}/box/hivequeen.yml run")
    assert (tmp_path / "box" / "hivequeen.yml").exists()


def test_validate_prints_every_finding_with_its_line(tmp_path: Path, capsys: Captured) -> None:
    folder = tmp_path / "environments.d"
    folder.mkdir()
    (folder / "checkout.yml").write_text("project: kickstarter\nrun_lsit: []\n")
    assert invoke(["validate", str(folder)]) == 1
    captured = capsys.readouterr()
    assert any(line.startswith(f"{folder}/checkout.yml:2:") for line in captured.out.splitlines())
    assert "findings in" in captured.err


def test_validate_sums_up_what_is_right(capsys: Captured) -> None:
    samples = Path(__file__).parents[2] / "environments.d"
    assert invoke(["validate", str(samples)]) == 0
    assert re.match(r"OK: \d+ environments, \d+ nodes", capsys.readouterr().out)


def test_one_is_not_several(capsys: Captured) -> None:
    samples = Path(__file__).parents[2] / "environments.d"
    assert invoke(["validate", str(samples / "production.yml")]) == 0
    assert "OK: 1 environment, " in capsys.readouterr().out


def test_what_is_no_environment_file_is_told_without_a_look_at_its_neighbours(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "README.md").write_text("# Read me\n")
    for number in range(20_001):  # more than a folder of environments may hold
        os.mknod(tmp_path / str(number))
    assert invoke(["validate", str(tmp_path / "README.md")]) == 1
    assert capsys.readouterr().out == (
        f"{tmp_path}/README.md:1: this is not an environment file (name one that ends in .yml or .yaml)\n"
    )


def test_validate_tells_scripts_the_same(tmp_path: Path, capsys: Captured) -> None:
    folder = tmp_path / "environments.d"
    folder.mkdir()
    (folder / "checkout.yml").write_text("extends: production\nowner: me\n")
    assert invoke(["validate", str(folder), "--format", "json"]) == 1
    document = json.loads(capsys.readouterr().out)
    schema = json.loads((Path(__file__).parents[2] / "schemas" / "findings.schema.json").read_text())
    jsonschema.validate(document, schema)
    assert [finding["line"] for finding in document["findings"]] == [1]


def test_validate_without_settings_allows_only_user_data_that_surely_fits(tmp_path: Path, capsys: Captured) -> None:
    samples = Path(__file__).parents[2] / "environments.d"
    folder = tmp_path / "environments.d"
    folder.mkdir()
    text = (samples / "production.yml").read_text()
    (folder / "production.yml").write_text(text + f"    user_data: {'x' * 5000}\n")
    missing = str(tmp_path / "nothing.yml")
    assert invoke(["--config", missing, "validate", str(folder)]) == 1
    assert "user_data" in capsys.readouterr().out
