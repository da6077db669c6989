"""`ports.ChefServer`: what the fake, the sandbox's server and goiardi, the latter two behind the adapter, all do."""

from dataclasses import replace

import pytest

from reconciler.errors import Conflict, Transient
from reconciler.model.names import ChefName, InstallationId, NodeName, RevisionId
from reconciler.model.observed import ChefEnvironment, ChefNode, ChefRole
from reconciler.ports import Claim
from tests.adapters.chef.worlds import FLEET, Pair, World

WEB = NodeName("checkout-web-0123456789abcdef0")
OTHER = NodeName("checkout-web-0123456789abcdef1")
ROLE = ChefRole(
    name=ChefName("checkout-web"),
    run_list=("recipe[kickstarter::web]", "role[base]"),
    default_attributes={
        "hivequeen": {"fleet": "demo", "environment": "checkout", "protected": False},
        "unicorn": {"workers": 8, "ratio": 0.5, "greeting": "Grüße", "none": None, "list": [1, "two"]},
    },
    description="web of checkout",
)
ENVIRONMENT = ChefEnvironment(
    name=ChefName("checkout"),
    default_attributes={"hivequeen": {"fleet": "demo", "environment": "checkout", "protected": True}},
    description="Größenwahn",
)
CLAIM = Claim(
    fleet=FLEET,
    installation=InstallationId("6f3c"),
    account="123456789012",
    region="us-east-1",
    repository="/srv/envs.git",
    branch="main",
    path="environments.d",
    applied=None,
)


def test_an_empty_organisation_has_nothing_of_ours(world: World) -> None:
    assert world.server.nodes() == {}
    assert world.server.roles() == {}
    assert set(world.server.environments()) == {"_default"}
    assert WEB not in world.server.clients()
    assert world.server.claim() is None


def test_a_node_is_read_alike_by_search_and_by_name(world: World) -> None:
    world.save_node(WEB, chef_environment="_default", run_list=["role[checkout-web]"], ohai_time=1763912345.25)
    expected = ChefNode(
        name=WEB, chef_environment=ChefName("_default"), run_list=("role[checkout-web]",), ohai_time=1763912345.25
    )
    assert world.server.nodes() == {WEB: expected}
    assert world.server.nodes([WEB, OTHER]) == {WEB: expected}


def test_a_node_that_never_converged_has_no_ohai_time(world: World) -> None:
    world.save_node(WEB, chef_environment="_default", run_list=[], ohai_time=None)
    assert world.server.nodes()[WEB].ohai_time is None
    assert world.server.nodes([WEB])[WEB].ohai_time is None


def test_reading_no_names_finds_nothing(world: World) -> None:
    world.save_node(WEB, chef_environment="_default", run_list=[], ohai_time=None)
    assert world.server.nodes([]) == {}
    assert world.server.clients([]) == frozenset()


def test_a_role_is_created_then_left_alone(world: World) -> None:
    assert world.server.put_role(ROLE) is True
    assert world.server.put_role(ROLE) is False
    assert world.server.roles() == {ROLE.name: ROLE}
    assert world.server.roles([ROLE.name, ChefName("absent")]) == {ROLE.name: ROLE}


def test_a_changed_role_is_written(world: World) -> None:
    world.server.put_role(ROLE)
    changed = replace(ROLE, run_list=("recipe[nginx]",), default_attributes={"unicorn": {}}, description="")
    assert world.server.put_role(changed) is True
    assert world.server.roles([ROLE.name]) == {ROLE.name: changed}


def test_run_lists_come_back_normalised(world: World) -> None:
    world.server.put_role(replace(ROLE, run_list=("nginx", "recipe[nginx]", "kickstarter::web", "role[base]")))
    normal = ("recipe[nginx]", "recipe[kickstarter::web]", "role[base]")
    assert world.server.roles([ROLE.name])[ROLE.name].run_list == normal
    assert world.server.put_role(replace(ROLE, run_list=normal)) is False


def test_an_environment_is_created_then_left_alone(world: World) -> None:
    assert world.server.put_environment(ENVIRONMENT) is True
    assert world.server.put_environment(ENVIRONMENT) is False
    assert world.server.environments()[ENVIRONMENT.name] == ENVIRONMENT
    assert world.server.environments([ENVIRONMENT.name, ChefName("absent")]) == {ENVIRONMENT.name: ENVIRONMENT}


def test_only_our_own_attribute_of_an_environment_changes(world: World) -> None:
    world.server.put_environment(replace(ENVIRONMENT, default_attributes={"hivequeen": {"a": 1}, "theirs": {"b": 2}}))
    world.server.put_environment(ENVIRONMENT)
    (found,) = world.server.environments([ENVIRONMENT.name]).values()
    assert found.default_attributes == {**ENVIRONMENT.default_attributes, "theirs": {"b": 2}}


def test_a_nodes_run_list_and_environment_are_repaired(world: World) -> None:
    world.server.put_environment(ENVIRONMENT)
    world.save_node(WEB, chef_environment="_default", run_list=["recipe[mine]"], ohai_time=1.0)
    assert world.server.put_node(WEB, ENVIRONMENT.name, ["role[checkout-web]"]) is True
    assert world.server.put_node(WEB, ENVIRONMENT.name, ["role[checkout-web]"]) is False
    assert world.server.nodes([WEB])[WEB] == ChefNode(
        name=WEB, chef_environment=ENVIRONMENT.name, run_list=("role[checkout-web]",), ohai_time=1.0
    )


def test_a_node_that_does_not_exist_is_not_made(world: World) -> None:
    assert world.server.put_node(WEB, ChefName("_default"), []) is False
    assert world.server.nodes([WEB]) == {}


def test_deleting_removes_and_deleting_again_is_success(world: World, node_keys: tuple[Pair, Pair]) -> None:
    world.save_node(WEB, chef_environment="_default", run_list=[], ohai_time=None)
    world.server.create_client(WEB, node_keys[0].public)
    world.server.put_role(ROLE)
    world.server.put_environment(ENVIRONMENT)
    for _ in range(2):
        world.server.delete_node(WEB)
        world.server.delete_client(WEB)
        world.server.delete_role(ROLE.name)
        world.server.delete_environment(ENVIRONMENT.name)
    assert world.server.nodes([WEB]) == {}
    assert world.server.clients([WEB]) == frozenset()
    assert world.server.roles([ROLE.name]) == {}
    assert world.server.environments([ENVIRONMENT.name]) == {}


def test_a_client_is_created_with_the_nodes_own_key(world: World, node_keys: tuple[Pair, Pair]) -> None:
    world.server.create_client(WEB, node_keys[0].public)
    assert WEB in world.server.clients()
    assert world.server.clients([WEB, OTHER]) == {WEB}


def test_the_same_key_again_is_success_in_whatever_form(world: World, node_keys: tuple[Pair, Pair]) -> None:
    world.server.create_client(WEB, node_keys[0].public)
    world.server.create_client(WEB, node_keys[0].public)
    world.server.create_client(WEB, node_keys[0].public.replace("\n", "\r\n"))
    world.server.create_client(WEB, node_keys[0].public_pkcs1)


def test_a_client_with_another_key_is_a_conflict_and_stays(world: World, node_keys: tuple[Pair, Pair]) -> None:
    first, second = node_keys
    world.server.create_client(WEB, first.public)
    with pytest.raises(Conflict):
        world.server.create_client(WEB, second.public)
    world.server.create_client(WEB, first.public)


def test_only_one_installation_wins_the_claim(world: World) -> None:
    world.server.create_claim(CLAIM)
    with pytest.raises(Conflict):
        world.server.create_claim(replace(CLAIM, installation=InstallationId("other")))
    assert world.server.claim() == CLAIM


def test_the_claim_is_updated(world: World) -> None:
    world.server.create_claim(CLAIM)
    updated = replace(CLAIM, applied=RevisionId("a" * 40), branch="übung")
    world.server.update_claim(updated)
    assert world.server.claim() == updated


def test_a_claim_that_vanished_is_not_made_anew_by_an_update(world: World) -> None:
    with pytest.raises(Transient):
        world.server.update_claim(CLAIM)
    assert world.server.claim() is None
