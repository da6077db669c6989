from dataclasses import replace
from datetime import UTC, datetime

import pytest

from reconciler.daemon.latest import Latest
from reconciler.daemon.verdict import Verdict, verdict
from reconciler.model.actions import DeleteChefEnvironment, Reason
from reconciler.model.commits import Commit
from reconciler.model.names import ChefName, EnvironmentName, RevisionId
from reconciler.model.observed import Observed, ObservedEnvironment
from reconciler.model.passes import Failure, Outcome, Pass, Result, Scope
from reconciler.model.plan import Blocked, EnvironmentPlan, Guard, Plan, Stall, Waiting

NOW = datetime(2026, 11, 1, tzinfo=UTC)
OLD, NEW = RevisionId("a" * 40), RevisionId("b" * 40)
CHECKOUT, STAGING = EnvironmentName("checkout"), EnvironmentName("staging")
ACTION = DeleteChefEnvironment(
    environment=CHECKOUT, chef_environment=ChefName("checkout"), reason=Reason(rule="teardown", detail="gone")
)
BUSY = EnvironmentPlan(name=CHECKOUT, actions=(ACTION,))
IDLE = EnvironmentPlan(name=CHECKOUT)
FAILURE = Failure(stage="observe", message="throttled", remedy="", needs_person=False)


def made(
    *plans: EnvironmentPlan,
    scope: frozenset[EnvironmentName] | None = None,
    revision: RevisionId = OLD,
    failures: tuple[Failure, ...] = (),
    outcomes: tuple[Outcome, ...] = (),
    blocked: tuple[Blocked, ...] = (),
) -> Pass:
    return Pass(
        scope=Scope(environments=scope, because="test"),
        started_at=NOW,
        ended_at=NOW,
        revision=revision,
        observed=Observed(
            at=NOW,
            is_full=scope is None,
            environments={plan.name: ObservedEnvironment(name=plan.name) for plan in plans},
        ),
        plan=Plan(revision=revision, environments=plans, blocked=blocked),
        failures=failures,
        outcomes=outcomes,
    )


def failed() -> Pass:
    return Pass(scope=Scope(environments=None, because="resync"), started_at=NOW, ended_at=NOW, failures=(FAILURE,))


def plans(latest: Latest) -> dict[str, EnvironmentPlan]:
    assert latest.whole is not None
    assert latest.whole.plan is not None
    return {plan.name: plan for plan in latest.whole.plan.environments}


def test_nothing_is_known_before_the_first_full_pass() -> None:
    latest = Latest()
    latest.keep(made(BUSY, scope=frozenset({CHECKOUT})))
    assert latest.whole is None
    assert latest.full is None


def test_a_scoped_pass_replaces_its_environments_and_keeps_the_others() -> None:
    latest = Latest()
    latest.keep(made(IDLE, EnvironmentPlan(name=STAGING)))
    latest.keep(made(BUSY, scope=frozenset({CHECKOUT}), revision=NEW))
    assert plans(latest) == {CHECKOUT: BUSY, STAGING: EnvironmentPlan(name=STAGING)}
    assert latest.whole is not None
    assert latest.whole.revision == NEW
    assert latest.whole.observed is not None
    assert set(latest.whole.observed.environments) == {CHECKOUT, STAGING}


def test_who_made_the_revision_goes_with_it() -> None:
    latest = Latest()
    commits = {one: Commit(revision=one, author=one[:1], subject="", at=NOW) for one in (OLD, NEW)}
    latest.keep(replace(made(IDLE), commit=commits[OLD]))
    latest.keep(failed())
    assert latest.whole is not None
    assert latest.whole.commit == commits[OLD]
    latest.keep(replace(made(BUSY, scope=frozenset({CHECKOUT}), revision=NEW), commit=commits[NEW]))
    assert (latest.whole.revision, latest.whole.commit) == (NEW, commits[NEW])


def test_an_environment_that_its_scoped_pass_does_not_show_is_gone() -> None:
    latest = Latest()
    latest.keep(made(IDLE, EnvironmentPlan(name=STAGING)))
    latest.keep(made(scope=frozenset({CHECKOUT})))
    assert set(plans(latest)) == {STAGING}


def test_a_full_pass_that_failed_does_not_make_the_known_look_absent() -> None:
    latest = Latest()
    latest.keep(made(BUSY))
    latest.keep(failed())
    assert set(plans(latest)) == {CHECKOUT}
    assert latest.whole is not None
    assert latest.whole.failures == (FAILURE,)
    assert latest.full is not None
    assert latest.full.failures == (FAILURE,)


def test_the_next_pass_that_succeeds_forgets_the_failure() -> None:
    latest = Latest()
    latest.keep(made(IDLE))
    latest.keep(failed())
    latest.keep(made(IDLE))
    assert latest.whole is not None
    assert latest.whole.failures == ()


OBSERVING = Blocked(guard=Guard.OBSERVE_MODE, message="", remedy="", actions=(ACTION,))
GRACE = Blocked(guard=Guard.GRACE, message="", remedy="", until=NOW, actions=(ACTION,))
HELD = Blocked(guard=Guard.PROTECTED, message="", remedy="", digest="abc")


@pytest.mark.parametrize(
    ("done", "expected"),
    [
        (made(), Verdict.CONVERGED),
        (made(IDLE), Verdict.CONVERGED),
        (made(BUSY), Verdict.PENDING),
        (made(EnvironmentPlan(name=CHECKOUT, waiting=(Waiting(message="booting"),))), Verdict.PENDING),
        (made(IDLE, outcomes=(Outcome(action=ACTION, result=Result.DONE),)), Verdict.PENDING),
        (made(BUSY, outcomes=(Outcome(action=ACTION, result=Result.UNKNOWN),)), Verdict.PENDING),
        (made(EnvironmentPlan(name=CHECKOUT, actions=(ACTION,), blocked=(HELD,))), Verdict.HELD),
        (made(IDLE, blocked=(HELD,)), Verdict.HELD),
        (made(EnvironmentPlan(name=CHECKOUT, is_declared=False, blocked=(GRACE,))), Verdict.PENDING),
        (made(EnvironmentPlan(name=CHECKOUT, is_declared=False, blocked=(GRACE, HELD))), Verdict.HELD),
        (made(EnvironmentPlan(name=CHECKOUT, stalls=(Stall(reason="", message="", remedy=""),))), Verdict.FAILED),
        (made(BUSY, outcomes=(Outcome(action=ACTION, result=Result.REFUSED),)), Verdict.PENDING),
        (made(BUSY, outcomes=(Outcome(action=ACTION, result=Result.REFUSED, needs_person=True),)), Verdict.FAILED),
        (made(IDLE, blocked=(OBSERVING,)), Verdict.CONVERGED),
        (made(EnvironmentPlan(name=CHECKOUT, blocked=(OBSERVING,)), blocked=(OBSERVING,)), Verdict.HELD),
        (made(IDLE, blocked=(HELD,), failures=(FAILURE,)), Verdict.HELD),
        (made(IDLE, failures=(FAILURE,)), Verdict.FAILED),
        (failed(), Verdict.FAILED),
    ],
)
def test_a_pass_comes_to_the_worst_that_is_in_it(done: Pass, expected: Verdict) -> None:
    assert verdict(done) is expected
