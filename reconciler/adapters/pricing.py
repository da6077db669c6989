"""AWS's price list through boto3: what instances and volumes cost on demand."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from reconciler.adapters.ec2_errors import translate_answer, translate_failure
from reconciler.errors import Transient
from reconciler.model.cost import RegionPrices

if TYPE_CHECKING:
    from mypy_boto3_pricing.type_defs import FilterTypeDef

ENDPOINT_REGION: Final = "us-east-1"  # one of the few that serve the price list, of all regions
SOURCE: Final = "AWS Price List API"
# Their price is the volume's whole price. Those with provisioned IOPS or charges for each request are left out.
VOLUME_TYPES: Final = ("gp2", "gp3", "st1", "sc1")
# Linux without licences, on shared hardware, not from a capacity reservation that is paid already.
PLAIN_LINUX: Final[Mapping[str, str]] = {
    "productFamily": "Compute Instance",
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "preInstalledSw": "NA",
    "capacitystatus": "Used",
    "operation": "RunInstances",
}


class PriceList:
    """
    Args:
        sessions: makes the session whose credential chain is used.
        endpoint_url: None is AWS's own.
    """

    def __init__(
        self,
        *,
        sessions: Callable[[], botocore.session.Session] = botocore.session.Session,
        endpoint_url: str | None = None,
    ) -> None:
        with _translated():
            session = boto3.Session(botocore_session=sessions(), region_name=ENDPOINT_REGION)
            config = Config(connect_timeout=5, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 4})
            self._client = session.client("pricing", endpoint_url=endpoint_url, config=config)

    def region(self, region: str, *, today: date, types: Collection[str] = ()) -> RegionPrices:
        """
        Args:
            types: only these instance types; none: all that are offered.

        Raises:
            Transient, Denied, Refused: no prices were learnt.
        """
        asked: list[Mapping[str, str]] = [{"instanceType": one} for one in sorted(set(types))] or [{}]
        instances: dict[str, set[Decimal]] = {}
        volumes: dict[str, set[Decimal]] = {}
        for which in asked:
            self._read({"regionCode": region, **PLAIN_LINUX, **which}, "instanceType", "Hrs", instances)
        for volume in VOLUME_TYPES:
            wanted = {"regionCode": region, "productFamily": "Storage", "volumeApiName": volume}
            self._read(wanted, "volumeApiName", "GB-Mo", volumes)
        return RegionPrices(
            as_of=today, source=SOURCE, instances=_unequivocal(instances), volumes=_unequivocal(volumes)
        )

    def _read(self, wanted: Mapping[str, str], key: str, unit: str, found: dict[str, set[Decimal]]) -> None:
        filters: list[FilterTypeDef] = [
            {"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in wanted.items()
        ]
        with _translated():
            pages = self._client.get_paginator("get_products").paginate(
                ServiceCode="AmazonEC2", FormatVersion="aws_v1", Filters=filters, PaginationConfig={"PageSize": 100}
            )
            for page in pages:
                for product in map(json.loads, page["PriceList"]):
                    name = product["product"]["attributes"][key]
                    found.setdefault(name, set()).update(_on_demand(product, unit))


def _on_demand(product: Mapping[str, Any], unit: str) -> Iterator[Decimal]:
    """Every price above nothing: products that are free of charge stand for something that is paid otherwise."""
    for term in product["terms"].get("OnDemand", {}).values():
        for dimension in term["priceDimensions"].values():
            price = Decimal(dimension["pricePerUnit"].get("USD", 0))  # in China it is CNY
            if dimension["unit"] == unit and price > 0:
                yield price


def _unequivocal(found: Mapping[str, Iterable[Decimal]]) -> dict[str, Decimal]:
    """Where the list gives several prices for one thing, which is right cannot be told: it stays unknown."""
    return {name: price for name, (price, *others) in _sorted(found) if not others}


def _sorted(found: Mapping[str, Iterable[Decimal]]) -> Iterator[tuple[str, list[Decimal]]]:
    return ((name, sorted(prices)) for name, prices in sorted(found.items()) if prices)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise translate_answer("Pricing", "GetProducts", error) from error
    except (BotoCoreError, ResponseParserError) as error:
        raise translate_failure("Pricing", "GetProducts", error) from error
    except (AttributeError, KeyError, TypeError, ValueError, InvalidOperation) as error:
        raise Transient(f"Pricing GetProducts: the answer cannot be read: {error!r}") from error
