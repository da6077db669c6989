"""Policy: what environment files may ask for. Going beyond it blocks growth of the environment, never its healing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatchcase
from types import MappingProxyType

from reconciler.model.desired import Json
from reconciler.model.findings import Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """None and empty: no bound. Patterns know `*` and `?`."""

    instance_types: tuple[str, ...] = ()  # patterns: "t3.*"
    nodes_per_environment: int | None = None
    nodes_in_total: int | None = None
    monthly_cost_per_environment: float | None = None  # in the currency of the price table
    monthly_cost_in_total: float | None = None
    owner: str | None = None  # a pattern: "*@example.com"
    requires_ttl: bool = False  # of what is not protected
    default_ttl: timedelta | None = None  # of what names neither ttl nor expires, which is then not required
    maximum_ttl: timedelta | None = None  # of what is not protected
    parents: tuple[str, ...] = ()  # patterns of what may be extended
    protected: tuple[str, ...] = ()  # environments that must be protected; where any are named, no other may be
    schema: Mapping[str, Json] | None = None  # a JSON Schema of the merged spec
    # Where each bound stands in the settings, by its key there: "nodes.total".
    origins: Mapping[str, Origin] = field(default_factory=lambda: MappingProxyType({}), compare=False)


def matches(text: str, patterns: tuple[str, ...]) -> bool:
    """No patterns allow everything."""
    return not patterns or any(fnmatchcase(text, pattern) for pattern in patterns)
