"""What a write touches and what it costs, on servers behind HTTP."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from reconciler.model.names import ChefName, NodeName
from reconciler.model.observed import ChefEnvironment, ChefRole
from tests.adapters.chef.worlds import HttpWorld, Pair, adapter

WEB = NodeName("checkout-web-0123456789abcdef0")
ROLE: dict[str, Any] = {
    "name": "checkout-web",
    "json_class": "Chef::Role",
    "chef_type": "role",
    "description": "old",
    "run_list": ["recipe[old]"],
    "default_attributes": {"old": 1},
    "override_attributes": {"force": {"number": 1.5, "big": 12345678901, "text": "Grüße"}},
    "env_run_lists": {"production": ["recipe[theirs]"]},
}
ENVIRONMENT: dict[str, Any] = {
    "name": "checkout",
    "json_class": "Chef::Environment",
    "chef_type": "environment",
    "description": "old",
    "cookbook_versions": {"nginx": "= 1.2.3"},
    "default_attributes": {"theirs": [1, {"two": None}]},
    "override_attributes": {"b": True},
}


def test_a_changed_role_keeps_all_that_is_not_ours(http: HttpWorld) -> None:
    http.save("roles", ROLE)
    wanted = ChefRole(name=ChefName("checkout-web"), run_list=("recipe[new]",), default_attributes={"new": 2})
    assert http.server.put_role(wanted) is True
    ours = {"description": "", "run_list": ["recipe[new]"], "default_attributes": {"new": 2}}
    assert http.load("roles", "checkout-web") == ROLE | ours


def test_a_changed_environment_keeps_all_that_is_not_ours(http: HttpWorld) -> None:
    http.save("environments", ENVIRONMENT)
    mark: dict[str, Any] = {"fleet": "demo", "environment": "checkout"}
    wanted = ChefEnvironment(name=ChefName("checkout"), default_attributes={"hivequeen": mark}, description="new")
    assert http.server.put_environment(wanted) is True
    attributes = {**ENVIRONMENT["default_attributes"], "hivequeen": mark}
    ours = {"description": "new", "default_attributes": attributes}
    assert http.load("environments", "checkout") == ENVIRONMENT | ours


def test_a_changed_node_keeps_its_attributes_and_so_its_last_run(http: HttpWorld) -> None:
    http.save_node(WEB, chef_environment="_default", run_list=["recipe[mine]"], ohai_time=1763912345.5)
    before = http.load("nodes", WEB)
    assert http.server.put_node(WEB, ChefName("_default"), ["role[checkout-web]"]) is True
    assert before["automatic"]["platform"] == "debian"
    assert http.load("nodes", WEB) == before | {"run_list": ["role[checkout-web]"]}


def test_a_changed_node_keeps_its_policy(sandbox_world: HttpWorld) -> None:
    node = {"name": WEB, "policy_name": "web", "policy_group": "prod", "run_list": ["recipe[mine]"]}
    sandbox_world.save("nodes", node)
    sandbox_world.server.put_node(WEB, ChefName("_default"), [])
    stored = sandbox_world.load("nodes", WEB)
    assert (stored["policy_name"], stored["policy_group"], stored["run_list"]) == ("web", "prod", [])


def test_a_whole_read_is_one_search_per_kind(http: HttpWorld) -> None:
    http.server.nodes()
    http.server.roles()
    http.server.environments()
    http.server.clients()
    http.server.claim()
    assert http.requests == {
        ("POST search/node", "ok"): 1,
        ("POST search/role", "ok"): 1,
        ("POST search/environment", "ok"): 1,
        ("POST search/client", "ok"): 1,
        ("GET data", "ok"): 1,
    }


def test_named_reads_are_one_get_each_and_repeated_names_cost_nothing(http: HttpWorld) -> None:
    names = [NodeName(f"n{number}") for number in range(20)]
    for name in names[::2]:
        http.save_node(name, chef_environment="_default", run_list=[], ohai_time=None)
    assert set(http.server.nodes([*names, *names])) == set(names[::2])
    assert http.requests == {("GET nodes", "ok"): 20}


def test_what_is_so_already_costs_one_get(http: HttpWorld) -> None:
    http.save("roles", ROLE)
    same = ChefRole(name=ChefName("checkout-web"), run_list=("old",), default_attributes={"old": 1}, description="old")
    assert http.server.put_role(same) is False
    assert http.requests == {("GET roles", "ok"): 1}


def test_a_refusal_is_counted_as_one(http: HttpWorld, node_keys: tuple[Pair, Pair]) -> None:
    http.server.create_client(WEB, node_keys[0].public)
    http.server.create_client(WEB, node_keys[0].public)
    assert http.requests["POST clients", "ok"] == 1
    assert http.requests["POST clients", "refused"] == 1


def test_writers_at_once_make_one_role_and_the_rest_find_it_so(http: HttpWorld) -> None:
    role = ChefRole(name=ChefName("checkout-web"), run_list=("recipe[nginx]",), default_attributes={"a": 1})
    with ThreadPoolExecutor(8) as pool:
        written = Counter(pool.map(lambda _: http.server.put_role(role), range(16)))
    assert written == {True: 1, False: 15}
    assert http.server.roles() == {role.name: role}


def test_a_real_nodes_attributes_survive_a_repair(http: HttpWorld) -> None:
    """Attributes of the kinds that ohai writes: unicode, deep, big, floats."""
    automatic = {
        "ohai_time": 1763912345.1234567,
        "memory": {"total": "16384kB", "bytes": 2**53 + 0},
        "network": {"interfaces": {"eth0": {"addresses": {"fe80::1": {"scope": "Link", "prefixlen": "64"}}}}},
        "etc": {"passwd": {"jörg": {"gecos": "Jörg Müller,,,", "uid": 1000}}},
        "load": [0.1, 1e-07, 123456.789],
        "empty": {},
        "none": None,
    }
    node = {"name": WEB, "json_class": "Chef::Node", "chef_type": "node", "chef_environment": "_default"}
    http.save("nodes", node | {"run_list": [], "automatic": automatic, "normal": {}, "default": {}, "override": {}})
    http.server.put_node(WEB, ChefName("_default"), ["role[checkout-web]"])
    assert http.load("nodes", WEB)["automatic"] == automatic


@pytest.mark.parametrize("organisation", ["/organizations/acme", "/organizations/acme/", ""])
def test_the_sandbox_answers_with_and_without_an_organisation(
    sandbox_url: str, hivequeen_key: Path, organisation: str
) -> None:
    server = adapter(sandbox_url.removesuffix("/organizations/acme") + organisation, key=hivequeen_key)
    assert "hivequeen" in server.clients()
    server.close()
