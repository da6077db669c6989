"""EC2's published request limits, as the sandbox and the EC2 in memory keep them."""

import pytest

from reconciler.sandbox.ec2_throttling import Throttling
from tests.fakes.clock import FakeClock


@pytest.mark.parametrize(
    ("operation", "at_once", "per_second"),
    [
        ("DescribeInstances", 100, 20),
        ("RunInstances", 5, 2),
        ("StartInstances", 5, 2),
        ("TerminateInstances", 100, 5),
        ("CreateTags", 100, 10),
        ("DeleteTags", 50, 5),
        ("StopInstances", 50, 5),
    ],
)
def test_requests_are_limited_at_once_and_per_second(operation: str, at_once: int, per_second: int) -> None:
    clock = FakeClock()
    throttling = Throttling(clock.now)

    def admitted() -> int:
        return sum(throttling.admits(operation) for _ in range(200))

    assert admitted() == at_once
    clock.advance(1)
    assert admitted() == per_second
    clock.advance(3600)
    assert admitted() == at_once


def test_bare_reads_are_limited_apart() -> None:
    throttling = Throttling(FakeClock().now)
    assert sum(throttling.admits("DescribeInstances", is_bare=True) for _ in range(200)) == 50
    assert throttling.admits("DescribeInstances")


@pytest.mark.parametrize(
    ("operation", "per_second"),
    [("RunInstances", 2), ("StartInstances", 2), ("StopInstances", 20), ("TerminateInstances", 20)],
)
def test_a_thousand_instances_go_at_once_and_few_per_second_then(operation: str, per_second: int) -> None:
    clock = FakeClock()
    throttling = Throttling(clock.now)
    assert throttling.admits(operation, instances=1000)
    clock.advance(1)
    assert not throttling.admits(operation, instances=per_second + 1)
    assert throttling.admits(operation, instances=per_second)
