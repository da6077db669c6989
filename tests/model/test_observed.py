"""Marks in Chef attributes: what proves ownership, what pins an image, and what only looks like it."""

from datetime import UTC, datetime
from typing import Any

import pytest

from reconciler.model.names import ChefName, EnvironmentName, FleetId, ImageId, InstanceId
from reconciler.model.observed import ChefEnvironment, ChefRole, Instance, InstanceState, ObservedEnvironment, Ownership

MARK = {"fleet": "demo", "environment": "checkout", "image": "ami-1", "image_source": "ssm:/debian"}


def chef_role(attributes: Any) -> ChefRole:
    return ChefRole(name=ChefName("checkout-web"), run_list=(), default_attributes=attributes)


@pytest.mark.parametrize(
    ("attributes", "owner"),
    [
        ({"hivequeen": MARK}, Ownership(fleet="demo", environment="checkout")),
        ({"hivequeen": MARK | {"protected": True}}, Ownership(fleet="demo", environment="checkout", protected=True)),
        ({"hivequeen": MARK | {"protected": "yes"}}, Ownership(fleet="demo", environment="checkout")),
        ({}, None),
        ({"hivequeen": "mine"}, None),
        ({"hivequeen": {"fleet": "demo"}}, None),
        ({"hivequeen": {"fleet": 1, "environment": "checkout"}}, None),
        ({"hivequeen": {"fleet": "demo", "environment": None}}, None),
    ],
)
def test_only_a_whole_mark_proves_ownership(attributes: Any, owner: Ownership | None) -> None:
    assert Ownership.read(attributes) == owner


@pytest.mark.parametrize(
    ("attributes", "image"),
    [
        ({"hivequeen": MARK}, "ami-1"),
        ({"hivequeen": MARK | {"image_source": "ssm:/other"}}, None),
        ({"hivequeen": MARK | {"image": ""}}, None),
        ({"hivequeen": MARK | {"image": 7}}, None),
        ({"hivequeen": []}, None),
        ({}, None),
    ],
)
def test_a_pin_holds_for_the_declaration_that_it_was_made_for(attributes: Any, image: str | None) -> None:
    assert chef_role(attributes).pin("ssm:/debian") == image


def instance(state: InstanceState = InstanceState.RUNNING, **tags: str) -> Instance:
    return Instance(
        instance_id=InstanceId("i-0123456789abcdef0"),
        state=state,
        image=ImageId("ami-1"),
        instance_type="m7i.large",
        subnet=None,
        security_groups=frozenset(),
        instance_profile=None,
        private_address=None,
        launched_at=datetime(2026, 11, 1, tzinfo=UTC),
        tags={f"hivequeen:{key}": value for key, value in tags.items()},
    )


def test_an_instance_is_what_its_tags_say() -> None:
    tagged = instance(environment="checkout", role="web", intent="hq-1", protected="true")
    assert (tagged.environment, tagged.role, tagged.intent, tagged.is_protected) == ("checkout", "web", "hq-1", True)
    bare = instance(intent="", protected="yes")
    assert (bare.environment, bare.role, bare.intent, bare.is_protected) == (None, None, None, False)


def test_shutting_down_is_as_good_as_dead() -> None:
    dead = {state for state in InstanceState if instance(state).is_dead}
    assert dead == {InstanceState.SHUTTING_DOWN, InstanceState.TERMINATED}


@pytest.mark.parametrize(
    ("fleet", "attributes", "is_empty"),
    [
        ("demo", {"hivequeen": MARK}, False),
        ("demo", {"hivequeen": MARK | {"fleet": "other"}}, True),
        (None, {"hivequeen": MARK}, False),
        ("demo", {}, True),
    ],
)
def test_an_environment_is_empty_when_nothing_of_it_is_ours(
    fleet: str | None, attributes: Any, *, is_empty: bool
) -> None:
    ours = FleetId(fleet) if fleet else None
    name = EnvironmentName("checkout")
    role = chef_role(attributes)
    of_chef = ChefEnvironment(name=ChefName("checkout"), default_attributes=attributes)
    assert ObservedEnvironment(name=name, fleet=ours, chef_roles={role.name: role}).is_empty == is_empty
    assert ObservedEnvironment(name=name, fleet=ours, chef_environment=of_chef).is_empty == is_empty
