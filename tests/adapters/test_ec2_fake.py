"""What tests rely on in the EC2 fake beyond ports.Cloud: counting, set errors, outsiders, size."""

from dataclasses import replace
from datetime import timedelta

import pytest

from reconciler.adapters.ec2_pace import Pace
from reconciler.errors import NoCapacity, QuotaReached, Refused, Throttled, Transient
from reconciler.model import tags
from reconciler.model.memory import LaunchParameters
from reconciler.model.names import EnvironmentName, ImageId, InstanceId, IntentToken
from reconciler.model.observed import InstanceState
from reconciler.sandbox.ec2_throttling import Throttling
from tests.fakes.clock import FakeClock
from tests.fakes.cloud import FakeCloud

PARAMETERS = LaunchParameters(
    image=ImageId("ami-1"),
    instance_type="m7i.large",
    subnet="subnet-a",
    count=1,
    security_groups=("sg-app",),
    instance_profile=None,
    key_name=None,
    root_volume_size_gib=None,
    root_volume_type=None,
    user_data="",
    tags=((tags.ENVIRONMENT, "checkout"), (tags.FLEET, "demo")),
)
CHECKOUT = EnvironmentName("checkout")


def made() -> FakeCloud:
    return FakeCloud(FakeClock())


def test_a_listing_of_ten_thousand_counts_its_pages_and_a_scoped_one_only_its_own() -> None:
    cloud = made()
    for number in range(1000):
        tagged = ((tags.ENVIRONMENT, f"e{number}"), (tags.FLEET, "demo"))
        cloud.run_instances(IntentToken(f"t{number}"), replace(PARAMETERS, count=10, tags=tagged))
    assert cloud.calls["RunInstances"] == cloud.writes == 1000
    assert len(cloud.list_instances()) == 10_000
    assert cloud.calls["DescribeInstances"] == 10
    assert len(cloud.list_instances([EnvironmentName("e1"), EnvironmentName("e2")])) == 20
    assert cloud.calls["DescribeInstances"] == 11
    assert cloud.writes == 1000


def test_an_empty_listing_is_one_request() -> None:
    cloud = made()
    cloud.list_instances()
    assert cloud.calls == {"DescribeInstances": 1}


def test_a_second_page_that_fails_fails_the_listing() -> None:
    cloud = made()
    cloud.run_instances(IntentToken("t"), replace(PARAMETERS, count=1001))
    cloud.fail("DescribeInstances", Transient("first page of the next"), times=1)
    with pytest.raises(Transient):
        cloud.list_instances()
    assert len(cloud.list_instances()) == 1001


def test_an_error_is_raised_as_often_as_it_was_set_and_in_order() -> None:
    cloud = made()
    cloud.fail("GetCallerIdentity", Transient("first"), times=2)
    cloud.fail("GetCallerIdentity", Transient("second"))
    for message in ("first", "first", "second"):
        with pytest.raises(Transient, match=message):
            cloud.account()
    assert cloud.account() == cloud.account_id


def test_recovering_forgets_the_errors_that_are_due() -> None:
    cloud = made()
    cloud.fail("GetCallerIdentity", Transient("never"), times=9)
    cloud.recover()
    assert cloud.account()


@pytest.mark.parametrize("after_commit", [True, False])
def test_an_error_before_commit_does_nothing_and_one_after_commit_hides_what_was_done(after_commit: bool) -> None:  # noqa: FBT001 - a parameter of the test
    cloud = made()
    cloud.fail("RunInstances", Transient("lost"), after_commit=after_commit)
    with pytest.raises(Transient):
        cloud.run_instances(IntentToken("t"), PARAMETERS)
    assert len(cloud.everything()) == after_commit


def test_an_outsider_stops_starts_and_terminates() -> None:
    cloud = made()
    (instance_id,) = cloud.run_instances(IntentToken("t"), PARAMETERS)
    cloud.stop_by_hand(instance_id)
    assert cloud.list_instances()[0].state is InstanceState.STOPPED
    cloud.start_by_hand(instance_id)
    assert cloud.list_instances()[0].state is InstanceState.RUNNING
    cloud.terminate_by_hand(instance_id)
    assert cloud.list_instances()[0].state is InstanceState.TERMINATED
    assert cloud.alive() == ()
    assert cloud.writes == 1


def test_an_outsider_retags() -> None:
    cloud = made()
    (instance_id,) = cloud.run_instances(IntentToken("t"), PARAMETERS)
    cloud.retag(instance_id, {tags.FLEET: None, "a": "b"})
    assert cloud.list_instances() == ()
    assert cloud.list_instances([CHECKOUT]) == ()
    assert cloud.get_instances([instance_id])[instance_id].tags == {tags.ENVIRONMENT: "checkout", "a": "b"}


def test_an_outsider_launches() -> None:
    cloud = made()
    strange = cloud.launch_by_hand(replace(PARAMETERS, tags=(), count=2))
    ours = cloud.launch_by_hand(PARAMETERS)
    assert [one.instance_id for one in cloud.list_instances()] == list(ours)
    assert len(cloud.get_instances([*strange, *ours])) == 3
    assert cloud.writes == 0


def test_a_terminated_instance_tells_little_as_in_ec2() -> None:
    cloud = made()
    (instance_id,) = cloud.run_instances(IntentToken("t"), PARAMETERS)
    cloud.terminate([instance_id])
    (instance,) = cloud.list_instances()
    assert (instance.subnet, instance.private_address, instance.security_groups) == (None, None, frozenset())
    assert instance.tags[tags.ENVIRONMENT] == "checkout"


def test_quota_tags_and_user_data_are_limited() -> None:
    cloud = made()
    cloud.quota = 2
    too_many = tuple((f"k{number}", "") for number in range(51))
    with pytest.raises(QuotaReached):
        cloud.run_instances(IntentToken("t"), replace(PARAMETERS, count=3))
    for changes in ({"tags": too_many}, {"user_data": "x" * 16_385}, {"count": 0}):
        with pytest.raises(Refused):
            cloud.run_instances(IntentToken("t"), replace(PARAMETERS, **changes))
    (instance_id,) = cloud.run_instances(IntentToken("t"), PARAMETERS)
    with pytest.raises(Refused):
        cloud.set_tags([instance_id], dict(too_many))
    assert cloud.parameters_of(instance_id) == PARAMETERS


def test_an_unknown_id_costs_a_second_request_as_it_does_in_ec2() -> None:
    cloud = made()
    (instance_id,) = cloud.run_instances(IntentToken("t"), PARAMETERS)
    cloud.get_instances([instance_id, InstanceId("i-" + "0" * 17)])
    assert cloud.calls["DescribeInstances"] == 2
    cloud.terminate([instance_id, InstanceId("i-" + "0" * 17)])
    assert cloud.calls["TerminateInstances"] == 2


# --- an unpleasant EC2 ---


@pytest.mark.parametrize("missing", ["tags", f"tag:{tags.FLEET}"])
def test_an_instance_without_its_tags_yet_is_not_listed_but_found_by_its_id(missing: str) -> None:
    cloud = made()
    cloud.partial_s = {missing: 10}
    ids = cloud.run_instances(IntentToken("t"), PARAMETERS)
    assert cloud.list_instances() == ()
    assert tags.FLEET not in cloud.get_instances(ids)[ids[0]].tags
    assert cloud.everything()[0].tags[tags.FLEET] == "demo"
    advance(cloud, 10)
    assert cloud.list_instances()[0].tags[tags.FLEET] == "demo"


def test_a_record_lacks_what_it_was_told_to_lack_and_only_for_so_long() -> None:
    cloud = made()
    cloud.partial_s = {"subnet": 5, "private_address": 10, "security_groups": 10, "instance_profile": 10}
    cloud.run_instances(IntentToken("t"), replace(PARAMETERS, instance_profile="web"))
    (young,) = cloud.list_instances()
    assert (young.subnet, young.private_address, young.security_groups) == (None, None, frozenset())
    assert young.instance_profile is None
    advance(cloud, 5)
    assert cloud.list_instances()[0].subnet == "subnet-a"
    assert cloud.list_instances()[0].private_address is None
    advance(cloud, 5)
    assert cloud.list_instances() == cloud.everything()


def test_old_answers_tell_what_was_then_and_each_method_has_an_age_of_its_own() -> None:
    cloud = made()
    (first,) = cloud.run_instances(IntentToken("a"), PARAMETERS)
    advance(cloud, 10)
    (second,) = cloud.run_instances(IntentToken("b"), PARAMETERS)
    cloud.set_tags([first], {tags.ENVIRONMENT: "search"})
    advance(cloud, 10)
    before = cloud.everything()
    cloud.terminate([first])
    cloud.stop([second])
    advance(cloud, 5)

    cloud.lag_s = {"list_instances": 5.001}
    assert sorted(one.instance_id for one in cloud.list_instances()) == sorted([first, second])
    assert {one.state for one in cloud.list_instances()} == {InstanceState.RUNNING}
    assert list(cloud.list_instances()) == sorted(before, key=lambda one: one.instance_id)
    assert [one.state for one in cloud.get_instances([first]).values()] == [InstanceState.TERMINATED]

    cloud.lag_s = {"list_instances": 16, "get_instances": 16}
    assert [(one.instance_id, one.environment) for one in cloud.list_instances([CHECKOUT])] == [(first, "checkout")]
    assert set(cloud.get_instances([first, second])) == {first}

    cloud.lag_s = {"list_instances": 300}
    assert cloud.list_instances() == ()
    cloud.lag_s = {}
    assert {one.instance_id: one.state for one in cloud.list_instances()} == {
        first: InstanceState.TERMINATED,
        second: InstanceState.STOPPED,
    }


def test_an_old_answer_knows_when_an_instance_was_last_started_then() -> None:
    cloud = made()
    ids = cloud.run_instances(IntentToken("a"), PARAMETERS)
    launched = cloud.everything()[0].launched_at
    advance(cloud, 10)
    cloud.stop(ids)
    advance(cloud, 10)
    cloud.start(ids)
    advance(cloud, 1)
    assert cloud.everything()[0].launched_at == launched + timedelta(seconds=20)
    for lag_s, state in ((2, InstanceState.STOPPED), (12, InstanceState.RUNNING)):
        cloud.lag_s = {"list_instances": lag_s}
        (old,) = cloud.list_instances()
        assert (old.state, old.launched_at) == (state, launched)


def test_not_found_may_be_a_lie_and_a_listing_may_leave_one_out() -> None:
    cloud = made()
    ids = cloud.run_instances(IntentToken("t"), PARAMETERS)
    cloud.denied.update(ids)
    assert cloud.get_instances(ids) == {}
    cloud.terminate(ids)
    with pytest.raises(Transient):
        cloud.set_tags(ids, {"a": "b"})
    assert [one.is_dead for one in cloud.list_instances()] == [False]
    cloud.denied.clear()
    cloud.unlisted.update(ids)
    assert cloud.list_instances() == ()
    assert set(cloud.get_instances(ids)) == set(ids)


def test_too_many_requests_are_throttled_counted_and_not_carried_out() -> None:
    cloud = made()
    cloud.throttling = Throttling(cloud.clock.now)
    for number in range(5):
        cloud.run_instances(IntentToken(f"t{number}"), PARAMETERS)
    with pytest.raises(Throttled):
        cloud.run_instances(IntentToken("t5"), PARAMETERS)
    assert cloud.throttled == {"RunInstances": 1}
    assert len(cloud.everything()) == 5
    advance(cloud, 0.5)
    cloud.run_instances(IntentToken("t5"), PARAMETERS)
    assert len(cloud.everything()) == 6


def test_thousands_of_instances_are_throttled_however_few_the_requests() -> None:
    cloud = made()
    cloud.throttling = Throttling(cloud.clock.now)
    cloud.run_instances(IntentToken("a"), replace(PARAMETERS, count=1000))
    with pytest.raises(Throttled):
        cloud.run_instances(IntentToken("b"), PARAMETERS)
    cloud.terminate([one.instance_id for one in cloud.everything()])
    with pytest.raises(Throttled):
        cloud.terminate([one.instance_id for one in cloud.everything()])
    assert cloud.throttled == {"RunInstances": 1, "TerminateInstances": 1}


def test_with_a_pace_nothing_is_ever_throttled_and_nothing_held_back_is_a_request() -> None:
    cloud = made()
    cloud.throttling = Throttling(cloud.clock.now)
    cloud.pace = Pace(lambda: cloud.clock.now().timestamp())
    launched = 0
    for number in range(20):
        try:
            cloud.reserve_launch(1)
        except Throttled:
            advance(cloud, 0.3)
        else:
            launched += len(cloud.run_instances(IntentToken(f"t{number}"), PARAMETERS))
    assert cloud.calls["RunInstances"] == launched
    assert 4 < launched < 20
    assert not cloud.throttled


def test_a_stopped_instance_stays_so_while_its_place_is_taken() -> None:
    cloud = made()
    ids = cloud.run_instances(IntentToken("t"), PARAMETERS)
    address = cloud.everything()[0].private_address
    cloud.stop(ids)
    cloud.exhausted.add(("m7i.large", "subnet-a"))
    with pytest.raises(NoCapacity):
        cloud.start(ids)
    assert cloud.everything()[0].state is InstanceState.STOPPED
    cloud.exhausted.clear()
    cloud.start(ids)
    assert cloud.everything()[0].private_address == address
    assert cloud.writes == 4


def advance(cloud: FakeCloud, seconds: float) -> None:
    assert isinstance(cloud.clock, FakeClock)
    cloud.clock.advance(seconds)
