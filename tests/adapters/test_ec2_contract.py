"""What ports.Cloud promises: the same assertions on the fake, and on boto3 against the sandbox's endpoint over HTTP."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import count
from typing import TypeAlias

import botocore.session
import pytest

from reconciler.adapters.ec2 import Ec2
from reconciler.adapters.ec2_pace import Pace
from reconciler.errors import HivequeenError, NoCapacity, Refused, TokenMismatch, TokenSpent, Transient
from reconciler.model import tags
from reconciler.model.desired import ImageById, ImageByName, ImageByParameter
from reconciler.model.memory import LaunchParameters
from reconciler.model.names import EnvironmentName, FleetId, ImageId, InstanceId, IntentToken
from reconciler.model.observed import Instance, InstanceState
from reconciler.ports import Cloud
from reconciler.sandbox.ec2 import Ec2Endpoint, Effect, Fault, Moment, Timing, serve
from reconciler.settings import AwsSettings
from tests.fakes.clock import FakeClock
from tests.fakes.cloud import FakeCloud

FLEET = FleetId("demo")
CHECKOUT, SEARCH = EnvironmentName("checkout"), EnvironmentName("search")
SUBNETS = ("subnet-0a1b2c3d4e5f60001", "subnet-0a1b2c3d4e5f60002")
NOBODY = InstanceId("i-00000000000000000")
PENDING_S, LAG_S, SHUTTING_DOWN_S, STOPPING_S, LINGER_S = 30, 5, 40, 20, 3600


@dataclass(frozen=True)
class World:
    """One implementation, and what a test may do to the EC2 behind it."""

    cloud: Cloud
    clock: FakeClock
    exhaust: Callable[[str, str], None]
    protect: Callable[[InstanceId], None]
    lose_reply: Callable[[str], None]  # of the next such request: EC2 does it, and nobody is told
    lose_request: Callable[[str], None]

    def settle(self) -> None:
        """Until every instance is visible and runs."""
        self.clock.advance(PENDING_S)


def unhurried() -> Pace:
    """To it, a minute passes between any two requests."""
    return Pace(count(step=60).__next__)


def fake_world() -> Iterator[World]:
    clock = FakeClock()
    cloud = FakeCloud(
        clock=clock,
        fleet=FLEET,
        pending_s=PENDING_S,
        visibility_lag_s=LAG_S,
        shutting_down_s=SHUTTING_DOWN_S,
        stopping_s=STOPPING_S,
        linger_s=LINGER_S,
        moving_images={"self/sandbox-2026-*": ImageId("ami-0fedcba9876543210")},
        unknown_images={ImageId("ami-00000000000000000")},
        unknown_subnets={"subnet-00000000000000000"},
        pace=unhurried(),
    )
    yield World(
        cloud=cloud,
        clock=clock,
        exhaust=lambda instance_type, subnet: cloud.exhausted.add((instance_type, subnet)),
        protect=cloud.protect,
        lose_reply=lambda operation: cloud.fail(operation, Transient("reply lost"), after_commit=True),
        lose_request=lambda operation: cloud.fail(operation, Transient("request lost")),
    )


def endpoint_world() -> Iterator[World]:
    clock = FakeClock()
    timing = Timing(
        pending_s=PENDING_S,
        visibility_lag_s=LAG_S,
        shutting_down_s=SHUTTING_DOWN_S,
        stopping_s=STOPPING_S,
        linger_s=LINGER_S,
    )
    endpoint = Ec2Endpoint(timing=timing, now=clock.now)

    def drop(operation: str, moment: Moment) -> None:
        # As often as the adapter asks again, which it does for reads.
        times = 3 if operation.startswith("Describe") else 1
        endpoint.faults.add(Fault(operation=operation, effect=Effect.DROP, moment=moment, times=times))

    with serve(endpoint) as url:
        yield World(
            cloud=Ec2(
                AwsSettings(region="us-east-1", endpoint_url=url),
                FLEET,
                lambda *_: None,
                sessions=signed_session,
                pace=unhurried(),
            ),
            clock=clock,
            exhaust=endpoint.exhaust,
            protect=endpoint.protect,
            lose_reply=lambda operation: drop(operation, Moment.AFTER),
            lose_request=lambda operation: drop(operation, Moment.BEFORE),
        )


@cache  # botocore reads its model of EC2 once per session, in 0.2 s
def signed_session() -> botocore.session.Session:
    session = botocore.session.Session()
    session.set_credentials("AKIDEXAMPLE", "secret")
    return session


@pytest.fixture(params=[fake_world, endpoint_world], ids=["fake", "boto3"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    make: Callable[[], Iterator[World]] = request.param
    yield from make()


def parameters(environment: str = CHECKOUT, **changes: object) -> LaunchParameters:
    declared = {
        tags.FLEET: FLEET,
        tags.ENVIRONMENT: environment,
        tags.ROLE: "web",
        tags.INTENT: "a-token",
        "Name": f"{environment}-web",
        "note": "Grüße, <&> 蜂",
    }
    base = LaunchParameters(
        image=ImageId("ami-0123456789abcdef0"),
        instance_type="m7i.large",
        subnet=SUBNETS[0],
        count=1,
        security_groups=("sg-0a1b2c3d4e5f60001",),
        instance_profile="web",
        key_name=None,
        root_volume_size_gib=None,
        root_volume_type=None,
        user_data="#!/bin/sh\necho 'Grüße'\n",
        tags=tuple(sorted(declared.items())),
    )
    return replace(base, **changes)  # type: ignore[arg-type] # each test names fields of LaunchParameters


_tokens = (IntentToken(f"token-{number}") for number in count())


def launch(world: World, wanted: LaunchParameters) -> tuple[InstanceId, ...]:
    ids = tuple(world.cloud.run_instances(next(_tokens), wanted))
    world.settle()
    return ids


def listed(world: World, *environments: EnvironmentName) -> dict[InstanceId, Instance]:
    return {one.instance_id: one for one in world.cloud.list_instances(environments or None)}


# --- launching ---


def test_a_launched_instance_is_listed_with_everything_that_was_asked_for(world: World) -> None:
    wanted = parameters(count=2)
    before = world.clock.now()
    ids = launch(world, wanted)
    instances = listed(world)
    assert set(instances) == set(ids)
    assert len(set(ids)) == 2
    for instance in instances.values():
        assert instance.state is InstanceState.RUNNING
        assert instance.image == wanted.image
        assert instance.instance_type == wanted.instance_type
        assert instance.subnet == wanted.subnet
        assert instance.security_groups == frozenset(wanted.security_groups)
        assert instance.instance_profile == wanted.instance_profile
        assert instance.launched_at == before
        assert instance.launched_at.tzinfo is not None
        assert dict(instance.tags) == dict(wanted.tags)
    assert len({instance.private_address for instance in instances.values()}) == 2


def test_an_instance_with_nothing_optional_can_be_launched(world: World) -> None:
    (instance_id,) = launch(world, parameters(instance_profile=None, root_volume_size_gib=20, root_volume_type="gp3"))
    assert listed(world)[instance_id].instance_profile is None


def test_the_same_token_and_parameters_launch_once(world: World) -> None:
    token = IntentToken("once")
    first = world.cloud.run_instances(token, parameters(count=2))
    again = world.cloud.run_instances(token, parameters(count=2))
    world.settle()
    assert list(again) == list(first)
    assert set(listed(world)) == set(first)


def test_a_token_with_other_parameters_is_a_mismatch_and_launches_nothing(world: World) -> None:
    token = IntentToken("once")
    first = world.cloud.run_instances(token, parameters())
    with pytest.raises(TokenMismatch):
        world.cloud.run_instances(token, parameters(count=2))
    world.settle()
    assert set(listed(world)) == set(first)


def test_a_token_whose_instances_were_terminated_is_spent(world: World) -> None:
    token = IntentToken("once")
    ids = world.cloud.run_instances(token, parameters(count=2))
    world.settle()
    world.cloud.terminate(ids[:1])
    assert list(world.cloud.run_instances(token, parameters(count=2))) == list(ids)
    world.cloud.terminate(ids)
    with pytest.raises(TokenSpent):
        world.cloud.run_instances(token, parameters(count=2))
    world.clock.advance(LINGER_S)
    with pytest.raises(TokenSpent):
        world.cloud.run_instances(token, parameters(count=2))


def test_a_lost_reply_is_transient_and_the_same_token_finds_what_was_launched(world: World) -> None:
    token = IntentToken("lost")
    world.lose_reply("RunInstances")
    with pytest.raises(Transient):
        world.cloud.run_instances(token, parameters())
    again = world.cloud.run_instances(token, parameters())
    world.settle()
    assert set(listed(world)) == set(again)


def test_a_lost_request_is_transient_and_launches_nothing(world: World) -> None:
    world.lose_request("RunInstances")
    with pytest.raises(Transient):
        world.cloud.run_instances(IntentToken("lost"), parameters())
    world.settle()
    assert listed(world) == {}


def test_an_offering_without_capacity_says_so_and_another_one_works(world: World) -> None:
    world.exhaust("m7i.large", SUBNETS[0])
    with pytest.raises(NoCapacity):
        world.cloud.run_instances(IntentToken("a"), parameters())
    assert launch(world, parameters(subnet=SUBNETS[1]))
    assert launch(world, parameters(instance_type="m6i.large"))


@pytest.mark.parametrize(
    "changes", [{"image": "ami-00000000000000000"}, {"subnet": "subnet-00000000000000000"}], ids=["image", "subnet"]
)
def test_what_does_not_exist_is_refused_with_a_code_and_a_remedy(world: World, changes: dict[str, str]) -> None:
    with pytest.raises(Refused) as refusal:
        world.cloud.run_instances(IntentToken("a"), parameters(**changes))
    assert not isinstance(refusal.value, NoCapacity)
    assert refusal.value.code.endswith("NotFound")
    assert refusal.value.remedy
    world.settle()
    assert listed(world) == {}


# --- time ---


def test_a_new_instance_is_unknown_for_a_while_and_then_pending_and_then_running(world: World) -> None:
    ids = tuple(world.cloud.run_instances(IntentToken("a"), parameters()))
    assert listed(world) == {}
    assert world.cloud.get_instances(ids) == {}
    world.clock.advance(LAG_S)
    assert [one.state for one in listed(world).values()] == [InstanceState.PENDING]
    world.clock.advance(PENDING_S - LAG_S)
    assert [one.state for one in listed(world).values()] == [InstanceState.RUNNING]


def test_terminating_an_instance_that_is_not_visible_yet_succeeds_and_proves_nothing(world: World) -> None:
    ids = tuple(world.cloud.run_instances(IntentToken("a"), parameters()))
    world.cloud.terminate(ids)
    world.settle()
    assert not listed(world)[ids[0]].is_dead


def test_tagging_an_instance_that_is_not_visible_yet_is_worth_another_try(world: World) -> None:
    ids = tuple(world.cloud.run_instances(IntentToken("a"), parameters()))
    with pytest.raises(Transient):
        world.cloud.set_tags(ids, {"a": "b"})


def test_a_terminated_instance_shuts_down_lingers_and_is_forgotten(world: World) -> None:
    ids = launch(world, parameters())
    world.cloud.terminate(ids)
    assert listed(world)[ids[0]].state is InstanceState.SHUTTING_DOWN
    world.clock.advance(SHUTTING_DOWN_S)
    assert listed(world)[ids[0]].state is InstanceState.TERMINATED
    assert dict(listed(world)[ids[0]].tags) == dict(parameters().tags)
    world.clock.advance(LINGER_S)
    assert listed(world) == {}
    assert world.cloud.get_instances(ids) == {}


# --- reading ---


def test_a_listing_holds_the_fleet_and_nobody_else(world: World) -> None:
    ours = launch(world, parameters())
    stranger = tuple((key, value) for key, value in parameters().tags if key != tags.FLEET)
    neighbour = (*stranger, (tags.FLEET, "demo2"))
    launch(world, parameters(tags=stranger))
    launch(world, parameters(tags=neighbour))
    assert set(listed(world)) == set(ours)


def test_a_scoped_listing_holds_only_those_environments(world: World) -> None:
    checkout = launch(world, parameters(CHECKOUT))
    search = launch(world, parameters(SEARCH))
    launch(world, parameters("other"))
    assert set(listed(world, CHECKOUT)) == set(checkout)
    assert set(listed(world, CHECKOUT, SEARCH)) == {*checkout, *search}
    assert world.cloud.list_instances([]) == ()


def test_a_scope_of_more_than_two_hundred_environments_is_listed_right(world: World) -> None:
    checkout = launch(world, parameters(CHECKOUT))
    launch(world, parameters("other"))
    many = [EnvironmentName(f"e{number}") for number in range(250)]
    assert set(listed(world, CHECKOUT, *many)) == set(checkout)


def test_instances_are_read_by_id_whatever_their_tags_and_unknown_ids_are_left_out(world: World) -> None:
    ours = launch(world, parameters())
    strange = launch(world, parameters(tags=(("Name", "somebody else's"),)))
    malformed = InstanceId("i-nonsense")
    found = world.cloud.get_instances([*ours, NOBODY, *strange, malformed])
    assert set(found) == {*ours, *strange}
    assert found[strange[0]].tags == {"Name": "somebody else's"}
    assert world.cloud.get_instances([NOBODY]) == {}
    assert world.cloud.get_instances([malformed]) == {}
    assert world.cloud.get_instances([]) == {}


def test_a_failed_read_raises_and_is_never_empty(world: World) -> None:
    ids = launch(world, parameters())
    world.lose_request("DescribeInstances")
    with pytest.raises(Transient):
        world.cloud.list_instances()
    world.lose_request("DescribeInstances")
    with pytest.raises(Transient):
        world.cloud.get_instances(ids)


# --- terminating ---


def test_terminating_the_gone_and_the_unknown_is_success_and_the_others_go(world: World) -> None:
    first, second = launch(world, parameters(count=2))
    world.cloud.terminate([first])
    world.cloud.terminate([first, NOBODY, second])
    assert all(one.is_dead for one in listed(world).values())
    world.cloud.terminate([NOBODY])
    world.cloud.terminate([])


def test_termination_protection_refuses_and_spares_the_whole_zone_but_not_other_zones(world: World) -> None:
    protected, beside = launch(world, parameters(count=2))
    (elsewhere,) = launch(world, parameters(subnet=SUBNETS[1]))
    world.protect(protected)
    with pytest.raises(Refused) as refusal:
        world.cloud.terminate([beside, protected, elsewhere])
    assert refusal.value.code == "OperationNotPermitted"
    assert refusal.value.remedy
    instances = listed(world)
    assert not instances[protected].is_dead
    assert not instances[beside].is_dead
    assert instances[elsewhere].is_dead


def test_a_lost_reply_to_a_termination_is_transient_and_it_has_happened(world: World) -> None:
    ids = launch(world, parameters())
    world.lose_reply("TerminateInstances")
    with pytest.raises(Transient):
        world.cloud.terminate(ids)
    assert listed(world)[ids[0]].is_dead


# --- stopping and starting ---


def test_a_stopped_instance_keeps_id_address_and_tags_and_starts_again_as_newly_launched(world: World) -> None:
    (instance_id,) = launch(world, parameters())
    running = listed(world)[instance_id]
    world.cloud.stop([instance_id])
    assert listed(world)[instance_id] == replace(running, state=InstanceState.STOPPING)
    world.clock.advance(STOPPING_S)
    assert listed(world)[instance_id] == replace(running, state=InstanceState.STOPPED)
    world.cloud.start([instance_id])
    starting = replace(running, launched_at=world.clock.now())
    assert listed(world)[instance_id] == replace(starting, state=InstanceState.PENDING)
    world.clock.advance(PENDING_S)
    assert listed(world)[instance_id] == starting


def test_stopping_what_is_stopped_or_gone_is_success_and_the_others_stop(world: World) -> None:
    stopped, dead, running = launch(world, parameters(count=3))
    world.cloud.stop([stopped])
    world.clock.advance(STOPPING_S)
    world.cloud.terminate([dead])
    world.cloud.stop([stopped, dead, NOBODY, running])
    states = {instance_id: one.state for instance_id, one in listed(world).items()}
    assert states == {
        stopped: InstanceState.STOPPED,
        dead: InstanceState.SHUTTING_DOWN,
        running: InstanceState.STOPPING,
    }
    world.cloud.stop([dead])
    world.cloud.stop([NOBODY])
    world.cloud.stop([])


def test_starting_what_runs_or_is_gone_is_success_and_the_others_start(world: World) -> None:
    stopped, dead, running = launch(world, parameters(count=3))
    began = listed(world)[running].launched_at
    world.cloud.stop([stopped])
    world.clock.advance(STOPPING_S)
    world.cloud.terminate([dead])
    world.cloud.start([stopped, dead, NOBODY, running])
    states = {instance_id: one.state for instance_id, one in listed(world).items()}
    assert states == {
        stopped: InstanceState.PENDING,
        dead: InstanceState.SHUTTING_DOWN,
        running: InstanceState.RUNNING,
    }
    assert listed(world)[running].launched_at == began
    world.cloud.start([dead])
    world.cloud.start([NOBODY])
    world.cloud.start([])


def test_an_instance_on_its_way_can_be_neither_stopped_nor_started_and_the_others_are(world: World) -> None:
    (running,) = launch(world, parameters())
    (pending,) = world.cloud.run_instances(IntentToken("pending"), parameters())
    world.clock.advance(LAG_S)
    with pytest.raises(Transient, match=pending):
        world.cloud.stop([pending, running])
    assert [listed(world)[one].state for one in (pending, running)] == [InstanceState.PENDING, InstanceState.STOPPING]
    with pytest.raises(Transient, match=running):
        world.cloud.start([running])
    world.clock.advance(STOPPING_S)
    world.cloud.start([running])
    assert listed(world)[running].state is InstanceState.PENDING


def test_starting_without_capacity_says_so_and_starts_none(world: World) -> None:
    here, running = launch(world, parameters(count=2))
    (elsewhere,) = launch(world, parameters(subnet=SUBNETS[1]))
    world.cloud.stop([here, elsewhere])
    world.clock.advance(STOPPING_S)
    world.exhaust("m7i.large", SUBNETS[0])
    with pytest.raises(NoCapacity):
        world.cloud.start([here, elsewhere])
    assert [listed(world)[one].state for one in (here, elsewhere)] == [InstanceState.STOPPED] * 2
    world.cloud.start([running])
    world.cloud.start([elsewhere])
    assert listed(world)[elsewhere].state is InstanceState.PENDING


def test_a_stopped_instance_can_be_terminated(world: World) -> None:
    ids = launch(world, parameters())
    world.cloud.stop(ids)
    world.clock.advance(STOPPING_S)
    world.cloud.terminate(ids)
    assert listed(world)[ids[0]].state is InstanceState.SHUTTING_DOWN
    world.clock.advance(SHUTTING_DOWN_S)
    assert listed(world)[ids[0]].state is InstanceState.TERMINATED


def test_a_lost_reply_to_a_stop_is_transient_and_it_has_happened(world: World) -> None:
    ids = launch(world, parameters())
    world.lose_reply("StopInstances")
    with pytest.raises(Transient):
        world.cloud.stop(ids)
    assert listed(world)[ids[0]].state is InstanceState.STOPPING


# --- tagging ---


def test_tags_are_added_overwritten_and_removed_and_others_are_kept(world: World) -> None:
    ids = launch(world, parameters(count=2))
    world.cloud.set_tags(ids, {tags.READY: "2026-11-01T12:00:00Z", "note": "новое", "empty": ""})
    for instance in listed(world).values():
        assert dict(instance.tags) == dict(parameters().tags) | {
            tags.READY: "2026-11-01T12:00:00Z",
            "note": "новое",
            "empty": "",
        }
    world.cloud.remove_tags(ids, ["note", "empty", tags.READY, "never there"])
    for instance in listed(world).values():
        assert dict(instance.tags) == {key: value for key, value in parameters().tags if key != "note"}


def test_an_instance_moves_to_the_environment_that_its_tag_names(world: World) -> None:
    ids = launch(world, parameters(CHECKOUT))
    world.cloud.set_tags(ids, {tags.ENVIRONMENT: SEARCH})
    assert set(listed(world, SEARCH)) == set(ids)
    assert listed(world, CHECKOUT) == {}
    world.cloud.remove_tags(ids, [tags.ENVIRONMENT])
    assert listed(world, SEARCH) == {}
    assert set(listed(world)) == set(ids)


def test_tagging_nothing_is_nothing(world: World) -> None:
    world.cloud.set_tags([], {"a": "b"})
    world.cloud.set_tags([NOBODY], {})
    world.cloud.remove_tags([], ["a"])
    world.cloud.remove_tags([NOBODY], [])


# --- images and account ---


def test_a_fixed_image_is_itself(world: World) -> None:
    assert world.cloud.resolve_image(ImageById(image_id=ImageId("ami-1"))) == "ami-1"


def test_a_named_image_is_the_newest_match(world: World) -> None:
    assert world.cloud.resolve_image(ImageByName(owner="self", name="sandbox-2026-*")) == "ami-0fedcba9876543210"


@pytest.mark.parametrize(
    "image", [ImageByName(owner="self", name="nothing-*"), ImageByParameter(parameter="/no/such/parameter")], ids=str
)
def test_a_moving_image_that_names_nothing_is_refused(world: World, image: ImageByName | ImageByParameter) -> None:
    with pytest.raises(Refused) as refusal:
        world.cloud.resolve_image(image)
    assert refusal.value.remedy


def test_the_account_is_twelve_digits(world: World) -> None:
    assert world.cloud.account() == "123456789012"


Write: TypeAlias = Callable[[Cloud, tuple[InstanceId, ...]], object]
WRITES: dict[str, Write] = {
    "RunInstances": lambda cloud, _: cloud.run_instances(IntentToken("a"), parameters()),
    "TerminateInstances": lambda cloud, ids: cloud.terminate(ids),
    "StopInstances": lambda cloud, ids: cloud.stop(ids),
    "StartInstances": lambda cloud, ids: cloud.start(ids),
    "CreateTags": lambda cloud, ids: cloud.set_tags(ids, {"a": "b"}),
    "DeleteTags": lambda cloud, ids: cloud.remove_tags(ids, ["Name"]),
}


@pytest.mark.parametrize("operation", WRITES)
def test_every_write_that_gets_no_answer_is_transient(world: World, operation: str) -> None:
    ids = launch(world, parameters())
    world.lose_request(operation)
    with pytest.raises(HivequeenError) as trouble:
        WRITES[operation](world.cloud, ids)
    assert type(trouble.value) is Transient
