"""Until when a node may take: the clock begins again whenever it could not have got further by itself."""

from datetime import UTC, datetime, timedelta

import pytest

from reconciler.model.deadlines import deadline

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
