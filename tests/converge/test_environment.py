"""Carrying a plan out: in its order, batched where one call will do, and what one trouble does to the rest."""

from dataclasses import replace
from typing import Any

from reconciler.errors import Conflict, Denied, Refused, Throttled, Transient
from reconciler.model import tags
from reconciler.model.actions import (
    Action,
    DeleteChefClient,
    DeleteChefEnvironment,
    DeleteChefNode,
    DeleteChefRole,
    EnsureChefNode,
)
from reconciler.model.facts import TerminationAsked
from reconciler.model.memory import Cause, IntentState
from reconciler.model.names import ChefName, InstanceId
from reconciler.model.observed import InstanceState
from reconciler.model.passes import Outcome, Result
from tests.converge.outside import (
    WHY,
    Outside,
    chef_environment,
    chef_role,
    launch,
    replay,
    start,
    stop,
    tag,
    terminate,
)
from tests.plan.builders import CHECKOUT, WEB, instance_id, node


def results(outcomes: tuple[Outcome, ...]) -> list[Result]:
    return [outcome.result for outcome in outcomes]


NAME = node(1).name
OF_NODE: dict[str, Any] = {"environment": CHECKOUT, "role": WEB, "node": NAME, "reason": WHY}


def test_every_action_has_its_outcome_in_the_plans_order(outside: Outside) -> None:
    actions: list[Action] = [chef_environment(), chef_role(), chef_role("worker"), launch(("subnet-a", 1))]
    outcomes = outside.converge(*actions)
    assert [outcome.action for outcome in outcomes] == actions
    assert results(outcomes) == [Result.DONE] * 4


def test_what_was_so_already_is_said_to_be_unchanged(outside: Outside) -> None:
    outside.converge(chef_environment(), chef_role())
    assert results(outside.converge(chef_environment(), chef_role())) == [Result.UNCHANGED] * 2


def test_a_node_is_set_back_in_chef(outside: Outside) -> None:
    outside.chef.save_node(NAME, run_list=["mine"])
    repair = EnsureChefNode(**OF_NODE, chef_environment=ChefName("checkout"), run_list=("role[checkout-web]",))
    assert results(outside.converge(repair, repair)) == [Result.DONE, Result.UNCHANGED]
    assert outside.chef.stored_nodes[NAME].run_list == ("role[checkout-web]",)


def test_chef_objects_are_deleted_and_one_that_is_gone_is_success(outside: Outside) -> None:
    outside.converge(chef_environment(), chef_role())
    outside.chef.save_node(NAME)
    removals: list[Action] = [
        DeleteChefNode(**OF_NODE, instance_id=instance_id(1)),
        DeleteChefClient(**OF_NODE, instance_id=instance_id(1)),
        DeleteChefRole(environment=CHECKOUT, role=WEB, chef_role=ChefName("checkout-web"), reason=WHY),
        DeleteChefEnvironment(environment=CHECKOUT, chef_environment=ChefName("checkout"), reason=WHY),
    ]
    assert results(outside.converge(*removals)) == [Result.DONE] * 4
    assert (dict(outside.chef.stored_nodes), dict(outside.chef.stored_roles)) == ({}, {})
    assert "checkout" not in outside.chef.stored_environments


# --- one call for many ----------------------------------------------------------------------------------------------


def test_terminations_are_one_call_and_recorded_before_it(outside: Outside) -> None:
    ids = outside.running(3)
    outcomes = outside.converge(*(terminate(one) for one in ids))
    assert results(outcomes) == [Result.DONE] * 3
    assert outside.cloud.calls == {"TerminateInstances": 1}
    assert outside.journal.before(TerminationAsked, "TerminateInstances")
    assert (outside.asked(), outside.cloud.alive()) == (ids, ())


def test_what_was_asked_is_remembered_with_its_cause(outside: Outside) -> None:
    (one,) = outside.running(1)
    outside.converge(terminate(one, Cause.SURPLUS))
    (asked,) = outside.journal.recall(outside.clock.now()).terminations
    assert (asked.instance_id, asked.environment, asked.cause, asked.at) == (
        one,
        CHECKOUT,
        Cause.SURPLUS,
        outside.clock.now(),
    )


def test_a_termination_whose_reply_is_lost_was_recorded_all_the_same(outside: Outside) -> None:
    ids = outside.running(2)
    outside.cloud.fail("TerminateInstances", Transient("timed out"), after_commit=True)
    assert results(outside.converge(*(terminate(one) for one in ids))) == [Result.UNKNOWN] * 2
    assert len(outside.journal.recall(outside.clock.now()).terminations) == 2


def test_one_that_ec2_refuses_holds_up_no_other(outside: Outside) -> None:
    ids = outside.running(3)
    outside.cloud.protect(ids[1])
    outcomes = outside.converge(*(terminate(one) for one in ids))
    assert results(outcomes) == [Result.DONE, Result.REFUSED, Result.DONE]
    assert (outcomes[1].needs_person, outcomes[1].remedy) == (True, "switch it off")
    assert outside.cloud.calls == {"TerminateInstances": 4}  # all at once, then one by one
    assert [one.instance_id for one in outside.cloud.alive()] == [ids[1]]


def test_stops_are_one_call_and_starts_are_another(outside: Outside) -> None:
    ids = outside.running(3)
    assert results(outside.converge(*(stop(one) for one in ids))) == [Result.DONE] * 3
    assert {one.state for one in outside.cloud.alive()} == {InstanceState.STOPPED}
    assert results(outside.converge(start(ids[0]), start(ids[1]), stop(ids[2]))) == [Result.DONE] * 3
    assert outside.cloud.calls == {"StopInstances": 2, "StartInstances": 1}
    assert [one.state for one in outside.cloud.alive() if one.instance_id in ids[:2]] == [InstanceState.RUNNING] * 2


def test_one_that_cannot_start_for_want_of_room_holds_up_no_other(outside: Outside) -> None:
    outside.converge(launch(("subnet-a", 1), ("subnet-b", 1)))
    ids = {one.subnet: one.instance_id for one in outside.cloud.alive()}
    outside.converge(*(stop(one) for one in ids.values()))
    outside.cloud.exhausted.add(("m7i.large", "subnet-a"))
    outcomes = outside.converge(start(ids["subnet-a"]), start(ids["subnet-b"]))
    assert results(outcomes) == [Result.REFUSED, Result.DONE]
    assert (outcomes[0].needs_person, outcomes[0].is_permanent) == (False, False)


def test_a_stop_of_unknown_outcome_ends_what_is_left_to_ask_of_ec2(outside: Outside) -> None:
    ids = outside.running(2)
    outside.cloud.fail("StopInstances", Transient("timed out"))
    outcomes = outside.converge(stop(ids[0]), terminate(ids[1]), chef_role())
    assert results(outcomes) == [Result.UNKNOWN, Result.SKIPPED, Result.DONE]


def test_equal_tags_are_one_call_and_others_another(outside: Outside) -> None:
    ids = outside.running(3)
    outside.converge(tag(ids[0], team="shop"), tag(ids[1], team="shop"), tag(ids[2], team="platform"))
    assert outside.cloud.calls == {"CreateTags": 2}
    assert [one.tags["team"] for one in outside.cloud.alive()] == ["shop", "shop", "platform"]


def test_tags_are_set_and_removed(outside: Outside) -> None:
    (one,) = outside.running(1)
    outside.converge(replace(tag(one), set={tags.PROTECTED: "true"}))
    outside.converge(tag(one, (tags.PROTECTED,), team="shop"))
    outside.converge(tag(one, ("team",)))
    assert outside.cloud.calls == {"CreateTags": 2, "DeleteTags": 2}
    assert not {tags.PROTECTED, "team"} & set(outside.cloud.alive()[0].tags)


# --- trouble --------------------------------------------------------------------------------------------------------


def test_an_unknown_outcome_ends_what_is_left_to_ask_of_that_service_and_nothing_else(outside: Outside) -> None:
    (one,) = outside.running(1)
    outside.chef.fail_next("put_role", Transient("timed out"))
    outcomes = outside.converge(chef_role(), chef_role("worker"), launch(("subnet-a", 1)), terminate(one))
    assert results(outcomes) == [Result.UNKNOWN, Result.SKIPPED, Result.SKIPPED, Result.DONE]
    assert outcomes[1].message == "chef is in trouble; see what came before"


def test_a_refusal_ends_only_what_depends_on_it(outside: Outside) -> None:
    outside.chef.fail_next("put_role", Denied("no rights", code="403", remedy="grant them"))
    outcomes = outside.converge(
        chef_role(), chef_role("worker"), launch(("subnet-a", 1)), launch(("subnet-a", 1), of="worker")
    )
    assert results(outcomes) == [Result.REFUSED, Result.DONE, Result.SKIPPED, Result.DONE]
    assert (outcomes[0].needs_person, outcomes[0].remedy) == (True, "grant them")
    assert outcomes[2].message == "its Chef role could not be made"
    assert [one.role for one in outside.cloud.alive()] == ["worker"]


def test_without_their_chef_environment_no_role_launches(outside: Outside) -> None:
    outside.chef.fail_next("put_environment", Conflict("it exists", code="409"))
    outcomes = outside.converge(
        chef_environment(), chef_role(), launch(("subnet-a", 1)), launch(("subnet-a", 1), of="worker")
    )
    assert results(outcomes) == [Result.REFUSED, Result.DONE, Result.SKIPPED, Result.SKIPPED]


def test_a_replay_waits_for_its_chef_role_too(outside: Outside) -> None:
    outside.cloud.fail("RunInstances", Transient("timed out"))
    outside.converge(launch(("subnet-a", 1)))
    outside.chef.fail_next("put_role", Refused("bad", code="400"))
    outcomes = outside.converge(chef_role(), replay(outside.intents()[0]))
    assert results(outcomes) == [Result.REFUSED, Result.SKIPPED]
    assert outside.states() == [IntentState.OPEN]


def test_nobody_comes_in_the_place_of_one_that_ec2_does_not_end(outside: Outside) -> None:
    (one,) = outside.running(1)
    outside.cloud.protect(one)
    outcomes = outside.converge(terminate(one), launch(("subnet-a", 1)), launch(("subnet-a", 1), of="worker"))
    assert results(outcomes) == [Result.REFUSED, Result.SKIPPED, Result.DONE]
    assert outcomes[1].message.endswith("could not be ended, and keeps its place")
    assert [node.role for node in outside.cloud.alive()] == ["web", "worker"]


def test_nobody_comes_in_the_place_of_one_whose_end_was_not_let_through(outside: Outside) -> None:
    (one,) = outside.running(1)
    outside.cloud.fail("TerminateInstances", Throttled("slow down"))
    assert results(outside.converge(terminate(one), launch(("subnet-a", 1)))) == [Result.SKIPPED] * 2
    assert len(outside.cloud.alive()) == 1


def test_removals_do_not_wait_for_chef(outside: Outside) -> None:
    (one,) = outside.running(1)
    outside.chef.fail_next("put_role", Refused("bad", code="400"))
    assert results(outside.converge(chef_role(), terminate(one))) == [Result.REFUSED, Result.DONE]


def test_a_daemon_that_stops_begins_nothing_more(outside: Outside) -> None:
    outside.is_stopping = lambda: True
    outcomes = outside.converge(chef_role(), launch(("subnet-a", 1)))
    assert results(outcomes) == [Result.SKIPPED] * 2
    assert {outcome.message for outcome in outcomes} == {"the pass ended before it"}
    assert (outside.intents(), outside.chef.writes) == ([], 0)


def test_what_is_under_way_when_it_stops_is_finished(outside: Outside) -> None:
    outside.is_stopping = lambda: outside.cloud.calls["RunInstances"] > 0
    outcomes = outside.converge(launch(("subnet-a", 1)), launch(("subnet-a", 1), of="worker"))
    assert results(outcomes) == [Result.DONE, Result.SKIPPED]


def test_an_empty_plan_is_nothing_to_do(outside: Outside) -> None:
    assert outside.converge() == ()


def test_terminating_what_ec2_does_not_know_is_no_trouble(outside: Outside) -> None:
    assert results(outside.converge(terminate(InstanceId("i-0123456789abcdef0")))) == [Result.DONE]
