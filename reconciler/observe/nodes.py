"""One node: what EC2, the journal and Chef know of it together, and the phase that follows."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from reconciler.model import tags
from reconciler.model.deadlines import deadline
from reconciler.model.desired import Desired
from reconciler.model.facts import Fact, NodeFailed, NodeOdd, NodeReady, NodeSeen
from reconciler.model.memory import Intent, IntentState, NodeRecord, suspension_of
from reconciler.model.names import EnvironmentName, ImageId
from reconciler.model.observed import Instance, InstanceState, Node, Phase
from reconciler.model.rules import Rules
from reconciler.model.schedule import is_asleep, last_start
from reconciler.observe.reading import Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a node is judged by."""

    reading: Reading  # with its intents settled
    desired: Desired
    rules: Rules


def node_of(evidence: Evidence, instance: Instance, record: NodeRecord) -> Node:
    """A node that EC2 shows."""
    chef = evidence.reading.chef_nodes.get(record.name)
    intent = _intent_of(evidence, record)
    is_launched_here = _is_launched_here(intent, record)
    # "Launch more like this" copies every tag of ours: what another instance earned is not its own.
    is_copy = intent is not None and not is_launched_here
    ready_tag = None if is_copy else instance.tags.get(tags.READY)
    ready_at = record.ready_at or ready_tag or (chef and chef.ohai_time)
    node = Node(
        name=record.name,
        environment=record.environment,
        role=record.role,
        # EC2 tells the last start: one that was stopped and started again is no newcomer.
        instance=replace(instance, launched_at=min(instance.launched_at, record.launched_at)),
        phase=Phase.RUNNING,
        was_ready=bool(ready_at),
        chef=chef,
        has_client=record.registered_at is not None or record.name in evidence.reading.chef_clients,
        launched_with=intent.parameters.fields if intent is not None and is_launched_here else {},
        odd_since=record.odd_since,
        # An instance older than this journal has none.
        deadline_at=None if ready_at or intent is None else _deadline(evidence, instance, record),
    )
    phase, why = _phase(evidence, node, record, started_at=instance.launched_at)
    return replace(
        node,
        phase=phase,
        why_failed=why,
        is_stale=_is_stale(evidence, node, phase),
        odd_since=_odd_since(evidence, node, phase, record),
        failed_at=_failed_at(evidence, phase, record),
    )


def unlisted_node(evidence: Evidence, record: NodeRecord, phase: Phase) -> Node:
    """A node that EC2 does not show, from what the journal knows of it."""
    intent = _intent_of(evidence, record)
    launched = intent.parameters if intent is not None else None
    instance = Instance(
        instance_id=record.instance_id,
        state=InstanceState.PENDING,
        image=launched.image if launched else ImageId(""),
        instance_type=launched.instance_type if launched else "",
        subnet=launched.subnet if launched else None,
        security_groups=frozenset(launched.security_groups) if launched else frozenset(),
        instance_profile=launched.instance_profile if launched else None,
        private_address=None,
        launched_at=record.launched_at,
        tags=dict(launched.tags) if launched else {},
    )
    if record.intent is not None:
        instance = replace(instance, tags={**instance.tags, tags.INTENT: record.intent})
    return Node(
        name=record.name,
        environment=record.environment,
        role=record.role,
        instance=instance,
        phase=phase,
        was_ready=record.ready_at is not None,
        is_unseen=phase == Phase.PENDING,
        chef=evidence.reading.chef_nodes.get(record.name),
        has_client=record.registered_at is not None,
        launched_with=launched.fields if launched else {},
        odd_since=record.odd_since,
    )


def marks(node: Node, record: NodeRecord) -> Iterator[Fact]:
    """What the journal should learn of it: marks that are new, and marks that are wrong by now."""
    is_cleared = (record.odd_since and not node.odd_since) or (record.failed_at and not node.failed_at)
    if is_cleared:
        yield NodeSeen(record=replace(record, odd_since=None, missing_since=None, failed_at=node.failed_at))
    if node.odd_since and (is_cleared or not record.odd_since):
        yield NodeOdd(instance_id=record.instance_id)
    if node.failed_at and not record.failed_at:
        yield NodeFailed(instance_id=record.instance_id)
    if node.phase == Phase.READY and record.ready_at is None:
        yield NodeReady(instance_id=record.instance_id)


def is_ours(evidence: Evidence, instance: Instance) -> bool:
    """An instance that was given to another fleet is as much out of our hands as one without the tag."""
    return instance.tags.get(tags.FLEET) == evidence.rules.fleet


def never_served(evidence: Evidence, instance: Instance, record: NodeRecord) -> bool:
    """One of our launches that was never ready."""
    chef = evidence.reading.chef_nodes.get(record.name)
    was_ready = record.ready_at or tags.READY in instance.tags or (chef and chef.ohai_time)
    return not was_ready and _is_launched_here(_intent_of(evidence, record), record)


def _failed_at(evidence: Evidence, phase: Phase, record: NodeRecord) -> datetime | None:
    """The first sighting as failed. What boots or serves after all has not failed: its deadline was moved."""
    if phase == Phase.FAILED:
        return record.failed_at or evidence.reading.at
    return None if phase in (Phase.PENDING, Phase.RUNNING, Phase.REGISTERED, Phase.READY) else record.failed_at


def _phase(  # noqa: PLR0911  a decision table reads best as one
    evidence: Evidence, node: Node, record: NodeRecord, *, started_at: datetime
) -> tuple[Phase, str]:
    """The phase, and why it failed where it did."""
    state, at = node.instance.state, evidence.reading.at
    match state:
        case _ if not is_ours(evidence, node.instance):
            return Phase.LOST, ""
        case InstanceState.SHUTTING_DOWN:
            return Phase.TERMINATING, ""
        case InstanceState.STOPPING | InstanceState.STOPPED:
            return Phase.STOPPED, ""
        case _ if node.was_ready:
            return Phase.READY, ""
        case _ if record.first_run_ok is False:
            last = record.first_run_log.strip().splitlines()[-1:] or ["no log came with it"]
            return Phase.FAILED, f"its first Chef run failed: {last[0]}"
        case _ if node.deadline_at is not None and at >= node.deadline_at and _is_known_not_ready(evidence, record):
            minutes = int(evidence.rules.bootstrap_deadline.total_seconds() // 60)
            step = "registered, but its first Chef run never succeeded" if node.has_client else "it never registered"
            return Phase.FAILED, f"not ready within {minutes} min: {step}"
        case InstanceState.PENDING if (
            node.deadline_at is not None and at - started_at >= evidence.rules.launch_deadline
        ):
            minutes = int(evidence.rules.launch_deadline.total_seconds() // 60)
            return Phase.FAILED, f"still pending after {minutes} min"
        case InstanceState.PENDING:
            return Phase.PENDING, ""
        case _ if node.has_client:
            return Phase.REGISTERED, ""
        case _:
            return Phase.RUNNING, ""


def _is_known_not_ready(evidence: Evidence, record: NodeRecord) -> bool:
    """Chef was asked for it by name, now or when it was first called failed."""
    return record.failed_at is not None or record.name in evidence.reading.chef_asked


def _deadline(evidence: Evidence, instance: Instance, record: NodeRecord) -> datetime:
    return deadline(
        launched_at=instance.launched_at,
        deferred_at=record.deferred_at,
        sighted_again_at=evidence.reading.memory.sighted_again_at,
        blindnesses=evidence.reading.memory.blindnesses,
        bootstrap_s=evidence.rules.bootstrap_deadline.total_seconds(),
    )


def _is_stale(evidence: Evidence, node: Node, phase: Phase) -> bool:
    """Ready once, but not heard of for long; or older than this journal and never seen ready."""
    if phase == Phase.READY:
        heard = node.chef.ohai_time if node.chef is not None else None
        return heard is None or evidence.reading.at.timestamp() - heard > evidence.rules.stale_after.total_seconds()
    return node.deadline_at is None and phase in (Phase.RUNNING, Phase.REGISTERED)


def _odd_since(evidence: Evidence, node: Node, phase: Phase, record: NodeRecord) -> datetime | None:
    """Since when it is unwanted, or stopped though it should run. None while nothing of its environment may be done."""
    declared, at = evidence.desired.environments.get(node.environment), evidence.reading.at
    if _is_left_alone(evidence, node.environment):
        return None
    if _is_unwanted(evidence, node):
        return record.odd_since or at
    if phase != Phase.STOPPED or declared is None:
        return None
    schedule = declared.lifetime.schedule
    if schedule is None:
        return record.odd_since or at
    # Nobody stopped it by hand. Converging tells when EC2 was first asked to start it: that counts until it sleeps.
    asked_at = record.odd_since
    is_of_today = asked_at is not None and asked_at >= last_start(schedule, at) and not is_asleep(schedule, at)
    return asked_at if is_of_today else None


def _is_left_alone(evidence: Evidence, environment: EnvironmentName) -> bool:
    """Its file cannot be trusted, or somebody suspended it: what is odd meanwhile nobody could mend."""
    declared, memory = evidence.desired.environments.get(environment), evidence.reading.memory
    is_suspended = suspension_of(environment, memory.suspensions, evidence.reading.at) is not None
    return environment in evidence.desired.frozen or is_suspended or (declared is not None and declared.suspend)


def _is_unwanted(evidence: Evidence, node: Node) -> bool:
    """Nobody asks for it, or ever did. What a commit ends needs no age, and may be wanted again: no mark is for it."""
    declared = evidence.desired.environments.get(node.environment)
    if declared is not None:
        return node.role not in declared.roles
    return node.environment not in evidence.reading.memory.environments


def _intent_of(evidence: Evidence, record: NodeRecord) -> Intent | None:
    return evidence.reading.memory.intents.get(record.intent) if record.intent else None


def _is_launched_here(intent: Intent | None, record: NodeRecord) -> bool:
    return intent is not None and (intent.state == IntentState.OPEN or record.instance_id in intent.instance_ids)
