from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from reconciler.adapters.journal import SqliteJournal
from reconciler.daemon.teller import Teller
from reconciler.model.actions import Batch, LaunchNodes, Reason
from reconciler.model.conditions import Condition, ConditionType, Event
from reconciler.model.desired import ImageById, Role
from reconciler.model.event_kinds import EventKind
from reconciler.model.facts import NodeReady
from reconciler.model.memory import Memory, NodeRecord, Suspension
from reconciler.model.names import (
    EnvironmentName,
    ImageId,
    InstallationId,
    InstanceId,
    NodeName,
    RoleName,
)
from reconciler.model.passes import Outcome, Pass, Result
from reconciler.model.plan import Blocked, EnvironmentPlan, Guard, Waiting
from reconciler.report.metrics import Metrics
from tests.daemon.test_latest import CHECKOUT, FAILURE, NOW, made

INSTANCE = InstanceId("i-00000001")


class CountingJournal(SqliteJournal):
    """Keeps how often conditions were written."""

    writes = 0

    def set_conditions(
        self, environment: EnvironmentName | None, conditions: Sequence[Condition], at: datetime
    ) -> Sequence[Condition]:
        self.writes += 1
        return super().set_conditions(environment, conditions, at)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[CountingJournal]:
    with CountingJournal(f"sqlite:///{tmp_path}/state.db") as opened:
        yield opened


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def teller(journal: CountingJournal, metrics: Metrics) -> Teller:
    return Teller(journal=journal, metrics=metrics)


WAITING = made(EnvironmentPlan(name=CHECKOUT, waiting=(Waiting(message="web: 2 nodes booting"),)))


def truth(journal: SqliteJournal, kind: ConditionType) -> dict[EnvironmentName | None, bool]:
    return {one.environment: one.is_true for one in journal.conditions() if one.type is kind}


def test_a_pass_becomes_conditions_of_each_environment_and_of_the_installation(
    teller: Teller, journal: CountingJournal
) -> None:
    teller.tell(WAITING)
    assert truth(journal, ConditionType.RECONCILING) == {CHECKOUT: True}
    assert truth(journal, ConditionType.DEGRADED) == {None: False, CHECKOUT: False}


def test_a_pass_that_says_nothing_new_writes_nothing(teller: Teller, journal: CountingJournal) -> None:
    teller.tell(WAITING)
    before, told = journal.writes, len(journal.events())
    teller.tell(WAITING)
    assert (journal.writes, len(journal.events())) == (before, told)


def test_only_what_changed_is_written(teller: Teller, journal: CountingJournal) -> None:
    teller.tell(WAITING)
    before = journal.writes
    teller.tell(made(EnvironmentPlan(name=CHECKOUT)))
    assert journal.writes == before + 1
    assert truth(journal, ConditionType.RECONCILING) == {CHECKOUT: False}


def test_an_environment_that_is_gone_leaves_no_condition(teller: Teller, journal: CountingJournal) -> None:
    teller.tell(WAITING)
    teller.tell(made())
    assert {one.environment for one in journal.conditions()} == {None}


def test_a_failure_is_a_condition_and_an_event_once(teller: Teller, journal: CountingJournal) -> None:
    teller.tell(made())
    failed = replace(made(failures=(FAILURE,)), plan=None)
    teller.tell(failed)
    teller.tell(failed)
    assert truth(journal, ConditionType.DEGRADED)[None]
    assert len([event for event in journal.events() if "throttled" in event.message]) == 1


def suspended(until: datetime | None) -> Pass:
    suspension = Suspension(environment=CHECKOUT, reason="sale", actor="ops", since=NOW, until=until)
    memory = Memory(installation=InstallationId("x"), suspensions=(suspension,))
    return replace(made(EnvironmentPlan(name=CHECKOUT)), memory=memory)


def test_a_suspension_that_ends_by_itself_is_told_and_metered(
    teller: Teller, journal: CountingJournal, metrics: Metrics
) -> None:
    teller.tell(suspended(NOW + timedelta(hours=1)))
    assert b'hivequeen_suspended_since_timestamp_seconds{environment="checkout"}' in metrics.render()
    teller.tell(replace(made(EnvironmentPlan(name=CHECKOUT)), memory=Memory(installation=InstallationId("x"))))
    ended = [event for event in journal.events() if event.kind == EventKind.SUSPENSION_ENDED]
    assert [(one.environment, one.message) for one in ended] == [
        (CHECKOUT, "over: suspended by ops until 2026-11-01 01:00 UTC: sale")
    ]
    assert b"hivequeen_suspended_since_timestamp_seconds{" not in metrics.render()


def test_a_suspension_that_somebody_ended_was_told_with_their_name(teller: Teller, journal: CountingJournal) -> None:
    for kind, actor in ((EventKind.SUSPENDED, "ops"), (EventKind.RESUMED, "maria")):
        journal.append(Event(at=NOW, kind=kind, message=f"{actor} did", environment=CHECKOUT, actor=actor))
    teller.tell(suspended(None))
    teller.tell(made(EnvironmentPlan(name=CHECKOUT)))
    assert EventKind.SUSPENSION_ENDED not in {event.kind for event in journal.events()}


def test_the_metrics_know_since_when_a_guard_holds(teller: Teller, journal: CountingJournal) -> None:
    hold = Blocked(guard=Guard.PROTECTED, message="protected", remedy="unprotect")
    held = made(EnvironmentPlan(name=CHECKOUT, blocked=(hold,)))
    teller.tell(held)
    restarted, metrics = replace(held, ended_at=NOW + timedelta(days=2)), Metrics()
    Teller(journal=journal, metrics=metrics).tell(restarted)
    (line,) = (one for one in metrics.render().decode().splitlines() if one.startswith("hivequeen_hold_since"))
    series, _, figure = line.rpartition(" ")
    assert series == 'hivequeen_hold_since_timestamp_seconds{environment="checkout",guard="protected"}'
    assert float(figure) == NOW.timestamp()


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    found = [(one.levelname, str(vars(one)["kind"])) for one in caplog.records if one.message == "event"]
    caplog.clear()
    return found


def test_trouble_is_logged_as_a_warning_and_the_rest_as_information(
    teller: Teller, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    teller.tell(made())
    teller.tell(replace(made(failures=(FAILURE,)), plan=None))
    teller.tell(made())
    assert logged(caplog) == [("WARNING", "Degraded"), ("INFO", "Recovered")]


def test_a_daemon_that_starts_into_an_outage_logs_it_once(
    journal: CountingJournal, teller: Teller, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    failed = replace(made(failures=(FAILURE,)), plan=None)
    teller.tell(failed)
    assert logged(caplog) == [("WARNING", "Degraded")]
    told = len(journal.events())
    restarted = Teller(journal=journal, metrics=Metrics())
    restarted.tell(failed)
    restarted.tell(failed)
    assert logged(caplog) == [("WARNING", "Degraded")]
    assert len(journal.events()) == told  # it is no news, only not to be overlooked


def test_how_long_nodes_took_is_measured_from_their_launch(teller: Teller, metrics: Metrics) -> None:
    record = NodeRecord(
        instance_id=INSTANCE,
        environment=CHECKOUT,
        role=RoleName("web"),
        name=NodeName("checkout-web-00000001"),
        intent=None,
        launched_at=NOW - timedelta(seconds=90),
        seen_at=NOW,
    )
    memory = Memory(installation=InstallationId("x"), nodes={INSTANCE: record})
    teller.tell(replace(WAITING, memory=memory, facts=(NodeReady(instance_id=INSTANCE),)))
    assert b"hivequeen_node_ready_duration_seconds_sum 90.0" in metrics.render()


def launch(result: Result) -> Outcome:
    role = Role(
        name=RoleName("web"),
        count=1,
        run_list=(),
        attributes={},
        image=ImageById(image_id=ImageId("ami-1")),
        instance_types=("m7i.large",),
        subnets=("subnet-a",),
        security_groups=frozenset(),
    )
    return Outcome(
        action=LaunchNodes(
            environment=CHECKOUT,
            role=role.name,
            declared=role,
            image=ImageId("ami-1"),
            tags={},
            batches=(Batch(subnet="subnet-a", instance_type="m7i.large", count=1),),
            reason=Reason(rule="count", detail="web.count 0 → 1"),
        ),
        result=result,
    )


@pytest.mark.parametrize(
    ("done", "count"),
    [
        (replace(WAITING, committed_at=NOW - timedelta(seconds=2), outcomes=(launch(Result.DONE),)), b"1.0"),
        (replace(WAITING, committed_at=NOW - timedelta(seconds=2), outcomes=(launch(Result.REFUSED),)), b"0.0"),
        (replace(WAITING, committed_at=None, outcomes=(launch(Result.DONE),)), b"0.0"),
    ],
)
def test_only_a_launch_that_a_commit_caused_counts_from_the_commit(
    teller: Teller, metrics: Metrics, done: Pass, count: bytes
) -> None:
    teller.tell(done)
    assert b"hivequeen_commit_to_launch_seconds_count " + count in metrics.render()
