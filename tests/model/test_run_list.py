"""Laws of run-list normalisation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.run_list import normalise

NAMES = st.sampled_from(["nginx", "nginx::default", "kickstarter::web", "base", "nginx@1.2.3"])
ITEMS = st.lists(st.one_of(NAMES, NAMES.map("recipe[{}]".format), NAMES.map("role[{}]".format), st.text(max_size=8)))


@pytest.mark.parametrize(
    ("item", "normal"),
    [
        ("nginx", "recipe[nginx]"),
        ("nginx::source", "recipe[nginx::source]"),
        ("nginx@1.2.3", "recipe[nginx@1.2.3]"),
        ("recipe[nginx]", "recipe[nginx]"),
        ("recipe[nginx::default]", "recipe[nginx::default]"),  # not the same to a Chef Server as recipe[nginx]
        ("role[base]", "role[base]"),
    ],
)
def test_an_item_is_qualified(item: str, normal: str) -> None:
    assert normalise([item]) == (normal,)


@given(ITEMS)
def test_a_normal_run_list_is_left_alone(items: list[str]) -> None:
    assert normalise(normalise(items)) == normalise(items)


@given(ITEMS)
def test_every_item_is_qualified_and_there_once(items: list[str]) -> None:
    normal = normalise(items)
    assert all(item.startswith(("recipe[", "role[")) for item in normal)
    assert len(set(normal)) == len(normal)


@given(ITEMS)
def test_items_stay_in_the_order_of_their_first_appearance(items: list[str]) -> None:
    each = [normalise([item])[0] for item in items]
    assert [each.index(item) for item in normalise(items)] == sorted(each.index(item) for item in set(each))


@given(ITEMS, ITEMS)
def test_a_prefix_decides_the_beginning(first: list[str], second: list[str]) -> None:
    normal = normalise(first)
    assert normalise([*first, *second])[: len(normal)] == normal
