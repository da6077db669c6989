"""One declared role: how many nodes it lacks, which ones are too many, which must be replaced, and when to stop trying.

Read `plan_role` first; each step below it answers one question and yields actions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeAlias

from reconciler.model import tags
from reconciler.model.actions import Action, LaunchNodes, Reason, ReplaceNode, ReplayLaunch, TagNode, TerminateNode
from reconciler.model.desired import Environment, Role
from reconciler.model.digest import content_digest, spec_digest
from reconciler.model.memory import (
    Cause,
    Fact,
    Intent,
    IntentEnded,
    IntentState,
    Memory,
    RoleRecovered,
    RoleSettled,
    RoleTroubled,
    Trouble,
)
from reconciler.model.names import EnvironmentName, ImageId, InstanceId, RoleName
from reconciler.model.observed import Node, Phase
from reconciler.model.plan import Stall, Waiting
from reconciler.model.rules import REPLAY_AGE_MAX, UNSEEN_GRACE, Rules
from reconciler.plan.context import Context
from reconciler.plan.drift import Drift, drift, wanted_tags
from reconciler.plan.placement import place

# What a role's places are filled with: a lost or unseen node keeps its place, for it may still run.
_PLACED = (Phase.PENDING, Phase.RUNNING, Phase.REGISTERED, Phase.READY, Phase.LOST)
_BOOTING = (Phase.PENDING, Phase.RUNNING, Phase.REGISTERED)

Drifts: TypeAlias = Mapping[InstanceId, tuple[Drift, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleContext:
    """All that one role's plan depends on."""

    environment: Environment
    role: Role
    image: ImageId
    nodes: Sequence[Node]  # of this role, sorted by launch time, then id
    world: Context

    @property
    def key(self) -> tuple[EnvironmentName, RoleName]:
        return self.environment.name, self.role.name

    @property
    def memory(self) -> Memory:
        return self.world.memory

    @property
    def rules(self) -> Rules:
        return self.world.rules

    @property
    def now(self) -> datetime:
        return self.world.now

    def reason(self, rule: str, detail: str, key: str = "") -> Reason:
        return Reason(rule=rule, detail=detail, origin=self.role.origin(key), revision=self.world.revision)


@dataclass(slots=True)
class RolePlan:
    """What the steps found, in order."""

    actions: list[Action] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    stalls: list[Stall] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)


def plan_role(context: RoleContext) -> RolePlan:
    """The whole plan of one role."""
    plan = RolePlan()
    drifts = {
        node.instance_id: found
        for node in context.nodes
        if node.phase in _PLACED and node.phase != Phase.LOST and (found := drift(context.role, context.image, node))
    }
    placed = [node for node in context.nodes if node.phase in _PLACED]
    trouble = _judge_trouble(context, plan, is_replacing=any(n.was_ready for n in placed if n.instance_id in drifts))
    placed = _remove_never_ready(context, plan, placed, drifts, trouble)
    placed += _settle_stopped(context, plan)
    _repair_tags(context, plan, placed)

    drifted = _drifted(placed, drifts)
    unresolved = [
        one for one in context.world.open_intents.get(context.environment.name, ()) if one.role == context.role.name
    ]
    places = len(placed) + sum(_unseen(intent, context.nodes) for intent in unresolved)
    surge = 1 if drifted and context.role.count > 0 else 0

    placed = _remove_excess(context, plan, placed, drifts, allowed=context.role.count + surge)
    _replay(context, plan, unresolved, trouble, spare=places - context.role.count - surge)
    if places < context.role.count:
        _launch(context, plan, context.role.count - places, placed, trouble)
    elif drifted and surge:
        _replace(
            context,
            plan,
            placed,
            drifts,
            is_halted=trouble is not None,
            has_surge=places > context.role.count,
        )
    _say_what_is_awaited(context, plan, placed)
    _note_settled(context, plan, len(placed), is_quiet=not unresolved and not drifted)
    return plan


# --- failures in a row ----------------------------------------------------------------------------------------------


def _judge_trouble(context: RoleContext, plan: RolePlan, *, is_replacing: bool) -> Trouble | None:
    """Stop a role whose newcomers keep failing, before it burns instances; None: nothing stands against launching.

    While nodes are being replaced one failure is enough. A commit that touches the role starts afresh.
    """
    content = content_digest(context.environment, context.role)
    known = context.memory.troubles.get(context.key)
    trouble = known or Trouble(
        environment=context.environment.name,
        role=context.role.name,
        content=content,
        failed=frozenset(),
        is_halted=False,
        message="",
        remedy="",
        since=min((node.instance.launched_at for node in context.nodes), default=context.now),
    )
    if trouble.content != content:
        trouble = replace(
            trouble, content=content, failed=frozenset(), is_halted=False, message="", remedy="", since=context.now
        )
    newcomers = [node for node in context.nodes if node.instance.launched_at >= trouble.since]
    failed = [node for node in newcomers if node.phase == Phase.FAILED]
    if failed:
        trouble = replace(
            trouble,
            failed=trouble.failed | {str(node.instance_id) for node in failed},
            message=failed[-1].why_failed,
            remedy="",
        )
    limit = 1 if is_replacing else context.rules.failures_in_a_row
    if trouble.failures >= limit:
        trouble = replace(trouble, is_halted=True)
    elif known is not None and not failed and any(node.phase == Phase.READY for node in newcomers):
        plan.facts.append(RoleRecovered(environment=context.environment.name, role=context.role.name))
        return None
    if trouble != known and (known or trouble.failed):
        plan.facts.append(RoleTroubled(trouble=trouble))
    if not trouble.is_halted:
        return None
    resume = f"fix the cause and commit, or run `hivequeen resume {context.environment.name}` to try again"
    count = "1 node or launch" if trouble.failures == 1 else f"{trouble.failures} nodes or launches in a row"
    plan.stalls.append(
        Stall(
            reason="RoleHalted",
            message=f"{context.role.name}: {count} failed, nothing more is launched: {trouble.message}",
            remedy=f"{trouble.remedy}; then {resume}" if trouble.remedy else resume,
        )
    )
    return trouble


# --- who goes -------------------------------------------------------------------------------------------------------


def _terminate(context: RoleContext, node: Node, cause: Cause, reason: Reason, change: str = "") -> TerminateNode:
    return TerminateNode(
        environment=context.environment.name,
        role=context.role.name,
        node=node.name,
        instance_id=node.instance_id,
        cause=cause,
        change=change,
        reason=reason,
    )


def _remove_never_ready(
    context: RoleContext,
    plan: RolePlan,
    placed: list[Node],
    drifts: Drifts,
    trouble: Trouble | None,
) -> list[Node]:
    """Failed nodes go, unless the role is halted: then they stay to be looked at. Drifted ones that never served go at once."""
    if trouble is None:
        for node in context.nodes:
            if node.phase == Phase.FAILED:
                reason = context.reason("never ready", node.why_failed)
                plan.actions.append(_terminate(context, node, Cause.NEVER_READY, reason))
    kept = []
    for node in placed:
        found = drifts.get(node.instance_id)
        if node.phase in _BOOTING and found:
            reason = context.reason("drift", f"{_changes(found)}; it never served", found[0].field)
            plan.actions.append(_terminate(context, node, Cause.NEVER_READY, reason, _changes(found)))
        else:
            kept.append(node)
    return kept


def _settle_stopped(context: RoleContext, plan: RolePlan) -> list[Node]:
    """A stopped node keeps its place for a while, for somebody may start it again; then it is replaced."""
    keeping = []
    for node in context.nodes:
        if node.phase != Phase.STOPPED:
            continue
        if node.odd_since is None or context.now - node.odd_since < context.rules.orphan_age:
            keeping.append(node)
            minutes = int(context.rules.orphan_age.total_seconds() // 60)
            message = f"{context.role.name}: {node.instance_id} was stopped by hand; it is replaced unless it is started within {minutes} min"
            plan.waiting.append(Waiting(message=message, role=context.role.name))
        else:
            reason = context.reason("stopped", f"{node.instance_id} was stopped by hand and not started again")
            plan.actions.append(_terminate(context, node, Cause.FAILED, reason))
    return keeping


def _remove_excess(
    context: RoleContext, plan: RolePlan, placed: list[Node], drifts: Drifts, *, allowed: int
) -> list[Node]:
    """More nodes than may be: those that never served go first, then drifted ones, then the oldest."""
    removable = [node for node in placed if node.phase != Phase.LOST]
    excess = min(len(placed) - allowed, len(removable))
    if excess <= 0:
        return placed
    removable.sort(key=lambda node: (node.was_ready, node.instance_id not in drifts))  # stable: oldest first within
    settled = context.memory.settled.get(context.key, 0)
    by_commit = max(0, settled - context.role.count)
    gone = removable[:excess]
    for number, node in enumerate(gone):
        if number < by_commit:
            cause, rule, detail = (
                Cause.SCALE_DOWN,
                "count",
                f"{context.role.name}.count {settled} → {context.role.count}",
            )
        elif not node.was_ready:
            cause, rule, detail = (
                Cause.NEVER_READY,
                "surplus",
                f"{len(placed)} nodes for a count of {context.role.count}; it never served",
            )
        else:
            cause, rule, detail = (
                Cause.SURPLUS,
                "surplus",
                f"{len(placed)} nodes for a count of {context.role.count}, and no commit lowered it",
            )
        plan.actions.append(_terminate(context, node, cause, context.reason(rule, detail, "count")))
    return [node for node in placed if node not in gone]


# --- who comes ------------------------------------------------------------------------------------------------------


def _unseen(intent: Intent, nodes: Sequence[Node]) -> int:
    """How many nodes this launch may have made that no listing shows yet."""
    seen = sum(1 for node in nodes if node.instance.intent == intent.token)
    return max(0, intent.parameters.count - seen)


def _replay(
    context: RoleContext, plan: RolePlan, unresolved: list[Intent], trouble: Trouble | None, *, spare: int
) -> None:
    """Repeat launches of unknown outcome, oldest first, while they are wanted and their token is fresh.

    `spare` is by how many places the role would be overfull if all of them had launched.
    """
    for intent in unresolved:
        is_fresh = context.now - intent.opened_at < REPLAY_AGE_MAX
        if trouble is None and spare <= 0 and is_fresh and _still_asked_for(context, intent):
            reason = context.reason("intent", f"the launch {intent.token} has an unknown outcome", "count")
            plan.actions.append(
                ReplayLaunch(environment=intent.environment, role=intent.role, intent=intent, reason=reason)
            )
            continue
        spare -= intent.parameters.count
        await_or_close(intent, context.nodes, context.now, plan)


def await_or_close(intent: Intent, nodes: Sequence[Node], now: datetime, plan: RolePlan) -> None:
    """An open intent that nobody wants any more: closed when listings have lacked its instances for long enough."""
    is_unseen = _unseen(intent, nodes) == intent.parameters.count
    if is_unseen and now - (intent.attempted_at or intent.opened_at) >= UNSEEN_GRACE:
        message = "not wanted any more, and no listing shows its instances"
        plan.facts.append(IntentEnded(token=intent.token, state=IntentState.CLOSED, message=message))
    message = (
        f"{intent.role}: whether the launch {intent.token} made {intent.parameters.count} nodes shows within 5 min"
    )
    plan.waiting.append(Waiting(message=message, role=intent.role))


def _still_asked_for(context: RoleContext, intent: Intent) -> bool:
    wanted, role = intent.parameters, context.role
    return (
        wanted.image == context.image
        and wanted.instance_type in role.instance_types
        and wanted.subnet in role.subnets
        and frozenset(wanted.security_groups) == role.security_groups
        and wanted.instance_profile == role.instance_profile
        and dict(wanted.tags).get(tags.SPEC) == spec_digest(role)
    )


def _launch_of(context: RoleContext, count: int, placed: Sequence[Node], reason: Reason) -> LaunchNodes | None:
    batches = place(context.role, count, placed, context.memory.exhausted)
    if not batches:
        return None
    launch_tags = {
        **wanted_tags(context.rules.fleet, context.environment, context.role),
        tags.SPEC: spec_digest(context.role),
        tags.REVISION: context.world.revision,
    }
    return LaunchNodes(
        environment=context.environment.name,
        role=context.role.name,
        declared=context.role,
        image=context.image,
        tags=launch_tags,
        batches=batches,
        reason=reason,
    )


def _launch(
    context: RoleContext, plan: RolePlan, deficit: int, placed: Sequence[Node], trouble: Trouble | None
) -> None:
    if trouble is not None:
        return  # the stall says so
    detail = f"{context.role.name}.count is {context.role.count}, {context.role.count - deficit} there"
    launch = _launch_of(context, deficit, placed, context.reason("count", detail, "count"))
    if launch is not None:
        plan.actions.append(launch)
    else:
        message = f"{context.role.name}: no capacity for {', '.join(context.role.instance_types)} in {', '.join(context.role.subnets)}; tried again within 3 min"
        plan.waiting.append(Waiting(message=message, role=context.role.name))


def _replace(
    context: RoleContext,
    plan: RolePlan,
    placed: Sequence[Node],
    drifts: Drifts,
    *,
    is_halted: bool,
    has_surge: bool,
) -> None:
    """One at a time: launch one extra; when it serves, the oldest drifted node goes, if enough are left."""
    drifted = _drifted(placed, drifts)
    oldest = drifted[0]
    found = drifts[oldest.instance_id]
    change = _changes(found)
    cause = Cause.REPLACED if all(one.by_commit for one in found) else Cause.DRIFTED
    reason = context.reason("drift", change, found[0].field)
    ready = sum(1 for node in placed if node.phase == Phase.READY)
    left = f"{len(drifted)} of {len(placed)} nodes to replace"
    if has_surge:
        if ready - 1 >= context.role.count:
            plan.actions.append(_terminate(context, oldest, cause, reason, change))
        plan.waiting.append(Waiting(message=f"{context.role.name}: {left}", role=context.role.name))
        return
    if is_halted:
        return  # the stall says so
    launch = _launch_of(context, 1, placed, reason)
    if launch is None:
        plan.waiting.append(Waiting(message=f"{context.role.name}: no capacity; {left}", role=context.role.name))
        return
    plan.actions.append(
        ReplaceNode(
            environment=context.environment.name,
            role=context.role.name,
            node=oldest.name,
            instance_id=oldest.instance_id,
            change=change,
            cause=cause,
            launch=launch,
            reason=reason,
        )
    )


# --- in place, and for people ---------------------------------------------------------------------------------------


def _repair_tags(context: RoleContext, plan: RolePlan, placed: Sequence[Node]) -> None:
    wanted = wanted_tags(context.rules.fleet, context.environment, context.role)
    for node in placed:
        if node.phase == Phase.LOST:
            continue
        differing = {key: value for key, value in wanted.items() if node.instance.tags.get(key) != value}
        if node.was_ready and tags.READY not in node.instance.tags:
            differing[tags.READY] = context.now.isoformat(timespec="seconds")
        is_unprotected = not context.environment.protected and tags.PROTECTED in node.instance.tags
        if not differing and not is_unprotected:
            continue
        names = sorted(differing) + ([f"-{tags.PROTECTED}"] if is_unprotected else [])
        plan.actions.append(
            TagNode(
                environment=context.environment.name,
                role=context.role.name,
                node=node.name,
                instance_id=node.instance_id,
                set=differing,
                remove=(tags.PROTECTED,) if is_unprotected else (),
                reason=context.reason("tags", ", ".join(names), "tags"),
            )
        )


def _say_what_is_awaited(context: RoleContext, plan: RolePlan, placed: Sequence[Node]) -> None:
    for phase in _BOOTING:
        count = sum(1 for node in placed if node.phase == phase)
        if count:
            nodes = "node" if count == 1 else "nodes"
            plan.waiting.append(
                Waiting(message=f"{context.role.name}: {count} {nodes} {phase}", role=context.role.name)
            )
    if any(node.phase == Phase.TERMINATING for node in context.nodes):
        plan.waiting.append(Waiting(message=f"{context.role.name}: nodes terminating", role=context.role.name))
    plan.stalls.extend(lost_stall(node, context.rules) for node in placed if node.phase == Phase.LOST)


def lost_stall(node: Node, rules: Rules) -> Stall:
    return Stall(
        reason="NodeLost",
        message=f"{node.instance_id} is out of sight: it lost its tag hivequeen:fleet, or EC2 does not show it; its place in {node.role} is kept",
        remedy=f"give it the tag back (hivequeen:fleet={rules.fleet}), or terminate it",
    )


def _note_settled(context: RoleContext, plan: RolePlan, count: int, *, is_quiet: bool) -> None:
    if (
        is_quiet
        and count == context.role.count
        and not plan.actions
        and context.memory.settled.get(context.key) != count
    ):
        plan.facts.append(RoleSettled(environment=context.environment.name, role=context.role.name, count=count))


def _drifted(placed: Sequence[Node], drifts: Drifts) -> list[Node]:
    """Nodes that serve and must be replaced, oldest first."""
    return [node for node in placed if node.phase == Phase.READY and node.instance_id in drifts]


def _changes(found: Sequence[Drift]) -> str:
    return "; ".join(str(one) for one in found)
