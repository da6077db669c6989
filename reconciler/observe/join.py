"""Joining the readings by instance id. Pure: the same readings give the same observation and the same facts.

What is merely unseen is never called gone: a known instance that no listing shows is looked for by id, and only the
state `terminated`, or an hour of NotFound, ends it.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from reconciler.model import tags
from reconciler.model.desired import Desired
from reconciler.model.facts import Fact, NodeForgotten, NodeGone, NodeMissing, NodeSeen
from reconciler.model.memory import Memory, NodeRecord
from reconciler.model.names import (
    EnvironmentName,
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
from reconciler.observe.generated import Generated, generated
from reconciler.observe.intents import settle_intents
from reconciler.observe.nodes import Evidence, is_ours, marks, never_served, node_of, unlisted_node
from reconciler.observe.reading import Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    observed: Observed
    memory: Memory  # as recalled, with the intents that this reading settled
    facts: tuple[Fact, ...]  # to be recorded before anything acts


@dataclass(slots=True)
class _Join:
    evidence: Evidence
    generated: Generated
    nodes: dict[EnvironmentName, list[Node]] = field(default_factory=lambda: defaultdict(list))
    departed: dict[EnvironmentName, list[Departed]] = field(default_factory=lambda: defaultdict(list))
    foreign: list[Foreign] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)


def join(reading: Reading, desired: Desired, rules: Rules) -> Joined:
    """Everything that exists, by environment, and what the journal should learn from it."""
    intents, launched = settle_intents(reading)
    reading = replace(reading, memory=replace(reading.memory, intents=intents))
    evidence = Evidence(reading=reading, desired=desired, rules=rules)
    work = _Join(evidence=evidence, generated=generated(reading, rules.fleet), facts=[*launched])
    for instance in sorted({**reading.listed, **reading.by_id}.values(), key=lambda i: (i.launched_at, i.instance_id)):
        _join_instance(work, instance)
    for record in sorted(reading.memory.nodes.values(), key=lambda r: (r.launched_at, r.instance_id)):
        if record.instance_id not in reading.listed and record.instance_id not in reading.by_id:
            _join_unlisted(work, record)
    if reading.names is None:
        work.foreign.extend([*work.generated.copies, *_strangers(work)])
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
        memory=reading.memory,
        facts=tuple(work.facts),
    )


# --- instances ------------------------------------------------------------------------------------------------------


def _join_instance(work: _Join, instance: Instance) -> None:
    record = work.evidence.reading.memory.nodes.get(instance.instance_id)
    if record is None:
        record = _adopt(work, instance)
        if record is None:
            return
    elif (record.missing_since or record.gone_at) and not instance.is_dead and is_ours(work.evidence, instance):
        record = replace(record, missing_since=None, gone_at=None)  # whatever made us think so, it lives
        work.facts.append(NodeSeen(record=record))
    if not _in_scope(work, record.environment):
        return  # its tags were edited by hand; it is repaired where it belongs
    if instance.state == InstanceState.TERMINATED:
        if record.gone_at is None:
            work.facts.append(NodeGone(instance_id=record.instance_id))
        _depart(work, record, instance)
        return
    node = node_of(work.evidence, instance, record)
    work.nodes[record.environment].append(node)
    work.facts.extend(marks(node, record))


def _adopt(work: _Join, instance: Instance) -> NodeRecord | None:
    """A record for an owned instance that the journal does not know; None where there is nothing to keep of it."""
    reading, environment, role = work.evidence.reading, instance.environment or "", instance.role or ""
    if not is_environment_name(environment) or not is_role_name(role):
        if not instance.is_dead:
            message = f"it carries {tags.FLEET} but no environment and role that we could have given it"
            work.foreign.append(Foreign(kind="instance", name=instance.instance_id, environment=None, message=message))
        return None
    name = node_name(EnvironmentName(environment), RoleName(role), instance.instance_id)
    left_in_chef = name in reading.chef_nodes or name in reading.chef_clients
    if instance.state == InstanceState.TERMINATED and not left_in_chef:
        return None  # EC2 lists the dead for an hour
    record = NodeRecord(
        instance_id=instance.instance_id,
        environment=EnvironmentName(environment),
        role=RoleName(role),
        name=name,
        intent=instance.intent,
        launched_at=instance.launched_at,
        seen_at=reading.at,
    )
    if _in_scope(work, record.environment):
        work.facts.append(NodeSeen(record=record))
    return record


def _join_unlisted(work: _Join, record: NodeRecord) -> None:
    """Remembered, but no listing and no look by id shows it."""
    reading = work.evidence.reading
    if not _in_scope(work, record.environment):
        return
    if record.gone_at is not None:
        _depart(work, record)
    elif record.instance_id not in reading.asked:  # just launched: EC2 lags
        work.nodes[record.environment].append(unlisted_node(work.evidence, record, Phase.PENDING))
    elif record.missing_since is not None and reading.at - record.missing_since >= NOT_FOUND_PROOF:
        work.facts.append(NodeGone(instance_id=record.instance_id))
        _depart(work, record)
    else:
        if record.missing_since is None:
            work.facts.append(NodeMissing(instance_id=record.instance_id))
        work.nodes[record.environment].append(unlisted_node(work.evidence, record, Phase.LOST))


def _depart(work: _Join, record: NodeRecord, instance: Instance | None = None) -> None:
    evidence, reading = work.evidence, work.evidence.reading
    departed = Departed(
        name=record.name,
        environment=record.environment,
        role=record.role,
        instance_id=record.instance_id,
        has_chef_node=record.name in reading.chef_nodes,
        has_client=record.name in reading.chef_clients,
        launched_at=instance.launched_at if instance and never_served(evidence, instance, record) else None,
    )
    if departed.has_chef_node or departed.has_client:
        work.departed[record.environment].append(departed)
    elif record.gone_at is not None and record.environment not in reading.unreadable:
        work.facts.append(NodeForgotten(instance_id=record.instance_id))
    else:
        # Seen gone only now: what is left of it in Chef is read by name in the next pass, then it is forgotten.
        work.departed[record.environment].append(departed)


# --- environments ---------------------------------------------------------------------------------------------------


def _in_scope(work: _Join, environment: EnvironmentName) -> bool:
    names = work.evidence.reading.names
    return names is None or environment in names


def _names(work: _Join) -> set[EnvironmentName]:
    reading = work.evidence.reading
    if reading.names is not None:
        return set(reading.names)
    known = {*work.evidence.desired.names, *reading.memory.environments}
    return {*known, *work.nodes, *work.departed, *work.generated.names}


def _environment(work: _Join, name: EnvironmentName) -> ObservedEnvironment:
    reading, declared = work.evidence.reading, work.evidence.desired.environments.get(name)
    chef_name = declared.chef_environment_name if declared is not None else name
    in_the_way = {
        role.name: role
        for declared_role in (declared.roles if declared is not None else ())
        if (role := reading.chef_roles.get(chef_role_name(name, declared_role))) is not None
    }
    return ObservedEnvironment(
        name=name,
        fleet=work.evidence.rules.fleet,
        nodes=tuple(sorted(work.nodes.get(name, ()), key=lambda n: (n.instance.launched_at, n.instance_id))),
        departed=tuple(work.departed.get(name, ())),
        chef_environment=reading.chef_environments.get(chef_name),
        chef_roles=work.generated.roles.get(name, {}) | in_the_way,
    )


def _strangers(work: _Join) -> Iterator[Foreign]:
    """Chef nodes and clients that are named like ours, without an instance that we ever saw: reported, never touched."""
    reading, declared = work.evidence.reading, work.evidence.desired.names
    known = {record.name for record in reading.memory.nodes.values()}
    known |= {node.name for nodes in work.nodes.values() for node in nodes}
    known |= {departed.name for all_of_one in work.departed.values() for departed in all_of_one}
    for kind, found in (("chef node", reading.chef_nodes), ("chef client", reading.chef_clients)):
        for name in sorted(found):
            parts = split_node_name(name)
            if parts is not None and name not in known and parts[0] in declared:
                message = f"it is named like a node of {parts[0]}, but no instance of ours was ever seen for it"
                yield Foreign(kind=kind, name=name, environment=parts[0], message=message)
