"""What tests rely on in the EC2 fake beyond ports.Cloud: counting, set errors, outsiders, size."""

from dataclasses import replace

import pytest

from reconciler.errors import Refused, Transient
from reconciler.model import tags
from reconciler.model.memory import LaunchParameters
from reconciler.model.names import EnvironmentName, ImageId, InstanceId, IntentToken
from reconciler.model.observed import InstanceState
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
    for changes in ({"count": 3}, {"tags": too_many}, {"user_data": "x" * 16_385}, {"count": 0}):
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
