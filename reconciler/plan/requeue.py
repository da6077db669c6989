"""When to look again: soon at what is under way, else at the moment when something comes due."""

from collections.abc import Collection

from reconciler.model.plan import EnvironmentPlan
from reconciler.plan.context import Context


def is_under_way(plan: EnvironmentPlan) -> bool:
    """Whether it is worth a look soon.

    What no file declares is decided by full passes alone. Where it only waits for a moment (a grace period, the age of
    an orphan) that moment is soon enough.
    """
    return bool(plan.actions) or (plan.is_busy and (plan.is_declared or plan.due_at is None))


def requeue_after_s(environments: Collection[EnvironmentPlan], context: Context) -> float | None:
    """Seconds until the next look; None: nothing is awaited."""
    moments = [one.due_at for one in environments if one.due_at is not None and one.due_at > context.now]
    if any(is_under_way(one) for one in environments):
        moments.append(context.now + context.rules.progress)
    return (min(moments) - context.now).total_seconds() if moments else None
