"""The lean parser sees exactly what botocore's own parser sees, of what an Instance is made of."""

from datetime import UTC, datetime
from functools import cache
from types import MappingProxyType
from typing import Any
from xml.sax.saxutils import escape

import botocore.session
import pytest
from botocore.parsers import EC2QueryParser, ResponseParserError
from hypothesis import given
from hypothesis import strategies as st

from reconciler.adapters.ec2_parser import WANTED, LeanEc2Parser, LeanParserFactory, Wanted, read_instances
from reconciler.errors import Transient
from reconciler.model.names import ImageId, InstanceId
from reconciler.model.observed import Instance, InstanceState

NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"

# As EC2 writes it: pretty-printed, with interfaces that have groups, tags and private addresses of their own.
FULL = """
    <item>
      <reservationId>r-0123</reservationId><ownerId>123456789012</ownerId>
      <groupSet><item><groupId>sg-classic</groupId></item></groupSet>
      <instancesSet>
        <item>
          <instanceId>i-0123456789abcdef0</instanceId>
          <imageId>ami-0123456789abcdef0</imageId>
          <instanceState><code>16</code><name>running</name></instanceState>
          <privateDnsName>ip-10-0-0-5.ec2.internal</privateDnsName>
          <dnsName/>
          <reason/>
          <instanceType>m7i.large</instanceType>
          <launchTime>2026-11-01T12:00:00.000Z</launchTime>
          <placement><availabilityZone>us-east-1a</availabilityZone><groupName/></placement>
          <subnetId>subnet-a</subnetId>
          <vpcId>vpc-1</vpcId>
          <privateIpAddress>10.0.0.5</privateIpAddress>
          <groupSet>
            <item><groupId>sg-app</groupId><groupName>app &amp; web</groupName></item>
            <item><groupId>sg-ssh</groupId><groupName>ssh</groupName></item>
          </groupSet>
          <blockDeviceMapping><item><deviceName>/dev/xvda</deviceName><ebs><volumeId>vol-1</volumeId>
            <attachTime>2026-11-01T12:00:01.000Z</attachTime></ebs></item></blockDeviceMapping>
          <tagSet>
            <item><key>Name</key><value>checkout-web</value></item>
            <item><key>hivequeen:fleet</key><value>demo</value></item>
            <item><key>note</key><value>Grüße &lt;b&gt; &#x8702; "q"</value></item>
            <item><key>empty</key><value/></item>
            <item><key>spaces</key><value>  two  </value></item>
          </tagSet>
          <networkInterfaceSet><item>
            <networkInterfaceId>eni-1</networkInterfaceId><subnetId>subnet-other</subnetId>
            <privateIpAddress>10.9.9.9</privateIpAddress>
            <groupSet><item><groupId>sg-of-the-interface</groupId></item></groupSet>
            <tagSet><item><key>Name</key><value>of the interface</value></item></tagSet>
            <privateIpAddressesSet><item><privateIpAddress>10.9.9.9</privateIpAddress></item></privateIpAddressesSet>
          </item></networkInterfaceSet>
          <iamInstanceProfile><arn>arn:aws:iam::123456789012:instance-profile/app/web</arn><id>AIPA</id></iamInstanceProfile>
          <metadataOptions><state>applied</state><httpTokens>required</httpTokens></metadataOptions>
          <somethingNew><name>of next year</name><item><key>k</key></item></somethingNew>
        </item>
      </instancesSet>
    </item>"""
# A terminated instance has lost most of it; empty sets and no sets both occur.
BARE_INSTANCE = """<item><instanceId>i-0fedcba9876543210</instanceId><imageId>ami-1</imageId>
    <instanceState><code>48</code><name>terminated</name></instanceState><instanceType>t3.micro</instanceType>
    <launchTime>2025-01-02T03:04:05Z</launchTime><groupSet/><networkInterfaceSet/></item>"""
BARE = f"<item><instancesSet>{BARE_INSTANCE}</instancesSet></item>"
PAGES = {
    "full": FULL,
    "bare": BARE,
    "several reservations": FULL + BARE,
    "two in a reservation": FULL.replace("</instancesSet>", BARE_INSTANCE + "</instancesSet>"),
    "no reservation": "",
    "empty reservation": "<item><instancesSet/></item>",
    "reservation without a set": "<item><reservationId>r-1</reservationId></item>",
}


def answer(reservations: str, *, after: str = "") -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<DescribeInstancesResponse xmlns="{NAMESPACE}">\n'
        f"<requestId>8f7724cf</requestId>\n<reservationSet>{reservations}</reservationSet>{after}"
        "</DescribeInstancesResponse>"
    ).encode()


@cache
def output_shape(operation: str) -> Any:
    session = botocore.session.Session()
    return session.get_service_model("ec2").operation_model(operation).output_shape


def parse(parser: EC2QueryParser, body: bytes, operation: str = "DescribeInstances") -> dict[str, Any]:
    response = {"status_code": 200, "headers": {}, "body": body}
    parsed: dict[str, Any] = parser.parse(response, output_shape(operation))
    return parsed


def only_wanted(value: Any, wanted: Wanted | None) -> Any:
    """What of botocore's answer the lean parser is to find."""
    if isinstance(value, list):
        return [only_wanted(one, wanted) for one in value]
    if wanted is None:
        return value
    return {member: only_wanted(value[member], below) for member, below in wanted.items() if member in value}


def assert_parsed_alike(body: bytes) -> None:
    stock, lean = parse(EC2QueryParser(), body), parse(LeanEc2Parser(), body)
    assert {key: value for key, value in lean.items() if key != "ResponseMetadata"} == only_wanted(stock, WANTED)
    assert lean["ResponseMetadata"] == stock["ResponseMetadata"]
    assert read_instances(lean) == read_instances(stock)


@pytest.mark.parametrize("page", PAGES)
def test_the_lean_parser_agrees_with_the_stock_one(page: str) -> None:
    assert_parsed_alike(answer(PAGES[page]))
    assert_parsed_alike(answer(PAGES[page], after="<nextToken>abc/+=</nextToken>"))
    assert_parsed_alike(answer(PAGES[page], after="<nextToken/>"))


def test_a_full_record_becomes_an_instance() -> None:
    assert read_instances(parse(LeanEc2Parser(), answer(FULL))) == [
        Instance(
            instance_id=InstanceId("i-0123456789abcdef0"),
            state=InstanceState.RUNNING,
            image=ImageId("ami-0123456789abcdef0"),
            instance_type="m7i.large",
            subnet="subnet-a",
            security_groups=frozenset({"sg-app", "sg-ssh"}),
            instance_profile="web",
            private_address="10.0.0.5",
            launched_at=datetime(2026, 11, 1, 12, tzinfo=UTC),
            tags=MappingProxyType(
                {
                    "Name": "checkout-web",
                    "hivequeen:fleet": "demo",
                    "note": 'Grüße <b> 蜂 "q"',
                    "empty": "",
                    "spaces": "  two  ",
                }
            ),
        )
    ]


def test_a_bare_record_becomes_an_instance() -> None:
    (instance,) = read_instances(parse(LeanEc2Parser(), answer(BARE)))
    assert instance.is_dead
    assert (instance.subnet, instance.private_address, instance.instance_profile) == (None, None, None)
    assert instance.tags == {}
    assert instance.security_groups == frozenset()


text = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20)
elements = st.sampled_from(
    ["item", "key", "value", "tagSet", "groupSet", "groupId", "instanceId", "name", "instanceState", "unknown"]
)
xml = st.recursive(
    text.map(escape),
    lambda inner: st.lists(st.tuples(elements, inner), max_size=4).map(
        lambda children: "".join(f"<{name}>{content}</{name}>" for name, content in children)
    ),
    max_leaves=12,
)


@given(tags=st.dictionaries(text, text, max_size=8), noise=xml)
def test_any_tags_and_any_unknown_elements_are_parsed_alike(tags: dict[str, str], noise: str) -> None:
    items = "".join(f"<item><key>{escape(key)}</key><value>{escape(tags[key])}</value></item>" for key in tags)
    record = BARE.replace("<groupSet/>", f"<novelty>{noise}</novelty><tagSet>{items}</tagSet><groupSet/>")
    body = answer(record)
    assert_parsed_alike(body)
    assert dict(read_instances(parse(LeanEc2Parser(), body))[0].tags) == tags


@pytest.mark.parametrize("end", [10, 400, -20, -1])
def test_half_an_answer_is_an_error(end: int) -> None:
    with pytest.raises(ResponseParserError):
        parse(LeanEc2Parser(), answer(FULL)[:end])


@pytest.mark.parametrize(
    "body", [b"<html><body>Please log in</body></html>", b"<DescribeImagesResponse/>", b"", b"{}"], ids=repr
)
def test_somebody_elses_answer_is_an_error_and_not_an_empty_fleet(body: bytes) -> None:
    with pytest.raises(ResponseParserError):
        parse(LeanEc2Parser(), body)


def test_an_answer_without_a_reservation_set_is_an_error_and_not_an_empty_fleet() -> None:
    body = f'<DescribeInstancesResponse xmlns="{NAMESPACE}"><requestId>1</requestId></DescribeInstancesResponse>'
    for parser in (EC2QueryParser(), LeanEc2Parser()):
        with pytest.raises(Transient):
            read_instances(parse(parser, body.encode()))


@pytest.mark.parametrize(
    ("whole", "broken"),
    [
        ("<name>terminated</name>", "<name>on-holiday</name>"),
        ("<instanceState><code>48</code><name>terminated</name></instanceState>", ""),
        ("<imageId>ami-1</imageId>", ""),
        ("<launchTime>2025-01-02T03:04:05Z</launchTime>", ""),
        ("<instanceId>i-0fedcba9876543210</instanceId>", ""),
    ],
)
def test_a_record_that_lacks_what_every_instance_has_is_never_dropped_silently(whole: str, broken: str) -> None:
    assert whole in BARE
    with pytest.raises(Transient):
        read_instances(parse(LeanEc2Parser(), answer(BARE.replace(whole, broken))))


def test_a_time_that_is_none_is_an_error() -> None:
    with pytest.raises(ResponseParserError):
        parse(LeanEc2Parser(), answer(BARE.replace("2025-01-02T03:04:05Z", "yesterday")))


def test_every_other_answer_is_left_to_botocore() -> None:
    body = b'<DescribeImagesResponse xmlns="x"><imagesSet><item><imageId>ami-1</imageId></item></imagesSet></DescribeImagesResponse>'
    assert parse(LeanEc2Parser(), body, "DescribeImages") == parse(EC2QueryParser(), body, "DescribeImages")
    error = {
        "status_code": 400,
        "headers": {},
        "body": b"<Response><Errors><Error><Code>C</Code><Message>m</Message></Error></Errors><RequestID>1</RequestID></Response>",
    }
    shape = output_shape("DescribeInstances")
    assert LeanEc2Parser().parse(error, shape) == EC2QueryParser().parse(error, shape)


@pytest.mark.parametrize("protocol", ["query", "json", "rest-xml"])
def test_other_protocols_keep_their_parser(protocol: str) -> None:
    assert not isinstance(LeanParserFactory().create_parser(protocol), LeanEc2Parser)
