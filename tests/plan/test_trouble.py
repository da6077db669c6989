"""Failures in a row: counted once each, until the breaker opens; a commit, a person or a success starts afresh."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.desired import Environment, ImageById
from reconciler.model.digest import content_digest
from reconciler.model.facts import RoleRecovered, RoleTroubled
from reconciler.model.memory import Cause, Ending, EndingCause, KnownEnvironment, Memory, Trouble
from reconciler.model.observed import Node, ObservedEnvironment, Phase
from reconciler.model.plan import EnvironmentPlan
from tests.plan.builders import (
    CHECKOUT,
    HOUR,
    IMAGE,
    MINUTE,
    NEW_IMAGE,
    NOW,
    REVISION,
    RULES,
    WEB,
    departed,
    desired,
    environment,
    generated,
    instance_id,
    memory,
    node,
    plan_one,
    role,
    said,
    termination,
    there,
    trouble,
)
from tests.plan.fleet import Fleet

HOME = environment()
CONTENT = content_digest(HOME, HOME.roles[WEB])


def failed(number: int, age: timedelta = HOUR) -> Node:
    return node(number, phase=Phase.FAILED, age=age)


def remembering(known: Trouble | None) -> Memory:
    return memory(troubles={(CHECKOUT, WEB): known} if known else {})


def judged(made: EnvironmentPlan) -> list[Trouble]:
    return [fact.trouble for fact in made.facts if isinstance(fact, RoleTroubled)]


def recovered(made: EnvironmentPlan) -> bool:
    return any(isinstance(fact, RoleRecovered) for fact in made.facts)


def test_a_role_without_failures_has_no_trouble() -> None:
    assert judged(plan_one(HOME, there(nodes=[node(1), node(2)]))) == []


def test_the_first_failure_begins_a_streak_with_its_own_launch() -> None:
    """The nodes that served before say nothing about whether launching works now."""
    (known,) = judged(plan_one(HOME, there(nodes=[node(1), failed(2, 40 * MINUTE)])))
    assert known == trouble(
        str(instance_id(2)),
        content=CONTENT,
        since=NOW - 40 * MINUTE,
        message="not ready within 30 min: it never registered",
    )


@pytest.mark.parametrize("before", range(6))
def test_from_the_third_failure_in_a_row_on_nothing_launches_for_a_while(before: int) -> None:
    known = trouble(*(f"i-{n}" for n in range(before)), content=CONTENT) if before else None
    made = plan_one(HOME, there(nodes=[node(1), failed(2, MINUTE)]), remembering(known))
    opens = before >= 2
    assert [stall.reason for stall in made.stalls] == (["BreakerOpen"] if opens else [])
    assert said(made.actions) == ["terminate_node 2", *([] if opens else ["launch_nodes 1"])]
    (trouble_now,) = judged(made)
    assert (trouble_now.retry_at is not None, trouble_now.is_halted) == (opens, False)


# --- the breaker ----------------------------------------------------------------------------------------------------


def open_since(ago: timedelta, failures: int = 3, **changes: Any) -> Trouble:
    """The breaker opened so long ago."""
    pause = min(15 * MINUTE, MINUTE * 2 ** min(4, failures - 3))
    fields = {"retry_at": NOW - ago + pause, "message": "no cookbook", "since": NOW - ago - HOUR, **changes}
    return trouble(*(f"i-{n}" for n in range(failures)), content=CONTENT, **fields)


@pytest.mark.parametrize(
    ("failures", "pause"),
    [(3, MINUTE), (4, 2 * MINUTE), (5, 4 * MINUTE), (6, 8 * MINUTE), (7, 15 * MINUTE), (1000, 15 * MINUTE)],
)
def test_each_failure_makes_the_pause_longer(failures: int, pause: timedelta) -> None:
    known = open_since(HOUR, failures - 1)
    made = plan_one(HOME, there(nodes=[node(1), failed(2000, MINUTE)]), remembering(known))
    assert judged(made)[0].retry_at == NOW + pause
    assert made.due_at == NOW + pause


def test_a_launch_that_was_refused_opens_it_in_the_next_plan() -> None:
    refused = trouble("a", "b", "c", content=CONTENT, message="quota", remedy="raise it")
    made = plan_one(HOME, there(nodes=[node(1)]), remembering(refused))
    assert judged(made) == [replace(refused, retry_at=NOW + MINUTE)]
    assert made.actions == ()


@pytest.mark.parametrize(
    ("nodes", "does"),
    [
        pytest.param([], ["launch_nodes 1"], id="one of the two that lack"),
        pytest.param([node(1)], ["launch_nodes 1"], id="the one that lacks"),
        pytest.param([node(1, phase=Phase.PENDING)], [], id="one boots"),
        pytest.param([node(1, phase=Phase.REGISTERED)], [], id="and is not ready yet"),
        pytest.param([node(1, phase=Phase.STOPPED)], ["launch_nodes 1"], id="a stopped one is not on its way"),
        pytest.param([node(1, phase=Phase.LOST)], ["launch_nodes 1"], id="nor is a lost one"),
        pytest.param([node(1, phase=Phase.TERMINATING)], ["launch_nodes 1"], id="what failed is going"),
    ],
)
def test_after_the_pause_one_node_at_a_time_is_tried(nodes: list[Node], does: list[str]) -> None:
    made = plan_one(HOME, there(nodes=nodes), remembering(open_since(2 * MINUTE)))
    assert said(made.actions) == does
    assert [stall.reason for stall in made.stalls if stall.reason != "NodeLost"] == ["BreakerOpen"]


def test_no_canary_is_sent_beside_a_failed_node_that_does_not_go() -> None:
    """Its termination may be held or refused: else one node more would stay for each that fails."""
    known = replace(open_since(2 * MINUTE), failed=frozenset({"i-0", "i-1", str(instance_id(2))}))
    made = plan_one(HOME, there(nodes=[node(1), failed(2, 3 * HOUR)]), remembering(known))
    assert said(made.actions) == ["terminate_node 2"]


def test_an_open_breaker_says_what_failed_what_is_tried_and_how_to_go_on() -> None:
    pausing = plan_one(HOME, there(nodes=[node(1)]), remembering(open_since(timedelta(0))))
    assert pausing.actions == ()
    assert pausing.stalls[0].message == (
        "web: 3 nodes or launches in a row failed: no cookbook; one node at a time is tried, the next at 12:01"
    )
    assert pausing.stalls[0].remedy == (
        "fix the cause and commit, or run `hivequeen resume checkout` to try again with all at once"
    )
    assert (pausing.due_at, pausing.waiting) == (NOW + MINUTE, ())
    due = plan_one(HOME, there(nodes=[node(1)]), remembering(open_since(MINUTE)))
    assert due.stalls[0].message.endswith("one node at a time is tried, the next now")
    trying = plan_one(HOME, there(nodes=[node(1), node(2, phase=Phase.PENDING)]), remembering(open_since(MINUTE)))
    assert trying.stalls[0].message.endswith("one node at a time is tried, one is there now")
    assert (due.due_at, trying.due_at) == (None, None)


def test_a_canary_says_that_it_is_one() -> None:
    home = environment(roles=[role(count=5)])
    known = replace(open_since(MINUTE), content=content_digest(home, home.roles[WEB]))
    (action,) = plan_one(home, there(home, [node(1)]), remembering(known)).actions
    assert (action.reason.rule, action.reason.detail) == ("canary", "web lacks 4; 1 is tried first")


def test_a_pause_that_a_clock_wrote_which_ran_ahead_is_over() -> None:
    known = replace(open_since(timedelta(0)), retry_at=NOW + 24 * HOUR)
    made = plan_one(HOME, there(nodes=[node(1)]), remembering(known))
    assert said(made.actions) == ["launch_nodes 1"]


def test_a_canary_that_becomes_ready_closes_the_breaker_and_the_rest_is_launched() -> None:
    home = environment(roles=[role(count=5)])
    known = replace(open_since(20 * MINUTE), content=content_digest(home, home.roles[WEB]))
    made = plan_one(home, there(home, [node(1), node(2, age=10 * MINUTE)]), remembering(known))
    assert recovered(made)
    assert made.stalls == ()
    assert said(made.actions) == ["launch_nodes 3"]


def test_a_mate_of_those_that_failed_which_served_all_the_while_is_no_canary() -> None:
    known = open_since(10 * MINUTE)
    made = plan_one(HOME, there(nodes=[node(1, age=30 * MINUTE)]), remembering(known))
    assert not recovered(made)
    assert said(made.actions) == ["launch_nodes 1"]


def test_a_canary_that_fails_counts_and_goes() -> None:
    known = open_since(40 * MINUTE, 4)
    made = plan_one(HOME, there(nodes=[node(1), failed(2, 30 * MINUTE)]), remembering(known))
    (again,) = judged(made)
    assert (again.failures, again.retry_at) == (5, NOW + 4 * MINUTE)
    assert said(made.actions) == ["terminate_node 2"]


def test_a_breaker_is_no_trouble_where_nothing_lacks() -> None:
    """Copies made by hand may fill the places; then there is nothing to try."""
    made = plan_one(HOME, there(nodes=[node(1), node(2)]), remembering(open_since(2 * HOUR)))
    assert made.is_converged


def test_a_commit_closes_the_breaker() -> None:
    known = replace(open_since(timedelta(0)), content="v1:another")
    made = plan_one(HOME, there(), remembering(known))
    assert said(made.actions) == ["launch_nodes 2"]
    assert judged(made) == [trouble(content=CONTENT, since=NOW)]


def test_after_a_resume_all_are_tried_at_once() -> None:
    made = plan_one(HOME, there(), remembering(trouble(content=CONTENT, since=NOW)))
    assert said(made.actions) == ["launch_nodes 2"]


def test_more_failures_that_settings_allow_close_it_too() -> None:
    made = plan_one(HOME, there(), remembering(open_since(timedelta(0))), rules=replace(RULES, failures_in_a_row=5))
    assert said(made.actions) == ["launch_nodes 2"]


def test_while_the_breaker_is_open_a_replacement_is_tried_one_at_a_time_too() -> None:
    drifted = [node(1, image=NEW_IMAGE), node(2)]
    pausing = plan_one(HOME, there(nodes=drifted), remembering(open_since(timedelta(0))))
    assert (said(pausing.actions), [stall.reason for stall in pausing.stalls]) == ([], ["BreakerOpen"])
    due = plan_one(HOME, there(nodes=drifted), remembering(open_since(MINUTE)))
    assert said(due.actions) == ["replace_node 1"]


# --- halted ---------------------------------------------------------------------------------------------------------


def test_a_halted_role_keeps_its_failed_nodes_to_be_looked_at_and_says_how_to_go_on() -> None:
    halted = trouble("a", "b", "c", content=CONTENT, is_halted=True, message="quota", remedy="raise the quota")
    made = plan_one(HOME, there(nodes=[node(1), failed(2, 2 * HOUR)]), remembering(halted))
    assert made.actions == ()
    assert made.stalls[0].message == "web: 3 nodes or launches in a row failed, nothing more is launched: quota"
    assert made.stalls[0].remedy == (
        "raise the quota; then fix the cause and commit, or run `hivequeen resume checkout` to try again"
    )


def test_the_same_failure_counts_once() -> None:
    known = trouble(str(instance_id(2)), content=CONTENT, message="not ready within 30 min: it never registered")
    assert judged(plan_one(HOME, there(nodes=[node(1), failed(2, MINUTE)]), remembering(known))) == []


@pytest.mark.parametrize(
    ("ready_since", "ends"),
    [
        pytest.param(10 * MINUTE, True, id="a node launched in the streak is ready"),
        pytest.param(HOUR, False, id="a mate of the first failure, from the same launch"),
        pytest.param(3 * HOUR, False, id="a node that served long before"),
    ],
)
def test_only_a_newcomer_that_became_ready_ends_a_streak(ready_since: timedelta, ends: bool) -> None:  # noqa: FBT001  a parameter
    known = trouble("i-2", content=CONTENT, since=NOW - HOUR)
    nodes = [node(1, age=3 * HOUR), node(3, age=ready_since)]
    assert recovered(plan_one(HOME, there(nodes=nodes), remembering(known))) == ends


def test_a_role_whose_newcomers_keep_failing_slows_down_although_its_old_nodes_serve() -> None:
    remembered, launched = remembering(None), 0
    for launched in range(1, 10):
        world = there(nodes=[node(100, age=24 * HOUR), failed(launched, MINUTE)])
        made = plan_one(HOME, world, remembered)
        if made.stalls:
            break
        between = plan_one(HOME, there(nodes=[node(100, age=24 * HOUR)]), remembering(judged(made)[0]))
        assert not recovered(between)
        remembered = remembering(judged(made)[0])
    assert launched == 3


def test_a_streak_that_is_halted_does_not_end_by_itself() -> None:
    halted = trouble("i-9", content=CONTENT, is_halted=True)
    made = plan_one(HOME, there(nodes=[node(1), node(2, age=MINUTE)]), remembering(halted))
    assert [stall.reason for stall in made.stalls] == ["RoleHalted"]
    assert not recovered(made)


def test_a_refused_launch_does_not_halt_a_replacement() -> None:
    """A quota is no fault of the newcomer's; it counts, and the breaker sees to it."""
    known = trouble("launch at 11:00", content=CONTENT, message="quota")
    made = plan_one(HOME, there(nodes=[node(1, image=NEW_IMAGE), node(2)]), remembering(known))
    assert said(made.actions) == ["replace_node 1"]


def test_a_failure_that_a_later_launch_answered_begins_no_streak() -> None:
    """It may be kept in quarantine long after its streak ended."""
    made = plan_one(HOME, there(nodes=[node(1, age=HOUR), failed(2, 2 * HOUR)]))
    assert judged(made) == []


def test_what_halted_a_role_stays_said_when_more_fails() -> None:
    halted = trouble("a", content=CONTENT, is_halted=True, message="no such image", remedy="declare another")
    made = plan_one(HOME, there(nodes=[node(1), failed(2, MINUTE)]), remembering(halted))
    assert judged(made) == [replace(halted, failed=frozenset({"a", str(instance_id(2))}))]
    assert "no such image" in made.stalls[0].message


def test_a_success_beside_a_failure_ends_nothing() -> None:
    known = trouble("i-9", content=CONTENT)
    home = environment(roles=[role(count=3)])
    known = replace(known, content=content_digest(home, home.roles[WEB]))
    nodes = [node(1), node(2, age=MINUTE), failed(3, MINUTE)]
    made = plan_one(home, there(home, nodes), remembering(known))
    assert not recovered(made)
    assert judged(made)[0].failures == 2


def test_a_commit_that_touches_the_role_starts_afresh() -> None:
    halted = trouble("a", "b", "c", content="v1:another", is_halted=True)
    made = plan_one(HOME, there(nodes=[node(1), failed(2, 2 * HOUR)]), remembering(halted))
    assert made.stalls == ()
    assert said(made.actions) == ["terminate_node 2", "launch_nodes 1"]
    assert judged(made) == [trouble(content=CONTENT, since=NOW)]


def test_after_a_resume_failed_nodes_are_replaced_and_do_not_count_again() -> None:
    resumed = trouble(content=CONTENT, since=NOW)
    made = plan_one(HOME, there(nodes=[node(1), failed(2, MINUTE)]), remembering(resumed))
    assert said(made.actions) == ["terminate_node 2", "launch_nodes 1"]
    assert judged(made) == []


def test_a_launch_in_the_second_of_the_resume_counts() -> None:
    """EC2 tells whole seconds, our clock tells more."""
    resumed = trouble(content=CONTENT, since=NOW + timedelta(milliseconds=700))
    later = NOW + MINUTE
    made = plan_one(HOME, there(nodes=[node(1), failed(2, timedelta(0))]), remembering(resumed), now=later)
    assert judged(made)[0].failures == 1


def test_while_nodes_are_replaced_one_failure_is_enough() -> None:
    moved = environment(roles=[role(image=ImageById(image_id=NEW_IMAGE))])
    nodes = [node(1), node(2), node(3, image=NEW_IMAGE, phase=Phase.FAILED, age=MINUTE)]
    made = plan_one(moved, there(moved, nodes, **generated(moved, image=NEW_IMAGE)))
    assert made.stalls[0].message.startswith("web: 1 node or launch failed, nothing more is launched:")
    assert made.actions == ()


def test_a_copy_that_somebody_launched_by_hand_says_nothing_about_our_launches() -> None:
    copies = [node(number, phase=Phase.FAILED, is_known=False) for number in (3, 4, 5)]
    made = plan_one(HOME, there(nodes=[node(1), node(2), *copies]))
    assert judged(made) == []
    assert said(made.actions) == ["terminate_node 3", "terminate_node 4", "terminate_node 5"]


def dying(number: int, **changes: Any) -> Node:
    return node(number, phase=Phase.TERMINATING, age=MINUTE, **changes)


@pytest.mark.parametrize(
    ("world", "counts"),
    [
        pytest.param(there(nodes=[node(1), dying(2)]), True, id="it is dying"),
        pytest.param(there(nodes=[node(1)], departed=[departed(2, launched_at=NOW - MINUTE)]), True, id="it is dead"),
        pytest.param(there(nodes=[node(1), dying(2, was_ready=True)]), False, id="it had served"),
        pytest.param(there(nodes=[node(1), dying(2, is_known=False)]), False, id="somebody's copy"),
        pytest.param(there(nodes=[node(1)], departed=[departed(2)]), False, id="dead after it had served"),
        pytest.param(
            there(nodes=[node(1)], departed=[departed(2, role="worker", launched_at=NOW)]), False, id="another role's"
        ),
    ],
)
def test_a_node_that_ended_before_it_was_ready_failed(world: ObservedEnvironment, *, counts: bool) -> None:
    """Else what EC2 ends as soon as it is launched would be launched again with every pass."""
    found = judged(plan_one(HOME, world))
    assert [one.failed for one in found] == ([{str(instance_id(2))}] if counts else [])
    assert all("was terminated before it was ready, and not by Hivequeen" in one.message for one in found)


def test_a_node_that_we_ended_ourselves_did_not_fail() -> None:
    asked = memory(terminations=(termination(2, Cause.NEVER_READY),))
    assert judged(plan_one(HOME, there(nodes=[node(1), dying(2)]), asked)) == []


def test_one_roles_trouble_stops_no_other_role() -> None:
    home = environment(roles=[role("web"), role("worker", 1)])
    halted = trouble("a", content=content_digest(home, home.roles[WEB]), is_halted=True)
    made = plan_one(home, there(home, [node(1, of=home)]), remembering(halted))
    assert said(made.actions) == ["launch_nodes 1"]


# --- quarantine -----------------------------------------------------------------------------------------------------

KEEPING = replace(RULES, quarantine=HOUR)


def dead(number: int, ago: timedelta | None) -> Node:
    """First seen failed so long ago; None: just now."""
    return replace(failed(number), failed_at=NOW if ago is None else NOW - ago)


@pytest.mark.parametrize(
    ("nodes", "does"),
    [
        pytest.param([node(1), dead(2, None)], ["launch_nodes 1"], id="kept, and replaced all the same"),
        pytest.param([node(1), node(3), dead(2, MINUTE)], [], id="kept beside its replacement"),
        pytest.param([node(1), node(3), dead(2, HOUR)], ["terminate_node 2"], id="until its time is over"),
        pytest.param(
            [node(1), dead(2, 30 * MINUTE), dead(3, MINUTE)], ["terminate_node 2", "launch_nodes 1"], id="the newest"
        ),
        pytest.param([dead(2, MINUTE), dead(3, MINUTE)], ["terminate_node 2", "launch_nodes 2"], id="one of several"),
        pytest.param(
            [node(1), dead(2, MINUTE), dead(3, HOUR)], ["terminate_node 3", "launch_nodes 1"], id="by failure"
        ),
    ],
)
def test_the_newest_failed_node_is_kept_to_be_looked_at(nodes: list[Node], does: list[str]) -> None:
    assert said(plan_one(HOME, there(nodes=nodes), rules=KEEPING).actions) == does


def test_without_a_quarantine_failed_nodes_go_at_once() -> None:
    made = plan_one(HOME, there(nodes=[node(1), node(3), dead(2, None)]))
    assert (said(made.actions), made.waiting) == (["terminate_node 2"], ())


def test_a_node_in_quarantine_says_why_and_how_long_and_nothing_looks_before() -> None:
    made = plan_one(HOME, there(nodes=[node(1), node(3), dead(2, 10 * MINUTE)]), rules=KEEPING)
    why = "not ready within 30 min: it never registered"
    (waiting,) = made.waiting
    assert waiting.message == (f"web: {instance_id(2)} failed ({why}); kept to be looked at until 12:50 (quarantine)")
    assert made.due_at == NOW + 50 * MINUTE
    assert made.is_converged


def test_a_node_in_quarantine_keeps_its_tags() -> None:
    kept = replace(dead(2, MINUTE), instance=failed(2).instance)
    edited = replace(kept, instance=replace(kept.instance, tags={**kept.instance.tags, "team": "other"}))
    made = plan_one(HOME, there(nodes=[node(1), node(3), edited]), rules=KEEPING)
    assert said(made.actions) == ["tag_node 2"]


def test_a_quarantine_does_not_hold_up_a_canary() -> None:
    known = replace(open_since(2 * MINUTE), failed=frozenset({"i-0", "i-1", str(instance_id(2))}))
    made = plan_one(HOME, there(nodes=[node(1), dead(2, 2 * MINUTE)]), remembering(known), rules=KEEPING)
    assert said(made.actions) == ["launch_nodes 1"]


def test_a_node_that_stays_in_quarantine_after_its_streak_ended_begins_no_other() -> None:
    """Else each pass would write that the role is in trouble, and the next that it is not."""
    known = trouble(str(instance_id(2)), content=CONTENT, since=NOW - 2 * HOUR)
    world = there(nodes=[node(1), replace(dead(2, MINUTE), instance=failed(2, 2 * HOUR).instance), node(3, age=MINUTE)])
    assert recovered(plan_one(HOME, world, remembering(known), rules=KEEPING))
    after = plan_one(HOME, world, memory(settled={(CHECKOUT, WEB): 2}), rules=KEEPING)
    assert (after.actions, after.facts) == ((), ())


@pytest.mark.parametrize("home", [None, environment(roles=[role("worker", 0)])])
def test_what_no_file_declares_any_more_ignores_the_quarantine(home: Environment | None) -> None:
    remembered = memory(
        environments={
            CHECKOUT: KnownEnvironment(
                name=CHECKOUT,
                declared_by=REVISION,
                teardown_began_at=NOW - MINUTE,
                ending=Ending(
                    cause=EndingCause.REMOVED, at=NOW - HOUR, revision=REVISION, author="", file="environments.d/x.yml"
                ),
            )
        }
    )
    made = plan_one(home, there(nodes=[node(1), dead(2, MINUTE)]), remembered, rules=KEEPING)
    assert {"terminate_node 1", "terminate_node 2"} <= set(said(made.actions))


# --- whatever fails -------------------------------------------------------------------------------------------------


def alive(fleet: Fleet) -> list[Node]:
    return fleet.nodes(CHECKOUT, WEB)


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 4),
    quarantine=st.sampled_from([timedelta(0), 5 * MINUTE, 2 * HOUR]),
    fates=st.lists(st.integers(0, 6), min_size=8, max_size=8),
    commits=st.sets(st.integers(0, 7)),
)
def test_never_more_live_nodes_than_declared_one_to_replace_with_and_one_in_quarantine(
    count: int, quarantine: timedelta, fates: list[int], commits: set[int]
) -> None:
    """However many of the next newcomers fail, and whenever somebody commits."""
    image = IMAGE
    fleet = Fleet(desired=desired(HOME), rules=replace(RULES, quarantine=quarantine))
    for turn, fails in enumerate(fates):
        fleet.fails = fails
        if turn in commits:
            image = NEW_IMAGE if image == IMAGE else IMAGE
        fleet.commit(desired(environment(roles=[role(count=count, image=ImageById(image_id=image))])))
        for _ in range(12):
            fleet.carry_out(fleet.plan())
            kept = [one for one in alive(fleet) if one.phase == Phase.FAILED]
            assert len(alive(fleet)) - len(kept) <= count + 1
            assert len(alive(fleet)) <= count + 2 or any(one.is_halted for one in fleet.memory.troubles.values())
            fleet.tick(MINUTE)


def test_a_role_that_always_fails_is_tried_ever_more_rarely_and_comes_up_when_the_cause_is_gone() -> None:
    fleet = Fleet(desired=desired(environment(roles=[role(count=4)])), fails=1000)
    launched = []
    for _ in range(240):
        fleet.carry_out(fleet.plan())
        fleet.tick(MINUTE)
        launched.append({one.instance_id for one in alive(fleet)})
    assert len(set().union(*launched)) < 4 + 3 + 240 / 15
    assert all(len(now) <= 1 for now in launched[10:])
    fleet.fails = 0
    fleet.settle()
    assert [one.phase for one in alive(fleet)] == [Phase.READY] * 4
    assert fleet.memory.troubles == {}
