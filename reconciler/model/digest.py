"""Digests of declared content. Their results are kept on instances for years: a change of either is a new version."""

import hashlib
import json
from typing import Final

from reconciler.model.desired import Environment, Json, Role

SPEC_VERSION: Final = "v1:"


def spec_digest(role: Role) -> str:
    """What the tag `hivequeen:spec` holds: the declared fields that DescribeInstances does not show.

    Fields at their default are left out, so that a new field changes no digest until somebody declares it.
    """
    declared: dict[str, Json] = {}
    if role.user_data is not None:
        declared["user_data"] = role.user_data
    if role.key_name is not None:
        declared["key_name"] = role.key_name
    if role.root_volume is not None:
        declared["root_volume"] = {"size": role.root_volume.size_gib, "type": role.root_volume.type}
    return SPEC_VERSION + _digest(declared)


def content_digest(environment: Environment, role: Role) -> str:
    """Tells whether a commit touched the role: everything that is declared for it, the application's commit included."""
    return _digest(
        {
            "project": environment.project,
            "branch": environment.branch,
            "commit": environment.commit,
            "chef_environment": environment.chef_environment,
            "count": role.count,
            "run_list": list(role.run_list),
            "attributes": dict(role.attributes),
            "image": str(role.image),
            "instance_types": list(role.instance_types),
            "subnets": list(role.subnets),
            "security_groups": [*sorted(role.security_groups)],
            "instance_profile": role.instance_profile,
            "tags": dict(role.tags),
            "spec": spec_digest(role),
        }
    )


def _digest(value: Json) -> str:
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
