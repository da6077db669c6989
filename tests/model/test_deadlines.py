"""Until when a node may take: a time in which it could not have got further by itself does not count against it."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.deadlines import CATCH_UP, deadline
from reconciler.model.memory import Blindness

LAUNCHED = datetime(2026, 11, 1, 12, tzinfo=UTC)
LATER, LATEST = LAUNCHED + timedelta(minutes=5), LAUNCHED + timedelta(minutes=10)


@pytest.mark.parametrize(
    ("deferred", "sighted", "begins"),
    [
        pytest.param(None, None, LAUNCHED, id="with its launch"),
        pytest.param(LATER, None, LATER, id="when it was put off last"),
        pytest.param(None, LATER, LATER, id="when reads worked again"),
        pytest.param(LATER, LATEST, LATEST, id="with the later of both"),
        pytest.param(LATEST, LATER, LATEST, id="whichever that is"),
        pytest.param(LAUNCHED - timedelta(hours=1), LAUNCHED - timedelta(hours=2), LAUNCHED, id="never before it"),
    ],
)
def test_the_time_to_become_ready_begins(deferred: datetime | None, sighted: datetime | None, begins: datetime) -> None:
    found = deadline(launched_at=LAUNCHED, deferred_at=deferred, sighted_again_at=sighted, bootstrap_s=1800)
    assert found == begins + timedelta(minutes=30)


def blind(*times: tuple[float, float]) -> tuple[Blindness, ...]:
    """From and to, in minutes after the launch."""
    return tuple(
        Blindness(began_at=LAUNCHED + timedelta(minutes=begin), ended_at=LAUNCHED + timedelta(minutes=end))
        for begin, end in times
    )


def ends_after(*times: tuple[float, float], deferred: datetime | None = None) -> float:
    """Minutes after the launch, of thirty that it has."""
    sighted = max((one.ended_at for one in blind(*times)), default=None)
    found = deadline(
        launched_at=LAUNCHED,
        deferred_at=deferred,
        sighted_again_at=sighted,
        blindnesses=blind(*times),
        bootstrap_s=1800,
    )
    return (found - LAUNCHED) / timedelta(minutes=1)


@pytest.mark.parametrize(
    ("times", "ends"),
    [
        pytest.param([], 30, id="never blind"),
        pytest.param([(1, 121)], 30 + 120 + 5, id="as long as it lasted, and a little to catch up"),
        pytest.param([(10, 12)], 30 + 2 + 2, id="no more to catch up than it lasted"),
        pytest.param([(-60, 10)], 30 + 10 + 5, id="only from the launch on"),
        pytest.param([(-60, -10)], 30, id="what was before it is nothing to it"),
        pytest.param([(1, 70), (75, 76)], 30 + 69 + 5 + 2, id="each for itself"),
        pytest.param([(31, 300)], 30, id="what has failed does not come back"),
    ],
)
def test_a_blindness_postpones_a_deadline_by_about_its_length(times: list[tuple[float, float]], ends: float) -> None:
    assert ends_after(*times) == ends


def test_what_was_before_the_last_503_is_in_its_new_time_already() -> None:
    assert ends_after((1, 4), deferred=LATER) == 5 + 30


def test_a_minute_of_failed_reads_in_every_half_hour_postpones_nothing_for_ever() -> None:
    assert ends_after(*((minute, minute + 1) for minute in range(29, 6000, 30))) == 32


_TIMES = st.lists(st.tuples(st.floats(0, 5), st.floats(0, 60)), max_size=5)  # so many minutes in sight, and not


@given(lasted=_TIMES)
def test_nobody_loses_time_in_sight_and_nobody_gains_more_than_it_takes_to_catch_up(
    lasted: list[tuple[float, float]],
) -> None:
    times, at = [], 0.0
    for gap, length in lasted:
        times.append((at + gap, at + gap + length))
        at += gap + length
    gained = timedelta(minutes=ends_after(*times) - 30)
    lost = timedelta(minutes=sum(length for _, length in lasted))
    slack = timedelta(milliseconds=1)
    assert lost - slack <= gained <= lost + min(lost, CATCH_UP * len(lasted)) + slack
