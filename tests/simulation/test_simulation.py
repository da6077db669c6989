"""Random worlds: commits, faults, crashes and hands, judged after each step; then they heal, and must come to rest."""

import pytest

from tests.simulation.runner import Script, run

SEEDS = 160
AT_A_TIME = 20


@pytest.mark.parametrize("first", range(0, SEEDS, AT_A_TIME))
def test_no_seed_breaks_an_invariant(first: int) -> None:
    for seed in range(first, first + AT_A_TIME):
        done = run(Script.of(seed))
        assert not done.violations, f"script/simulate --seed {seed}: {done.violations[0]}"


def test_the_same_seed_makes_the_same_run() -> None:
    one, other = run(Script.of(7)), run(Script.of(7))
    assert (one.passes, one.calls, one.violations) == (other.passes, other.calls, other.violations)
