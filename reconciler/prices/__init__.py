"""Price tables: JSON files that `hivequeen prices update` writes, and what environments cost by them. One comes with the program."""

import json
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

from reconciler.document.schema import Schema
from reconciler.errors import Stalled
from reconciler.model.cost import Cost, Prices, RegionPrices, monthly_cost
from reconciler.model.desired import Environment

REMEDY = "write it anew with `hivequeen prices update --out FILE`"


def load(path: Path | None = None) -> Prices:
    """
    Args:
        path: None is the table that comes with the program.

    Raises:
        Stalled: it cannot be read, or is no price table.
    """
    try:
        content = (path or resources.files("reconciler.prices") / "table.json").read_bytes()
    except OSError as error:
        raise Stalled(f"{path}: cannot be read: {error.strerror}", remedy="correct `prices` in the settings") from error
    return read(content, file=str(path or "the price table"))


def reckoner(path: Path | None, region: str) -> Callable[[Environment], Cost]:
    """What an environment costs in a month, by one table, in one region.

    Raises:
        Stalled: as `load`.
    """
    table = load(path)
    return lambda environment: monthly_cost(environment, table, region)


def read(content: bytes, *, file: str) -> Prices:
    """
    Raises:
        Stalled: it is no price table.
    """
    try:
        tree = json.loads(content)
    except ValueError as error:
        raise Stalled(f"{file}: is no JSON: {error}", remedy=REMEDY) from error
    if not isinstance(tree, dict):
        raise Stalled(f"{file}: is no price table", remedy=REMEDY)
    faults = sorted(fault for _, fault, _ in Schema.named("prices.schema.json").faults(tree))
    if faults:
        raise Stalled("\n".join(f"{file}: {fault}" for fault in faults), remedy=REMEDY)
    try:
        return Prices(regions=MappingProxyType({name: _region(region) for name, region in tree["regions"].items()}))
    except ValueError as error:  # the 31st of February is well written
        raise Stalled(f"{file}: {error}", remedy=REMEDY) from error


def write(prices: Prices) -> str:
    """As `read` takes it: sorted, so that two tables can be compared line by line."""
    regions = {
        name: {
            "as_of": region.as_of.isoformat(),
            "source": region.source,
            "instances": _texts(region.instances),
            "volumes": _texts(region.volumes),
        }
        for name, region in sorted(prices.regions.items())
    }
    return json.dumps({"currency": "USD", "regions": regions}, indent=2) + "\n"


def _region(tree: Mapping[str, Any]) -> RegionPrices:
    return RegionPrices(
        as_of=date.fromisoformat(tree["as_of"]),
        source=tree["source"],
        instances=_decimals(tree["instances"]),
        volumes=_decimals(tree["volumes"]),
    )


def _decimals(texts: Mapping[str, str]) -> Mapping[str, Decimal]:
    return MappingProxyType({name: Decimal(text) for name, text in texts.items()})


def _texts(prices: Mapping[str, Decimal]) -> dict[str, str]:
    return {name: f"{price.normalize():f}" for name, price in sorted(prices.items())}
