"""EC2, STS and SSM through boto3: one account and region, seen through the fleet tag.

Reads and writes have a client each, so that throttled reads never slow a termination. botocore repeats reads within
bounds. Of writes only what EC2 throttled is repeated, here, for that certainly was not done; a write without an
answer, and a 5xx "no capacity" that botocore would silently repeat, go back to the caller at once.
"""

import random
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, TypeVar, assert_never

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from reconciler.adapters.ec2_errors import (
    STALE_CREDENTIALS,
    THROTTLES,
    UNKNOWN_INSTANCE,
    WRONG_STATE,
    code_of,
    request_result,
    translate_answer,
    translate_failure,
)
from reconciler.adapters.ec2_parser import LeanParserFactory, read_instances
from reconciler.errors import Denied, HivequeenError, Refused, SettingsError, Transient
from reconciler.model import tags as tag_keys
from reconciler.model.desired import Image, ImageById, ImageByName, ImageByParameter
from reconciler.model.memory import LaunchParameters
from reconciler.model.names import EnvironmentName, FleetId, ImageId, InstanceId, IntentToken, is_instance_id
from reconciler.model.observed import Instance, InstanceState
from reconciler.ports import RequestCounter
from reconciler.settings import AwsSettings

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import FilterTypeDef, RunInstancesRequestTypeDef
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_sts import STSClient

CONNECT_TIMEOUT_S: Final = 3
READ_TIMEOUT_S: Final = 20
READ_ATTEMPTS_MAX: Final = 3
WRITE_ATTEMPTS_MAX: Final = 4  # of throttled writes: at most 0.5 + 1 + 2 s of waiting
WRITE_PAUSE_S: Final = 0.5  # before the second attempt; doubles
PAGE_SIZE: Final = 1000  # EC2's maximum
FILTER_VALUES_MAX: Final = 200  # EC2's maximum
IDS_PER_READ_MAX: Final = 500
BAD_ID_ROUNDS_MAX: Final = 10

_IMAGE_ID: Final = re.compile(r"ami-(?:[0-9a-f]{8}|[0-9a-f]{17})")
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class _Clients:
    reads: "EC2Client"
    writes: "EC2Client"
    ssm: "SSMClient"
    sts: "STSClient"


class Ec2:
    """ports.Cloud.

    Args:
        sessions: makes the session whose credential chain is used; called again after credentials were refused, so
            that renewed ones are found without a restart.
        pause: waits so many seconds between attempts of a throttled write.
    """

    def __init__(
        self,
        settings: AwsSettings,
        fleet: FleetId,
        count_request: RequestCounter,
        *,
        sessions: Callable[[], botocore.session.Session] = botocore.session.Session,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings
        self._fleet = fleet
        self._count_request = count_request
        self._sessions = sessions
        self._pause = pause
        self._lock = Lock()
        self._connected: _Clients | None = None
        self._account: str | None = None
        self._root_devices: dict[ImageId, str] = {}

    # --- reads ---

    def account(self, *, afresh: bool = False) -> str:
        clients = self._clients()
        kept = self._account
        if kept is not None and not afresh:
            return kept
        with self._translated("STS", "GetCallerIdentity"):
            account = clients.sts.get_caller_identity()["Account"]
        with self._lock:
            if self._connected is clients:  # else those credentials are not in use any more
                self._account = account
        return account

    def list_instances(self, environments: Collection[EnvironmentName] | None = None) -> Sequence[Instance]:
        if environments is not None and not environments:
            return ()
        wanted = None if environments is None else frozenset(environments)
        filters: list[FilterTypeDef] = [{"Name": f"tag:{tag_keys.FLEET}", "Values": [self._fleet]}]
        if wanted is not None and len(wanted) <= FILTER_VALUES_MAX:
            filters.append({"Name": f"tag:{tag_keys.ENVIRONMENT}", "Values": sorted(wanted)})
        found: dict[InstanceId, Instance] = {}
        clients = self._clients()
        with self._translated("EC2", "DescribeInstances"):
            pages = clients.reads.get_paginator("describe_instances").paginate(
                Filters=filters, PaginationConfig={"PageSize": PAGE_SIZE}
            )
            for page in pages:
                found.update((instance.instance_id, instance) for instance in read_instances(page))
        return tuple(
            instance
            for instance in found.values()
            # EC2 reads * and ? in filter values as wildcards; and over the limit there was no second filter.
            if instance.tags.get(tag_keys.FLEET) == self._fleet and (wanted is None or instance.environment in wanted)
        )

    def get_instances(self, instance_ids: Collection[InstanceId]) -> Mapping[InstanceId, Instance]:
        asked = sorted({instance_id for instance_id in instance_ids if is_instance_id(instance_id)})
        found: dict[InstanceId, Instance] = {}
        for first in range(0, len(asked), IDS_PER_READ_MAX):
            found |= self._get_chunk(asked[first : first + IDS_PER_READ_MAX])
        return found

    def _get_chunk(self, instance_ids: Sequence[InstanceId]) -> dict[InstanceId, Instance]:
        clients = self._clients()
        found: dict[InstanceId, Instance] = {}

        def describe(existing: Sequence[InstanceId]) -> None:
            pages = clients.reads.get_paginator("describe_instances").paginate(InstanceIds=existing)
            for page in pages:
                found.update((instance.instance_id, instance) for instance in read_instances(page))

        self._leaving_out(UNKNOWN_INSTANCE, "DescribeInstances", instance_ids, describe)
        return found

    def resolve_image(self, image: Image) -> ImageId:
        match image:
            case ImageById(image_id=image_id):
                return image_id
            case ImageByParameter(parameter=parameter):
                return self._resolve_parameter(parameter)
            case ImageByName():
                return self._resolve_newest(image)
            case _ as unreachable:
                assert_never(unreachable)

    def _resolve_parameter(self, parameter: str) -> ImageId:
        clients = self._clients()
        with self._translated("SSM", "GetParameter", subject=parameter):
            value = clients.ssm.get_parameter(Name=parameter)["Parameter"].get("Value", "")
        if _IMAGE_ID.fullmatch(value) is None:
            raise Refused(
                f"SSM parameter {parameter} does not hold an image id",
                code="NoImageId",
                remedy="declare a parameter whose value is ami-…, such as one that ends in /image_id",
            )
        return ImageId(value)

    def _resolve_newest(self, image: ImageByName) -> ImageId:
        clients = self._clients()
        with self._translated("EC2", "DescribeImages", subject=str(image)):
            pages = clients.reads.get_paginator("describe_images").paginate(
                Owners=[image.owner],
                Filters=[{"Name": "name", "Values": [image.name]}, {"Name": "state", "Values": ["available"]}],
            )
            found = [
                (raw["CreationDate"], raw["ImageId"])  # ISO 8601 text of one format: sorts by time
                for page in pages
                for raw in page["Images"]
                if raw.get("State") == "available"
            ]
        if not found:
            raise Refused(
                f"no available image of {image.owner} is named {image.name}",
                code="NoImage",
                remedy="correct image.owner or image.name, or share the image with this account",
            )
        return ImageId(max(found)[1])

    # --- writes ---

    def run_instances(self, token: IntentToken, parameters: LaunchParameters) -> Sequence[InstanceId]:
        request = self._launch_request(token, parameters)
        clients = self._clients()
        with self._translated("EC2", "RunInstances"):
            answer = self._unless_throttled(lambda: clients.writes.run_instances(**request))
            return tuple(InstanceId(raw["InstanceId"]) for raw in answer["Instances"])

    def _launch_request(self, token: IntentToken, parameters: LaunchParameters) -> "RunInstancesRequestTypeDef":
        tags = [{"Key": key, "Value": value} for key, value in parameters.tags]
        request: dict[str, Any] = {
            "ClientToken": token,
            "ImageId": parameters.image,
            "InstanceType": parameters.instance_type,
            "SubnetId": parameters.subnet,
            "MinCount": parameters.count,
            "MaxCount": parameters.count,
            "UserData": parameters.user_data,  # botocore encodes it
            "TagSpecifications": [{"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume")],
            # The bootstrap needs the metadata service, whatever the account's default. The hop limit is left to the
            # account and the image, for it decides whether containers there may reach it: not our choice.
            "MetadataOptions": {"HttpTokens": "required", "HttpEndpoint": "enabled"},
        }
        if parameters.security_groups:
            request["SecurityGroupIds"] = list(parameters.security_groups)
        if parameters.instance_profile is not None:
            request["IamInstanceProfile"] = {"Name": parameters.instance_profile}
        if parameters.key_name is not None:
            request["KeyName"] = parameters.key_name
        # Encryption of the root volume is the account's default; it goes with the instance.
        volume: dict[str, Any] = {"DeleteOnTermination": True}
        if parameters.root_volume_size_gib is not None:
            volume["VolumeSize"] = parameters.root_volume_size_gib
        if parameters.root_volume_type is not None:
            volume["VolumeType"] = parameters.root_volume_type
        if len(volume) > 1:
            request["BlockDeviceMappings"] = [{"DeviceName": self._root_device(parameters.image), "Ebs": volume}]
        return request  # type: ignore[return-value] # built key by key; botocore validates it before it is sent

    def _root_device(self, image: ImageId) -> str:
        """The device name that the image boots from: a mapping under any other would add a second volume."""
        if image not in self._root_devices:
            clients = self._clients()
            with self._translated("EC2", "DescribeImages", subject=image):
                images = clients.reads.describe_images(ImageIds=[image])["Images"]
            device = images[0].get("RootDeviceName") if images else None
            if not device:
                raise Refused(
                    f"image {image} is not available or has no root device",
                    code="InvalidAMIID.Unavailable",
                    remedy="declare an available EBS-backed image, or leave root_volume out",
                )
            self._root_devices[image] = device
        return self._root_devices[image]

    def terminate(self, instance_ids: Collection[InstanceId]) -> None:
        clients = self._clients()
        self._leaving_out(
            UNKNOWN_INSTANCE,
            "TerminateInstances",
            sorted(set(instance_ids)),
            lambda known: self._unless_throttled(lambda: clients.writes.terminate_instances(InstanceIds=known)),
        )

    def stop(self, instance_ids: Collection[InstanceId]) -> None:
        clients = self._clients()
        self._switch(
            "StopInstances",
            instance_ids,
            lambda known: self._unless_throttled(lambda: clients.writes.stop_instances(InstanceIds=known)),
            done=(InstanceState.STOPPING, InstanceState.STOPPED),
        )

    def start(self, instance_ids: Collection[InstanceId]) -> None:
        clients = self._clients()
        self._switch(
            "StartInstances",
            instance_ids,
            lambda known: self._unless_throttled(lambda: clients.writes.start_instances(InstanceIds=known)),
            done=(InstanceState.PENDING, InstanceState.RUNNING),
        )

    def _switch(
        self,
        operation: str,
        instance_ids: Collection[InstanceId],
        call: Callable[[Sequence[InstanceId]], object],
        *,
        done: Collection[InstanceState],
    ) -> None:
        """EC2 switches none of them if one is in a state that does not allow it; such as one terminated, which is fine.

        But one that is only on its way (pending, stopping) is neither switched nor gone.
        """
        left_out = self._leaving_out((*UNKNOWN_INSTANCE, WRONG_STATE), operation, sorted(set(instance_ids)), call)
        waiting = [one for one in self.get_instances(left_out).values() if not one.is_dead and one.state not in done]
        if waiting:
            states = ", ".join(f"{one.instance_id} is {one.state}" for one in waiting)
            raise Transient(f"EC2 {operation}: not possible yet: {states}")

    def set_tags(self, instance_ids: Collection[InstanceId], tags: Mapping[str, str]) -> None:
        if not instance_ids or not tags:
            return
        clients = self._clients()
        with self._translated("EC2", "CreateTags"):
            self._unless_throttled(
                lambda: clients.writes.create_tags(
                    Resources=sorted(set(instance_ids)),
                    Tags=[{"Key": key, "Value": value} for key, value in sorted(tags.items())],
                )
            )

    def remove_tags(self, instance_ids: Collection[InstanceId], keys: Collection[str]) -> None:
        if not instance_ids or not keys:
            return
        clients = self._clients()
        with self._translated("EC2", "DeleteTags"):
            self._unless_throttled(
                lambda: clients.writes.delete_tags(
                    Resources=sorted(set(instance_ids)), Tags=[{"Key": key} for key in sorted(set(keys))]
                )
            )

    # --- how requests are made ---

    def _clients(self) -> _Clients:
        with self._lock:
            if self._connected is None:
                self._connected = self._connect()
                self._account = None
            return self._connected

    def _connect(self) -> _Clients:
        base = self._sessions()
        base.register_component("response_parser_factory", LeanParserFactory())
        reads = Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            retries={"mode": "standard", "total_max_attempts": READ_ATTEMPTS_MAX},
            parameter_validation=True,
            max_pool_connections=32,
        )
        writes = reads.merge(Config(retries={"mode": "standard", "total_max_attempts": 1}))
        region, url = self._settings.region, self._settings.endpoint_url
        try:
            session = boto3.Session(botocore_session=base, region_name=region)
            clients = _Clients(
                reads=session.client("ec2", endpoint_url=url, config=reads),
                writes=session.client("ec2", endpoint_url=url, config=writes),
                ssm=session.client("ssm", endpoint_url=url, config=reads),
                sts=session.client("sts", endpoint_url=url, config=reads),
            )
        except ValueError as error:
            raise SettingsError((f"aws: {error}",)) from error
        except BotoCoreError as error:
            raise translate_failure("AWS", "session", error) from error
        for client in (clients.reads, clients.writes, clients.ssm, clients.sts):
            client.meta.events.register("response-received", self._count)
        return clients

    def _count(
        self,
        *,
        event_name: str,
        response_dict: Mapping[str, Any] | None,
        parsed_response: Mapping[str, Any] | None,
        **_: object,
    ) -> None:
        """One HTTP request, repeated ones included, has been answered or has failed."""
        service, operation = event_name.split(".")[1:]
        code = str((parsed_response or {}).get("Error", {}).get("Code", ""))
        result = "unreachable" if response_dict is None else request_result(code, response_dict["status_code"])
        self._count_request(service, operation, result)

    @contextmanager
    def _translated(self, service: str, operation: str, *, subject: str = "") -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            raise self._noting_credentials(translate_answer(service, _about(operation, subject), error)) from error
        except (BotoCoreError, ResponseParserError) as error:
            if isinstance(error, ResponseParserError):  # botocore tells nobody of an answer that it cannot read
                self._count_request(service.lower(), operation, "unreachable")
            raise self._noting_credentials(translate_failure(service, _about(operation, subject), error)) from error

    def _noting_credentials(self, error: HivequeenError) -> HivequeenError:
        if isinstance(error, Denied) and error.code in STALE_CREDENTIALS:
            with self._lock:
                self._connected = None
        return error

    def _unless_throttled(self, call: Callable[[], _Answer]) -> _Answer:
        for attempt in range(1, WRITE_ATTEMPTS_MAX):
            try:
                return call()
            except ClientError as error:
                if code_of(error) not in THROTTLES:
                    raise
            jitter = 0.5 + random.random() / 2  # noqa: S311 - spreads attempts, guards nothing
            self._pause(WRITE_PAUSE_S * 2 ** (attempt - 1) * jitter)
        return call()

    def _leaving_out(
        self,
        codes: Collection[str],
        operation: str,
        instance_ids: Sequence[InstanceId],
        call: Callable[[Sequence[InstanceId]], object],
    ) -> Sequence[InstanceId]:
        """One bad id fails the whole call: leave out those that EC2 names, and nothing more; returns these."""
        asked = list(instance_ids)
        left_out: list[InstanceId] = []
        for _ in range(BAD_ID_ROUNDS_MAX):
            if not asked:
                return left_out
            with self._translated("EC2", operation):
                try:
                    call(asked)
                except ClientError as error:
                    if code_of(error) not in codes:
                        raise
                    named = set(re.findall(r"i-[0-9a-z]+", str(error.response["Error"].get("Message", ""))))
                    if named.isdisjoint(asked):
                        raise
                    left_out += [instance_id for instance_id in asked if instance_id in named]
                    asked = [instance_id for instance_id in asked if instance_id not in named]
                else:
                    return left_out
        raise Transient(f"EC2 {operation}: still names bad ids after {BAD_ID_ROUNDS_MAX} requests")


def _about(operation: str, subject: str) -> str:
    return f"{operation} ({subject})" if subject else operation
