"""What people are told of what happened: each thing once."""

from dataclasses import replace

import pytest

from reconciler.model.actions import ActionName
from reconciler.model.conditions import Condition, Event
from reconciler.model.event_kinds import EventKind
from reconciler.model.facts import (
    Fact,
    IntentEnded,
    NodeGone,
    NodeMissing,
    NodeReady,
    RevisionApplied,
    TeardownBegan,
    TeardownEnded,
)
from reconciler.model.memory import Backoff, IntentState
from reconciler.model.names import ChefName, IntentToken
from reconciler.model.observed import ChefRole, Phase
from reconciler.model.passes import Failure, Pass, Result
from reconciler.model.plan import Blocked, EnvironmentPlan, Guard, Stall, Waiting
from reconciler.report import conditions, events
from tests.report.world import (
    CHECKOUT,
    NOON,
    REVISION,
    SECOND,
    done,
    ensure_role,
    every_action,
    intent,
    launch,
    made,
    memory,
    node,
    observed,
    seen,
    terminate,
)


def told(*passes: Pass) -> list[list[str]]:
    """The kinds of events of each pass, one after the other, as the daemon would tell them."""
    before: dict[tuple[object, object], Condition] = {}
    kinds = []
    for one in passes:
        after = [condition for group in conditions.of_pass(one, before.values()).values() for condition in group]
        kinds.append([event.kind for event in events.of_pass(one, before.values(), after)])
        before.update({(condition.environment, condition.type): condition for condition in after})
    return kinds


def of(one: Pass) -> tuple[Event, ...]:
    return events.of_pass(one, (), ())


def test_a_launch_says_how_many_which_and_why() -> None:
    (event,) = of(made(EnvironmentPlan(name=CHECKOUT), outcomes=[done(launch(), message="i-01, i-02")]))
    assert event == Event(
        at=NOON + SECOND,
        kind="NodesLaunched",
        message="launched 2 web nodes: i-01, i-02 "
        f"(count: web.count 1 → 2 (environments.d/checkout.yml:1 at {REVISION[:8]}))",
        environment=CHECKOUT,
        revision=REVISION,
    )


def test_a_termination_names_its_node() -> None:
    (event,) = of(made(outcomes=[done(terminate())]))
    assert (event.kind, event.node) == ("NodeTerminated", node(1).name)


@pytest.mark.parametrize("result", [result for result in Result if result is not Result.DONE])
def test_only_what_was_done_is_told_as_done(result: Result) -> None:
    assert of(made(outcomes=[done(action, result, "message") for action in every_action()])) == ()


def test_every_kind_of_action_has_its_own_words() -> None:
    actions = every_action()
    assert {action.name for action in actions} == set(ActionName)
    made_events = of(made(outcomes=[done(action) for action in actions]))
    assert len(made_events) == len(actions)
    # A replayed launch launches like any other.
    assert len({event.kind for event in made_events}) == len(actions) - 1
    assert all(event.kind in set(EventKind) for event in made_events)


def test_a_chef_role_is_created_once_and_changed_later() -> None:
    there = ChefRole(name=ChefName("checkout-web"), run_list=(), default_attributes={})
    world = observed(replace(seen(), chef_roles={there.name: there}))
    assert [event.kind for event in of(made(outcomes=[done(ensure_role())]))] == ["ChefRoleCreated"]
    assert [event.kind for event in of(made(outcomes=[done(ensure_role())], world=world))] == ["ChefRoleChanged"]


def test_conclusions_are_told_by_the_nodes_name() -> None:
    one = node(1)
    facts: list[Fact] = [
        NodeReady(instance_id=one.instance_id),
        NodeMissing(instance_id=one.instance_id),
        NodeGone(instance_id=one.instance_id),
        TeardownBegan(environment=CHECKOUT, revision=REVISION),
        TeardownEnded(environment=CHECKOUT),
    ]
    made_events = of(made(facts=facts, world=observed(seen(one))))
    assert [(event.kind, event.node) for event in made_events] == [
        ("NodeReady", one.name),
        ("NodeGone", one.name),
        ("TeardownBegan", None),
        ("TornDown", None),
    ]


def test_a_launch_that_is_given_up_is_told_with_what_it_was_for() -> None:
    ended = IntentEnded(token=IntentToken("token-1"), state=IntentState.CLOSED, message="not seen for five minutes")
    remembered = replace(memory(), intents={intent().token: intent()})
    (event,) = of(made(facts=[ended], remembered=remembered))
    assert (event.kind, event.message) == ("LaunchGivenUp", "launch of 2 web nodes: not seen for five minutes")
    assert of(made(facts=[ended])) == ()


def test_a_new_revision_is_told_in_the_pass_that_accepts_it() -> None:
    applied = RevisionApplied(revision=REVISION, declared=frozenset({CHECKOUT}))
    (event,) = of(made(facts=[applied], committed_at=NOON))
    assert (event.kind, event.message, event.environment) == (
        "RevisionApplied",
        f"revision {REVISION[:8]} applies: 1 environment",
        None,
    )
    # In observe mode a revision is seen and never applied.
    assert of(made(committed_at=NOON)) == ()


def stalled(message: str) -> Pass:
    stall = Stall(reason="RoleHalted", message=message, remedy="hivequeen resume checkout")
    return made(EnvironmentPlan(name=CHECKOUT, stalls=(stall,)))


def test_the_same_trouble_is_told_once_another_one_again_and_its_end_too() -> None:
    calm = made(EnvironmentPlan(name=CHECKOUT))
    assert told(calm, stalled("web: 3 failures"), stalled("web: 3 failures"), stalled("worker: 3"), calm, calm) == [
        ["Ready"],
        ["Stalled"],
        [],
        ["Stalled"],
        ["Ready", "Unstalled"],
        [],
    ]


def test_a_first_pass_without_trouble_recovers_from_nothing() -> None:
    assert told(made(EnvironmentPlan(name=CHECKOUT), world=observed(seen(node(1, Phase.PENDING))))) == [[]]


def test_an_api_that_fails_in_ever_new_words_is_told_once() -> None:
    def unreachable(request: str) -> Pass:
        failure = Failure(stage="observe", message=f"timed out, request {request}", remedy="", needs_person=False)
        return made(failures=[failure], is_planned=False)

    calm = made(EnvironmentPlan(name=CHECKOUT))
    assert told(unreachable("a"), unreachable("b"), unreachable("c"), calm) == [
        ["Degraded"],
        [],
        [],
        ["Recovered", "Ready"],
    ]


def test_trouble_that_backs_off_is_told_once_and_its_end_once() -> None:
    plan = EnvironmentPlan(name=CHECKOUT, actions=(launch(),))
    refused = made(plan, outcomes=[done(launch(), Result.REFUSED, "no quota", needs_person=True)])
    until = NOON + 60 * SECOND
    backoff = Backoff(environment=CHECKOUT, failures=1, until=until, message="no quota")
    waiting = made(
        EnvironmentPlan(name=CHECKOUT, waiting=(Waiting(message="failed once"),)),
        remembered=replace(memory(), backoffs={CHECKOUT: backoff}),
    )
    unknown = made(plan, outcomes=[done(launch(), Result.UNKNOWN, "timed out", needs_person=False)])
    calm = made(EnvironmentPlan(name=CHECKOUT))
    assert told(refused, waiting, waiting, refused, waiting, unknown, waiting, calm) == [
        ["Stalled"],
        [],
        [],
        [],
        [],
        ["Unstalled", "Degraded"],
        [],
        ["Ready", "Recovered"],
    ]


def test_a_hold_is_told_with_its_command_and_again_when_it_is_another() -> None:
    def held(digest: str) -> Pass:
        hold = Blocked(
            guard=Guard.PRUNE_NODES, message=f"hold {digest}", remedy=f"hivequeen approve {digest}", digest=digest
        )
        return made(EnvironmentPlan(name=CHECKOUT, blocked=(hold,)))

    assert told(held("3f2a"), held("3f2a"), held("77aa")) == [["Held"], [], ["Held"]]
    after = conditions.of_pass(held("3f2a"))[CHECKOUT]
    (event,) = events.of_conditions((), after, NOON)
    assert event.message == "hold 3f2a → hivequeen approve 3f2a"


def test_observe_mode_is_told_of_no_environment() -> None:
    observing = Blocked(guard=Guard.OBSERVE_MODE, message="mode is observe", remedy="set mode: converge")
    plan = EnvironmentPlan(name=CHECKOUT, blocked=(replace(observing, actions=(launch(),)),))
    booting = made(EnvironmentPlan(name=CHECKOUT), world=observed(seen(node(1, Phase.PENDING))))
    assert told(made(plan, blocked=[observing]), booting) == [[], ["SuspensionEnded"]]  # that of the installation
