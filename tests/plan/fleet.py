"""A fleet that does what it is told, at once and without a fault: plans are carried out on it, and planned again."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import assert_never

from reconciler.model import tags
from reconciler.model.actions import (
    Action,
    DeleteChefClient,
    DeleteChefEnvironment,
    DeleteChefNode,
    DeleteChefRole,
    EnsureChefEnvironment,
    EnsureChefNode,
    EnsureChefRole,
    LaunchNodes,
    ReplaceNode,
    ReplayLaunch,
    StartNode,
    StopNode,
    TagNode,
    TerminateNode,
)
from reconciler.model.desired import Desired
from reconciler.model.facts import (
    EnvironmentEnding,
    Fact,
    ImagePinned,
    IntentEnded,
    OrphanCleared,
    OrphanSighted,
    RoleRecovered,
    RoleSettled,
    RoleTroubled,
    TeardownBegan,
    TeardownEnded,
    TeardownItems,
)
from reconciler.model.memory import (
    Ending,
    Intent,
    IntentState,
    Item,
    KnownEnvironment,
    LaunchParameters,
    Memory,
    Termination,
)
from reconciler.model.names import ChefName, EnvironmentName, IntentToken, NodeName, RoleName, node_name, node_run_list
from reconciler.model.observed import (
    ChefNode,
    Departed,
    Instance,
    InstanceState,
    Node,
    ObservedEnvironment,
    Phase,
)
from reconciler.model.plan import Plan
from reconciler.model.rules import PRUNE_WINDOW, Rules
from reconciler.plan import Context, guard, plan
from tests.plan.builders import NOW, RULES, bare, instance_id, memory, observed

_NEXT = {Phase.PENDING: Phase.RUNNING, Phase.RUNNING: Phase.REGISTERED, Phase.REGISTERED: Phase.READY}


@dataclass
class Fleet:
    """Everything there is, and time, which moves by a pass's interval."""

    desired: Desired
    worlds: dict[EnvironmentName, ObservedEnvironment] = field(default_factory=dict)
    memory: Memory = field(default_factory=memory)
    now: datetime = NOW
    number: int = 10_000  # of the next instance
    fails: int = 0  # so many of the next newcomers never become ready
    rules: Rules = RULES
    is_guarded: bool = False
    receipts: dict[EnvironmentName, dict[Item, datetime | None]] = field(default_factory=dict)  # of what has ended

    def commit(self, desired: Desired) -> None:
        self.desired = desired

    def plan(self) -> Plan:
        known = dict(self.memory.environments)
        for name in self.desired.declared:
            known[name] = KnownEnvironment(name=name, declared_by=self.desired.revision)
        self.memory = replace(self.memory, environments=known)
        context = Context(
            desired=self.desired,
            observed=observed(*self.worlds.values(), at=self.now),
            memory=self.memory,
            rules=self.rules,
            now=self.now,
        )
        made = plan(context)
        return guard(made, context) if self.is_guarded else made

    def settle(self, *, passes: int = 60, every: timedelta = timedelta(minutes=1)) -> list[Plan]:
        """Carry plans out until there is nothing to do or to wait for; the plans that did or awaited something."""
        made: list[Plan] = []
        for _ in range(passes):
            one = self.plan()
            if all(e.is_converged and not e.facts for e in one.environments):
                return made
            made.append(one)
            self.carry_out(one)
            self.tick(every)
        raise AssertionError(f"it has not converged in {passes} passes: {made[-1]}")

    def nodes(self, name: str, role: str) -> list[Node]:
        world = self.worlds.get(EnvironmentName(name))
        return [node for node in world.nodes if node.role == role and node.phase != Phase.TERMINATING] if world else []

    # --- time -------------------------------------------------------------------------------------------------------

    def tick(self, by: timedelta) -> None:
        self.now += by
        self.worlds = {name: self._age(world) for name, world in self.worlds.items()}

    def _age(self, world: ObservedEnvironment) -> ObservedEnvironment:
        left = [d for d in world.departed if d.has_chef_node or d.has_client]
        nodes = []
        for node in world.nodes:
            if node.phase == Phase.TERMINATING:
                left.append(_departed(node))
            else:
                nodes.append(self._grow(node))
        return replace(world, nodes=tuple(nodes), departed=tuple(left))

    def _grow(self, node: Node) -> Node:
        is_wanted = node.environment in self.desired.environments and (
            node.role in self.desired.environments[node.environment].roles
        )
        is_odd = node.phase == Phase.STOPPED or (node.environment not in self.desired.names) or not is_wanted
        node = replace(node, odd_since=(node.odd_since or self.now) if is_odd else None)
        if node.phase not in _NEXT or node.is_unseen:
            return replace(node, is_unseen=False)
        phase = _NEXT[node.phase]
        if phase == Phase.READY and node.why_failed:
            return replace(node, phase=Phase.FAILED, failed_at=self.now)
        instance = replace(node.instance, state=InstanceState.RUNNING)
        node = replace(node, phase=phase, instance=instance, has_client=phase in (Phase.REGISTERED, Phase.READY))
        if phase != Phase.READY:
            return node
        chef = ChefNode(
            name=node.name,
            chef_environment=ChefName(node.environment),
            run_list=node_run_list(node.environment, node.role),
            ohai_time=self.now.timestamp(),
        )
        return replace(node, was_ready=True, chef=chef)

    # --- acting -----------------------------------------------------------------------------------------------------

    def carry_out(self, made: Plan) -> None:
        for one in made.environments:
            for fact in one.facts:
                self._remember(fact)
            for action in one.actions:
                if isinstance(action, TerminateNode):
                    self._ask(action)
                world = self.worlds.get(one.name) or bare(one.name)
                self.worlds[one.name] = self._act(world, action)

    def _ask(self, action: TerminateNode) -> None:
        asked = Termination(
            instance_id=action.instance_id, environment=action.environment, cause=action.cause, at=self.now
        )
        lately = [one for one in self.memory.terminations if self.now - one.at < PRUNE_WINDOW]
        self.memory = replace(self.memory, terminations=(*lately, asked))

    def _act(self, world: ObservedEnvironment, action: Action) -> ObservedEnvironment:  # noqa: C901, PLR0911, PLR0912  the closed set, in one place
        match action:
            case EnsureChefEnvironment():
                return replace(world, chef_environment=action.wanted)
            case EnsureChefRole():
                return replace(world, chef_roles={**world.chef_roles, action.wanted.name: action.wanted})
            case EnsureChefNode():
                return _change(world, action.node, lambda node: _put_in_chef(node, action))
            case TagNode():
                return _change(world, action.node, lambda node: _retag(node, action))
            case StopNode() | StartNode():
                raise AssertionError(f"nobody asked for {action.name}")
            case TerminateNode():
                return _change(world, action.node, _terminate)
            case LaunchNodes():
                return self._launch(world, action)
            case ReplaceNode():
                return self._launch(world, action.launch)
            case ReplayLaunch():
                return self._replay(world, action.intent)
            case DeleteChefNode() | DeleteChefClient():
                return _forget(world, action)
            case DeleteChefRole():
                kept = {name: role for name, role in world.chef_roles.items() if name != action.chef_role}
                return replace(world, chef_roles=kept)
            case DeleteChefEnvironment():
                return replace(world, chef_environment=None)
            case _ as unreachable:
                assert_never(unreachable)

    def _launch(self, world: ObservedEnvironment, action: LaunchNodes) -> ObservedEnvironment:
        for batch in action.batches:
            self.number += 1
            token = IntentToken(f"hq-{self.number}")
            parameters = LaunchParameters(
                image=action.image,
                instance_type=batch.instance_type,
                subnet=batch.subnet,
                count=batch.count,
                security_groups=tuple(sorted(action.declared.security_groups)),
                instance_profile=action.declared.instance_profile,
                key_name=None,
                root_volume_size_gib=None,
                root_volume_type=None,
                user_data="",
                tags=tuple(sorted({**action.tags, tags.INTENT: token}.items())),
            )
            world = self._make(world, action.role, parameters)
        return world

    def _replay(self, world: ObservedEnvironment, intent: Intent) -> ObservedEnvironment:
        settled = replace(intent, state=IntentState.LAUNCHED)
        self.memory = replace(self.memory, intents={**self.memory.intents, intent.token: settled})
        return self._make(world, intent.role, intent.parameters)

    def _make(self, world: ObservedEnvironment, role: RoleName, parameters: LaunchParameters) -> ObservedEnvironment:
        made = []
        for _ in range(parameters.count):
            self.number += 1
            is_bad, self.fails = self.fails > 0, max(0, self.fails - 1)
            instance = Instance(
                instance_id=instance_id(self.number),
                state=InstanceState.PENDING,
                image=parameters.image,
                instance_type=parameters.instance_type,
                subnet=parameters.subnet,
                security_groups=frozenset(parameters.security_groups),
                instance_profile=parameters.instance_profile,
                private_address=None,
                launched_at=self.now,
                tags={key: value for key, value in parameters.tags if key != tags.READY},
            )
            made.append(
                Node(
                    name=node_name(world.name, role, instance.instance_id),
                    environment=world.name,
                    role=role,
                    instance=instance,
                    phase=Phase.PENDING,
                    why_failed="its first Chef run failed" if is_bad else "",
                    launched_with=_launched_with(parameters),
                )
            )
        return replace(world, nodes=(*world.nodes, *made))

    def _remember(self, fact: Fact) -> None:
        known = self.memory
        match fact:
            case RoleSettled():
                known = replace(known, settled={**known.settled, (fact.environment, fact.role): fact.count})
            case ImagePinned():
                known = replace(known, pins={**known.pins, (fact.environment, fact.role): fact.pin})
            case RoleTroubled(trouble=trouble):
                known = replace(known, troubles={**known.troubles, (trouble.environment, trouble.role): trouble})
            case RoleRecovered():
                key = (fact.environment, fact.role)
                known = replace(known, troubles={k: v for k, v in known.troubles.items() if k != key})
            case IntentEnded():
                known = replace(known, intents={k: v for k, v in known.intents.items() if k != fact.token})
            case OrphanSighted(item=item):
                known = replace(known, orphans={**known.orphans, item: self.now})
            case OrphanCleared(item=item):
                known = replace(known, orphans={one: at for one, at in known.orphans.items() if one != item})
            case EnvironmentEnding() | TeardownBegan() | TeardownItems() | TeardownEnded():
                known = self._end(known, fact)
            case _:
                raise AssertionError(f"planning concluded {fact}")
        self.memory = known

    def _end(self, known: Memory, fact: EnvironmentEnding | TeardownBegan | TeardownItems | TeardownEnded) -> Memory:
        name, before = fact.environment, known.environments[fact.environment]
        match fact:
            case EnvironmentEnding():
                began = Ending(
                    cause=fact.cause, at=self.now, revision=fact.revision, author=fact.author, file=fact.file
                )
                after = replace(before, ending=began)
            case TeardownBegan():
                after = replace(before, teardown_began_at=self.now)
            case TeardownItems():
                after = _listed(before, fact, self.now)
            case TeardownEnded():
                self.receipts[name] = dict(before.ending.items) if before.ending is not None else {}
                return replace(
                    known,
                    environments={k: v for k, v in known.environments.items() if k != name},
                    settled={k: v for k, v in known.settled.items() if k[0] != name},
                )
        return replace(known, environments={**known.environments, name: after})


def _listed(known: KnownEnvironment, fact: TeardownItems, now: datetime) -> KnownEnvironment:
    assert known.ending is not None
    items: dict[Item, datetime | None] = {item: None for item in fact.found | fact.gone}  # noqa: C420  it types them
    items |= known.ending.items
    items |= {item: items[item] or now for item in fact.gone}
    return replace(known, ending=replace(known.ending, items=items))


def _change(world: ObservedEnvironment, name: NodeName, change: Callable[[Node], Node]) -> ObservedEnvironment:
    return replace(world, nodes=tuple(change(node) if node.name == name else node for node in world.nodes))


def _terminate(node: Node) -> Node:
    return replace(node, phase=Phase.TERMINATING, instance=replace(node.instance, state=InstanceState.SHUTTING_DOWN))


def _retag(node: Node, action: TagNode) -> Node:
    kept = {key: value for key, value in node.instance.tags.items() if key not in action.remove}
    return replace(node, instance=replace(node.instance, tags={**kept, **action.set}))


def _put_in_chef(node: Node, action: EnsureChefNode) -> Node:
    assert node.chef is not None
    chef = replace(node.chef, chef_environment=action.chef_environment, run_list=action.run_list)
    return replace(node, chef=chef)


def _departed(node: Node) -> Departed:
    return Departed(
        name=node.name,
        environment=node.environment,
        role=node.role,
        instance_id=node.instance_id,
        has_chef_node=node.chef is not None,
        has_client=node.has_client,
    )


def _forget(world: ObservedEnvironment, action: DeleteChefNode | DeleteChefClient) -> ObservedEnvironment:
    def without(left: Departed) -> Departed:
        if left.name != action.node:
            return left
        if isinstance(action, DeleteChefNode):
            return replace(left, has_chef_node=False)
        return replace(left, has_client=False)

    return replace(world, departed=tuple(without(left) for left in world.departed))


def _launched_with(parameters: LaunchParameters) -> dict[str, str]:
    return {
        "image": parameters.image,
        "security_groups": " ".join(parameters.security_groups),
        "instance_profile": parameters.instance_profile or "",
        "instance_type": parameters.instance_type,
        "subnets": parameters.subnet,
        "user_data": dict(parameters.tags)[tags.SPEC],
    }
