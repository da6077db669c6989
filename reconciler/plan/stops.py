"""What holds an environment whole, whatever its plan would do: a suspension, or a pause after failures."""

from reconciler.model.memory import Backoff, suspension_of
from reconciler.model.names import EnvironmentName
from reconciler.model.plan import Blocked, Guard
from reconciler.model.rules import BACKOFF_MAX
from reconciler.plan.context import Context


def suspended(name: EnvironmentName, context: Context) -> Blocked | None:
    suspension = suspension_of(name, context.memory.suspensions, context.now)
    if suspension is not None:
        return Blocked(
            guard=Guard.SUSPENDED,
            message=str(suspension),
            remedy=suspension.remedy,
            actor=suspension.actor,
            until=suspension.until,
        )
    declared = context.desired.environments.get(name)
    if declared is not None and declared.suspend:
        origin = declared.origins.get("suspend", declared.origin)
        return Blocked(
            guard=Guard.SUSPENDED,
            message=f"{origin} says suspend: true",
            remedy="remove it and commit",
            actor=context.author,
        )
    return None


def backoff(name: EnvironmentName, context: Context) -> Backoff | None:
    """The one in force. None lasts longer than the longest: one that does was written by a clock that ran ahead."""
    found = context.memory.backoffs.get(name)
    if found is None or not context.now < found.until <= context.now + BACKOFF_MAX:
        return None
    return found
