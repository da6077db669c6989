"""The policy of the settings: what a file asks for beyond it does not come; what was there is healed.

Held are launches beyond the count that a role has held, and, where an environment is itself to blame, replacements, and
launches in a shape that the policy is against. A shape that some node of the role has, or had when it was launched, was
allowed once: its nodes come back. What all environments ask for together holds growth alone, for a replacement in one
is nobody else's fault.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from reconciler.model import tags
from reconciler.model.actions import Action, LaunchNodes, ReplaceNode, TerminateNode
from reconciler.model.findings import Shape, Violation
from reconciler.model.memory import Cause, IntentState
from reconciler.model.names import RoleName
from reconciler.model.observed import Phase
from reconciler.model.plan import Blocked, EnvironmentPlan, Guard
from reconciler.plan.context import Context
from reconciler.plan.drift import live_fields
from reconciler.plan.holds import asked_by
from reconciler.plan.intents import unseen
from reconciler.plan.role_context import PLACED

# Of these a live instance shows the digest alone, under the name of the first.
_DIGESTED: Final = ("user_data", "key_name", "root_volume")
# Which of the declared subnets a node is in does not make it another kind of node.
_WHOLE: Final = ("image", "security_groups", "instance_profile", "instance_type", "user_data")


def policy(plan: EnvironmentPlan, context: Context) -> Iterable[Blocked]:
    """Holds what the policy is against, and says which of its bounds are the reason."""
    declared = context.desired.environments.get(plan.name)
    if not plan.is_declared or declared is None or not declared.violations:
        return
    own = [one for one in declared.violations if not one.is_total]
    present, held, because = _present(plan, context), list[Action](), set[Violation]()
    for action in plan.actions:
        against = list[Violation]()
        if isinstance(action, ReplaceNode):
            against += own
        elif isinstance(action, LaunchNodes):
            against += _against_shape(action, own, context)
            present[action.role] += action.count
            if present[action.role] > context.memory.settled.get((plan.name, action.role), 0):
                against += declared.violations
        if against:
            held.append(action)
            because.update(against)
    if not held:
        return
    first, *others = (one.finding for one in declared.violations if one in because)
    more = f" (and {len(others)} more)" if others else ""
    yield Blocked(
        guard=Guard.POLICY,
        message=f"{first.origin}: {first.message}{more}",
        remedy="correct the file, or change policy in hivequeen.yml",
        actor=asked_by(plan, context),
        actions=(*held, *_staying(plan, held)),
    )


def _present(plan: EnvironmentPlan, context: Context) -> Counter[RoleName]:
    """The places that are filled: by nodes that stay, and by launches that may have made some."""
    leaving = {action.instance_id for action in plan.actions if isinstance(action, TerminateNode)}
    nodes = [node for node in context.environment(plan.name).nodes if node.instance_id not in leaving]
    present = Counter(node.role for node in nodes if node.phase in (*PLACED, Phase.STOPPED))
    for intent in context.open_intents.get(plan.name, ()):
        present[intent.role] += unseen(intent, [node for node in nodes if node.role == intent.role])
    return present


def _staying(plan: EnvironmentPlan, held: Sequence[Action]) -> Iterator[TerminateNode]:
    """Nodes that boot go for drift because others come in their place: where none comes, as many stay."""
    ids = {id(action) for action in held}
    launches = [action for action in plan.actions if isinstance(action, LaunchNodes)]
    going = {action.role for action in launches if id(action) not in ids}
    places = Counter[RoleName]()
    for launch in launches:
        if launch.role not in going:
            places[launch.role] += launch.count
    for action in plan.actions:
        if not isinstance(action, TerminateNode) or action.cause is not Cause.NEVER_READY or not action.change:
            continue
        if places[action.role] > 0:
            places[action.role] -= 1
            yield action


# --- shapes ---------------------------------------------------------------------------------------------------------


def _against_shape(launch: LaunchNodes, violations: Iterable[Violation], context: Context) -> Iterator[Violation]:
    known = tuple(_known(launch, context))
    for violation in violations:
        if any(_is_new(shape, launch, known) for shape in violation.shapes):
            yield violation


def _is_new(shape: Shape, launch: LaunchNodes, known: Collection[Mapping[str, str]]) -> bool:
    """Whether a node would come in this shape that none of the known ones has."""
    if shape.role != launch.role:
        return False
    field = _DIGESTED[0] if shape.field in _DIGESTED else shape.field
    for coming in _coming(launch):
        # Of what reaches Chef alone a launch says nothing: there is no such shape.
        wanted = {name: coming[name] for name in ([field] if field else _WHOLE) if name in coming}
        is_meant = shape.value in ("", wanted.get(field))
        if wanted and is_meant and not any(wanted.items() <= one.items() for one in known):
            return True
    return False


def _coming(launch: LaunchNodes) -> Iterator[Mapping[str, str]]:
    """What its nodes would be, by the names that drift uses."""
    for batch in launch.batches:
        yield {
            "image": launch.image,
            "security_groups": " ".join(sorted(launch.declared.security_groups)),
            "instance_profile": launch.declared.instance_profile or "",
            "instance_type": batch.instance_type,
            "subnets": batch.subnet,
            "user_data": launch.tags[tags.SPEC],
        }


def _known(launch: LaunchNodes, context: Context) -> Iterator[Mapping[str, str]]:
    """What nodes of the role are, and were launched as; dead ones for as long as they are remembered."""
    for node in context.environment(launch.environment).nodes:
        if node.role == launch.role:
            yield from (live_fields(node.instance), node.launched_with)
    for intent in context.memory.intents.values():
        is_its = (intent.environment, intent.role) == (launch.environment, launch.role)
        if is_its and intent.state in (IntentState.OPEN, IntentState.LAUNCHED):
            yield intent.parameters.fields
