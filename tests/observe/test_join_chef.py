"""Chef objects: which are ours, which only look so, and what an environment is made of."""

from dataclasses import replace
from typing import Any

import pytest

from reconciler.model import tags
from reconciler.model.names import ChefName
from reconciler.model.observed import ChefEnvironment, ChefRole
from tests.observe.readings import in_chef, instance, joined, launch, name, reading, record, remembering
from tests.plan.builders import (
    CHECKOUT,
    OTHER_FLEET,
    bare,
    desired,
    environment,
    foreign_environment,
    foreign_role,
    generated,
    known,
    memory,
    role,
)

OURS = generated(environment())
THEIRS = generated(environment(), fleet=OTHER_FLEET)
WEB_ROLE: ChefRole = OURS["chef_roles"][ChefName("checkout-web")]


def with_chef(*roles: ChefRole, environments: tuple[ChefEnvironment, ...] = (), **changes: Any) -> Any:
    made = reading(roles=roles, **changes)
    return replace(made, chef_environments={one.name: one for one in environments})


def foreign(made: Any) -> list[tuple[str, str]]:
    return [(one.kind, one.name) for one in made.observed.foreign]


def test_ours_are_found_by_their_mark() -> None:
    old = generated(environment("old", [role("web")]))
    made = joined(with_chef(*old["chef_roles"].values(), environments=(old["chef_environment"],)), desired())
    found = made.observed.environments[environment("old").name]
    assert (list(found.chef_roles), found.chef_environment) == (["old-web"], old["chef_environment"])
    assert not found.is_empty


def test_what_stands_where_ours_would_is_shown_with_its_environment() -> None:
    made = joined(with_chef(foreign_role("checkout-web"), environments=(foreign_environment("checkout"),)))
    found = made.observed.environments[CHECKOUT]
    assert list(found.chef_roles) == ["checkout-web"]
    assert found.chef_environment == foreign_environment("checkout")


@pytest.mark.parametrize(
    "there",
    [
        pytest.param(with_chef(foreign_role("checkout-web")), id="a foreign role"),
        pytest.param(with_chef(environments=(foreign_environment("checkout"),)), id="a foreign environment"),
        pytest.param(with_chef(*THEIRS["chef_roles"].values()), id="another fleet's role"),
        pytest.param(with_chef(environments=(THEIRS["chef_environment"],)), id="another fleet's environment"),
    ],
)
def test_what_is_not_ours_makes_no_fleet(there: Any) -> None:
    """Else a new installation would find a fleet that nobody claimed, and an old one would never end a teardown."""
    assert joined(there).observed.environments[CHECKOUT].is_empty


@pytest.mark.parametrize(
    ("saved_as", "kind"),
    [("my-copy", "chef role"), ("checkout_web_2", "chef role"), ("staging-web", "chef role")],
)
def test_a_copy_of_our_role_under_another_name_is_reported_only(saved_as: str, kind: str) -> None:
    copy = replace(WEB_ROLE, name=ChefName(saved_as))
    made = joined(with_chef(WEB_ROLE, copy))
    assert list(made.observed.environments[CHECKOUT].chef_roles) == ["checkout-web"]
    assert foreign(made) == [(kind, saved_as)]
    assert set(made.observed.environments) == {CHECKOUT}


def test_a_copy_of_our_environment_under_another_name_is_reported_only() -> None:
    copy = replace(OURS["chef_environment"], name=ChefName("mine"))
    made = joined(with_chef(environments=(OURS["chef_environment"], copy)))
    assert foreign(made) == [("chef environment", "mine")]


def test_a_mark_that_names_no_possible_environment_is_not_ours() -> None:
    odd = replace(WEB_ROLE, default_attributes={"hivequeen": {"fleet": "demo", "environment": "Bad Name"}})
    made = joined(with_chef(odd), desired())
    assert (made.observed.environments, foreign(made)) == ({}, [])


def test_nodes_and_clients_that_are_only_named_like_ours_are_reported() -> None:
    made = joined(reading(chef=[in_chef(1)], clients=[name(1), name(2)]))
    assert foreign(made) == [("chef node", name(1)), ("chef client", name(1)), ("chef client", name(2))]
    assert made.observed.environments[CHECKOUT].departed == ()


@pytest.mark.parametrize("other", ["chef-validator", "checkout-web", "checkout-web-1", "staging-web-0000000000000000a"])
def test_other_names_are_nobodys_business(other: str) -> None:
    assert foreign(joined(reading(clients=[other]))) == []


def test_those_of_our_nodes_are_not_reported() -> None:
    remembered = remembering(record(1), record(2, gone_at=record(2).seen_at), launches=[launch(1, 2)])
    made = joined(reading(instance(1), remembered=remembered, chef=[in_chef(1), in_chef(2)], clients=[name(1)]))
    assert foreign(made) == []


def test_a_scoped_look_reports_no_strangers() -> None:
    copy = replace(WEB_ROLE, name=ChefName("my-copy"))
    assert foreign(joined(with_chef(copy, clients=[name(1)], names=[CHECKOUT]))) == []


def test_an_environment_is_shown_under_the_chef_environment_that_it_uses() -> None:
    home = environment(chef_environment=ChefName("shared"))
    made = joined(with_chef(environments=(foreign_environment("shared"), OURS["chef_environment"])), desired(home))
    assert made.observed.environments[CHECKOUT].chef_environment == foreign_environment("shared")


def test_a_full_look_knows_every_name_that_is_declared_remembered_or_met() -> None:
    remembered = memory(environments=known("remembered"))
    chef = generated(environment("in-chef"))
    there = reading(instance(1, tag={tags.ENVIRONMENT: "in-ec2"}), remembered=remembered)
    made = joined(replace(there, chef_environments={ChefName("in-chef"): chef["chef_environment"]}))
    assert sorted(made.observed.environments) == ["checkout", "in-chef", "in-ec2", "remembered"]
    assert made.observed.is_full


def test_a_scoped_look_knows_its_names_alone() -> None:
    made = joined(reading(names=["staging"]), desired(environment(), environment("staging")))
    assert sorted(made.observed.environments) == ["staging"]


def test_an_environment_of_which_there_is_nothing_is_empty() -> None:
    assert joined(reading()).observed.environments[CHECKOUT].is_empty
    assert bare(CHECKOUT).is_empty
