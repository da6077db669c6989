"""One AWS account and region in moto, with what moto lacks of time: pending, visibility lag, shutting down, forgetting.

Not safe for threads: the endpoint lets one request in at a time.
"""

import io
import re
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from moto.ec2.models import ec2_backends
from moto.ec2.models.amis import Ami
from moto.ec2.models.security_groups import SecurityGroup
from moto.moto_server.werkzeug_app import create_backend_app
from moto.ssm.models import ssm_backends

SUBNETS: Final = {  # id → zone suffix and addresses; instances get addresses that work on loopback
    "subnet-0a1b2c3d4e5f60001": ("a", "127.0.16.0/20"),
    "subnet-0a1b2c3d4e5f60002": ("b", "127.0.32.0/20"),
}
SECURITY_GROUP: Final = "sg-0a1b2c3d4e5f60001"
IMAGES: Final = ("ami-0123456789abcdef0", "ami-0fedcba9876543210")  # older, newer
ROOT_DEVICE: Final = "/dev/xvda"
SERVICES: Final = ("ec2", "sts", "ssm")

_PENDING, _RUNNING, _SHUTTING_DOWN, _TERMINATED, _STOPPING, _STOPPED = (
    (0, "pending"),
    (16, "running"),
    (32, "shutting-down"),
    (48, "terminated"),
    (64, "stopping"),
    (80, "stopped"),
)
_RESERVATION = re.compile(rb"<reservationSet>\s*<item>(.*)</item>\s*</reservationSet>", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """An instance that has just been launched, as its machine needs it."""

    instance_id: str
    image_id: str
    instance_type: str
    private_ip: str
    user_data: str
    account_id: str
    region: str
    launched_at: datetime


@dataclass(frozen=True, slots=True)
class Request:
    """One call of an AWS API."""

    service: str
    operation: str
    body: bytes
    environ: Mapping[str, Any]
    form: Mapping[str, str] = field(default_factory=dict)  # empty for JSON services

    def ids(self) -> list[str]:
        """The instance ids that it names."""
        return [value for key, value in self.form.items() if key.startswith("InstanceId.")]

    def with_form(self, form: Mapping[str, str]) -> "Request":
        body = urlencode(form).encode()
        return Request(self.service, form["Action"], body, self.environ, form)


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "text/xml; charset=utf-8"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long things take in this EC2, in seconds."""

    pending_s: float = 0
    visibility_lag_s: float = 0  # a new instance is unknown to every call but the one that launched it
    shutting_down_s: float = 0
    stopping_s: float = 0
    linger_s: float = 3600  # a terminated instance stays listed


@dataclass(slots=True)
class _Life:
    """What moto does not know of an instance."""

    instance: Any
    launched_at: datetime
    token: str
    switched_at: datetime  # when it was launched, started or asked to stop
    died_at: datetime | None = None


class Account:
    """Starts afresh: an earlier one of the same id and region in this process loses its state, for moto's is global."""

    def __init__(self, *, account_id: str, region: str, timing: Timing, now: Callable[[], datetime]) -> None:
        self.account_id = account_id
        self.region = region
        self._timing = timing
        self._now = now
        self._ec2: Any = ec2_backends[account_id][region]
        self._ec2.reset()
        ssm_backends[account_id][region].reset()
        self._lives: dict[str, _Life] = {}
        self._hidden: dict[str, Any] = {}  # reservation id → reservation that is not visible yet
        self._seed()

    def _seed(self) -> None:
        vpc = self._ec2.create_vpc("127.0.0.0/16")
        for subnet_id, (zone, addresses) in SUBNETS.items():
            subnet = self._ec2.create_subnet(vpc.id, addresses, availability_zone=f"{self.region}{zone}")
            siblings = self._ec2.subnets[subnet.availability_zone]
            del siblings[subnet.id]
            subnet.id = subnet_id
            siblings[subnet_id] = subnet
        self._ec2.groups[vpc.id][SECURITY_GROUP] = SecurityGroup(  # type: ignore[abstract] # moto makes them so itself
            self._ec2, SECURITY_GROUP, "sandbox", "nodes of the sandbox", vpc_id=vpc.id
        )
        for month, image in enumerate(IMAGES, start=1):
            self._ec2.amis[image] = Ami(
                self._ec2,
                image,
                name=f"sandbox-2026-{month:02}",
                owner_id=self.account_id,
                architecture="x86_64",
                virtualization_type="hvm",
                root_device_type="ebs",
                root_device_name=ROOT_DEVICE,
                creation_date=datetime.fromisoformat(f"2026-{month:02}-01T00:00:00Z"),
                region_name=f"{self.region}a",
            )

    # --- time ---

    def settle(self) -> None:
        """Let happen what is due by now."""
        now, timing = self._now(), self._timing
        for reservation_id in list(self._hidden):
            first = self._lives[self._hidden[reservation_id].instances[0].id]
            if now >= first.launched_at + timedelta(seconds=timing.visibility_lag_s):
                self._ec2.reservations[reservation_id] = self._hidden.pop(reservation_id)
        for instance_id, life in list(self._lives.items()):
            if life.died_at is None:
                if _state(life) == _PENDING and now >= life.switched_at + timedelta(seconds=timing.pending_s):
                    _set_state(life, _RUNNING)
                elif _state(life) == _STOPPING and now >= life.switched_at + timedelta(seconds=timing.stopping_s):
                    _set_state(life, _STOPPED)
            elif now >= life.died_at + timedelta(seconds=timing.linger_s):
                self._forget(instance_id)
            elif now >= life.died_at + timedelta(seconds=timing.shutting_down_s):
                _set_state(life, _TERMINATED)

    def _forget(self, instance_id: str) -> None:
        del self._lives[instance_id]
        self._ec2.tags.pop(instance_id, None)
        for reservation_id, reservation in list(self._ec2.reservations.items()):
            reservation.instances = [one for one in reservation.instances if one.id != instance_id]
            if not reservation.instances:
                del self._ec2.reservations[reservation_id]

    # --- calls ---

    def forward(self, request: Request) -> Reply:
        """Let moto answer."""
        environ = dict(request.environ)
        environ["wsgi.input"] = io.BytesIO(request.body)
        environ["CONTENT_LENGTH"] = str(len(request.body))
        environ["HTTP_X_MOTO_ACCOUNT_ID"] = self.account_id
        started: list[tuple[int, list[tuple[str, str]]]] = []

        def start(status: str, headers: list[tuple[str, str]], *_: object) -> Callable[[bytes], object]:
            started.append((int(status.split(maxsplit=1)[0]), headers))
            return lambda _data: None

        body = b"".join(_app(request.service)(environ, start))
        status, headers = started[-1]
        kept = tuple((name, value) for name, value in headers if name.lower() not in ("content-length", "connection"))
        return Reply(status, body, kept)

    def launch(self, request: Request) -> tuple[Reply, list[Launched]]:
        """RunInstances, without regard to its token; nothing is launched unless the reply is a 200."""
        # moto would want the profile to exist, and give it to the first instance only.
        profile = request.form.get("IamInstanceProfile.Name")
        form = {key: value for key, value in request.form.items() if not key.startswith("IamInstanceProfile.")}
        before = set(self._ec2.reservations)
        reply = self.forward(request.with_form(form))
        if reply.status != 200:  # noqa: PLR2004 - HTTP
            for partial in set(self._ec2.reservations) - before:
                del self._ec2.reservations[partial]
            return reply, []
        (reservation_id,) = set(self._ec2.reservations) - before
        reservation = self._ec2.reservations[reservation_id]
        now = self._now()
        launched = []
        for instance in reservation.instances:
            life = _Life(instance, now, form.get("ClientToken", ""), now)
            self._lives[instance.id] = life
            _set_state(life, _PENDING if self._timing.pending_s > 0 else _RUNNING)
            instance.launch_time = now
            instance.disable_api_termination = form.get("DisableApiTermination") == "true"
            if profile is not None:
                arn = f"arn:aws:iam::{self.account_id}:instance-profile/{profile}"
                instance.iam_instance_profile = {"Arn": arn, "Id": "AIPASANDBOX0000000000"}
            launched.append(self._launched(instance, now, form))
        if self._timing.visibility_lag_s > 0:
            self._hidden[reservation_id] = self._ec2.reservations.pop(reservation_id)
        return self.launch_reply(request, [one.instance_id for one in launched]), launched

    def _launched(self, instance: Any, now: datetime, form: Mapping[str, str]) -> Launched:
        return Launched(
            instance_id=instance.id,
            image_id=instance.image_id,
            instance_type=instance.instance_type,
            private_ip=instance.private_ip,
            user_data=b64decode(form.get("UserData", "")).decode(),
            account_id=self.account_id,
            region=self.region,
            launched_at=now,
        )

    def launch_reply(self, request: Request, instance_ids: list[str]) -> Reply:
        """What RunInstances answers about instances that it made: their reservation, as it is now."""
        form = {"Action": "DescribeInstances", "Version": request.form.get("Version", "2016-11-15")}
        form |= {f"InstanceId.{index}": instance_id for index, instance_id in enumerate(instance_ids, start=1)}
        with self._all_visible():
            described = self.forward(request.with_form(form))
        match = _RESERVATION.search(described.body)
        if match is None:
            raise RuntimeError(f"moto does not describe {instance_ids}: {described.body!r}")
        body = (
            b'<?xml version="1.0" encoding="UTF-8"?>'
            b'<RunInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">'
            b"<requestId>00000000-0000-0000-0000-000000000000</requestId>" + match[1] + b"</RunInstancesResponse>"
        )
        return Reply(200, body)

    @contextmanager
    def _all_visible(self) -> Iterator[None]:
        hidden = dict(self._hidden)
        self._ec2.reservations.update(hidden)
        try:
            yield
        finally:
            for reservation_id in hidden:
                del self._ec2.reservations[reservation_id]

    def terminate(self, request: Request) -> tuple[Reply, list[str]]:
        """TerminateInstances; also the ids that were alive until now. Protection is the endpoint's business."""
        reply = self.forward(request)
        if reply.status != 200:  # noqa: PLR2004 - HTTP
            return reply, []
        died = []
        for instance_id in dict.fromkeys(request.ids()):
            life = self._lives[instance_id]
            if life.died_at is None:
                life.died_at = self._now()
                died.append(instance_id)
                if self._timing.shutting_down_s > 0:
                    _set_state(life, _SHUTTING_DOWN)
        return reply, died

    def switch(self, request: Request, *, on: bool) -> Reply:
        """StartInstances or StopInstances, for instances whose state allows it. moto switches at once, from any state."""
        before = {one: _state(self._lives[one]) for one in request.ids() if one in self._lives}
        reply = self.forward(request)
        if reply.status != 200:  # noqa: PLR2004 - HTTP
            return reply
        started = _PENDING if self._timing.pending_s > 0 else _RUNNING
        stopped = _STOPPING if self._timing.stopping_s > 0 else _STOPPED
        for instance_id, was in before.items():
            life = self._lives[instance_id]
            if was in ((_PENDING, _RUNNING) if on else (_STOPPING, _STOPPED)):
                _set_state(life, was)
                continue
            _set_state(life, started if on else stopped)
            life.switched_at = self._now()
            if on:
                life.instance.launch_time = life.switched_at  # EC2 tells the last start
        return reply

    # --- what there is ---

    def has_image(self, image_id: str) -> bool:
        return image_id in self._ec2.amis

    def is_dead(self, instance_id: str) -> bool:
        """Terminated, going, or forgotten."""
        life = self._lives.get(instance_id)
        return life is None or life.died_at is not None

    def protect(self, instance_id: str, *, on: bool) -> None:
        self._lives[instance_id].instance.disable_api_termination = on

    def protected_zone(self, instance_id: str) -> str | None:
        """The availability zone of an instance with termination protection; None without."""
        life = self._lives.get(instance_id)
        if life is None or life.died_at is not None or not life.instance.disable_api_termination:
            return None
        return self.zone(instance_id)

    def may_switch(self, instance_id: str, *, on: bool) -> bool:
        """EC2 starts what is stopped, stops what runs, and takes what is so already for done."""
        allowed = (_PENDING, _RUNNING, _STOPPED) if on else (_RUNNING, _STOPPING, _STOPPED)
        return _state(self._lives[instance_id]) in allowed

    def offering(self, instance_id: str) -> tuple[str, str]:
        """Instance type and subnet."""
        instance = self._lives[instance_id].instance
        return instance.instance_type, instance.subnet_id

    def is_stopped(self, instance_id: str) -> bool:
        return _state(self._lives[instance_id]) == _STOPPED

    def zone(self, instance_id: str) -> str:
        return str(self._lives[instance_id].instance.availability_zone)

    def is_visible(self, instance_id: str) -> bool:
        hidden = {one.id for reservation in self._hidden.values() for one in reservation.instances}
        return instance_id in self._lives and instance_id not in hidden

    def instances(self) -> list[dict[str, Any]]:
        """Every instance, the invisible too, as JSON; in order of launch."""
        return [
            {
                "instance_id": instance_id,
                "state": _state(life)[1],
                "image_id": life.instance.image_id,
                "instance_type": life.instance.instance_type,
                "subnet_id": life.instance.subnet_id,
                "private_ip": life.instance.private_ip,
                "launched_at": life.launched_at.isoformat(),
                "token": life.token,
                "tags": dict(self._ec2.tags.get(instance_id, {})),
            }
            for instance_id, life in self._lives.items()
        ]


@cache
def _app(service: str) -> Any:
    """moto's WSGI application of one service; it holds no state of its own."""
    return create_backend_app(service)  # type: ignore[arg-type] # a Literal of all services


def read_form(body: bytes) -> dict[str, str]:
    return dict(parse_qsl(body.decode(), keep_blank_values=True))


def _state(life: _Life) -> tuple[int, str]:
    return life.instance._state.code, life.instance._state.name  # noqa: SLF001 - moto has no setter


def _set_state(life: _Life, state: tuple[int, str]) -> None:
    life.instance._state.code, life.instance._state.name = state  # noqa: SLF001 - moto has no setter
