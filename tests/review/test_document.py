"""The JSON of a review is true to its schema, which is closed and knows every word."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import given
from jsonschema import Draft202012Validator, FormatChecker

from reconciler.model.actions import ActionName
from reconciler.model.desired import Desired
from reconciler.model.plan import Guard
from reconciler.plan import Context
from reconciler.review import Kind, Verdict
from reconciler.review.document import review_document
from reconciler.review.fields import Risk
from tests.review.scene import merging
from tests.review.test_laws import changes, reviewed
from tests.spec.revision import CHECKOUT, PRODUCTION

SCHEMA: Any = json.loads((Path(__file__).parents[2] / "schemas" / "review.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA, format_checker=FormatChecker())


def test_the_schema_is_closed_and_describes_every_property() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    for part in _parts(SCHEMA):
        if part.get("type") == "object":
            assert part["additionalProperties"] is False
        for property_ in part.get("properties", {}).values():
            assert "$ref" in property_ or property_["description"]


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
    for value in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from _parts(value)


def test_the_schema_knows_every_word() -> None:
    definitions = SCHEMA["$defs"]
    holds = definitions["environment"]["properties"]["holds"]["items"]
    assert set(definitions["action"]["properties"]["action"]["enum"]) == set(ActionName)
    assert set(holds["properties"]["guard"]["enum"]) == set(Guard)
    assert set(definitions["environment"]["properties"]["change"]["enum"]) == set(Kind)
    assert set(definitions["environment"]["properties"]["risk"]["enum"]) == {str(risk) for risk in Risk}
    assert set(SCHEMA["properties"]["verdict"]["enum"]) == {verdict.name.lower() for verdict in Verdict}


@given(changes())
def test_every_review_conforms(change: tuple[Context, Desired]) -> None:
    document = review_document(reviewed(*change))
    assert [error.message for error in VALIDATOR.iter_errors(document)] == []
    assert json.loads(json.dumps(document)) == document


def test_a_review_with_everything_conforms() -> None:
    found = merging(
        {
            "production.yml": PRODUCTION.replace("def0", "def1").replace("count: 4", "count: 1"),
            "checkout.yml": None,
            "search.yml": CHECKOUT.replace("branch:", "brnach:"),
            "new.yml": CHECKOUT.replace("web: {count: 1}", "web: {count: 1, instance_type: q9.huge}"),
        }
    )
    document: Any = review_document(found)
    assert [error.message for error in VALIDATOR.iter_errors(document)] == []
    assert (document["verdict"], document["exit_code"]) == ("failed", 1)
    assert document["cost"]["difference"] is None
    by_name = {one["name"]: one for one in document["environments"]}
    assert by_name["checkout"]["cost"]["difference"] == "-147.17"
    assert by_name["production"]["fields"][0] == {
        "key": "roles.web.count",
        "old": 4,
        "new": 1,
        "file": "environments.d/production.yml",
        "line": 12,
        "risk": "destroy",
        "is_certain": True,
    }
