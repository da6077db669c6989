from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.daemon.loop import BACKOFF_LONGEST_S, BEAT_S, Loop
from reconciler.daemon.wakes import Errand, Mail, Wakes
from reconciler.errors import Transient
from reconciler.model.names import EnvironmentName
from reconciler.model.passes import Pass, Scope
from reconciler.settings import Intervals
from tests.daemon.rehearsal import PatientBox, Rehearsed, Time

CHECKOUT, STAGING, PRODUCTION = map(EnvironmentName, ("checkout", "staging", "production"))
RESYNC_S = 300.0


def some(*names: EnvironmentName, because: str = "commit") -> Scope:
    return Scope(environments=frozenset(names), because=because)


class Stage:
    """A loop with everything around it rehearsed, past its first full pass."""

    def __init__(self) -> None:
        self.time = Time()
        self.box = PatientBox(self.time)
        self.reconciler = Rehearsed(self.time)
        self.made: list[Pass] = []
        self.progress: list[float] = []
        self.loop = Loop(
            passes=self.reconciler,
            mailbox=self.box,
            monotonic=self.time.monotonic,
            intervals=Intervals(resync_s=RESYNC_S, poll_s=15),
            on_pass=self.made.append,
            on_progress=lambda: self.progress.append(self.time.elapsed_s),
        )

    def settle(self) -> "Stage":
        assert self.loop.step()
        assert [scope.is_full for _, scope in self.reconciler.passes] == [True]
        self.reconciler.passes.clear()
        return self

    def run_until(self, moment_s: float) -> None:
        while self.time.elapsed_s < moment_s:
            assert self.loop.step()

    def scopes(self) -> list[set[EnvironmentName] | None]:
        return [None if scope.environments is None else set(scope.environments) for _, scope in self.reconciler.passes]

    def moments(self) -> list[float]:
        return [at for at, _ in self.reconciler.passes]


@pytest.fixture
def stage() -> Stage:
    return Stage().settle()


def test_the_first_pass_is_full_and_made_at_once() -> None:
    stage = Stage()
    began = stage.time.elapsed_s
    stage.loop.step()
    assert stage.moments() == [began]
    assert stage.scopes() == [None]


def test_a_wake_makes_a_pass_over_its_scope_only(stage: Stage) -> None:
    stage.box.wakes.wake(some(CHECKOUT))
    stage.loop.step()
    assert stage.scopes() == [{CHECKOUT}]


def test_wakes_that_lie_in_the_box_together_become_one_pass(stage: Stage) -> None:
    stage.box.wakes.wake(some(CHECKOUT))
    stage.box.wakes.wake(some(STAGING, because="registration"))
    stage.loop.step()
    assert stage.scopes() == [{CHECKOUT, STAGING}]


def test_a_full_wake_swallows_the_others(stage: Stage) -> None:
    stage.box.wakes.wake(some(CHECKOUT))
    stage.box.wakes.wake(Scope(environments=None, because="requested"))
    stage.loop.step()
    assert stage.scopes() == [None]


def test_nothing_happens_until_the_resync_interval_has_passed(stage: Stage) -> None:
    began = stage.time.elapsed_s
    stage.run_until(began + RESYNC_S + 1)
    assert stage.scopes() == [None]
    assert stage.moments() == [pytest.approx(began + RESYNC_S)]


def test_the_resync_interval_counts_from_the_end_of_the_last_full_pass() -> None:
    stage = Stage()
    stage.reconciler.takes_s = 40
    began = stage.time.elapsed_s
    stage.run_until(began + RESYNC_S + 100)
    assert stage.moments() == [began, pytest.approx(began + 40 + RESYNC_S)]


def test_a_requeue_looks_again_at_what_is_awaited_only(stage: Stage) -> None:
    stage.reconciler.requeues = [(5.0, frozenset({CHECKOUT}))]
    stage.box.wakes.wake(some(CHECKOUT, STAGING))
    began = stage.time.elapsed_s
    stage.run_until(began + 60)
    assert stage.scopes() == [{CHECKOUT, STAGING}, {CHECKOUT}]
    assert stage.moments()[1] == pytest.approx(began + 5)


def test_a_pass_over_one_environment_does_not_forget_that_another_is_awaited(stage: Stage) -> None:
    stage.reconciler.requeues = [(20.0, frozenset({CHECKOUT})), (None, frozenset())]
    began = stage.time.elapsed_s
    stage.box.wakes.wake(some(CHECKOUT))
    stage.box.at(began + 3, lambda wakes: wakes.wake(some(STAGING)))
    stage.run_until(began + 60)
    assert stage.scopes() == [{CHECKOUT}, {STAGING}, {CHECKOUT}]
    assert stage.moments()[2] == pytest.approx(began + 20)


def test_a_later_pass_replaces_what_the_same_environment_had_awaited(stage: Stage) -> None:
    stage.reconciler.requeues = [(20.0, frozenset({CHECKOUT})), (None, frozenset())]
    began = stage.time.elapsed_s
    stage.box.wakes.wake(some(CHECKOUT))
    stage.box.at(began + 3, lambda wakes: wakes.wake(some(CHECKOUT, because="registration")))
    stage.run_until(began + 60)
    assert stage.scopes() == [{CHECKOUT}, {CHECKOUT}]


def test_what_comes_due_is_looked_at_then_however_busy_others_are(stage: Stage) -> None:
    stage.reconciler.requeues = [(5.0, frozenset({CHECKOUT}))] * 3
    stage.reconciler.dues = [{STAGING: 60.0}]
    began = stage.time.elapsed_s
    stage.box.wakes.wake(some(CHECKOUT, STAGING))
    stage.run_until(began + 90)
    assert stage.scopes() == [{CHECKOUT, STAGING}, {CHECKOUT}, {CHECKOUT}, {CHECKOUT}, {STAGING}]
    assert stage.moments()[-1] == pytest.approx(began + 60)


def test_a_moment_alone_asks_for_no_pass_over_everything(stage: Stage) -> None:
    stage.reconciler.requeues = [(60.0, frozenset())]
    stage.reconciler.dues = [{STAGING: 60.0}]
    began = stage.time.elapsed_s
    stage.box.wakes.wake(Scope(environments=None, because="requested"))
    stage.run_until(began + 90)
    assert stage.scopes() == [None, {STAGING}]


def test_the_earlier_of_a_look_soon_and_a_moment_counts(stage: Stage) -> None:
    stage.reconciler.requeues = [(5.0, frozenset({CHECKOUT}))]
    stage.reconciler.dues = [{CHECKOUT: 60.0}]
    began = stage.time.elapsed_s
    stage.box.wakes.wake(some(CHECKOUT))
    stage.run_until(began + 90)
    assert stage.moments() == [began, pytest.approx(began + 5)]


def test_requeues_due_at_nearly_the_same_time_share_a_pass(stage: Stage) -> None:
    stage.reconciler.requeues = [(10.0, frozenset({CHECKOUT})), (9.8, frozenset({STAGING}))]
    began = stage.time.elapsed_s
    stage.box.wakes.wake(some(CHECKOUT))
    stage.loop.step()
    stage.box.wakes.wake(some(STAGING))
    stage.run_until(began + 60)
    assert stage.scopes() == [{CHECKOUT}, {STAGING}, {CHECKOUT, STAGING}]


def test_a_full_pass_that_asks_for_another_soon_gets_it(stage: Stage) -> None:
    stage.reconciler.requeues = [(7.0, frozenset())]
    began = stage.time.elapsed_s
    stage.box.wakes.wake(Scope(environments=None, because="requested"))
    stage.run_until(began + 60)
    assert stage.scopes() == [None, None]
    assert stage.moments()[1] == pytest.approx(began + 7)


def test_a_commit_whose_pass_failed_before_it_saw_the_change_is_not_forgotten(stage: Stage) -> None:
    stage.reconciler.requeues = [(5.0, frozenset())]
    began = stage.time.elapsed_s
    stage.box.wakes.wake(some())
    stage.run_until(began + 60)
    assert stage.scopes() == [set(), None]
    assert stage.moments()[1] == pytest.approx(began + 5)


def test_a_requeue_of_zero_is_not_a_busy_loop(stage: Stage) -> None:
    stage.reconciler.requeues = [(0.0, frozenset({CHECKOUT}))] * 1000
    began = stage.time.elapsed_s
    stage.box.wakes.wake(some(CHECKOUT))
    stage.run_until(began + 1)
    assert len(stage.reconciler.passes) <= 25


def test_a_change_in_git_is_asked_for_its_scope(stage: Stage) -> None:
    stage.reconciler.git = [some(CHECKOUT)]
    stage.box.wakes.git_changed()
    stage.loop.step()
    assert stage.scopes() == [{CHECKOUT}]


def test_a_push_that_changes_no_environment_makes_no_pass(stage: Stage) -> None:
    stage.reconciler.git = [None]
    stage.box.wakes.git_changed()
    stage.loop.step()
    assert stage.scopes() == []
    assert len(stage.reconciler.looks) == 1


def test_a_repository_that_fails_gets_one_pass_and_is_looked_at_until_it_answers(stage: Stage) -> None:
    stage.reconciler.git = [Transient("refused"), Transient("refused"), some(CHECKOUT)]
    began = stage.time.elapsed_s
    stage.box.wakes.git_changed()
    stage.run_until(began + 100)
    assert stage.reconciler.looks == [began, pytest.approx(began + 15), pytest.approx(began + 30)]
    assert stage.scopes() == [None, {CHECKOUT}]


def test_a_pass_that_breaks_off_is_made_again_after_a_growing_pause(stage: Stage) -> None:
    stage.reconciler.breaks = [RuntimeError("bug")] * 3
    began = stage.time.elapsed_s
    stage.box.wakes.wake(some(CHECKOUT))
    stage.run_until(began + 60)
    assert stage.scopes() == [{CHECKOUT}] * 4
    assert stage.moments() == [pytest.approx(began + offset) for offset in (0, 1, 3, 7)]


def test_the_pause_after_a_broken_pass_is_bounded(stage: Stage) -> None:
    stage.reconciler.breaks = [RuntimeError("bug")] * 30
    stage.box.wakes.wake(some(CHECKOUT))
    stage.run_until(stage.time.elapsed_s + 1500)
    moments = stage.moments()
    pauses = [later - earlier for earlier, later in pairwise(moments)]
    assert max(pauses[:20]) == pytest.approx(BACKOFF_LONGEST_S)


def test_what_arrives_during_the_pause_is_not_lost_and_does_not_shorten_it(stage: Stage) -> None:
    stage.reconciler.breaks = [RuntimeError("bug")]
    began = stage.time.elapsed_s
    stage.box.wakes.wake(some(CHECKOUT))
    stage.box.at(began + 0.5, lambda wakes: wakes.wake(some(STAGING)))
    stage.run_until(began + 30)
    assert stage.scopes() == [{CHECKOUT}, {CHECKOUT, STAGING}]
    assert stage.moments()[1] == pytest.approx(began + 1)


def test_a_sink_that_breaks_does_not_end_the_loop() -> None:
    time = Time()
    box, reconciler = PatientBox(time), Rehearsed(time)

    def refuse(_: Pass) -> None:
        raise ValueError("metrics broke")

    loop = Loop(
        passes=reconciler,
        mailbox=box,
        monotonic=time.monotonic,
        intervals=Intervals(),
        on_pass=refuse,
        on_progress=lambda: None,
    )
    assert loop.step()
    assert loop.step()


def test_an_idle_loop_shows_that_it_lives(stage: Stage) -> None:
    stage.progress.clear()
    began = stage.time.elapsed_s
    stage.run_until(began + 100)
    marks = [began, *stage.progress]
    assert max(later - earlier for earlier, later in pairwise(marks)) <= BEAT_S


def test_stop_ends_the_loop_without_another_pass(stage: Stage) -> None:
    stage.box.wakes.wake(some(CHECKOUT))
    stage.box.wakes.stop()
    stage.loop.run()
    assert stage.scopes() == []


def test_whoever_waits_for_a_pass_gets_the_one_that_was_made(stage: Stage) -> None:
    errand = Errand(scope=some(CHECKOUT, because="requested"), refresh_images=frozenset({CHECKOUT}))
    reply = stage.box.wakes.ask(errand)
    stage.box.wakes.wake(some(STAGING))
    stage.loop.step()
    assert reply.result(timeout=0) is stage.made[-1]
    assert stage.scopes() == [{CHECKOUT, STAGING}]
    assert stage.reconciler.refreshed == [CHECKOUT]


def test_a_preview_is_answered_and_makes_no_pass(stage: Stage) -> None:
    reply = stage.box.wakes.ask(Errand(scope=some(CHECKOUT), is_preview=True))
    stage.loop.step()
    assert reply.result(timeout=0).scope == some(CHECKOUT)
    assert stage.scopes() == []
    assert stage.made[1:] == []


def test_whoever_waits_is_told_that_the_pass_broke_off(stage: Stage) -> None:
    stage.reconciler.breaks = [RuntimeError("bug")]
    reply = stage.box.wakes.ask(Errand(scope=some(CHECKOUT)))
    stage.loop.step()
    with pytest.raises(RuntimeError, match="bug"):
        reply.result(timeout=0)


def test_whoever_waits_when_the_daemon_stops_is_told_so() -> None:
    wakes = Wakes()
    earlier = wakes.ask(Errand(scope=some(CHECKOUT)))
    wakes.stop()
    later = wakes.ask(Errand(scope=some(CHECKOUT)))
    for reply in (earlier, later):
        with pytest.raises(Transient, match="stopping"):
            reply.result(timeout=0)


def test_a_wake_ends_the_wait_of_another_thread() -> None:
    wakes = Wakes()
    wakes.wake(some(CHECKOUT))
    assert wakes.take(60).scope == some(CHECKOUT)
    assert wakes.take(0) == Mail()


NAMES = st.sampled_from([CHECKOUT, STAGING, PRODUCTION])
WAKES = st.lists(st.tuples(st.floats(0, 200), st.frozensets(NAMES, min_size=1)), max_size=12)
REQUEUES = st.lists(st.tuples(st.none() | st.floats(0, 50), st.frozensets(NAMES)), max_size=8)


@given(wakes=WAKES, requeues=REQUEUES, breaks=st.integers(0, 4))
def test_every_wake_is_followed_by_a_pass_over_all_that_it_named(
    wakes: list[tuple[float, frozenset[EnvironmentName]]],
    requeues: list[tuple[float | None, frozenset[EnvironmentName]]],
    breaks: int,
) -> None:
    stage = Stage().settle()
    began = stage.time.elapsed_s
    stage.reconciler.requeues = list(requeues)
    stage.reconciler.breaks = [RuntimeError("bug")] * breaks
    for offset, names in wakes:
        stage.box.at(began + offset, _waking(names))
    stage.run_until(began + 600)
    done = stage.made[1:]
    for offset, names in wakes:
        later = [made.scope for made in done if made.started_at.timestamp() >= _stamp(stage, began + offset) - 1e-6]
        assert any(scope.is_full or names <= (scope.environments or frozenset()) for scope in later)


def _waking(names: frozenset[EnvironmentName]) -> Callable[[Wakes], object]:
    return lambda wakes: wakes.wake(some(*names))


def _stamp(stage: Stage, elapsed_s: float) -> float:
    return stage.time.now().timestamp() + (elapsed_s - stage.time.elapsed_s)
