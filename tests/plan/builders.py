"""Small worlds for planning: what is not said is in order.

A node is ready and in-spec, an environment's Chef objects are as wanted, the journal knows what it should.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product
from types import MappingProxyType
from typing import Any

from reconciler.model import tags
from reconciler.model.actions import Action
from reconciler.model.commits import Commit
from reconciler.model.desired import Desired, Environment, Frozen, ImageById, Role
from reconciler.model.digest import spec_digest
from reconciler.model.findings import Finding, Origin
from reconciler.model.memory import (
    Approval,
    Cause,
    Ending,
    EndingCause,
    Exhausted,
    Intent,
    IntentState,
    KnownEnvironment,
    LaunchParameters,
    Memory,
    Termination,
    Trouble,
)
from reconciler.model.names import (
    ChefName,
    EnvironmentName,
    FleetId,
    ImageId,
    InstallationId,
    InstanceId,
    IntentToken,
    RevisionId,
    RoleName,
    node_name,
    node_run_list,
)
from reconciler.model.observed import (
    ChefEnvironment,
    ChefNode,
    ChefRole,
    Departed,
    Instance,
    InstanceState,
    Node,
    Observed,
    ObservedEnvironment,
    Phase,
)
from reconciler.model.plan import EnvironmentPlan, Plan
from reconciler.model.rules import Rules
from reconciler.plan import Context, guard, plan
from reconciler.plan.chef import wanted_environment, wanted_role
from reconciler.plan.drift import wanted_tags
from reconciler.plan.guard import digest
from tests.fakes.clock import BEGAN

NOW = BEGAN
FLEET = FleetId("demo")
OTHER_FLEET = FleetId("other")
REVISION = RevisionId("5" * 40)
CHECKOUT = EnvironmentName("checkout")
WEB = RoleName("web")
IMAGE = ImageId("ami-0123456789abcdef0")
NEW_IMAGE = ImageId("ami-0fedcba9876543210")
RULES = Rules(fleet=FLEET, teardown_grace=timedelta(0))  # stories of the grace period bring one of their own
GRACIOUS = Rules(fleet=FLEET, teardown_grace=timedelta(minutes=5))
JESSICA = "Jessica <jessica@example.com>"
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)

_STATES = {
    Phase.PENDING: InstanceState.PENDING,
    Phase.STOPPED: InstanceState.STOPPED,
    Phase.TERMINATING: InstanceState.SHUTTING_DOWN,
}


# --- desired --------------------------------------------------------------------------------------------------------


def role(name: str = WEB, count: int = 2, **changes: Any) -> Role:
    made = Role(
        name=RoleName(name),
        count=count,
        run_list=("recipe[app]",),
        attributes={"unicorn": {"workers": 8}},
        image=ImageById(image_id=IMAGE),
        instance_types=("m7i.large", "m6i.large"),
        subnets=("subnet-a", "subnet-b"),
        security_groups=frozenset({"sg-app"}),
        tags=MappingProxyType({"team": "shop"}),
        origins=MappingProxyType(
            {
                key: Origin(file="environments.d/checkout.yml", line=line)
                for line, key in enumerate(("", "count", "image", "run_list", "attributes", "tags"), start=10)
            }
        ),
    )
    return replace(made, **changes)


def environment(name: str = CHECKOUT, roles: Iterable[Role] | None = None, **changes: Any) -> Environment:
    declared = [role()] if roles is None else roles
    made = Environment(
        name=EnvironmentName(name),
        origin=Origin(file=f"environments.d/{name}.yml", line=1),
        project="kickstarter",
        owner="ops@example.com",
        branch="main",
        roles={one.name: one for one in declared},
    )
    return replace(made, **changes)


def desired(*environments: Environment, frozen: Iterable[Frozen] = ()) -> Desired:
    return Desired(
        revision=REVISION,
        environments={one.name: one for one in environments},
        frozen={one.name: one for one in frozen},
        findings=(),
    )


def broken(name: str = CHECKOUT, *, is_trace: bool = False) -> Frozen:
    origin = Origin(file=f"environments.d/{name}.yml", line=7)
    finding = Finding(origin=origin, message='unknown key "run_lsit"', remedy='did you mean "run_list"?')
    return Frozen(name=EnvironmentName(name), findings=(finding,), is_trace=is_trace)


# --- observed -------------------------------------------------------------------------------------------------------


def instance_id(number: int) -> InstanceId:
    return InstanceId(f"i-{number:017x}")


def node(
    number: int,
    *,
    of: Environment | None = None,
    role: Role | None = None,
    phase: Phase = Phase.READY,
    age: timedelta | None = None,
    image: ImageId = IMAGE,
    instance: Mapping[str, Any] = MappingProxyType({}),
    tag: Mapping[str, str | None] = MappingProxyType({}),
    was_launched_as: Mapping[str, str] = MappingProxyType({}),
    is_known: bool = True,
    **changes: Any,
) -> Node:
    """Nodes with higher numbers are younger, if no age is given.

    Args:
        of: its environment as declared when it was launched; `role` likewise.
        instance: fields of its instance that are otherwise now.
        tag: tags that are otherwise now; None: it lacks it.
        was_launched_as: fields of its launch, where they were not what it shows now.
        is_known: our journal knows its launch.
    """
    home = of or environment()
    declared = role or next(iter(home.roles.values()))
    age = age if age is not None else timedelta(days=1) - number * MINUTE
    was_ready = bool(changes.pop("was_ready", phase in (Phase.READY, Phase.STOPPED)))
    live = {
        **wanted_tags(FLEET, home, declared),
        tags.SPEC: spec_digest(declared),
        tags.INTENT: f"hq-{number}",
        tags.REVISION: REVISION,
        **({tags.READY: "2026-10-31T12:00:00+00:00"} if was_ready else {}),
    } | {key: value for key, value in tag.items() if value is not None}
    shown = Instance(
        instance_id=instance_id(number),
        state=_STATES.get(phase, InstanceState.RUNNING),
        image=image,
        instance_type=declared.instance_types[0],
        subnet=declared.subnets[number % len(declared.subnets)],
        security_groups=declared.security_groups,
        instance_profile=declared.instance_profile,
        private_address=f"10.0.0.{number}",
        launched_at=NOW - age,
        tags={key: value for key, value in live.items() if tag.get(key, "") is not None},
    )
    launched_with = {
        "image": str(shown.image),
        "security_groups": " ".join(sorted(shown.security_groups)),
        "instance_profile": shown.instance_profile or "",
        "instance_type": shown.instance_type,
        "subnets": shown.subnet or "",
        "user_data": spec_digest(declared),
    }
    name = node_name(home.name, declared.name, instance_id(number))
    has_run = phase in (Phase.READY, Phase.STOPPED)
    made = Node(
        name=name,
        environment=home.name,
        role=declared.name,
        instance=replace(shown, **instance),
        phase=phase,
        why_failed="not ready within 30 min: it never registered" if phase == Phase.FAILED else "",
        was_ready=was_ready,
        chef=chef_node(home, declared, number) if has_run else None,
        has_client=has_run,
        launched_with=launched_with | dict(was_launched_as) if is_known else {},
    )
    return replace(made, **changes)


def chef_node(home: Environment, role: Role, number: int) -> ChefNode:
    return ChefNode(
        name=node_name(home.name, role.name, instance_id(number)),
        chef_environment=home.chef_environment_name,
        run_list=node_run_list(home.name, role.name),
        ohai_time=NOW.timestamp() - 60,
    )


def departed(number: int, *, of: Environment | None = None, role: str = WEB, **changes: Any) -> Departed:
    home = (of or environment()).name
    made = Departed(
        name=node_name(home, RoleName(role), instance_id(number)),
        environment=home,
        role=RoleName(role),
        instance_id=instance_id(number),
        has_chef_node=True,
        has_client=True,
    )
    return replace(made, **changes)


def generated(home: Environment, *, image: ImageId = IMAGE, fleet: FleetId = FLEET) -> dict[str, Any]:
    """The Chef objects that the environment should have."""
    roles = [wanted_role(fleet, home, one, image) for one in home.roles.values()]
    return {
        "chef_environment": wanted_environment(fleet, home),
        "chef_roles": {one.name: one for one in roles},
    }


def there(home: Environment | None = None, nodes: Iterable[Node] = (), **changes: Any) -> ObservedEnvironment:
    """What exists of it, with its Chef objects in order."""
    home = home or environment()
    ordered = sorted(nodes, key=lambda one: (one.instance.launched_at, one.instance_id))
    made = ObservedEnvironment(name=home.name, nodes=tuple(ordered), fleet=FLEET, **generated(home))
    return replace(made, **changes)


def bare(name: str, nodes: Iterable[Node] = (), **changes: Any) -> ObservedEnvironment:
    """An environment without Chef objects."""
    ordered = sorted(nodes, key=lambda one: (one.instance.launched_at, one.instance_id))
    return replace(ObservedEnvironment(name=EnvironmentName(name), nodes=tuple(ordered), fleet=FLEET), **changes)


def observed(*environments: ObservedEnvironment, is_full: bool = True, **changes: Any) -> Observed:
    made = Observed(at=NOW, is_full=is_full, environments={one.name: one for one in environments})
    return replace(made, **changes)


def foreign_role(name: str) -> ChefRole:
    return ChefRole(name=ChefName(name), run_list=(), default_attributes={"owner": "somebody"})


def foreign_environment(name: str) -> ChefEnvironment:
    return ChefEnvironment(name=ChefName(name), default_attributes={})


# --- memory ---------------------------------------------------------------------------------------------------------


def memory(**changes: Any) -> Memory:
    return replace(Memory(installation=InstallationId("one"), applied=REVISION), **changes)


def settled(*counts: tuple[str, str, int]) -> dict[tuple[EnvironmentName, RoleName], int]:
    return {(EnvironmentName(name), RoleName(one)): count for name, one, count in counts}


def known(
    *names: str, began: datetime | None = None, ending: Ending | None = None, **changes: Any
) -> dict[EnvironmentName, KnownEnvironment]:
    """What has begun has an ending; else it is as some revision declared it."""
    if began is not None and ending is None:
        ending = ending_since(began)
    return {
        EnvironmentName(name): KnownEnvironment(
            name=EnvironmentName(name), declared_by=REVISION, teardown_began_at=began, ending=ending, **changes
        )
        for name in names
    }


def ending_since(at: datetime, **changes: Any) -> Ending:
    made = Ending(
        cause=EndingCause.REMOVED,
        at=at,
        revision=REVISION,
        author=JESSICA,
        file="environments.d/checkout.yml",
    )
    return replace(made, **changes)


def commit(revision: str = REVISION, author: str = JESSICA, at: datetime = NOW - MINUTE) -> Commit:
    return Commit(revision=RevisionId(revision), author=author, subject="Change environments", at=at)


def intent(token: str = "hq-open", count: int = 2, *, role: Role | None = None, **changes: Any) -> Intent:
    declared = role or environment().roles[WEB]
    made = Intent(
        token=IntentToken(token),
        environment=CHECKOUT,
        role=declared.name,
        parameters=parameters(declared, count, token=token),
        opened_at=NOW - MINUTE,
    )
    return replace(made, **changes)


def parameters(role: Role, count: int, *, token: str, home: Environment | None = None) -> LaunchParameters:
    launch_tags = {
        **wanted_tags(FLEET, home or environment(), role),
        tags.SPEC: spec_digest(role),
        tags.REVISION: REVISION,
        tags.INTENT: token,
    }
    return LaunchParameters(
        image=IMAGE,
        instance_type=role.instance_types[0],
        subnet=role.subnets[0],
        count=count,
        security_groups=tuple(sorted(role.security_groups)),
        instance_profile=role.instance_profile,
        key_name=role.key_name,
        root_volume_size_gib=None,
        root_volume_type=None,
        user_data="#!/bin/sh\n",
        tags=tuple(sorted(launch_tags.items())),
    )


def intents(*several: Intent) -> dict[IntentToken, Intent]:
    return {one.token: one for one in several}


def launched(token: str, *ids: InstanceId, **changes: Any) -> Intent:
    return intent(token, max(1, len(ids)), state=IntentState.LAUNCHED, instance_ids=ids, settled_at=NOW, **changes)


def termination(number: int, cause: Cause, ago: timedelta = MINUTE, environment: str = CHECKOUT) -> Termination:
    return Termination(
        instance_id=instance_id(number), environment=EnvironmentName(environment), cause=cause, at=NOW - ago
    )


def out_of(instance_type: str, subnet: str) -> Exhausted:
    return Exhausted(instance_type=instance_type, subnet=subnet, until=NOW + MINUTE)


def out_everywhere(role: Role) -> tuple[Exhausted, ...]:
    return tuple(out_of(*offering) for offering in product(role.instance_types, role.subnets))


def trouble(*failed: str, content: str, since: datetime = NOW - HOUR, **changes: Any) -> Trouble:
    made = Trouble(
        environment=CHECKOUT,
        role=WEB,
        content=content,
        failed=frozenset(failed),
        is_halted=False,
        message="",
        remedy="",
        since=since,
    )
    return replace(made, **changes)


def approval(made: Plan, **changes: Any) -> Approval:
    """What `hivequeen approve` records of all that is held in this plan."""
    held = frozenset(gone for one in made.environments for hold in one.blocked for gone in hold.removals)
    made_now = Approval(digest=digest(held), removals=held, actor="jessica", at=NOW, expires_at=NOW + 24 * HOUR)
    return replace(made_now, **changes)


# --- planning -------------------------------------------------------------------------------------------------------


def context(
    wanted: Desired,
    world: Observed,
    remembered: Memory | None = None,
    *,
    now: datetime = NOW,
    rules: Rules = RULES,
    **changes: Any,
) -> Context:
    return Context(desired=wanted, observed=world, memory=remembered or memory(), rules=rules, now=now, **changes)


def planned(made: Plan, name: str = CHECKOUT) -> EnvironmentPlan:
    return next(one for one in made.environments if one.name == name)


def plan_one(
    home: Environment | None,
    world: ObservedEnvironment,
    remembered: Memory | None = None,
    *,
    is_full: bool = True,
    now: datetime = NOW,
    rules: Rules = RULES,
    **world_changes: Any,
) -> EnvironmentPlan:
    """The plan of one environment, no guard asked; `home` None: no file declares it."""
    wanted = desired(*([home] if home else []))
    seen = observed(world, is_full=is_full, **world_changes)
    return planned(plan(context(wanted, seen, remembered, now=now, rules=rules)), world.name)


def guarded(
    home: Environment | None,
    world: ObservedEnvironment,
    remembered: Memory | None = None,
    *,
    now: datetime = NOW,
    **changes: Any,
) -> EnvironmentPlan:
    """The same after the guards."""
    seen = context(desired(*([home] if home else [])), observed(world), remembered, now=now, **changes)
    return planned(guard(plan(seen), seen), world.name)


def said(actions: Sequence[Action]) -> list[str]:
    """The actions in short, in their order: `terminate_node 1`, `launch_nodes 2`, `ensure_chef_role checkout-web`."""
    return [f"{action.name} {_subject(action)}".rstrip() for action in actions]


def _subject(action: Any) -> str:
    if hasattr(action, "instance_id"):
        return str(int(action.instance_id.removeprefix("i-"), 16))
    if hasattr(action, "batches"):
        return str(action.count)
    if hasattr(action, "intent"):
        return str(action.intent.token)
    if hasattr(action, "wanted"):
        return str(action.wanted.name)
    return str(getattr(action, "chef_role", "") or getattr(action, "chef_environment", "") or action.node)
