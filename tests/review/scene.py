"""Changes of files, reviewed: what is not said runs exactly as it is declared."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from reconciler.model.cost import Cost, monthly_cost
from reconciler.model.desired import Desired, Environment
from reconciler.model.names import EnvironmentName, FleetId, RevisionId
from reconciler.model.policy import Policy
from reconciler.model.rules import Rules
from reconciler.prices import load
from reconciler.review import EnvironmentReview, Review, Side, Snapshot, assume, review
from reconciler.spec import SpecReader
from tests.fakes.clock import BEGAN
from tests.spec.revision import CHECKOUT, FOLDER, PRODUCTION, USER_DATA_LIMIT_BYTES, Revision

BASE, HEAD = RevisionId("b" * 40), RevisionId("d" * 40)
RULES = Rules(fleet=FleetId("demo"), teardown_grace=timedelta(minutes=5))
PRICES = load()
FILES: Mapping[str, str] = {
    "production.yml": PRODUCTION,
    "checkout.yml": CHECKOUT,
    "search.yml": CHECKOUT.replace("checkout-redesign", "search"),
}


def declared(files: Mapping[str, str], revision: RevisionId = BASE, *, policy: Policy | None = None) -> Desired:
    reader = SpecReader(user_data_limit_bytes=USER_DATA_LIMIT_BYTES, policy=policy or Policy())
    return replace(Revision(files).read_with(reader), revision=revision)


def price(environment: Environment) -> Cost:
    return monthly_cost(environment, PRICES, "us-east-1")


def runs_as(base: Desired, **changes: Any) -> Snapshot:
    """A world that somebody saw, in which the base has nothing left to do."""
    assumed = assume(base, rules=RULES, policy=Policy(), folder=FOLDER, region="us-east-1", at=BEGAN)
    return replace(assumed, revision=base.revision, **changes)


def merging(
    changes: Mapping[str, str | None],
    *,
    files: Mapping[str, str] = FILES,
    world: Snapshot | None = None,
    policy: Policy | None = None,
) -> Review:
    """What it would do to change these files so; None deletes one."""
    after = {path: text for path, text in {**files, **changes}.items() if text is not None}
    base, head = declared(files, policy=policy), declared(after, HEAD, policy=policy)
    return review(Side(desired=base), Side(desired=head), world or runs_as(base), price)


def of(found: Review, name: str) -> EnvironmentReview:
    (one,) = (one for one in found.environments if one.name == EnvironmentName(name))
    return one


def steps(one: EnvironmentReview) -> list[tuple[str, str | None, int, str]]:
    return [(step.action.value, step.role, step.count, str(step.risk)) for step in one.steps]


def fields(one: EnvironmentReview) -> dict[str, tuple[Any, Any, str, str]]:
    """By key: old, new, where and risk."""
    return {
        field.key: (
            field.old.value if field.old else None,
            field.new.value if field.new else None,
            str(field.origin),
            str(field.risk),
        )
        for field in one.fields
    }
