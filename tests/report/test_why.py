"""Why a node or an environment is as it is: rule, commit, author, file and line, and what ends it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.adapters.journal import SqliteJournal
from reconciler.errors import Stalled
from reconciler.model.actions import Reason, ReplaceNode
from reconciler.model.commits import Commit
from reconciler.model.conditions import Event
from reconciler.model.desired import Lifetime
from reconciler.model.event_kinds import EventKind
from reconciler.model.facts import (
    Approved,
    EnvironmentEnding,
    EnvironmentFailed,
    Fact,
    IntentLaunched,
    IntentOpened,
    NodeFailed,
    NodeForgotten,
    NodeGone,
    NodeReady,
    NodeSeen,
    RevisionApplied,
    RoleTroubled,
    Suspended,
    TeardownBegan,
    TeardownItems,
)
from reconciler.model.findings import Finding, Origin, Violation
from reconciler.model.memory import Approval, Backoff, EndingCause, Item, ItemKind, Removal, Suspension, Trouble
from reconciler.model.names import ChefName, EnvironmentName, RevisionId
from reconciler.model.observed import ChefNode, Phase
from reconciler.model.passes import Failure, Pass
from reconciler.model.plan import Blocked, Difference, EnvironmentPlan, Guard, Stall, Waiting
from reconciler.report import conditions, events
from reconciler.report.sentences import would_do
from reconciler.report.statements import Touched, nobody_knows, reason_in
from reconciler.report.views import show
from reconciler.report.why import NOBODY_LOOKED, why
from tests.report.test_conditions import passes
from tests.report.test_views import conforms
from tests.report.world import (
    BECAUSE,
    CHECKOUT,
    DELETION,
    FILE,
    JESSICA,
    NOON,
    PRODUCTION,
    REVISION,
    WEB,
    desired,
    done,
    ending,
    environment,
    every_action,
    grace,
    intent,
    launch,
    made,
    memory,
    node,
    observed,
    record,
    remembering,
    role,
    seen,
    terminate,
)

MINUTE = timedelta(minutes=1)
LATER = NOON + 30 * MINUTE
TOMAS = "Tomas <tomas@example.com>"
COMMIT = Commit(revision=REVISION, author=TOMAS, subject="Tidy up elsewhere", at=NOON)
TOUCHING = Commit(revision=RevisionId("51de" * 10), author=JESSICA, subject="Grow", at=NOON)
ONE = node(1)
HELD = Blocked(
    guard=Guard.PRUNE_NODES,
    message="2 of 2 nodes would go",
    remedy="hivequeen approve 3f2a91c04b7d",
    digest="3f2a91c04b7d",
    actions=(terminate(1), terminate(2)),
)
DRIFT = Difference(field="image", live="ami-1", wanted="ami-2")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    with SqliteJournal(f"sqlite:///{tmp_path}/state.db") as opened:
        yield opened


def tell(journal: SqliteJournal, passed: Pass, at: datetime = NOON) -> Pass:
    """As the daemon would: conditions and events."""
    before = journal.conditions()
    groups = conditions.of_pass(passed, before)
    for name, group in groups.items():
        journal.set_conditions(name, group, at)
    after = [one for group in groups.values() for one in group]
    journal.append(*(replace(event, at=at) for event in events.of_pass(passed, before, after)))
    return passed


def touched(revision: RevisionId, files: frozenset[str]) -> Mapping[str, Commit]:
    """Tomas' commit applies, and Jessica's is the newest that touched the file."""
    return {FILE.file: TOUCHING} if revision == REVISION and FILE.file in files else {}


def asked(
    target: str,
    passed: Pass | None,
    journal: SqliteJournal,
    now: datetime = LATER,
    history: Touched = touched,
) -> dict[str, Any]:
    document: dict[str, Any] = why(target, passed, journal, now, history)
    conforms("why", document)
    return document


def about(document: dict[str, Any], *topics: str) -> list[dict[str, Any]]:
    return [one for one in document["statements"] if one["topic"] in topics]


def launched(journal: SqliteJournal) -> None:
    """Node 1 by an intent, as a pass of Jessica's commit told it."""
    journal.record(
        NOON,
        RevisionApplied(revision=REVISION, declared=frozenset({CHECKOUT})),
        IntentOpened(intent=intent()),
        IntentLaunched(token=intent().token, instance_ids=(ONE.instance_id,)),
        NodeSeen(record=replace(record(1), intent=intent().token)),
    )
    applied = RevisionApplied(revision=REVISION, declared=frozenset({CHECKOUT}))
    tell(journal, made(facts=[applied], commit=COMMIT, outcomes=[done(launch(1), message=ONE.instance_id)]))


# --- nodes ----------------------------------------------------------------------------------------------------------


def test_a_node_says_who_asked_for_it_where_and_by_which_commit(journal: SqliteJournal) -> None:
    launched(journal)
    journal.record(NOON + MINUTE, NodeReady(instance_id=ONE.instance_id))
    chef = ChefNode(
        name=ONE.name,
        chef_environment=ChefName("checkout"),
        run_list=("role[checkout-web]",),
        ohai_time=NOON.timestamp(),
    )
    passed = made(EnvironmentPlan(name=CHECKOUT), world=observed(seen(replace(ONE, chef=chef))))
    document = asked("i-00000000000000001", passed, journal)
    assert (document["node"], document["is_there"], document["summary"]) == (ONE.name, True, f"{ONE.name} is ready")
    (first,) = about(document, "launched")
    assert first | {"details": []} == {
        "topic": "launched",
        "text": "web.count 1 → 2",
        "rule": "count",
        "file": "environments.d/checkout.yml",
        "line": 1,
        "revision": REVISION,
        "commit": TOUCHING.revision,
        "author": JESSICA,
        "actor": None,
        "live": None,
        "wanted": None,
        "since": "2026-11-23T11:50:00Z",
        "until": None,
        "remedy": None,
        "details": [],
    }
    assert first["details"] == ["m7i.large of ami-1 in subnet-a", "intent token-1"]
    (now,) = about(document, "now")
    assert (now["text"], now["since"]) == ("its Chef run succeeded", "2026-11-23T12:01:00Z")
    (of_chef,) = about(document, "chef")
    assert of_chef["text"] == "Chef last ran at 2026-11-23 12:00 UTC, in environment checkout with role[checkout-web]"
    assert document["missing"] == []


@pytest.mark.parametrize("target", [ONE.name, "00000000000000001", "i-00000000000000001", "web-00000000000000001"])
def test_any_unique_part_of_a_name_or_id_finds_the_node(journal: SqliteJournal, target: str) -> None:
    assert asked(target, made(EnvironmentPlan(name=CHECKOUT)), journal)["node"] == ONE.name


def test_a_launch_whose_event_is_gone_is_known_by_its_intent_and_by_its_tag(journal: SqliteJournal) -> None:
    passed = made(EnvironmentPlan(name=CHECKOUT), commit=COMMIT)
    (stranger,) = about(asked(ONE.name, passed, journal), "launched")
    assert (stranger["rule"], stranger["revision"]) == (None, None)
    assert "nobody here remembers its launch" in stranger["text"]
    tagged = replace(ONE, instance=replace(ONE.instance, tags={"hivequeen:revision": REVISION}))
    passed = made(EnvironmentPlan(name=CHECKOUT), commit=COMMIT, world=observed(seen(tagged)))
    (known,) = about(asked(ONE.name, passed, journal), "launched")
    assert (known["revision"], known["commit"], known["author"]) == (REVISION, None, None)
    journal.record(NOON, IntentOpened(intent=intent()), NodeSeen(record=replace(record(1), intent=intent().token)))
    (known,) = about(asked(ONE.name, passed, journal), "launched")
    assert "the event that said why is not kept" in known["text"]


def test_a_node_that_boots_says_until_when_it_may(journal: SqliteJournal) -> None:
    plan = EnvironmentPlan(name=CHECKOUT, waiting=(Waiting(message="web: 1 node registered", role="web"),))
    passed = made(plan, world=observed(seen(node(1, Phase.REGISTERED))))
    document = asked(ONE.name, passed, journal)
    (now,) = about(document, "now")
    assert (now["rule"], now["until"]) == ("registered", "2026-11-23T12:20:00Z")
    assert [one["text"] for one in about(document, "waiting")] == ["web: 1 node registered"]


def drifting(*, blocked: Sequence[Blocked] = (), actions: Sequence[ReplaceNode] = ()) -> Pass:
    declared = environment(CHECKOUT, replace(role(), origins={"image": Origin(file=FILE.file, line=7)}))
    plan = EnvironmentPlan(
        name=CHECKOUT,
        actions=tuple(actions),
        blocked=tuple(blocked),
        waiting=(Waiting(message="web: 2 of 3 nodes to replace", role="web"), Waiting(message="other: busy", role="o")),
        drifted={ONE.instance_id: (DRIFT,), node(2).instance_id: (DRIFT,)},
    )
    return made(plan, wanted=desired(declared), commit=COMMIT)


def test_a_node_that_drifts_says_live_and_wanted_value_with_the_line_and_waits_its_turn(
    journal: SqliteJournal,
) -> None:
    document = asked(ONE.name, drifting(), journal)
    (drift,) = about(document, "drift")
    assert (drift["live"], drift["wanted"], drift["file"], drift["line"]) == ("ami-1", "ami-2", FILE.file, 7)
    assert (drift["commit"], drift["author"]) == (TOUCHING.revision, JESSICA)
    assert [one["text"] for one in about(document, "waiting")] == [
        "it is replaced when its turn comes: one node after the other, the oldest first",
        "web: 2 of 3 nodes to replace",
    ]


def test_a_node_that_is_not_replaced_says_which_guard_holds_it_and_what_lifts_that(journal: SqliteJournal) -> None:
    passed = tell(journal, drifting(blocked=[HELD]))
    document = asked(ONE.name, passed, journal)
    (held,) = about(document, "held")
    assert (held["rule"], held["remedy"], held["since"]) == (
        "prune_nodes",
        "hivequeen approve 3f2a91c04b7d",
        "2026-11-23T12:00:00Z",
    )
    assert held["details"] == [f"terminating {ONE.name}, {BECAUSE}"]  # not the other node's


def test_a_node_that_is_being_replaced_says_so_once(journal: SqliteJournal) -> None:
    (replacing,) = (one for one in every_action() if isinstance(one, ReplaceNode))
    reason = Reason(rule="drift", detail=replacing.change, origin=FILE, revision=REVISION)
    document = asked(ONE.name, drifting(actions=[replace(replacing, reason=reason)]), journal)
    (doing,) = about(document, "doing")
    assert doing["text"] == f"replacing {ONE.name} (image: ami-1 → ami-2)"
    assert (doing["rule"], doing["line"], doing["author"]) == ("drift", 1, JESSICA)
    assert [one["text"] for one in about(document, "waiting")] == ["web: 2 of 3 nodes to replace"]


def test_a_suspension_and_what_holds_everything_keep_a_node_as_well(journal: SqliteJournal) -> None:
    suspension = Suspension(environment=None, reason="sale", actor="ops", since=NOON, until=LATER + MINUTE)
    journal.record(NOON, Suspended(suspension=suspension))
    history = Blocked(guard=Guard.HISTORY, message="rewritten", remedy="hivequeen approve 9c1d", digest="9c1d" * 10)
    passed = made(EnvironmentPlan(name=CHECKOUT), blocked=[history])
    document = asked(ONE.name, passed, journal)
    (paused,) = about(document, "suspended")
    assert (paused["actor"], paused["until"], paused["remedy"]) == (
        "ops",
        "2026-11-23T12:31:00Z",
        "hivequeen resume --all",
    )
    assert [one["text"] for one in about(document, "held")] == ["rewritten"]


def test_a_failed_node_says_why_since_when_and_what_its_role_waits_for(journal: SqliteJournal) -> None:
    launched(journal)
    trouble = Trouble(
        environment=CHECKOUT,
        role=WEB,
        content="digest",
        failed=frozenset({"i-1", "i-2", "i-3"}),
        is_halted=False,
        message="no recipe",
        remedy="",
        since=NOON,
        retry_at=LATER + MINUTE,
    )
    journal.record(NOON + MINUTE, NodeFailed(instance_id=ONE.instance_id), RoleTroubled(trouble=trouble))
    kept = Waiting(message=f"web: {ONE.instance_id} failed; kept", role="web", until=LATER + 30 * MINUTE)
    stall = Stall(reason="BreakerOpen", message="web: 3 nodes failed", remedy="hivequeen resume checkout")
    other = Stall(reason="RoleHalted", message="worker: 3 nodes failed", remedy="hivequeen resume checkout")
    failed = replace(node(1, Phase.FAILED), failed_at=NOON + MINUTE)
    plan = EnvironmentPlan(name=CHECKOUT, waiting=(kept,), stalls=(stall, other))
    document = asked(ONE.name, made(plan, world=observed(seen(failed))), journal)
    assert document["summary"] == f"{ONE.name} has failed"
    (now,) = about(document, "now")
    assert (now["text"], now["since"]) == ("its first Chef run failed", "2026-11-23T12:01:00Z")
    (waiting,) = about(document, "waiting")
    assert waiting["until"] == "2026-11-23T13:00:00Z"
    (stalled,) = about(document, "stalled")
    assert (stalled["rule"], stalled["since"], stalled["until"], stalled["remedy"]) == (
        "BreakerOpen",
        "2026-11-23T12:00:00Z",
        "2026-11-23T12:31:00Z",
        "hivequeen resume checkout",
    )


def test_a_first_run_that_failed_and_a_silent_chef_are_said(journal: SqliteJournal) -> None:
    journal.record(NOON, NodeSeen(record=replace(record(1), first_run_ok=False)))
    passed = made(EnvironmentPlan(name=CHECKOUT), world=observed(seen(replace(ONE, has_client=True))))
    assert [one["text"] for one in about(asked(ONE.name, passed, journal), "chef")] == [
        f"its first Chef run failed; the end of its log: hivequeen show {ONE.name}",
        "Chef has no node of its name; it has its Chef client",
    ]
    chef = ChefNode(name=ONE.name, chef_environment=ChefName("checkout"), run_list=(), ohai_time=None)
    passed = made(EnvironmentPlan(name=CHECKOUT), world=observed(seen(replace(ONE, chef=chef, is_stale=True))))
    (text,) = (one["text"] for one in about(asked(ONE.name, passed, journal), "chef") if "never ran" in one["text"])
    assert "with no run list; Chef has not heard of it lately" in text


def test_a_node_that_was_launched_after_the_last_look_is_known(journal: SqliteJournal) -> None:
    launched(journal)
    document = asked(ONE.name, made(EnvironmentPlan(name=CHECKOUT), world=observed(seen())), journal)
    assert document["summary"] == f"{ONE.name} is new"
    (now,) = about(document, "now")
    assert now["text"] == "launched a moment ago; the next pass looks at it"
    assert about(document, "launched")[0]["author"] == JESSICA


def test_an_extra_node_says_which_one_it_replaces(journal: SqliteJournal) -> None:
    (replacing,) = (one for one in every_action() if isinstance(one, ReplaceNode))
    tell(journal, made(outcomes=[done(replacing, message=node(2).instance_id)]))
    (said,) = about(asked(node(2).name, made(EnvironmentPlan(name=CHECKOUT)), journal), "launched")
    assert said["text"].startswith(f"one more web node launched, to replace {ONE.name}: {node(2).instance_id}, ")


def gone(journal: SqliteJournal, *, by_us: bool) -> None:
    launched(journal)
    if by_us:
        tell(journal, made(outcomes=[done(terminate(1))]), NOON + MINUTE)
    departing = made(facts=[NodeGone(instance_id=ONE.instance_id)], world=observed(seen(ONE)))
    tell(journal, departing, NOON + 2 * MINUTE)
    journal.record(NOON + 2 * MINUTE, NodeGone(instance_id=ONE.instance_id))


@pytest.mark.parametrize("is_forgotten", [True, False])
def test_a_node_that_is_gone_says_why_it_went_and_when(journal: SqliteJournal, *, is_forgotten: bool) -> None:
    gone(journal, by_us=True)
    passed = made(EnvironmentPlan(name=CHECKOUT), world=observed(seen(node(2)))) if is_forgotten else None
    document = asked("00000000000000001", passed, journal)
    assert (document["is_there"], document["summary"]) == (False, f"{ONE.name} is gone since 2026-11-23 12:02 UTC")
    asked_for, seen_gone = about(document, "ended")
    assert (asked_for["text"], asked_for["rule"], asked_for["since"]) == (
        "web.count 1 → 2",
        "count",
        "2026-11-23T12:01:00Z",
    )
    assert (asked_for["revision"], asked_for["author"], asked_for["line"]) == (REVISION, JESSICA, 1)
    assert seen_gone["since"] == "2026-11-23T12:02:00Z"


def test_a_node_that_ended_by_itself_says_that_nobody_here_asked(journal: SqliteJournal) -> None:
    gone(journal, by_us=False)
    (ended,) = about(asked(ONE.name, made(EnvironmentPlan(name=CHECKOUT), world=observed()), journal), "ended")
    assert ended["text"] == "its instance ended, and nobody here asked for it"


def test_a_node_that_is_going_says_why(journal: SqliteJournal) -> None:
    launched(journal)
    tell(journal, made(outcomes=[done(terminate(1))]), NOON + MINUTE)
    passed = made(EnvironmentPlan(name=CHECKOUT), world=observed(seen(node(1, Phase.TERMINATING))))
    document = asked(ONE.name, passed, journal)
    assert document["summary"] == f"{ONE.name} is going"
    assert [one["text"] for one in about(document, "ended")] == ["web.count 1 → 2"]


def test_of_nothing_and_of_too_much_it_says_what_there_is(journal: SqliteJournal) -> None:
    gone(journal, by_us=True)
    other = Event(at=NOON, kind=EventKind.NODE_GONE, message="gone", environment=CHECKOUT, node=node(2).name)
    journal.append(other)
    with pytest.raises(Stalled, match="no environment or node is called i-9") as nothing:
        asked("i-9", made(EnvironmentPlan(name=CHECKOUT)), journal)
    assert "checkout" in nothing.value.remedy
    with pytest.raises(Stalled, match="part of 2 nodes' names"):
        asked("checkout-web", made(EnvironmentPlan(name=CHECKOUT)), journal)
    journal.record(NOON, NodeForgotten(instance_id=ONE.instance_id))
    with pytest.raises(Stalled, match="part of 2 former nodes' names") as much:
        asked("-web-", made(EnvironmentPlan(name=PRODUCTION), wanted=desired(), world=observed()), journal)
    assert node(2).name in much.value.remedy


def test_where_the_history_cannot_tell_nobody_is_named(journal: SqliteJournal) -> None:
    """The newest commit is by somebody who never touched the file."""
    launched(journal)
    passed = made(EnvironmentPlan(name=CHECKOUT, actions=every_action()), commit=COMMIT)
    for target in ("checkout", ONE.name):
        statements = asked(target, passed, journal, history=nobody_knows)["statements"]
        assert {(one["commit"], one["author"]) for one in statements} == {(None, None)}
        assert REVISION in {one["revision"] for one in statements}


def test_the_history_is_asked_once_for_each_revision(journal: SqliteJournal) -> None:
    launched(journal)
    walks: list[tuple[RevisionId, frozenset[str]]] = []

    def walk(revision: RevisionId, files: frozenset[str]) -> Mapping[str, Commit]:
        walks.append((revision, files))
        return {}

    asked("checkout", made(EnvironmentPlan(name=CHECKOUT, actions=every_action())), journal, history=walk)
    assert walks == [(REVISION, frozenset({FILE.file}))]


# --- environments ---------------------------------------------------------------------------------------------------


def test_an_environment_says_which_file_asks_for_it_and_what_each_role_has(journal: SqliteJournal) -> None:
    passed = tell(journal, made(EnvironmentPlan(name=CHECKOUT), commit=COMMIT))
    document = asked("checkout", passed, journal)
    assert document["summary"] == "checkout is ready: web 2 of 2 ready"
    (declared,) = about(document, "declared")
    assert (declared["file"], declared["line"], declared["author"]) == (FILE.file, 1, JESSICA)
    (line,) = about(document, "role")
    assert (line["text"], line["live"], line["wanted"]) == ("web: 2 nodes wanted, 2 ready", "2", "2")


def test_every_action_says_its_rule_line_commit_and_author(journal: SqliteJournal) -> None:
    passed = made(EnvironmentPlan(name=CHECKOUT, actions=every_action()), commit=COMMIT)
    doing = about(asked("checkout", passed, journal), "doing")
    assert len(doing) == len(every_action())
    assert {(one["rule"], one["file"], one["line"], one["commit"], one["author"]) for one in doing} == {
        ("count", FILE.file, FILE.line, TOUCHING.revision, JESSICA)
    }


def test_drift_and_waits_of_a_role_are_counted(journal: SqliteJournal) -> None:
    document = asked("checkout", drifting(), journal)
    (line,) = about(document, "role")
    assert line["text"] == "web: 2 nodes wanted, 2 ready, 2 not as declared"
    assert [one["text"] for one in about(document, "waiting")] == ["web: 2 of 3 nodes to replace", "other: busy"]


def test_a_hold_says_who_what_since_until_and_the_command(journal: SqliteJournal) -> None:
    hold = replace(HELD, actor=JESSICA, until=LATER)
    passed = tell(journal, made(EnvironmentPlan(name=CHECKOUT, blocked=(hold,))))
    document = asked("checkout", passed, journal)
    assert document["summary"].startswith("checkout is not ready (held): ")
    (held,) = about(document, "held")
    assert (held["actor"], held["since"], held["until"], held["remedy"]) == (
        JESSICA,
        "2026-11-23T12:00:00Z",
        "2026-11-23T12:30:00Z",
        HELD.remedy,
    )
    assert len(held["details"]) == 2


def test_observe_mode_is_said_once(journal: SqliteJournal) -> None:
    observing = Blocked(guard=Guard.OBSERVE_MODE, message="mode is observe", remedy="set mode: converge")
    plan = EnvironmentPlan(name=CHECKOUT, blocked=(replace(observing, actions=(launch(),)),))
    document = asked("checkout", tell(journal, made(plan, blocked=[observing])), journal)
    assert [one["text"] for one in about(document, "held", "suspended")] == ["mode is observe"]


def test_an_ending_in_its_grace_names_the_commit_the_moment_and_the_way_back(journal: SqliteJournal) -> None:
    plan = EnvironmentPlan(name=CHECKOUT, is_declared=False, ending=ending(), blocked=(grace(),))
    passed = tell(journal, made(plan, wanted=desired(environment(PRODUCTION)), remembered=memory(known=[CHECKOUT])))
    for target in ("checkout", ONE.name):
        (said,) = about(asked(target, passed, journal), "ending")
        assert (said["commit"], said["actor"], said["until"]) == (DELETION, JESSICA, "2026-11-23T12:05:00Z")
        assert said["remedy"] == "to keep it, git revert 9c1d9c1d and push before then"


def test_a_teardown_that_goes_on_lists_what_is_gone_and_what_is_still_there(journal: SqliteJournal) -> None:
    going, left = Item(kind=ItemKind.INSTANCE, name="i-1"), Item(kind=ItemKind.CHEF_ROLE, name="checkout-web")
    what = ending()
    facts: tuple[Fact, ...] = (
        EnvironmentEnding(
            environment=CHECKOUT, cause=EndingCause.REMOVED, revision=DELETION, author=JESSICA, file=what.file
        ),
        TeardownBegan(environment=CHECKOUT, revision=REVISION),
        TeardownItems(environment=CHECKOUT, found=frozenset({going, left})),
    )
    journal.record(NOON, *facts)
    journal.record(NOON + MINUTE, TeardownItems(environment=CHECKOUT, gone=frozenset({going})))
    known = journal.recall(LATER)
    plan = EnvironmentPlan(
        name=CHECKOUT, is_declared=False, ending=known.environments[CHECKOUT].ending, actions=(terminate(),)
    )
    passed = made(plan, wanted=desired(), remembered=known)
    for told in (False, True):  # before the conditions say so, and after
        if told:
            tell(journal, passed)
        (said,) = about(asked("checkout", passed, journal), "ending")
        assert (said["commit"], said["author"], said["since"]) == (DELETION, JESSICA, "2026-11-23T12:00:00Z")
        assert said["details"] == ["instance i-1: seen gone 12:01:00 UTC", "chef role checkout-web: still there"]
    assert "it is being torn down since 12:00 UTC: 1 of 2 objects are seen gone" in said["text"]


def test_of_what_expired_it_says_that_nothing_is_left_and_counts_no_roles(journal: SqliteJournal) -> None:
    plan = EnvironmentPlan(name=CHECKOUT, is_declared=False)
    noted = remembering(ending(EndingCause.EXPIRED))
    for remembered in (memory(known=[CHECKOUT]), noted):  # when its commit has just come, and from the next pass on
        if remembered is noted:
            what = ending(EndingCause.EXPIRED)
            fact = EnvironmentEnding(
                environment=CHECKOUT, cause=what.cause, revision=what.revision, author=what.author, file=what.file
            )
            journal.record(NOON, RevisionApplied(revision=REVISION, declared=frozenset({CHECKOUT})), fact)
        passed = tell(journal, made(plan, world=observed(), remembered=remembered))
        document = asked("checkout", passed, journal)
        assert document["summary"] == "checkout is not ready (expired): nothing of it is left"
        (said,) = about(document, "ending")
        assert said["text"].endswith("; nothing of it is left")
        assert said["remedy"].startswith("hivequeen extend checkout 3d, or commit a longer ttl")
        assert (said["rule"], said["file"]) == ("expired", FILE.file)
        assert about(document, "role", "expires") == []


def test_an_environment_that_is_gone_shows_its_receipt(journal: SqliteJournal) -> None:
    journal.append(
        Event(
            at=NOON,
            kind=EventKind.TORN_DOWN,
            message="nothing of checkout is left: …",
            environment=CHECKOUT,
            revision=DELETION,
            actor=JESSICA,
        )
    )
    document = asked("checkout", made(wanted=desired(), world=observed()), journal)
    assert (document["is_there"], document["summary"]) == (False, "checkout is gone since 2026-11-23 12:00 UTC")
    (ended,) = about(document, "ended")
    assert (ended["text"], ended["revision"], ended["actor"]) == ("nothing of checkout is left: …", DELETION, JESSICA)


def test_a_frozen_environment_lists_every_finding(journal: SqliteJournal) -> None:
    stall = Stall(reason="BadFile", message="unknown key (and 0 more)", remedy="")
    plan = EnvironmentPlan(name=CHECKOUT, is_frozen=True, stalls=(stall,))
    passed = tell(journal, made(plan, wanted=desired(frozen=[CHECKOUT]), commit=COMMIT))
    document = asked("checkout", passed, journal)
    general, finding = about(document, "frozen", "stalled")
    assert "neither changed nor torn down" in general["text"]
    assert (finding["text"], finding["line"], finding["remedy"], finding["author"]) == (
        'unknown key "run_lsit"',
        1,
        'did you mean "run_list"?',
        JESSICA,
    )


def test_a_violation_of_the_policy_says_what_it_stops(journal: SqliteJournal) -> None:
    finding = Finding(origin=FILE, message="8 nodes are more than 4", remedy="ask for fewer")
    declared = replace(environment(), violations=(Violation(finding=finding),))
    (said,) = about(asked("checkout", made(wanted=desired(declared)), journal), "policy")
    assert (said["text"], said["remedy"]) == (
        "8 nodes are more than 4: it may not grow, and what runs is kept well",
        "ask for fewer",
    )


def test_an_expiry_to_come_says_when_by_which_line_and_how_to_keep_it(journal: SqliteJournal) -> None:
    ttl, expires = Origin(file=FILE.file, line=4), Origin(file=FILE.file, line=5)
    at = LATER + 60 * MINUTE
    declared = replace(environment(), origins={"ttl": ttl, "expires": expires})
    dated = replace(declared, lifetime=Lifetime(expires_at=at))
    for one, line in ((declared, 4), (dated, 5)):
        passed = made(EnvironmentPlan(name=CHECKOUT, expires_at=at), wanted=desired(one), commit=COMMIT)
        (said,) = about(asked("checkout", passed, journal), "expires")
        assert (said["until"], said["line"], said["author"]) == ("2026-11-23T13:30:00Z", line, JESSICA)
        assert said["remedy"] == "to keep it: hivequeen extend checkout 3d"
    assert about(asked("checkout", passed, journal, at), "expires") == []


def test_a_node_that_sleeps_says_until_when(journal: SqliteJournal) -> None:
    waiting = Waiting(message="web: asleep until 2026-11-23 14:00 UTC", role="web", until=NOON + 120 * MINUTE)
    passed = made(EnvironmentPlan(name=CHECKOUT, waiting=(waiting,)), world=observed(seen(node(1, Phase.STOPPED))))
    document = asked(ONE.name, passed, journal)
    assert [one["text"] for one in about(document, "now", "waiting")] == ["stopped in EC2", waiting.message]
    shown: Any = show("checkout", passed, journal, LATER)
    assert shown["nodes"][0]["why"] == f"stopped in EC2; {waiting.message}"


def test_a_pause_after_failures_says_when_it_is_tried_again(journal: SqliteJournal) -> None:
    backoff = Backoff(environment=CHECKOUT, failures=1, until=LATER + MINUTE, message="timed out")
    journal.record(NOON, EnvironmentFailed(backoff=backoff))
    waiting = Waiting(message="failed once, next try at 12:31:00: timed out")
    passed = made(EnvironmentPlan(name=CHECKOUT, waiting=(waiting, Waiting(message="web: 1 node pending"))))
    tried, other = about(asked("checkout", passed, journal), "waiting")
    assert (tried["until"], other["until"]) == ("2026-11-23T12:31:00Z", None)


def test_approvals_in_force_say_who_for_what_and_until_when(journal: SqliteJournal) -> None:
    removal = Removal(environment=CHECKOUT, action="terminate_node", role="web", target="i-1")
    mine = Approval(digest="3f2a", removals=frozenset({removal}), actor="maria", at=NOON, expires_at=NOON + 60 * MINUTE)
    others = replace(mine, digest="77aa", removals=frozenset({replace(removal, environment=PRODUCTION)}))
    journal.record(NOON, Approved(approval=mine), Approved(approval=others))
    (said,) = about(asked("checkout", made(EnvironmentPlan(name=CHECKOUT)), journal), "approved")
    assert (said["actor"], said["until"], said["details"]) == ("maria", "2026-11-23T13:00:00Z", ["i-1"])


def test_what_is_odd_or_refused_is_said_from_the_conditions(journal: SqliteJournal) -> None:
    world = observed(seen(node(1), node(2, is_stale=True), node(3, Phase.LOST), node(4, Phase.FAILED)))
    passed = tell(journal, made(EnvironmentPlan(name=CHECKOUT), world=world))
    rules = {one["rule"] for one in about(asked("checkout", passed, journal), "stalled", "waiting")}
    assert rules == {"ChefSilent", "TagMissing", "FailedNodeKept"}
    lost = Stall(reason="NodeLost", message="i-3 is out of sight", remedy="give it its tag back")
    passed = tell(journal, made(EnvironmentPlan(name=CHECKOUT, stalls=(lost,)), world=world))
    rules = {one["rule"] for one in about(asked("checkout", passed, journal), "stalled")}
    assert rules == {"NodeLost", "ChefSilent"}  # the lost node once


def test_of_a_name_that_only_events_bear_it_says_so(journal: SqliteJournal) -> None:
    """Its file was wrong from the first commit to the last."""
    journal.append(Event(at=NOON, kind=EventKind.STALLED, message="unknown key", environment=CHECKOUT))
    document = asked("checkout", made(wanted=desired(), world=observed()), journal)
    assert (document["is_there"], document["statements"]) == (False, [])
    assert document["summary"] == "checkout is not there, and nothing is known of it but its events"


def test_an_environment_that_nobody_declares_says_so(journal: SqliteJournal) -> None:
    plan = EnvironmentPlan(name=CHECKOUT, is_declared=False, actions=(terminate(),))
    (said,) = about(asked("checkout", made(plan, wanted=desired()), journal), "declared")
    assert said["text"] == "no file declares it"


# --- without a pass -------------------------------------------------------------------------------------------------


def test_without_a_pass_it_tells_what_the_journal_remembers_and_what_is_missing(journal: SqliteJournal) -> None:
    launched(journal)
    hold = made(EnvironmentPlan(name=CHECKOUT, blocked=(HELD,), waiting=(Waiting(message="web: 1 node pending"),)))
    tell(journal, hold)
    document = asked("checkout", None, journal)
    assert document["missing"] == [NOBODY_LOOKED]
    assert [one["text"] for one in about(document, "held", "waiting")] == [HELD.message, "web: 1 node pending"]
    (declared,) = about(document, "declared")
    assert (declared["revision"], declared["commit"], declared["author"]) == (REVISION, None, None)
    of_node = asked(ONE.name, None, journal)
    assert of_node["summary"] == f"{ONE.name}: what is remembered of it"
    assert about(of_node, "now")[0]["text"] == "pending when it was last heard of"


def test_a_pass_that_failed_is_said(journal: SqliteJournal) -> None:
    failures = [
        Failure(stage="observe", message="EC2 is unreachable", remedy="", needs_person=False),
        Failure(stage="converge", message="a defect", remedy="", needs_person=False, environment=CHECKOUT),
    ]
    document = asked("checkout", made(EnvironmentPlan(name=CHECKOUT), failures=failures), journal)
    assert document["missing"] == ["what is so since the last pass failed (observe: EC2 is unreachable)"]
    assert document["summary"] == "checkout: no pass has looked at it yet"


# --- laws -----------------------------------------------------------------------------------------------------------


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(passed=passes())
def test_whatever_is_done_held_awaited_or_stuck_is_said_with_what_ends_it(passed: Pass, journal: SqliteJournal) -> None:
    assert passed.plan is not None
    (plan,) = passed.plan.environments
    document = asked("checkout", tell(journal, passed), journal)
    said = {one["text"] for one in document["statements"]}
    remedies = {one["remedy"] for one in document["statements"]}
    assert {stall.message for stall in plan.stalls if stall.reason != "BadFile"} <= said
    assert {waiting.message for waiting in plan.waiting} <= said
    assert {blocked.message for blocked in plan.blocked} <= said
    assert {blocked.remedy for blocked in plan.blocked} <= remedies
    doing = [one["text"] for one in about(document, "doing")]
    assert all(any(text.startswith(action) for text in doing) for action in would_do(plan.actions))
    for one in passed.observed.environments[CHECKOUT].nodes if passed.observed else ():
        asked(one.name, passed, journal)


RULES = st.sampled_from(["count", "never ready", "chef role", "drift"])
TEXTS = st.text(st.characters(exclude_characters="()\n", exclude_categories=["C"]), min_size=1, max_size=30)


@given(
    rule=RULES,
    detail=TEXTS,
    deed=TEXTS,
    origin=st.none() | st.builds(Origin, file=st.just("environments.d/checkout.yml"), line=st.integers(1, 999)),
    revision=st.none() | st.just(REVISION),
)
def test_an_events_reason_is_read_back_as_it_was_written(
    rule: str, detail: str, deed: str, origin: Origin | None, revision: RevisionId | None
) -> None:
    reason = Reason(rule=rule, detail=detail, origin=origin, revision=revision)
    found = reason_in(f"{deed} ({reason})")
    assert found is not None
    assert str(found) == str(reason)
    assert (found.rule, found.origin) == (rule, origin)
    assert found.detail == detail
    assert (found.revision or "") == (revision or "")[:8]


@pytest.mark.parametrize("message", ["", "ready: its Chef run succeeded", "gone (by hand)", "( )", "a (b) c", ")"])
def test_what_bears_no_reason_has_none(message: str) -> None:
    assert reason_in(message) is None


def test_the_names_of_two_environments_are_not_confused(journal: SqliteJournal) -> None:
    other = EnvironmentName("checkout-two")
    both = made(
        EnvironmentPlan(name=CHECKOUT),
        EnvironmentPlan(name=other, blocked=(HELD,)),
        wanted=desired(environment(), environment(other)),
    )
    assert about(asked("checkout", tell(journal, both), journal), "held") == []
