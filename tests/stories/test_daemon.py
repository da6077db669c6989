"""The daemon as a process, against EC2 and Chef over HTTP: what no test with fakes can show."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import yaml

from reconciler.sandbox.ec2_faults import Effect, Fault, Moment
from reconciler.settings import load
from tests.first_boot.machine import Machine
from tests.reconcile.world import CHECKOUT, PRODUCTION
from tests.stories.installation import Installation

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("stories")]

SMALL = PRODUCTION.replace("count: 4", "count: 2").replace(
    'count: 2, run_list: ["recipe[kickstarter::worker]"]', 'count: 1, run_list: ["recipe[kickstarter::worker]"]'
)
ONE = PRODUCTION.replace("count: 4", "count: 1").replace("count: 2", "count: 0")
QUICK = {"pending_s": 0.2, "boot_s": 0.2, "run_s": 0.1}


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with Installation(tmp_path, **QUICK) as installation:
        yield installation


def test_a_daemon_that_is_killed_after_the_launch_makes_no_second_fleet(installation: Installation) -> None:
    """kill -9 when RunInstances has committed and its reply is still on its way."""
    installation.source.push({"production.yml": SMALL})
    faults = installation.sandbox.ec2.faults
    faults.add(Fault(effect=Effect.HANG, operation="RunInstances", moment=Moment.AFTER))
    installation.start()
    assert faults.wait_for_hanging(1, timeout_s=30)
    installation.kill()
    faults.release()
    installation.start()
    installation.until(lambda: installation.is_ready("production"), "production is ready")
    assert installation.running() == {"production/web": 2, "production/worker": 1}
    assert len(installation.launched()) == 3


def test_the_main_job_goes_by_git_push_alone(installation: Installation) -> None:
    installation.source.push({"production.yml": SMALL})
    installation.start()
    installation.until(lambda: installation.is_ready("production"), "production is ready")
    installation.source.push({"production.yml": SMALL, "checkout.yml": CHECKOUT})
    installation.until(lambda: installation.is_ready("checkout"), "checkout is ready")
    production = {
        one["instance_id"] for one in installation.launched() if one["tags"]["hivequeen:environment"] == "production"
    }
    installation.source.push({"production.yml": SMALL})
    installation.until(lambda: "checkout/web" not in installation.running(), "checkout is gone")
    installation.until(lambda: installation.command("plan").returncode == 0, "nothing is left to do")
    assert installation.running() == {"production/web": 2, "production/worker": 1}
    assert production == {one["instance_id"] for one in installation.launched() if one["state"] == "running"}
    kinds = [event["kind"] for event in installation.ask("events", "checkout")["events"]]
    assert "NodesLaunched" in kinds
    assert "NodeTerminated" in kinds


def test_it_stops_in_order_at_sigterm_and_says_so_with_its_exit_code(installation: Installation) -> None:
    installation.source.push({"production.yml": SMALL})
    installation.start()
    installation.until(lambda: installation.is_ready("production"), "production is ready")
    assert installation.stop() == 0


def test_wrong_settings_at_a_reload_leave_the_old_ones_in_force(installation: Installation) -> None:
    installation.source.push({"production.yml": SMALL})
    installation.start()
    installation.until(lambda: installation.is_ready("production"), "production is ready")
    installation.change_settings(concurrency="many")
    installation.reload()
    log = installation.directory / "daemon.log"
    installation.until(lambda: "new settings refused" in log.read_text(), "the refusal is logged")
    installation.source.push({"production.yml": SMALL.replace("count: 2", "count: 3", 1)})
    installation.until(lambda: installation.running().get("production/web") == 3, "it goes on")


def test_readyz_names_what_is_wrong_and_recovers_by_itself(installation: Installation) -> None:
    installation.source.push({"production.yml": SMALL})
    faults = installation.sandbox.ec2.faults
    faults.add(
        Fault(effect=Effect.REFUSE, operation="DescribeInstances", code="UnauthorizedOperation", status=403, times=100)
    )
    installation.start()
    operators = load(installation.sandbox.settings).listen.operators

    def readiness() -> "requests.Response | None":
        try:
            return requests.get(f"http://{operators}/readyz", timeout=5)
        except requests.ConnectionError:
            return None

    installation.until(
        lambda: (found := readiness()) is not None and "DescribeInstances: UnauthorizedOperation" in found.text,
        "it says so",
    )
    assert requests.get(f"http://{operators}/healthz", timeout=5).status_code == 200
    faults.clear()
    installation.until(lambda: (found := readiness()) is not None and found.status_code == 200, "it recovers")
    metrics = requests.get(f"http://{operators}/metrics", timeout=5).text
    assert 'hivequeen_api_requests_total{operation="DescribeInstances",result="refused",service="ec2"}' in metrics


def test_two_daemons_on_one_state_are_one_too_many(installation: Installation) -> None:
    installation.source.push({"production.yml": SMALL})
    installation.start()
    installation.until(lambda: installation.is_ready("production"), "production is ready")
    second = installation.command("run")
    assert second.returncode == 1
    assert "Traceback" not in second.stderr


def test_a_file_with_a_typing_error_is_told_with_its_line_where_people_look(installation: Installation) -> None:
    installation.source.push({"production.yml": SMALL})
    installation.start()
    installation.until(lambda: installation.is_ready("production"), "production is ready")
    installation.source.push({"production.yml": SMALL.replace("owner:", "onwer:")})
    installation.until(lambda: installation.condition("production", "Stalled").get("status") is True, "it is said")
    said = installation.command("status").stdout
    assert "environments.d/production.yml:2" in said
    assert installation.running() == {"production/web": 2, "production/worker": 1}


def test_a_pass_without_a_daemon_tells_its_troubles_in_words_and_not_as_log_lines(installation: Installation) -> None:
    installation.source.push({"production.yml": PRODUCTION.replace("run_list", "run_lsit")})
    done = installation.command("reconcile")
    assert done.returncode == 1
    assert 'unknown key "run_lsit"' in done.stdout
    assert [line for line in done.stderr.splitlines() if not line.startswith("no daemon answers")] == []
    settings = yaml.safe_load(installation.sandbox.settings.read_text())
    installation.change_settings(chef=settings["chef"] | {"server_url": "http://127.0.0.1:1/organizations/demo"})
    unreachable = installation.command("reconcile").stderr.splitlines()
    assert [line for line in unreachable if not line.startswith(("no daemon answers", "Error: claim: ", "  "))] == []


def test_a_recipe_that_fails_is_seen_where_people_look(tmp_path: Path) -> None:
    with Installation(tmp_path, failing_recipes=["kickstarter::worker"], **QUICK) as installation:
        installation.source.push({"production.yml": SMALL})
        installation.start()
        installation.until(
            lambda: "first Chef run" in installation.condition("production", "Stalled").get("message", ""),
            "the failing role is halted and says why",
        )
        kinds = [event["kind"] for event in installation.ask("events", "production")["events"]]
        assert "FirstRunFailed" in kinds
        assert installation.running()["production/web"] == 2
        assert len([one for one in installation.launched() if one["tags"]["hivequeen:role"] == "worker"]) == 3


def test_the_first_boot_script_of_a_launched_instance_makes_it_ready(tmp_path: Path) -> None:
    """The user-data that RunInstances got, run by dash with curl and openssl against the daemon over TLS."""
    with Installation(tmp_path, pending_s=0.2, boot_s=3600) as installation:  # no simulated machine boots by itself
        installation.source.push({"production.yml": ONE})
        installation.start()
        installation.until(lambda: len(installation.launched()) == 1, "an instance is launched")
        (instance,) = installation.launched()
        installation.until(lambda: installation.launched()[0]["state"] == "running", "it runs")
        imds = f"{installation.sandbox.imds_url}/instances/{instance['instance_id']}"
        booted = Machine(tmp_path / "machine").boot(installation.user_data(instance["instance_id"]), imds=imds)
        assert booted.status == 0, booted.said
        installation.until(lambda: installation.is_ready("production"), "production is ready")
        kinds = [event["kind"] for event in installation.ask("events", "production")["events"]]
        assert {"NodeRegistered", "FirstRunSucceeded", "NodeReady"} <= set(kinds)


def test_a_call_that_hangs_does_not_keep_it_from_stopping_within_ten_seconds(installation: Installation) -> None:
    installation.source.push({"production.yml": SMALL})
    faults = installation.sandbox.ec2.faults
    faults.add(Fault(effect=Effect.HANG, operation="RunInstances", moment=Moment.AFTER))
    installation.start()
    assert faults.wait_for_hanging(1, timeout_s=30)
    installation.stop(timeout_s=10)  # raises TimeoutExpired beyond it
    faults.release()
    installation.start()
    installation.until(lambda: installation.is_ready("production"), "production is ready")
    assert len(installation.launched()) == 3


def test_without_a_journal_that_can_be_read_plan_says_what_it_cannot_know(installation: Installation) -> None:
    installation.source.push({"production.yml": SMALL})
    installation.start()
    installation.until(lambda: installation.is_ready("production"), "production is ready")
    installation.stop()
    installation.change_settings(state=f"sqlite:///{installation.directory}/nothing/state.db")
    told = installation.command("plan")
    assert told.returncode == 0, told.stdout
    assert "take-over" not in told.stdout + told.stderr
    assert "whether the fleet is ours" in told.stderr
