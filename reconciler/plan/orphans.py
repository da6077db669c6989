"""Generated Chef objects that nobody declares or remembers: they go after two sightings and the minimum age."""

from collections.abc import Collection, Iterator

from reconciler.model.facts import OrphanCleared, OrphanSighted
from reconciler.model.memory import Item
from reconciler.model.names import EnvironmentName
from reconciler.model.plan import Waiting
from reconciler.plan.context import Context
from reconciler.plan.role_context import RolePlan


def sight(orphans: Collection[Item], context: Context, plan: RolePlan) -> None:
    """Their age counts from the first full look that shows them."""
    if context.observed.is_full:
        new = sorted(item for item in orphans if item not in context.memory.orphans)
        plan.facts.extend(OrphanSighted(item=item) for item in new)


def may_go(orphans: Collection[Item], context: Context, plan: RolePlan, *, role: str = "") -> bool:
    """Whether all of them are old enough, and the whole fleet is in view; else they are awaited."""
    sighted = context.memory.orphans
    due_at = max(sighted.get(item, context.now) for item in orphans) + context.rules.orphan_age
    is_old = due_at <= context.now and all(item in sighted for item in orphans)
    if is_old and context.observed.is_full:
        return True
    names = ", ".join(sorted(item.name for item in orphans))
    message = f"{names} in Chef is wanted by nobody; it is removed if that stays so until {due_at:%H:%M:%S} UTC"
    plan.waiting.append(Waiting(message=message, role=role))
    if not is_old:
        plan.due(due_at)
    return False


def cleared(name: EnvironmentName, orphans: Collection[Item], context: Context) -> Iterator[OrphanCleared]:
    """Those of the environment that were sighted once, and are gone or wanted now."""
    if context.observed.is_full:
        for item in context.orphans.get(name, ()):
            if item not in orphans:
                yield OrphanCleared(item=item)
