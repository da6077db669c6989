"""AWS's Price List API as far as GetProducts goes, over HTTP: filters, pages, and answers shaped like AWS's own."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from reconciler.sandbox.ec2 import serve

PAGE = 3  # products; AWS has up to a hundred


def instance(name: str, usd: str, *, region: str = "us-east-1", **attributes: str) -> dict[str, Any]:
    sku = f"SKU{name.upper().replace('.', '')}"
    described = {
        "instanceType": name,
        "regionCode": region,
        "locationType": "AWS Region",
        "operatingSystem": "Linux",
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
        "operation": "RunInstances",
        "usagetype": f"BoxUsage:{name}",
        "currentGeneration": "Yes",
        **attributes,
    }
    return product(sku, "Compute Instance", described, "Hrs", usd)


def volume(name: str, usd: str, *, region: str = "us-east-1") -> dict[str, Any]:
    described = {"volumeApiName": name, "regionCode": region, "usagetype": f"EBS:VolumeUsage.{name}"}
    return product(f"SKU{name.upper()}", "Storage", described, "GB-Mo", usd)


def product(sku: str, family: str, attributes: Mapping[str, str], unit: str, usd: str) -> dict[str, Any]:
    term, rate = f"{sku}.JRTCKXETXF", f"{sku}.JRTCKXETXF.6YS6EN2CT7"
    return {
        "product": {"productFamily": family, "attributes": {**attributes, "servicecode": "AmazonEC2"}, "sku": sku},
        "serviceCode": "AmazonEC2",
        "terms": {
            "OnDemand": {
                term: {
                    "priceDimensions": {
                        rate: {
                            "unit": unit,
                            "endRange": "Inf",
                            "description": f"${usd} per {unit}",
                            "appliesTo": [],
                            "rateCode": rate,
                            "beginRange": "0",
                            "pricePerUnit": {"USD": usd},
                        }
                    },
                    "sku": sku,
                    "effectiveDate": "2026-11-01T00:00:00Z",
                    "offerTermCode": "JRTCKXETXF",
                    "termAttributes": {},
                }
            },
            "Reserved": {
                f"{sku}.38NPMPTW36": {
                    "priceDimensions": {
                        f"{sku}.38NPMPTW36.2TG2D8R56U": {"unit": "Quantity", "pricePerUnit": {"USD": "347"}},
                        f"{sku}.38NPMPTW36.6YS6EN2CT7": {"unit": unit, "pricePerUnit": {"USD": "0.0396"}},
                    },
                    "termAttributes": {"LeaseContractLength": "3yr", "PurchaseOption": "Partial Upfront"},
                }
            },
        },
        "version": "20261101000000",
        "publicationDate": "2026-11-01T00:00:00Z",
    }


@dataclass
class PriceListApi:
    products: Sequence[dict[str, Any]]
    refusal: str = ""  # an error's code, for every request
    garbage: str = ""  # in the place of every answer
    asked: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        request = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        assert environ["HTTP_X_AMZ_TARGET"] == "AWSPriceListService.GetProducts"
        assert "/us-east-1/pricing/aws4_request" in environ["HTTP_AUTHORIZATION"]
        self.asked.append(request)
        status, body = 200, self.garbage or json.dumps(self._page(request))
        if self.refusal:
            status, body = 400, json.dumps({"__type": self.refusal, "message": "because"})
        start_response(f"{status} -", [("Content-Type", "application/x-amz-json-1.1")])
        return [body.encode()]

    def _page(self, request: Mapping[str, Any]) -> dict[str, Any]:
        wanted = {one["Field"]: one["Value"] for one in request["Filters"]}
        assert {one["Type"] for one in request["Filters"]} == {"TERM_MATCH"}
        found = [json.dumps(one) for one in self.products if _matches(one["product"], wanted)]
        first = int(request.get("NextToken", "0"))
        page: dict[str, Any] = {"FormatVersion": "aws_v1", "PriceList": found[first : first + PAGE]}
        return page | ({"NextToken": str(first + PAGE)} if len(found) > first + PAGE else {})


def _matches(described: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    attributes = {**described["attributes"], "productFamily": described["productFamily"]}
    return all(attributes.get(name) == value for name, value in wanted.items())


@contextmanager
def served(api: PriceListApi) -> Iterator[str]:
    with serve(api) as url:
        yield url
