"""Reading: what is asked of EC2, the journal and Chef, how much of it, and that a part is never taken for the whole."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from reconciler.adapters.journal import SqliteJournal
from reconciler.errors import Denied, HivequeenError, Transient
from reconciler.model import tags
from reconciler.model.desired import Desired, ImageByParameter
from reconciler.model.facts import (
    Fact,
    FirstRunReported,
    IntentLaunched,
    IntentOpened,
    NodeFailed,
    NodeGone,
    NodeMissing,
    NodeReady,
    NodeSeen,
    RegistrationDeferred,
    RevisionApplied,
    RoleSettled,
)
from reconciler.model.names import ChefName, EnvironmentName, ImageId, InstanceId, NodeName, node_name
from reconciler.observe import Reading, read
from tests.fakes.chef import FakeChefServer
from tests.fakes.clock import FakeClock
from tests.fakes.cloud import FakeCloud
from tests.observe.readings import RULES, launch, record
from tests.plan.builders import (
    CHECKOUT,
    HOUR,
    NEW_IMAGE,
    REVISION,
    WEB,
    desired,
    environment,
    generated,
    instance_id,
    parameters,
    role,
)

MOVING = ImageByParameter(parameter="/debian")


@dataclass
class Outside:
    """EC2, Chef and the journal, with what a look asks of them."""

    journal: SqliteJournal
    clock: FakeClock = field(default_factory=FakeClock)
    chef: FakeChefServer = field(default_factory=FakeChefServer)

    def __post_init__(self) -> None:
        self.cloud = FakeCloud(clock=self.clock)

    def launch(self, home: str = CHECKOUT, count: int = 1) -> list[InstanceId]:
        """Launched and recorded as the daemon does it."""
        token = f"hq-{home}-{len(self.cloud.everything())}"
        known = launch(
            token=token,
            environment=EnvironmentName(home),
            parameters=parameters(role(), count, token=token, home=environment(home)),
        )
        self.journal.record(self.clock.now(), IntentOpened(intent=known))
        ids = self.cloud.run_instances(known.token, known.parameters)
        self.journal.record(self.clock.now(), IntentLaunched(token=known.token, instance_ids=tuple(ids)))
        return list(ids)

    def look(
        self, wanted: Desired | None = None, names: Collection[str] | None = None, refresh: Collection[str] = ()
    ) -> Reading:
        self.cloud.calls.clear()
        self.chef.calls.clear()
        return read(
            cloud=self.cloud,
            chef=self.chef,
            journal=self.journal,
            desired=wanted if wanted is not None else desired(environment()),
            names=None if names is None else frozenset(EnvironmentName(one) for one in names),
            refresh=[EnvironmentName(one) for one in refresh],
            rules=RULES,
            at=self.clock.now(),
        )


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    with SqliteJournal(f"sqlite:///{tmp_path / 'state.db'}") as journal:
        yield Outside(journal=journal)


def test_a_full_look_is_one_listing_and_one_search_of_each_kind(outside: Outside) -> None:
    for home in ("a", "b", "c"):
        outside.launch(home, 3)
        put(outside, home)
    outside.chef.calls.clear()
    wanted = desired(*(environment(home) for home in ("a", "b", "c")))
    outside.journal.record(outside.clock.now(), RevisionApplied(revision=REVISION, declared=wanted.names))
    made = outside.look(wanted)
    assert len(made.listed) == 9
    assert outside.cloud.calls == {"DescribeInstances": 1}
    assert outside.chef.calls == {
        "search nodes": 1,
        "search clients": 1,
        "search roles": 1,
        "search environments": 1,
    }


def test_a_scoped_look_reads_its_own_by_name(outside: Outside) -> None:
    outside.launch("a", 2)
    outside.launch("b", 2)
    made = outside.look(desired(environment("a"), environment("b")), names=["a"])
    assert {one.environment for one in made.listed.values()} == {"a"}
    assert outside.cloud.calls == {"DescribeInstances": 1}
    assert outside.chef.calls == {"get nodes": 2, "get roles": 1, "get environments": 1}


def test_a_scope_of_nothing_asks_nothing(outside: Outside) -> None:
    made = outside.look(names=[])
    assert (made.listed, outside.cloud.calls, outside.chef.calls) == ({}, {}, {})


def test_a_known_instance_that_is_not_listed_is_read_by_id(outside: Outside) -> None:
    (lost,) = outside.launch()
    outside.clock.advance(300)
    outside.cloud.retag(lost, {tags.FLEET: None})
    made = outside.look()
    assert (list(made.by_id), set(made.asked), made.listed) == ([lost], {lost}, {})


@pytest.mark.parametrize(("after_s", "asked"), [(299, False), (300, True)])
def test_for_five_minutes_its_launch_is_proof_enough(outside: Outside, after_s: float, *, asked: bool) -> None:
    outside.cloud.visibility_lag_s = 3600
    (young,) = outside.launch()
    outside.clock.advance(after_s)
    assert (young in outside.look().asked) == asked


def test_who_was_seen_gone_is_not_looked_for(outside: Outside) -> None:
    (dead,) = outside.launch()
    outside.journal.record(outside.clock.now(), NodeGone(instance_id=dead))
    outside.clock.advance(7200)
    outside.cloud.terminate_by_hand(dead)
    outside.clock.advance(7200)
    assert outside.look().asked == frozenset()


def test_nobody_is_looked_for_who_is_out_of_scope(outside: Outside) -> None:
    outside.journal.record(outside.clock.now(), NodeSeen(record=record(1, of="staging", age=HOUR)))
    assert outside.look(names=[CHECKOUT]).asked == frozenset()


@pytest.mark.parametrize("error", [Transient("throttled"), Denied("not allowed", code="403")])
@pytest.mark.parametrize("kind", ["nodes", "clients", "roles", "environments"])
def test_what_chef_does_not_answer_makes_no_reading(outside: Outside, kind: str, error: HivequeenError) -> None:
    outside.launch()
    outside.chef.fail_next(kind, error)
    with pytest.raises(type(error)):
        outside.look()


def test_what_ec2_does_not_answer_makes_no_reading(outside: Outside) -> None:
    outside.launch()
    outside.cloud.fail("DescribeInstances", Transient("throttled"))
    with pytest.raises(Transient):
        outside.look()
    (missing,) = outside.launch()
    outside.clock.advance(300)
    outside.cloud.retag(missing, {tags.FLEET: None})
    outside.look()  # both answer
    outside.cloud.fail("DescribeInstances", Transient("throttled"), times=2)
    with pytest.raises(Transient):
        outside.look()


def test_an_image_that_cannot_be_asked_for_now_is_that_roles_trouble_alone(outside: Outside) -> None:
    outside.cloud.fail("GetParameter", Transient("throttled"))
    reading = outside.look(desired(environment(roles=[role(image=MOVING)])))
    assert reading.images == {}
    assert [message for message, _ in reading.unresolved.values()] == ["throttled"]


# --- the dead are read by name --------------------------------------------------------------------------------------


def test_a_search_that_lags_does_not_hide_what_the_dead_have_left(outside: Outside) -> None:
    (dead,) = outside.launch()
    name = f"checkout-web-{dead.removeprefix('i-')}"
    outside.chef.index()
    outside.chef.search_lag = True
    outside.chef.save_node(name, ohai_time=1.0)
    outside.chef.create_client(NodeName(name), "a public key")
    outside.cloud.terminate_by_hand(dead)
    made = outside.look()
    assert name in made.chef_nodes
    assert name in made.chef_clients


def test_a_search_that_lags_does_not_show_what_the_dead_have_left_no_more(outside: Outside) -> None:
    (dead,) = outside.launch()
    name = f"checkout-web-{dead.removeprefix('i-')}"
    outside.chef.save_node(name, ohai_time=1.0)
    outside.chef.index()
    outside.chef.search_lag = True
    outside.chef.delete_node(record(int(dead.removeprefix("i-"), 16)).name)
    outside.journal.record(outside.clock.now(), NodeMissing(instance_id=dead))
    outside.cloud.terminate_by_hand(dead)
    made = outside.look()
    assert name not in made.chef_nodes


def test_what_a_missing_node_has_left_is_read_by_name(outside: Outside) -> None:
    """After an hour of NotFound it is called gone, and then forgotten if nothing of it is left."""
    outside.journal.record(outside.clock.now(), NodeSeen(record=record(1)), NodeMissing(instance_id=instance_id(1)))
    outside.chef.index()
    outside.chef.search_lag = True
    outside.chef.save_node(record(1).name, ohai_time=1.0)
    assert record(1).name in outside.look().chef_nodes


def test_an_owned_instance_that_nobody_remembers_is_read_in_a_scoped_look_too(outside: Outside) -> None:
    (unknown,) = outside.cloud.launch_by_hand(parameters(role(), 1, token="hq-x"))
    name = f"checkout-web-{unknown.removeprefix('i-')}"
    outside.chef.save_node(name, ohai_time=1.0)
    assert name in outside.look(names=[CHECKOUT]).chef_nodes


def test_an_owned_instance_without_a_role_is_named_in_no_question(outside: Outside) -> None:
    (odd,) = outside.cloud.launch_by_hand(parameters(role(), 1, token="hq-x"))
    outside.cloud.retag(odd, {tags.ROLE: None})
    assert outside.look(names=[CHECKOUT]).chef_nodes == {}
    assert outside.chef.calls["get nodes"] == 0


# --- who is overdue is read by name ---------------------------------------------------------------------------------


def test_who_is_past_its_deadline_is_read_by_name_though_a_search_lacks_it(outside: Outside) -> None:
    outside.chef.search_lag = True
    (late,) = outside.launch()
    name: str = node_name(CHECKOUT, WEB, late)
    outside.chef.save_node(name, ohai_time=1.0)
    outside.clock.advance(1799)
    assert (outside.look().chef_asked, outside.chef.calls["get nodes"]) == (frozenset(), 0)
    outside.clock.advance(1)
    made = outside.look()
    assert (made.chef_asked, outside.chef.calls["get nodes"]) == (frozenset({name}), 1)
    assert made.chef_nodes[name].ohai_time == 1.0


def test_one_full_look_reads_only_so_many_by_name_those_that_are_due_longest_first(outside: Outside) -> None:
    first = outside.launch(count=15)
    outside.clock.advance(60)
    outside.launch(count=15)
    outside.clock.advance(3600)
    made = outside.look()
    assert (len(made.chef_asked), outside.chef.calls["get nodes"]) == (20, 20)
    assert {node_name(CHECKOUT, WEB, one) for one in first} < made.chef_asked


@pytest.mark.parametrize(
    "known",
    [
        pytest.param(NodeReady, id="it was ready"),
        pytest.param(NodeFailed, id="it was judged before"),
        pytest.param(partial(FirstRunReported, ok=False, log=""), id="it reported its failure"),
        pytest.param(RegistrationDeferred, id="it waits for us"),
    ],
)
def test_who_needs_no_judging_is_not_read_by_name(outside: Outside, known: Callable[..., Fact]) -> None:
    (late,) = outside.launch()
    outside.clock.advance(3600)
    outside.journal.record(outside.clock.now(), known(instance_id=late))
    assert outside.look().chef_asked == frozenset()


def test_who_is_older_than_the_journal_has_no_deadline_and_is_not_read_by_name(outside: Outside) -> None:
    (old,) = outside.cloud.launch_by_hand(parameters(role(), 1, token="hq-x"))
    outside.journal.record(outside.clock.now(), NodeSeen(record=record(1, instance_id=old, intent=None)))
    outside.clock.advance(3600)
    assert outside.look().chef_asked == frozenset()


def test_whoever_chef_does_not_answer_for_was_not_asked(outside: Outside) -> None:
    """It must not be called failed: nobody knows."""
    outside.launch()
    outside.clock.advance(3600)
    for _ in ("all at once", "environment by environment"):
        outside.chef.fail_next("nodes", Transient("timed out"))
    made = outside.look(names=[CHECKOUT])
    assert (made.chef_asked, set(made.unreadable)) == (frozenset(), {CHECKOUT})


# --- generated objects ----------------------------------------------------------------------------------------------


def put(outside: Outside, home: str = CHECKOUT, **changes: Any) -> None:
    chef = generated(environment(home, **changes))
    outside.chef.put_environment(chef["chef_environment"])
    for one in chef["chef_roles"].values():
        outside.chef.put_role(one)


@pytest.mark.parametrize("names", [None, [CHECKOUT]])
def test_an_ending_environments_objects_are_read_by_name(outside: Outside, names: list[str] | None) -> None:
    """A search that lags must not end a teardown early, nor keep one open."""
    put(outside)
    outside.journal.record(outside.clock.now(), RevisionApplied(revision=REVISION, declared=frozenset({CHECKOUT})))
    outside.journal.record(outside.clock.now(), RoleSettled(environment=CHECKOUT, role=WEB, count=2))
    outside.chef.search_lag = True  # and the index is empty
    made = outside.look(desired(), names=names)
    assert (list(made.chef_roles), list(made.chef_environments)[-1]) == (["checkout-web"], "checkout")


def test_what_is_gone_from_an_ending_environment_is_gone_whatever_the_search_says(outside: Outside) -> None:
    put(outside)
    outside.chef.index()
    outside.chef.search_lag = True
    outside.chef.delete_role(ChefName("checkout-web"))
    outside.chef.delete_environment(ChefName("checkout"))
    outside.journal.record(outside.clock.now(), RevisionApplied(revision=REVISION, declared=frozenset({CHECKOUT})))
    made = outside.look(desired())
    assert "checkout-web" not in made.chef_roles
    assert "checkout" not in made.chef_environments


@pytest.mark.parametrize("names", [None, [CHECKOUT]])
def test_a_role_that_never_held_a_node_is_seen_when_its_environment_ends(
    outside: Outside, names: list[str] | None
) -> None:
    """Its launches were all refused, say: nothing in the journal names it any more."""
    put(outside)
    outside.journal.record(outside.clock.now(), RevisionApplied(revision=REVISION, declared=frozenset({CHECKOUT})))
    assert list(outside.look(desired(), names=names).chef_roles) == ["checkout-web"]


def test_a_removed_role_is_seen_in_a_scoped_look(outside: Outside) -> None:
    put(outside, roles=[role(), role("worker")])
    outside.journal.record(outside.clock.now(), NodeSeen(record=record(1, role="worker")))
    made = outside.look(names=[CHECKOUT])
    assert sorted(made.chef_roles) == ["checkout-web", "checkout-worker"]


def test_the_chef_environment_that_a_file_names_is_read(outside: Outside) -> None:
    put(outside, "shared")
    home = environment(chef_environment=ChefName("shared"))
    assert list(outside.look(desired(home), names=[CHECKOUT]).chef_environments) == ["shared"]


# --- images ---------------------------------------------------------------------------------------------------------

HOME = environment(roles=[role(image=MOVING)])
KEY = (CHECKOUT, WEB)


def test_a_fixed_image_is_not_asked_for(outside: Outside) -> None:
    assert outside.look().images == {}


def test_a_moving_image_is_resolved_once_for_all_who_use_it(outside: Outside) -> None:
    outside.cloud.moving_images["ssm:/debian"] = NEW_IMAGE
    other = environment("staging", [role(image=MOVING)])
    made = outside.look(desired(HOME, other))
    assert made.images == {KEY: NEW_IMAGE, (other.name, WEB): NEW_IMAGE}
    assert outside.cloud.calls["GetParameter"] == 1


@pytest.mark.parametrize(("refresh", "found"), [([], {}), ([CHECKOUT], {KEY: NEW_IMAGE}), (["staging"], {})])
def test_a_pinned_image_is_resolved_again_only_when_asked_for(
    outside: Outside, refresh: list[str], found: dict[Any, ImageId]
) -> None:
    outside.cloud.moving_images["ssm:/debian"] = NEW_IMAGE
    put(outside, roles=[role(image=MOVING)])
    assert outside.look(desired(HOME), refresh=refresh).images == found


def test_a_pin_in_a_role_that_is_not_ours_does_not_count(outside: Outside) -> None:
    outside.cloud.moving_images["ssm:/debian"] = NEW_IMAGE
    pinned = generated(HOME)["chef_roles"][ChefName("checkout-web")]
    mark = {key: value for key, value in pinned.default_attributes["hivequeen"].items() if key != "fleet"}
    outside.chef.put_role(replace(pinned, default_attributes={"hivequeen": mark}))
    assert outside.look(desired(HOME)).images == {KEY: NEW_IMAGE}


def test_an_image_out_of_scope_is_not_resolved(outside: Outside) -> None:
    assert outside.look(desired(HOME, environment("staging")), names=["staging"]).unresolved == {}


def test_an_image_that_names_nothing_is_its_own_roles_trouble(outside: Outside) -> None:
    other = environment("staging", [role(image=MOVING)])
    made = outside.look(desired(HOME, other))
    assert made.images == {}
    assert made.unresolved[KEY] == ("no image ssm:/debian", "declare an image that exists")
    assert set(made.unresolved) == {KEY, (other.name, WEB)}
    assert outside.cloud.calls["GetParameter"] == 1
