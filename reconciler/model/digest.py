"""Digests of what is declared. Fleets outlive releases: what goes into `spec_digest` never changes under its version."""

import hashlib
import json
from collections.abc import Mapping
from typing import Final, assert_never

from reconciler.model.desired import (
    Environment,
    Image,
    ImageById,
    ImageByName,
    ImageByParameter,
    Json,
    Role,
    RootVolume,
)

SPEC_VERSION: Final = "v1:"
_DIGITS: Final = 16
_DEFAULT_VOLUME_TYPE: Final = "gp3"  # of v1 for good, whatever RootVolume's default becomes


def spec_digest(role: Role) -> str:
    """The value of the tag `hivequeen:spec`: declared fields that describing an instance does not show.

    What is not declared, or declared as its default, is left out, so that a field added later changes no digest.
    """
    fields: dict[str, Json] = {}
    if role.key_name is not None:
        fields["key_name"] = role.key_name
    if role.root_volume is not None:
        fields["root_volume"] = _root_volume(role.root_volume)
    if role.user_data is not None:
        fields["user_data"] = role.user_data
    return _digest(fields)


def content_digest(environment: Environment, role: Role) -> str:
    """Everything declared that reaches the role's nodes: it changes exactly when a commit touches the role."""
    return _digest(
        {
            "project": environment.project,
            "branch": environment.branch,
            "commit": environment.commit,
            "chef_environment": environment.chef_environment_name,
            "role": role.name,
            "count": role.count,
            "run_list": list(role.run_list),
            "attributes": dict(role.attributes),
            "image": _image(role.image),
            "instance_type": list(role.instance_types),
            "subnets": list(role.subnets),
            "security_groups": [*sorted(role.security_groups)],
            "instance_profile": role.instance_profile,
            "key_name": role.key_name,
            "root_volume": None if role.root_volume is None else _root_volume(role.root_volume),
            "user_data": role.user_data,
            "tags": dict(role.tags),
        }
    )


def _root_volume(volume: RootVolume) -> dict[str, Json]:
    fields: dict[str, Json] = {"size": volume.size_gib}
    if volume.type != _DEFAULT_VOLUME_TYPE:
        fields["type"] = volume.type
    return fields


def _image(image: Image) -> Json:
    match image:
        case ImageById(image_id=image_id):
            return {"id": image_id}
        case ImageByParameter(parameter=parameter):
            return {"parameter": parameter}
        case ImageByName(owner=owner, name=name):
            return {"owner": owner, "name": name}
        case _ as unreachable:
            assert_never(unreachable)


def _digest(fields: Mapping[str, Json]) -> str:
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return f"{SPEC_VERSION}{hashlib.sha256(canonical.encode('ascii')).hexdigest()[:_DIGITS]}"
