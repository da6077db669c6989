"""A defect of ours that one environment brings up: it is said there, nothing is done there, and the others go on."""

import traceback

from reconciler.model.plan import EnvironmentPlan, Stall


def defective(plan: EnvironmentPlan, error: Exception) -> EnvironmentPlan:
    """The plan without anything to do."""
    *_, last = traceback.extract_tb(error.__traceback__)
    place = f"{last.filename.rpartition('/')[2]}:{last.lineno}"
    stall = Stall(
        reason="Defect",
        message=f"a defect: {type(error).__name__}: {error} ({place})",
        remedy="please report it; until it is mended nothing of this environment changes",
    )
    return EnvironmentPlan(
        name=plan.name, is_declared=plan.is_declared, is_frozen=plan.is_frozen, stalls=(*plan.stalls, stall)
    )
