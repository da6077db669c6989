"""What people are told of an environment that is to go: why, by whom, until when it can be kept, and what was removed."""

from dataclasses import replace
from datetime import timedelta

import pytest

from reconciler.model.conditions import Condition, ConditionType, Event
from reconciler.model.facts import (
    EndingCancelled,
    EnvironmentEnding,
    ExpiryNoticed,
    Fact,
    RevisionApplied,
    TeardownBegan,
    TeardownEnded,
    TeardownItems,
)
from reconciler.model.memory import Ending, EndingCause, ExpiryNotice, Item, ItemKind
from reconciler.model.passes import Pass, Scope
from reconciler.model.plan import Blocked, EnvironmentPlan, Guard, Stall, Waiting
from reconciler.report import events
from reconciler.report.conclusions import NAMED_MAX
from reconciler.report.conditions import of_pass
from tests.report.world import (
    CHECKOUT,
    DELETION,
    JESSICA,
    NOON,
    PRODUCTION,
    REVISION,
    SECOND,
    desired,
    ending,
    environment,
    grace,
    made,
    node,
    observed,
    remembering,
    seen,
    terminate,
)

MINUTE = timedelta(minutes=1)
WITHOUT = desired(environment(PRODUCTION))
PROTECTED = Blocked(
    guard=Guard.PROTECTED, message="checkout is protected", remedy="unprotect it", actions=(terminate(),)
)


def going(
    *blocked: Blocked, what: Ending | None = None, began: bool = False, facts: tuple[Fact, ...] = (), **changes: object
) -> Pass:
    what = what or ending()
    plan = EnvironmentPlan(name=CHECKOUT, is_declared=False, ending=what, blocked=blocked, facts=facts)
    plan = replace(plan, **changes)  # type: ignore[arg-type]  # the test names fields of EnvironmentPlan
    remembered = remembering(what, NOON if began else None)
    return made(plan, wanted=WITHOUT, remembered=remembered, facts=facts, world=observed(seen(node(1), node(2))))


def conditions(passed: Pass) -> dict[ConditionType, Condition]:
    return {one.type: one for one in of_pass(passed)[CHECKOUT]}


def test_in_its_grace_an_environment_says_who_ends_it_when_and_how_to_keep_it() -> None:
    told = conditions(going(grace()))
    assert {kind: one.reason for kind, one in told.items() if one.is_true} == {ConditionType.ENDING: "Grace"}
    assert told[ConditionType.ENDING].message == (
        f"checkout is torn down at 12:05:00 UTC: {JESSICA} removed environments.d/checkout.yml (9c1d9c1d)"
    )
    assert told[ConditionType.ENDING].remedy == "to keep it, git revert 9c1d9c1d and push before then"
    assert (told[ConditionType.READY].reason, told[ConditionType.READY].message) == (
        "Ending",
        "it is to go; 2 nodes left as they are",
    )


def test_while_it_is_torn_down_it_says_how_far_that_is() -> None:
    items = {
        Item(kind=ItemKind.INSTANCE, name="i-1"): NOON,
        Item(kind=ItemKind.CHEF_ROLE, name="checkout-web"): None,
    }
    told = conditions(going(what=ending(items=items), began=True, actions=(terminate(),)))
    assert told[ConditionType.ENDING].reason == "TearingDown"
    assert told[ConditionType.ENDING].message == (
        f"{JESSICA} removed environments.d/checkout.yml (9c1d9c1d); "
        "it is being torn down since 12:00 UTC: 1 of 2 objects are seen gone"
    )
    assert told[ConditionType.ENDING].remedy == "git revert 9c1d9c1d and push: it comes back, with new nodes"
    assert told[ConditionType.READY].message == "not declared any more; 2 nodes left"
    assert told[ConditionType.RECONCILING].is_true


def test_the_pass_that_begins_the_teardown_says_so_too() -> None:
    began = TeardownBegan(environment=CHECKOUT, revision=REVISION)
    assert conditions(going(facts=(began,), actions=(terminate(),)))[ConditionType.ENDING].reason == "TearingDown"


@pytest.mark.parametrize(
    ("blocked", "reason"), [((PROTECTED,), "Held"), ((), "Waiting"), ((grace(), PROTECTED), "Grace")]
)
def test_an_ending_that_a_guard_holds_or_that_waits_has_removed_nothing(
    blocked: tuple[Blocked, ...], reason: str
) -> None:
    waiting = () if blocked else (Waiting(message="web: i-1 goes when EC2 shows it"),)
    told = conditions(going(*blocked, waiting=waiting))
    assert told[ConditionType.ENDING].reason == reason
    assert told[ConditionType.HELD].is_true == (PROTECTED in blocked)
    if reason != "Grace":
        assert told[ConditionType.ENDING].message.endswith("nothing is removed yet")
        assert told[ConditionType.ENDING].remedy == "to keep it, git revert 9c1d9c1d and push"


def test_where_the_history_names_nobody_the_way_back_is_the_file() -> None:
    told = conditions(going(PROTECTED, what=ending(author="")))
    assert told[ConditionType.ENDING].message.startswith("environments.d/checkout.yml was removed (9c1d9c1d)")
    assert told[ConditionType.ENDING].remedy == "to keep it, restore environments.d/checkout.yml and push"


def test_one_that_cannot_be_read_is_not_called_gone() -> None:
    stall = Stall(reason="Unreadable", message="its role cannot be read", remedy="allow it")
    told = conditions(going(stalls=(stall,), ending=None))
    assert told[ConditionType.ENDING].reason == "Waiting"


def expired() -> Pass:
    """The pass that finds nothing left of it any more: the journal, as it was recalled before, still has the teardown."""
    items = {Item(kind=ItemKind.INSTANCE, name="i-1"): NOON, Item(kind=ItemKind.CHEF_ROLE, name="checkout-web"): None}
    gone = TeardownItems(environment=CHECKOUT, found=frozenset(), gone=frozenset(items))
    plan = EnvironmentPlan(name=CHECKOUT, is_declared=False, facts=(gone, TeardownEnded(environment=CHECKOUT)))
    remembered = remembering(ending(EndingCause.EXPIRED, items=items), NOON)
    return made(plan, world=observed(), remembered=remembered, facts=plan.facts)


def true_ones(passed: Pass) -> dict[ConditionType, str]:
    return {kind: one.reason for kind, one in conditions(passed).items() if one.is_true}


def test_the_pass_that_writes_the_receipt_says_already_that_nothing_is_left() -> None:
    passed = expired()
    assert [one.kind for one in told(passed)] == ["TornDown"]
    assert true_ones(passed) == {ConditionType.EXPIRED: "LifetimeOver"}
    found = conditions(passed)
    assert found[ConditionType.EXPIRED].message == (
        "the lifetime that environments.d/checkout.yml gives it is over (9c1d9c1d); nothing of it is left"
    )
    assert found[ConditionType.EXPIRED].remedy == (
        "hivequeen extend checkout 3d, or commit a longer ttl or a later expires in environments.d/checkout.yml: "
        "it comes back, with new nodes"
    )
    assert (found[ConditionType.READY].reason, found[ConditionType.READY].message) == (
        "Expired",
        "nothing of it is left",
    )


def test_what_is_gone_has_no_conditions_unless_its_file_still_declares_it() -> None:
    passed = expired()
    assert of_pass(replace(passed, desired=WITHOUT))[CHECKOUT] == ()
    later = replace(expired(), memory=remembering(ending(EndingCause.EXPIRED)))
    assert true_ones(later) == {ConditionType.EXPIRED: "LifetimeOver"}


def test_what_is_long_gone_stays_so_while_its_history_cannot_be_read() -> None:
    dark = Stall(reason="LifetimeUnknown", message="whether it was renewed cannot be read", remedy="make it readable")
    plan = EnvironmentPlan(name=CHECKOUT, is_declared=False, stalls=(dark,))
    items = {Item(kind=ItemKind.INSTANCE, name="i-1"): NOON}
    passed = made(plan, world=observed(), remembered=remembering(ending(EndingCause.EXPIRED, items=items)))
    assert true_ones(passed) == {ConditionType.EXPIRED: "LifetimeOver", ConditionType.STALLED: "LifetimeUnknown"}


def test_one_whose_date_had_passed_when_its_commit_came_says_so_at_once() -> None:
    """The journal knows it only after this pass, which is of its commit alone."""
    scope = Scope(environments=frozenset({CHECKOUT}), because="commit")
    passed = made(EnvironmentPlan(name=CHECKOUT, is_declared=False), world=observed(is_full=False), scope=scope)
    assert true_ones(passed) == {ConditionType.EXPIRED: "LifetimeOver"}
    assert conditions(passed)[ConditionType.EXPIRED].message == (
        "the lifetime that environments.d/checkout.yml gives it is over; nothing of it is left"
    )


def test_while_what_expired_is_torn_down_both_conditions_say_so() -> None:
    plan = EnvironmentPlan(name=CHECKOUT, is_declared=False, ending=ending(EndingCause.EXPIRED), actions=(terminate(),))
    passed = made(plan, remembered=remembering(ending(EndingCause.EXPIRED), NOON))
    assert true_ones(passed) == {
        ConditionType.ENDING: "TearingDown",
        ConditionType.EXPIRED: "LifetimeOver",
        ConditionType.RECONCILING: "TearingDown",
    }
    assert conditions(passed)[ConditionType.READY].message == "its lifetime is over; 2 nodes left"
    assert conditions(passed)[ConditionType.EXPIRED].remedy.endswith(": it comes back, with new nodes")


# --- events ---------------------------------------------------------------------------------------------------------


def ending_fact(cause: EndingCause = EndingCause.REMOVED) -> EnvironmentEnding:
    what = ending(cause)
    return EnvironmentEnding(
        environment=CHECKOUT, cause=cause, revision=what.revision, author=what.author, file=what.file
    )


def told(passed: Pass) -> list[Event]:
    return list(events.of_pass(passed, (), ()))


def test_an_ending_that_begins_is_told_with_its_author_its_end_and_the_way_back() -> None:
    (event,) = told(going(grace(), facts=(ending_fact(),)))
    assert (event.kind, event.actor, event.revision) == ("EndingBegan", JESSICA, DELETION)
    assert event.message == f"{grace().message} → {grace().remedy}"


def test_an_ending_without_a_grace_is_told_as_the_teardown_that_it_is() -> None:
    facts = (ending_fact(), TeardownBegan(environment=CHECKOUT, revision=REVISION))
    (event,) = told(going(facts=facts, actions=(terminate(),)))
    assert (event.kind, event.actor) == ("TeardownBegan", JESSICA)
    assert event.message == (f"checkout is being torn down: {JESSICA} removed environments.d/checkout.yml (9c1d9c1d)")


def test_an_ending_that_a_guard_holds_is_told_without_a_moment() -> None:
    (event, *_) = told(going(PROTECTED, facts=(ending_fact(),)))
    assert (event.kind, event.message.partition(":")[0]) == ("EndingBegan", "checkout is to be torn down")


@pytest.mark.parametrize(
    ("began", "left"), [(False, "nothing of it was removed"), (True, "what was removed comes back anew")]
)
def test_a_commit_that_takes_an_ending_back_is_told_with_what_it_cost(began: bool, left: str) -> None:  # noqa: FBT001 -- a case
    applied = RevisionApplied(revision=REVISION, declared=frozenset({CHECKOUT}))
    remembered = remembering(ending(), NOON if began else None)
    passed = made(EnvironmentPlan(name=CHECKOUT), facts=[applied], remembered=remembered)
    assert [(one.kind, one.message) for one in told(passed)][1:] == [("EndingCancelled", f"checkout stays: {left}")]


def test_an_expiry_is_taken_back_by_a_renewal_and_not_by_any_commit() -> None:
    remembered = remembering(ending(EndingCause.EXPIRED))
    applied = RevisionApplied(revision=REVISION, declared=frozenset({CHECKOUT}))
    assert [one.kind for one in told(made(facts=[applied], remembered=remembered))] == ["RevisionApplied"]
    renewed = EndingCancelled(environment=CHECKOUT)
    assert [one.kind for one in told(made(facts=[renewed], remembered=remembered))] == ["EndingCancelled"]


def test_nobody_is_said_to_have_asked_for_an_expiry() -> None:
    facts = (ending_fact(EndingCause.EXPIRED),)
    (event, *_) = told(going(PROTECTED, what=ending(EndingCause.EXPIRED), facts=facts))
    assert (event.kind, event.actor, event.revision) == ("EndingBegan", "", DELETION)
    assert event.message == (
        "checkout is to be torn down: the lifetime that environments.d/checkout.yml gives it is over (9c1d9c1d)"
    )


def test_an_expiry_by_date_blames_no_commit() -> None:
    """The journal names the revision that applied then, which may be anybody's."""
    by_date = ending(EndingCause.EXPIRED, author="")
    fact = replace(ending_fact(EndingCause.EXPIRED), author="")
    (event, *_) = told(going(PROTECTED, what=by_date, facts=(fact,)))
    assert (
        event.message == "checkout is to be torn down: the lifetime that environments.d/checkout.yml gives it is over"
    )
    assert DELETION[:8] not in conditions(going(PROTECTED, what=by_date))[ConditionType.ENDING].message


def test_one_that_had_expired_before_it_came_is_not_said_to_be_torn_down() -> None:
    plan = EnvironmentPlan(name=CHECKOUT, is_declared=False, facts=(ending_fact(EndingCause.EXPIRED),))
    (event,) = told(made(plan, world=observed(), facts=plan.facts))
    assert event.message.startswith("nothing of checkout is there, and nothing is launched: the lifetime that ")


def test_an_ending_that_is_written_anew_is_not_taken_back() -> None:
    facts = (EndingCancelled(environment=CHECKOUT), ending_fact())
    assert [one.kind for one in told(going(grace(), facts=facts))] == ["EndingBegan"]


def test_a_notice_says_when_it_expires_and_how_to_keep_it() -> None:
    notice = ExpiryNotice(expires_at=NOON + timedelta(days=1), ahead=timedelta(days=1))
    (event,) = told(made(facts=[ExpiryNoticed(environment=CHECKOUT, notice=notice)]))
    assert (event.kind, event.environment) == ("Expiring", CHECKOUT)
    assert event.message == "checkout expires at 2026-11-24 12:00 UTC → to keep it: hivequeen extend checkout 3d"


def over(items: dict[Item, object], *facts: Fact) -> Event:
    what = ending(items=items)
    passed = made(
        EnvironmentPlan(name=CHECKOUT, is_declared=False),
        wanted=WITHOUT,
        world=observed(),
        remembered=remembering(what, NOON),
        facts=[*facts, TeardownEnded(environment=CHECKOUT)],
    )
    return told(passed)[-1]


def test_the_receipt_says_who_asked_what_was_removed_and_when_it_was_seen_gone() -> None:
    role, chef = (
        Item(kind=ItemKind.CHEF_ROLE, name="checkout-web"),
        Item(kind=ItemKind.CHEF_ENVIRONMENT, name="checkout"),
    )
    event = over(
        {
            Item(kind=ItemKind.INSTANCE, name="i-2"): NOON - MINUTE,
            Item(kind=ItemKind.INSTANCE, name="i-1"): NOON - MINUTE,
            role: None,
        },
        TeardownItems(environment=CHECKOUT, found=frozenset({chef}), gone=frozenset({role, chef})),
    )
    assert (event.kind, event.actor, event.revision, event.at) == ("TornDown", JESSICA, DELETION, NOON + SECOND)
    assert event.message == (
        f"nothing of checkout is left: {JESSICA} removed environments.d/checkout.yml (9c1d9c1d); "
        "removed: 2 instances (i-1, i-2), 1 chef role (checkout-web), 1 chef environment (checkout); "
        "seen gone by 2026-11-23 12:00 UTC"
    )


def test_what_expired_has_one_receipt_also_when_its_file_goes_later() -> None:
    items = {Item(kind=ItemKind.INSTANCE, name="i-1"): NOON}
    passed = made(
        EnvironmentPlan(name=CHECKOUT, is_declared=False),
        wanted=WITHOUT,
        world=observed(),
        remembered=remembering(ending(EndingCause.EXPIRED, items=items)),
        facts=[TeardownEnded(environment=CHECKOUT)],
    )
    assert told(passed) == []


def test_a_long_receipt_names_some_and_counts_all() -> None:
    event = over({Item(kind=ItemKind.INSTANCE, name=f"i-{number:04}"): NOON for number in range(200)})
    assert "200 instances (i-0000, " in event.message
    assert f"i-{NAMED_MAX - 1:04} and {200 - NAMED_MAX} more)" in event.message
    assert f"i-{NAMED_MAX:04}" not in event.message


def test_a_receipt_owns_up_to_what_nobody_saw_go() -> None:
    event = over({Item(kind=ItemKind.INSTANCE, name="i-1"): None})
    assert event.message.endswith("removed: 1 instance (i-1), but for 1 of them nobody saw it go")
    assert over({}).message.endswith("there was nothing to remove")
