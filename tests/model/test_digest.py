"""Digests are golden: one that changes by itself would replace every node of every fleet."""

from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import pytest

from reconciler.model.desired import (
    Environment,
    Image,
    ImageById,
    ImageByName,
    ImageByParameter,
    Lifetime,
    Role,
    RootVolume,
)
from reconciler.model.digest import SPEC_VERSION, content_digest, spec_digest
from reconciler.model.findings import Finding, Origin, Violation
from reconciler.model.names import ChefName, EnvironmentName, ImageId, RoleName

IMAGE: Image = ImageById(image_id=ImageId("ami-0123456789abcdef0"))
WEB = Role(
    name=RoleName("web"),
    count=2,
    run_list=("recipe[kickstarter::web]",),
    attributes={"unicorn": {"workers": 8}},
    image=IMAGE,
    instance_types=("m7i.large",),
    subnets=("subnet-a",),
    security_groups=frozenset({"sg-b", "sg-a"}),
)
CHECKOUT = Environment(
    name=EnvironmentName("checkout"),
    origin=Origin(file="environments.d/checkout.yml", line=1),
    project="kickstarter",
    owner="jessica@example.com",
    branch="main",
    roles={WEB.name: WEB},
)


@pytest.mark.parametrize(
    ("role", "digest"),
    [
        (WEB, "v1:44136fa355b3678a"),  # sha256 of {}
        (replace(WEB, key_name="ops"), "v1:130ca51321cb869a"),
        (replace(WEB, root_volume=RootVolume(size_gib=20)), "v1:7a286067a53507e2"),
        (replace(WEB, root_volume=RootVolume(size_gib=20, type="gp3")), "v1:7a286067a53507e2"),
        (replace(WEB, root_volume=RootVolume(size_gib=20, type="gp2")), "v1:65c17e2bdf6e5290"),
        (replace(WEB, user_data="#!/bin/sh\necho ü\n"), "v1:40e6779a29769a4a"),
    ],
)
def test_spec_digests_are_golden(role: Role, digest: str) -> None:
    assert spec_digest(role) == digest
    assert digest.startswith(SPEC_VERSION)


@pytest.mark.parametrize(
    "change",
    [
        {"count": 5},
        {"run_list": ()},
        {"attributes": {}},
        {"image": ImageByParameter(parameter="/x")},
        {"instance_types": ("t3.micro",)},
        {"subnets": ("subnet-b",)},
        {"security_groups": frozenset({"sg-c"})},
        {"instance_profile": "web"},
        {"tags": {"a": "b"}},
    ],
)
def test_what_describing_an_instance_shows_is_not_in_the_spec_digest(change: dict[str, Any]) -> None:
    assert spec_digest(replace(WEB, **change)) == spec_digest(WEB)
    assert content_digest(CHECKOUT, replace(WEB, **change)) != content_digest(CHECKOUT, WEB)


def test_the_content_digest_is_golden() -> None:
    assert content_digest(CHECKOUT, WEB) == "v1:b8bc56fcd05f7ab2"


CHANGED_ROLE: dict[str, Any] = {
    "name": RoleName("worker"),
    "count": 3,
    "run_list": ("recipe[x]",),
    "attributes": {"x": 1},
    "image": ImageByName(owner="self", name="x"),
    "instance_types": ("t3.micro",),
    "subnets": ("subnet-b",),
    "security_groups": frozenset({"sg-a"}),
    "instance_profile": "web",
    "key_name": "ops",
    "root_volume": RootVolume(size_gib=20),
    "user_data": "exit",
    "tags": {"a": "b"},
}


def test_every_declared_field_of_a_role_touches_it() -> None:
    assert CHANGED_ROLE.keys() == {field.name for field in fields(Role)} - {"origins"}
    digests = {content_digest(CHECKOUT, replace(WEB, **{key: value})) for key, value in CHANGED_ROLE.items()}
    assert len(digests | {content_digest(CHECKOUT, WEB)}) == len(CHANGED_ROLE) + 1


@pytest.mark.parametrize(
    ("change", "is_touched"),
    [
        ({"project": "x"}, True),
        ({"branch": "x"}, True),
        ({"commit": "0123abc"}, True),
        ({"chef_environment": ChefName("legacy")}, True),
        ({"owner": "x"}, False),
        ({"protected": True}, False),
        ({"suspend": True}, False),
        ({"lifetime": Lifetime(ttl=timedelta(days=1))}, False),
        ({"violations": (Violation(finding=Finding(origin=Origin(file="x.yml", line=1), message="too much")),)}, False),
    ],
)
def test_what_reaches_the_nodes_of_an_environment_touches_its_roles(
    change: dict[str, Any], *, is_touched: bool
) -> None:
    touched = content_digest(replace(CHECKOUT, **change), WEB) != content_digest(CHECKOUT, WEB)
    assert touched == is_touched


def test_where_a_value_stands_does_not_matter() -> None:
    moved = replace(WEB, origins={"count": Origin(file="elsewhere.yml", line=3)})
    assert content_digest(CHECKOUT, moved) == content_digest(CHECKOUT, WEB)
    reordered = replace(WEB, attributes={"b": 1, "a": {"d": 1, "c": 2}})
    assert content_digest(CHECKOUT, reordered) == content_digest(
        CHECKOUT, replace(WEB, attributes={"a": {"c": 2, "d": 1}, "b": 1})
    )
