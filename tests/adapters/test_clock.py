"""Both clocks tell aware times in UTC that do not go back."""

from datetime import UTC, datetime, timedelta

import pytest

from reconciler.adapters.clock import SystemClock
from reconciler.ports import Clock
from tests.fakes.clock import FakeClock


@pytest.mark.parametrize("clock", [SystemClock(), FakeClock()], ids=["system", "fake"])
def test_a_clock_tells_aware_utc(clock: Clock) -> None:
    first, second = clock.now(), clock.now()
    assert first.tzinfo is UTC
    assert first <= second


def test_a_fake_clock_moves_only_when_told() -> None:
    clock = FakeClock(datetime(2026, 11, 1, tzinfo=UTC))
    assert clock.now() == clock.now() == datetime(2026, 11, 1, tzinfo=UTC)
    assert clock.advance(1.5) == clock.now() == datetime(2026, 11, 1, tzinfo=UTC) + timedelta(seconds=1.5)


def test_a_fake_clock_is_aware_and_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="aware"):
        FakeClock(datetime(2026, 11, 1))  # noqa: DTZ001 - the very thing that is refused
    with pytest.raises(ValueError, match="back"):
        FakeClock().advance(-1)
