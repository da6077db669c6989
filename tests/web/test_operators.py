from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
import requests

from reconciler.listener import Server
from reconciler.model.conditions import Condition, ConditionType
from reconciler.model.names import EnvironmentName
from reconciler.model.passes import Failure, Pass, Scope
from reconciler.report.reasons import ACCESS_DENIED
from reconciler.web.operators import create_operators_app

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def full_pass(*failures: Failure) -> Pass:
    return Pass(scope=Scope(environments=None, because="resync"), started_at=NOW, ended_at=NOW, failures=failures)


@pytest.fixture
def state() -> SimpleNamespace:
    """What the daemon would show."""
    return SimpleNamespace(age_s=1.0, made=None, conditions=())


@pytest.fixture
def url(state: SimpleNamespace) -> Iterator[str]:
    app = create_operators_app(
        metrics=lambda: b"hivequeen_nodes 3\n",
        progress_age_s=lambda: float(state.age_s),
        stuck_after_s=300,
        last_full_pass=lambda: state.made,
        conditions=lambda: state.conditions,
    )
    with Server(app, name="operators", host="127.0.0.1", port=0) as server:
        yield server.url


def get(url: str, **headers: str) -> requests.Response:
    return requests.get(url, timeout=10, headers=headers)


def test_metrics_are_served_as_prometheus_wants_them(url: str) -> None:
    answer = get(f"{url}/metrics")
    assert answer.text == "hivequeen_nodes 3\n"
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")


def test_health_is_the_loops_progress(url: str, state: SimpleNamespace) -> None:
    assert get(f"{url}/healthz").status_code == 200
    state.age_s = 301
    answer = get(f"{url}/healthz")
    assert answer.status_code == 503
    assert "301 s" in answer.text


def test_not_ready_before_the_first_full_pass(url: str) -> None:
    answer = get(f"{url}/readyz")
    assert answer.status_code == 503
    assert "no full pass" in answer.text


def test_ready_after_a_full_pass_without_failures(url: str, state: SimpleNamespace) -> None:
    state.made = full_pass()
    assert get(f"{url}/readyz").status_code == 200


def test_not_ready_names_everything_that_is_wrong_with_its_remedy(url: str, state: SimpleNamespace) -> None:
    state.made = full_pass(
        Failure(stage="observe", message="Chef: 403 on /search/role", remedy="grant read", needs_person=True),
        Failure(stage="source", message="git: connection refused", remedy="", needs_person=False),
    )
    answer = get(f"{url}/readyz")
    assert answer.status_code == 503
    assert answer.text.splitlines() == [
        "observe: Chef: 403 on /search/role (grant read)",
        "source: git: connection refused",
    ]
    document = get(f"{url}/readyz", accept="application/json").json()
    assert document["ready"] is False
    assert document["problems"][0] == {
        "stage": "observe",
        "message": "Chef: 403 on /search/role",
        "remedy": "grant read",
        "environment": None,
    }


def test_one_environments_trouble_is_its_own(url: str, state: SimpleNamespace) -> None:
    state.made = full_pass(
        Failure(
            stage="converge",
            message="bad image",
            remedy="",
            needs_person=True,
            environment=EnvironmentName("checkout"),
        )
    )
    assert get(f"{url}/readyz").status_code == 200


@pytest.mark.parametrize("path", ["/", "/docs", "/api/v1/status", "/bootstrap/v1/register"])
def test_nothing_else_is_served(url: str, path: str) -> None:
    assert get(f"{url}{path}").status_code == 404


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz"])
def test_nothing_can_be_changed_through_it(url: str, path: str) -> None:
    assert requests.post(f"{url}{path}", timeout=10).status_code == 405


def test_a_missing_permission_is_named_once_however_many_environments_it_stops(
    url: str, state: SimpleNamespace
) -> None:
    state.made = full_pass()
    state.conditions = [
        Condition(
            environment=EnvironmentName(name),
            type=ConditionType.STALLED,
            is_true=True,
            reason=ACCESS_DENIED,
            message="ensure_chef_role: 403",
            remedy="grant a group that holds client hivequeen the permission CREATE on container roles",
        )
        for name in ("checkout", "staging")
    ]
    answer = get(f"{url}/readyz")
    assert answer.status_code == 503
    assert answer.text.count("CREATE on container roles") == 1


def test_a_bad_image_in_one_file_leaves_the_daemon_ready(url: str, state: SimpleNamespace) -> None:
    state.made = full_pass()
    state.conditions = [
        Condition(
            environment=EnvironmentName("checkout"),
            type=ConditionType.STALLED,
            is_true=True,
            reason="ActionRefused",
            message="web could not be launched: InvalidAMIID.NotFound",
        )
    ]
    assert get(f"{url}/readyz").status_code == 200
