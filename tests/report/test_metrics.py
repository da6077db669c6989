"""What Prometheus is told."""

import shutil
import subprocess
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from reconciler import __version__
from reconciler.enroll.verdicts import Delay, Refusal
from reconciler.model.actions import ActionName
from reconciler.model.desired import Lifetime, Schedule
from reconciler.model.observed import Phase
from reconciler.model.passes import Failure, Result, Scope
from reconciler.model.plan import Blocked, EnvironmentPlan, Guard, Stall
from reconciler.report.metrics import REGISTRATION_RESULTS, Metrics
from tests.report.world import (
    CHECKOUT,
    FULL,
    NOON,
    PRODUCTION,
    REVISION,
    WORKER,
    desired,
    done,
    environment,
    launch,
    made,
    node,
    observed,
    role,
    seen,
    terminate,
)

PROMTOOL = shutil.which("promtool")


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """Of the one series with exactly these labels; None if there is none."""
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            if sample.name == f"hivequeen_{name}" and sample.labels == labels:
                return float(sample.value)
    return None


def series(metrics: Metrics) -> int:
    return sum(len(family.samples) for family in text_string_to_metric_families(metrics.render().decode()))


def test_the_contract_of_the_design_is_exported() -> None:
    metrics = Metrics()
    metrics.observe(made(EnvironmentPlan(name=CHECKOUT)))
    text = metrics.render().decode()
    for name in (
        'hivequeen_nodes{environment="checkout",phase="ready",role="web"} 2.0',
        'hivequeen_desired_nodes{environment="checkout",role="web"} 2.0',
        'hivequeen_environment_condition{condition="Ready",environment="checkout"} 1.0',
        'hivequeen_actions_total{action="launch_nodes",result="done"} 0.0',
        "hivequeen_reconcile_duration_seconds_count 1.0",
        "hivequeen_node_ready_duration_seconds_count 0.0",
        "hivequeen_commit_to_launch_seconds_count 0.0",
        'hivequeen_api_requests_total{operation="RunInstances",result="ok",service="ec2"} 0.0',
        'hivequeen_plans_blocked_total{guard="prune_nodes"} 0.0',
        "hivequeen_git_last_success_timestamp_seconds 0.0",
        f'hivequeen_revision_info{{revision="{REVISION}"}} 1.0',
        'hivequeen_registrations_total{result="accepted"} 0.0',
        f'hivequeen_build_info{{version="{__version__}"}} 1.0',
        "hivequeen_resync_last_success_timestamp_seconds",
    ):
        assert name in text


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian package prometheus)")
def test_promtool_finds_nothing_to_complain_about() -> None:
    metrics = Metrics()
    metrics.observe(made(EnvironmentPlan(name=CHECKOUT), outcomes=[done(launch())]))
    metrics.node_ready(61)
    checked = subprocess.run(
        [str(PROMTOOL), "check", "metrics"], input=metrics.render(), capture_output=True, check=False, timeout=30
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_counters_begin_at_zero_for_every_action_result_and_guard() -> None:
    metrics = Metrics()
    assert {value(metrics, "actions_total", action=a, result=r) for a in ActionName for r in Result} == {0.0}
    assert {value(metrics, "plans_blocked_total", guard=guard) for guard in Guard} == {0.0}


def test_registrations_are_counted_by_every_answer_that_enrolment_gives() -> None:
    assert {"accepted", *Delay, *Refusal} == REGISTRATION_RESULTS
    metrics = Metrics()
    metrics.registration("late")
    metrics.registration("something new")
    assert value(metrics, "registrations_total", result="late") == 1
    assert value(metrics, "registrations_total", result="other") == 1


@given(st.lists(st.tuples(st.text(), st.text(), st.text()), max_size=60))
def test_whatever_requests_are_named_the_number_of_series_is_bounded(names: list[tuple[str, str, str]]) -> None:
    metrics = Metrics()
    before = series(metrics)
    for service, operation, result in names:
        metrics.count_request(service, operation, result)
        metrics.count_request("ec2", operation, result)
        metrics.registration(result)
    # "other" in each of the three places, for one known service and for no known one.
    assert series(metrics) - before <= 2 * 5 + 1


def test_a_known_request_is_counted_as_itself() -> None:
    metrics = Metrics()
    metrics.count_request("chef", "POST search/node", "ok")
    assert value(metrics, "api_requests_total", service="chef", operation="POST search/node", result="ok") == 1


def test_outcomes_holds_and_failed_stages_are_counted() -> None:
    metrics = Metrics()
    held = Blocked(guard=Guard.PRUNE_NODES, message="2 nodes would go", remedy="hivequeen approve 3f2a")
    failure = Failure(stage="observe", message="EC2 unreachable", remedy="", needs_person=False)
    metrics.observe(
        made(
            EnvironmentPlan(name=CHECKOUT, blocked=(held,)),
            outcomes=[done(launch()), done(terminate(), Result.REFUSED)],
            failures=[failure],
        )
    )
    assert value(metrics, "actions_total", action="launch_nodes", result="done") == 1
    assert value(metrics, "actions_total", action="terminate_node", result="refused") == 1
    assert value(metrics, "plans_blocked_total", guard="prune_nodes") == 1
    assert value(metrics, "pass_failures_total", stage="observe") == 1
    assert value(metrics, "resync_last_success_timestamp_seconds") == 0


def test_only_a_full_pass_without_failures_counts_as_a_resync() -> None:
    metrics = Metrics()
    scope = Scope(environments=frozenset({CHECKOUT}), because="commit")
    metrics.observe(made(EnvironmentPlan(name=CHECKOUT), scope=scope, world=observed(seen(), is_full=False)))
    assert value(metrics, "resync_last_success_timestamp_seconds") == 0
    metrics.observe(made(EnvironmentPlan(name=CHECKOUT)))
    assert value(metrics, "resync_last_success_timestamp_seconds") == NOON.timestamp() + 1


def test_a_phase_without_nodes_is_zero_not_missing() -> None:
    metrics = Metrics()
    metrics.observe(made(EnvironmentPlan(name=CHECKOUT), world=observed(seen())))
    values = {phase: value(metrics, "nodes", environment="checkout", role="web", phase=phase) for phase in Phase}
    assert values == dict.fromkeys(Phase, 0.0)


def test_gauges_of_an_environment_that_is_gone_are_removed() -> None:
    metrics = Metrics()
    both = desired(environment(), environment(PRODUCTION))
    world = observed(seen(node(1)), seen(node(2, name=PRODUCTION), name=PRODUCTION))
    metrics.observe(made(EnvironmentPlan(name=CHECKOUT), EnvironmentPlan(name=PRODUCTION), wanted=both, world=world))
    before = metrics.render().decode()
    assert 'environment="checkout"' in before and 'environment="production"' in before
    only = desired(environment(PRODUCTION))
    rest = observed(seen(node(2, name=PRODUCTION), name=PRODUCTION))
    metrics.observe(made(EnvironmentPlan(name=PRODUCTION), wanted=only, world=rest))
    after = metrics.render().decode()
    assert 'environment="checkout"' not in after and 'environment="production"' in after


def test_a_scoped_pass_leaves_the_others_figures_alone() -> None:
    metrics = Metrics()
    both = desired(environment(), environment(PRODUCTION))
    world = observed(seen(node(1)), seen(node(2, name=PRODUCTION), name=PRODUCTION))
    metrics.observe(made(EnvironmentPlan(name=CHECKOUT), EnvironmentPlan(name=PRODUCTION), wanted=both, world=world))
    scope = Scope(environments=frozenset({CHECKOUT}), because="registration")
    looked = observed(seen(node(1, Phase.FAILED)), is_full=False)
    metrics.observe(made(EnvironmentPlan(name=CHECKOUT), wanted=both, world=looked, scope=scope))
    assert value(metrics, "nodes", environment="checkout", role="web", phase="failed") == 1
    assert value(metrics, "nodes", environment="production", role="web", phase="ready") == 1
    assert value(metrics, "environment_condition", environment="production", condition="Stalled") == 0


def test_a_role_that_is_declared_no_more_takes_its_series_along() -> None:
    metrics = Metrics()
    two = desired(environment(CHECKOUT, role(), role(WORKER)))
    metrics.observe(made(EnvironmentPlan(name=CHECKOUT), wanted=two, world=observed(seen())))
    assert value(metrics, "desired_nodes", environment="checkout", role="worker") == 2
    metrics.observe(made(EnvironmentPlan(name=CHECKOUT), world=observed(seen())))
    assert value(metrics, "desired_nodes", environment="checkout", role="worker") is None
    assert value(metrics, "nodes", environment="checkout", role="worker", phase="ready") is None


def test_what_has_expired_is_asked_for_no_more_and_again_once_it_is_renewed() -> None:
    metrics = Metrics()
    over = EnvironmentPlan(name=CHECKOUT, is_declared=False)
    metrics.observe(made(over, world=observed()))
    assert value(metrics, "desired_nodes", environment="checkout", role="web") == 0
    elsewhere = Scope(environments=frozenset({PRODUCTION}), because="commit")
    metrics.observe(made(EnvironmentPlan(name=PRODUCTION), world=observed(is_full=False), scope=elsewhere))
    assert value(metrics, "desired_nodes", environment="checkout", role="web") == 0
    metrics.observe(made(EnvironmentPlan(name=CHECKOUT), world=observed()))
    assert value(metrics, "desired_nodes", environment="checkout", role="web") == 2


def test_what_sleeps_by_its_schedule_is_asked_for_when_it_wakes() -> None:
    metrics = Metrics()
    schedule = Schedule(stop="0 11 * * *", start="0 14 * * *", timezone="UTC")
    sleeper = desired(replace(environment(), lifetime=Lifetime(schedule=schedule)))
    asleep = made(EnvironmentPlan(name=CHECKOUT), wanted=sleeper)
    metrics.observe(asleep)
    assert value(metrics, "desired_nodes", environment="checkout", role="web") == 0
    metrics.observe(replace(asleep, started_at=NOON + timedelta(hours=2)))
    assert value(metrics, "desired_nodes", environment="checkout", role="web") == 2


def test_a_failed_pass_keeps_the_last_figures() -> None:
    metrics = Metrics()
    stall = Stall(reason="RoleHalted", message="web: 3 failures", remedy="hivequeen resume checkout")
    metrics.observe(made(EnvironmentPlan(name=CHECKOUT, stalls=(stall,))))
    failure = Failure(stage="observe", message="EC2 unreachable", remedy="", needs_person=False)
    failed = made(failures=[failure], is_planned=False)
    metrics.observe(failed)
    assert value(metrics, "environment_condition", environment="checkout", condition="Stalled") == 1
    assert value(metrics, "installation_condition", condition="Degraded") == 1


def test_only_the_current_revision_is_shown() -> None:
    metrics = Metrics()
    metrics.observe(made(scope=FULL))
    text = metrics.render().decode()
    assert text.count("hivequeen_revision_info{") == 1


def test_durations_and_moments_are_in_seconds() -> None:
    metrics = Metrics()
    metrics.git_success(NOON + timedelta(seconds=5))
    metrics.node_ready(95)
    metrics.commit_to_launch(0.2)
    assert value(metrics, "git_last_success_timestamp_seconds") == NOON.timestamp() + 5
    assert value(metrics, "node_ready_duration_seconds_sum") == 95
    assert value(metrics, "commit_to_launch_seconds_bucket", le="0.25") == 1


def test_when_an_environment_expires_is_shown_until_it_never_does() -> None:
    metrics = Metrics()
    metrics.observe(made(EnvironmentPlan(name=CHECKOUT, expires_at=NOON)))
    assert value(metrics, "expires_timestamp_seconds", environment="checkout") == NOON.timestamp()
    metrics.observe(made(EnvironmentPlan(name=CHECKOUT)))
    assert value(metrics, "expires_timestamp_seconds", environment="checkout") is None
