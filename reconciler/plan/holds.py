"""Holds that a person's approval lifts: what each is about, and how long a yes lasts."""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime

from reconciler.model.actions import Action, ActionName, ReplaceNode, TerminateNode, removal
from reconciler.model.memory import Removal
from reconciler.model.names import EnvironmentName, NodeName, RoleName
from reconciler.model.plan import Blocked, EnvironmentPlan, Guard
from reconciler.plan.chef import generated_environment, generated_roles
from reconciler.plan.context import Context


def digest(removals: Collection[Removal]) -> str:
    """What `hivequeen approve` takes: the sorted removals alone, never revision, time or reason."""
    rows = [[one.environment, one.action, one.role, one.target, one.change] for one in sorted(removals)]
    return hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()[:12]


def removals(actions: Iterable[Action]) -> frozenset[Removal]:
    return frozenset(one for action in actions if (one := removal(action)) is not None)


def hold(
    rule: Guard,
    plan: EnvironmentPlan,
    held: Sequence[Action],
    context: Context,
    message: str,
    *,
    actor: str = "",
    until: datetime | None = None,
) -> Iterator[Blocked]:
    """One hold over these actions of one environment, unless a person approved all that they remove together."""
    if not removals(held) or is_approved(removals(held), context):
        return
    covered = with_what_follows(plan, held, context)
    key = digest(covered)
    yield Blocked(
        guard=rule,
        message=message,
        remedy=f"hivequeen approve {key}",
        digest=key,
        actor=actor,
        until=until,
        actions=tuple(held),
        removals=covered,
    )


def asked_by(plan: EnvironmentPlan, context: Context) -> str:
    """The author of the commit that asks for what the plan removes; "" where none does."""
    if plan.ending is not None:
        return plan.ending.author
    return context.author if plan.is_declared else ""


def is_approved(wanted: frozenset[Removal], context: Context) -> bool:
    """By one approval: two that each cover a part say nothing about both at once."""
    return any(wanted <= one.removals for one in context.memory.approvals if one.expires_at > context.now)


def with_what_follows(plan: EnvironmentPlan, held: Sequence[Action], context: Context) -> frozenset[Removal]:
    """What the actions remove now, and what later passes remove because of it.

    Whoever says yes to a node's end has said so to what it leaves in Chef, and to a role's end, to the Chef role. So the
    later passes are subsets of what was approved, and the digest is the same in all of them until something happens.
    """
    found = removals(held)
    here = context.environment(plan.name)
    follow = {
        left
        for action in held
        if isinstance(action, TerminateNode | ReplaceNode)
        for left in _left_by(plan.name, action.role, action.node)
    }
    generated = generated_roles(context.rules.fleet, here)
    nodes = [(node.role, node.name) for node in here.nodes] + [(gone.role, gone.name) for gone in here.departed]
    roles = {role for role, _ in nodes} | set(generated)
    if plan.is_declared:
        roles &= {RoleName(one.role) for one in found} - set(context.desired.environments[plan.name].roles)
    for role, node in nodes:
        if role in roles:
            follow.update(_left_by(plan.name, role, node))
    for role in roles & generated.keys():
        follow.add(_removal(plan.name, ActionName.DELETE_CHEF_ROLE, role, generated[role].name))
    chef_environment = generated_environment(context.rules.fleet, here)
    if not plan.is_declared and chef_environment is not None:
        follow.add(_removal(plan.name, ActionName.DELETE_CHEF_ENVIRONMENT, "", chef_environment.name))
    return found | follow


def _left_by(environment: EnvironmentName, role: RoleName, node: NodeName) -> Iterator[Removal]:
    """Whether it has them now or not: a node that boots may register while it is held."""
    yield _removal(environment, ActionName.DELETE_CHEF_NODE, role, node)
    yield _removal(environment, ActionName.DELETE_CHEF_CLIENT, role, node)


def _removal(environment: EnvironmentName, action: ActionName, role: str, target: str) -> Removal:
    return Removal(environment=environment, action=action, role=role, target=target)
