"""Drift of one node: what differs between its live instance and what its role declares.

Image, security groups and profile are compared with the live instance; instance type and subnet by membership in the
declared lists; what DescribeInstances does not show, by the digest in the tag `hivequeen:spec`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.model import tags
from reconciler.model.desired import Environment, Role
from reconciler.model.digest import SPEC_VERSION, spec_digest
from reconciler.model.names import FleetId, ImageId
from reconciler.model.observed import Instance, Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One field that differs."""

    field: (
        str  # as in the file: "image", "security_groups", "instance_profile", "instance_type", "subnets", "user_data"…
    )
    old: str  # live
    new: str  # declared
    by_commit: bool  # the instance is as it was launched, so it is the declaration that moved

    def __str__(self) -> str:
        return f"{self.field}: {self.old or 'none'} → {self.new or 'none'}"


def live_fields(instance: Instance) -> Mapping[str, str]:
    """What drift compares, as text, by the field's name in the file."""
    return {
        "image": instance.image,
        "security_groups": " ".join(sorted(instance.security_groups)),
        "instance_profile": instance.instance_profile or "",
        "instance_type": instance.instance_type,
        "subnets": instance.subnet or "",
        "user_data": instance.tags.get(tags.SPEC, ""),
    }


def drift(role: Role, image: ImageId, node: Node) -> tuple[Drift, ...]:
    """All fields that differ, in a fixed order; empty: the node is in-spec."""
    live = live_fields(node.instance)
    wanted = {
        "image": image,
        "security_groups": " ".join(sorted(role.security_groups)),
        "instance_profile": role.instance_profile or "",
    }
    # What a record does not show is unknown, not different: of young instances EC2 does not tell all.
    unknown = {name for name in ("image", "security_groups", "instance_type", "subnets") if not live[name]}
    if not node.was_ready and not live["instance_profile"]:
        unknown.add("instance_profile")
    differing = {name: value for name, value in wanted.items() if name not in unknown and live[name] != value}
    if "instance_type" not in unknown and live["instance_type"] not in role.instance_types:
        differing["instance_type"] = ", ".join(role.instance_types)
    if "subnets" not in unknown and live["subnets"] not in role.subnets:
        differing["subnets"] = ", ".join(role.subnets)
    digest = spec_digest(role)
    # A digest of another version, or none, says nothing: upgrading the daemon must not roll a fleet.
    if live["user_data"].startswith(SPEC_VERSION) and live["user_data"] != digest:
        differing["user_data"] = digest
    return tuple(
        Drift(field=name, old=live[name], new=new, by_commit=node.launched_with.get(name) == live[name])
        for name, new in differing.items()
    )


def wanted_tags(fleet: FleetId, environment: Environment, role: Role) -> dict[str, str]:
    """The tags that an instance should carry for as long as it lives; those of its launch come on top."""
    kept = {
        **role.tags,
        tags.NAME: f"{environment.name}-{role.name}",
        tags.FLEET: fleet,
        tags.ENVIRONMENT: environment.name,
        tags.ROLE: role.name,
    }
    if environment.protected:
        kept[tags.PROTECTED] = "true"
    return kept
