"""The watchdog is fed by the loop's progress, and by nothing else."""

from reconciler.daemon.progress import Progress


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_pass_that_makes_no_progress_feeds_no_watchdog_and_grows_old() -> None:
    clock, fed = Clock(), []
    progress = Progress(monotonic=clock, feed=lambda: fed.append(clock.now_s))
    progress.mark()
    clock.now_s += 250
    assert (progress.age_s, fed) == (250, [100.0])


def test_each_step_of_a_pass_feeds_it_and_makes_it_young_again() -> None:
    clock, fed = Clock(), []
    progress = Progress(monotonic=clock, feed=lambda: fed.append(clock.now_s))
    for _ in range(3):
        clock.now_s += 60
        progress.mark()
    assert progress.age_s == 0
    assert fed[-1] == clock.now_s
