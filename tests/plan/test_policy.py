"""What the policy forbids does not grow; what was there is healed."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from reconciler.model.actions import LaunchNodes, ReplaceNode, TerminateNode
from reconciler.model.desired import Environment, ImageById, RootVolume
from reconciler.model.findings import Finding, Origin, Shape, Violation
from reconciler.model.memory import IntentState, Memory
from reconciler.model.names import EnvironmentName, ImageId, RoleName
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
    out_of,
    planned,
    role,
    said,
    settled,
    there,
)

LINE = Origin(file="environments.d/checkout.yml", line=12)
MANY = Violation(finding=Finding(origin=LINE, message="4 nodes, and policy allows 2", remedy="lower count"))
TOTAL = replace(MANY, is_total=True)
FOUR = [role(count=4)]


def held_to(count: int, **changes: Any) -> Memory:
    return memory(settled=settled((CHECKOUT, WEB, count)), **changes)


def one(*nodes: Node, journal: Memory, violations: tuple[Violation, ...] = (MANY,)) -> EnvironmentPlan:
    home = environment(roles=FOUR, violations=violations)
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
    more = one(node(1), node(2), journal=held_to(2), violations=(MANY, TOTAL))
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


def test_what_all_ask_for_together_holds_growth_and_no_replacement() -> None:
    nodes = [node(number, of=environment(roles=FOUR), image=NEW_IMAGE) for number in range(1, 5)]
    made = one(*nodes, journal=held_to(4), violations=(TOTAL,))
    assert [type(action) for action in made.actions] == [ReplaceNode]
    assert made.blocked == ()
    made = one(node(1), journal=held_to(2), violations=(TOTAL,))
    assert (launches(made), blocked(made)) == (1, [2])


def test_without_a_violation_nothing_is_held() -> None:
    made = one(node(1), journal=held_to(2), violations=())
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


# --- shapes ---------------------------------------------------------------------------------------------------------

LARGE, HUGE = "m7i.large", "x1e.32xlarge"


def against(field: str, value: str = "", name: str = WEB) -> Violation:
    shape = Shape(role=RoleName(name), field=field, value=value)
    return Violation(finding=Finding(origin=LINE, message=f"{field} is against the policy"), shapes=(shape,))


def declaring(*violations: Violation, count: int = 2, **changes: Any) -> Environment:
    return environment(roles=[role(count=count, **changes)], violations=violations)


def of(home: Environment, *nodes: Node, journal: Memory | None = None) -> EnvironmentPlan:
    seen = context(desired(home), observed(there(home, nodes=nodes)), journal or held_to(2), commit=commit())
    return planned(guard(plan(seen), seen))


def test_a_forbidden_type_does_not_come_by_healing() -> None:
    home = declaring(MANY, against("instance_type", HUGE), instance_types=(HUGE,))
    made = of(home, node(1))
    assert launches(made) == 0
    (hold,) = made.blocked
    assert (hold.guard, [type(action) for action in hold.actions]) == (Guard.POLICY, [LaunchNodes])
    assert hold.message == f"{LINE}: instance_type is against the policy", "the other violation is not why"


def test_a_type_that_ran_there_is_healed_whatever_the_policy_says_now() -> None:
    home = declaring(against("instance_type", LARGE), instance_types=(LARGE,))
    assert launches(of(home, node(1))) == 1
    assert launches(of(home, node(1, phase=Phase.TERMINATING), node(2, phase=Phase.TERMINATING))) == 2
    failed = node(1, instance={"instance_type": ""}, phase=Phase.TERMINATING)
    assert failed.launched_with["instance_type"] == LARGE
    assert launches(of(home, failed)) == 2, "what it was launched with is known, though it shows no more"


def test_of_dead_nodes_the_intents_tell_what_ran_there() -> None:
    home = declaring(against("instance_type", LARGE), instance_types=(LARGE,))
    made_it = replace(intent(role=home.roles[WEB]), state=IntentState.LAUNCHED, settled_at=NOW)
    assert launches(of(home, journal=held_to(2, intents=intents(made_it)))) == 2
    for other in (
        replace(made_it, state=IntentState.REFUSED),
        replace(made_it, role=RoleName("worker")),
        replace(made_it, environment=EnvironmentName("staging")),
    ):
        assert launches(of(home, journal=held_to(2, intents=intents(other)))) == 0


def test_a_type_that_ran_in_another_role_is_new_in_this_one() -> None:
    worker = role("worker", count=1, instance_types=(HUGE,))
    web = role(instance_types=(HUGE,))
    home = environment(roles=[web, worker], violations=(against("instance_type", HUGE),))
    seen = [node(1), node(2, of=home, role=worker)]
    assert launches(of(home, *seen)) == 0
    of_the_worker = replace(home, violations=(against("instance_type", HUGE, name="worker"),))
    assert launches(of(of_the_worker, *seen)) == 1


def test_of_several_types_only_the_forbidden_one_is_held() -> None:
    home = declaring(against("instance_type", HUGE), instance_types=(LARGE, HUGE))
    medium = {"instance_type": "m6i.large"}
    seen = node(1, instance=medium, was_launched_as=medium)
    assert launches(of(home, seen)) == 1
    full = held_to(2, exhausted=tuple(out_of(LARGE, subnet) for subnet in home.roles[WEB].subnets))
    assert launches(of(home, seen, journal=full)) == 0


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("image", {"image": ImageById(image_id=NEW_IMAGE)}),
        ("security_groups", {"security_groups": frozenset({"sg-open"})}),
        ("instance_profile", {"instance_profile": "admin"}),
        ("subnets", {"subnets": ("subnet-c",)}),
        ("root_volume", {"root_volume": RootVolume(size_gib=900)}),
        ("user_data", {"user_data": "reboot"}),
        ("key_name", {"key_name": "mine"}),
        ("", {"root_volume": RootVolume(size_gib=900)}),
        ("", {"image": ImageById(image_id=NEW_IMAGE)}),
    ],
)
def test_what_a_node_is_launched_with_is_its_shape(field: str, changes: Mapping[str, Any]) -> None:
    home = declaring(against(field), **changes)
    assert launches(of(home, node(1))) == 0, "it would be new"
    image = ImageId(str(home.roles[WEB].image))
    assert launches(of(home, node(1, of=home, image=image))) == 1, "it runs there"


@pytest.mark.parametrize("field", ["count", "run_list", "attributes", "tags"])
def test_what_reaches_running_nodes_too_holds_no_healing(field: str) -> None:
    changes: dict[str, Any] = {"run_list": ("recipe[evil]",), "attributes": {"a": 1}, "tags": {"cost": "much"}}
    assert launches(of(declaring(against(field), **changes), node(1))) == 1


def test_another_subnet_makes_no_other_kind_of_node() -> None:
    home = declaring(against(""))
    assert launches(of(home, node(1, instance={"subnet": "subnet-a"}))) == 1


def test_nodes_that_boot_stay_where_nothing_comes_in_their_place() -> None:
    home = declaring(against("instance_type", HUGE), count=3, instance_types=(HUGE,))
    booting = [node(number, phase=Phase.RUNNING, age=MINUTE) for number in (1, 2)]
    lost = node(3, phase=Phase.FAILED, age=HOUR)
    made = of(home, *booting, lost, journal=held_to(3))
    assert said(made.actions) == ["terminate_node 3"], "what failed goes: nothing is drifted about it"
    assert [said(hold.actions) for hold in made.blocked] == [["launch_nodes 3", "terminate_node 1", "terminate_node 2"]]


def test_of_nodes_that_boot_no_more_stay_than_are_wanted() -> None:
    home = declaring(against("instance_type", HUGE), count=1, instance_types=(HUGE,))
    made = of(home, *(node(number, phase=Phase.RUNNING, age=MINUTE) for number in (1, 2)), journal=held_to(2))
    assert said(made.actions) == ["terminate_node 2"]
    assert [said(hold.actions) for hold in made.blocked] == [["launch_nodes 1", "terminate_node 1"]]


def test_nodes_that_boot_go_where_others_come() -> None:
    home = declaring(MANY, count=3, instance_types=("c7i.large",))
    made = of(home, *(node(number, phase=Phase.RUNNING, age=MINUTE) for number in (1, 2)))
    assert said(made.actions) == ["terminate_node 1", "terminate_node 2", "launch_nodes 2"]
    assert blocked(made) == [1]
