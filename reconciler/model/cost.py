"""What environments cost in a month. Pure.

Counted are the nodes that a role asks for, on demand, each as the instance type that it prefers, and the root volumes
that it declares, for a whole month. Not counted: what only use tells (traffic, snapshots, provisioned IOPS), the volume
that an image brings where no `root_volume` is declared, and hours that a schedule or a TTL saves.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from reconciler.model.desired import Environment, Role

HOURS_PER_MONTH: Final = 730  # as AWS's own calculator takes a month


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionPrices:
    """Of one region, in USD."""

    as_of: date
    source: str
    instances: Mapping[str, Decimal]  # instance type → an hour of Linux, on demand, shared tenancy
    volumes: Mapping[str, Decimal]  # volume type → a GiB for a month


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """A price table."""

    regions: Mapping[str, RegionPrices] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of a month, in USD."""

    known: Decimal = Decimal(0)  # what has a price; all of it where nothing is unknown
    unknown: tuple[str, ...] = ()  # what has none, sorted: "m9.large in us-east-1"

    @property
    def usd_per_month(self) -> Decimal | None:
        """None where a price is unknown: then at least `known`."""
        return None if self.unknown else self.known

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(known=self.known + other.known, unknown=tuple(sorted({*self.unknown, *other.unknown})))

    def __str__(self) -> str:
        if not self.unknown:
            return f"${self.known:,.2f} a month"
        prices = f"no price is known for {', '.join(self.unknown)}"
        return f"at least ${self.known:,.2f} a month; {prices}" if self.known else f"unknown: {prices}"


def monthly_cost(environment: Environment, prices: Prices, region: str) -> Cost:
    """What it asks for costs in a month, as if it were awake all the time."""
    total = Cost()
    for role in environment.roles.values():
        total += _role_cost(role, prices.regions.get(region), region)
    return total


def _role_cost(role: Role, prices: RegionPrices | None, region: str) -> Cost:
    if role.count == 0:
        return Cost()
    instance_type, volume = role.instance_types[0], role.root_volume
    hourly = prices.instances.get(instance_type) if prices else None
    cost = _priced(hourly, role.count * HOURS_PER_MONTH, f"{instance_type} in {region}")
    if volume is not None:
        monthly = prices.volumes.get(volume.type) if prices else None
        cost += _priced(monthly, role.count * volume.size_gib, f"{volume.type} volumes in {region}")
    return cost


def _priced(price: Decimal | None, amount: int, what: str) -> Cost:
    return Cost(unknown=(what,)) if price is None else Cost(known=price * amount)
