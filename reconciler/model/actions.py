"""Actions: the closed set of what the daemon may do to the world. They are data; `converge` carries them out."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, TypeAlias

from reconciler.model.desired import Role
from reconciler.model.findings import Origin
from reconciler.model.memory import Cause, Intent, Removal
from reconciler.model.names import ChefName, EnvironmentName, ImageId, InstanceId, NodeName, RevisionId, RoleName
from reconciler.model.observed import ChefEnvironment, ChefRole


class ActionName(StrEnum):
    """As in `schemas/plan.schema.json` and in `hivequeen_actions_total{action}`."""

    ENSURE_CHEF_ENVIRONMENT = "ensure_chef_environment"
    ENSURE_CHEF_ROLE = "ensure_chef_role"
    ENSURE_CHEF_NODE = "ensure_chef_node"
    LAUNCH_NODES = "launch_nodes"
    REPLAY_LAUNCH = "replay_launch"
    REPLACE_NODE = "replace_node"
    TAG_NODE = "tag_node"
    STOP_NODE = "stop_node"
    START_NODE = "start_node"
    TERMINATE_NODE = "terminate_node"
    DELETE_CHEF_NODE = "delete_chef_node"
    DELETE_CHEF_CLIENT = "delete_chef_client"
    DELETE_CHEF_ROLE = "delete_chef_role"
    DELETE_CHEF_ENVIRONMENT = "delete_chef_environment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why an action is there: for people. Nothing branches on it."""

    rule: str  # "count", "drift", "teardown", "never ready"…
    detail: str  # "web.count 2 → 4"
    origin: Origin | None = None  # the file line that asks for it
    revision: RevisionId | None = None

    def __str__(self) -> str:
        where = f" ({self.origin}{f' at {self.revision[:8]}' if self.revision else ''})" if self.origin else ""
        at = f" (at {self.revision[:8]})" if self.revision and not self.origin else ""
        return f"{self.rule}: {self.detail}{where or at}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsureChefEnvironment:
    """Create or repair the generated Chef environment."""

    name: ClassVar[ActionName] = ActionName.ENSURE_CHEF_ENVIRONMENT
    environment: EnvironmentName
    wanted: ChefEnvironment
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsureChefRole:
    """Create or repair a generated Chef role: run list, attributes, image pin."""

    name: ClassVar[ActionName] = ActionName.ENSURE_CHEF_ROLE
    environment: EnvironmentName
    role: RoleName
    wanted: ChefRole
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsureChefNode:
    """Set a node's run list and Chef environment back; everything else of it is kept."""

    name: ClassVar[ActionName] = ActionName.ENSURE_CHEF_NODE
    environment: EnvironmentName
    role: RoleName
    node: NodeName
    chef_environment: ChefName
    run_list: tuple[str, ...]
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Part of a launch that is one RunInstances call."""

    subnet: str
    instance_type: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchNodes:
    """Launch new nodes of one role; each batch is a new intent."""

    name: ClassVar[ActionName] = ActionName.LAUNCH_NODES
    environment: EnvironmentName
    role: RoleName
    declared: Role
    image: ImageId
    tags: Mapping[str, str]  # all but the intent tag
    batches: tuple[Batch, ...]
    reason: Reason

    @property
    def count(self) -> int:
        return sum(batch.count for batch in self.batches)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayLaunch:
    """Repeat an open intent whose outcome is unknown: same token, same parameters, so no second fleet."""

    name: ClassVar[ActionName] = ActionName.REPLAY_LAUNCH
    environment: EnvironmentName
    role: RoleName
    intent: Intent
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceNode:
    """Begin to replace a drifted node: launch one extra. The old one goes in a later pass, when that one is ready."""

    name: ClassVar[ActionName] = ActionName.REPLACE_NODE
    environment: EnvironmentName
    role: RoleName
    node: NodeName
    instance_id: InstanceId
    change: str  # "image: ami-1 → ami-2"
    cause: Cause  # REPLACED or DRIFTED
    launch: LaunchNodes  # of exactly one
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class TagNode:
    """Repair tags in place."""

    name: ClassVar[ActionName] = ActionName.TAG_NODE
    environment: EnvironmentName
    role: RoleName
    node: NodeName
    instance_id: InstanceId
    set: Mapping[str, str]
    remove: tuple[str, ...] = ()
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class StopNode:
    """Stop a node for the hours in which its schedule lets it sleep."""

    name: ClassVar[ActionName] = ActionName.STOP_NODE
    environment: EnvironmentName
    role: RoleName
    node: NodeName
    instance_id: InstanceId
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class StartNode:
    """Start a node that its schedule let sleep."""

    name: ClassVar[ActionName] = ActionName.START_NODE
    environment: EnvironmentName
    role: RoleName
    node: NodeName
    instance_id: InstanceId
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminateNode:
    name: ClassVar[ActionName] = ActionName.TERMINATE_NODE
    environment: EnvironmentName
    role: RoleName
    node: NodeName
    instance_id: InstanceId
    cause: Cause
    change: str = ""  # of the drift, where the cause is one
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteChefNode:
    """Only after its instance was seen gone."""

    name: ClassVar[ActionName] = ActionName.DELETE_CHEF_NODE
    environment: EnvironmentName
    role: RoleName
    node: NodeName
    instance_id: InstanceId
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteChefClient:
    """Only after its instance was seen gone."""

    name: ClassVar[ActionName] = ActionName.DELETE_CHEF_CLIENT
    environment: EnvironmentName
    role: RoleName
    node: NodeName
    instance_id: InstanceId
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteChefRole:
    name: ClassVar[ActionName] = ActionName.DELETE_CHEF_ROLE
    environment: EnvironmentName
    role: RoleName
    chef_role: ChefName
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteChefEnvironment:
    name: ClassVar[ActionName] = ActionName.DELETE_CHEF_ENVIRONMENT
    environment: EnvironmentName
    chef_environment: ChefName
    reason: Reason


Action: TypeAlias = (
    EnsureChefEnvironment
    | EnsureChefRole
    | EnsureChefNode
    | LaunchNodes
    | ReplayLaunch
    | ReplaceNode
    | TagNode
    | StopNode
    | StartNode
    | TerminateNode
    | DeleteChefNode
    | DeleteChefClient
    | DeleteChefRole
    | DeleteChefEnvironment
)


def removal(action: Action) -> Removal | None:
    """What a hold's digest covers of this action; None if it removes nothing."""
    match action:
        case TerminateNode() | ReplaceNode():
            return Removal(
                environment=action.environment,
                action=ActionName.TERMINATE_NODE,  # a replacement's two halves are one removal to whoever approves it
                role=action.role,
                target=action.instance_id,
                change=action.change,
            )
        case DeleteChefNode() | DeleteChefClient():
            return Removal(environment=action.environment, action=action.name, role=action.role, target=action.node)
        case DeleteChefRole():
            return Removal(
                environment=action.environment, action=action.name, role=action.role, target=action.chef_role
            )
        case DeleteChefEnvironment():
            return Removal(environment=action.environment, action=action.name, role="", target=action.chef_environment)
        case _:
            return None
