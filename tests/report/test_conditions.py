"""What people are told of how it is."""

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler import plan as plan_package
from reconciler.model.actions import Action
from reconciler.model.conditions import Condition, ConditionType
from reconciler.model.desired import Lifetime, Schedule
from reconciler.model.memory import Backoff, Memory, Suspension
from reconciler.model.names import EnvironmentName, RevisionId
from reconciler.model.observed import Phase
from reconciler.model.passes import Failure, Pass, Result, Scope
from reconciler.model.plan import Blocked, EnvironmentPlan, Guard, Stall, Waiting
from reconciler.report.conditions import of_pass
from reconciler.report.reasons import CALM, OF_INSTALLATION, REASONS
from tests.report.world import (
    CHECKOUT,
    NOON,
    PRODUCTION,
    WORKER,
    desired,
    done,
    environment,
    every_action,
    launch,
    made,
    memory,
    node,
    observed,
    role,
    seen,
    terminate,
)

OF_ENVIRONMENT = set(ConditionType) - {ConditionType.NOT_OWNER}


def of(made: Pass, name: EnvironmentName | None = CHECKOUT) -> dict[ConditionType, Condition]:
    return {condition.type: condition for condition in of_pass(made)[name]}


def true_ones(made: Pass, name: EnvironmentName | None = CHECKOUT) -> dict[ConditionType, str]:
    return {kind: condition.reason for kind, condition in of(made, name).items() if condition.is_true}


HELD = Blocked(
    guard=Guard.PRUNE_NODES,
    message="2 of 4 nodes would go, the limit is 1",
    remedy="hivequeen approve 3f2a",
    digest="3f2a",
    actions=(terminate(),),
)
UNREACHABLE = Failure(stage="observe", message="EC2 is unreachable", remedy="check the network", needs_person=False)
DENIED = Failure(stage="observe", message="EC2 denies DescribeInstances", remedy="allow it", needs_person=True)


def suspension(name: EnvironmentName | None, **changes: object) -> Suspension:
    whole = Suspension(environment=name, reason="sale", actor="ops", since=NOON, until=None)
    return replace(whole, **changes)  # type: ignore[arg-type]  # the test names fields of Suspension


def remembering(*suspensions: Suspension) -> Memory:
    return replace(memory(), suspensions=suspensions)


def test_everything_ready_and_nothing_to_do_is_ready_and_nothing_else() -> None:
    passed = made(EnvironmentPlan(name=CHECKOUT))
    assert true_ones(passed) == {ConditionType.READY: "AllReady"}
    assert of(passed)[ConditionType.READY].message == "web 2 of 2 ready"
    assert set(of(passed)) == OF_ENVIRONMENT


def test_a_booting_node_is_told_role_by_role() -> None:
    passed = made(
        EnvironmentPlan(name=CHECKOUT, waiting=(Waiting(message="web: 1 node registered", role="web"),)),
        wanted=desired(environment(CHECKOUT, role(), role(WORKER, 1))),
        world=observed(seen(node(1), node(2, Phase.REGISTERED), node(3, in_role=WORKER))),
    )
    ready = of(passed)[ConditionType.READY]
    assert (ready.is_true, ready.reason) == (False, "Converging")
    assert ready.message == "web 1 of 2 ready, 1 registered; worker 1 of 1 ready"
    assert of(passed)[ConditionType.RECONCILING].message == "web: 1 node registered"
    assert true_ones(passed) == {ConditionType.RECONCILING: "Waiting"}


def test_what_is_being_done_is_told_in_words() -> None:
    passed = made(EnvironmentPlan(name=CHECKOUT, actions=(launch(2), terminate())), outcomes=[done(launch(2))])
    condition = of(passed)[ConditionType.RECONCILING]
    assert (condition.reason, condition.message) == (
        "Acting",
        "launching 2 web nodes; terminating checkout-web-00000000000000001",
    )
    assert not of(passed)[ConditionType.READY].is_true


def test_a_hold_carries_the_command_that_lifts_it() -> None:
    condition = of(made(EnvironmentPlan(name=CHECKOUT, blocked=(HELD,))))[ConditionType.HELD]
    assert (condition.is_true, condition.reason, condition.remedy) == (True, "TooManyNodes", "hivequeen approve 3f2a")


def test_a_stall_carries_the_planners_reason_and_remedy() -> None:
    stall = Stall(reason="BadFile", message='unknown key "run_lsit"', remedy='did you mean "run_list"?')
    plan = EnvironmentPlan(name=CHECKOUT, stalls=(stall,), is_frozen=True)
    passed = made(plan, wanted=desired(frozen=[CHECKOUT]))
    assert true_ones(passed) == {ConditionType.STALLED: "BadFile"}
    assert of(passed)[ConditionType.STALLED].remedy == 'did you mean "run_list"?'
    assert of(passed)[ConditionType.READY].reason == "Stalled"
    assert of(passed)[ConditionType.READY].message == "2 nodes left as they are"


@pytest.mark.parametrize(
    ("result", "needs_person", "expected"),
    [
        (Result.UNKNOWN, False, {ConditionType.DEGRADED: "OutcomeUnknown"}),
        (Result.REFUSED, False, {ConditionType.DEGRADED: "ActionFailed"}),
        (
            Result.REFUSED,
            True,
            {ConditionType.STALLED: "ActionRefused"},
        ),
        (Result.DONE, False, {}),
        (Result.SKIPPED, False, {}),
    ],
)
def test_an_action_that_failed_degrades_and_one_that_needs_a_person_stalls(
    result: Result, *, needs_person: bool, expected: dict[ConditionType, str]
) -> None:
    outcome = done(launch(), result, "InstanceLimitExceeded", remedy="raise the quota", needs_person=needs_person)
    passed = made(EnvironmentPlan(name=CHECKOUT, actions=(launch(),)), outcomes=[outcome])
    assert true_ones(passed) == {**expected, ConditionType.RECONCILING: "Acting"}
    for kind in expected:
        may_be = "may not have been" if result is Result.UNKNOWN else "could not be"
        assert of(passed)[kind].message == f"web {may_be} launched: InstanceLimitExceeded"
        assert of(passed)[kind].remedy == "raise the quota"


def test_one_environments_failure_is_its_own() -> None:
    failure = replace(UNREACHABLE, environment=CHECKOUT, stage="converge")
    both = desired(environment(), environment(PRODUCTION))
    passed = made(
        EnvironmentPlan(name=CHECKOUT),
        EnvironmentPlan(name=PRODUCTION),
        wanted=both,
        world=observed(
            seen(node(1), node(2)), seen(node(3, name=PRODUCTION), node(4, name=PRODUCTION), name=PRODUCTION)
        ),
        failures=[failure],
    )
    assert ConditionType.DEGRADED in true_ones(passed)
    assert true_ones(passed, PRODUCTION) == {ConditionType.READY: "AllReady"}
    assert true_ones(passed, None) == {}


def test_a_suspended_environment_with_nothing_to_do_is_still_ready() -> None:
    passed = made(EnvironmentPlan(name=CHECKOUT), remembered=remembering(suspension(CHECKOUT)))
    assert true_ones(passed) == {ConditionType.READY: "AllReady", ConditionType.SUSPENDED: "ByPerson"}
    assert of(passed)[ConditionType.SUSPENDED].remedy == "hivequeen resume checkout"
    assert of(passed)[ConditionType.SUSPENDED].message == "suspended by ops: sale"


def test_a_suspended_environment_with_something_to_do_is_not_ready_because_of_it() -> None:
    stop = Blocked(guard=Guard.SUSPENDED, message="suspended", remedy="hivequeen resume", actions=(launch(),))
    plan = EnvironmentPlan(name=CHECKOUT, blocked=(stop,))
    passed = made(plan, remembered=remembering(suspension(None)))
    assert of(passed)[ConditionType.READY].reason == "Suspended"
    assert true_ones(passed) == {ConditionType.SUSPENDED: "EverythingByPerson"}
    assert true_ones(passed, None) == {ConditionType.SUSPENDED: "EverythingByPerson"}
    assert of(passed, None)[ConditionType.SUSPENDED].remedy == "hivequeen resume --all"


def test_a_suspension_that_has_ended_is_none() -> None:
    over = suspension(CHECKOUT, until=NOON - timedelta(seconds=1))
    assert ConditionType.SUSPENDED not in true_ones(made(EnvironmentPlan(name=CHECKOUT), remembered=remembering(over)))


def test_a_file_can_suspend_too() -> None:
    passed = made(EnvironmentPlan(name=CHECKOUT), wanted=desired(environment(suspend=True)))
    condition = of(passed)[ConditionType.SUSPENDED]
    assert (condition.reason, condition.message) == ("ByFile", "environments.d/checkout.yml:1 says suspend: true")


def test_stale_and_lost_nodes_are_named() -> None:
    passed = made(
        EnvironmentPlan(name=CHECKOUT), world=observed(seen(node(1, is_stale=True), node(2), node(3, Phase.LOST)))
    )
    assert true_ones(passed)[ConditionType.STALE] == "ChefSilent"
    assert node(1).name in of(passed)[ConditionType.STALE].message
    assert of(passed)[ConditionType.LOST].message.startswith("i-00000000000000003: ")
    # Staleness never takes readiness away: a Chef outage must not look like an outage.
    assert of(passed)[ConditionType.READY].is_true


def test_of_many_nodes_some_are_named_and_all_are_counted() -> None:
    stale = seen(*(node(number, is_stale=True) for number in range(1, 9)))
    message = of(made(EnvironmentPlan(name=CHECKOUT), world=observed(stale)))[ConditionType.STALE].message
    assert message.startswith(f"{node(1).name}, {node(2).name}, ")
    assert message.endswith(f"{node(5).name} and 3 more: Chef ran there once, and was not heard of lately")


def test_a_missing_node_is_not_ready_even_if_there_is_nothing_to_do() -> None:
    passed = made(EnvironmentPlan(name=CHECKOUT), world=observed(seen(node(1), node(2, Phase.LOST))))
    assert of(passed)[ConditionType.READY].message == "web 1 of 2 ready, 1 lost"
    assert not of(passed)[ConditionType.READY].is_true


def test_an_environment_being_torn_down_says_so_and_then_has_no_conditions() -> None:
    plan = EnvironmentPlan(name=CHECKOUT, is_declared=False, actions=(terminate(),))
    going = made(plan, wanted=desired(environment(PRODUCTION)), world=observed(seen(node(1))))
    assert of(going)[ConditionType.READY].reason == "TearingDown"
    assert of(going)[ConditionType.READY].message == "not declared any more; 1 node left"
    assert true_ones(going) == {ConditionType.RECONCILING: "TearingDown"}
    over = made(EnvironmentPlan(name=CHECKOUT, is_declared=False), world=observed(), wanted=desired())
    assert of_pass(over)[CHECKOUT] == ()


def test_conditions_of_an_environment_that_a_full_pass_does_not_know_are_cleared() -> None:
    old = Condition(environment=CHECKOUT, type=ConditionType.READY, is_true=True, reason="AllReady", message="")
    full = made(EnvironmentPlan(name=PRODUCTION))
    assert of_pass(full, [old])[CHECKOUT] == ()
    scoped = made(EnvironmentPlan(name=PRODUCTION), scope=Scope(environments=frozenset({PRODUCTION}), because="commit"))
    assert CHECKOUT not in of_pass(scoped, [old])


def test_observe_mode_and_a_foreign_claim_are_conditions_of_the_installation() -> None:
    observing = Blocked(guard=Guard.OBSERVE_MODE, message="mode is observe", remedy="set mode: converge")
    foreign = Blocked(guard=Guard.NOT_OWNER, message="claimed by another", remedy="hivequeen claim --take-over")
    plan = EnvironmentPlan(name=CHECKOUT, blocked=(replace(observing, actions=(launch(),)),))
    passed = made(plan, blocked=[observing])
    assert true_ones(passed, None) == {ConditionType.SUSPENDED: "ObserveMode"}
    assert of(passed)[ConditionType.READY].reason == "ReadOnly"
    assert true_ones(passed) == {ConditionType.SUSPENDED: "ObserveMode"}
    kept = EnvironmentPlan(name=CHECKOUT, blocked=(replace(foreign, actions=(launch(),)),))
    assert true_ones(made(kept, blocked=[foreign])) == {ConditionType.SUSPENDED: "NotOwner"}
    assert of(made(kept, blocked=[foreign]))[ConditionType.SUSPENDED].remedy == "hivequeen claim --take-over"
    assert true_ones(made(blocked=[foreign]), None) == {ConditionType.NOT_OWNER: "ClaimedByAnother"}


def test_rewritten_history_is_a_hold_of_the_installation() -> None:
    hold = Blocked(
        guard=Guard.HISTORY, message="it does not descend", remedy="hivequeen approve 3f2a", digest="3f2a" * 10
    )
    assert true_ones(made(blocked=[hold]), None) == {ConditionType.HELD: "HistoryRewritten"}


def test_a_pass_that_failed_keeps_what_it_could_not_find_out() -> None:
    old = of_pass(
        made(blocked=[Blocked(guard=Guard.NOT_OWNER, message="claimed by another", remedy="hivequeen claim")])
    )[None]
    failed = made(failures=[DENIED], is_planned=False)
    after = of_pass(failed, old)
    assert set(after) == {None}
    assert {c.type: c.reason for c in after[None] if c.is_true} == {
        ConditionType.NOT_OWNER: "ClaimedByAnother",
        ConditionType.STALLED: "ObserveFailed",
    }


def test_while_an_environment_backs_off_its_trouble_stays_as_it_was_said() -> None:
    outcome = done(launch(), Result.REFUSED, "InstanceLimitExceeded", remedy="raise the quota", needs_person=True)
    said = of_pass(made(EnvironmentPlan(name=CHECKOUT, actions=(launch(),)), outcomes=[outcome]))[CHECKOUT]
    waiting = EnvironmentPlan(name=CHECKOUT, waiting=(Waiting(message="failed once, next try at 12:01:00"),))
    backoff = Backoff(environment=CHECKOUT, failures=1, until=NOON + timedelta(minutes=1), message="refused")
    backing_off = replace(memory(), backoffs={CHECKOUT: backoff})
    for before, kind, expected in (
        (said, ConditionType.STALLED, "web could not be launched: InstanceLimitExceeded"),
        ((), ConditionType.DEGRADED, "refused"),
    ):
        after = {c.type: c for c in of_pass(made(waiting, remembered=backing_off), before)[CHECKOUT]}
        assert {c.type for c in after.values() if c.is_true} == {kind, ConditionType.RECONCILING}
        assert after[kind].message == expected
    tried_again = made(EnvironmentPlan(name=CHECKOUT, actions=(launch(),)), outcomes=[done(launch())])
    assert {c.type for c in of_pass(tried_again, said)[CHECKOUT] if c.is_true} == {ConditionType.RECONCILING}


def test_a_scoped_pass_cannot_know_that_the_repository_answers_again() -> None:
    failure = replace(UNREACHABLE, stage="source", message="the repository cannot be reached")
    said = of_pass(made(failures=[failure]))[None]
    scoped = made(scope=Scope(environments=frozenset({CHECKOUT}), because="registration"))
    assert {c.reason for c in of_pass(scoped, said)[None] if c.is_true} == {"SourceFailed"}
    assert {c.reason for c in of_pass(made(), said)[None] if c.is_true} == set()
    of_news = [replace(condition, revision=RevisionId("0" * 40)) for condition in said]
    assert {c.reason for c in of_pass(scoped, of_news)[None] if c.is_true} == set()


def test_an_unreachable_endpoint_degrades_with_its_remedy_and_needs_nobody() -> None:
    passed = made(failures=[UNREACHABLE], is_planned=False)
    condition = of(passed, None)[ConditionType.DEGRADED]
    assert (condition.message, condition.remedy) == ("observe: EC2 is unreachable", "check the network")
    assert true_ones(passed, None) == {ConditionType.DEGRADED: "ObserveFailed"}


def test_a_failed_node_that_is_kept_is_told_until_when_and_takes_no_readiness_away() -> None:
    message = "web: i-00000000000000003 failed (no recipe); kept to be looked at until 13:00 (quarantine)"
    waiting = Waiting(message=message, role="web", until=NOON + timedelta(hours=1))
    world = observed(seen(node(1), node(2), node(3, Phase.FAILED)))
    passed = made(EnvironmentPlan(name=CHECKOUT, waiting=(waiting,)), world=world)
    assert true_ones(passed) == {ConditionType.READY: "AllReady", ConditionType.QUARANTINED: "FailedNodeKept"}
    condition = of(passed)[ConditionType.QUARANTINED]
    assert condition.message == message
    assert condition.remedy.startswith(f"look at it: hivequeen why {node(3).name}")


def test_a_failed_node_that_goes_is_not_kept_and_those_of_a_halted_role_are() -> None:
    world = observed(seen(node(1, Phase.FAILED)))
    going = made(EnvironmentPlan(name=CHECKOUT, actions=(terminate(1),)), world=world)
    held = made(EnvironmentPlan(name=CHECKOUT, blocked=(HELD,)), world=world)
    assert not of(going)[ConditionType.QUARANTINED].is_true
    assert not of(held)[ConditionType.QUARANTINED].is_true
    stall = Stall(reason="RoleHalted", message="web: 3 failures", remedy="hivequeen resume checkout")
    halted = made(EnvironmentPlan(name=CHECKOUT, stalls=(stall,)), world=world)
    assert of(halted)[ConditionType.QUARANTINED].message == (
        "web: i-00000000000000001 failed (its first Chef run failed); kept to be looked at"
    )


def test_a_hold_says_who_asks_for_what_it_holds_and_until_when() -> None:
    hold = replace(HELD, actor="Jessica", until=NOON + timedelta(days=1))
    condition = of(made(EnvironmentPlan(name=CHECKOUT, blocked=(hold,))))[ConditionType.HELD]
    assert condition.message == f"{HELD.message} (asked for by Jessica, until 2026-11-24 12:00 UTC)"
    said = replace(hold, message="Jessica asks for it, until 12:00")
    assert of(made(EnvironmentPlan(name=CHECKOUT, blocked=(said,))))[ConditionType.HELD].message == said.message


def test_an_environment_that_sleeps_says_until_when_and_is_neither_ready_nor_busy() -> None:
    schedule = Schedule(stop="0 11 * * *", start="0 14 * * *", timezone="UTC")
    declared = replace(environment(), lifetime=Lifetime(schedule=schedule))
    waiting = Waiting(message="web: asleep until 2026-11-23 14:00 UTC", role="web", until=NOON + timedelta(hours=2))
    world = observed(seen(node(1, Phase.STOPPED), node(2, Phase.STOPPED)))
    passed = made(EnvironmentPlan(name=CHECKOUT, waiting=(waiting,)), wanted=desired(declared), world=world)
    assert true_ones(passed) == {}
    ready = of(passed)[ConditionType.READY]
    assert (ready.reason, ready.message) == ("Asleep", "web 0 of 2 ready, 2 stopped; asleep until 2026-11-23 14:00 UTC")
    awake = replace(declared, lifetime=Lifetime(schedule=replace(schedule, start="30 11 * * *")))
    assert of(made(EnvironmentPlan(name=CHECKOUT), wanted=desired(awake), world=world))[ConditionType.READY].reason == (
        "Converging"
    )


def test_every_reason_of_the_planner_to_stall_is_known() -> None:
    sources = "".join(path.read_text() for path in Path(plan_package.__file__).parent.glob("*.py"))
    assert {"BadFile", "BreakerOpen"} <= set(re.findall(r'reason(?:=|, message = )"([A-Z]\w+)"', sources))
    assert set(re.findall(r'reason(?:=|, message = )"([A-Z]\w+)"', sources)) <= REASONS[ConditionType.STALLED]


GUARDS = [guard for guard in Guard if guard is not Guard.GRACE]  # of what ends: test_endings
PLANS = st.builds(
    EnvironmentPlan,
    name=st.just(CHECKOUT),
    actions=st.lists(st.sampled_from(every_action()), max_size=3).map(tuple),
    blocked=st.lists(
        st.builds(Blocked, guard=st.sampled_from(GUARDS), message=st.just("m"), remedy=st.just("r")), max_size=2
    ).map(tuple),
    waiting=st.lists(st.just(Waiting(message="web: 1 node booting")), max_size=1).map(tuple),
    stalls=st.lists(
        st.sampled_from(
            [Stall(reason=reason, message="m", remedy="r") for reason in ("BadFile", "RoleHalted", "NodeLost")]
        ),
        max_size=2,
    ).map(tuple),
    is_declared=st.booleans(),
)
NODES = st.lists(
    st.builds(node, st.integers(1, 9), st.sampled_from(Phase), is_stale=st.booleans()),
    max_size=3,
    unique_by=lambda one: one.name,
)


@st.composite
def passes(draw: st.DrawFn) -> Pass:
    plan = draw(PLANS)
    result = draw(st.sampled_from(Result))
    return made(
        plan,
        world=observed(seen(*draw(NODES))),
        remembered=remembering(*draw(st.lists(st.sampled_from([suspension(None), suspension(CHECKOUT)]), max_size=2))),
        failures=draw(
            st.lists(st.sampled_from([UNREACHABLE, DENIED, replace(DENIED, environment=CHECKOUT)]), max_size=2)
        ),
        blocked=draw(
            st.lists(st.builds(Blocked, guard=st.sampled_from(Guard), message=st.just("m"), remedy=st.just("r")))
        ),
        outcomes=[done(action, result, "message") for action in plan.actions],
    )


@given(passed=passes())
def test_every_type_is_always_there_with_a_reason_of_its_closed_set(passed: Pass) -> None:
    for name, conditions in of_pass(passed).items():
        if conditions:
            assert {c.type for c in conditions} == (set(OF_INSTALLATION) if name is None else OF_ENVIRONMENT)
        for condition in conditions:
            assert condition.environment == name
            assert condition.reason in REASONS[condition.type]
            if condition.type is not ConditionType.READY:
                assert condition.is_true == (condition.reason != CALM[condition.type])
            assert condition.message or not condition.is_true


@given(passed=passes())
def test_ready_is_never_said_of_what_is_incomplete_or_has_something_left_to_do(passed: Pass) -> None:
    assert passed.plan is not None and passed.observed is not None
    (plan,) = passed.plan.environments
    ready = [c for c in of_pass(passed)[CHECKOUT] if c.type is ConditionType.READY and c.is_true]
    if ready:
        nodes = passed.observed.environments[CHECKOUT].nodes
        assert plan.is_converged and plan.is_declared
        assert sum(1 for one in nodes if one.phase is Phase.READY) >= 2


@given(passed=passes())
def test_whatever_is_held_or_left_to_do_is_said_by_a_condition_that_is_true(passed: Pass) -> None:
    assert passed.plan is not None
    (plan,) = passed.plan.environments
    conditions = of_pass(passed)[CHECKOUT]
    assert plan.is_converged or any(condition.is_true for condition in conditions)


@pytest.mark.parametrize("guard", GUARDS)
def test_every_guard_that_holds_something_makes_a_condition_true(guard: Guard) -> None:
    blocked = Blocked(guard=guard, message="kept back", remedy="lift it", actions=(launch(),))
    found = [c for c in of(made(EnvironmentPlan(name=CHECKOUT, blocked=(blocked,)))).values() if c.is_true]
    assert [(c.message, c.remedy) for c in found] == [("kept back", "lift it")]


@pytest.mark.parametrize("action", every_action(), ids=lambda action: action.name)
def test_a_refusal_begins_with_what_could_not_be_done_in_plain_words(action: Action) -> None:
    outcome = done(action, Result.REFUSED, "InvalidAMIID.NotFound", needs_person=True)
    message = of(made(EnvironmentPlan(name=CHECKOUT, actions=(action,)), outcomes=[outcome]))[ConditionType.STALLED]
    assert " could not be " in message.message
    assert "_" not in message.message
