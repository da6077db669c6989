"""The alerts and the dashboard in `monitoring/` ask for what the daemon really exports."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from reconciler.model.conditions import ConditionType
from reconciler.model.memory import Suspension
from reconciler.model.observed import Phase
from reconciler.model.plan import EnvironmentPlan, Guard
from reconciler.report.metrics import REGISTRATION_RESULTS, Metrics, Notified
from tests.report.world import CHECKOUT, NOON, SECOND, ending, grace, made, memory, node, observed, seen

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "monitoring"
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian package prometheus)")


def exported() -> dict[str, set[str]]:
    """Series name → label names, of a daemon that has seen something."""
    metrics = Metrics()
    plan = EnvironmentPlan(name=CHECKOUT, is_declared=False, ending=ending(), blocked=(grace(),))
    suspension = Suspension(environment=CHECKOUT, reason="", actor="ops", since=NOON, until=NOON + SECOND)
    remembered = replace(memory(), suspensions=(suspension,))
    metrics.observe(made(plan, world=observed(seen(node())), remembered=remembered))
    series: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            series.setdefault(sample.name, set()).update(sample.labels)
    return series


def rules() -> list[dict[str, Any]]:
    document = yaml.safe_load((MONITORING / "hivequeen.rules.yml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def dashboard_queries() -> list[str]:
    document = json.loads((MONITORING / "grafana-dashboard.json").read_text())
    return [target["expr"] for panel in document["panels"] for target in panel["targets"]] + [
        variable["query"] for variable in document["templating"]["list"] if variable["type"] == "query"
    ]


def queries() -> list[str]:
    return [rule["expr"] for rule in rules()] + dashboard_queries()


def test_every_series_that_is_asked_for_is_exported() -> None:
    asked = {name for query in queries() for name in re.findall(r"\bhivequeen_\w+", query)}
    assert asked and asked <= set(exported())


def test_every_label_that_is_matched_belongs_to_its_series() -> None:
    series = exported()
    for query in queries():
        for name, matchers in re.findall(r"\b(hivequeen_\w+)\{([^}]*)\}", query):
            labels = set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)\s*\"", matchers))
            assert labels <= series[name], query


def test_every_label_value_that_is_matched_can_occur() -> None:
    closed: dict[str, set[str]] = {
        "condition": {*ConditionType},
        "phase": {*Phase},
        "result": {*REGISTRATION_RESULTS, *Notified, "ok", "unchanged"},
        "guard": {*Guard},
    }
    for query in queries():
        for label, _, values in re.findall(r"(condition|phase|result|guard)(=~|!~|!=|=)\"([^\"]*)\"", query):
            assert set(values.split("|")) <= closed[label], query


def test_every_alert_says_what_to_do() -> None:
    for rule in rules():
        assert {"summary", "description"} == set(rule["annotations"])
        assert rule["labels"]["severity"] in {"warning", "critical"}


def promtool(*arguments: str | Path) -> None:
    result = subprocess.run(
        [str(PROMTOOL), *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode == 0, result.stdout + result.stderr


@needs_promtool
def test_promtool_accepts_the_alerts() -> None:
    promtool("check", "rules", MONITORING / "hivequeen.rules.yml")


@needs_promtool
def test_the_alerts_fire_when_they_should_and_only_then() -> None:
    promtool("test", "rules", MONITORING / "hivequeen.rules.test.yml")


@needs_promtool
def test_promtool_accepts_the_sample_scrape_configuration() -> None:
    promtool("check", "config", MONITORING / "prometheus.yml")
