"""What nobody thought of stays with the environment that brings it up."""

from dataclasses import replace

from reconciler.model.desired import Lifetime, Schedule
from reconciler.plan import guard, plan
from tests.plan.builders import (
    CHECKOUT,
    NOW,
    bare,
    context,
    desired,
    ending_since,
    environment,
    known,
    memory,
    node,
    observed,
    planned,
    there,
)

OTHER = "other"
# The reader would have refused it; as a value it stands for any defect of ours.
POISONED = replace(environment(), lifetime=Lifetime(schedule=Schedule(stop="never", start="never", timezone="UTC")))


def test_a_defect_in_planning_is_said_where_it_is_and_the_others_go_on() -> None:
    world = observed(there(POISONED), bare(OTHER))
    made = plan(context(desired(POISONED, environment(OTHER)), world))
    (stall,) = planned(made).stalls
    assert (stall.reason, planned(made).actions) == ("Defect", ())
    assert "CronSimError" in stall.message
    assert ".py:" in stall.message
    assert planned(made, OTHER).actions
    assert planned(made, OTHER).stalls == ()


def test_a_defect_in_a_guard_holds_everything_of_its_environment() -> None:
    ending = ending_since(NOW.replace(tzinfo=None))  # cannot be compared with any moment
    remembered = memory(environments=known(CHECKOUT, ending=None))
    seen = context(desired(environment(OTHER)), observed(bare(CHECKOUT, nodes=[node(1)]), bare(OTHER)), remembered)
    made = plan(seen)
    assert planned(made).actions
    damaged = replace(
        made,
        environments=tuple(replace(one, ending=ending) if one.name == CHECKOUT else one for one in made.environments),
    )
    decided = guard(damaged, seen)
    assert planned(decided).actions == ()
    assert [stall.reason for stall in planned(decided).stalls] == ["Defect"]
    assert planned(decided, OTHER).actions
