"""What the policy forbids does not grow; what was there is healed."""

from typing import Any

from reconciler.model.actions import LaunchNodes, TerminateNode
from reconciler.model.findings import Finding, Origin
from reconciler.model.memory import Memory
from reconciler.model.observed import Node, Phase
from reconciler.model.plan import EnvironmentPlan, Guard
from reconciler.plan import guard, plan
from tests.plan.builders import (
    CHECKOUT,
    HOUR,
    MINUTE,
    NEW_IMAGE,
    NOW,
    WEB,
    commit,
    context,
    desired,
    environment,
    intent,
    intents,
    known,
    memory,
    node,
    observed,
    planned,
    role,
    settled,
    there,
)

LINE = Origin(file="environments.d/checkout.yml", line=12)
MANY = Finding(origin=LINE, message="4 nodes, and policy allows 2", remedy="lower count")
FOUR = [role(count=4)]


def held_to(count: int, **changes: Any) -> Memory:
    return memory(settled=settled((CHECKOUT, WEB, count)), **changes)


def one(*nodes: Node, journal: Memory, findings: tuple[Finding, ...] = (MANY,)) -> EnvironmentPlan:
    home = environment(roles=FOUR, violations=findings)
    seen = context(desired(home), observed(there(home, nodes=nodes)), journal, commit=commit())
    return planned(guard(plan(seen), seen))


def launches(made: EnvironmentPlan) -> int:
    return sum(action.count for action in made.actions if isinstance(action, LaunchNodes))


def blocked(made: EnvironmentPlan) -> list[int]:
    return [
        action.count if isinstance(action, LaunchNodes) else 0
        for hold in made.blocked
        if hold.guard is Guard.POLICY
        for action in hold.actions
    ]


def test_growth_is_held_and_the_hold_names_the_line() -> None:
    made = one(node(1), node(2), journal=held_to(2))
    (hold,) = made.blocked
    assert (launches(made), blocked(made)) == (0, [2])
    assert hold.message == "environments.d/checkout.yml:12: 4 nodes, and policy allows 2"
    assert (hold.remedy, hold.actor) == (
        "correct the file, or change policy in hivequeen.yml",
        commit().author,
    )
    more = one(node(1), node(2), journal=held_to(2), findings=(MANY, MANY))
    assert more.blocked[0].message.endswith("(and 1 more)")


def test_a_new_environment_launches_nothing() -> None:
    made = one(journal=memory())
    assert (launches(made), blocked(made)) == (0, [4])


def test_what_was_there_is_healed_and_only_the_rest_is_held() -> None:
    made = one(node(1), journal=held_to(2))
    assert (launches(made), blocked(made)) == (1, [2])


def test_a_role_that_had_all_its_nodes_is_healed_whole() -> None:
    made = one(node(1), journal=held_to(4))
    assert (launches(made), made.blocked) == (3, ())


def test_a_failed_node_is_replaced_a_stopped_one_keeps_its_place() -> None:
    made = one(node(1), node(2, phase=Phase.FAILED, age=HOUR), journal=held_to(2))
    assert [type(action) for action in made.actions] == [TerminateNode, LaunchNodes]
    assert (launches(made), blocked(made)) == (1, [2])
    made = one(node(1), node(2, phase=Phase.STOPPED), journal=held_to(2))
    assert (launches(made), blocked(made)) == (0, [2])


def test_a_launch_of_unknown_outcome_takes_its_places() -> None:
    home = environment(roles=FOUR)
    pending = intent(count=1, role=home.roles[WEB])
    made = one(node(1), journal=held_to(2, intents=intents(pending)))
    assert (launches(made), blocked(made)) == (0, [2])


def test_replacements_are_held() -> None:
    nodes = [node(number, of=environment(roles=FOUR), image=NEW_IMAGE) for number in range(1, 5)]
    made = one(*nodes, journal=held_to(4))
    assert (made.actions, blocked(made)) == ((), [0])


def test_without_a_violation_nothing_is_held() -> None:
    made = one(node(1), journal=held_to(2), findings=())
    assert (launches(made), made.blocked) == (3, ())


def test_a_renewal_after_a_take_over_lets_no_removal_past_the_approval() -> None:
    """Only what a teardown removes was approved when it began."""
    home = environment()
    began = NOW - HOUR
    journal = memory(environments=known(CHECKOUT, began=began), taken_over_at=began - MINUTE, settled={})
    seen = context(desired(home), observed(there(home, nodes=[node(n) for n in (1, 2, 3)])), journal)
    made = planned(guard(plan(seen), seen))
    assert [hold.guard for hold in made.blocked if hold.actions] == [Guard.TAKE_OVER]
    assert not made.actions
