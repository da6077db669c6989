"""The tags that every instance carries. Fleets outlive releases: these keys never change their meaning."""

from typing import Final

FLEET: Final = "hivequeen:fleet"
ENVIRONMENT: Final = "hivequeen:environment"
ROLE: Final = "hivequeen:role"
INTENT: Final = "hivequeen:intent"
SPEC: Final = "hivequeen:spec"  # "v1:<digest>" of declared fields that DescribeInstances does not show
REVISION: Final = "hivequeen:revision"  # of its launch, never updated
READY: Final = "hivequeen:ready"  # set once, when the node first became ready; RFC 3339
PROTECTED: Final = "hivequeen:protected"  # "true" where the environment is protected
NAME: Final = "Name"  # "{environment}-{role}"

RESERVED_PREFIXES: Final = ("hivequeen:", "aws:")  # nobody may declare a tag that begins so
