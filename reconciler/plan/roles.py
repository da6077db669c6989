"""One declared role: how many nodes it lacks, which ones are too many, which must be replaced, and when to stop trying.

`plan_role` is the order of the steps; each step has a file of its own and answers one question.
"""

from collections.abc import Sequence

from reconciler.model import tags
from reconciler.model.actions import TagNode
from reconciler.model.facts import RoleSettled
from reconciler.model.observed import Node, Phase
from reconciler.model.plan import Difference
from reconciler.plan.drift import Drift, drift, wanted_tags
from reconciler.plan.intents import replay, unseen
from reconciler.plan.launching import drifted_nodes, launch, replace_oldest
from reconciler.plan.leaving import remove_excess, remove_failed, remove_never_served, remove_stopped
from reconciler.plan.role_context import BOOTING, PLACED, RoleContext, RolePlan, lost_stall
from reconciler.plan.sleeping import sleep, sleeping, wake
from reconciler.plan.trouble import judge_trouble, most_under_way, say_trouble


def plan_role(context: RoleContext) -> RolePlan:
    """The whole plan of one role.

    Live nodes never exceed `count`, one extra while nodes are being replaced, and one failed node in quarantine.
    """
    plan = RolePlan()
    placed = [node for node in context.nodes if node.phase in PLACED]
    drifts = {
        node.instance_id: found
        for node in placed
        if node.phase != Phase.LOST and (found := drift(context.role, context.image, node))
    }
    plan.drifted.update((instance_id, tuple(map(_difference, found))) for instance_id, found in drifts.items())
    unresolved = [
        one for one in context.world.open_intents.get(context.environment.name, ()) if one.role == context.role.name
    ]
    schedule = sleeping(context)
    if schedule is not None:
        stopped = [node for node in context.nodes if node.phase == Phase.STOPPED]
        _repair_tags(context, plan, [*placed, *stopped])
        sleep(context, plan, schedule, unresolved)
        _say_what_is_awaited(context, plan, placed)
        return plan
    trouble = judge_trouble(context, plan, is_replacing=any(n.was_ready for n in placed if n.instance_id in drifts))
    failed, kept = remove_failed(context, plan, trouble)
    placed = remove_never_served(context, plan, placed, drifts)
    stopped, going = remove_stopped(context, plan)
    placed += stopped
    _repair_tags(context, plan, [*placed, *kept])

    drifted = drifted_nodes(placed, drifts)
    live = len(placed)
    places = live + len(going) + sum(unseen(intent, context.nodes) for intent in unresolved)
    surge = 1 if drifted and context.role.count > 0 else 0

    placed = remove_excess(context, plan, placed, drifts, surge=surge)
    wake(context, plan, placed)
    booting = sum(1 for node in placed if node.phase in BOOTING)
    room = most_under_way(trouble, context.now) - booting - len(failed)
    room = replay(context, plan, unresolved, room=room, spare=places - context.role.count - surge)
    if places < context.role.count:
        launch(context, plan, context.role.count - places, placed, room=room)
    elif surge and drifted_nodes(placed, drifts):  # those that were too many are gone from it
        has_surge = places > context.role.count
        replace_oldest(context, plan, placed, drifts, has_room=room > 0, has_surge=has_surge)
    if trouble is not None and (trouble.is_halted or places < context.role.count or surge or booting or unresolved):
        say_trouble(context, plan, trouble, is_trying=room <= 0)
    _say_what_is_awaited(context, plan, placed)
    _note_settled(context, plan, live, is_certain=not unresolved)
    return plan


def _difference(found: Drift) -> Difference:
    return Difference(field=found.field, live=found.old, wanted=found.new)


def _repair_tags(context: RoleContext, plan: RolePlan, placed: Sequence[Node]) -> None:
    wanted = wanted_tags(context.rules.fleet, context.environment, context.role)
    for node in placed:
        if node.phase == Phase.LOST or node.is_unseen:
            continue
        live = node.instance.tags
        differing = {key: value for key, value in wanted.items() if live.get(key) != value}
        if node.was_ready and tags.READY not in live:
            differing[tags.READY] = context.now.isoformat(timespec="seconds")
        is_unprotected = not context.environment.protected and tags.PROTECTED in live
        if not differing and not is_unprotected:
            continue
        detail = [f"{key}: {live.get(key, 'none')} → {value}" for key, value in sorted(differing.items())]
        detail += [f"{tags.PROTECTED}: {live[tags.PROTECTED]} → none"] if is_unprotected else []
        plan.actions.append(
            TagNode(
                environment=context.environment.name,
                role=context.role.name,
                node=node.name,
                instance_id=node.instance_id,
                set=differing,
                remove=(tags.PROTECTED,) if is_unprotected else (),
                reason=context.reason("tags", "; ".join(detail), "tags"),
            )
        )


def _say_what_is_awaited(context: RoleContext, plan: RolePlan, placed: Sequence[Node]) -> None:
    role = context.role.name
    for phase in BOOTING:
        count = sum(1 for node in placed if node.phase == phase)
        if count:
            plan.wait(role, f"{count} {'node' if count == 1 else 'nodes'} {phase}")
    if any(node.phase == Phase.TERMINATING for node in context.nodes):
        plan.wait(role, "nodes terminating")
    plan.stalls.extend(lost_stall(node, context.rules) for node in placed if node.phase == Phase.LOST)


def _note_settled(context: RoleContext, plan: RolePlan, live: int, *, is_certain: bool) -> None:
    """How many nodes a commit asked for and got. It grows with them, so that going back on a commit half done is seen
    as a commit's doing; it falls only when no more are there."""
    count, settled = context.role.count, context.memory.settled.get(context.key)
    is_exact = is_certain and live == count
    if settled != count and (is_exact or min(live, count) > (settled or 0)):
        plan.facts.append(
            RoleSettled(environment=context.environment.name, role=context.role.name, count=min(live, count))
        )
