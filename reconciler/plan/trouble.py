"""Failures in a row: when a role whose newcomers keep failing stops, before it burns instances."""

from dataclasses import replace

from reconciler.model.digest import content_digest
from reconciler.model.facts import RoleRecovered, RoleTroubled
from reconciler.model.memory import Trouble
from reconciler.model.observed import Node, Phase
from reconciler.model.plan import Stall
from reconciler.plan.role_context import RoleContext, RolePlan


def judge_trouble(context: RoleContext, plan: RolePlan, *, is_replacing: bool) -> Trouble | None:
    """What stands against launching; None: nothing does.

    While nodes are being replaced one failure is enough. A commit that touches the role starts afresh. Only a node that
    was launched after the streak began, and became ready, ends it: those that served before prove nothing about it.
    """
    known = context.memory.troubles.get(context.key)
    failed = _failed(context, known)
    trouble = _streak(context, known, failed)
    if failed:
        ids = trouble.failed | {str(node.instance_id) for node in failed}
        trouble = replace(trouble, failed=ids, message=failed[-1].why_failed, remedy="")
    limit = 1 if is_replacing else context.rules.failures_in_a_row
    if trouble.failures >= limit:
        trouble = replace(trouble, is_halted=True)
    elif known is not None and not trouble.is_halted and not failed and _has_succeeded(context, trouble):
        plan.facts.append(RoleRecovered(environment=context.environment.name, role=context.role.name))
        return None
    if trouble != known and (known or trouble.failed):
        plan.facts.append(RoleTroubled(trouble=trouble))
    if not trouble.is_halted:
        return None
    plan.stalls.append(_stall(trouble))
    return trouble


def _failed(context: RoleContext, known: Trouble | None) -> list[Node]:
    """Those of our launches that failed, in this streak; a copy that somebody made by hand says nothing about ours."""
    failed = [node for node in context.nodes if node.phase == Phase.FAILED and node.launched_with]
    if known is None:
        return failed
    if known.content != content_digest(context.environment, context.role):
        return []
    # EC2 tells whole seconds: a launch in the same second is one after it.
    return [node for node in failed if node.instance.launched_at >= known.since.replace(microsecond=0)]


def _streak(context: RoleContext, known: Trouble | None, failed: list[Node]) -> Trouble:
    """The one that is remembered, or a new one: begun with the first of its failures, or by a commit just now."""
    content = content_digest(context.environment, context.role)
    if known is not None and known.content == content:
        return known
    since = context.now if known is not None else min((n.instance.launched_at for n in failed), default=context.now)
    return Trouble(
        environment=context.environment.name,
        role=context.role.name,
        content=content,
        failed=frozenset(),
        is_halted=False,
        message="",
        remedy="",
        since=since,
    )


def _has_succeeded(context: RoleContext, trouble: Trouble) -> bool:
    return any(node.phase == Phase.READY and node.instance.launched_at > trouble.since for node in context.nodes)


def _stall(trouble: Trouble) -> Stall:
    resume = f"fix the cause and commit, or run `hivequeen resume {trouble.environment}` to try again"
    count = "1 node or launch" if trouble.failures == 1 else f"{trouble.failures} nodes or launches in a row"
    return Stall(
        reason="RoleHalted",
        message=f"{trouble.role}: {count} failed, nothing more is launched: {trouble.message}",
        remedy=f"{trouble.remedy}; then {resume}" if trouble.remedy else resume,
    )
