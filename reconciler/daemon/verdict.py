"""What a pass comes to, in one word: what scripts branch on."""

from enum import IntEnum

from reconciler.model.passes import Pass, Result
from reconciler.model.plan import Guard


class Verdict(IntEnum):
    """The value is the exit code of `hivequeen reconcile` and `hivequeen plan`."""

    CONVERGED = 0  # nothing is left to do
    FAILED = 1  # something went wrong, or a person must act
    PENDING = 2  # something was done, is to be done, or is awaited; a grace period is, for it ends by itself
    HELD = 3  # a guard keeps something from being done until somebody lifts it


def verdict(made: Pass) -> Verdict:
    """Of one pass or preview: the worst of what is in it."""
    plan = made.plan
    if plan is not None and any(blocked.guard is not Guard.OBSERVE_MODE for blocked in plan.blocked):
        return Verdict.HELD  # all of it; what fails besides may well fail because of that
    if plan is None or made.failures or any(outcome.needs_person for outcome in made.outcomes):
        return Verdict.FAILED
    if any(environment.stalls for environment in plan.environments):
        return Verdict.FAILED
    if any(blocked.guard is not Guard.GRACE for one in plan.environments for blocked in one.blocked):
        return Verdict.HELD
    is_done = all(environment.is_converged for environment in plan.environments)
    if is_done and all(outcome.result is Result.UNCHANGED for outcome in made.outcomes):
        return Verdict.CONVERGED
    return Verdict.PENDING
