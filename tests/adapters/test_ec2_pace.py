"""The pace at which EC2 is asked: within EC2's limits, and no slower than that for long."""

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.adapters.ec2 import Ec2
from reconciler.adapters.ec2_pace import Pace
from reconciler.errors import Throttled
from reconciler.model.memory import LaunchParameters
from reconciler.model.names import FleetId, ImageId, IntentToken
from reconciler.sandbox.ec2 import Ec2Endpoint, serve
from reconciler.sandbox.ec2_throttling import Throttling
from reconciler.settings import AwsSettings
from tests.adapters.test_ec2_contract import signed_session
from tests.fakes.clock import FakeClock

OPERATIONS = (
    "RunInstances",
    "StartInstances",
    "StopInstances",
    "TerminateInstances",
    "CreateTags",
    "DeleteTags",
    "DescribeInstances",
)


class Stopwatch:
    """Seconds that pass when they are told to, of the same time as the clock's."""

    def __init__(self) -> None:
        self.clock = FakeClock()

    def __call__(self) -> float:
        return self.clock.now().timestamp()

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)


def admitted(pace: Pace, operation: str, *, tries: int, instances: int = 1) -> int:
    """How many of so many requests fit at this moment."""
    fitting = 0
    for _ in range(tries):
        try:
            pace.take(operation, instances=instances)
        except Throttled:
            break
        fitting += 1
    return fitting


@pytest.mark.parametrize(
    ("operation", "at_once"),
    [
        ("RunInstances", 4),
        ("DescribeInstances", 80),
        ("TerminateInstances", 80),
        ("CreateTags", 80),
        ("DeleteTags", 40),
    ],
)
def test_so_many_fit_at_once_and_each_operation_counts_for_itself(operation: str, at_once: int) -> None:
    pace = Pace(Stopwatch())
    assert admitted(pace, operation, tries=200) == at_once
    assert all(admitted(pace, other, tries=1) for other in OPERATIONS if other != operation)


def test_what_does_not_fit_says_when_it_will_and_then_it_does() -> None:
    watch = Stopwatch()
    pace = Pace(watch)
    admitted(pace, "RunInstances", tries=9)
    with pytest.raises(Throttled) as held:
        pace.take("RunInstances", instances=1)
    assert held.value.retry_after_s == pytest.approx(1 / 1.6)
    assert "held back" in held.value.message
    watch.advance(1 / 1.6)
    pace.take("RunInstances", instances=1)


def test_what_was_held_back_has_cost_nothing() -> None:
    watch = Stopwatch()
    pace = Pace(watch)
    pace.take("RunInstances", instances=800)
    for _ in range(50):
        with pytest.raises(Throttled):
            pace.take("RunInstances", instances=1)
    watch.advance(1)
    assert admitted(pace, "RunInstances", tries=9) == 1  # one of its instances is back, and all its requests


def test_a_call_for_more_than_there_ever_are_needs_all_of_them_and_the_next_one_waits_for_it() -> None:
    watch = Stopwatch()
    pace = Pace(watch)
    pace.take("TerminateInstances", instances=2000)
    with pytest.raises(Throttled) as held:
        pace.take("TerminateInstances", instances=1)
    assert held.value.retry_after_s == pytest.approx((2000 - 800 + 1) / 16)


def test_a_reserved_launch_takes_no_second_place() -> None:
    pace = Pace(Stopwatch())
    for _ in range(4):
        pace.reserve_launch(1)
    with pytest.raises(Throttled):
        pace.reserve_launch(1)
    assert [pace.use_reservation() for _ in range(5)] == [True] * 4 + [False]


@given(
    st.lists(
        st.tuples(st.sampled_from(OPERATIONS), st.integers(1, 1500), st.integers(1, 120), st.floats(0, 30)), max_size=40
    )
)
def test_ec2_never_throttles_what_the_pace_lets_through(
    requests: list[tuple[str, int, int, float]],
) -> None:
    watch = Stopwatch()
    pace, ec2 = Pace(watch), Throttling(watch.clock.now)
    for operation, instances, times, pause_s in requests:
        for _ in range(times):
            try:
                pace.take(operation, instances=instances)
            except Throttled:
                break
            assert ec2.admits(operation, instances=instances)
        watch.advance(pause_s)


# --- in the adapter ---


PARAMETERS = LaunchParameters(
    image=ImageId("ami-0123456789abcdef0"),
    instance_type="m7i.large",
    subnet="subnet-0a1b2c3d4e5f60001",
    count=1,
    security_groups=("sg-0a1b2c3d4e5f60001",),
    instance_profile=None,
    key_name=None,
    root_volume_size_gib=None,
    root_volume_type=None,
    user_data="",
    tags=(("hivequeen:fleet", "demo"),),
)


def test_many_launches_never_make_ec2_throttle_and_what_is_held_back_is_not_sent() -> None:
    watch = Stopwatch()
    endpoint = Ec2Endpoint(is_throttling=True, now=watch.clock.now)
    sent: list[tuple[str, str, str]] = []
    with serve(endpoint) as url:
        ec2 = Ec2(
            AwsSettings(region="us-east-1", endpoint_url=url),
            FleetId("demo"),
            lambda *request: sent.append(request),
            sessions=signed_session,
            pace=Pace(watch),
        )
        for number in range(12):
            if number >= 4:
                with pytest.raises(Throttled):
                    ec2.reserve_launch(1)
                watch.advance(1 / 1.6 + 0.001)
            ec2.reserve_launch(1)
            ec2.run_instances(IntentToken(f"t{number}"), PARAMETERS)
        assert len(ec2.list_instances()) == 12
    assert not endpoint.throttled
    assert sent.count(("ec2", "RunInstances", "ok")) == len([one for one in sent if one[1] == "RunInstances"]) == 12


def test_a_launch_that_nobody_reserved_keeps_the_pace_too() -> None:
    watch = Stopwatch()
    with serve(Ec2Endpoint(is_throttling=True, now=watch.clock.now)) as url:
        settings = AwsSettings(region="us-east-1", endpoint_url=url)
        ec2 = Ec2(settings, FleetId("demo"), lambda *_: None, sessions=signed_session, pace=Pace(watch))
        for number in range(4):
            ec2.run_instances(IntentToken(f"t{number}"), PARAMETERS)
        with pytest.raises(Throttled):
            ec2.run_instances(IntentToken("t5"), PARAMETERS)
        assert len(ec2.list_instances()) == 4


def test_a_client_that_hurries_is_throttled_and_nothing_is_done() -> None:
    watch = Stopwatch()
    endpoint = Ec2Endpoint(is_throttling=True, now=watch.clock.now)
    with serve(endpoint) as url:
        ec2 = Ec2(
            AwsSettings(region="us-east-1", endpoint_url=url),
            FleetId("demo"),
            lambda *_: None,
            sessions=signed_session,
            pause=lambda _: None,
            pace=Pace(count(step=60).__next__),
        )
        for number in range(5):
            ec2.run_instances(IntentToken(f"t{number}"), PARAMETERS)
        with pytest.raises(Throttled):
            ec2.run_instances(IntentToken("t5"), PARAMETERS)
        assert endpoint.throttled["RunInstances"] > 1  # it was repeated within bounds
        assert len(ec2.list_instances()) == 5
