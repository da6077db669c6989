"""The documents for people and scripts: true to their schemas, and to the pass."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

from reconciler.adapters.journal import SqliteJournal
from reconciler.errors import Stalled
from reconciler.model.actions import Action, ActionName
from reconciler.model.conditions import ConditionType, Event
from reconciler.model.desired import Frozen
from reconciler.model.facts import NodeSeen, RevisionApplied, Suspended
from reconciler.model.findings import Finding, Origin
from reconciler.model.memory import Suspension
from reconciler.model.names import EnvironmentName, RevisionId
from reconciler.model.observed import Foreign, Phase
from reconciler.model.passes import Failure, Pass
from reconciler.model.plan import Blocked, EnvironmentPlan, Guard, Plan, Stall, Waiting
from reconciler.report import conditions, views
from tests.report.world import (
    BECAUSE,
    CHECKOUT,
    NOON,
    PRODUCTION,
    REVISION,
    WEB,
    desired,
    ensure_role,
    environment,
    every_action,
    launch,
    made,
    memory,
    node,
    observed,
    record,
    seen,
    terminate,
)

SCHEMAS = Path(__file__).parents[2] / "schemas"


def conforms(name: str, document: object) -> None:
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema, format_checker=FormatChecker())
    assert [error.message for error in validator.iter_errors(document)] == []
    assert json.loads(json.dumps(document)) == document


def subschemas(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
        for value in schema.values():
            yield from subschemas(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from subschemas(value)


@pytest.mark.parametrize("name", ["plan", "status", "show", "events", "why"])
def test_a_schema_is_closed_and_describes_every_property(name: str) -> None:
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
    for part in subschemas(schema):
        if part.get("type") == "object":
            assert "additionalProperties" in part
        for property_ in part.get("properties", {}).values():
            if isinstance(property_, dict) and "$ref" not in property_:
                assert property_["description"]


def test_the_plans_schema_knows_every_action_and_guard() -> None:
    definitions = json.loads((SCHEMAS / "plan.schema.json").read_text())["$defs"]
    assert set(definitions["action"]["properties"]["action"]["enum"]) == set(ActionName)
    assert set(definitions["blocked"]["properties"]["guard"]["enum"]) == set(Guard)
    status = json.loads((SCHEMAS / "status.schema.json").read_text())["$defs"]
    assert set(status["condition"]["properties"]["type"]["enum"]) == set(ConditionType)


HOLD = Blocked(
    guard=Guard.PRUNE_NODES,
    message="2 of 4 nodes would go",
    remedy="hivequeen approve 3f2a77aa01bc",
    digest="3f2a77aa01bc",
    actions=(terminate(2),),
)


def plan_of(*actions: Action, blocked: tuple[Blocked, ...] = ()) -> Plan:
    return Plan(revision=REVISION, environments=(EnvironmentPlan(name=CHECKOUT, actions=actions, blocked=blocked),))


def test_a_plan_with_every_action_conforms_and_says_what_each_needs() -> None:
    stall = Stall(reason="RoleHalted", message="web: 3 failures", remedy="hivequeen resume checkout")
    whole = EnvironmentPlan(
        name=CHECKOUT,
        actions=every_action(),
        blocked=(HOLD,),
        waiting=(Waiting(message="web: 1 node booting"),),
        stalls=(stall,),
    )
    observing = Blocked(guard=Guard.OBSERVE_MODE, message="mode is observe", remedy="set mode: converge")
    document: Any = views.plan_document(Plan(revision=REVISION, environments=(whole,), blocked=(observing,)))
    conforms("plan", document)
    shown = {action["action"]: action for action in document["environments"][0]["actions"]}
    assert set(shown) == set(ActionName)
    assert shown["launch_nodes"] == {
        "action": "launch_nodes",
        "role": "web",
        "count": 2,
        "reason": f"count: web.count 1 → 2 (environments.d/checkout.yml:1 at {REVISION[:8]})",
    }
    assert shown["replace_node"]["change"] == "image: ami-1 → ami-2"
    assert shown["ensure_chef_environment"]["role"] is None


def digest(plan: Plan) -> object:
    return views.plan_document(plan)["digest"]


@given(st.permutations(every_action()))
def test_a_plans_digest_depends_neither_on_order_nor_revision_nor_reason(actions: list[Action]) -> None:
    other = replace(BECAUSE, rule="drift", detail="seen later", revision=None)
    changed = replace(
        plan_of(*(replace(action, reason=other) for action in actions)),
        revision=RevisionId("b" * 40),
        requeue_after_s=5.0,
    )
    assert digest(changed) == digest(plan_of(*every_action()))


def test_a_plans_digest_differs_with_what_would_be_done() -> None:
    plans = [
        plan_of(),
        plan_of(launch(1)),
        plan_of(launch(2)),
        plan_of(terminate(1)),
        plan_of(terminate(2)),
        plan_of(terminate(2, change="image: ami-1 → ami-2")),
        plan_of(ensure_role(("recipe[a]",))),
        plan_of(ensure_role(("recipe[b]",))),
    ]
    assert len({digest(plan) for plan in plans}) == len(plans)


def test_holding_an_action_back_does_not_change_the_digest() -> None:
    assert digest(plan_of(terminate(2))) == digest(plan_of(blocked=(HOLD,)))


# --- status ---------------------------------------------------------------------------------------------------------


def busy() -> Pass:
    """Something of everything."""
    return made(
        EnvironmentPlan(
            name=CHECKOUT, actions=(launch(1),), blocked=(HOLD,), waiting=(Waiting(message="web: 1 node registered"),)
        ),
        EnvironmentPlan(name=PRODUCTION, is_frozen=True),
        wanted=desired(environment(), frozen=[PRODUCTION]),
        world=observed(
            seen(node(1), node(2, Phase.REGISTERED)),
            foreign=[
                Foreign(kind="chef role", name="checkout-web", environment=CHECKOUT, message="not marked as ours")
            ],
        ),
        remembered=replace(memory(known=[CHECKOUT]), suspensions=(SUSPENSION,)),
        failures=[Failure(stage="converge", message="timed out", remedy="", needs_person=False, environment=CHECKOUT)],
    )


SUSPENSION = Suspension(environment=CHECKOUT, reason="sale", actor="ops", since=NOON, until=None)


def status_of(passed: Pass) -> dict[str, Any]:
    said = conditions.dated(
        (one for group in conditions.of_pass(passed).values() for one in group), (), passed.ended_at
    )
    assert passed.memory is not None
    document = views.status(passed, passed.memory, said, NOON)
    conforms("status", document)
    return document


def test_status_tells_each_environment_with_roles_phases_and_conditions() -> None:
    document = status_of(busy())
    checkout, production = document["environments"]
    assert (checkout["name"], checkout["project"], checkout["owner"]) == (
        "checkout",
        "kickstarter",
        "jessica@example.com",
    )
    assert checkout["roles"] == [{"role": "web", "desired": 2, "ready": 1, "phases": {"ready": 1, "registered": 1}}]
    assert checkout["waiting"] == ["web: 1 node registered"]
    assert {one["type"] for one in checkout["conditions"] if one["status"]} == {
        "Reconciling",
        "Held",
        "Suspended",
        "Degraded",
    }
    assert production["is_frozen"] and production["is_declared"]
    assert document["is_owner"] is True
    assert (document["revision"], document["last_pass_at"]) == (REVISION, "2026-11-23T12:00:01Z")


def test_of_what_has_expired_no_nodes_are_wanted() -> None:
    """`0 of 2` would look like a trouble."""
    (checkout,) = status_of(made(EnvironmentPlan(name=CHECKOUT, is_declared=False), world=observed()))["environments"]
    assert checkout["is_declared"] is True
    assert checkout["roles"] == []


def test_status_shows_holds_with_the_command_and_suspensions_with_who() -> None:
    document = status_of(busy())
    assert document["holds"] == [
        {
            "guard": "prune_nodes",
            "environments": ["checkout"],
            "message": "2 of 4 nodes would go",
            "actors": [],
            "since": "2026-11-23T12:00:01Z",
            "until": None,
            "digest": "3f2a77aa01bc",
            "remedy": "hivequeen approve 3f2a77aa01bc",
            "removals": ["i-00000000000000002"],
        }
    ]
    assert document["suspensions"][0]["actor"] == "ops"
    assert document["suspensions"][0]["remedy"] == "hivequeen resume checkout"


def test_one_digest_over_several_environments_is_one_hold() -> None:
    shared = [
        EnvironmentPlan(name=EnvironmentName(name), blocked=(replace(HOLD, guard=Guard.PRUNE_ENVIRONMENTS),))
        for name in ("a", "b", "c")
    ]
    assert [hold["environments"] for hold in status_of(made(*shared))["holds"]] == [["a", "b", "c"]]


def test_observe_mode_is_said_once_not_for_each_environment() -> None:
    observing = Blocked(guard=Guard.OBSERVE_MODE, message="mode is observe", remedy="set mode: converge")
    plans = [
        EnvironmentPlan(name=EnvironmentName(name), blocked=(replace(observing, actions=(launch(),)),))
        for name in ("a", "b")
    ]
    assert [hold["environments"] for hold in status_of(made(*plans, blocked=[observing]))["holds"]] == [[]]


def test_a_foreign_claim_is_no_owner() -> None:
    blocked = Blocked(guard=Guard.NOT_OWNER, message="claimed by another", remedy="hivequeen claim --take-over")
    assert status_of(made(blocked=[blocked]))["is_owner"] is False


# --- from the journal -----------------------------------------------------------------------------------------------


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    with SqliteJournal(f"sqlite:///{tmp_path}/state.db") as journal:
        yield journal


def test_without_a_pass_status_tells_what_the_journal_remembers(journal: SqliteJournal) -> None:
    journal.record(
        NOON,
        RevisionApplied(revision=REVISION, declared=frozenset({CHECKOUT})),
        NodeSeen(record=record(1, ready=True)),
        NodeSeen(record=record(2)),
        Suspended(suspension=SUSPENSION),
    )
    document: dict[str, Any] = views.status(None, journal.recall(NOON), journal.conditions(), NOON)
    conforms("status", document)
    (checkout,) = document["environments"]
    assert checkout["roles"] == [{"role": "web", "desired": None, "ready": 1, "phases": {"pending": 1, "ready": 1}}]
    assert (document["revision"], document["last_pass_at"], document["is_owner"]) == (REVISION, None, None)
    assert checkout["is_declared"] is None


def test_show_gives_nodes_with_why_and_the_newest_events(journal: SqliteJournal) -> None:
    failing = busy()
    assert failing.observed is not None
    world = observed(seen(node(1), node(2, Phase.FAILED)))
    passed = replace(failing, observed=world)
    journal.append(*(Event(at=NOON, kind="NodeReady", message=str(n), environment=CHECKOUT) for n in range(30)))
    document: dict[str, Any] = views.show("checkout", passed, journal, NOON)
    conforms("show", document)
    good, bad = document["nodes"]
    assert (good["phase"], good["address"], good["instance_type"], good["age_seconds"]) == (
        "ready",
        "10.0.0.7",
        "m7i.large",
        600,
    )
    assert good["why"] == "its Chef run succeeded"
    # Its termination is planned, and held.
    assert bad["why"].startswith("its first Chef run failed; held: terminate node, count: web.count 1 → 2")
    assert [event["message"] for event in document["events"]] == [str(n) for n in range(10, 30)]


@pytest.mark.parametrize("target", [node(2).name, "00000000000000002", "i-00000000000000002", "web-00000000000000002"])
def test_show_finds_a_node_by_any_unique_part_of_its_name(journal: SqliteJournal, target: str) -> None:
    journal.append(
        Event(at=NOON, kind="NodeReady", message="mine", environment=CHECKOUT, node=node(2).name),
        Event(at=NOON, kind="NodeReady", message="another's", environment=CHECKOUT, node=node(1).name),
    )
    document: dict[str, Any] = views.show(target, made(EnvironmentPlan(name=CHECKOUT)), journal, NOON)
    conforms("show", document)
    assert [one["name"] for one in document["nodes"]] == [node(2).name]
    assert [event["message"] for event in document["events"]] == ["mine"]


def test_show_of_nothing_or_of_too_much_says_what_there_is(journal: SqliteJournal) -> None:
    passed = made(EnvironmentPlan(name=CHECKOUT))
    with pytest.raises(Stalled, match="no environment or node is called chekout") as nothing:
        views.show("chekout", passed, journal, NOON)
    assert "checkout" in nothing.value.remedy
    with pytest.raises(Stalled, match="part of 2 nodes' names") as much:
        views.show("checkout-web", passed, journal, NOON)
    assert node(1).name in much.value.remedy


def test_show_gives_the_end_of_a_failed_first_run(journal: SqliteJournal) -> None:
    failed = replace(record(1), first_run_ok=False, first_run_log="FATAL: no recipe[kickstarter::web]")
    journal.record(NOON, NodeSeen(record=failed))
    for passed in (None, made(EnvironmentPlan(name=CHECKOUT), world=observed(seen(node(1, Phase.FAILED))))):
        document: dict[str, Any] = views.show("checkout", passed, journal, NOON)
        conforms("show", document)
        assert document["nodes"][0]["first_run_ok"] is False
        assert document["nodes"][0]["first_run_log"] == "FATAL: no recipe[kickstarter::web]"


def test_show_without_a_pass_tells_what_the_journal_remembers(journal: SqliteJournal) -> None:
    journal.record(NOON, NodeSeen(record=record(1)))
    document: dict[str, Any] = views.show("checkout", None, journal, NOON)
    conforms("show", document)
    assert (document["nodes"][0]["phase"], document["plan"]) == ("pending", None)


def test_every_phase_has_its_words(journal: SqliteJournal) -> None:
    nodes = [node(number, phase) for number, phase in enumerate(Phase)]
    passed = made(EnvironmentPlan(name=CHECKOUT), world=observed(seen(*nodes)))
    document: dict[str, Any] = views.show("checkout", passed, journal, NOON)
    conforms("show", document)
    assert len({one["why"] for one in document["nodes"]}) == len(Phase)
    booting = next(one for one in document["nodes"] if one["phase"] == "registered")
    assert booting["why"] == "registered, its first Chef run is not finished; it has until 2026-11-23T12:20:00Z"


def test_events_conform(journal: SqliteJournal) -> None:
    journal.append(
        Event(at=NOON, kind="Approved", message="ops approved 3f2a", actor="ops"),
        Event(at=NOON, kind="NodeReady", message="ready", environment=CHECKOUT, node=node(1).name, revision=REVISION),
    )
    document: dict[str, Any] = views.events(journal.events())
    conforms("events", document)
    assert [event["environment"] for event in document["events"]] == [None, "checkout"]


def test_an_environment_that_exists_only_in_the_world_is_listed_too() -> None:
    stray = made(
        EnvironmentPlan(name=PRODUCTION, is_declared=False, actions=(terminate(),)),
        wanted=desired(environment()),
        world=observed(seen(node(1)), seen(node(9, name=PRODUCTION), name=PRODUCTION)),
    )
    production = status_of(stray)["environments"][1]
    assert (production["name"], production["is_declared"]) == ("production", False)
    assert production["roles"] == [{"role": WEB, "desired": None, "ready": 1, "phases": {"ready": 1}}]


def test_a_file_that_only_bears_a_name_is_no_environment_and_what_is_wrong_with_it_is_told() -> None:
    trace, misnamed = EnvironmentName("readme"), EnvironmentName("bad-name")
    finding = Finding(origin=Origin(file="environments.d/Bad_Name.yml", line=1), message="no name", remedy="rename it")
    note = Finding(origin=Origin(file="environments.d/README.md", line=1), message="it bears the name readme")
    wanted = desired(environment(), frozen=[PRODUCTION])
    frozen = {
        **wanted.frozen,
        trace: Frozen(name=trace, findings=(note,), is_trace=True),
        misnamed: Frozen(name=misnamed, findings=(finding,), is_trace=True),
    }
    wanted = replace(wanted, frozen=frozen, findings=(*wanted.findings, finding))
    document = status_of(made(EnvironmentPlan(name=CHECKOUT), wanted=wanted))
    assert [one["name"] for one in document["environments"]] == ["checkout", "production"]
    assert document["findings"] == [
        {"file": "environments.d/Bad_Name.yml", "line": 1, "message": "no name", "remedy": "rename it"}
    ]
    assert [one["message"] for one in document["environments"][1]["findings"]] == ['unknown key "run_lsit"']


def test_a_file_that_bears_the_name_of_what_still_stands_keeps_it_in_sight() -> None:
    wanted = desired(environment())
    note = Finding(origin=Origin(file="environments.d/production.txt", line=1), message="it bears the name production")
    trace = Frozen(name=PRODUCTION, findings=(note,), is_trace=True)
    passed = made(
        EnvironmentPlan(name=CHECKOUT),
        EnvironmentPlan(name=PRODUCTION, is_frozen=True),
        wanted=replace(wanted, frozen={PRODUCTION: trace}),
        world=observed(seen(node(1)), seen(node(9, name=PRODUCTION), name=PRODUCTION)),
    )
    production = status_of(passed)["environments"][1]
    assert (production["name"], production["is_frozen"], production["is_declared"]) == ("production", True, False)
