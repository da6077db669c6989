import json
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from reconciler import __version__
from reconciler.adapters.journal import SqliteJournal
from reconciler.daemon import requests
from reconciler.daemon.desk import AtHand, Desk
from reconciler.daemon.latest import Latest
from reconciler.daemon.operations import Operations
from reconciler.daemon.requests import Request
from reconciler.daemon.verdict import Verdict
from reconciler.daemon.wakes import Errand, Wakes
from reconciler.errors import Stalled, Transient
from reconciler.model.conditions import Event
from reconciler.model.desired import Desired
from reconciler.model.facts import RevisionApplied
from reconciler.model.names import EnvironmentName, RevisionId
from reconciler.model.passes import Pass, Scope
from reconciler.model.plan import EnvironmentPlan, Plan
from tests.daemon.test_latest import FAILURE, made
from tests.daemon.test_operations import CHECKOUT, DIGEST, PLAN, REVISION, STAGING
from tests.daemon.test_service import settings
from tests.fakes.chef import FakeChefServer
from tests.fakes.clock import FakeClock
from tests.report.world import done, launch, terminate

SCHEMAS = Path(__file__).parents[2] / "schemas"


@dataclass
class Scripted:
    """A reconciler that always sees the same, and keeps what it was asked."""

    sees: Pass
    previews: list[Scope] = field(default_factory=list)
    passes: list[Scope] = field(default_factory=list)
    refreshed: list[EnvironmentName] = field(default_factory=list)

    def reconcile(self, scope: Scope) -> Pass:
        self.passes.append(scope)
        return replace(self.sees, scope=scope)

    def preview(self, scope: Scope) -> Pass:
        self.previews.append(scope)
        return replace(self.sees, scope=scope)

    def changed_scope(self) -> Scope | None:
        return None

    def refresh_images(self, environment: EnvironmentName) -> None:
        self.refreshed.append(environment)


DESIRED = Desired(revision=REVISION, environments={}, frozen={}, findings=())
HELD = replace(made(), plan=PLAN, desired=DESIRED)
IDLE = replace(made(EnvironmentPlan(name=CHECKOUT), EnvironmentPlan(name=STAGING)), desired=DESIRED)


class Office:
    def __init__(self, journal: SqliteJournal, sees: Pass) -> None:
        self.journal = journal
        self.clock = FakeClock()
        self.latest = Latest()
        self.reconciler = Scripted(sees)
        self.told: list[str] = []
        operations = Operations(
            settings=settings("demo"),
            clock=self.clock,
            journal=journal,
            chef=FakeChefServer,
            account=lambda: "1" * 12,
        )
        self.desk = Desk(
            settings=settings("demo"),
            clock=self.clock,
            journal=journal,
            operations=operations,
            passes=AtHand(lambda: self.reconciler, self.latest),
            latest=self.latest,
            progress_age_s=lambda: 1.5,
        )

    def ask(self, request: Request) -> Any:
        """The answer, as it looks after its way through the socket."""
        return json.loads(json.dumps(self.desk.answer(request, "jessica", self.told.append)))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    with SqliteJournal(f"sqlite:///{tmp_path}/state.db") as opened:
        opened.record(FakeClock().now(), RevisionApplied(revision=REVISION, declared=frozenset({CHECKOUT, STAGING})))
        yield opened


def check(document: object, schema: str) -> None:
    Draft202012Validator(json.loads((SCHEMAS / schema).read_text())).validate(document)


def test_ping_says_who_answers(journal: SqliteJournal) -> None:
    assert Office(journal, IDLE).ask(requests.Ping()) == {
        "fleet": "demo",
        "mode": "converge",
        "version": __version__,
        "progress_age_s": 1.5,
    }


def test_a_plan_is_a_full_preview_and_its_document_fits_the_schema(journal: SqliteJournal) -> None:
    office = Office(journal, HELD)
    answer = office.ask(requests.AskPlan())
    check(answer["plan"], "plan.schema.json")
    assert answer["verdict"] == Verdict.HELD
    assert [scope.environments for scope in office.reconciler.previews] == [None]
    assert office.reconciler.passes == []


def test_a_plan_of_one_environment_shows_that_one_only(journal: SqliteJournal) -> None:
    answer = Office(journal, replace(HELD, plan=replace(PLAN, blocked=()))).ask(requests.AskPlan(environment=CHECKOUT))
    assert [one["name"] for one in answer["plan"]["environments"]] == [CHECKOUT]


def test_a_plan_of_one_environment_does_not_fail_for_another(journal: SqliteJournal) -> None:
    elsewhere = replace(IDLE, failures=(replace(FAILURE, environment=STAGING),))
    office = Office(journal, elsewhere)
    assert office.ask(requests.AskPlan(environment=CHECKOUT))["verdict"] == Verdict.CONVERGED
    assert office.ask(requests.AskPlan(environment=STAGING))["verdict"] == Verdict.FAILED


def test_a_plan_of_an_environment_that_does_not_exist_is_refused(journal: SqliteJournal) -> None:
    with pytest.raises(Stalled, match="no environment chekout") as caught:
        Office(journal, IDLE).ask(requests.AskPlan(environment=EnvironmentName("chekout")))
    assert caught.value.remedy == "did you mean checkout?"


def test_events_of_an_environment_that_does_not_exist_are_refused(journal: SqliteJournal) -> None:
    with pytest.raises(Stalled, match="no environment chekout"):
        Office(journal, IDLE).ask(requests.AskEvents(environment=EnvironmentName("chekout")))
    assert Office(journal, IDLE).ask(requests.AskEvents(environment=CHECKOUT)) == {"events": []}


def test_events_of_an_environment_that_is_gone_are_still_told(journal: SqliteJournal) -> None:
    gone = EnvironmentName("gone")
    journal.append(Event(at=FakeClock().now(), kind="TornDown", message="nothing of gone is left", environment=gone))
    (event,) = Office(journal, IDLE).ask(requests.AskEvents(environment=gone))["events"]
    assert event["kind"] == "TornDown"


def test_a_pass_tells_which_node_each_thing_was_done_to(journal: SqliteJournal) -> None:
    sees = replace(IDLE, outcomes=(done(terminate()), done(launch())))
    answer = Office(journal, sees).ask(requests.MakePass())
    assert [(one["action"], one["role"], one["node"]) for one in answer["outcomes"]] == [
        ("terminate_node", "web", terminate().node),
        ("launch_nodes", "web", ""),
    ]


def test_a_world_that_cannot_be_read_is_an_answer_with_its_failures(journal: SqliteJournal) -> None:
    answer = Office(journal, replace(IDLE, plan=None, failures=(FAILURE,))).ask(requests.AskPlan())
    assert answer["plan"] is None
    assert answer["verdict"] == Verdict.FAILED
    assert answer["failures"][0]["message"] == "throttled"


def test_status_show_and_events_fit_their_schemas(journal: SqliteJournal) -> None:
    office = Office(journal, HELD)
    office.latest.keep(HELD)
    office.ask(requests.Suspend(environment=CHECKOUT, reason="load test"))
    check(office.ask(requests.AskStatus()), "status.schema.json")
    check(office.ask(requests.AskShow(target="checkout")), "show.schema.json")
    told = office.ask(requests.AskEvents(environment=CHECKOUT))
    check(told, "events.schema.json")
    assert [event["actor"] for event in told["events"]] == ["jessica"]


def test_why_is_answered_from_the_last_passes_and_from_the_journal(journal: SqliteJournal) -> None:
    office = Office(journal, HELD)
    remembered = office.ask(requests.AskWhy(target="checkout"))
    check(remembered, "why.schema.json")
    assert remembered["missing"] != []
    office.latest.keep(HELD)
    known = office.ask(requests.AskWhy(target="checkout"))
    check(known, "why.schema.json")
    assert known["missing"] == []
    assert f"hivequeen approve {DIGEST[:12]}" in {one["remedy"] for one in known["statements"]}
    with pytest.raises(Stalled, match="no environment or node is called chekout"):
        office.ask(requests.AskWhy(target="chekout"))


def test_status_without_a_pass_is_what_the_journal_remembers(journal: SqliteJournal) -> None:
    status = Office(journal, IDLE).ask(requests.AskStatus())
    check(status, "status.schema.json")
    assert [one["name"] for one in status["environments"]] == [CHECKOUT, STAGING]


def test_an_approval_of_what_the_last_pass_held_needs_no_other_look(journal: SqliteJournal) -> None:
    office = Office(journal, IDLE)
    office.latest.keep(HELD)
    assert "approved" in office.ask(requests.Approve(target=DIGEST))["message"]
    assert office.reconciler.previews == []
    assert journal.recall(office.clock.now()).approvals[0].actor == "jessica"


def test_an_approval_of_what_only_a_newer_plan_holds_looks_again(journal: SqliteJournal) -> None:
    office = Office(journal, HELD)
    office.latest.keep(IDLE)
    office.ask(requests.Approve(target=DIGEST))
    assert len(office.reconciler.previews) == 1


def test_an_approval_is_not_refused_for_want_of_a_look(journal: SqliteJournal) -> None:
    with pytest.raises(Stalled, match="throttled"):
        Office(journal, replace(IDLE, plan=None, failures=(FAILURE,))).ask(requests.Approve(target=DIGEST))


def test_a_pass_over_some_environments_refreshes_the_images_it_was_asked_to(journal: SqliteJournal) -> None:
    office = Office(journal, IDLE)
    answer = office.ask(requests.MakePass(environments=(CHECKOUT,), refresh_images=(STAGING,)))
    assert answer["verdict"] == Verdict.CONVERGED
    assert [scope.environments for scope in office.reconciler.passes] == [frozenset({CHECKOUT, STAGING})]
    assert office.reconciler.refreshed == [STAGING]


def test_what_an_operator_decides_wakes_the_loop_over_what_it_is_about(journal: SqliteJournal) -> None:
    office = Office(journal, IDLE)
    wakes = Wakes()
    operations = Operations(
        settings=settings("demo"), clock=office.clock, journal=journal, chef=FakeChefServer, account=lambda: "1" * 12
    )
    desk = Desk(
        settings=settings("demo"),
        clock=office.clock,
        journal=journal,
        operations=operations,
        passes=wakes,
        latest=office.latest,
        progress_age_s=lambda: 0.0,
    )
    desk.answer(requests.Suspend(environment=CHECKOUT), "jessica", office.told.append)
    assert wakes.take(0).scope == Scope(environments=frozenset({CHECKOUT}), because="requested by jessica")


@dataclass
class Gone:
    """A daemon that stops before it gets to the pass."""

    def ask(self, errand: Errand) -> Future[Pass]:
        errand.reply.cancel()
        return errand.reply

    def wake(self, scope: Scope) -> None: ...


def test_whoever_waits_when_the_daemon_stops_is_told_to_try_again(journal: SqliteJournal) -> None:
    office = Office(journal, IDLE)
    office.desk._passes = Gone()
    with pytest.raises(Transient, match="stopping"):
        office.ask(requests.MakePass())


def test_no_revision_yet_is_shown_as_such(journal: SqliteJournal) -> None:
    empty = replace(IDLE, plan=Plan(revision=RevisionId(""), environments=()))
    assert Office(journal, empty).ask(requests.AskPlan())["plan"]["revision"] == ""
