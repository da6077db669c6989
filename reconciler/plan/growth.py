"""The policy of the settings: what a file asks for beyond it does not grow; what was there is healed."""

from collections import Counter
from collections.abc import Iterable

from reconciler.model.actions import Action, LaunchNodes, ReplaceNode, TerminateNode
from reconciler.model.names import RoleName
from reconciler.model.observed import Phase
from reconciler.model.plan import Blocked, EnvironmentPlan, Guard
from reconciler.plan.context import Context
from reconciler.plan.holds import asked_by
from reconciler.plan.intents import unseen
from reconciler.plan.role_context import PLACED


def policy(plan: EnvironmentPlan, context: Context) -> Iterable[Blocked]:
    """Holds what is launched beyond the count that the role has held, and replacements."""
    declared = context.desired.environments.get(plan.name)
    if not plan.is_declared or declared is None or not declared.violations:
        return
    present, held = _present(plan, context), list[Action]()
    for action in plan.actions:
        if isinstance(action, ReplaceNode):
            held.append(action)
        elif isinstance(action, LaunchNodes):
            present[action.role] += action.count
            if present[action.role] > context.memory.settled.get((plan.name, action.role), 0):
                held.append(action)
    if not held:
        return
    first, *others = declared.violations
    more = f" (and {len(others)} more)" if others else ""
    yield Blocked(
        guard=Guard.POLICY,
        message=f"{first.origin}: {first.message}{more}",
        remedy="correct the file, or change policy in hivequeen.yml",
        actor=asked_by(plan, context),
        actions=tuple(held),
    )


def _present(plan: EnvironmentPlan, context: Context) -> Counter[RoleName]:
    """The places that are filled: by nodes that stay, and by launches that may have made some."""
    leaving = {action.instance_id for action in plan.actions if isinstance(action, TerminateNode)}
    nodes = [node for node in context.environment(plan.name).nodes if node.instance_id not in leaving]
    present = Counter(node.role for node in nodes if node.phase in (*PLACED, Phase.STOPPED))
    for intent in context.open_intents.get(plan.name, ()):
        present[intent.role] += unseen(intent, [node for node in nodes if node.role == intent.role])
    return present
