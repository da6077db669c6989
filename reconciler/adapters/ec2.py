"""EC2, STS and SSM through boto3: one account and region, seen through the fleet tag."""

import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, assert_never

import botocore.session

from reconciler.adapters.ec2_errors import UNKNOWN_INSTANCE, WRONG_STATE
from reconciler.adapters.ec2_pace import Pace
from reconciler.adapters.ec2_parser import read_instances
from reconciler.adapters.ec2_requests import Clients, Requests
from reconciler.errors import Refused, Transient
from reconciler.model import tags as tag_keys
from reconciler.model.desired import Image, ImageById, ImageByName, ImageByParameter
from reconciler.model.memory import LaunchParameters
from reconciler.model.names import EnvironmentName, FleetId, ImageId, InstanceId, IntentToken, is_instance_id
from reconciler.model.observed import Instance, InstanceState
from reconciler.ports import RequestCounter
from reconciler.settings import AwsSettings

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import FilterTypeDef, RunInstancesRequestTypeDef

PAGE_SIZE: Final = 1000  # EC2's maximum
FILTER_VALUES_MAX: Final = 200  # EC2's maximum
IDS_PER_READ_MAX: Final = 500

_IMAGE_ID: Final = re.compile(r"ami-(?:[0-9a-f]{8}|[0-9a-f]{17})")


class Ec2:
    """ports.Cloud.

    Args:
        sessions, pause: see `Requests`.
        pace: how fast it may ask.
    """

    def __init__(
        self,
        settings: AwsSettings,
        fleet: FleetId,
        count_request: RequestCounter,
        *,
        sessions: Callable[[], botocore.session.Session] = botocore.session.Session,
        pause: Callable[[float], None] = time.sleep,
        pace: Pace | None = None,
    ) -> None:
        self._fleet = fleet
        self._pace = pace or Pace()
        self._requests = Requests(settings, count_request, sessions=sessions, pause=pause, pace=self._pace)
        self._account: tuple[Clients, str] | None = None  # and the credentials that it goes with
        self._root_devices: dict[ImageId, str] = {}

    # --- reads ---

    def account(self, *, afresh: bool = False) -> str:
        clients = self._requests.clients()
        kept = self._account
        if kept is not None and kept[0] is clients and not afresh:
            return kept[1]
        with self._requests.translated("STS", "GetCallerIdentity"):
            account = clients.sts.get_caller_identity()["Account"]
        self._account = clients, account
        return account

    def list_instances(self, environments: Collection[EnvironmentName] | None = None) -> Sequence[Instance]:
        if environments is not None and not environments:
            return ()
        wanted = None if environments is None else frozenset(environments)
        filters: list[FilterTypeDef] = [{"Name": f"tag:{tag_keys.FLEET}", "Values": [self._fleet]}]
        if wanted is not None and len(wanted) <= FILTER_VALUES_MAX:
            filters.append({"Name": f"tag:{tag_keys.ENVIRONMENT}", "Values": sorted(wanted)})
        found: dict[InstanceId, Instance] = {}
        clients = self._requests.clients()
        with self._requests.translated("EC2", "DescribeInstances"):
            pages = clients.reads.get_paginator("describe_instances").paginate(
                Filters=filters, PaginationConfig={"PageSize": PAGE_SIZE}
            )
            for page in self._requests.pages("DescribeInstances", pages):
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
        clients = self._requests.clients()
        found: dict[InstanceId, Instance] = {}

        def describe(existing: Sequence[InstanceId]) -> None:
            pages = clients.reads.get_paginator("describe_instances").paginate(InstanceIds=existing)
            for page in self._requests.pages("DescribeInstances", pages):
                found.update((instance.instance_id, instance) for instance in read_instances(page))

        self._requests.leaving_out(UNKNOWN_INSTANCE, "DescribeInstances", instance_ids, describe)
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
        clients = self._requests.clients()
        with self._requests.translated("SSM", "GetParameter", subject=parameter):
            value = clients.ssm.get_parameter(Name=parameter)["Parameter"].get("Value", "")
        if _IMAGE_ID.fullmatch(value) is None:
            raise Refused(
                f"SSM parameter {parameter} does not hold an image id",
                code="NoImageId",
                remedy="declare a parameter whose value is ami-…, such as one that ends in /image_id",
            )
        return ImageId(value)

    def _resolve_newest(self, image: ImageByName) -> ImageId:
        clients = self._requests.clients()
        with self._requests.translated("EC2", "DescribeImages", subject=str(image)):
            pages = clients.reads.get_paginator("describe_images").paginate(
                Owners=[image.owner],
                Filters=[{"Name": "name", "Values": [image.name]}, {"Name": "state", "Values": ["available"]}],
            )
            found = [
                (raw["CreationDate"], raw["ImageId"])  # ISO 8601 text of one format: sorts by time
                for page in self._requests.pages("DescribeImages", pages)
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

    def reserve_launch(self, count: int) -> None:
        self._pace.reserve_launch(count)

    def run_instances(self, token: IntentToken, parameters: LaunchParameters) -> Sequence[InstanceId]:
        request = self._launch_request(token, parameters)
        clients = self._requests.clients()
        with self._requests.translated("EC2", "RunInstances"):
            answer = self._requests.write(
                "RunInstances",
                lambda: clients.writes.run_instances(**request),
                instances=parameters.count,
                is_reserved=self._pace.use_reservation(),
            )
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
            clients = self._requests.clients()
            with self._requests.translated("EC2", "DescribeImages", subject=image):
                images = self._requests.read(
                    "DescribeImages", lambda: clients.reads.describe_images(ImageIds=[image])["Images"]
                )
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
        clients = self._requests.clients()
        self._ask("TerminateInstances", instance_ids, lambda ids: clients.writes.terminate_instances(InstanceIds=ids))

    def stop(self, instance_ids: Collection[InstanceId]) -> None:
        clients = self._requests.clients()
        left_out = self._ask(
            "StopInstances", instance_ids, lambda ids: clients.writes.stop_instances(InstanceIds=ids), WRONG_STATE
        )
        self._check("stopped", left_out, (InstanceState.STOPPING, InstanceState.STOPPED))

    def start(self, instance_ids: Collection[InstanceId]) -> None:
        clients = self._requests.clients()
        left_out = self._ask(
            "StartInstances", instance_ids, lambda ids: clients.writes.start_instances(InstanceIds=ids), WRONG_STATE
        )
        self._check("started", left_out, (InstanceState.PENDING, InstanceState.RUNNING))

    def _ask(
        self,
        operation: str,
        instance_ids: Collection[InstanceId],
        call: Callable[[Sequence[InstanceId]], object],
        *may_refuse: str,
    ) -> Sequence[InstanceId]:
        """Ask for all but those that EC2 does not know, or refuses with one of these codes; returns these."""
        return self._requests.leaving_out(
            (*UNKNOWN_INSTANCE, *may_refuse),
            operation,
            sorted(set(instance_ids)),
            lambda ids: self._requests.write(operation, lambda: call(ids), instances=len(ids)),
        )

    def _check(self, done: str, left_out: Sequence[InstanceId], already: Collection[InstanceState]) -> None:
        """What was left out is gone, or it is so already; but one on its way (pending, stopping) only has to wait."""
        waiting = [one for one in self.get_instances(left_out).values() if not one.is_dead and one.state not in already]
        if waiting:
            states = ", ".join(f"{one.instance_id} is {one.state}" for one in waiting)
            raise Transient(f"EC2: not all could be {done} yet: {states}")

    def set_tags(self, instance_ids: Collection[InstanceId], tags: Mapping[str, str]) -> None:
        if not instance_ids or not tags:
            return
        clients = self._requests.clients()
        with self._requests.translated("EC2", "CreateTags"):
            self._requests.write(
                "CreateTags",
                lambda: clients.writes.create_tags(
                    Resources=sorted(set(instance_ids)),
                    Tags=[{"Key": key, "Value": value} for key, value in sorted(tags.items())],
                ),
            )

    def remove_tags(self, instance_ids: Collection[InstanceId], keys: Collection[str]) -> None:
        if not instance_ids or not keys:
            return
        clients = self._requests.clients()
        with self._requests.translated("EC2", "DeleteTags"):
            self._requests.write(
                "DeleteTags",
                lambda: clients.writes.delete_tags(
                    Resources=sorted(set(instance_ids)), Tags=[{"Key": key} for key in sorted(set(keys))]
                ),
            )
