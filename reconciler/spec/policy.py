"""Where files ask for more than the policy allows: violations, which block growth, never healing.

A violation says what of it may not come, not even to heal: what a node is launched with is the shape of its role. What
all environments ask for together is nobody's own violation, and no shape of it is anybody's fault.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Final, TypeAlias

from reconciler.document import Objection, Schema, show
from reconciler.model.cost import Cost
from reconciler.model.desired import Environment, Role
from reconciler.model.findings import Finding, Origin, Shape, Violation
from reconciler.model.names import EnvironmentName, RoleName
from reconciler.model.policy import Policy, matches
from reconciler.spec.merge import Merged

MonthlyCost: TypeAlias = Callable[[Environment], Cost]  # in the currency of the policy

_AGAINST: Final = "against the policy"
_NONE: Final = Decimal(0)
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

    def judge(self, environment: Environment, merged: Merged) -> tuple[Violation, ...]:
        """What one environment violates by itself, sorted."""
        alone = (*self._identity(environment, merged), *self._lifetime(environment), *self._size(environment))
        return tuple(
            sorted(
                {
                    *(Violation(finding=finding) for finding in alone),
                    *self._types(environment),
                    *self._cost(environment),
                    *self._own_schema(environment, merged),
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
            yield _at(
                environment,
                "ttl",
                f"ttl is {_days(lives_for)}, {most}",
                "shorten it, and extend it when needed",
                subject=f"ttl of {environment.name}",
                excess=Decimal(lives_for // timedelta(seconds=1)),
            )

    def _size(self, environment: Environment) -> Iterator[Finding]:
        most, nodes = self._policy.nodes_per_environment, _nodes(environment)
        if most is not None and nodes > most:
            yield _at(
                environment,
                "roles",
                f"{environment.name} asks for {nodes} nodes, at most {most} are allowed",
                "lower some count",
                subject=f"nodes of {environment.name}",
                excess=Decimal(nodes),
            )

    def _types(self, environment: Environment) -> Iterator[Violation]:
        """Roles that have one of the defaults have its line in common."""
        shapes: defaultdict[Finding, list[Shape]] = defaultdict(list)
        for role in environment.roles.values():
            for instance_type in role.instance_types:
                if not matches(instance_type, self._policy.instance_types):
                    finding = Finding(
                        origin=role.origin("instance_type") or environment.origin,
                        message=f"{_AGAINST}: instance_type {instance_type} is not allowed",
                        remedy=f"name one like {', '.join(self._policy.instance_types)}",
                    )
                    shapes[finding].append(Shape(role=role.name, field="instance_type", value=instance_type))
        for finding, several in shapes.items():
            yield Violation(finding=finding, shapes=tuple(several))

    def _cost(self, environment: Environment) -> Iterator[Violation]:
        """A type or a volume that is not there yet may be what costs too much, so neither comes."""
        most = self._policy.monthly_cost_per_environment
        if self._monthly_cost is None or not bounds_cost(self._policy):
            return
        cost = self._monthly_cost(environment)
        shapes = tuple(shape for role in environment.roles.values() for shape in _priced(role))
        if cost.unknown and most is not None:
            yield Violation(finding=_unknown(environment, cost), shapes=shapes)
        elif cost.unknown:
            yield Violation(finding=_unknown(environment, cost), is_total=True)
        if most is not None and cost.known > most:
            yield Violation(finding=_too_dear(environment, cost, most), shapes=shapes)

    def _own_schema(self, environment: Environment, merged: Merged) -> Iterator[Violation]:
        if self._schema is None:
            return
        try:
            for objection in self._schema.objections(merged.tree()):
                yield _objected(objection, merged.origin(objection.path) or environment.origin)
        except RecursionError:
            finding = Finding(
                origin=self._origin("schema"),
                message="policy.schema refers to itself without end",
                remedy="correct it, or remove it",
            )
            yield Violation(finding=finding)

    def _total_nodes(self, environments: Mapping[EnvironmentName, Environment]) -> Iterator[Finding]:
        nodes = {name: _nodes(environment) for name, environment in environments.items()}
        most, total = self._policy.nodes_in_total, sum(nodes.values())
        if most is not None and total > most:
            yield Finding(
                origin=self._origin("nodes.total"),
                message=f"{_AGAINST}: all environments together ask for {total} nodes, at most {most} are allowed",
                remedy=f"lower some count ({_largest(nodes)}), or raise policy.nodes.total",
                subject="nodes in total",
                excess=Decimal(total),
            )

    def _total_cost(self, environments: Mapping[EnvironmentName, Environment]) -> Iterator[Finding]:
        most = self._policy.monthly_cost_in_total
        if most is None or self._monthly_cost is None:
            return
        # Each unknown price is told of the environment that it is of. What is known counts, for it costs that at least.
        costs = {name: self._monthly_cost(environment) for name, environment in environments.items()}
        total = sum(costs.values(), Cost())
        if total.known > most:
            largest = _largest({name: cost.known for name, cost in costs.items()})
            yield Finding(
                origin=self._origin("monthly_cost.total"),
                message=f"{_AGAINST}: a month of all environments together costs {_amount(total)}, at most {most:,.2f} are allowed",
                remedy=f"ask for less ({largest}), or raise policy.monthly_cost.total",
                subject="cost in total",
                excess=total.known,
            )

    def _origin(self, key: str) -> Origin:
        return self._policy.origins.get(key) or Origin(file="hivequeen.yml", line=1)


def _at(
    environment: Environment,
    key: str,
    message: str,
    remedy: str,
    *,
    subject: str = "",
    excess: Decimal = _NONE,
) -> Finding:
    origin = environment.origins.get(key) or environment.origin
    return Finding(origin=origin, message=f"{_AGAINST}: {message}", remedy=remedy, subject=subject, excess=excess)


def _unknown(environment: Environment, cost: Cost) -> Finding:
    prices = f"no price is known for {', '.join(cost.unknown)}"
    return _at(
        environment,
        "roles",
        f"what a month of {environment.name} costs is bounded, and {prices}",
        "name what the price table holds, or refresh it: hivequeen prices update",
        subject=f"unknown prices of {environment.name}",
        excess=Decimal(len(cost.unknown)),
    )


def _too_dear(environment: Environment, cost: Cost, most: float) -> Finding:
    return _at(
        environment,
        "roles",
        f"a month of {environment.name} costs {_amount(cost)}, at most {most:,.2f} are allowed",
        "ask for fewer or smaller nodes",
        subject=f"cost of {environment.name}",
        excess=cost.known,
    )


def _amount(cost: Cost) -> str:
    return f"{'at least ' if cost.unknown else ''}{cost.known:,.2f}"


def _priced(role: Role) -> Iterator[Shape]:
    """What is reckoned with: the type that is preferred, and the declared volume."""
    yield Shape(role=role.name, field="instance_type", value=role.instance_types[0])
    if role.root_volume is not None:
        yield Shape(role=role.name, field="root_volume")


def _objected(objection: Objection, origin: Origin) -> Violation:
    where = ".".join(map(str, objection.path))
    # What is missing is named in the text alone.
    subject = "" if objection.keyword == "required" else f"{objection.keyword} of {where} in {origin.file}"
    return Violation(
        finding=Finding(
            origin=origin,
            message=f"{_AGAINST}: {objection.text}",
            subject=subject,
            excess=_excess(objection),
        ),
        shapes=_shapes(objection),
    )


def _shapes(objection: Objection) -> tuple[Shape, ...]:
    """What is not in one role is about no node."""
    match objection.path:
        case ("roles", str(role), *rest):
            field = str(rest[0]) if rest else ""
            is_type = field == "instance_type" and isinstance(objection.value, str)
            return (Shape(role=RoleName(role), field=field, value=objection.value if is_type else ""),)
        case _:
            return ()


def _excess(objection: Objection) -> Decimal:
    """By how much: the higher, the worse. 0 where that is no figure."""
    match objection.keyword:
        case "maximum" | "exclusiveMaximum":
            return Decimal(objection.value)
        case "minimum" | "exclusiveMinimum":
            return -Decimal(objection.value)
        case "maxItems" | "maxLength" | "maxProperties" | "additionalProperties":
            return Decimal(len(objection.value))
        case "minItems" | "minLength" | "minProperties":
            return -Decimal(len(objection.value))
        case _:
            return _NONE


def _nodes(environment: Environment) -> int:
    return sum(role.count for role in environment.roles.values())


def _largest(amounts: Mapping[EnvironmentName, Decimal | int]) -> str:
    largest = sorted(amounts, key=lambda name: (-amounts[name], name))[:_NAMED_MAX]
    return ", ".join(f"{name} {amounts[name]:,.0f}" for name in largest)


def _days(duration: timedelta) -> str:
    return f"{duration.days}d" if duration >= timedelta(days=1) and not duration.seconds else str(duration)
