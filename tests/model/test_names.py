"""Names join and come apart in one way only; fleets outlive releases, so these are golden."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.names import (
    ENVIRONMENT_LENGTH_MAX,
    NODE_LENGTH_MAX,
    ROLE_LENGTH_MAX,
    EnvironmentName,
    InstanceId,
    RoleName,
    chef_role_name,
    is_environment_name,
    is_instance_id,
    is_role_name,
    node_name,
    node_run_list,
    split_chef_role_name,
    split_node_name,
)

ENVIRONMENTS = (
    st.from_regex(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", fullmatch=True)
    .filter(lambda name: len(name) <= ENVIRONMENT_LENGTH_MAX)
    .map(EnvironmentName)
)
ROLES = st.from_regex(r"[a-z][a-z0-9]{0,15}", fullmatch=True).map(RoleName)
INSTANCES = st.from_regex(r"i-([0-9a-f]{8}|[0-9a-f]{17})", fullmatch=True).map(InstanceId)


def test_joined_names_are_golden() -> None:
    environment, role = EnvironmentName("checkout-redesign"), RoleName("web")
    assert chef_role_name(environment, role) == "checkout-redesign-web"
    assert node_name(environment, role, InstanceId("i-0123456789abcdef0")) == "checkout-redesign-web-0123456789abcdef0"
    assert node_run_list(environment, role) == ("role[checkout-redesign-web]",)


@given(ENVIRONMENTS, ROLES, INSTANCES)
def test_joined_names_come_apart_as_they_were_joined(
    environment: EnvironmentName, role: RoleName, instance: InstanceId
) -> None:
    assert split_chef_role_name(chef_role_name(environment, role)) == (environment, role)
    name = node_name(environment, role, instance)
    assert split_node_name(name) == (environment, role, instance)
    assert len(name) <= NODE_LENGTH_MAX


@given(ENVIRONMENTS, ROLES, ENVIRONMENTS, ROLES)
def test_no_two_roles_share_a_chef_role(
    environment: EnvironmentName, role: RoleName, other: EnvironmentName, other_role: RoleName
) -> None:
    same = (environment, role) == (other, other_role)
    assert (chef_role_name(environment, role) == chef_role_name(other, other_role)) == same


@pytest.mark.parametrize("name", ["a", "production", "a1", "a-1", "a-b-c", "a" * ENVIRONMENT_LENGTH_MAX])
def test_environment_names(name: str) -> None:
    assert is_environment_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "A", "1a", "-a", "a-", "a--b", "a_b", "a.b", "a/b", "..", "ü", "a\n", "a" * (ENVIRONMENT_LENGTH_MAX + 1)],
)
def test_what_is_no_environment_name(name: str) -> None:
    assert not is_environment_name(name)


@pytest.mark.parametrize("name", ["", "W", "1", "a-b", "a_b", "a\n", "a" * (ROLE_LENGTH_MAX + 1)])
def test_what_is_no_role_name(name: str) -> None:
    assert not is_role_name(name)
    assert is_role_name("a" * ROLE_LENGTH_MAX)


@pytest.mark.parametrize(
    "text", ["", "i-", "i-0123", "0123456789abcdef0", "i-0123456789ABCDEF0", "i-0123456789abcdef0\n"]
)
def test_what_is_no_instance_id(text: str) -> None:
    assert not is_instance_id(text)
    assert is_instance_id("i-0123456789abcdef0")
    assert is_instance_id("i-01234567")


@pytest.mark.parametrize("name", ["", "web", "-web", "a-", "a-web-x y", "A-web", "a-web-0123", "web-0123456789abcdef0"])
def test_names_that_cannot_be_ours_do_not_come_apart(name: str) -> None:
    assert split_node_name(name) is None


@pytest.mark.parametrize("name", ["", "web", "-web", "a-", "A-web", "a-Web", "a--web"])
def test_chef_roles_that_cannot_be_ours_do_not_come_apart(name: str) -> None:
    assert split_chef_role_name(name) is None
