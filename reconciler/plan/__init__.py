"""Planning: pure. `plan` says what would remove the drift, `guard` what of it must not happen now.

No clock, no network, no log: the same inputs give the same plan, and planning is the dry run.
"""

from reconciler.model.names import EnvironmentName
from reconciler.model.plan import EnvironmentPlan, Plan, Stall
from reconciler.plan.barrier import defective
from reconciler.plan.context import Context
from reconciler.plan.environment import plan_frozen
from reconciler.plan.guard import guard
from reconciler.plan.lifetime import expires_at, plan_living
from reconciler.plan.requeue import is_under_way, requeue_after_s
from reconciler.plan.teardown import plan_undeclared

__all__ = ["Context", "expires_at", "guard", "is_under_way", "plan", "plan_environment"]


def plan(context: Context) -> Plan:
    """What would make the observed world the desired one: every environment of the observation, sorted by name.

    Undeclared environments are decided on full observations only; a teardown that has begun goes on in any.
    """
    names = set(context.observed.environments)
    if context.observed.is_full:
        names |= context.desired.names | set(context.memory.environments) | set(context.orphans)
    environments = tuple(one for name in sorted(names) if (one := _planned(name, context)) is not None)
    again_s = requeue_after_s(environments, context)
    return Plan(revision=context.revision, environments=environments, requeue_after_s=again_s)


def _planned(name: EnvironmentName, context: Context) -> EnvironmentPlan | None:
    try:
        return plan_environment(name, context)
    except Exception as error:  # noqa: BLE001  what one environment brings up must not stop the others
        return defective(EnvironmentPlan(name=name, is_declared=name in context.desired.declared), error)


def plan_environment(name: EnvironmentName, context: Context) -> EnvironmentPlan | None:
    """One environment's plan; None where this observation may not decide about it."""
    desired, here = context.desired, context.environment(name)
    if name in desired.frozen:
        frozen = desired.frozen[name]
        if frozen.is_trace and here.is_empty and name not in context.memory.environments:
            return None  # README.md stands against nothing
        return plan_frozen(frozen, context.memory.environments.get(name))
    if name in context.observed.unreadable:
        message, remedy = context.observed.unreadable[name]
        stall = Stall(reason="Unreadable", message=message, remedy=remedy)
        return EnvironmentPlan(name=name, is_declared=name in desired.environments, stalls=(stall,))
    if name in desired.environments:
        return plan_living(desired.environments[name], here, context)
    if not context.observed.is_full and not context.has_begun(name):
        return None
    return plan_undeclared(here, context)
