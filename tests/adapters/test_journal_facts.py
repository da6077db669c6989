"""What is recorded is what is recalled, by whoever opens the file next."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import StatementError

from reconciler.adapters.journal import SqliteJournal
from reconciler.model.facts import (
    Approved,
    EndingCancelled,
    EnvironmentEnding,
    ExpiryNoticed,
    Fact,
    FirstRunReported,
    ImagePinned,
    IntentEnded,
    IntentLaunched,
    IntentOpened,
    Looked,
    NodeFailed,
    NodeForgotten,
    NodeMissing,
    NodeOdd,
    NodeReady,
    NodeSeen,
    OfferingExhausted,
    OrphanCleared,
    OrphanSighted,
    Resumed,
    RevisionApplied,
    RoleSettled,
    RoleTroubled,
    SightedAgain,
    Suspended,
    TeardownBegan,
    TeardownEnded,
    TeardownItems,
    TerminationAsked,
    TookOver,
)
from reconciler.model.memory import (
    Approval,
    Blindness,
    Cause,
    Ending,
    EndingCause,
    Exhausted,
    ExpiryNotice,
    IntentState,
    Item,
    ItemKind,
    KnownEnvironment,
    Pin,
    Removal,
    Suspension,
    Trouble,
)
from reconciler.model.names import EnvironmentName, ImageId, InstallationId, InstanceId, IntentToken, RevisionId
from tests.adapters.journal_facts import CHECKOUT, FIRST, NOON, WEB, facts, instance_ids, intent, node
from tests.adapters.journal_model import JournalModel

HOUR = timedelta(hours=1)
SECOND = InstanceId("i-00000000000000002")
steps = st.lists(
    st.tuples(
        st.integers(0, 130).map(lambda minutes: timedelta(minutes=minutes)), st.lists(facts, min_size=1, max_size=5)
    ),
    min_size=5,
    max_size=25,
)


@pytest.mark.slow
@given(steps=steps, registering=instance_ids)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_sequence_of_facts_is_recalled_as_its_meaning_says(
    steps: list[tuple[timedelta, list[Fact]]], registering: InstanceId
) -> None:
    model, now = JournalModel(InstallationId("one")), NOON
    with TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/state.db"
        with SqliteJournal(url, new_id=lambda: "one") as journal:
            for elapsed, recorded in steps:
                now += elapsed
                journal.record(now, *recorded)
                model.record(now, *recorded)
                if registering in model.memory.nodes:
                    assert journal.register(registering, "KEY", now) == model.register(registering, "KEY", now)
                assert journal.recall(now) == model.recall(now)
        with SqliteJournal(url) as fresh:
            assert fresh.recall(now) == model.recall(now)
            for instance_id, record in model.memory.nodes.items():
                assert fresh.node(instance_id) == record
            for token, opened in model.memory.intents.items():
                assert fresh.intent(token) == opened


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    with SqliteJournal(f"sqlite:///{tmp_path}/state.db") as journal:
        yield journal


def test_a_launch_makes_the_records_of_its_nodes(journal: SqliteJournal) -> None:
    journal.record(NOON, IntentOpened(intent=intent()))
    journal.record(NOON + HOUR, IntentLaunched(token=IntentToken("token-0"), instance_ids=(FIRST,)))
    assert journal.node(FIRST) == node(FIRST, at=NOON + HOUR, intent="token-0")
    kept = journal.intent(IntentToken("token-0"))
    assert kept is not None
    assert (kept.state, kept.instance_ids, kept.settled_at) == (IntentState.LAUNCHED, (FIRST,), NOON + HOUR)


def test_user_data_is_kept_only_while_a_replay_may_need_it(journal: SqliteJournal) -> None:
    journal.record(NOON, IntentOpened(intent=intent()))
    assert journal.recall(NOON).intents[IntentToken("token-0")] == intent()
    journal.record(NOON, IntentLaunched(token=IntentToken("token-0"), instance_ids=(FIRST,)))
    assert journal.recall(NOON).intents[IntentToken("token-0")].parameters.user_data == ""


def test_what_launched_after_all_is_not_closed_any_more_and_cannot_be_closed_again(journal: SqliteJournal) -> None:
    token = IntentToken("token-0")
    closing = IntentEnded(token=token, state=IntentState.CLOSED, message="not seen")
    journal.record(NOON, IntentOpened(intent=intent()), closing)
    journal.record(NOON, IntentLaunched(token=token, instance_ids=(FIRST,)), closing)
    kept = journal.intent(token)
    assert kept is not None and kept.state is IntentState.LAUNCHED


def test_marks_keep_their_first_moment_until_the_node_is_seen_again(journal: SqliteJournal) -> None:
    journal.record(NOON, NodeSeen(record=node()))
    for hours in (1, 2):
        journal.record(NOON + hours * HOUR, NodeMissing(instance_id=FIRST), NodeOdd(instance_id=FIRST))
    marked = journal.node(FIRST)
    assert marked is not None and (marked.missing_since, marked.odd_since) == (NOON + HOUR, NOON + HOUR)
    journal.record(NOON + 3 * HOUR, NodeSeen(record=node(at=NOON + 3 * HOUR)))
    seen = journal.node(FIRST)
    assert seen is not None and (seen.missing_since, seen.odd_since, seen.seen_at) == (None, None, NOON)


def test_seeing_a_node_again_keeps_its_registration_and_readiness(journal: SqliteJournal) -> None:
    journal.record(NOON, NodeSeen(record=node()))
    journal.register(FIRST, "KEY", NOON)
    journal.record(
        NOON, NodeReady(instance_id=FIRST), FirstRunReported(instance_id=FIRST, ok=True, log="Chef run finished")
    )
    journal.record(NOON + HOUR, NodeSeen(record=node(at=NOON + HOUR)))
    seen = journal.node(FIRST)
    assert seen is not None
    assert (seen.public_key, seen.registered_at, seen.ready_at, seen.first_run_ok) == ("KEY", NOON, NOON, True)


def test_a_termination_counts_once_an_hour_and_for_the_first_cause_that_counts(journal: SqliteJournal) -> None:
    asked = TerminationAsked(instance_id=FIRST, environment=CHECKOUT, cause=Cause.SWEEP)
    again = TerminationAsked(instance_id=FIRST, environment=CHECKOUT, cause=Cause.FAILED)
    journal.record(NOON, asked)
    journal.record(NOON + HOUR / 2, again)
    assert [(t.cause, t.at) for t in journal.recall(NOON + HOUR / 2).terminations] == [(Cause.SWEEP, NOON)]
    assert journal.recall(NOON + HOUR).terminations == ()
    journal.record(NOON + HOUR, again)
    assert [(t.cause, t.at) for t in journal.recall(NOON + HOUR).terminations] == [(Cause.FAILED, NOON + HOUR)]


def test_a_termination_that_did_not_happen_does_not_lend_its_cause_to_a_later_one(journal: SqliteJournal) -> None:
    """It was asked for by a commit and lost; what takes the node later within the hour may count."""
    by_commit = TerminationAsked(instance_id=FIRST, environment=CHECKOUT, cause=Cause.TEARDOWN)
    by_nobody = TerminationAsked(instance_id=FIRST, environment=CHECKOUT, cause=Cause.DRIFTED)
    journal.record(NOON, by_commit)
    journal.record(NOON + HOUR / 2, by_nobody)
    counted = [(t.cause, t.at) for t in journal.recall(NOON + HOUR / 2).terminations]
    assert counted == [(Cause.DRIFTED, NOON + HOUR / 2)]
    journal.record(NOON + HOUR / 2, by_commit)
    assert [t.cause for t in journal.recall(NOON + HOUR / 2).terminations] == [Cause.DRIFTED]


def test_declaring_an_environment_again_cancels_its_teardown_but_the_limit_still_counts_it(
    journal: SqliteJournal,
) -> None:
    old, new = RevisionId("a" * 40), RevisionId("b" * 40)
    journal.record(NOON, RevisionApplied(revision=old, declared=frozenset({CHECKOUT})))
    journal.record(NOON, TeardownBegan(environment=CHECKOUT, revision=old))
    assert journal.recall(NOON).environments[CHECKOUT].teardown_began_at == NOON
    journal.record(NOON, RevisionApplied(revision=new, declared=frozenset({CHECKOUT})))
    memory = journal.recall(NOON)
    assert memory.environments[CHECKOUT].teardown_began_at is None
    assert (memory.applied, memory.teardowns) == (new, {CHECKOUT: NOON})


# --- endings --------------------------------------------------------------------------------------------------------

OLD, NEW, LATER = (RevisionId(digit * 40) for digit in "abc")
NODE = Item(kind=ItemKind.INSTANCE, name=FIRST)
ROLE = Item(kind=ItemKind.CHEF_ROLE, name="checkout-web")


def applied(revision: RevisionId, *declared: EnvironmentName) -> RevisionApplied:
    return RevisionApplied(revision=revision, declared=frozenset(declared))


def ending(cause: EndingCause, revision: RevisionId = NEW) -> EnvironmentEnding:
    return EnvironmentEnding(
        environment=CHECKOUT, cause=cause, revision=revision, author="jessica", file="environments.d/checkout.yml"
    )


def test_an_ending_keeps_its_first_moment_and_its_receipt(journal: SqliteJournal) -> None:
    journal.record(NOON, applied(OLD, CHECKOUT), applied(NEW), ending(EndingCause.REMOVED))
    journal.record(NOON + HOUR, ending(EndingCause.REMOVED, LATER))
    journal.record(NOON + HOUR, TeardownItems(environment=CHECKOUT, found=frozenset({NODE, ROLE})))
    for hours in (2, 3):
        journal.record(NOON + hours * HOUR, TeardownItems(environment=CHECKOUT, gone=frozenset({NODE})))
    assert journal.recall(NOON).environments[CHECKOUT].ending == Ending(
        cause=EndingCause.REMOVED,
        at=NOON,
        revision=NEW,
        author="jessica",
        file="environments.d/checkout.yml",
        items={NODE: NOON + 2 * HOUR, ROLE: None},
    )


def test_the_receipt_outlives_the_records_of_the_nodes(journal: SqliteJournal) -> None:
    journal.record(NOON, ending(EndingCause.REMOVED), NodeSeen(record=node()))
    journal.record(NOON, TeardownItems(environment=CHECKOUT, gone=frozenset({NODE})), NodeForgotten(instance_id=FIRST))
    kept = journal.recall(NOON).environments[CHECKOUT].ending
    assert kept is not None and kept.items == {NODE: NOON}


def test_restoring_the_file_cancels_the_ending_with_nothing_left_of_it(journal: SqliteJournal) -> None:
    going = TeardownItems(environment=CHECKOUT, found=frozenset({NODE}))
    journal.record(NOON, applied(OLD, CHECKOUT), applied(NEW), ending(EndingCause.REMOVED), going)
    journal.record(NOON, TeardownBegan(environment=CHECKOUT, revision=NEW), applied(LATER, CHECKOUT))
    assert journal.recall(NOON).environments[CHECKOUT] == KnownEnvironment(name=CHECKOUT, declared_by=LATER)
    journal.record(NOON + HOUR, ending(EndingCause.REMOVED))
    again = journal.recall(NOON).environments[CHECKOUT].ending
    assert again is not None and (again.at, again.items) == (NOON + HOUR, {})


def test_a_commit_does_not_bring_an_expired_environment_back_but_its_renewal_does(journal: SqliteJournal) -> None:
    journal.record(NOON, applied(OLD, CHECKOUT), ending(EndingCause.EXPIRED, OLD))
    journal.record(NOON, TeardownBegan(environment=CHECKOUT, revision=OLD), applied(NEW, CHECKOUT))
    known = journal.recall(NOON).environments[CHECKOUT]
    assert known.teardown_began_at == NOON and known.ending is not None
    journal.record(NOON, EndingCancelled(environment=CHECKOUT))
    assert journal.recall(NOON).environments[CHECKOUT] == KnownEnvironment(name=CHECKOUT, declared_by=NEW)


def test_an_expired_environment_that_is_torn_down_stays_ended_until_its_file_is_gone(journal: SqliteJournal) -> None:
    torn_down = TeardownEnded(environment=CHECKOUT)
    journal.record(
        NOON,
        applied(OLD, CHECKOUT),
        RoleSettled(environment=CHECKOUT, role=WEB, count=1),
        ending(EndingCause.EXPIRED, OLD),
        TeardownBegan(environment=CHECKOUT, revision=OLD),
        TeardownItems(environment=CHECKOUT, found=frozenset({NODE}), gone=frozenset({NODE})),
        torn_down,
    )
    memory = journal.recall(NOON)
    known = memory.environments[CHECKOUT]
    assert known.ending is not None and known.ending.items == {NODE: NOON}
    assert (known.teardown_began_at, memory.settled) == (None, {})
    journal.record(NOON, applied(NEW), torn_down)
    assert journal.recall(NOON).environments == {}


def test_items_and_notices_of_what_is_not_ending_or_not_known_change_nothing(journal: SqliteJournal) -> None:
    notice = ExpiryNotice(expires_at=NOON + 24 * HOUR, ahead=24 * HOUR)
    journal.record(NOON, ExpiryNoticed(environment=CHECKOUT, notice=notice))
    journal.record(NOON, applied(OLD, CHECKOUT), TeardownItems(environment=CHECKOUT, found=frozenset({NODE})))
    journal.record(NOON, ending(EndingCause.EXPIRED))
    known = journal.recall(NOON).environments[CHECKOUT]
    assert known.notice is None and known.ending is not None and known.ending.items == {}


def test_the_newest_notice_replaces_those_before(journal: SqliteJournal) -> None:
    day, hour = (ExpiryNotice(expires_at=NOON + 24 * HOUR, ahead=ahead) for ahead in (24 * HOUR, HOUR))
    journal.record(NOON, applied(OLD, CHECKOUT), ExpiryNoticed(environment=CHECKOUT, notice=day))
    journal.record(NOON, ExpiryNoticed(environment=CHECKOUT, notice=hour), applied(NEW, CHECKOUT))
    assert journal.recall(NOON).environments[CHECKOUT].notice == hour


def test_an_orphan_keeps_its_first_sighting_until_it_is_cleared(journal: SqliteJournal) -> None:
    journal.record(NOON, OrphanSighted(item=ROLE))
    journal.record(NOON + HOUR, OrphanSighted(item=ROLE))
    assert journal.recall(NOON).orphans == {ROLE: NOON}
    journal.record(NOON + HOUR, OrphanCleared(item=ROLE), OrphanCleared(item=NODE))
    assert journal.recall(NOON).orphans == {}
    journal.record(NOON + 2 * HOUR, OrphanSighted(item=ROLE))
    assert journal.recall(NOON).orphans == {ROLE: NOON + 2 * HOUR}


def test_the_newest_times_without_sight_are_kept(journal: SqliteJournal) -> None:
    for minute in range(150):
        at = NOON + minute * HOUR
        journal.record(at, SightedAgain(since=at - HOUR / 2))
    journal.record(NOON + 200 * HOUR, SightedAgain())
    memory = journal.recall(NOON)
    assert len(memory.blindnesses) == 100
    assert memory.blindnesses[-1] == Blindness(began_at=NOON + 148.5 * HOUR, ended_at=NOON + 149 * HOUR)
    assert memory.sighted_again_at == NOON + 200 * HOUR


def test_a_node_failed_when_it_failed_first_unless_it_has_not_after_all(journal: SqliteJournal) -> None:
    journal.record(NOON, NodeSeen(record=node()))
    for hours in (1, 2):
        journal.record(NOON + hours * HOUR, NodeFailed(instance_id=FIRST))
    failed = journal.node(FIRST)
    assert failed is not None and failed.failed_at == NOON + HOUR
    journal.record(NOON + 3 * HOUR, NodeSeen(record=failed))
    assert journal.node(FIRST) == failed
    journal.record(NOON + 3 * HOUR, NodeSeen(record=replace(failed, failed_at=None)))
    assert journal.node(FIRST) == node()


def test_an_intent_whose_token_is_spent_stays_open_for_what_it_may_have_launched(journal: SqliteJournal) -> None:
    token = IntentToken("token-0")
    spent = IntentEnded(token=token, state=IntentState.OPEN, message="EC2 knows the token with other parameters")
    journal.record(NOON, IntentOpened(intent=intent()), spent)
    journal.record(NOON + HOUR, spent)
    kept = journal.recall(NOON + HOUR).intents[token]
    assert (kept.state, kept.settled_at) == (IntentState.OPEN, NOON)
    journal.record(NOON + HOUR, IntentEnded(token=token, state=IntentState.CLOSED, message="not seen"))
    closed = journal.intent(token)
    assert closed is not None and (closed.state, closed.settled_at) == (IntentState.CLOSED, NOON + HOUR)


def test_an_ended_teardown_forgets_the_environment_and_nothing_of_another(journal: SqliteJournal) -> None:
    other = EnvironmentName("production")
    journal.record(
        NOON,
        RevisionApplied(revision=RevisionId("a" * 40), declared=frozenset({CHECKOUT, other})),
        RoleSettled(environment=CHECKOUT, role=WEB, count=1),
        RoleSettled(environment=other, role=WEB, count=2),
        TeardownBegan(environment=CHECKOUT, revision=RevisionId("b" * 40)),
        TeardownEnded(environment=CHECKOUT),
    )
    memory = journal.recall(NOON)
    assert (set(memory.environments), memory.settled) == ({other}, {(other, WEB): 2})
    assert memory.teardowns == {CHECKOUT: NOON}


def test_resuming_one_environment_gives_its_roles_a_fresh_streak(journal: SqliteJournal) -> None:
    trouble = Trouble(
        environment=CHECKOUT,
        role=WEB,
        content="c0ffee",
        failed=frozenset({FIRST, SECOND}),
        is_halted=True,
        message="2 nodes never became ready",
        remedy="hivequeen resume checkout",
        since=NOON,
        retry_at=NOON + 2 * HOUR,
    )
    everything = Suspension(environment=None, reason="freeze", actor="ops", since=NOON, until=None)
    journal.record(NOON, RoleTroubled(trouble=trouble), Suspended(suspension=everything))
    journal.record(NOON + HOUR, Resumed(environment=CHECKOUT))
    memory = journal.recall(NOON + HOUR)
    kept = memory.troubles[CHECKOUT, WEB]
    assert (kept.failures, kept.is_halted, kept.retry_at, kept.since) == (0, False, None, NOON + HOUR)
    assert memory.suspensions == (everything,)


def test_an_approval_comes_back_with_its_removals_until_it_expires(journal: SqliteJournal) -> None:
    gone = Removal(environment=CHECKOUT, action="terminate_node", role=WEB, target=FIRST, change="image: ami-1 → ami-2")
    approval = Approval(
        digest="3f2a", removals=frozenset({gone}), actor="ops", at=NOON, expires_at=NOON + timedelta(hours=24)
    )
    of_revision = replace(approval, digest="a" * 40, removals=frozenset())
    journal.record(NOON, Approved(approval=approval), Approved(approval=of_revision))
    assert journal.recall(NOON + timedelta(hours=23)).approvals == (approval, of_revision)
    assert journal.recall(NOON + timedelta(hours=24)).approvals == ()


def test_all_facts_of_one_call_or_none(journal: SqliteJournal) -> None:
    naive = intent(opened_at=NOON.replace(tzinfo=None))
    with pytest.raises(StatementError, match="without a zone"):
        journal.record(NOON, NodeSeen(record=node()), IntentOpened(intent=naive))
    assert journal.recall(NOON).nodes == {}


def test_a_pin_is_kept_until_another_takes_its_place_or_another_may_have_owned_the_fleet(
    journal: SqliteJournal,
) -> None:
    old, new = (Pin(source="ssm:/golden/web", image=ImageId(image)) for image in ("ami-1", "ami-2"))
    journal.record(NOON, ImagePinned(environment=CHECKOUT, role=WEB, pin=old))
    journal.record(NOON, ImagePinned(environment=CHECKOUT, role=WEB, pin=new))
    assert journal.recall(NOON).pins == {(CHECKOUT, WEB): new}
    journal.record(NOON, TookOver(actor="ops"))
    assert journal.recall(NOON).pins == {}


def test_settled_intents_of_forgotten_nodes_are_dropped_after_a_week(journal: SqliteJournal) -> None:
    token = IntentToken("token-0")
    journal.record(NOON, IntentOpened(intent=intent()), IntentLaunched(token=token, instance_ids=(FIRST,)))
    month_later = NOON + timedelta(days=30)
    journal.record(month_later, NodeMissing(instance_id=FIRST))
    assert journal.intent(token) is not None
    journal.record(month_later, NodeForgotten(instance_id=FIRST))
    journal.record(month_later + HOUR, NodeMissing(instance_id=SECOND))
    assert journal.intent(token) is None


def test_open_intents_are_never_dropped(journal: SqliteJournal) -> None:
    journal.record(NOON, IntentOpened(intent=intent()))
    journal.record(NOON + timedelta(days=365), NodeMissing(instance_id=SECOND))
    assert set(journal.recall(NOON + timedelta(days=365)).intents) == {IntentToken("token-0")}


# --- a clock that ran ahead ---

AHEAD = timedelta(days=30)


def test_what_a_clock_that_ran_ahead_wrote_counts_from_when_it_was_put_right(journal: SqliteJournal) -> None:
    later = NOON + AHEAD
    journal.record(NOON, NodeSeen(record=node()))
    journal.record(
        later, NodeMissing(instance_id=FIRST), TookOver(actor="ops"), IntentOpened(intent=intent(opened_at=later))
    )
    journal.record(NOON + HOUR, Looked())
    memory = journal.recall(NOON + HOUR)
    seen = journal.node(FIRST)
    assert seen is not None
    assert (seen.missing_since, memory.taken_over_at) == (NOON + HOUR, NOON + HOUR)
    assert [one.opened_at for one in memory.intents.values()] == [NOON + HOUR]
    assert memory.looked_at == NOON + HOUR


def test_pauses_that_a_clock_that_ran_ahead_set_are_over_when_it_is_put_right(journal: SqliteJournal) -> None:
    later = NOON + AHEAD
    exhausted = Exhausted(instance_type="m7i.large", subnet="subnet-1", until=later + HOUR)
    journal.record(later, OfferingExhausted(exhausted=exhausted))
    journal.record(NOON, Looked())
    assert journal.recall(NOON).exhausted == ()


def test_a_suspension_outlives_a_clock_that_jumps_ahead(journal: SqliteJournal) -> None:
    suspension = Suspension(environment=CHECKOUT, reason="", actor="ops", since=NOON, until=NOON + HOUR)
    journal.record(NOON, Suspended(suspension=suspension))
    journal.record(NOON + AHEAD, Looked())
    journal.record(NOON, Looked())
    assert journal.recall(NOON).suspensions == (suspension,)
