"""Figures of the EC2 adapter. Run: python -m tests.benchmarks.bench_ec2"""

import gc
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import botocore.session
from botocore.parsers import EC2QueryParser

from reconciler.adapters.ec2_parser import LeanEc2Parser, read_instances
from reconciler.model import tags
from reconciler.model.memory import LaunchParameters
from reconciler.model.names import ImageId, IntentToken
from tests.fakes.clock import FakeClock
from tests.fakes.cloud import FakeCloud

INSTANCES = 1000
ROUNDS = 5

# One instance as EC2 describes it, about 4 kB.
_INSTANCE = """
<item><reservationId>r-{n:017x}</reservationId><ownerId>123456789012</ownerId><groupSet/><instancesSet><item>
<instanceId>i-{n:017x}</instanceId><imageId>ami-0123456789abcdef0</imageId>
<instanceState><code>16</code><name>running</name></instanceState>
<privateDnsName>ip-10-0-0-5.ec2.internal</privateDnsName><dnsName/><reason/><keyName>ops</keyName>
<amiLaunchIndex>0</amiLaunchIndex><productCodes/><instanceType>m7i.large</instanceType>
<launchTime>2026-11-01T12:00:00.000Z</launchTime>
<placement><availabilityZone>us-east-1a</availabilityZone><groupName/><tenancy>default</tenancy></placement>
<monitoring><state>disabled</state></monitoring><subnetId>subnet-0a1b2c3d4e5f60001</subnetId><vpcId>vpc-1</vpcId>
<privateIpAddress>10.0.0.5</privateIpAddress><sourceDestCheck>true</sourceDestCheck>
<groupSet><item><groupId>sg-0a1b2c3d4e5f60001</groupId><groupName>app</groupName></item></groupSet>
<architecture>x86_64</architecture><rootDeviceType>ebs</rootDeviceType><rootDeviceName>/dev/xvda</rootDeviceName>
<blockDeviceMapping><item><deviceName>/dev/xvda</deviceName><ebs><volumeId>vol-1</volumeId><status>attached</status>
<attachTime>2026-11-01T12:00:01.000Z</attachTime><deleteOnTermination>true</deleteOnTermination></ebs></item>
</blockDeviceMapping><virtualizationType>hvm</virtualizationType><clientToken>t</clientToken>
<tagSet>{tags}</tagSet><hypervisor>xen</hypervisor>
<networkInterfaceSet><item><networkInterfaceId>eni-1</networkInterfaceId><subnetId>subnet-a</subnetId><vpcId>vpc-1</vpcId>
<description/><ownerId>123456789012</ownerId><status>in-use</status><macAddress>02:00:00:00:00:01</macAddress>
<privateIpAddress>10.0.0.5</privateIpAddress><sourceDestCheck>true</sourceDestCheck>
<groupSet><item><groupId>sg-0a1b2c3d4e5f60001</groupId><groupName>app</groupName></item></groupSet>
<attachment><attachmentId>eni-attach-1</attachmentId><deviceIndex>0</deviceIndex><status>attached</status>
<attachTime>2026-11-01T12:00:00.000Z</attachTime><deleteOnTermination>true</deleteOnTermination></attachment>
<privateIpAddressesSet><item><privateIpAddress>10.0.0.5</privateIpAddress><primary>true</primary></item>
</privateIpAddressesSet></item></networkInterfaceSet>
<iamInstanceProfile><arn>arn:aws:iam::123456789012:instance-profile/web</arn><id>AIPA</id></iamInstanceProfile>
<ebsOptimized>false</ebsOptimized><cpuOptions><coreCount>1</coreCount><threadsPerCore>2</threadsPerCore></cpuOptions>
<metadataOptions><state>applied</state><httpTokens>required</httpTokens><httpPutResponseHopLimit>1</httpPutResponseHopLimit>
<httpEndpoint>enabled</httpEndpoint></metadataOptions></item></instancesSet></item>"""
_TAGS = {
    tags.FLEET: "demo",
    tags.ENVIRONMENT: "checkout",
    tags.ROLE: "web",
    tags.INTENT: "0123456789abcdef",
    tags.SPEC: "v1:0123456789abcdef",
    tags.REVISION: "0" * 40,
    tags.READY: "2026-11-01T12:00:00Z",
    tags.NAME: "checkout-web",
}


def answer() -> bytes:
    items = "".join(f"<item><key>{key}</key><value>{value}</value></item>" for key, value in _TAGS.items())
    records = "".join(_INSTANCE.format(n=number, tags=items) for number in range(INSTANCES))
    return (
        '<?xml version="1.0" encoding="UTF-8"?><DescribeInstancesResponse '
        f'xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><reservationSet>{records}</reservationSet>'
        "</DescribeInstancesResponse>"
    ).encode()


def best_ms(work: Callable[[], object]) -> float:
    took = []
    for _ in range(ROUNDS):
        gc.collect()
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return min(took) * 1000


def kept_mb(work: Callable[[], object]) -> float:
    gc.collect()
    tracemalloc.start()
    kept = work()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del kept
    return size / 1e6


def main() -> None:
    shape = botocore.session.Session().get_service_model("ec2").operation_model("DescribeInstances").output_shape
    assert shape is not None
    response = {"status_code": 200, "headers": {}, "body": answer()}
    print(f"answer for {INSTANCES} instances: {len(answer()) / 1e6:.1f} MB")
    for name, parser in (("stock", EC2QueryParser()), ("lean", LeanEc2Parser())):

        def parse(parser: EC2QueryParser = parser) -> object:
            return parser.parse(response, shape)

        def read(parser: EC2QueryParser = parser) -> object:
            return read_instances(parser.parse(response, shape))

        print(
            f"{name:5} parse {best_ms(parse):6.0f} ms, into Instances {best_ms(read):6.0f} ms, "
            f"answer {kept_mb(parse):5.1f} MB, Instances {kept_mb(read):5.1f} MB"
        )
    parameters = LaunchParameters(
        image=ImageId("ami-1"),
        instance_type="m7i.large",
        subnet="subnet-a",
        count=INSTANCES,
        security_groups=(),
        instance_profile=None,
        key_name=None,
        root_volume_size_gib=None,
        root_volume_type=None,
        user_data="",
        tags=tuple(sorted(_TAGS.items())),
    )
    cloud = FakeCloud(FakeClock())
    print(f"fake: launch {INSTANCES} {best_ms(lambda: cloud.launch_by_hand(parameters)):.1f} ms")
    cloud = FakeCloud(FakeClock())
    cloud.run_instances(IntentToken("a"), replace(parameters, count=INSTANCES))
    print(f"fake: list {INSTANCES} {best_ms(cloud.list_instances):.1f} ms")


if __name__ == "__main__":
    main()
