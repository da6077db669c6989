"""Reports of first runs: taken from registered nodes only, once, and never taken back."""

from http import HTTPStatus

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.enroll.answers import Answer
from reconciler.enroll.masking import LOG_BYTES_MAX
from reconciler.errors import Transient
from reconciler.model.facts import NodeReady
from reconciler.model.names import InstanceId
from reconciler.sandbox.authority import sign
from tests.enroll.world import ENVIRONMENT, World


@pytest.fixture
def node(world: World, key: RSAPrivateKey) -> InstanceId:
    """One that registered."""
    instance_id = world.launch()
    world.register(world.form(instance_id, key))
    world.woken.clear()
    return instance_id


def content(instance_id: str, outcome: str, log: str = "", user_data: str = "0") -> bytes:
    return f"instance_id={instance_id}\noutcome={outcome}\nuser_data={user_data}\n\n{log}".encode()


def report(world: World, key: RSAPrivateKey, said: bytes) -> Answer:
    return world.first_runs.report(content=said, signature=sign(key, said))


def test_a_success_is_noted_and_wakes_its_environment(world: World, key: RSAPrivateKey, node: InstanceId) -> None:
    answer = report(world, key, content(node, "success", "Chef run complete"))
    assert (answer.status, answer.body) == (HTTPStatus.OK, "noted=true\n")
    assert world.record(node).first_run_ok is True
    assert world.record(node).first_run_log == "Chef run complete"
    assert world.events[-1].kind == "FirstRunSucceeded"
    assert world.woken == [ENVIRONMENT]


def test_a_failure_is_told_with_the_end_of_its_log(world: World, key: RSAPrivateKey, node: InstanceId) -> None:
    log = "\n".join(f"line {number}" for number in range(100))
    report(world, key, content(node, "failure", log))
    assert world.record(node).first_run_ok is False
    event = world.events[-1]
    assert event.kind == "FirstRunFailed"
    assert "line 99" in event.message
    assert "line 79" not in event.message
    assert event.node == world.record(node).name


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        (["failure", "success"], True),
        (["success", "failure"], True),
        (["failure", "failure"], False),
        (["success", "success"], True),
        (["failure", "success", "failure"], True),
    ],
)
def test_success_is_never_taken_back_and_repeats_are_noted_once(
    world: World, key: RSAPrivateKey, node: InstanceId, told: list[str], *, kept: bool
) -> None:
    before = len(world.events)
    for outcome in told:
        assert report(world, key, content(node, outcome)).status is HTTPStatus.OK
    assert world.record(node).first_run_ok is kept
    assert len(world.events) - before == (2 if told[:2] == ["failure", "success"] else 1)


def test_a_node_that_is_ready_cannot_be_failed_by_a_report(world: World, key: RSAPrivateKey, node: InstanceId) -> None:
    world.journal.record(world.clock.now(), NodeReady(instance_id=node))
    assert report(world, key, content(node, "failure")).status is HTTPStatus.OK
    assert world.record(node).first_run_ok is not False


def test_declared_user_data_that_failed_is_told(world: World, key: RSAPrivateKey, node: InstanceId) -> None:
    report(world, key, content(node, "success", user_data="3"))
    assert world.events[-1].message.endswith("its declared user_data failed with exit status 3")


def assert_refused(world: World, answer: Answer, reason: str) -> None:
    assert (answer.status, answer.body) == (HTTPStatus.FORBIDDEN, f"refused={reason}\n")
    assert world.refused == {reason: 1}
    assert world.events[-1].kind == "RegistrationRefused"
    assert not world.woken


def test_another_key_cannot_report(world: World, other_key: RSAPrivateKey, node: InstanceId) -> None:
    assert_refused(world, report(world, other_key, content(node, "success")), "report")
    assert world.record(node).first_run_ok is None


def test_a_node_cannot_report_for_another(world: World, key: RSAPrivateKey, node: InstanceId) -> None:
    other = world.launch()
    assert_refused(world, report(world, key, content(other, "failure")), "report")
    assert world.record(other).first_run_ok is None


def test_an_unknown_instance_cannot_report(world: World, key: RSAPrivateKey) -> None:
    assert_refused(world, report(world, key, content("i-0123456789abcdef0", "failure")), "report")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(data=st.data())
def test_any_changed_byte_of_a_report_is_refused(
    world: World, key: RSAPrivateKey, node: InstanceId, data: st.DataObject
) -> None:
    said = content(node, "failure", "the log")
    signature = sign(key, said)
    both = said + signature
    position = data.draw(st.integers(0, len(both) - 1))
    change = data.draw(st.integers(1, 255))
    changed = both[:position] + bytes([both[position] ^ change]) + both[position + 1 :]
    answer = world.first_runs.report(content=changed[: len(said)], signature=changed[len(said) :])
    assert answer.status is HTTPStatus.FORBIDDEN
    assert world.record(node).first_run_ok is None


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"instance_id=i-0123456789abcdef0\noutcome=success\nuser_data=0\n",
        b"\xff\n\n",
        content("../../etc", "success"),
        content("i-0123456789abcdef0", "perhaps"),
        content("i-0123456789abcdef0", "success", user_data="-1"),
        content("i-0123456789abcdef0", "success", user_data="1234"),
        content("i-0123456789abcdef0", "success", "x" * (LOG_BYTES_MAX + 1)),
        b"a=" + b"b" * 600 + b"\n\n",
    ],
)
def test_what_is_no_report_is_refused(world: World, key: RSAPrivateKey, said: bytes) -> None:
    assert_refused(world, report(world, key, said), "malformed")


def test_while_the_journal_cannot_be_used_reports_are_put_off(
    world: World, key: RSAPrivateKey, node: InstanceId
) -> None:
    world.journal.fail_next("node", Transient("database is locked"))
    answer = report(world, key, content(node, "success"))
    assert (answer.status, answer.retry_after_s) == (HTTPStatus.SERVICE_UNAVAILABLE, 1)
    assert world.deferred == {"journal_unavailable": 1}
    assert report(world, key, content(node, "success")).status is HTTPStatus.OK
