"""What failures come to: growing pauses for an environment, and counts against a role's launches."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.converge import is_setback, setbacks
from reconciler.model.actions import Action
from reconciler.model.digest import content_digest
from reconciler.model.facts import EnvironmentFailed, EnvironmentRecovered, Fact, NodeOdd, RoleRecovered, RoleTroubled
from reconciler.model.memory import Backoff, Memory, Trouble
from reconciler.model.names import EnvironmentName
from reconciler.model.passes import Outcome, Result
from tests.converge.outside import chef_role, launch, start
from tests.plan.builders import CHECKOUT, HOUR, NOW, WEB, desired, environment, instance_id, memory, trouble

HOME = environment()
CONTENT = content_digest(HOME, HOME.roles[WEB])
LAUNCH = launch(("subnet-a", 1))


def outcome(result: Result, action: Action = LAUNCH, *, needs_person: bool = True) -> Outcome:
    message = "" if result == Result.DONE else "quota"
    return Outcome(action=action, result=result, message=message, remedy="raise it", needs_person=needs_person)


REFUSED = outcome(Result.REFUSED)


def found(*outcomes: Outcome, before: Memory | None = None, jitter: float = 0.0, **changes: Any) -> tuple[Fact, ...]:
    changes = {"broken": (), "noted": (), **changes}
    return setbacks(
        outcomes,
        changes["broken"],
        desired(HOME),
        before or memory(),
        NOW,
        jitter=lambda: jitter,
        noted=changes["noted"],
    )


def backoff(facts: tuple[Fact, ...]) -> Backoff:
    (one,) = [fact.backoff for fact in facts if isinstance(fact, EnvironmentFailed)]
    return one


def failed_before(failures: int) -> Memory:
    known = Backoff(environment=CHECKOUT, failures=failures, until=NOW, message="quota")
    return memory(backoffs={CHECKOUT: known} if failures else {})


# --- backoff --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "pause_s"),
    [(0, 1), (1, 2), (2, 4), (3, 8), (8, 256), (9, 512), (10, 900), (11, 900), (10_000, 900)],
)
def test_the_pause_doubles_up_to_a_quarter_of_an_hour(before: int, pause_s: int) -> None:
    made = backoff(found(REFUSED, before=failed_before(before)))
    assert made == Backoff(
        environment=CHECKOUT, failures=before + 1, until=NOW + timedelta(seconds=pause_s), message="quota"
    )


@given(before=st.integers(0, 50), jitter=st.floats(0, 1))
def test_jitter_shortens_a_pause_by_at_most_a_quarter(before: int, jitter: float) -> None:
    whole = backoff(found(REFUSED, before=failed_before(before))).until - NOW
    pause = backoff(found(REFUSED, before=failed_before(before), jitter=jitter)).until - NOW
    assert whole * 0.75 <= pause + timedelta(microseconds=1)
    assert pause <= whole


@pytest.mark.parametrize(
    ("made", "is_one"),
    [
        pytest.param(REFUSED, True, id="refused, and a person must act"),
        pytest.param(outcome(Result.UNKNOWN, needs_person=False), True, id="unknown"),
        pytest.param(outcome(Result.REFUSED, needs_person=False), False, id="no capacity: another offering has"),
        pytest.param(
            outcome(Result.REFUSED, start(instance_id(1)), needs_person=False), True, id="no capacity to start one"
        ),
        pytest.param(outcome(Result.DONE), False, id="done"),
        pytest.param(outcome(Result.UNCHANGED), False, id="unchanged"),
        pytest.param(outcome(Result.SKIPPED), False, id="skipped"),
    ],
)
def test_what_is_a_setback(made: Outcome, is_one: bool) -> None:  # noqa: FBT001  a parameter
    assert is_setback(made) == is_one
    assert any(isinstance(fact, EnvironmentFailed) for fact in found(made)) == is_one


@pytest.mark.parametrize(
    ("outcomes", "ends"),
    [
        pytest.param([outcome(Result.DONE)], True, id="something was done"),
        pytest.param([outcome(Result.UNCHANGED)], True, id="all was well"),
        pytest.param([outcome(Result.SKIPPED)], False, id="nothing was tried"),
        pytest.param([outcome(Result.REFUSED, needs_person=False)], False, id="there was no room"),
        pytest.param([outcome(Result.DONE), REFUSED], False, id="done and refused"),
        pytest.param([], False, id="nothing was planned"),
    ],
)
def test_only_a_success_ends_a_backoff(outcomes: list[Outcome], ends: bool) -> None:  # noqa: FBT001  a parameter
    facts = found(*outcomes, before=failed_before(3))
    assert (EnvironmentRecovered(environment=CHECKOUT) in facts) == ends


def test_a_success_without_a_backoff_is_nothing_to_note() -> None:
    assert found(outcome(Result.DONE)) == ()


def test_a_defect_is_a_setback_of_its_environment_alone() -> None:
    other = EnvironmentName("staging")
    facts = found(outcome(Result.DONE), broken=[other], before=failed_before(1))
    assert facts == (
        EnvironmentRecovered(environment=CHECKOUT),
        EnvironmentFailed(
            backoff=Backoff(
                environment=other, failures=1, until=NOW + timedelta(seconds=1), message="a defect; see the log"
            )
        ),
    )


def test_environments_back_off_each_for_itself() -> None:
    elsewhere = replace(LAUNCH, environment=EnvironmentName("staging"))
    facts = found(REFUSED, outcome(Result.DONE, elsewhere))
    assert backoff(facts).environment == CHECKOUT


# --- failures in a row ----------------------------------------------------------------------------------------------


def judged(facts: tuple[Fact, ...]) -> list[Trouble]:
    return [fact.trouble for fact in facts if isinstance(fact, RoleTroubled)]


KEY = f"launch at {NOW.isoformat()}"


def test_a_refused_launch_counts_against_its_role() -> None:
    assert judged(found(REFUSED)) == [
        trouble(KEY, content=CONTENT, since=NOW, message="quota", remedy="raise it"),
    ]


def test_it_is_added_to_the_streak() -> None:
    known = trouble("a", content=CONTENT, since=NOW - HOUR)
    (made,) = judged(found(REFUSED, before=memory(troubles={(CHECKOUT, WEB): known})))
    assert (set(made.failed), made.since) == ({"a", KEY}, NOW - HOUR)


def test_a_streak_of_another_content_is_not_gone_on_with() -> None:
    """Else a role whose launches are refused after a commit would begin anew in every pass, and never halt."""
    old = trouble("a", "b", "c", content="v1:before the commit", is_halted=True)
    (made,) = judged(found(REFUSED, before=memory(troubles={(CHECKOUT, WEB): old})))
    assert (set(made.failed), made.content, made.is_halted) == ({KEY}, CONTENT, False)


@pytest.mark.parametrize(
    ("changes", "counts", "halts"),
    [
        pytest.param({}, True, False, id="a quota"),
        pytest.param({"is_permanent": True}, True, True, id="a bad image"),
        pytest.param({"is_permanent": True, "is_denied": True}, True, True, id="a permission"),
        pytest.param({"is_denied": True}, False, False, id="bad credentials are everybody's"),
    ],
)
def test_what_is_refused_for_good_halts_the_role_at_once(changes: dict[str, Any], *, counts: bool, halts: bool) -> None:
    made = judged(found(replace(REFUSED, **changes)))
    assert [one.is_halted for one in made] == ([halts] if counts else [])


def test_a_halt_outlasts_lesser_refusals() -> None:
    halted = trouble("a", content=CONTENT, is_halted=True)
    (made,) = judged(found(REFUSED, before=memory(troubles={(CHECKOUT, WEB): halted})))
    assert made.is_halted


def test_when_the_next_is_tried_is_for_the_next_plan_to_say() -> None:
    known = trouble("a", "b", "c", content=CONTENT, retry_at=NOW)
    (made,) = judged(found(REFUSED, before=memory(troubles={(CHECKOUT, WEB): known})))
    assert (made.failures, made.retry_at) == (4, None)


def test_what_planning_noted_in_this_pass_is_not_overwritten() -> None:
    known = trouble("a", content=CONTENT)
    noted = replace(known, failed=frozenset({"a", "i-2"}))
    before = memory(troubles={(CHECKOUT, WEB): known})
    (made,) = judged(found(REFUSED, before=before, noted=[RoleTroubled(trouble=noted)]))
    assert made.failed == {"a", "i-2", KEY}
    recovered = RoleRecovered(environment=CHECKOUT, role=WEB)
    (anew,) = judged(found(REFUSED, before=before, noted=[recovered, EnvironmentRecovered(environment=CHECKOUT)]))
    assert anew.failed == {KEY}


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(outcome(Result.UNKNOWN, needs_person=False), id="an unknown outcome is not a failure"),
        pytest.param(outcome(Result.REFUSED, needs_person=False), id="nor is a lack of capacity"),
        pytest.param(outcome(Result.REFUSED, chef_role()), id="nor is what Chef refuses"),
        pytest.param(
            outcome(Result.REFUSED, replace(LAUNCH, environment=EnvironmentName("gone"))), id="nor what is not declared"
        ),
    ],
)
def test_nothing_else_counts_against_a_role(made: Outcome) -> None:
    assert judged(found(made)) == []


# --- starts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "counts"),
    [
        (Result.DONE, True),
        (Result.REFUSED, True),
        pytest.param(Result.UNKNOWN, False, id="EC2 did not answer"),
        (Result.SKIPPED, False),
    ],
)
def test_the_time_to_start_counts_once_ec2_has_answered(result: Result, *, counts: bool) -> None:
    facts = found(outcome(result, start(instance_id(1))), outcome(Result.DONE))
    assert [fact for fact in facts if isinstance(fact, NodeOdd)] == [NodeOdd(instance_id=instance_id(1))] * counts
