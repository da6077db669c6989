"""Joining the readings by instance id. Pure: the same readings give the same observation and the same facts.

What is merely unseen is never called gone: a known instance that no listing shows is looked for by id, and only the
state `terminated`, or an hour of NotFound, ends it.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from reconciler.model import tags
from reconciler.model.deadlines import deadline
from reconciler.model.desired import Desired
from reconciler.model.facts import Fact, NodeFailed, NodeForgotten, NodeGone, NodeMissing, NodeOdd, NodeReady, NodeSeen
from reconciler.model.memory import Intent, IntentState, LaunchParameters, Memory, NodeRecord
from reconciler.model.names import (
    EnvironmentName,
    ImageId,
    IntentToken,
    RoleName,
    chef_role_name,
    is_environment_name,
    is_role_name,
    node_name,
    split_node_name,
)
from reconciler.model.observed import (
    Departed,
    Foreign,
    Instance,
    InstanceState,
    Node,
    Observed,
    ObservedEnvironment,
    Phase,
)
from reconciler.model.rules import NOT_FOUND_PROOF, Rules
from reconciler.model.schedule import is_asleep
from reconciler.observe.generated import Generated, generated
from reconciler.observe.intents import settle_intents
from reconciler.observe.reading import Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    observed: Observed
    memory: Memory  # as recalled, with the intents that this reading settled
    facts: tuple[Fact, ...]  # to be recorded before anything acts


@dataclass(slots=True)
class _Join:
    reading: Reading
    desired: Desired
    rules: Rules
    intents: Mapping[IntentToken, Intent]  # with those that this reading settled
    generated: Generated
    nodes: dict[EnvironmentName, list[Node]] = field(default_factory=lambda: defaultdict(list))
    departed: dict[EnvironmentName, list[Departed]] = field(default_factory=lambda: defaultdict(list))
    foreign: list[Foreign] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)


def join(reading: Reading, desired: Desired, rules: Rules) -> Joined:
    """Everything that exists, by environment, and what the journal should learn from it."""
    intents, launched = settle_intents(reading)
    of_chef = generated(reading, rules.fleet)
    work = _Join(reading=reading, desired=desired, rules=rules, intents=intents, generated=of_chef, facts=[*launched])
    for instance in sorted({**reading.listed, **reading.by_id}.values(), key=lambda i: (i.launched_at, i.instance_id)):
        _join_instance(work, instance)
    for record in sorted(reading.memory.nodes.values(), key=lambda r: (r.launched_at, r.instance_id)):
        if record.instance_id not in reading.listed and record.instance_id not in reading.by_id:
            _join_unlisted(work, record)
    if reading.names is None:
        work.foreign.extend([*of_chef.copies, *_strangers(work)])
    environments = {name: _environment(work, name) for name in sorted(_names(work))}
    return Joined(
        observed=Observed(
            at=reading.at,
            is_full=reading.names is None,
            environments=environments,
            images=reading.images,
            refreshing=reading.refreshing,
            unresolved=reading.unresolved,
            unreadable=reading.unreadable,
            foreign=tuple(work.foreign),
        ),
        memory=replace(reading.memory, intents=intents),
        facts=tuple(work.facts),
    )


# --- instances ------------------------------------------------------------------------------------------------------


def _join_instance(work: _Join, instance: Instance) -> None:
    record = work.reading.memory.nodes.get(instance.instance_id)
    if record is None:
        record = _adopt(work, instance)
        if record is None:
            return
    elif (record.missing_since or record.gone_at) and not instance.is_dead and _is_ours(work, instance):
        record = replace(record, missing_since=None, gone_at=None)  # whatever made us think so, it lives
        work.facts.append(NodeSeen(record=record))
    if not _in_scope(work, record.environment):
        return  # its tags were edited by hand; it is repaired where it belongs
    if instance.state == InstanceState.TERMINATED:
        if record.gone_at is None:
            work.facts.append(NodeGone(instance_id=record.instance_id))
        _depart(work, record, instance)
        return
    work.nodes[record.environment].append(_node(work, instance, record))


def _adopt(work: _Join, instance: Instance) -> NodeRecord | None:
    """A record for an owned instance that the journal does not know; None where there is nothing to keep of it."""
    environment, role = instance.environment or "", instance.role or ""
    if not is_environment_name(environment) or not is_role_name(role):
        if not instance.is_dead:
            message = f"it carries {tags.FLEET} but no environment and role that we could have given it"
            work.foreign.append(Foreign(kind="instance", name=instance.instance_id, environment=None, message=message))
        return None
    name = node_name(EnvironmentName(environment), RoleName(role), instance.instance_id)
    left_in_chef = name in work.reading.chef_nodes or name in work.reading.chef_clients
    if instance.state == InstanceState.TERMINATED and not left_in_chef:
        return None  # EC2 lists the dead for an hour
    record = NodeRecord(
        instance_id=instance.instance_id,
        environment=EnvironmentName(environment),
        role=RoleName(role),
        name=name,
        intent=instance.intent,
        launched_at=instance.launched_at,
        seen_at=work.reading.at,
    )
    if _in_scope(work, record.environment):
        work.facts.append(NodeSeen(record=record))
    return record


def _join_unlisted(work: _Join, record: NodeRecord) -> None:
    """Remembered, but no listing and no look by id shows it."""
    at = work.reading.at
    if not _in_scope(work, record.environment):
        return
    if record.gone_at is not None:
        _depart(work, record)
    elif record.instance_id not in work.reading.asked:
        work.nodes[record.environment].append(_unlisted(work, record, Phase.PENDING))  # just launched: EC2 lags
    elif record.missing_since is not None and at - record.missing_since >= NOT_FOUND_PROOF:
        work.facts.append(NodeGone(instance_id=record.instance_id))
        _depart(work, record)
    else:
        if record.missing_since is None:
            work.facts.append(NodeMissing(instance_id=record.instance_id))
        work.nodes[record.environment].append(_unlisted(work, record, Phase.LOST))


def _depart(work: _Join, record: NodeRecord, instance: Instance | None = None) -> None:
    departed = Departed(
        name=record.name,
        environment=record.environment,
        role=record.role,
        instance_id=record.instance_id,
        has_chef_node=record.name in work.reading.chef_nodes,
        has_client=record.name in work.reading.chef_clients,
        launched_at=instance.launched_at if instance is not None and _never_served(work, instance, record) else None,
    )
    if departed.has_chef_node or departed.has_client:
        work.departed[record.environment].append(departed)
    elif record.gone_at is not None and record.environment not in work.reading.unreadable:
        work.facts.append(NodeForgotten(instance_id=record.instance_id))
    else:
        # Seen gone only now: what is left of it in Chef is read by name in the next pass, then it is forgotten.
        work.departed[record.environment].append(departed)


def _node(work: _Join, instance: Instance, record: NodeRecord) -> Node:
    chef = work.reading.chef_nodes.get(record.name)
    intent = _intent_of(work, record)
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
        has_client=record.registered_at is not None or record.name in work.reading.chef_clients,
        launched_with=_launched_with(intent.parameters) if intent is not None and is_launched_here else {},
        odd_since=record.odd_since,
        # An instance older than this journal has none.
        deadline_at=None if ready_at or intent is None else _deadline(work, instance, record),
    )
    phase, why = _phase(work, node, record, started_at=instance.launched_at)
    is_odd = _is_unwanted(work, node) or (phase == Phase.STOPPED and not _may_be_stopped(work, node.environment))
    node = replace(
        node,
        phase=phase,
        why_failed=why,
        is_stale=_is_stale(work, node, phase),
        odd_since=(record.odd_since or work.reading.at) if is_odd else None,
        failed_at=_failed_at(work, phase, record),
    )
    _note_marks(work, node, record)
    return node


def _failed_at(work: _Join, phase: Phase, record: NodeRecord) -> datetime | None:
    """The first sighting as failed. What boots or serves after all has not failed: its deadline was moved."""
    if phase == Phase.FAILED:
        return record.failed_at or work.reading.at
    return None if phase in (Phase.PENDING, Phase.RUNNING, Phase.REGISTERED, Phase.READY) else record.failed_at


def _note_marks(work: _Join, node: Node, record: NodeRecord) -> None:
    """What the journal should learn of it: marks that are new, and marks that are wrong by now."""
    is_cleared = (record.odd_since and not node.odd_since) or (record.failed_at and not node.failed_at)
    if is_cleared:
        cleared = replace(record, odd_since=None, missing_since=None, failed_at=node.failed_at)
        work.facts.append(NodeSeen(record=cleared))
    if node.odd_since and (is_cleared or not record.odd_since):
        work.facts.append(NodeOdd(instance_id=record.instance_id))
    if node.failed_at and not record.failed_at:
        work.facts.append(NodeFailed(instance_id=record.instance_id))
    if node.phase == Phase.READY and record.ready_at is None:
        work.facts.append(NodeReady(instance_id=record.instance_id))


def _phase(  # noqa: PLR0911  a decision table reads best as one
    work: _Join, node: Node, record: NodeRecord, *, started_at: datetime
) -> tuple[Phase, str]:
    """The phase, and why it failed where it did."""
    state, at = node.instance.state, work.reading.at
    match state:
        case _ if not _is_ours(work, node.instance):
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
        case _ if node.deadline_at is not None and at >= node.deadline_at:
            minutes = int(work.rules.bootstrap_deadline.total_seconds() // 60)
            step = "registered, but its first Chef run never succeeded" if node.has_client else "it never registered"
            return Phase.FAILED, f"not ready within {minutes} min: {step}"
        case InstanceState.PENDING if node.deadline_at is not None and at - started_at >= work.rules.launch_deadline:
            minutes = int(work.rules.launch_deadline.total_seconds() // 60)
            return Phase.FAILED, f"still pending after {minutes} min"
        case InstanceState.PENDING:
            return Phase.PENDING, ""
        case _ if node.has_client:
            return Phase.REGISTERED, ""
        case _:
            return Phase.RUNNING, ""


def _is_ours(work: _Join, instance: Instance) -> bool:
    """An instance that was given to another fleet is as much out of our hands as one without the tag."""
    return instance.tags.get(tags.FLEET) == work.rules.fleet


def _deadline(work: _Join, instance: Instance, record: NodeRecord) -> datetime:
    return deadline(
        launched_at=instance.launched_at,
        deferred_at=record.deferred_at,
        sighted_again_at=work.reading.memory.sighted_again_at,
        blindnesses=work.reading.memory.blindnesses,
        bootstrap_s=work.rules.bootstrap_deadline.total_seconds(),
    )


def _is_stale(work: _Join, node: Node, phase: Phase) -> bool:
    """Ready once, but not heard of for long; or older than this journal and never seen ready."""
    if phase == Phase.READY:
        heard = node.chef.ohai_time if node.chef is not None else None
        return heard is None or work.reading.at.timestamp() - heard > work.rules.stale_after.total_seconds()
    return node.deadline_at is None and phase in (Phase.RUNNING, Phase.REGISTERED)


def _is_unwanted(work: _Join, node: Node) -> bool:
    """Nobody asks for it, or ever did. What a commit ends needs no age, and may be wanted again: no mark is for it."""
    if node.environment in work.desired.names:
        return _role_is_undeclared(work, node)
    return not _is_ending(work, node.environment)


def _may_be_stopped(work: _Join, environment: EnvironmentName) -> bool:
    """It ends, or its schedule lets it sleep: nobody stopped it by hand, or it does not matter."""
    declared = work.desired.environments.get(environment)
    schedule = declared.lifetime.schedule if declared is not None else None
    return _is_ending(work, environment) or (schedule is not None and is_asleep(schedule, work.reading.at))


def _is_ending(work: _Join, environment: EnvironmentName) -> bool:
    """It is remembered, and no file declares it."""
    return environment not in work.desired.names and environment in work.reading.memory.environments


def _role_is_undeclared(work: _Join, node: Node) -> bool:
    declared = work.desired.environments.get(node.environment)
    return declared is not None and node.role not in declared.roles


def _unlisted(work: _Join, record: NodeRecord, phase: Phase) -> Node:
    """A node that EC2 does not show, from what the journal knows of it."""
    intent = _intent_of(work, record)
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
        chef=work.reading.chef_nodes.get(record.name),
        has_client=record.registered_at is not None,
        launched_with=_launched_with(launched) if launched else {},
        odd_since=record.odd_since,
    )


def _launched_with(parameters: LaunchParameters) -> Mapping[str, str]:
    """By the names that drift uses."""
    return {
        "image": parameters.image,
        "security_groups": " ".join(sorted(parameters.security_groups)),
        "instance_profile": parameters.instance_profile or "",
        "instance_type": parameters.instance_type,
        "subnets": parameters.subnet,
        "user_data": dict(parameters.tags).get(tags.SPEC, ""),
    }


def _never_served(work: _Join, instance: Instance, record: NodeRecord) -> bool:
    """One of our launches that was never ready."""
    chef = work.reading.chef_nodes.get(record.name)
    was_ready = record.ready_at or tags.READY in instance.tags or (chef and chef.ohai_time)
    return not was_ready and _is_launched_here(_intent_of(work, record), record)


def _intent_of(work: _Join, record: NodeRecord) -> Intent | None:
    return work.intents.get(record.intent) if record.intent else None


def _is_launched_here(intent: Intent | None, record: NodeRecord) -> bool:
    return intent is not None and (intent.state == IntentState.OPEN or record.instance_id in intent.instance_ids)


# --- environments ---------------------------------------------------------------------------------------------------


def _in_scope(work: _Join, environment: EnvironmentName) -> bool:
    return work.reading.names is None or environment in work.reading.names


def _names(work: _Join) -> set[EnvironmentName]:
    if work.reading.names is not None:
        return set(work.reading.names)
    known = {*work.desired.names, *work.reading.memory.environments}
    return {*known, *work.nodes, *work.departed, *work.generated.names}


def _environment(work: _Join, name: EnvironmentName) -> ObservedEnvironment:
    declared = work.desired.environments.get(name)
    chef_name = declared.chef_environment_name if declared is not None else name
    in_the_way = {
        role.name: role
        for declared_role in (declared.roles if declared is not None else ())
        if (role := work.reading.chef_roles.get(chef_role_name(name, declared_role))) is not None
    }
    return ObservedEnvironment(
        name=name,
        fleet=work.rules.fleet,
        nodes=tuple(sorted(work.nodes.get(name, ()), key=lambda n: (n.instance.launched_at, n.instance_id))),
        departed=tuple(work.departed.get(name, ())),
        chef_environment=work.reading.chef_environments.get(chef_name),
        chef_roles=work.generated.roles.get(name, {}) | in_the_way,
    )


def _strangers(work: _Join) -> Iterator[Foreign]:
    """Chef nodes and clients that are named like ours, without an instance that we ever saw: reported, never touched."""
    known = {record.name for record in work.reading.memory.nodes.values()}
    known |= {node.name for nodes in work.nodes.values() for node in nodes}
    known |= {departed.name for all_of_one in work.departed.values() for departed in all_of_one}
    for kind, found in (("chef node", work.reading.chef_nodes), ("chef client", work.reading.chef_clients)):
        for name in sorted(found):
            parts = split_node_name(name)
            if parts is not None and name not in known and parts[0] in work.desired.names:
                message = f"it is named like a node of {parts[0]}, but no instance of ours was ever seen for it"
                yield Foreign(kind=kind, name=name, environment=parts[0], message=message)
