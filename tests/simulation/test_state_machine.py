"""The same steps as a Hypothesis state machine: what it finds it makes small by itself."""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.simulation.daemon import Terms
from tests.simulation.recovery import recover
from tests.simulation.steps import KINDS, Step, limits
from tests.simulation.world import SimulatedWorld


class Fleet(RuleBasedStateMachine):
    """Each kind of step is a rule; the invariants are judged at every call of the daemon, and told after each step."""

    @initialize(
        terms=st.builds(
            Terms,
            grace_s=st.sampled_from([0, 60, 300]),
            quarantine_s=st.sampled_from([0, 3600]),
            default_ttl_h=st.sampled_from([0, 2]),
            has_policy=st.booleans(),
            removes_files=st.booleans(),
            begins_with=st.integers(0, 3),
        )
    )
    def begin(self, terms: Terms) -> None:
        self.world = SimulatedWorld(terms, has_teller=False)

    def take(self, step: Step) -> None:
        step.apply(self.world)
        assert not self.world.violations, self.world.violations[0]

    def teardown(self) -> None:
        world = getattr(self, "world", None)
        if world is None:
            return
        try:
            if not world.violations:
                found = [*recover(world), *world.violations]
                assert not found, found[0]
        finally:
            world.close()


def _rule(kind: type[Step]) -> Any:
    def take(self: Fleet, step: Step) -> None:
        self.take(step)

    numbers = {name: st.integers(0, limit - 1) for name, limit in limits(kind).items()}
    return rule(step=st.builds(kind, **numbers))(take)


for _kind in KINDS:
    setattr(Fleet, f"take_{_kind.__name__}", _rule(_kind))


def test_no_sequence_of_steps_breaks_an_invariant() -> None:
    run_state_machine_as_test(
        Fleet,
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
