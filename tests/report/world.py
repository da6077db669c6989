"""A small fleet at noon, and passes over it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from reconciler.model.actions import (
    Action,
    Batch,
    DeleteChefClient,
    DeleteChefEnvironment,
    DeleteChefNode,
    DeleteChefRole,
    EnsureChefEnvironment,
    EnsureChefNode,
    EnsureChefRole,
    LaunchNodes,
    Reason,
    ReplaceNode,
    ReplayLaunch,
    StartNode,
    StopNode,
    TagNode,
    TerminateNode,
)
from reconciler.model.commits import Commit
from reconciler.model.desired import Desired, Environment, Frozen, ImageById, Role
from reconciler.model.facts import Fact
from reconciler.model.findings import Finding, Origin
from reconciler.model.memory import (
    Cause,
    Ending,
    EndingCause,
    Intent,
    KnownEnvironment,
    LaunchParameters,
    Memory,
    NodeRecord,
)
from reconciler.model.names import (
    ChefName,
    EnvironmentName,
    ImageId,
    InstallationId,
    InstanceId,
    IntentToken,
    NodeName,
    RevisionId,
    RoleName,
    node_name,
)
from reconciler.model.observed import (
    ChefEnvironment,
    ChefRole,
    Foreign,
    Instance,
    InstanceState,
    Node,
    Observed,
    ObservedEnvironment,
    Phase,
)
from reconciler.model.passes import Failure, Outcome, Pass, Result, Scope
from reconciler.model.plan import Blocked, EnvironmentPlan, Guard, Plan

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
REVISION = RevisionId("3f2a" * 10)
CHECKOUT = EnvironmentName("checkout")
PRODUCTION = EnvironmentName("production")
WEB = RoleName("web")
WORKER = RoleName("worker")
FILE = Origin(file="environments.d/checkout.yml", line=1)
BECAUSE = Reason(rule="count", detail="web.count 1 → 2", origin=FILE, revision=REVISION)
FULL = Scope(environments=None, because="resync")


def role(name: RoleName = WEB, count: int = 2) -> Role:
    return Role(
        name=name,
        count=count,
        run_list=("recipe[kickstarter::web]",),
        attributes={},
        image=ImageById(image_id=ImageId("ami-1")),
        instance_types=("m7i.large",),
        subnets=("subnet-a",),
        security_groups=frozenset({"sg-app"}),
    )


def environment(name: EnvironmentName = CHECKOUT, *roles: Role, suspend: bool = False) -> Environment:
    return Environment(
        name=name,
        origin=FILE,
        project="kickstarter",
        owner="jessica@example.com",
        branch="checkout-redesign",
        suspend=suspend,
        roles={one.name: one for one in roles or (role(),)},
    )


def desired(*environments: Environment, frozen: Sequence[EnvironmentName] = ()) -> Desired:
    finding = Finding(origin=FILE, message='unknown key "run_lsit"', remedy='did you mean "run_list"?')
    return Desired(
        revision=REVISION,
        environments={one.name: one for one in environments},
        frozen={name: Frozen(name=name, findings=(finding,)) for name in frozen},
        findings=(finding,) if frozen else (),
    )


def node(
    number: int = 1,
    phase: Phase = Phase.READY,
    *,
    name: EnvironmentName = CHECKOUT,
    in_role: RoleName = WEB,
    is_stale: bool = False,
) -> Node:
    instance_id = InstanceId(f"i-{number:017x}")
    return Node(
        name=node_name(name, in_role, instance_id),
        environment=name,
        role=in_role,
        instance=Instance(
            instance_id=instance_id,
            state=InstanceState.RUNNING,
            image=ImageId("ami-1"),
            instance_type="m7i.large",
            subnet="subnet-a",
            security_groups=frozenset({"sg-app"}),
            instance_profile=None,
            private_address="10.0.0.7",
            launched_at=NOON - timedelta(minutes=10),
        ),
        phase=phase,
        why_failed="its first Chef run failed" if phase is Phase.FAILED else "",
        is_stale=is_stale,
        deadline_at=NOON + timedelta(minutes=20) if phase in (Phase.PENDING, Phase.RUNNING, Phase.REGISTERED) else None,
    )


def observed(*environments: ObservedEnvironment, is_full: bool = True, foreign: Sequence[Foreign] = ()) -> Observed:
    return Observed(
        at=NOON, is_full=is_full, environments={one.name: one for one in environments}, foreign=tuple(foreign)
    )


def seen(*nodes: Node, name: EnvironmentName = CHECKOUT) -> ObservedEnvironment:
    return ObservedEnvironment(name=name, nodes=nodes)


def launch(count: int = 2) -> LaunchNodes:
    return LaunchNodes(
        environment=CHECKOUT,
        role=WEB,
        declared=role(),
        image=ImageId("ami-1"),
        tags={"Name": "checkout-web"},
        batches=(Batch(subnet="subnet-a", instance_type="m7i.large", count=count),),
        reason=BECAUSE,
    )


def terminate(number: int = 1, *, change: str = "") -> TerminateNode:
    gone = node(number)
    return TerminateNode(
        environment=CHECKOUT,
        role=WEB,
        node=gone.name,
        instance_id=gone.instance_id,
        cause=Cause.SCALE_DOWN,
        change=change,
        reason=BECAUSE,
    )


def ensure_environment() -> EnsureChefEnvironment:
    wanted = ChefEnvironment(name=ChefName("checkout"), default_attributes={"hivequeen": {"fleet": "demo"}})
    return EnsureChefEnvironment(environment=CHECKOUT, wanted=wanted, reason=BECAUSE)


def ensure_role(run_list: tuple[str, ...] = ("recipe[web]",)) -> EnsureChefRole:
    wanted = ChefRole(name=ChefName("checkout-web"), run_list=run_list, default_attributes={})
    return EnsureChefRole(environment=CHECKOUT, role=WEB, wanted=wanted, reason=BECAUSE)


def replay() -> ReplayLaunch:
    return ReplayLaunch(environment=CHECKOUT, role=WEB, intent=intent(), reason=BECAUSE)


def intent() -> Intent:
    return Intent(
        token=IntentToken("token-1"),
        environment=CHECKOUT,
        role=WEB,
        parameters=LaunchParameters(
            image=ImageId("ami-1"),
            instance_type="m7i.large",
            subnet="subnet-a",
            count=2,
            security_groups=("sg-app",),
            instance_profile=None,
            key_name=None,
            root_volume_size_gib=None,
            root_volume_type=None,
            user_data="",
            tags=(),
        ),
        opened_at=NOON,
    )


def every_action() -> tuple[Action, ...]:
    """One of each kind."""
    one = node()
    name = one.name
    return (
        ensure_environment(),
        ensure_role(),
        EnsureChefNode(
            environment=CHECKOUT,
            role=WEB,
            node=name,
            chef_environment=ChefName("checkout"),
            run_list=("role[checkout-web]",),
            reason=BECAUSE,
        ),
        launch(),
        replay(),
        ReplaceNode(
            environment=CHECKOUT,
            role=WEB,
            node=name,
            instance_id=one.instance_id,
            change="image: ami-1 → ami-2",
            cause=Cause.REPLACED,
            launch=launch(1),
            reason=BECAUSE,
        ),
        TagNode(
            environment=CHECKOUT,
            role=WEB,
            node=name,
            instance_id=one.instance_id,
            set={"Name": "checkout-web"},
            remove=("stray",),
            reason=BECAUSE,
        ),
        StopNode(environment=CHECKOUT, role=WEB, node=name, instance_id=one.instance_id, reason=BECAUSE),
        StartNode(environment=CHECKOUT, role=WEB, node=name, instance_id=one.instance_id, reason=BECAUSE),
        terminate(),
        DeleteChefNode(environment=CHECKOUT, role=WEB, node=name, instance_id=one.instance_id, reason=BECAUSE),
        DeleteChefClient(environment=CHECKOUT, role=WEB, node=name, instance_id=one.instance_id, reason=BECAUSE),
        DeleteChefRole(environment=CHECKOUT, role=WEB, chef_role=ChefName("checkout-web"), reason=BECAUSE),
        DeleteChefEnvironment(environment=CHECKOUT, chef_environment=ChefName("checkout"), reason=BECAUSE),
    )


def record(number: int = 1, *, ready: bool = False, name: EnvironmentName = CHECKOUT) -> NodeRecord:
    instance_id = InstanceId(f"i-{number:017x}")
    return NodeRecord(
        instance_id=instance_id,
        environment=name,
        role=WEB,
        name=NodeName(node_name(name, WEB, instance_id)),
        intent=None,
        launched_at=NOON,
        seen_at=NOON,
        ready_at=NOON if ready else None,
    )


def memory(*records: NodeRecord, known: Sequence[EnvironmentName] = ()) -> Memory:
    return Memory(
        installation=InstallationId("0f" * 16),
        applied=REVISION,
        nodes={one.instance_id: one for one in records},
        environments={name: KnownEnvironment(name=name, declared_by=REVISION) for name in known},
    )


def made(
    *plans: EnvironmentPlan,
    wanted: Desired | None = None,
    world: Observed | None = None,
    remembered: Memory | None = None,
    outcomes: Sequence[Outcome] = (),
    failures: Sequence[Failure] = (),
    facts: Sequence[Fact] = (),
    blocked: Sequence[Blocked] = (),
    scope: Scope = FULL,
    committed_at: datetime | None = None,
    commit: Commit | None = None,
    is_planned: bool = True,
) -> Pass:
    return Pass(
        scope=scope,
        started_at=NOON,
        ended_at=NOON + SECOND,
        revision=REVISION,
        committed_at=committed_at,
        commit=commit,
        desired=wanted if wanted is not None else desired(environment()),
        observed=world if world is not None else observed(seen(node(1), node(2))),
        memory=remembered if remembered is not None else memory(),
        plan=Plan(revision=REVISION, environments=plans, blocked=tuple(blocked)) if is_planned else None,
        facts=tuple(facts),
        outcomes=tuple(outcomes),
        failures=tuple(failures),
    )


def done(action: Action, result: Result = Result.DONE, message: str = "", **trouble: Any) -> Outcome:
    return Outcome(action=action, result=result, message=message, **trouble)


JESSICA = "Jessica <jessica@example.com>"
DELETION = RevisionId("9c1d" * 10)


def ending(cause: EndingCause = EndingCause.REMOVED, **changes: Any) -> Ending:
    """Since noon, by a commit of Jessica's."""
    whole = Ending(cause=cause, at=NOON, revision=DELETION, author=JESSICA, file="environments.d/checkout.yml")
    return replace(whole, **changes)


def grace(until: datetime = NOON + timedelta(minutes=5)) -> Blocked:
    """As the planner words it."""
    return Blocked(
        guard=Guard.GRACE,
        message=f"checkout is torn down at {until:%H:%M:%S} UTC: {ending().why} ({DELETION[:8]})",
        remedy=f"to keep it, git revert {DELETION[:8]} and push before then",
        actor=JESSICA,
        until=until,
        actions=(terminate(1), terminate(2)),
    )


def remembering(what: Ending | None, began_at: datetime | None = None) -> Memory:
    """The journal knows of the ending, and of the teardown if that has begun."""
    known = KnownEnvironment(name=CHECKOUT, declared_by=REVISION, ending=what, teardown_began_at=began_at)
    return replace(memory(), environments={CHECKOUT: known})
