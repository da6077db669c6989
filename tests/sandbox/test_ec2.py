"""The sandbox's EC2 endpoint, spoken to by an unmodified boto3 over HTTP."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError

from reconciler.sandbox.ec2 import Ec2Endpoint, Effect, Fault, Launched, Moment, Timing, serve
from tests.fakes.clock import FakeClock

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import InstanceTypeDef

SUBNETS = ("subnet-0a1b2c3d4e5f60001", "subnet-0a1b2c3d4e5f60002")
TIMING = Timing(pending_s=10, visibility_lag_s=2, shutting_down_s=20)


@cache  # botocore reads its model of EC2 once per session, in 0.2 s
def session(region: str = "us-east-1") -> boto3.Session:
    return boto3.Session(aws_access_key_id="a", aws_secret_access_key="b", region_name=region)


@dataclass
class Sandbox:
    clock: FakeClock = field(default_factory=FakeClock)
    launched: list[Launched] = field(default_factory=list)
    terminated: list[str] = field(default_factory=list)
    url: str = ""

    def __post_init__(self) -> None:
        self.endpoint = Ec2Endpoint(
            timing=TIMING, on_launch=self.launched.append, on_terminate=self.terminated.append, now=self.clock.now
        )

    def ec2(self, region: str = "us-east-1") -> "EC2Client":
        once = Config(retries={"mode": "standard", "total_max_attempts": 1})
        return session(region).client("ec2", endpoint_url=self.url, config=once)

    def launch(self, ec2: "EC2Client", **changes: Any) -> list[str]:
        wanted: dict[str, Any] = {
            "ImageId": "ami-0123456789abcdef0",
            "InstanceType": "t3.micro",
            "SubnetId": SUBNETS[0],
            "SecurityGroupIds": ["sg-0a1b2c3d4e5f60001"],
            "MinCount": 1,
            "MaxCount": 1,
            "UserData": "#!/bin/sh\necho Grüße",
        }
        return [one["InstanceId"] for one in ec2.run_instances(**wanted | changes)["Instances"]]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    made = Sandbox()
    with serve(made.endpoint) as made.url:
        yield made


@pytest.fixture
def ec2(sandbox: Sandbox) -> "EC2Client":
    return sandbox.ec2()


def instances(ec2: "EC2Client") -> "list[InstanceTypeDef]":
    return [one for reservation in ec2.describe_instances()["Reservations"] for one in reservation["Instances"]]


def test_the_machine_room_is_told_of_every_launch_and_every_termination_once(
    sandbox: Sandbox, ec2: "EC2Client"
) -> None:
    ids = sandbox.launch(ec2, MinCount=2, MaxCount=2, ClientToken="t")
    sandbox.launch(ec2, MinCount=2, MaxCount=2, ClientToken="t")
    assert [one.instance_id for one in sandbox.launched] == ids
    first = sandbox.launched[0]
    assert (first.image_id, first.instance_type) == ("ami-0123456789abcdef0", "t3.micro")
    assert (first.account_id, first.region) == ("123456789012", "us-east-1")
    assert first.user_data == "#!/bin/sh\necho Grüße"
    assert first.launched_at == sandbox.clock.now()
    assert first.private_ip.startswith("127.0.")
    assert len({one.private_ip for one in sandbox.launched}) == 2
    sandbox.clock.advance(TIMING.visibility_lag_s)
    ec2.terminate_instances(InstanceIds=ids)
    ec2.terminate_instances(InstanceIds=ids)
    assert sandbox.terminated == ids


def test_the_answer_to_a_launch_and_every_listing_say_pending_until_it_runs(sandbox: Sandbox, ec2: "EC2Client") -> None:
    answer = ec2.run_instances(
        ImageId="ami-0123456789abcdef0", SubnetId=SUBNETS[0], InstanceType="t3.micro", MinCount=1, MaxCount=1
    )
    assert answer["Instances"][0]["State"] == {"Code": 0, "Name": "pending"}
    sandbox.clock.advance(TIMING.pending_s - 1)
    assert instances(ec2)[0]["State"]["Name"] == "pending"
    assert not ec2.describe_instances(Filters=[{"Name": "instance-state-name", "Values": ["running"]}])["Reservations"]
    sandbox.clock.advance(1)
    assert instances(ec2)[0]["State"]["Name"] == "running"
    assert instances(ec2)[0]["LaunchTime"] == sandbox.clock.now() - timedelta(seconds=TIMING.pending_s)


def test_a_new_instance_is_not_found_by_id_until_it_is_visible(sandbox: Sandbox, ec2: "EC2Client") -> None:
    ids = sandbox.launch(ec2)
    for ask in (ec2.describe_instances, ec2.terminate_instances):
        with pytest.raises(ClientError, match=r"InvalidInstanceID\.NotFound"):
            ask(InstanceIds=ids)
    with pytest.raises(ClientError, match=r"InvalidInstanceID\.NotFound"):
        ec2.create_tags(Resources=ids, Tags=[{"Key": "a", "Value": "b"}])
    assert instances(ec2) == []
    assert [one["instance_id"] for one in sandbox.endpoint.instances()] == ids
    sandbox.clock.advance(TIMING.visibility_lag_s)
    assert [one["InstanceId"] for one in instances(ec2)] == ids


def test_concurrent_launches_with_one_token_make_one_set_of_instances(sandbox: Sandbox) -> None:
    clients = [sandbox.ec2() for _ in range(8)]
    with ThreadPoolExecutor(len(clients)) as pool:
        answers = list(
            pool.map(lambda client: sandbox.launch(client, ClientToken="t", MinCount=3, MaxCount=3), clients)
        )
    assert all(answer == answers[0] for answer in answers)
    assert len(sandbox.endpoint.instances()) == len(sandbox.launched) == 3


def test_every_instance_has_the_instance_profile(sandbox: Sandbox, ec2: "EC2Client") -> None:
    sandbox.launch(ec2, MinCount=2, MaxCount=2, IamInstanceProfile={"Name": "web"})
    sandbox.clock.advance(TIMING.pending_s)
    profiles = [one["IamInstanceProfile"]["Arn"] for one in instances(ec2)]
    assert profiles == ["arn:aws:iam::123456789012:instance-profile/web"] * 2


def test_the_seeds_are_there(ec2: "EC2Client") -> None:
    images = ec2.describe_images(ImageIds=["ami-0123456789abcdef0", "ami-0fedcba9876543210"])["Images"]
    assert [image["RootDeviceName"] for image in images] == ["/dev/xvda"] * 2
    subnets = ec2.describe_subnets(SubnetIds=list(SUBNETS))["Subnets"]
    assert len({subnet["AvailabilityZone"] for subnet in subnets}) == 2
    groups = ec2.describe_security_groups(GroupIds=["sg-0a1b2c3d4e5f60001"])["SecurityGroups"]
    assert groups[0]["VpcId"] == subnets[0]["VpcId"]


def test_a_new_endpoint_starts_empty(sandbox: Sandbox, ec2: "EC2Client") -> None:
    sandbox.launch(ec2)
    assert Sandbox().endpoint.instances() == []


def test_exhausted_offerings_have_no_capacity_until_restocked(sandbox: Sandbox, ec2: "EC2Client") -> None:
    sandbox.endpoint.exhaust("t3.micro", SUBNETS[0])
    with pytest.raises(ClientError) as refusal:
        sandbox.launch(ec2)
    assert refusal.value.response["Error"]["Code"] == "InsufficientInstanceCapacity"
    assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    sandbox.endpoint.restock("t3.micro", SUBNETS[0])
    assert sandbox.launch(ec2)


def test_a_token_of_a_refused_launch_is_not_used_up(sandbox: Sandbox, ec2: "EC2Client") -> None:
    sandbox.endpoint.exhaust("t3.micro", SUBNETS[0])
    with pytest.raises(ClientError):
        sandbox.launch(ec2, ClientToken="t")
    assert sandbox.launch(ec2, ClientToken="t", SubnetId=SUBNETS[1])


# --- faults ---


def test_a_reply_can_be_dropped_after_the_launch_and_the_token_finds_it(sandbox: Sandbox, ec2: "EC2Client") -> None:
    sandbox.endpoint.faults.add(Fault(operation="RunInstances", effect=Effect.DROP, moment=Moment.AFTER))
    with pytest.raises(ConnectionClosedError):
        sandbox.launch(ec2, ClientToken="t")
    (made,) = sandbox.endpoint.instances()
    assert made["token"] == "t"
    assert sandbox.launch(ec2, ClientToken="t") == [made["instance_id"]]


def test_a_request_can_be_dropped_before_anything_happens(sandbox: Sandbox, ec2: "EC2Client") -> None:
    sandbox.endpoint.faults.add(Fault(effect=Effect.DROP))
    with pytest.raises(ConnectionClosedError):
        sandbox.launch(ec2)
    assert sandbox.endpoint.instances() == []


def test_a_refusal_lasts_as_often_as_it_was_asked_for(sandbox: Sandbox, ec2: "EC2Client") -> None:
    sandbox.endpoint.faults.add(
        Fault(operation="DescribeInstances", effect=Effect.REFUSE, code="RequestLimitExceeded", status=503, times=2)
    )
    for _ in range(2):
        with pytest.raises(ClientError, match="RequestLimitExceeded"):
            ec2.describe_instances()
    assert instances(ec2) == []


def test_a_reply_hangs_after_the_launch_until_it_is_released_and_others_are_served(
    sandbox: Sandbox, ec2: "EC2Client"
) -> None:
    sandbox.endpoint.faults.add(Fault(operation="RunInstances", effect=Effect.HANG, moment=Moment.AFTER))
    with ThreadPoolExecutor(1) as pool:
        try:
            hanging = pool.submit(sandbox.launch, ec2)
            assert sandbox.endpoint.faults.wait_for_hanging(1, timeout_s=10)
            assert not hanging.done()
            sandbox.clock.advance(TIMING.visibility_lag_s)
            seen = [one["InstanceId"] for one in instances(sandbox.ec2())]
        finally:
            sandbox.endpoint.faults.release()
        assert hanging.result(timeout=10) == seen


def test_the_other_services_fail_in_their_own_words(sandbox: Sandbox) -> None:
    sandbox.endpoint.faults.add(Fault(effect=Effect.REFUSE, code="AccessDenied", status=403, times=2))
    with pytest.raises(ClientError, match=r"AccessDenied.*made to fail"):
        session().client("sts", endpoint_url=sandbox.url).get_caller_identity()
    with pytest.raises(ClientError, match=r"AccessDenied.*made to fail"):
        session().client("ssm", endpoint_url=sandbox.url).get_parameter(Name="/a")


def test_another_account_id_can_be_served() -> None:
    endpoint = Ec2Endpoint(account_id="999988887777")
    with serve(endpoint) as url:
        assert session().client("sts", endpoint_url=url).get_caller_identity()["Account"] == "999988887777"
        assert session().client("ec2", endpoint_url=url).describe_subnets(SubnetIds=[SUBNETS[0]])["Subnets"]


# --- what is kept out ---


def test_another_region_is_refused(sandbox: Sandbox) -> None:
    with pytest.raises(ClientError, match="AuthFailure"):
        sandbox.ec2("eu-west-1").describe_instances()


@pytest.mark.parametrize("path", ["/moto-api/reset", "/moto-api/data.json", "/_sandbox/nothing", "/"])
def test_motos_own_api_is_out_of_reach(sandbox: Sandbox, ec2: "EC2Client", path: str) -> None:
    sandbox.launch(ec2)
    assert requests.post(sandbox.url + path, timeout=10).status_code == 404
    assert requests.get(sandbox.url + path, timeout=10).status_code == 404
    assert len(sandbox.endpoint.instances()) == 1


def test_other_services_are_not_served(sandbox: Sandbox) -> None:
    with pytest.raises(ClientError):
        session().client("iam", endpoint_url=sandbox.url).list_users()


# --- control over HTTP ---


def test_faults_and_offerings_are_set_and_instances_seen_over_http(sandbox: Sandbox, ec2: "EC2Client") -> None:
    control = sandbox.url + "/_sandbox"
    fault = {"operation": "RunInstances", "effect": "refuse", "code": "InternalError", "status": 500}
    assert requests.post(f"{control}/faults", json=fault, timeout=10).status_code == 201
    with pytest.raises(ClientError, match="InternalError"):
        sandbox.launch(ec2)
    offering = {"instance_type": "t3.micro", "subnet": SUBNETS[0]}
    assert requests.post(f"{control}/offerings", json=offering | {"exhausted": True}, timeout=10).status_code == 201
    with pytest.raises(ClientError, match="InsufficientInstanceCapacity"):
        sandbox.launch(ec2)
    assert requests.post(f"{control}/offerings", json=offering | {"exhausted": False}, timeout=10).status_code == 201
    tagged = [{"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "b"}]}]
    ids = sandbox.launch(ec2, ClientToken="t", TagSpecifications=tagged)
    (seen,) = requests.get(f"{control}/instances", timeout=10).json()
    assert seen["instance_id"] == ids[0]
    assert (seen["state"], seen["token"], seen["tags"]) == ("pending", "t", {"a": "b"})
    assert "user_data" not in json.dumps(seen)


def test_hanging_replies_are_counted_and_released_over_http(sandbox: Sandbox, ec2: "EC2Client") -> None:
    control = sandbox.url + "/_sandbox/faults"
    requests.post(control, json={"effect": "hang", "moment": "after", "operation": "RunInstances"}, timeout=10)
    with ThreadPoolExecutor(1) as pool:
        try:
            hanging = pool.submit(sandbox.launch, ec2)
            assert sandbox.endpoint.faults.wait_for_hanging(1, timeout_s=10)
            assert requests.get(control, timeout=10).json() == {"hanging": 1}
        finally:
            requests.delete(control, timeout=10)
        assert hanging.result(timeout=10)


@pytest.mark.parametrize(
    "body", [b"[]", b"{", b'{"effect": "sulk"}', b'{"effect": "drop", "colour": "red"}', b"{}"], ids=repr
)
def test_nonsense_is_refused(sandbox: Sandbox, body: bytes) -> None:
    answer = requests.post(
        f"{sandbox.url}/_sandbox/faults", data=body, headers={"Content-Type": "application/json"}, timeout=10
    )
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_control_is_for_loopback_and_json_only(sandbox: Sandbox) -> None:
    statuses: list[str] = []

    def ask(remote: str) -> None:
        environ = {"REMOTE_ADDR": remote, "REQUEST_METHOD": "GET", "PATH_INFO": "/_sandbox/instances"}
        sandbox.endpoint(environ, lambda status, *_: statuses.append(status))  # type: ignore[arg-type] # returns no write()

    ask("10.0.0.9")
    ask("127.0.0.1")
    ask("::1")
    assert [status[:3] for status in statuses] == ["403", "200", "200"]
    form = requests.post(f"{sandbox.url}/_sandbox/faults", data={"effect": "drop"}, timeout=10)
    assert form.status_code == 400
