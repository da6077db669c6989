"""Runs the simulation over many seeds; see script/simulate."""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.simulation.runner import Run, Script, run, shrink

PORTION = 25  # seeds that a process takes at a time
TELL_EVERY_S = 10.0
SHOWN_MAX = 5  # failures that are made small


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="script/simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many (1000)")
    parser.add_argument("--start", type=int, default=0, help="the first one (0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (one for each core)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin nothing after this time")
    parser.add_argument("--seed", type=int, help="this one alone, again")
    chosen = parser.parse_args()
    if chosen.seed is not None:
        return show(run(Script.of(chosen.seed)))
    return simulate(range(chosen.start, chosen.start + chosen.seeds), jobs=chosen.jobs, seconds=chosen.seconds)


def simulate(seeds: range, *, jobs: int, seconds: float) -> int:
    began, told_at = time.monotonic(), time.monotonic()
    done = steps = passes = 0
    failed: list[int] = []

    def tell() -> None:
        took = time.monotonic() - began
        say(f"{done} seeds, {steps} steps, {passes} passes, {took:.0f} s, {len(failed)} failed")

    portions = (seeds[at : at + PORTION] for at in range(0, len(seeds), PORTION))
    with ProcessPoolExecutor(jobs) as pool:
        for figures in _in_turn(pool, portions, jobs, until=began + seconds):
            for seed, taken, made, fault in figures:
                done, steps, passes = done + 1, steps + taken, passes + made
                if fault:
                    failed.append(seed)
                    say(f"seed {seed}: {fault}")
            if time.monotonic() - told_at >= TELL_EVERY_S:
                told_at = time.monotonic()
                tell()
    tell()
    for seed in sorted(failed)[:SHOWN_MAX]:
        show(run(Script.of(seed)))
    return 1 if failed else 0


Figures = list[tuple[int, int, int, str]]  # seed, steps, passes, what it broke


def _in_turn(pool: ProcessPoolExecutor, portions: Iterator[range], jobs: int, *, until: float) -> Iterator[Figures]:
    """A few portions ahead of the processes, no more, so that the time limit is kept."""
    ahead = []
    for portion in portions:
        ahead.append(pool.submit(play, portion))
        if len(ahead) > 2 * jobs:
            yield ahead.pop(0).result()
        if time.monotonic() >= until:
            break
    for portion_done in ahead:
        yield portion_done.result()


def play(seeds: range) -> Figures:
    runs = [(seed, run(Script.of(seed))) for seed in seeds]
    return [(seed, one.taken, one.passes, str(one.violations[0])[:300] if one.violations else "") for seed, one in runs]


def show(done: Run) -> int:
    """What failed, the shortest trace of it, and how to see it again."""
    seed = done.script.seed
    if not done.violations:
        say(f"seed {seed}: {done.taken} steps, {done.passes} passes, {done.calls} calls, nothing broken")
        return 0
    least = shrink(done)
    say(f"\nseed {seed} breaks: {done.rule}")
    say(f"shortest trace, with {least.script.terms}:")
    for step in least.script.steps:
        say(f"  {step}")
    for violation in least.violations:
        say(f"=> {violation}")
    say(f"again: script/simulate --seed {seed}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
