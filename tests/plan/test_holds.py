"""Guards that hold an environment whole: mode, claim, suspension, backoff; and the caution after a take-over."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from reconciler.model.desired import ImageById
from reconciler.model.facts import RoleSettled, TeardownBegan, TeardownItems
from reconciler.model.findings import Origin
from reconciler.model.memory import Backoff, Cause, Suspension
from reconciler.model.names import EnvironmentName
from reconciler.model.observed import Node, Phase
from reconciler.model.plan import Blocked, EnvironmentPlan, Guard, Plan
from reconciler.model.rules import Rules
from reconciler.plan import guard, plan
from tests.plan.builders import (
    CHECKOUT,
    FLEET,
    HOUR,
    JESSICA,
    MINUTE,
    NEW_IMAGE,
    NOW,
    WEB,
    approval,
    bare,
    commit,
    context,
    departed,
    desired,
    ending_since,
    environment,
    generated,
    guarded,
    intent,
    intents,
    known,
    memory,
    node,
    observed,
    planned,
    role,
    said,
    settled,
    termination,
    there,
)

SOMEBODY_ELSE = Blocked(guard=Guard.NOT_OWNER, message="not ours", remedy="hivequeen claim --take-over")


def suspension(name: str | None, until: datetime | None = None, reason: str = "release") -> Suspension:
    where = EnvironmentName(name) if name else None
    return Suspension(environment=where, reason=reason, actor="jessica", since=NOW - HOUR, until=until)


def guards(made: Any) -> list[Guard]:
    return [hold.guard for hold in made.blocked]


def begun(made: EnvironmentPlan) -> bool:
    """Whether the journal is told so; a list of what is to go would say the same."""
    told = [isinstance(fact, TeardownBegan | TeardownItems) for fact in made.facts]
    assert any(told) == (told.count(True) == 2)
    return any(told)


# --- everything -----------------------------------------------------------------------------------------------------


def two_environments(**changes: Any) -> Plan:
    wanted = desired(environment(), environment("staging"))
    seen = context(wanted, observed(bare(CHECKOUT), bare("old", [node(9, odd_since=NOW - HOUR)])), memory(), **changes)
    return guard(plan(seen), seen, not_owner=None if changes else SOMEBODY_ELSE)


@pytest.mark.parametrize(
    ("made", "rule"),
    [
        pytest.param(two_environments(), Guard.NOT_OWNER, id="the claim is somebody else's"),
        pytest.param(
            two_environments(rules=Rules(fleet=FLEET, is_observing=True)), Guard.OBSERVE_MODE, id="mode is observe"
        ),
    ],
)
def test_who_may_not_write_does_nothing_and_says_what_it_would_have_done(made: Plan, rule: Guard) -> None:
    assert guards(made) == [rule]
    assert made.requeue_after_s is None
    for one in made.environments:
        assert one.actions == ()
        assert guards(one) == [rule]
        assert one.blocked[0].actions != ()
        assert one.blocked[0].digest == ""


def test_mode_observe_is_said_before_the_claim() -> None:
    seen = context(desired(environment()), observed(), rules=Rules(fleet=FLEET, is_observing=True))
    assert guards(guard(plan(seen), seen, not_owner=SOMEBODY_ELSE)) == [Guard.OBSERVE_MODE]


def test_what_is_learnt_is_kept_even_where_nothing_may_be_done() -> None:
    seen = context(desired(environment()), observed(there(nodes=[node(1), node(2)])))
    made = guard(plan(seen), seen, not_owner=SOMEBODY_ELSE)
    assert planned(made).facts == (RoleSettled(environment=CHECKOUT, role=WEB, count=2),)
    assert planned(made).blocked == ()


def test_holds_of_the_installation_are_passed_on() -> None:
    history = Blocked(guard=Guard.HISTORY, message="rewritten", remedy="hivequeen approve 5555", digest="5555")
    seen = context(desired(environment()), observed())
    made = guard(plan(seen), seen, holds=[history])
    assert made.blocked == (history,)
    assert planned(made).actions != ()


# --- suspension -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suspensions", "says"),
    [
        pytest.param(
            [suspension(CHECKOUT)], ("suspended by jessica: release", "hivequeen resume checkout"), id="its own"
        ),
        pytest.param([suspension(None)], ("suspended by jessica: release", "hivequeen resume --all"), id="of all"),
        pytest.param(
            [suspension(None), suspension(CHECKOUT, reason="")],
            ("suspended by jessica: no reason given", "hivequeen resume checkout"),
            id="its own is told before that of all",
        ),
        pytest.param(
            [suspension(CHECKOUT, until=NOW + HOUR)],
            ("suspended by jessica until 2026-11-01 13:00 UTC: release", "hivequeen resume checkout"),
            id="for a while",
        ),
    ],
)
def test_a_suspended_environment_is_left_alone(suspensions: list[Suspension], says: tuple[str, str]) -> None:
    made = guarded(environment(), bare(CHECKOUT), memory(suspensions=tuple(suspensions)))
    assert made.actions == ()
    assert [(hold.guard, hold.message, hold.remedy) for hold in made.blocked] == [(Guard.SUSPENDED, *says)]


@pytest.mark.parametrize(
    "suspensions",
    [
        pytest.param([suspension("staging")], id="another environment's"),
        pytest.param([suspension(CHECKOUT, until=NOW)], id="one that has just ended"),
    ],
)
def test_a_suspension_elsewhere_or_over_holds_nothing(suspensions: list[Suspension]) -> None:
    made = guarded(environment(), bare(CHECKOUT), memory(suspensions=tuple(suspensions)))
    assert (made.blocked, bool(made.actions)) == ((), True)


def test_a_file_may_suspend_itself() -> None:
    origin = Origin(file="environments.d/checkout.yml", line=6)
    made = guarded(environment(suspend=True, origins={"suspend": origin}), bare(CHECKOUT))
    assert made.actions == ()
    assert [(hold.message, hold.remedy) for hold in made.blocked] == [
        ("environments.d/checkout.yml:6 says suspend: true", "remove it and commit")
    ]


def test_a_suspended_environment_with_nothing_to_do_is_not_blocked() -> None:
    made = guarded(environment(), there(nodes=[node(1), node(2)]), memory(suspensions=(suspension(CHECKOUT),)))
    assert made.blocked == ()


def test_a_suspended_teardown_has_not_begun() -> None:
    world = there(nodes=[node(1)])
    remembered = memory(environments=known(CHECKOUT), suspensions=(suspension(CHECKOUT),))
    made = guarded(None, world, remembered)
    assert (made.actions, begun(made)) == ((), False)


def test_what_is_held_asks_for_no_other_look() -> None:
    seen = context(desired(environment()), observed(), memory(suspensions=(suspension(CHECKOUT),)))
    assert plan(seen).requeue_after_s == 5
    assert guard(plan(seen), seen).requeue_after_s is None


# --- backoff --------------------------------------------------------------------------------------------------------


def backing_off(until: datetime, failures: int = 3) -> dict[EnvironmentName, Backoff]:
    return {CHECKOUT: Backoff(environment=CHECKOUT, failures=failures, until=until, message="quota")}


@pytest.mark.parametrize(("failures", "times"), [(1, "once"), (3, "3 times")])
def test_an_environment_that_failed_waits(failures: int, times: str) -> None:
    made = guarded(environment(), bare(CHECKOUT), memory(backoffs=backing_off(NOW + MINUTE, failures)))
    assert (made.actions, made.blocked) == ((), ())
    assert [waiting.message for waiting in made.waiting] == [f"failed {times}, next try at 12:01:00: quota"]


def test_nothing_is_said_to_be_tried_again_where_there_is_nothing_to_try() -> None:
    assert guarded(None, bare(CHECKOUT), memory(backoffs=backing_off(NOW + MINUTE))).waiting == ()


def test_a_pause_that_is_over_holds_nothing() -> None:
    assert guarded(environment(), bare(CHECKOUT), memory(backoffs=backing_off(NOW))).actions != ()


def test_a_teardown_that_backs_off_has_not_begun() -> None:
    remembered = memory(environments=known(CHECKOUT), backoffs=backing_off(NOW + MINUTE))
    assert not begun(guarded(None, there(nodes=[node(1)]), remembered))


# --- take-over ------------------------------------------------------------------------------------------------------


def taken_over(ago: timedelta, **changes: Any) -> Any:
    return memory(taken_over_at=NOW - ago, **changes)


@pytest.mark.parametrize(
    ("ago", "launches"),
    [
        (timedelta(0), False),
        (5 * MINUTE - timedelta(seconds=1), False),
        (5 * MINUTE, True),
    ],
)
def test_nothing_launches_in_the_five_minutes_after_a_take_over(ago: timedelta, launches: bool) -> None:  # noqa: FBT001  a parameter
    made = guarded(environment(), there(nodes=[node(1)]), taken_over(ago))
    assert ("launch_nodes 1" in said(made.actions)) == launches
    assert guards(made) == ([] if launches else [Guard.TAKE_OVER])
    if not launches:
        assert made.blocked[0].digest == ""


def test_neither_replays_nor_replacements_begin_then() -> None:
    moved = environment(roles=[role(image=ImageById(image_id=NEW_IMAGE)), role("worker", 1)])
    chef = generated(moved, image=NEW_IMAGE)
    open_one = intent(count=1, role=moved.roles[role("worker").name])
    remembered = taken_over(MINUTE, intents=intents(open_one))
    made = guarded(moved, there(moved, [node(1), node(2)], **chef), remembered)
    assert not any(name.startswith(("replace", "replay", "launch")) for name in said(made.actions))


def test_repairs_go_on() -> None:
    made = guarded(environment(), there(nodes=[node(1), node(2, tag={"team": None})]), taken_over(timedelta(0)))
    assert said(made.actions) == ["tag_node 2"]


@pytest.mark.parametrize(
    ("ago", "held"),
    [(timedelta(0), True), (24 * HOUR - timedelta(seconds=1), True), (24 * HOUR, False)],
)
def test_for_a_day_every_removal_needs_approval(ago: timedelta, held: bool) -> None:  # noqa: FBT001  a parameter
    world = there(nodes=[node(1), node(2), node(3)], departed=(departed(4),))
    made = guarded(environment(), world, taken_over(ago, settled=settled((CHECKOUT, WEB, 3))))
    assert guards(made) == ([Guard.TAKE_OVER] if held else [])
    assert bool(made.actions) != held


@pytest.mark.parametrize("newcomer", [node(2, phase=Phase.FAILED), node(2, phase=Phase.RUNNING, image=NEW_IMAGE)])
def test_then_nobody_comes_in_the_place_of_one_that_never_served_and_stays(newcomer: Node) -> None:
    made = guarded(environment(), there(nodes=[node(1), newcomer]), taken_over(HOUR))
    assert (made.actions, said(made.blocked[0].actions)) == ((), ["terminate_node 2", "launch_nodes 1"])


def test_an_approved_removal_goes_and_its_chef_objects_with_it() -> None:
    remembered = taken_over(HOUR, settled=settled((CHECKOUT, WEB, 3)))
    world = there(nodes=[node(1), node(2), node(3)])
    seen = context(desired(environment()), observed(world), remembered)
    held = guard(plan(seen), seen)
    approved = taken_over(HOUR, settled=settled((CHECKOUT, WEB, 3)), approvals=(approval(held),))
    assert said(guarded(environment(), world, approved).actions) == ["terminate_node 1"]
    after = taken_over(HOUR, terminations=(termination(1, Cause.SCALE_DOWN),))
    made = guarded(environment(), there(nodes=[node(2), node(3)], departed=(departed(1),)), after)
    assert said(made.actions) == ["delete_chef_node 1", "delete_chef_client 1"]


def test_what_was_asked_before_the_take_over_proves_nothing() -> None:
    before = taken_over(10 * MINUTE, terminations=(termination(1, Cause.SCALE_DOWN, ago=HOUR),))
    made = guarded(environment(), there(nodes=[node(2), node(3)], departed=(departed(1),)), before)
    assert (made.actions, guards(made)) == ((), [Guard.TAKE_OVER])


@pytest.mark.parametrize(("began", "held"), [(HOUR / 2, False), (2 * HOUR, True)])
def test_a_teardown_that_was_let_begin_since_goes_on(began: timedelta, held: bool) -> None:  # noqa: FBT001  a parameter
    remembered = taken_over(HOUR, environments=known(CHECKOUT, began=NOW - began))
    made = guarded(None, there(), remembered)
    assert bool(made.blocked) == held


def test_a_held_teardown_has_not_begun() -> None:
    made = guarded(None, there(nodes=[node(1)]), taken_over(HOUR, environments=known(CHECKOUT)))
    assert (made.actions, guards(made), begun(made)) == ((), [Guard.TAKE_OVER], False)


def test_a_teardown_that_nothing_holds_begins() -> None:
    made = guarded(None, there(nodes=[node(1)]), memory(environments=known(CHECKOUT)))
    assert said(made.actions) == ["terminate_node 1"]
    assert begun(made)


def test_a_declared_environment_keeps_what_it_learnt_when_a_removal_is_held() -> None:
    nodes = [node(1), node(2), node(3), node(4, phase=Phase.PENDING)]
    made = guarded(environment(roles=[role(count=3)]), there(nodes=nodes), taken_over(HOUR))
    assert guards(made) == [Guard.TAKE_OVER]
    assert made.facts == (RoleSettled(environment=CHECKOUT, role=WEB, count=3),)


# --- who is behind a hold, and until when ---------------------------------------------------------------------------

STOPPED = [node(n, phase=Phase.STOPPED, odd_since=NOW - HOUR) for n in (1, 2)]
SHRUNK = environment(roles=[role(count=1)], protected=True)
FOUR = [node(n, of=SHRUNK) for n in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("home", "world", "remembered", "verdict"),
    [
        pytest.param(
            environment(),
            bare(CHECKOUT),
            {"suspensions": (suspension(CHECKOUT, until=NOW + HOUR),)},
            (Guard.SUSPENDED, "jessica", NOW + HOUR),
            id="suspended by a person for a while",
        ),
        pytest.param(
            environment(),
            bare(CHECKOUT),
            {"suspensions": (suspension(None),)},
            (Guard.SUSPENDED, "jessica", None),
            id="suspended by a person for good",
        ),
        pytest.param(
            environment(suspend=True), bare(CHECKOUT), {}, (Guard.SUSPENDED, JESSICA, None), id="suspended by its file"
        ),
        pytest.param(
            environment(),
            there(nodes=[node(1)]),
            {"taken_over_at": NOW - MINUTE},
            (Guard.TAKE_OVER, "", NOW + 4 * MINUTE),
            id="no launch after a take-over",
        ),
        pytest.param(
            environment(),
            there(nodes=[node(1), node(2), node(3)]),
            {"taken_over_at": NOW - HOUR},
            (Guard.TAKE_OVER, JESSICA, NOW + 23 * HOUR),
            id="no removal after a take-over",
        ),
        pytest.param(
            SHRUNK,
            there(SHRUNK, FOUR),
            {"settled": settled((CHECKOUT, WEB, 4))},
            (Guard.PROTECTED, JESSICA, None),
            id="a protected environment is halved",
        ),
        pytest.param(
            None,
            there(SHRUNK, FOUR),
            {"environments": known(CHECKOUT, ending=ending_since(NOW, author="Tom <tom@example.com>"))},
            (Guard.PROTECTED, "Tom <tom@example.com>", None),
            id="a protected environment loses its file",
        ),
        pytest.param(
            environment(),
            there(nodes=STOPPED),
            {},
            (Guard.PRUNE_NODES, "", None),
            id="nodes go that no commit asked for",
        ),
    ],
)
def test_a_hold_names_who_is_behind_it_and_when_it_ends(
    home: Any, world: Any, remembered: dict[str, Any], verdict: tuple[Guard, str, datetime | None]
) -> None:
    made = guarded(home, world, memory(**remembered), commit=commit())
    assert [(hold.guard, hold.actor, hold.until) for hold in made.blocked] == [verdict]
    assert made.due_at == verdict[2]


def test_a_history_that_cannot_be_read_names_nobody() -> None:
    made = guarded(environment(suspend=True), bare(CHECKOUT))
    assert [hold.actor for hold in made.blocked] == [""]
