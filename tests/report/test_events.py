"""What people are told of what happened: each thing once."""

from dataclasses import replace

import pytest

from reconciler.model.actions import ActionName
from reconciler.model.commits import Commit
from reconciler.model.conditions import Condition, Event
from reconciler.model.event_kinds import EventKind
from reconciler.model.facts import (
    Fact,
    IntentEnded,
    NodeFailed,
    NodeGone,
    NodeMissing,
    NodeReady,
    RevisionApplied,
    RoleRecovered,
    RoleTroubled,
    TeardownBegan,
    TeardownEnded,
)
from reconciler.model.memory import Backoff, IntentState, Suspension, Trouble
from reconciler.model.names import ChefName, EnvironmentName, IntentToken, RevisionId
from reconciler.model.observed import ChefRole, Phase
from reconciler.model.passes import Failure, Pass, Result
from reconciler.model.plan import Blocked, EnvironmentPlan, Guard, Stall, Waiting
from reconciler.report import conditions, events
from tests.report.world import (
    CHECKOUT,
    JESSICA,
    NOON,
    REVISION,
    SECOND,
    WEB,
    done,
    ensure_role,
    every_action,
    grace,
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


def test_a_trouble_that_becomes_a_graver_one_has_not_recovered() -> None:
    """Chef is unreachable; then AWS is refused first, and nobody knows how Chef is."""

    def failing(message: str, *, needs_person: bool) -> Pass:
        failure = Failure(stage="claim", message=message, remedy="mend it", needs_person=needs_person)
        return made(failures=[failure], is_planned=False)

    unreachable = failing("Chef is unreachable", needs_person=False)
    refused = failing("no AWS credentials", needs_person=True)
    calm = made(EnvironmentPlan(name=CHECKOUT))
    assert told(unreachable, refused, unreachable, refused, calm) == [
        ["Degraded"],
        ["Stalled"],
        ["Unstalled", "Degraded"],
        ["Stalled"],
        ["Unstalled", "Ready"],
    ]


def test_a_trouble_that_ends_beside_an_older_graver_one_has_recovered() -> None:
    stalled = EnvironmentPlan(name=CHECKOUT, stalls=(Stall(reason="RoleHalted", message="web: halted", remedy="fix"),))
    failure = Failure(stage="converge", message="timed out", remedy="", needs_person=False, environment=CHECKOUT)
    assert told(made(stalled, failures=[failure]), made(stalled)) == [["Stalled", "Degraded"], ["Recovered"]]


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


# --- breakers and nodes that fail -----------------------------------------------------------------------------------


def trouble(failures: int, *, retry_in: int | None = None, is_halted: bool = False) -> Trouble:
    return Trouble(
        environment=CHECKOUT,
        role=WEB,
        content="digest",
        failed=frozenset(f"i-{number}" for number in range(failures)),
        is_halted=is_halted,
        message="its first Chef run failed",
        remedy="",
        since=NOON,
        retry_at=None if retry_in is None else NOON + retry_in * 60 * SECOND,
    )


def in_trouble(new: Trouble | None, old: Trouble | None, *, is_open: bool = True) -> Pass:
    """A pass that notes the role's trouble, or its end, beside what the journal knew."""
    stall = Stall(reason="BreakerOpen", message=f"web: one at a time {new.retry_at if new else ''}", remedy="resume")
    fact: Fact = RoleTroubled(trouble=new) if new else RoleRecovered(environment=CHECKOUT, role=WEB)
    known = replace(memory(), troubles={(CHECKOUT, WEB): old} if old else {})
    return made(EnvironmentPlan(name=CHECKOUT, stalls=(stall,) if is_open else ()), facts=[fact], remembered=known)


def test_a_breaker_is_told_when_it_opens_and_when_it_closes_and_not_with_each_canary() -> None:
    first = trouble(3, retry_in=1)
    again, refused, waiting = trouble(4, retry_in=2), trouble(5), trouble(5, retry_in=4)
    assert told(
        in_trouble(trouble(2), trouble(1), is_open=False),
        in_trouble(first, trouble(2)),
        in_trouble(again, first),  # a canary failed
        in_trouble(refused, again),  # EC2 refused one, as converging noted
        in_trouble(waiting, refused),  # and the plan says until when to wait
        in_trouble(None, waiting, is_open=False),
    ) == [["Ready"], ["BreakerOpened"], [], [], [], ["BreakerClosed", "Ready", "Unstalled"]]


def test_a_breaker_that_opens_says_why_until_when_and_what_to_do() -> None:
    (event,) = of(in_trouble(trouble(3, retry_in=1), trouble(2)))
    assert (event.kind, event.environment) == ("BreakerOpened", CHECKOUT)
    assert event.message == (
        "web: 3 nodes or launches in a row failed: its first Chef run failed; from 2026-11-23 12:01 UTC on one node at "
        "a time is tried → fix the cause and commit, or run hivequeen resume checkout"
    )


def test_refused_launches_open_a_breaker_too() -> None:
    assert [one.kind for one in of(in_trouble(trouble(3, retry_in=1), trouble(3)))] == ["BreakerOpened"]


def test_a_role_that_halts_has_no_breaker_and_a_short_streak_none_to_close() -> None:
    assert of(in_trouble(trouble(3, is_halted=True, retry_in=1), None)) == ()
    assert of(in_trouble(None, trouble(1))) == ()
    assert of(in_trouble(None, None)) == ()


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_node_that_fails_is_told_with_why_and_until_when_it_is_kept(*, is_kept: bool) -> None:
    one = node(1, Phase.FAILED)
    message = f"web: {one.instance_id} failed; kept to be looked at"
    waiting = (Waiting(message=message, until=NOON + 3600 * SECOND),) if is_kept else ()
    passed = made(
        EnvironmentPlan(name=CHECKOUT, waiting=waiting),
        world=observed(seen(one)),
        facts=[NodeFailed(instance_id=one.instance_id), NodeFailed(instance_id=node(9).instance_id)],
    )
    (event,) = of(passed)
    kept = "; it is kept to be looked at until 2026-11-23 13:00 UTC" if is_kept else ""
    assert (event.kind, event.node) == ("NodeFailed", one.name)
    assert event.message == f"{one.name} failed: its first Chef run failed{kept}"


# --- who and until when ---------------------------------------------------------------------------------------------


def test_a_revision_is_told_with_its_author_and_subject() -> None:
    commit = Commit(revision=REVISION, author=JESSICA, subject="Add\tcheckout", at=NOON)
    applied = RevisionApplied(revision=REVISION, declared=frozenset())
    (event,) = of(made(facts=[applied], commit=commit))
    assert event.actor == JESSICA
    assert event.message == f"revision {REVISION[:8]} applies: 0 environments (Add checkout)"
    older = replace(commit, revision=RevisionId("0" * 40))
    assert of(made(facts=[applied], commit=older))[0].actor == ""


def suspended(name: EnvironmentName | None) -> Pass:
    suspension = Suspension(environment=name, reason="sale", actor="ops", since=NOON, until=NOON + SECOND * 60)
    return made(EnvironmentPlan(name=CHECKOUT), remembered=replace(memory(), suspensions=(suspension,)))


@pytest.mark.parametrize("name", [CHECKOUT, None])
def test_a_suspension_that_ends_is_told_once_with_whose_it_was(name: EnvironmentName | None) -> None:
    calm = made(EnvironmentPlan(name=CHECKOUT))
    assert told(calm, suspended(name), suspended(name), calm, calm) == [["Ready"], [], [], ["SuspensionEnded"], []]
    before = [one for group in conditions.of_pass(suspended(name)).values() for one in group]
    after = [one for group in conditions.of_pass(calm).values() for one in group]
    (event,) = events.of_conditions(before, after, NOON)
    assert (event.environment, event.message) == (name, "over: suspended by ops until 2026-11-23 12:01 UTC: sale")


def test_a_hold_whose_figures_change_is_the_same_hold() -> None:
    def held(lately: int) -> Pass:
        hold = Blocked(
            guard=Guard.PRUNE_NODES, message=f"{lately} went", remedy="hivequeen approve 3f2a", digest="3f2a"
        )
        return made(EnvironmentPlan(name=CHECKOUT, blocked=(hold,)))

    assert told(held(0), held(1)) == [["Held"], []]


def test_a_grace_period_is_no_hold() -> None:
    assert told(made(EnvironmentPlan(name=CHECKOUT, is_declared=False, blocked=(grace(),)))) == [[]]
