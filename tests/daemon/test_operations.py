from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from reconciler.adapters.journal import SqliteJournal
from reconciler.daemon.operations import Operations, holds
from reconciler.errors import Stalled, Transient
from reconciler.model.actions import Reason, TerminateNode
from reconciler.model.facts import RevisionApplied
from reconciler.model.memory import Cause
from reconciler.model.names import EnvironmentName, InstanceId, NodeName, RevisionId, RoleName
from reconciler.model.plan import Blocked, EnvironmentPlan, Guard, Plan
from reconciler.settings import Mode, Settings
from tests.daemon.test_service import settings as some_settings
from tests.fakes.chef import FakeChefServer
from tests.fakes.clock import FakeClock

CHECKOUT, STAGING = EnvironmentName("checkout"), EnvironmentName("staging")
REVISION = RevisionId("a" * 40)
HELD_REVISION = RevisionId("b" * 40)
DIGEST = "3f2a91c04b7d" + "0" * 52


def terminating(environment: EnvironmentName, instance_id: str) -> TerminateNode:
    return TerminateNode(
        environment=environment,
        role=RoleName("web"),
        node=NodeName(f"{environment}-web-{instance_id.removeprefix('i-')}"),
        instance_id=InstanceId(instance_id),
        cause=Cause.SWEEP,
        reason=Reason(rule="sweep", detail="nobody wants it"),
    )


def blocked(guard: Guard, digest: str, *actions: TerminateNode) -> Blocked:
    return Blocked(
        guard=guard, message=f"{guard} holds", remedy=f"hivequeen approve {digest[:12]}", digest=digest, actions=actions
    )


PLAN = Plan(
    revision=REVISION,
    blocked=(blocked(Guard.HISTORY, HELD_REVISION), Blocked(guard=Guard.NOT_OWNER, message="", remedy="")),
    environments=(
        EnvironmentPlan(
            name=CHECKOUT, blocked=(blocked(Guard.PRUNE_ENVIRONMENTS, DIGEST, terminating(CHECKOUT, "i-00000001")),)
        ),
        EnvironmentPlan(
            name=STAGING, blocked=(blocked(Guard.PRUNE_ENVIRONMENTS, DIGEST, terminating(STAGING, "i-00000002")),)
        ),
    ),
)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def journal(tmp_path: Path, clock: FakeClock) -> Iterator[SqliteJournal]:
    with SqliteJournal(f"sqlite:///{tmp_path}/state.db") as made:
        made.record(clock.now(), RevisionApplied(revision=REVISION, declared=frozenset({CHECKOUT, STAGING})))
        yield made


@pytest.fixture
def chef() -> FakeChefServer:
    return FakeChefServer()


def operations(
    journal: SqliteJournal, clock: FakeClock, chef: FakeChefServer, chosen: Settings | None = None
) -> Operations:
    return Operations(
        settings=chosen or some_settings("demo"),
        clock=clock,
        journal=journal,
        chef=lambda: chef,
        account=lambda: "123456789012",
    )


@pytest.fixture
def desk(journal: SqliteJournal, clock: FakeClock, chef: FakeChefServer) -> Operations:
    return operations(journal, clock, chef)


def test_only_what_approval_lifts_is_a_hold_and_one_digest_is_one_hold() -> None:
    found = {hold.digest: hold for hold in holds(PLAN)}
    assert set(found) == {DIGEST, HELD_REVISION}
    assert found[DIGEST].environments == (CHECKOUT, STAGING)
    assert {removal.target for removal in found[DIGEST].removals} == {"i-00000001", "i-00000002"}


def test_an_approval_keeps_exactly_the_removals_of_its_hold_for_a_day(
    desk: Operations, journal: SqliteJournal, clock: FakeClock
) -> None:
    done = desk.approve(DIGEST[:8], holds(PLAN), actor="jessica")
    (approval,) = journal.recall(clock.now()).approvals
    assert approval.digest == DIGEST
    assert {removal.target for removal in approval.removals} == {"i-00000001", "i-00000002"}
    assert approval.actor == "jessica"
    assert done.wakes == frozenset({CHECKOUT, STAGING})
    clock.advance(timedelta(hours=24).total_seconds() + 1)
    assert journal.recall(clock.now()).approvals == ()


def test_approving_a_revision_approves_no_removal(desk: Operations, journal: SqliteJournal, clock: FakeClock) -> None:
    done = desk.approve(HELD_REVISION, holds(PLAN), actor="jessica")
    (approval,) = journal.recall(clock.now()).approvals
    assert approval.digest == HELD_REVISION
    assert approval.removals == frozenset()
    assert done.wakes is None


@pytest.mark.parametrize("target", ["feedbeef", DIGEST[:5], "", DIGEST + "0"])
def test_an_unknown_digest_is_refused_with_those_there_are(
    desk: Operations, journal: SqliteJournal, clock: FakeClock, target: str
) -> None:
    with pytest.raises(Stalled) as caught:
        desk.approve(target, holds(PLAN), actor="jessica")
    assert DIGEST[:12] in caught.value.remedy
    assert HELD_REVISION[:12] in caught.value.remedy
    assert journal.recall(clock.now()).approvals == ()


def test_a_beginning_that_two_digests_share_is_refused(desk: Operations) -> None:
    twin = replace(holds(PLAN)[0], digest=DIGEST[:20] + "f" * 44)
    with pytest.raises(Stalled, match="more than one"):
        desk.approve(DIGEST[:10], (*holds(PLAN), twin), actor="jessica")


def test_a_suspension_is_kept_with_who_why_and_until(
    desk: Operations, journal: SqliteJournal, clock: FakeClock
) -> None:
    until = clock.now() + timedelta(hours=2)
    assert desk.suspend(CHECKOUT, reason="load test", until=until, actor="jessica").wakes == frozenset({CHECKOUT})
    (suspension,) = journal.recall(clock.now()).suspensions
    assert (suspension.environment, suspension.reason, suspension.actor, suspension.until) == (
        CHECKOUT,
        "load test",
        "jessica",
        until,
    )
    (event,) = journal.events(CHECKOUT)
    assert (event.kind, event.actor) == ("Suspended", "jessica")
    assert "load test" in event.message


def test_everything_can_be_suspended_and_resumed(desk: Operations, journal: SqliteJournal, clock: FakeClock) -> None:
    assert desk.suspend(None, reason="", until=None, actor="jessica").wakes is None
    with pytest.raises(Stalled, match="everything is suspended"):
        desk.resume(CHECKOUT, actor="jessica")
    desk.resume(None, actor="jessica")
    assert journal.recall(clock.now()).suspensions == ()


def test_a_suspension_must_end_in_the_future(desk: Operations, clock: FakeClock) -> None:
    with pytest.raises(Stalled, match="has passed"):
        desk.suspend(CHECKOUT, reason="", until=clock.now(), actor="jessica")


def test_an_environment_that_does_not_exist_is_not_suspended(
    desk: Operations, journal: SqliteJournal, clock: FakeClock
) -> None:
    with pytest.raises(Stalled, match="no environment chekout") as caught:
        desk.suspend(EnvironmentName("chekout"), reason="", until=None, actor="jessica")
    assert caught.value.remedy == "did you mean checkout?"
    assert journal.recall(clock.now()).suspensions == ()


def test_taking_over_an_unclaimed_fleet_claims_it_and_is_remembered(
    desk: Operations, journal: SqliteJournal, clock: FakeClock, chef: FakeChefServer
) -> None:
    with pytest.raises(Stalled, match="nobody has claimed it") as caught:
        desk.claim(take_over=False, actor="jessica")
    assert "--take-over" in caught.value.remedy
    desk.claim(take_over=True, actor="jessica")
    claim = chef.claim()
    memory = journal.recall(clock.now())
    assert claim is not None
    assert (claim.installation, claim.account, claim.applied) == (memory.installation, "123456789012", REVISION)
    assert memory.taken_over_at == clock.now()
    assert desk.claim(take_over=False, actor="jessica").wakes == frozenset()


def test_taking_over_somebody_elses_fleet_names_the_differences_first(
    desk: Operations, journal: SqliteJournal, clock: FakeClock, chef: FakeChefServer, tmp_path: Path
) -> None:
    with SqliteJournal(f"sqlite:///{tmp_path}/other.db") as other:
        operations(other, clock, chef).claim(take_over=True, actor="somebody")
    with pytest.raises(Stalled, match="installation"):
        desk.claim(take_over=False, actor="jessica")
    desk.claim(take_over=True, actor="jessica")
    claim = chef.claim()
    assert claim is not None
    assert claim.installation == journal.recall(clock.now()).installation


def test_a_take_over_that_crashes_before_the_claim_is_written_still_counts_as_one(
    desk: Operations, journal: SqliteJournal, clock: FakeClock, chef: FakeChefServer
) -> None:
    chef.fail_next("create_claim", Transient("unreachable"))
    with pytest.raises(Transient):
        desk.claim(take_over=True, actor="jessica")
    assert journal.recall(clock.now()).taken_over_at == clock.now()


def test_observe_mode_writes_no_claim(journal: SqliteJournal, clock: FakeClock, chef: FakeChefServer) -> None:
    observing = operations(journal, clock, chef, replace(some_settings("demo"), mode=Mode.OBSERVE))
    with pytest.raises(Stalled, match="mode is observe"):
        observing.claim(take_over=True, actor="jessica")
    assert chef.claim() is None
    assert chef.writes == 0
