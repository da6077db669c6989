"""What only the boto3 adapter does: paging, counting, bounded repeats, translation of errors, what is sent."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from threading import Thread
from urllib.parse import parse_qsl
from wsgiref.types import StartResponse, WSGIEnvironment

import boto3
import botocore.session
import pytest
from botocore import exceptions as botocore_errors
from botocore.exceptions import ClientError
from werkzeug.serving import make_server

from reconciler.adapters.ec2 import Ec2
from reconciler.adapters.ec2_errors import request_result, translate_answer, translate_failure
from reconciler.adapters.ec2_requests import WRITE_ATTEMPTS_MAX
from reconciler.errors import (
    Denied,
    HivequeenError,
    NoCapacity,
    QuotaReached,
    Refused,
    SettingsError,
    Throttled,
    TokenMismatch,
    TokenSpent,
    Transient,
)
from reconciler.model.desired import ImageByParameter
from reconciler.model.memory import LaunchParameters
from reconciler.model.names import EnvironmentName, FleetId, ImageId, InstanceId, IntentToken
from reconciler.sandbox.ec2 import Ec2Endpoint, Effect, Fault, Launched, serve
from reconciler.settings import AwsSettings

REGION = "us-east-1"
PARAMETERS = LaunchParameters(
    image=ImageId("ami-0123456789abcdef0"),
    instance_type="m7i.large",
    subnet="subnet-0a1b2c3d4e5f60001",
    count=2,
    security_groups=("sg-0a1b2c3d4e5f60001",),
    instance_profile="web",
    key_name="ops",
    root_volume_size_gib=40,
    root_volume_type="gp3",
    user_data="#!/bin/sh\necho 'Grüße'\n",
    tags=(("hivequeen:environment", "checkout"), ("hivequeen:fleet", "demo")),
)
TOKEN = IntentToken("token")


@cache  # botocore reads its model of EC2 once per session, in 0.2 s
def session(key: str = "AKIDEXAMPLE", secret: str = "secret") -> botocore.session.Session:
    made = botocore.session.Session()
    made.set_credentials(key, secret)
    return made


@dataclass
class Bench:
    """An adapter, the requests that it counted, and the pauses that it asked for."""

    url: str
    requests: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    pauses: list[float] = field(default_factory=list)

    def ec2(self) -> Ec2:
        return Ec2(
            AwsSettings(region=REGION, endpoint_url=self.url),
            FleetId("demo"),
            lambda *labels: self.requests.update([labels]),
            sessions=session,
            pause=self.pauses.append,
        )


@pytest.fixture
def endpoint() -> Ec2Endpoint:
    return Ec2Endpoint()


@pytest.fixture
def bench(endpoint: Ec2Endpoint) -> Iterator[Bench]:
    with serve(endpoint) as url:
        yield Bench(url)


# --- paging, against a server that pages (moto does not page by instance) ---


@dataclass
class Paging:
    """Answers DescribeInstances with one scripted answer after the other, the last one again and again."""

    answers: list[tuple[int, str]]
    seen: list[dict[str, str]] = field(default_factory=list)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        form = dict(parse_qsl(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])).decode()))
        self.seen.append(form)
        status, body = self.answers[min(len(self.seen), len(self.answers)) - 1]
        start_response(f"{status} -", [("Content-Type", "text/xml"), ("Content-Length", str(len(body)))])
        return [body.encode()]


def page(*digits: str, token: str = "", environment: str = "checkout") -> tuple[int, str]:
    items = "".join(
        f"""<item><instancesSet><item><instanceId>i-{digit * 17}</instanceId><imageId>ami-1</imageId>
        <instanceState><name>running</name></instanceState><instanceType>t3.micro</instanceType>
        <launchTime>2026-11-01T12:00:00.000Z</launchTime><tagSet>
        <item><key>hivequeen:fleet</key><value>demo</value></item>
        <item><key>hivequeen:environment</key><value>{environment}</value></item></tagSet></item></instancesSet></item>"""
        for digit in digits
    )
    following = f"<nextToken>{token}</nextToken>" if token else ""
    return (
        200,
        f"<DescribeInstancesResponse><reservationSet>{items}</reservationSet>{following}</DescribeInstancesResponse>",
    )


UNAVAILABLE = (503, "<Response><Errors><Error><Code>Unavailable</Code><Message>m</Message></Error></Errors></Response>")
INCOMPLETE = (200, page("b")[1].replace("<imageId>ami-1</imageId>", ""))


@contextmanager
def paging(*answers: tuple[int, str]) -> Iterator[tuple[Bench, Paging]]:
    app = Paging(list(answers))
    server = make_server("127.0.0.1", 0, app, threaded=True)
    server.log = lambda *_: None  # type: ignore[method-assign] # werkzeug prints each request
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield Bench(f"http://127.0.0.1:{server.server_port}"), app
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_every_page_is_read() -> None:
    with paging(page("a", "b", token="more/+="), page("c")) as (bench, app):
        listed = bench.ec2().list_instances()
    assert [one.instance_id[2] for one in listed] == ["a", "b", "c"]
    assert [form["MaxResults"] for form in app.seen] == ["1000", "1000"]
    assert [form.get("NextToken") for form in app.seen] == [None, "more/+="]
    assert app.seen[0]["Filter.1.Name"] == "tag:hivequeen:fleet"
    assert app.seen[0]["Filter.1.Value.1"] == "demo"
    assert bench.requests == {("ec2", "DescribeInstances", "ok"): 2}


def test_an_instance_that_moves_between_pages_is_listed_once() -> None:
    with paging(page("a", "b", token="more"), page("b", "c")) as (bench, _):
        assert len(bench.ec2().list_instances()) == 3


@pytest.mark.parametrize(
    "second",
    [UNAVAILABLE, INCOMPLETE, (200, page("b")[1][:200]), (200, "<html>log in</html>"), page("b", token="more")],
    ids=["unavailable", "incomplete record", "half an answer", "a proxy's page", "the same token again"],
)
def test_a_second_page_that_fails_makes_the_listing_transient_and_never_partial(second: tuple[int, str]) -> None:
    with paging(page("a", token="more"), second) as (bench, _), pytest.raises(Transient):
        bench.ec2().list_instances()


def test_a_read_is_repeated_within_bounds_and_every_request_is_counted() -> None:
    with paging(UNAVAILABLE, page("a")) as (bench, _):
        assert len(bench.ec2().list_instances()) == 1
    assert bench.requests == {
        ("ec2", "DescribeInstances", "unreachable"): 1,
        ("ec2", "DescribeInstances", "ok"): 1,
    }


def test_a_scope_is_a_filter_and_one_over_the_limit_is_not() -> None:
    with paging(page("a")) as (bench, app):
        ec2 = bench.ec2()
        names = [EnvironmentName(f"e{number}") for number in range(201)]
        ec2.list_instances(names[:200])
        ec2.list_instances(names)
    assert app.seen[0]["Filter.2.Name"] == "tag:hivequeen:environment"
    assert app.seen[0]["Filter.2.Value.200"]
    assert "Filter.2.Name" not in app.seen[1]


def test_a_not_found_that_names_nobody_we_asked_for_concludes_nothing() -> None:
    answer = (400, UNAVAILABLE[1].replace("Unavailable", "InvalidInstanceID.NotFound"))
    with paging(answer) as (bench, app):
        with pytest.raises(Transient):
            bench.ec2().get_instances([InstanceId("i-" + "a" * 17)])
        assert len(app.seen) == 1


# --- what is sent ---


def test_a_launch_sends_exactly_what_the_intent_says() -> None:
    launched: list[Launched] = []
    with serve(Ec2Endpoint(on_launch=launched.append)) as url:
        ids = Bench(url).ec2().run_instances(TOKEN, PARAMETERS)
        plain = boto3.Session(aws_access_key_id="a", aws_secret_access_key="b", region_name=REGION)
        client = plain.client("ec2", endpoint_url=url)
        reservations = client.describe_instances(InstanceIds=list(ids))["Reservations"]
        volumes = client.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": list(ids)}])["Volumes"]
    (reservation,) = reservations
    expected_tags = [{"Key": key, "Value": value} for key, value in PARAMETERS.tags]
    for instance in reservation["Instances"]:
        assert instance["KeyName"] == "ops"
        assert [one["Ebs"]["DeleteOnTermination"] for one in instance["BlockDeviceMappings"]] == [True]
        assert instance["MetadataOptions"]["HttpTokens"] == "required"
        assert instance["MetadataOptions"]["HttpEndpoint"] == "enabled"
        assert sorted(instance["Tags"], key=str) == sorted(expected_tags, key=str)
    assert [one.user_data for one in launched] == [PARAMETERS.user_data] * 2
    assert len(volumes) == 2  # the root volumes and no other
    for volume in volumes:
        assert (volume["Size"], volume["VolumeType"]) == (40, "gp3")
        assert volume["Attachments"][0]["Device"] == "/dev/xvda"
        assert sorted(volume["Tags"], key=str) == sorted(expected_tags, key=str)


def test_the_root_device_is_looked_up_once_per_image(bench: Bench) -> None:
    ec2 = bench.ec2()
    ec2.run_instances(IntentToken("a"), PARAMETERS)
    ec2.run_instances(IntentToken("b"), PARAMETERS)
    assert bench.requests["ec2", "DescribeImages", "ok"] == 1


def test_an_ssm_parameter_names_an_image(bench: Bench) -> None:
    ssm = boto3.Session(aws_access_key_id="a", aws_secret_access_key="b", region_name=REGION).client(
        "ssm", endpoint_url=bench.url
    )
    ssm.put_parameter(Name="/images/web", Value="ami-0123456789abcdef0", Type="String")
    ssm.put_parameter(Name="/images/odd", Value='{"image_id": "ami-0123456789abcdef0"}', Type="String")
    ec2 = bench.ec2()
    assert ec2.resolve_image(ImageByParameter(parameter="/images/web")) == "ami-0123456789abcdef0"
    with pytest.raises(Refused, match="does not hold an image id"):
        ec2.resolve_image(ImageByParameter(parameter="/images/odd"))
    assert bench.requests["ssm", "GetParameter", "ok"] == 2


def test_the_account_is_asked_for_once(bench: Bench) -> None:
    ec2 = bench.ec2()
    assert [ec2.account(), ec2.account()] == ["123456789012"] * 2
    assert bench.requests == {("sts", "GetCallerIdentity", "ok"): 1}


# --- repeats and counting ---


def throttle(times: int) -> Fault:
    return Fault(operation="RunInstances", effect=Effect.REFUSE, code="RequestLimitExceeded", status=503, times=times)


def test_a_throttled_write_is_repeated_with_growing_pauses(bench: Bench, endpoint: Ec2Endpoint) -> None:
    endpoint.faults.add(throttle(2))
    assert len(bench.ec2().run_instances(TOKEN, PARAMETERS)) == 2
    assert bench.requests["ec2", "RunInstances", "throttled"] == 2
    assert bench.requests["ec2", "RunInstances", "ok"] == 1
    assert 0.25 <= bench.pauses[0] <= 0.5 <= bench.pauses[1] <= 1


def test_a_write_that_stays_throttled_certainly_was_not_done(bench: Bench, endpoint: Ec2Endpoint) -> None:
    endpoint.faults.add(throttle(100))
    with pytest.raises(Throttled):
        bench.ec2().run_instances(TOKEN, PARAMETERS)
    assert bench.requests["ec2", "RunInstances", "throttled"] == WRITE_ATTEMPTS_MAX
    assert sum(bench.pauses) <= 3.5


@pytest.mark.parametrize(
    ("fault", "error", "result"),
    [
        (Fault(effect=Effect.REFUSE, code="InsufficientInstanceCapacity", status=500), NoCapacity, "refused"),
        (Fault(effect=Effect.REFUSE, code="InternalError", status=500), Transient, "unreachable"),
        (Fault(effect=Effect.REFUSE, code="Unavailable", status=503), Transient, "unreachable"),
    ],
    ids=lambda value: value.code if isinstance(value, Fault) else "",
)
def test_a_launch_with_a_5xx_is_asked_once(
    bench: Bench, endpoint: Ec2Endpoint, fault: Fault, error: type[HivequeenError], result: str
) -> None:
    endpoint.faults.add(replace(fault, operation="RunInstances"))
    with pytest.raises(error):
        bench.ec2().run_instances(TOKEN, PARAMETERS)
    launches = {labels: count for labels, count in bench.requests.items() if labels[1] == "RunInstances"}
    assert launches == {("ec2", "RunInstances", result): 1}
    assert bench.pauses == []


def test_a_dropped_connection_is_counted(bench: Bench, endpoint: Ec2Endpoint) -> None:
    endpoint.faults.add(Fault(operation="CreateTags", effect=Effect.DROP))
    with pytest.raises(Transient):
        bench.ec2().set_tags([InstanceId("i-" + "a" * 17)], {"a": "b"})
    assert bench.requests == {("ec2", "CreateTags", "unreachable"): 1}


def test_an_unreachable_endpoint_is_transient_and_counted() -> None:
    with paging(page()) as (bench, _):
        pass  # its port is closed now
    with pytest.raises(Transient):
        bench.ec2().set_tags([InstanceId("i-" + "a" * 17)], {"a": "b"})
    assert bench.requests == {("ec2", "CreateTags", "unreachable"): 1}


# --- credentials ---


def test_refused_credentials_are_looked_up_again_and_so_is_the_account(bench: Bench, endpoint: Ec2Endpoint) -> None:
    made: list[botocore.session.Session] = []

    def renewed() -> botocore.session.Session:
        made.append(session(f"AKID{len(made)}"))
        return made[-1]

    ec2 = Ec2(AwsSettings(region=REGION, endpoint_url=bench.url), FleetId("demo"), lambda *_: None, sessions=renewed)
    assert ec2.account() == "123456789012"
    assert len(made) == 1
    endpoint.faults.add(Fault(operation="DescribeInstances", effect=Effect.REFUSE, code="ExpiredToken", status=400))
    with pytest.raises(Denied) as denial:
        ec2.list_instances()
    assert denial.value.remedy
    assert ec2.list_instances() == ()
    assert len(made) == 2
    endpoint.faults.add(Fault(operation="GetCallerIdentity", effect=Effect.REFUSE, code="AuthFailure", status=401))
    with pytest.raises(Denied):
        ec2.account()
    assert ec2.account() == "123456789012"


def test_no_credentials_at_all_are_denied_with_a_remedy_and_found_when_there_are_some(bench: Bench) -> None:
    have: list[bool] = []

    def chain() -> botocore.session.Session:
        if have:
            return session()
        made = botocore.session.Session()
        made.get_component("credential_provider").providers.clear()
        return made

    ec2 = Ec2(AwsSettings(region=REGION, endpoint_url=bench.url), FleetId("demo"), lambda *_: None, sessions=chain)
    for ask in (ec2.account, ec2.list_instances, lambda: ec2.run_instances(TOKEN, PARAMETERS)):
        with pytest.raises(Denied) as denial:
            ask()
        assert "credentials" in denial.value.remedy
    have.append(True)
    assert ec2.list_instances() == ()


def test_a_nonsensical_endpoint_is_a_settings_error() -> None:
    ec2 = Bench("not a url").ec2()
    with pytest.raises(SettingsError):
        ec2.list_instances()


# --- translation ---


def client_error(code: str, status: int, message: str = "because") -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item] # the other members play no part
        "RunInstances",
    )


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("RequestLimitExceeded", 503, Throttled),
        ("Throttling", 400, Throttled),
        ("SomethingElse", 429, Throttled),
        ("InternalError", 500, Transient),
        ("ServiceUnavailable", 503, Transient),
        ("SomethingNew", 500, Transient),
        ("SomethingNew", 400, Refused),
        ("Unknown", 403, Transient),  # no code: a proxy answered
        ("301", 301, Transient),
        ("InsufficientInstanceCapacity", 500, NoCapacity),
        ("InsufficientHostCapacity", 500, NoCapacity),
        ("InsufficientFreeAddressesInSubnet", 400, NoCapacity),
        ("Unsupported", 400, NoCapacity),
        ("InstanceTypeNotSupported", 400, NoCapacity),
        ("IdempotentParameterMismatch", 400, TokenMismatch),
        ("IdempotentInstanceTerminated", 400, TokenSpent),
        ("InstanceLimitExceeded", 400, QuotaReached),
        ("MaxSpotInstanceCountExceeded", 400, QuotaReached),
        ("ResourceCountExceeded", 400, QuotaReached),
        ("VcpuLimitExceeded", 400, QuotaReached),
        ("PendingVerification", 400, QuotaReached),
        ("ConcurrentTagAccess", 400, Transient),
        ("InvalidAMIID.NotFound", 400, Refused),
        ("InvalidAMIID.Malformed", 400, Refused),
        ("InvalidSubnetID.NotFound", 400, Refused),
        ("InvalidGroup.NotFound", 400, Refused),
        ("OperationNotPermitted", 400, Refused),
        ("UnauthorizedOperation", 403, Denied),
        ("AuthFailure", 401, Denied),
        ("RequestExpired", 400, Denied),
        ("ExpiredToken", 400, Denied),
        ("OptInRequired", 401, Denied),
    ],
)
def test_each_code_is_named_by_the_next_step(code: str, status: int, expected: type[HivequeenError]) -> None:
    error = translate_answer("EC2", "RunInstances", client_error(code, status))
    assert type(error) is expected
    assert code in error.message
    if isinstance(error, Refused):
        assert error.code == code
    if expected in (Refused, Denied, NoCapacity, QuotaReached):
        assert error.remedy


def test_capacity_codes_mean_capacity_only_where_something_is_launched() -> None:
    assert type(translate_answer("EC2", "DescribeImages", client_error("Unsupported", 400))) is Refused


def test_the_encoded_authorization_blob_is_not_shown() -> None:
    message = "You are not authorized to perform this operation.\nEncoded authorization failure message: " + "x" * 900
    error = translate_answer("EC2", "RunInstances", client_error("UnauthorizedOperation", 403, message))
    assert "xxx" not in error.message
    assert "not authorized" in error.message
    assert "\n" not in error.message


def test_messages_are_bounded() -> None:
    assert len(translate_answer("EC2", "RunInstances", client_error("C", 400, "long " * 1000)).message) < 500


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (botocore_errors.NoCredentialsError(), Denied),
        (botocore_errors.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"), Denied),
        (botocore_errors.ParamValidationError(report="count"), Refused),
        (botocore_errors.ConnectTimeoutError(endpoint_url="u"), Transient),
        (botocore_errors.ReadTimeoutError(endpoint_url="u"), Transient),
        (botocore_errors.SSLError(endpoint_url="u", error=ValueError("expired")), Transient),
        (botocore_errors.CredentialRetrievalError(provider="imds", error_msg="503"), Transient),
        (ValueError("half an answer"), Transient),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_each_failure_is_named_by_the_next_step(error: Exception, expected: type[HivequeenError]) -> None:
    assert type(translate_failure("EC2", "RunInstances", error)) is expected


@pytest.mark.parametrize(
    ("code", "status", "result"),
    [
        ("", 200, "ok"),
        ("RequestLimitExceeded", 503, "throttled"),
        ("Unavailable", 503, "unreachable"),
        ("InsufficientInstanceCapacity", 500, "refused"),
        ("InvalidAMIID.NotFound", 400, "refused"),
    ],
)
def test_request_results_are_a_closed_set(code: str, status: int, result: str) -> None:
    assert request_result(code, status) == result
