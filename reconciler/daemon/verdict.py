"""What a pass comes to, in one word: what scripts branch on."""

from enum import IntEnum

from reconciler.model.passes import Pass, Result


class Verdict(IntEnum):
    """The value is the exit code of `hivequeen reconcile` and `hivequeen plan`."""

    CONVERGED = 0  # nothing is left to do
    FAILED = 1  # something went wrong, or a person must act
    PENDING = 2  # something was done, is to be done, or is awaited
    HELD = 3  # a guard keeps something from being done


def verdict(made: Pass) -> Verdict:
    """Of one pass or preview: the worst of what is in it."""
    if made.plan is None or made.failures or any(outcome.result is Result.REFUSED for outcome in made.outcomes):
        return Verdict.FAILED
    environments = made.plan.environments
    if any(environment.stalls for environment in environments):
        return Verdict.FAILED
    if made.plan.blocked or any(environment.blocked for environment in environments):
        return Verdict.HELD
    if any(not environment.is_converged for environment in environments) or any(
        outcome.result is not Result.UNCHANGED for outcome in made.outcomes
    ):
        return Verdict.PENDING
    return Verdict.CONVERGED
