"""Which run-list items Chef takes."""

import pytest

from reconciler.model.names import EnvironmentName, RoleName
from reconciler.spec.run_list import is_item
from tests.spec.revision import PRODUCTION, read


@pytest.mark.parametrize(
    "item",
    [
        "nginx",
        "nginx::proxy",
        "nginx@1.2",
        "nginx::proxy@1.2.3",
        "recipe[nginx]",
        "recipe[a_b-c.d::e@1.2.3]",
        "role[base]",
    ],
)
def test_items_that_chef_takes(item: str) -> None:
    assert is_item(item)


@pytest.mark.parametrize(
    "item",
    [
        "",
        " nginx",
        "nginx ",
        "recipe[]",
        "recipe[a",
        "recipe a]",
        "role[a::b]",
        "role[a@1.2.3]",
        "recipe[a@1]",
        "a@1.2.3.4",
        "Recipe[a]",
        "recipes[a]",
        "a::b::c",
        "recipe[a]\n",
        "role[a b]",
    ],
)
def test_items_that_chef_would_refuse(item: str) -> None:
    assert not is_item(item)


def test_a_declared_run_list_is_kept_in_the_form_of_the_chef_server() -> None:
    desired = read(
        {
            "a.yml": PRODUCTION.replace(
                '["recipe[kickstarter::web]"]', '[nginx, "recipe[nginx]", "role[base]", nginx@1.2.3]'
            )
        }
    )
    role = desired.environments[EnvironmentName("a")].roles[RoleName("web")]
    assert role.run_list == ("recipe[nginx]", "role[base]", "recipe[nginx@1.2.3]")
