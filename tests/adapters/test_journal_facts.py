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
    Fact,
    FirstRunReported,
    IntentEnded,
    IntentLaunched,
    IntentOpened,
    NodeForgotten,
    NodeMissing,
    NodeOdd,
    NodeReady,
    NodeSeen,
    Resumed,
    RevisionApplied,
    RoleSettled,
    RoleTroubled,
    Suspended,
    TeardownBegan,
    TeardownEnded,
    TerminationAsked,
)
from reconciler.model.memory import Approval, Cause, IntentState, Removal, Suspension, Trouble
from reconciler.model.names import EnvironmentName, InstallationId, InstanceId, IntentToken, RevisionId
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


def test_a_termination_counts_once_an_hour_and_for_its_first_cause(journal: SqliteJournal) -> None:
    asked = TerminationAsked(instance_id=FIRST, environment=CHECKOUT, cause=Cause.SWEEP)
    again = TerminationAsked(instance_id=FIRST, environment=CHECKOUT, cause=Cause.FAILED)
    journal.record(NOON, asked)
    journal.record(NOON + HOUR / 2, again)
    assert [(t.cause, t.at) for t in journal.recall(NOON + HOUR / 2).terminations] == [(Cause.SWEEP, NOON)]
    assert journal.recall(NOON + HOUR).terminations == ()
    journal.record(NOON + HOUR, again)
    assert [(t.cause, t.at) for t in journal.recall(NOON + HOUR).terminations] == [(Cause.FAILED, NOON + HOUR)]


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
    )
    everything = Suspension(environment=None, reason="freeze", actor="ops", since=NOON, until=None)
    journal.record(NOON, RoleTroubled(trouble=trouble), Suspended(suspension=everything))
    journal.record(NOON + HOUR, Resumed(environment=CHECKOUT))
    memory = journal.recall(NOON + HOUR)
    kept = memory.troubles[CHECKOUT, WEB]
    assert (kept.failures, kept.is_halted, kept.since) == (0, False, NOON + HOUR)
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
