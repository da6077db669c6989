"""Failures in a row: when a role whose newcomers keep failing slows down to one at a time, or stops.

A breaker opens after `failures_in_a_row`: nothing launches for a while, then one node at a time, as a canary. One that
becomes ready closes it; one that fails opens it for longer. A role halts only where trying again cannot help: while its
nodes are being replaced, or because EC2 refused the launch for good.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from reconciler.model.digest import content_digest
from reconciler.model.facts import RoleRecovered, RoleTroubled
from reconciler.model.memory import Trouble
from reconciler.model.names import InstanceId
from reconciler.model.observed import Node, Phase
from reconciler.model.plan import Stall
from reconciler.model.rules import BACKOFF_MAX, CANARY_PAUSE
from reconciler.plan.role_context import RoleContext, RolePlan

NO_LIMIT: Final = sys.maxsize
_DOUBLINGS_MAX: Final = 4  # 2⁴ min is past the longest pause


def judge_trouble(context: RoleContext, plan: RolePlan, *, is_replacing: bool) -> Trouble | None:
    """What stands against launching all that lacks: the role is halted, or its breaker is open. None: nothing does.

    While nodes are being replaced one newcomer that fails halts. A commit that touches the role starts afresh. Only a
    node that was launched in the streak, since the breaker opened if it did, and became ready, ends it: those that
    served before prove nothing about it.
    """
    known, limit = context.memory.troubles.get(context.key), context.rules.failures_in_a_row
    failed = _failed_now(context, known)
    trouble = _streak(context, known, failed)
    if failed:
        trouble = replace(trouble, failed=trouble.failed | {str(one.instance_id) for one in failed}, retry_at=None)
        if not trouble.is_halted:  # what halted it stays said
            trouble = replace(trouble, message=failed[-1].why, remedy="", is_halted=is_replacing)
    is_open = not trouble.is_halted and trouble.failures >= limit
    if is_open and trouble.retry_at is None:
        trouble = replace(trouble, retry_at=context.now + _pause(trouble, limit))
    if known is not None and not trouble.is_halted and not failed and _has_succeeded(context, trouble):
        plan.facts.append(RoleRecovered(environment=context.environment.name, role=context.role.name))
        return None
    if trouble != known and (known or trouble.failed):
        plan.facts.append(RoleTroubled(trouble=trouble))
    return trouble if trouble.is_halted or is_open else None


def most_under_way(trouble: Trouble | None, now: datetime) -> int:
    """How many nodes may be under way at once: booting, launched with unknown outcome, or failed and not gone yet."""
    if trouble is None:
        return NO_LIMIT
    return 0 if trouble.is_halted or _is_paused(trouble, now) else 1


def say_trouble(context: RoleContext, plan: RolePlan, trouble: Trouble, *, is_trying: bool) -> None:
    """Why less is launched than lacks, and what a person can do about it."""
    count = "1 node or launch" if trouble.failures == 1 else f"{trouble.failures} nodes or launches in a row"
    at_once = f"fix the cause and commit, or run `hivequeen resume {trouble.environment}` to try again"
    if trouble.is_halted:
        reason, message = "RoleHalted", f"{count} failed, nothing more is launched: {trouble.message}"
    else:
        reason, message = "BreakerOpen", f"{count} failed: {trouble.message}; one node at a time is tried, "
        if trouble.retry_at is not None and _is_paused(trouble, context.now):
            plan.due(trouble.retry_at)
            message += f"the next at {trouble.retry_at:%H:%M}"
        else:
            message += "one is there now" if is_trying else "the next now"
        at_once += " with all at once"
    remedy = f"{trouble.remedy}; then {at_once}" if trouble.remedy else at_once
    plan.stalls.append(Stall(reason=reason, message=f"{trouble.role}: {message}", remedy=remedy))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failure:
    """One node of our launches that failed; a copy that somebody made by hand says nothing about ours."""

    instance_id: InstanceId
    launched_at: datetime
    why: str


def _failed_now(context: RoleContext, known: Trouble | None) -> list[_Failure]:
    """Those that do not count yet, oldest first."""
    failed = sorted([*_failed(context), *_died(context)], key=lambda one: (one.launched_at, one.instance_id))
    if known is None:
        # One that is kept to be looked at after its streak ended does not begin another.
        return [one for one in failed if not _is_answered(one, context.nodes)]
    if known.content != content_digest(context.environment, context.role):
        return []
    # EC2 tells whole seconds: a launch in the same second is one after it.
    since = known.since.replace(microsecond=0)
    return [one for one in failed if one.launched_at >= since and one.instance_id not in known.failed]


def _failed(context: RoleContext) -> Iterator[_Failure]:
    for node in context.nodes:
        if node.phase == Phase.FAILED and node.launched_with:
            launched_at = node.instance.launched_at
            yield _Failure(instance_id=node.instance_id, launched_at=launched_at, why=node.why_failed)


def _died(context: RoleContext) -> Iterator[_Failure]:
    """Those that ended before they were ready though nobody here asked: EC2 gave them up (a volume's key, say, that may
    not be used), or somebody did. Else what EC2 ends at once would be launched again with every pass."""
    asked = {one.instance_id for one in context.memory.terminations}
    dying = {
        node.instance_id: node.instance.launched_at
        for node in context.nodes
        if node.phase == Phase.TERMINATING and node.launched_with and not node.was_ready
    }
    dead = {
        one.instance_id: one.launched_at
        for one in context.world.environment(context.environment.name).departed
        if one.role == context.role.name and one.launched_at is not None
    }
    for instance_id, launched_at in {**dying, **dead}.items():
        if instance_id not in asked:
            why = f"{instance_id} was terminated before it was ready, and not by Hivequeen: EC2 tells its state reason"
            yield _Failure(instance_id=instance_id, launched_at=launched_at, why=why)


def _is_answered(failed: _Failure, nodes: Sequence[Node]) -> bool:
    """Whether a later launch than its own succeeded."""
    return any(node.phase == Phase.READY and node.instance.launched_at > failed.launched_at for node in nodes)


def _streak(context: RoleContext, known: Trouble | None, failed: Sequence[_Failure]) -> Trouble:
    """The one that is remembered, or a new one: begun with the first of its failures, or by a commit just now."""
    content = content_digest(context.environment, context.role)
    if known is not None and known.content == content:
        return known
    since = context.now if known is not None else min((one.launched_at for one in failed), default=context.now)
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
    since = trouble.since
    if trouble.retry_at is not None:  # the breaker opened a pause before
        since = max(since, trouble.retry_at - _pause(trouble, context.rules.failures_in_a_row))
    return any(node.phase == Phase.READY and node.instance.launched_at > since for node in context.nodes)


def _pause(trouble: Trouble, limit: int) -> timedelta:
    doublings = min(max(0, trouble.failures - limit), _DOUBLINGS_MAX)
    return min(BACKOFF_MAX, CANARY_PAUSE * (1 << doublings))


def _is_paused(trouble: Trouble, now: datetime) -> bool:
    """None lasts longer than the longest: one that does was written by a clock that ran ahead."""
    return trouble.retry_at is not None and now < trouble.retry_at <= now + BACKOFF_MAX
