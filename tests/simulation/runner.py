"""One seed: a world, random steps, then recovery. And, for a seed that fails, the fewest steps that still do."""

import logging
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from tests.simulation.daemon import Terms
from tests.simulation.invariants import Violation
from tests.simulation.recovery import recover
from tests.simulation.secrets import Listener, leaks
from tests.simulation.steps import Step, draw_all
from tests.simulation.world import SimulatedWorld

STEPS_LEAST, STEPS_MOST = 10, 60
GRACES_S = (300, 300, 60, 0)
QUARANTINES_S = (0, 0, 3600)
DEFAULT_TTLS_H = (0, 0, 0, 2)
BEGINNINGS = (0, 1, 2, 3)
TRIES = 400  # of shrinking


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """All that a run depends on."""

    seed: int
    terms: Terms
    steps: tuple[Step, ...]

    @classmethod
    def of(cls, seed: int) -> "Script":
        random = Random(seed)
        return cls(
            seed=seed,
            terms=Terms(
                grace_s=random.choice(GRACES_S),
                quarantine_s=random.choice(QUARANTINES_S),
                default_ttl_h=random.choice(DEFAULT_TTLS_H),
                has_policy=random.choice((False, True)),
                removes_files=random.choice((False, True)),
                begins_with=random.choice(BEGINNINGS),
            ),
            steps=tuple(draw_all(random, random.randint(STEPS_LEAST, STEPS_MOST))),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    script: Script
    violations: tuple[Violation, ...]
    taken: int  # steps
    passes: int
    calls: int

    @property
    def rule(self) -> str:
        return self.violations[0].rule if self.violations else ""


def run(script: Script) -> Run:
    world = SimulatedWorld(script.terms)
    listener = Listener()
    log = logging.getLogger("reconciler")
    log.addHandler(listener)
    before, log.propagate = log.propagate, False
    level = log.level
    log.setLevel(logging.INFO)
    taken = 0
    try:
        for step in script.steps:
            taken += 1
            take(step, world)
            if world.violations:
                break
        else:
            world.violations.extend(recover(world))
            world.violations.extend(leaks(world, listener.lines))
    except Exception as error:  # noqa: BLE001  whatever breaks is a finding of this seed, and the others go on
        evidence = "".join(traceback.format_exception(error)[-2:])
        world.violations.append(Violation(rule="nothing breaks off", evidence=evidence))
    finally:
        log.removeHandler(listener)
        log.propagate = before
        log.setLevel(level)
        world.close()
    return Run(
        script=script,
        violations=tuple(world.violations),
        taken=taken,
        passes=world.passes,
        calls=len(world.exchange.calls),
    )


def take(step: Step, world: SimulatedWorld) -> None:
    step.apply(world)


def shrink(failed: Run) -> Run:
    """Leave out what the failure does not need, in ever smaller pieces; the rule that is broken stays the same."""
    best = failed
    steps = list(failed.script.steps[: failed.taken])
    size, tries = max(1, len(steps) // 2), 0
    while size >= 1 and tries < TRIES:
        at, has_shrunk = 0, False
        while at < len(steps) and tries < TRIES:
            tries += 1
            shorter = steps[:at] + steps[at + size :]
            again = run(_with_steps(failed.script, shorter))
            if again.rule == failed.rule:
                steps, best, has_shrunk = shorter, again, True
            else:
                at += size
        if not has_shrunk or size > 1:
            size //= 2
    return best


def _with_steps(script: Script, steps: Sequence[Step]) -> Script:
    return Script(seed=script.seed, terms=script.terms, steps=tuple(steps))
