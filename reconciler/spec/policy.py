"""Where files ask for more than the policy allows: findings that block growth, never healing."""

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Final, TypeAlias

from reconciler.document import Schema, show
from reconciler.model.cost import Cost
from reconciler.model.desired import Environment
from reconciler.model.findings import Finding, Origin
from reconciler.model.names import EnvironmentName
from reconciler.model.policy import Policy, matches
from reconciler.spec.merge import Merged

MonthlyCost: TypeAlias = Callable[[Environment], Cost]  # in the currency of the policy

_AGAINST: Final = "against the policy"
_NAMED_MAX: Final = 3  # the largest environments that a total names


def bounds_cost(policy: Policy) -> bool:
    """Whether judging by it takes prices."""
    return policy.monthly_cost_per_environment is not None or policy.monthly_cost_in_total is not None


class Judge:
    """Applies one policy."""

    def __init__(self, policy: Policy, *, monthly_cost: MonthlyCost | None = None) -> None:
        """`monthly_cost`: without it, bounds of cost are not applied."""
        self._policy = policy
        self._monthly_cost = monthly_cost
        self._schema = None if policy.schema is None else Schema(policy.schema)

    def judge(self, environment: Environment, merged: Merged) -> tuple[Finding, ...]:
        """What one environment violates by itself, sorted."""
        return tuple(
            sorted(
                {
                    *self._identity(environment, merged),
                    *self._lifetime(environment),
                    *self._size(environment),
                    *self._shape(environment, merged),
                }
            )
        )

    def judge_all(self, environments: Mapping[EnvironmentName, Environment]) -> tuple[Finding, ...]:
        """What they violate together. It stands against all of them, and its line is that of the settings."""
        return (*self._total_nodes(environments), *self._total_cost(environments))

    def _identity(self, environment: Environment, merged: Merged) -> Iterator[Finding]:
        policy, name = self._policy, environment.name
        if policy.owner is not None and not matches(environment.owner, (policy.owner,)):
            yield _at(
                environment, "owner", f"owner {show(environment.owner)} is not like {policy.owner}", "name another"
            )
        parent = merged.top.tree.get("extends")
        if isinstance(parent, str) and not matches(parent, policy.parents):
            remedy = f"extend one of {', '.join(policy.parents)}"
            yield _at(environment, "extends", f"{parent} may not be extended", remedy)
        if name in policy.protected and not environment.protected:
            yield _at(environment, "protected", f"{name} must be protected", "add protected: true")
        if policy.protected and environment.protected and name not in policy.protected:
            remedy = f"remove it; only {', '.join(policy.protected)} may be"
            yield _at(environment, "protected", f"{name} may not be protected", remedy)

    def _lifetime(self, environment: Environment) -> Iterator[Finding]:
        policy, life = self._policy, environment.lifetime
        if environment.protected:
            return
        lives_for = life.ttl
        if life.ttl is None and life.expires_at is None:
            lives_for = policy.default_ttl
            if policy.requires_ttl and lives_for is None:
                yield _at(environment, "ttl", "ttl is missing", "add how long the environment lives, such as ttl: 14d")
                return
        if policy.maximum_ttl is None:
            return
        most = f"at most {_days(policy.maximum_ttl)} are allowed"
        if lives_for is None:
            what = "expires alone does not bound how long it lives" if life.expires_at else "it lives for ever"
            yield _at(environment, "expires" if life.expires_at else "ttl", f"{what}: {most}", "add a ttl")
        elif lives_for > policy.maximum_ttl:
            yield _at(environment, "ttl", f"ttl is {_days(lives_for)}, {most}", "shorten it, and extend it when needed")

    def _size(self, environment: Environment) -> Iterator[Finding]:
        policy = self._policy
        for role in environment.roles.values():
            for instance_type in role.instance_types:
                if not matches(instance_type, policy.instance_types):
                    yield Finding(
                        origin=role.origin("instance_type") or environment.origin,
                        message=f"{_AGAINST}: instance_type {instance_type} is not allowed",
                        remedy=f"name one like {', '.join(policy.instance_types)}",
                    )
        nodes = _nodes(environment)
        if policy.nodes_per_environment is not None and nodes > policy.nodes_per_environment:
            message = f"{environment.name} asks for {nodes} nodes, at most {policy.nodes_per_environment} are allowed"
            yield _at(environment, "roles", message, "lower some count")
        if policy.monthly_cost_per_environment is not None and self._monthly_cost is not None:
            cost = self._monthly_cost(environment).usd_per_month
            if cost is None:
                message = f"what a month of {environment.name} costs is not known, and it is bounded"
                yield _at(environment, "roles", message, "name instance types that the price table holds")
            elif cost > policy.monthly_cost_per_environment:
                most = f"at most {policy.monthly_cost_per_environment:,.2f} are allowed"
                yield _at(
                    environment,
                    "roles",
                    f"a month of {environment.name} costs {cost:,.2f}, {most}",
                    "ask for fewer or smaller nodes",
                )

    def _shape(self, environment: Environment, merged: Merged) -> Iterator[Finding]:
        if self._schema is None:
            return
        try:
            for path, text in self._schema.objections(merged.tree()):
                yield Finding(
                    origin=merged.origin(path) or environment.origin,
                    message=f"{_AGAINST}: {text}",
                    remedy="",
                )
        except RecursionError:
            yield Finding(
                origin=self._origin("schema"),
                message="policy.schema refers to itself without end",
                remedy="correct it, or remove it",
            )

    def _total_nodes(self, environments: Mapping[EnvironmentName, Environment]) -> Iterator[Finding]:
        nodes = {name: _nodes(environment) for name, environment in environments.items()}
        most, total = self._policy.nodes_in_total, sum(nodes.values())
        if most is not None and total > most:
            yield Finding(
                origin=self._origin("nodes.total"),
                message=f"{_AGAINST}: all environments together ask for {total} nodes, at most {most} are allowed",
                remedy=f"lower some count ({_largest(nodes)}), or raise policy.nodes.total",
            )

    def _total_cost(self, environments: Mapping[EnvironmentName, Environment]) -> Iterator[Finding]:
        most = self._policy.monthly_cost_in_total
        if most is None or self._monthly_cost is None:
            return
        # An unknown price is told where an environment's own cost is bounded; here what is known counts, for it costs that at least.
        costs = {name: self._monthly_cost(environment).known for name, environment in environments.items()}
        total = sum(costs.values())
        if total > most:
            yield Finding(
                origin=self._origin("monthly_cost.total"),
                message=f"{_AGAINST}: a month of all environments together costs {total:,.2f}, at most {most:,.2f} are allowed",
                remedy=f"ask for less ({_largest(costs)}), or raise policy.monthly_cost.total",
            )

    def _origin(self, key: str) -> Origin:
        return self._policy.origins.get(key) or Origin(file="hivequeen.yml", line=1)


def _at(environment: Environment, key: str, message: str, remedy: str) -> Finding:
    origin = environment.origins.get(key) or environment.origin
    return Finding(origin=origin, message=f"{_AGAINST}: {message}", remedy=remedy)


def _nodes(environment: Environment) -> int:
    return sum(role.count for role in environment.roles.values())


def _largest(amounts: Mapping[EnvironmentName, Decimal | int]) -> str:
    largest = sorted(amounts, key=lambda name: (-amounts[name], name))[:_NAMED_MAX]
    return ", ".join(f"{name} {amounts[name]:,.0f}" for name in largest)


def _days(duration: timedelta) -> str:
    return f"{duration.days}d" if duration >= timedelta(days=1) and not duration.seconds else str(duration)
