"""Seeds seldom meet it: a file that names a forbidden type by now, and a node that dies. So it is played on purpose."""

import pytest

from tests.simulation.daemon import Terms
from tests.simulation.runner import Script, run
from tests.simulation.specs import TYPES, is_allowed
from tests.simulation.steps.commits import ChangeShape, Create
from tests.simulation.steps.daemon import Live
from tests.simulation.steps.people import HandTerminate

FORBIDDEN = next(number for number, types in enumerate(TYPES) if not is_allowed(types[0]))
LIVE = Live(passes=5, span=3)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_no_death_brings_a_type_that_was_never_allowed(count: int) -> None:
    script = Script(
        seed=0,
        terms=Terms(has_policy=True),
        steps=(
            Create(stem=0, roles=0, count=count),
            LIVE,
            LIVE,
            ChangeShape(stem=0, role=0, field=1, value=FORBIDDEN),
            LIVE,
            HandTerminate(node=0),
            LIVE,
            LIVE,
        ),
    )
    done = run(script)
    assert not done.violations, done.violations[0]
