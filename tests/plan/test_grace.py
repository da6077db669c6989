"""The grace period: for a while a commit can still cancel a teardown, and nothing of the environment is touched."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from reconciler.model.facts import EndingCancelled, EnvironmentEnding, TeardownBegan, TeardownEnded, TeardownItems
from reconciler.model.memory import Backoff, EndingCause, Memory, Suspension
from reconciler.model.names import RevisionId
from reconciler.model.observed import Phase
from reconciler.model.plan import Blocked, EnvironmentPlan, Guard, Plan
from reconciler.model.rules import Rules
from reconciler.plan import guard, is_under_way, plan
from tests.plan.builders import (
    CHECKOUT,
    FLEET,
    GRACIOUS,
    HOUR,
    JESSICA,
    MINUTE,
    NOW,
    REVISION,
    approval,
    bare,
    broken,
    commit,
    context,
    desired,
    ending_since,
    environment,
    instance_id,
    known,
    memory,
    node,
    observed,
    planned,
    said,
    there,
)

SECOND = timedelta(seconds=1)
REMOVAL = RevisionId("3f2a91c0" + "0" * 32)
HERE = there(nodes=[node(1)])


def ending(ago: timedelta = timedelta(0), **changes: Any) -> Memory:
    return memory(environments=known(CHECKOUT, ending=ending_since(NOW - ago, revision=REMOVAL)), **changes)


def whole(world: Any = HERE, remembered: Memory | None = None, **changes: Any) -> Plan:
    remembered = remembered or memory(environments=known(CHECKOUT))
    seen = context(desired(), observed(world), remembered, **({"rules": GRACIOUS} | changes))
    return guard(plan(seen), seen)


def one(*args: Any, **changes: Any) -> EnvironmentPlan:
    return planned(whole(*args, **changes))


def guards(made: EnvironmentPlan) -> list[Guard]:
    return [hold.guard for hold in made.blocked]


# --- who ended it, and until when it can be taken back --------------------------------------------------------------


@pytest.mark.parametrize(
    ("touched", "revision", "author", "file"),
    [
        pytest.param({"checkout.yml": commit(REMOVAL)}, REMOVAL, JESSICA, "environments.d/checkout.yml", id="yml"),
        pytest.param({"checkout.yaml": commit(REMOVAL)}, REMOVAL, JESSICA, "environments.d/checkout.yaml", id="yaml"),
        pytest.param(
            {"checkout.yml": commit("a" * 40, at=NOW - HOUR), "checkout.yaml": commit(REMOVAL, at=NOW - MINUTE)},
            REMOVAL,
            JESSICA,
            "environments.d/checkout.yaml",
            id="the newest of both, where it was renamed once",
        ),
        pytest.param({}, REVISION, "", "environments.d/checkout.yml", id="a history that could not be read"),
    ],
)
def test_the_first_look_notes_which_commit_ended_it(touched: Any, revision: str, author: str, file: str) -> None:
    made = one(touched=touched)
    assert made.facts == (
        EnvironmentEnding(
            environment=CHECKOUT,
            cause=EndingCause.REMOVED,
            revision=RevisionId(revision),
            author=author,
            file=file,
        ),
    )
    assert made.ending == ending_since(NOW, revision=RevisionId(revision), author=author, file=file)


def test_the_folder_is_the_watched_one() -> None:
    assert one(folder="envs").ending == ending_since(NOW, author="", file="envs/checkout.yml")


def test_a_later_look_notes_nothing_more_and_counts_from_the_first() -> None:
    made = one(HERE, ending(MINUTE), touched={"checkout.yml": commit("b" * 40)})
    assert made.facts == ()
    assert made.ending == ending_since(NOW - MINUTE, revision=REMOVAL)
    assert made.due_at == NOW + 4 * MINUTE


def test_it_says_until_when_who_did_it_and_how_to_take_it_back() -> None:
    (hold,) = one(HERE, ending()).blocked
    assert hold == Blocked(
        guard=Guard.GRACE,
        message="checkout is torn down at 12:05:00 UTC: "
        "Jessica <jessica@example.com> removed environments.d/checkout.yml (3f2a91c0)",
        remedy="to keep it, git revert 3f2a91c0 and push before then",
        actor=JESSICA,
        until=NOW + 5 * MINUTE,
        actions=hold.actions,
    )
    assert said(hold.actions) == ["terminate_node 1"]


@pytest.mark.parametrize(
    ("remembered", "message", "remedy"),
    [
        pytest.param(
            ending_since(NOW, author="", revision=REMOVAL),
            "checkout is torn down at 12:05:00 UTC: environments.d/checkout.yml was removed (3f2a91c0)",
            "to keep it, restore environments.d/checkout.yml and push before then",
            id="by somebody",
        ),
        pytest.param(
            ending_since(NOW, cause=EndingCause.EXPIRED, revision=REMOVAL),
            "checkout is torn down at 12:05:00 UTC: the lifetime that environments.d/checkout.yml gives it is over "
            "(3f2a91c0)",
            "to keep it, commit a longer ttl or a later expires in environments.d/checkout.yml",
            id="expired",
        ),
    ],
)
def test_other_endings_are_told_as_what_they_are(remembered: Any, message: str, remedy: str) -> None:
    (hold,) = one(HERE, memory(environments=known(CHECKOUT, ending=remembered))).blocked
    assert (hold.message, hold.remedy) == (message, remedy)


def test_a_grace_that_ends_on_another_day_names_the_day() -> None:
    long = Rules(fleet=FLEET, teardown_grace=timedelta(hours=36))
    (hold,) = one(HERE, ending(), rules=long).blocked
    assert "at 2026-11-03 00:00:00 UTC" in hold.message


# --- held, and then gone --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ago", "goes"), [(timedelta(0), False), (5 * MINUTE - SECOND, False), (5 * MINUTE, True), (HOUR, True)]
)
def test_nothing_goes_before_the_grace_is_over(ago: timedelta, goes: bool) -> None:  # noqa: FBT001  a parameter
    made = one(HERE, ending(ago))
    assert said(made.actions) == (["terminate_node 1"] if goes else [])
    assert guards(made) == ([] if goes else [Guard.GRACE])
    told = {type(fact) for fact in made.facts}
    assert told == ({TeardownBegan, TeardownItems} if goes else set())


def test_an_ending_that_a_clock_ahead_of_time_noted_is_noted_anew() -> None:
    ahead = memory(environments=known(CHECKOUT, ending=ending_since(NOW + 30 * 24 * HOUR, revision=REMOVAL)))
    made = one(HERE, ahead)
    assert [type(fact) for fact in made.facts] == [EndingCancelled, EnvironmentEnding]
    assert made.ending == ending_since(NOW, revision=REMOVAL)
    assert made.due_at == NOW + 5 * MINUTE


def test_one_that_has_begun_goes_on_whatever_the_clock_says() -> None:
    later = NOW + HOUR
    ahead = memory(environments=known(CHECKOUT, began=later, ending=ending_since(later)))
    made = one(HERE, ahead)
    assert said(made.actions) == ["terminate_node 1"]
    assert [type(fact) for fact in made.facts] == [TeardownItems]


def test_without_a_grace_one_look_is_enough() -> None:
    made = one(rules=replace(GRACIOUS, teardown_grace=timedelta(0)))
    assert said(made.actions) == ["terminate_node 1"]
    assert [type(fact) for fact in made.facts] == [EnvironmentEnding, TeardownBegan, TeardownItems]
    assert (made.blocked, made.due_at) == ((), None)


def test_a_teardown_that_has_begun_has_no_grace_any_more() -> None:
    began = memory(environments=known(CHECKOUT, began=NOW))
    assert said(one(HERE, began).actions) == ["terminate_node 1"]


def test_what_was_there_before_endings_were_kept_gets_one_for_its_receipt() -> None:
    begun = known(CHECKOUT, began=NOW - HOUR)
    older = memory(environments={name: replace(one, ending=None) for name, one in begun.items()})
    made = one(HERE, older)
    assert said(made.actions) == ["terminate_node 1"]
    assert [type(fact) for fact in made.facts] == [EnvironmentEnding, TeardownItems]


def test_an_environment_of_which_nothing_is_left_ends_within_the_grace() -> None:
    made = one(bare(CHECKOUT), ending())
    assert made.facts == (TeardownEnded(environment=CHECKOUT),)
    assert (made.is_converged, made.due_at) == (True, None)


def test_what_nobody_remembers_has_no_grace() -> None:
    made = one(bare(CHECKOUT, [node(1, odd_since=NOW - HOUR)]), memory())
    assert said(made.actions) == ["terminate_node 1"]
    assert made.ending is None


def test_a_scoped_look_says_nothing_about_it() -> None:
    seen = context(desired(), observed(HERE, is_full=False), ending(), rules=GRACIOUS)
    assert plan(seen).environments == ()


def test_of_what_could_not_be_read_nothing_is_decided() -> None:
    unreadable = observed(HERE, unreadable={CHECKOUT: ("403", "grant READ")})
    made = planned(plan(context(desired(), unreadable, ending(HOUR), rules=GRACIOUS)))
    assert (made.actions, made.facts) == ((), ())
    assert [(stall.reason, stall.message, stall.remedy) for stall in made.stalls] == [
        ("Unreadable", "403", "grant READ")
    ]


# --- when to look again ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("home", "again_s"),
    [
        pytest.param(None, 60.0, id="nothing else is under way"),
        pytest.param(environment("other"), 5.0, id="another comes up"),
        pytest.param(environment("other", suspend=True), 60.0, id="another is held"),
    ],
)
def test_the_next_look_is_when_the_grace_ends_or_sooner_for_others(home: Any, again_s: float) -> None:
    seen = context(desired(*([home] if home else [])), observed(HERE), ending(4 * MINUTE), rules=GRACIOUS)
    made = guard(plan(seen), seen)
    assert made.requeue_after_s == again_s
    assert planned(made).due_at == NOW + MINUTE
    assert not is_under_way(planned(made))


def test_waiting_within_the_grace_asks_for_no_look_before_it_ends() -> None:
    dying = there(nodes=[node(1, phase=Phase.TERMINATING)])
    assert whole(dying, ending(MINUTE)).requeue_after_s == 240.0
    assert whole(dying, ending(HOUR)).requeue_after_s == 5.0


# --- beside other guards --------------------------------------------------------------------------------------------


def suspended(until: datetime | None = None) -> Suspension:
    return Suspension(environment=CHECKOUT, reason="", actor="ops", since=NOW, until=until)


@pytest.mark.parametrize(
    ("world", "remembered", "others"),
    [
        pytest.param(there(environment(protected=True), [node(1)]), {}, [Guard.PROTECTED], id="protected"),
        pytest.param(HERE, {"taken_over_at": NOW - HOUR}, [Guard.TAKE_OVER], id="taken over"),
    ],
)
def test_other_holds_show_beside_it(world: Any, remembered: Any, others: list[Guard]) -> None:
    assert guards(one(world, ending(**remembered))) == [Guard.GRACE, *others]
    assert guards(one(world, ending(HOUR, **remembered))) == others


def test_a_suspension_shows_beside_it_and_the_first_to_end_is_looked_at() -> None:
    made = one(HERE, ending(suspensions=(suspended(NOW + MINUTE),)))
    assert guards(made) == [Guard.SUSPENDED, Guard.GRACE]
    assert made.due_at == NOW + MINUTE
    after = one(HERE, ending(HOUR, suspensions=(suspended(),)))
    assert (guards(after), after.due_at) == ([Guard.SUSPENDED], None)


def test_a_pause_after_failures_hides_no_grace() -> None:
    backoff = Backoff(environment=CHECKOUT, failures=1, until=NOW + MINUTE, message="quota")
    assert guards(one(HERE, ending(backoffs={CHECKOUT: backoff}))) == [Guard.GRACE]


NAMES = [f"env{n}" for n in range(5)]


def set_of_five(remembered: dict[str, Any], ago: timedelta) -> Plan:
    worlds = [there(environment(name), [node(n, of=environment(name))]) for n, name in enumerate(NAMES)]
    mind = memory(environments=known(*NAMES, ending=ending_since(NOW - ago)) | known("kept"), **remembered)
    seen = context(desired(environment("kept")), observed(*worlds), mind, rules=GRACIOUS)
    return guard(plan(seen), seen)


def test_too_many_at_once_can_be_approved_while_the_grace_lasts() -> None:
    held = set_of_five({}, MINUTE)
    assert {guard for name in NAMES for guard in guards(planned(held, name))} == {
        Guard.GRACE,
        Guard.PRUNE_ENVIRONMENTS,
    }
    yes = {"approvals": (approval(held),)}
    assert {guard for name in NAMES for guard in guards(planned(set_of_five(yes, MINUTE), name))} == {Guard.GRACE}
    assert all(planned(set_of_five(yes, HOUR), name).actions for name in NAMES)
    assert not any(planned(set_of_five({}, HOUR), name).actions for name in NAMES)


def test_a_further_deletion_during_the_grace_takes_no_approval_back() -> None:
    held = set_of_five({}, MINUTE)
    approved = {"approvals": (approval(held),)}
    worlds = [there(environment(name), [node(n, of=environment(name))]) for n, name in enumerate([*NAMES, "kept"])]
    mind = memory(environments=known(*NAMES, "kept", ending=ending_since(NOW - HOUR)) | known("last"), **approved)
    seen = context(desired(environment("last")), observed(*worlds), mind, rules=GRACIOUS)
    made = guard(plan(seen), seen)
    assert all(planned(made, name).actions for name in NAMES)
    (hold,) = planned(made, "kept").blocked
    assert hold.guard == Guard.PRUNE_ENVIRONMENTS
    assert {gone.environment for gone in hold.removals} == {"kept"}


def test_who_agreed_to_the_end_of_nodes_has_not_agreed_to_the_end_of_their_environment() -> None:
    held = set_of_five({}, MINUTE)
    nodes_alone = replace(approval(held), removals=frozenset(r for r in approval(held).removals if r.role))
    made = set_of_five({"approvals": (nodes_alone,)}, HOUR)
    assert not any(planned(made, name).actions for name in NAMES)


@pytest.mark.parametrize("changes", [{"is_observing": True}, {}], ids=["mode observe", "not ours"])
def test_whoever_may_not_write_sets_no_grace_going(changes: Any) -> None:
    seen = context(desired(), observed(HERE), memory(environments=known(CHECKOUT)), rules=replace(GRACIOUS, **changes))
    not_ours = Blocked(guard=Guard.NOT_OWNER, message="not ours", remedy="")
    made = guard(plan(seen), seen, not_owner=None if changes else not_ours)
    assert (planned(made).facts, planned(made).actions) == ((), ())
    assert (planned(made).due_at, made.requeue_after_s) == (None, None)


# --- taken back -----------------------------------------------------------------------------------------------------


def test_the_file_that_comes_back_finds_everything_as_it_was() -> None:
    nodes = [node(1, odd_since=NOW - MINUTE), node(2, odd_since=NOW - MINUTE)]
    seen = context(desired(environment()), observed(there(nodes=nodes)), ending(MINUTE), rules=GRACIOUS)
    made = planned(guard(plan(seen), seen))
    assert (made.actions, made.blocked, made.due_at) == ((), (), None)


def frozen(remembered: Memory, *, is_trace: bool = True) -> EnvironmentPlan:
    seen = context(desired(frozen=[broken(is_trace=is_trace)]), observed(HERE), remembered, rules=GRACIOUS)
    return planned(guard(plan(seen), seen))


def test_another_file_of_its_name_cancels_it_so_that_its_removal_brings_a_grace_of_its_own() -> None:
    assert frozen(ending(HOUR)).facts == (EndingCancelled(environment=CHECKOUT),)
    assert frozen(memory(environments=known(CHECKOUT))).facts == ()
    assert frozen(memory()).facts == ()


def test_a_teardown_that_has_begun_is_only_paused_by_one() -> None:
    made = frozen(memory(environments=known(CHECKOUT, began=NOW)))
    assert (made.facts, made.actions) == ((), ())


def test_a_broken_file_of_its_own_is_the_journals_business() -> None:
    """Its revision declares the name, and that is what cancels the ending."""
    assert frozen(ending(HOUR), is_trace=False).facts == ()


def test_nodes_that_show_late_are_held_too() -> None:
    late = there(nodes=[node(1), node(2, is_unseen=True, phase=Phase.PENDING)])
    made = one(late, ending())
    assert [waiting.message for waiting in made.waiting] == [f"web: {instance_id(2)} goes when EC2 shows it"]
    assert made.actions == ()
