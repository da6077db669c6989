"""What a test can do to the fake beside the port: faults, a lagging index, counting."""

import copy
from dataclasses import replace

import pytest

from reconciler.errors import Denied, Transient
from reconciler.model.names import ChefName, NodeName
from reconciler.model.observed import ChefRole
from tests.fakes.chef import FakeChefServer

ROLE = ChefRole(name=ChefName("checkout-web"), run_list=("recipe[nginx]",), default_attributes={"a": {"b": 1}})
WEB = NodeName("checkout-web-0123456789abcdef0")


def test_a_fault_before_the_commit_changes_nothing_and_happens_once() -> None:
    chef = FakeChefServer()
    chef.fail_next("put_role", Transient("down"))
    with pytest.raises(Transient):
        chef.put_role(ROLE)
    assert chef.stored_roles == {}
    assert chef.put_role(ROLE) is True


def test_a_fault_after_the_commit_is_a_reply_that_was_lost() -> None:
    chef = FakeChefServer()
    chef.fail_next("put_role", Transient("lost"), after_commit=True)
    with pytest.raises(Transient):
        chef.put_role(ROLE)
    assert chef.stored_roles == {ROLE.name: ROLE}
    assert chef.put_role(ROLE) is False


def test_faults_queue_up_per_operation() -> None:
    chef = FakeChefServer()
    chef.fail_next("nodes", Transient("first"))
    chef.fail_next("nodes", Denied("second"))
    assert chef.roles() == {}
    with pytest.raises(Transient, match="first"):
        chef.nodes()
    with pytest.raises(Denied, match="second"):
        chef.nodes([WEB])
    assert chef.nodes() == {}


def test_a_lagging_index_hides_what_reads_by_name_show() -> None:
    chef = FakeChefServer()
    chef.search_lag = True
    chef.save_node(WEB, ohai_time=1.0)
    assert chef.nodes() == {}
    assert set(chef.nodes([WEB])) == {WEB}
    chef.index()
    assert set(chef.nodes()) == {WEB}
    chef.delete_node(WEB)
    assert set(chef.nodes()) == {WEB}
    assert chef.nodes([WEB]) == {}


def test_an_index_that_starts_to_lag_shows_its_last_state() -> None:
    chef = FakeChefServer()
    chef.put_role(ROLE)
    chef.index()
    chef.search_lag = True
    chef.delete_role(ROLE.name)
    assert set(chef.roles()) == {ROLE.name}


def test_calls_reads_and_writes_are_counted() -> None:
    chef = FakeChefServer()
    chef.nodes()
    chef.nodes([WEB, WEB])
    chef.roles()
    chef.claim()
    assert (chef.reads, chef.writes) == (4, 0)
    chef.put_role(ROLE)
    chef.put_role(ROLE)
    assert chef.writes == 1
    assert chef.calls == {"search nodes": 1, "get nodes": 1, "search roles": 1, "claim": 1, "put_role": 2}


def test_what_is_put_is_kept_as_a_copy() -> None:
    """What is handed out is shared, for the simulation reads it a million times; nobody may change it."""
    chef = FakeChefServer()
    attributes = copy.deepcopy(dict(ROLE.default_attributes))
    chef.put_role(replace(ROLE, default_attributes=attributes))
    inner = attributes["a"]
    assert isinstance(inner, dict)
    inner["b"] = 2
    assert chef.stored_roles == {ROLE.name: ROLE}
