"""Names: what they may look like, how they join and how joined names come apart again.

Environment names may hold hyphens, role names and instance ids may not, so `{environment}-{role}-{id}` splits one
way only, from the right.
"""

import re
from typing import Final, NewType

EnvironmentName = NewType("EnvironmentName", str)
RoleName = NewType("RoleName", str)
InstanceId = NewType("InstanceId", str)  # "i-0123456789abcdef0"
NodeName = NewType("NodeName", str)  # the Chef node and client: "checkout-web-0123456789abcdef0"
ChefName = NewType("ChefName", str)  # a Chef role or environment
RevisionId = NewType("RevisionId", str)  # 40 hex digits: a commit of the spec repository
BlobId = NewType("BlobId", str)  # 40 hex digits: a file's content in git
FleetId = NewType("FleetId", str)
InstallationId = NewType("InstallationId", str)
ImageId = NewType("ImageId", str)
IntentToken = NewType("IntentToken", str)  # an EC2 ClientToken: at most 64 ASCII characters

ENVIRONMENT_PATTERN = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"
ENVIRONMENT_LENGTH_MAX = 27
ROLE_PATTERN = r"^[a-z][a-z0-9]*$"
ROLE_LENGTH_MAX = 16
NODE_LENGTH_MAX = 62  # 27 + "-" + 16 + "-" + 17
SPEC_SUFFIXES: Final = (".yml", ".yaml")  # of files that declare environments and templates
REVISION_SHOWN: Final = 8  # digits of a revision, for people

_ENVIRONMENT = re.compile(ENVIRONMENT_PATTERN)
_ROLE = re.compile(ROLE_PATTERN)
_INSTANCE_DIGITS = re.compile(r"[0-9a-f]{8}(?:[0-9a-f]{9})?")


def is_environment_name(text: str) -> bool:
    return len(text) <= ENVIRONMENT_LENGTH_MAX and _ENVIRONMENT.fullmatch(text) is not None


def is_role_name(text: str) -> bool:
    return len(text) <= ROLE_LENGTH_MAX and _ROLE.fullmatch(text) is not None


def is_instance_id(text: str) -> bool:
    return text.startswith("i-") and _INSTANCE_DIGITS.fullmatch(text[2:]) is not None


def chef_role_name(environment: EnvironmentName, role: RoleName) -> ChefName:
    return ChefName(f"{environment}-{role}")


def node_name(environment: EnvironmentName, role: RoleName, instance_id: InstanceId) -> NodeName:
    return NodeName(f"{environment}-{role}-{instance_id.removeprefix('i-')}")


def node_run_list(environment: EnvironmentName, role: RoleName) -> tuple[str, ...]:
    """The whole run list of a node: its generated Chef role holds the declared items."""
    return (f"role[{chef_role_name(environment, role)}]",)


def split_chef_role_name(name: str) -> tuple[EnvironmentName, RoleName] | None:
    """`checkout-web` → (`checkout`, `web`); None if it cannot be one of our names."""
    environment, hyphen, role = name.rpartition("-")
    if not hyphen or not is_environment_name(environment) or not is_role_name(role):
        return None
    return EnvironmentName(environment), RoleName(role)


def split_node_name(name: str) -> tuple[EnvironmentName, RoleName, InstanceId] | None:
    """`checkout-web-0123456789abcdef0` → (`checkout`, `web`, `i-0123456789abcdef0`); None if it cannot be ours."""
    joined, hyphen, digits = name.rpartition("-")
    parts = split_chef_role_name(joined)
    if not hyphen or parts is None or _INSTANCE_DIGITS.fullmatch(digits) is None:
        return None
    return *parts, InstanceId(f"i-{digits}")
