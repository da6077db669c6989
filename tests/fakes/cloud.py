"""EC2 in memory, behind ports.Cloud, for any number of instances; it goes by the clock that it is given.

Held to the real adapter by tests/adapters/test_ec2_contract.py. Where EC2 is unpleasant this is too: tokens are
remembered, new instances are unknown for a while and `NotFound` lies about them, terminated ones linger and lose
their addresses, listings come in no useful order, and a reply can be lost after EC2 has done the work. On request
its records are partial at first, its answers are old, it denies what exists, and it throttles.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from threading import RLock
from typing import TypeVar

from reconciler.adapters.ec2_pace import Pace
from reconciler.errors import (
    HivequeenError,
    NoCapacity,
    QuotaReached,
    Refused,
    Throttled,
    TokenMismatch,
    TokenSpent,
    Transient,
)
from reconciler.model import tags as tag_keys
from reconciler.model.desired import Image, ImageById, ImageByName
from reconciler.model.memory import LaunchParameters
from reconciler.model.names import EnvironmentName, FleetId, ImageId, InstanceId, IntentToken, is_instance_id
from reconciler.model.observed import Instance, InstanceState
from reconciler.ports import Clock
from reconciler.sandbox.ec2_throttling import Throttling
from tests.fakes.machine import Machine, Moment

PAGE_SIZE = 1000
FILTER_VALUES_MAX = 200
TAGS_MAX = 50
USER_DATA_BYTES_MAX = 16_384
FLEET = FleetId("demo")
_Answer = TypeVar("_Answer")
WRITES = frozenset(
    {"RunInstances", "TerminateInstances", "StopInstances", "StartInstances", "CreateTags", "DeleteTags"}
)


@dataclass(slots=True)
class _Trouble:
    error: HivequeenError
    after_commit: bool
    times: int


@dataclass(slots=True)
class FakeCloud:
    """One account and region.

    `calls` counts requests by EC2 operation, a listing as many as it has pages; `writes` counts those that write, and
    `throttled` those that went beyond the limits that are modelled.

    Args:
        throttling: EC2's limits on requests, `Throttling(clock.now)`; None: it takes any number.
        pace: how fast the adapter may ask; None: as fast as it likes.
        partial_s: for how long after the launch records lack something: "tags", "tag:KEY", "subnet",
            "security_groups", "instance_profile", "private_address".
        lag_s: how old an answer is, by the port's method: "list_instances", "get_instances".
        unlisted: these are left out of listings.
        denied: these are NotFound wherever they are named.
    """

    clock: Clock
    fleet: FleetId = FLEET
    account_id: str = "123456789012"
    pending_s: float = 0
    visibility_lag_s: float = 0  # how long a new instance is unknown to every call but the one that launched it
    shutting_down_s: float = 0
    stopping_s: float = 0
    linger_s: float = 3600  # how long a terminated instance is still listed
    quota: int | None = None  # of instances that are not terminated
    moving_images: dict[str, ImageId] = field(default_factory=dict)  # str(image) → what it names now
    unknown_images: set[ImageId] = field(default_factory=set)
    unknown_subnets: set[str] = field(default_factory=set)
    exhausted: set[tuple[str, str]] = field(default_factory=set)  # (instance type, subnet)
    throttling: Throttling | None = None
    pace: Pace | None = None
    partial_s: dict[str, float] = field(default_factory=dict)
    lag_s: dict[str, float] = field(default_factory=dict)
    unlisted: set[InstanceId] = field(default_factory=set)
    denied: set[InstanceId] = field(default_factory=set)
    calls: Counter[str] = field(default_factory=Counter)
    throttled: Counter[str] = field(default_factory=Counter)
    _account: str | None = None
    _machines: dict[InstanceId, Machine] = field(default_factory=dict)
    _by_environment: dict[str, dict[InstanceId, Machine]] = field(default_factory=dict)
    _launches: dict[IntentToken, tuple[LaunchParameters, tuple[InstanceId, ...]]] = field(default_factory=dict)
    _troubles: dict[str, list[_Trouble]] = field(default_factory=dict)
    _images_looked_up: set[ImageId] = field(default_factory=set)
    _lock: RLock = field(default_factory=RLock)

    # --- ports.Cloud ---

    def account(self, *, afresh: bool = False) -> str:
        with self._lock:
            if afresh or self._account is None:
                self._account = self._call("GetCallerIdentity", lambda: self.account_id)
            return self._account  # asked once and kept, as the port says

    def list_instances(self, environments: Collection[EnvironmentName] | None = None) -> Sequence[Instance]:
        if environments is not None and not environments:
            return ()
        with self._lock:
            moment = self._moment("list_instances")
            is_scoped = environments is not None and len(environments) <= FILTER_VALUES_MAX
            candidates: Iterable[Machine] = self._machines.values()
            if is_scoped and not moment.is_past:  # the index knows only what is
                candidates = (
                    machine
                    for name in set(environments or ())
                    for machine in self._by_environment.get(name, {}).values()
                )
            shown = [
                machine.show(moment, self)
                for machine in candidates
                if machine.instance_id not in self.unlisted and self._is_visible(machine, moment)
            ]
            visible = [instance for instance in shown if instance.tags.get(tag_keys.FLEET) == self.fleet]
            for _ in range(max(1, ceil(len(visible) / PAGE_SIZE))):  # a failing page fails the listing
                self._call("DescribeInstances", lambda: None)
            listed = [one for one in visible if environments is None or one.environment in environments]
            return tuple(sorted(listed, key=lambda instance: instance.instance_id))  # no order of launch

    def get_instances(self, instance_ids: Collection[InstanceId]) -> Mapping[InstanceId, Instance]:
        asked = {instance_id for instance_id in instance_ids if is_instance_id(instance_id)}
        with self._lock:
            moment = self._moment("get_instances")
            known = self._without_unknown("DescribeInstances", asked, moment)
            if not known:
                return {}
            return self._call("DescribeInstances", lambda: {one.instance_id: one.show(moment, self) for one in known})

    def reserve_launch(self, count: int) -> None:
        if self.pace is not None:
            self.pace.reserve_launch(count)

    def run_instances(self, token: IntentToken, parameters: LaunchParameters) -> Sequence[InstanceId]:
        with self._lock:
            is_reserved = self.pace is not None and self.pace.use_reservation()
            return self._call(
                "RunInstances",
                lambda: self._launch(token, parameters),
                instances=parameters.count,
                is_reserved=is_reserved,
            )

    def terminate(self, instance_ids: Collection[InstanceId]) -> None:
        with self._lock:
            known = self._without_unknown("TerminateInstances", instance_ids)
            if known:
                self._call("TerminateInstances", lambda: self._terminate(known), instances=len(known))

    def stop(self, instance_ids: Collection[InstanceId]) -> None:
        self._ask_to_switch("StopInstances", instance_ids, on=False)

    def start(self, instance_ids: Collection[InstanceId]) -> None:
        self._ask_to_switch("StartInstances", instance_ids, on=True)

    def _ask_to_switch(self, operation: str, instance_ids: Collection[InstanceId], *, on: bool) -> None:
        """One in a state that does not allow it fails the call; the adapter leaves it out, and looks what it is."""
        with self._lock:
            known = list(self._without_unknown(operation, instance_ids))
            for machine in tuple(known):
                if not self._may_switch(machine, on=on):
                    self._call(operation, lambda: None, instances=len(known))  # EC2 names one at a time
                    known.remove(machine)
            if known:
                self._call(operation, lambda: self._switch_all(known, on=on), instances=len(known))
            left_out = self.get_instances(set(instance_ids) - {machine.instance_id for machine in known})
            waiting = [one.instance_id for one in left_out.values() if not one.is_dead]
            if waiting:
                raise Transient(f"EC2 {operation}: not possible yet: {waiting}")

    def _without_unknown(
        self, operation: str, instance_ids: Collection[InstanceId], moment: Moment | None = None
    ) -> Sequence[Machine]:
        """EC2 answers NotFound, which names the unknown ones; then there is a second call without them."""
        asked = sorted(set(instance_ids))
        known = [machine for machine in map(self._machines.get, asked) if machine and self._is_known(machine, moment)]
        if len(known) < len(asked):
            self._call(operation, lambda: None, instances=len(asked))
        return known

    def set_tags(self, instance_ids: Collection[InstanceId], tags: Mapping[str, str]) -> None:
        with self._lock:
            if instance_ids and tags:
                self._call("CreateTags", lambda: self._change_tags(instance_ids, lambda before: before | dict(tags)))

    def remove_tags(self, instance_ids: Collection[InstanceId], keys: Collection[str]) -> None:
        def without(before: dict[str, str]) -> dict[str, str]:
            return {key: value for key, value in before.items() if key not in keys}

        with self._lock:
            if instance_ids and keys:
                self._call("DeleteTags", lambda: self._change_tags(instance_ids, without))

    def resolve_image(self, image: Image) -> ImageId:
        with self._lock:
            if isinstance(image, ImageById):
                return image.image_id

            def resolve() -> ImageId:
                if str(image) not in self.moving_images:
                    raise Refused(f"no image {image}", code="NoImage", remedy="declare an image that exists")
                return self.moving_images[str(image)]

            operation = "DescribeImages" if isinstance(image, ImageByName) else "GetParameter"
            return self._call(operation, resolve)

    # --- for the test: trouble, and what outsiders do ---

    @property
    def writes(self) -> int:
        """Requests that ask EC2 to change something, refused ones included."""
        return sum(count for operation, count in self.calls.items() if operation in WRITES)

    def fail(self, operation: str, error: HivequeenError, *, after_commit: bool = False, times: int = 1) -> None:
        """The next `times` requests of this EC2 operation raise `error`; `after_commit`: the work is done all the same."""
        with self._lock:
            self._troubles.setdefault(operation, []).append(_Trouble(error, after_commit, times))

    def recover(self) -> None:
        """Forget the errors that are still due."""
        with self._lock:
            self._troubles.clear()

    def launch_by_hand(self, parameters: LaunchParameters) -> Sequence[InstanceId]:
        """Somebody else's launch, with whatever tags; no token, no fault, not counted, visible like any other."""
        with self._lock:
            return tuple(self._make(None, parameters).instance_id for _ in range(parameters.count))

    def terminate_by_hand(self, *instance_ids: InstanceId) -> None:
        with self._lock:
            for instance_id in instance_ids:
                self._machines[instance_id].kill(self.clock.now())

    def stop_by_hand(self, *instance_ids: InstanceId) -> None:
        with self._lock:
            for instance_id in instance_ids:
                self._machines[instance_id].switch(on=False, now=self.clock.now())

    def start_by_hand(self, *instance_ids: InstanceId) -> None:
        with self._lock:
            for instance_id in instance_ids:
                self._machines[instance_id].switch(on=True, now=self.clock.now())

    def protect(self, *instance_ids: InstanceId, on: bool = True) -> None:
        """Switch termination protection."""
        with self._lock:
            for instance_id in instance_ids:
                self._machines[instance_id].is_protected = on

    def retag(self, instance_id: InstanceId, changes: Mapping[str, str | None]) -> None:
        """By hand: None removes a tag."""
        with self._lock:
            machine = self._machines[instance_id]
            kept = {key: value for key, value in machine.tags.items() if key not in changes}
            self._tag(machine, kept | {key: value for key, value in changes.items() if value is not None})

    def everything(self) -> Sequence[Instance]:
        """The truth, invisible instances and strangers included, forgotten ones not; in order of launch. Not counted."""
        with self._lock:
            moment = Moment(self.clock.now())
            living = [one for one in self._machines.values() if not self._is_forgotten(one, moment)]
            return tuple(one.show(moment, self, is_whole=True) for one in living)

    def alive(self) -> Sequence[Instance]:
        """`everything` that is neither terminated nor on its way there."""
        return tuple(instance for instance in self.everything() if not instance.is_dead)

    def parameters_of(self, instance_id: InstanceId) -> LaunchParameters:
        """What it was launched with, user-data included."""
        with self._lock:
            return self._machines[instance_id].parameters

    # --- EC2's side ---

    def _call(
        self, operation: str, work: Callable[[], _Answer], *, instances: int = 0, is_reserved: bool = False
    ) -> _Answer:
        if self.pace is not None and not is_reserved:
            self.pace.take(operation, instances=instances)
        self.calls[operation] += 1
        if self.throttling is not None and not self.throttling.admits(operation, instances=instances):
            self.throttled[operation] += 1
            raise Throttled(f"EC2 {operation}: RequestLimitExceeded")
        trouble = self._take_trouble(operation)
        if trouble is not None and not trouble.after_commit:
            raise trouble.error
        answer = work()
        if trouble is not None:
            raise trouble.error
        return answer

    def _take_trouble(self, operation: str) -> _Trouble | None:
        due = self._troubles.get(operation)
        if not due:
            return None
        trouble = due[0]
        trouble.times -= 1
        if trouble.times == 0:
            due.pop(0)
        return trouble

    def _launch(self, token: IntentToken, parameters: LaunchParameters) -> tuple[InstanceId, ...]:
        known = self._launches.get(token)
        if known is not None:
            return self._replay(known, parameters)
        self._refuse_bad(parameters)
        if (parameters.instance_type, parameters.subnet) in self.exhausted:
            raise NoCapacity(
                f"no {parameters.instance_type} in {parameters.subnet}", code="InsufficientInstanceCapacity"
            )
        ids = tuple(self._make(token, parameters).instance_id for _ in range(parameters.count))
        self._launches[token] = (parameters, ids)
        return ids

    def _replay(
        self, known: tuple[LaunchParameters, tuple[InstanceId, ...]], parameters: LaunchParameters
    ) -> tuple[InstanceId, ...]:
        before, ids = known
        if parameters != before:
            raise TokenMismatch("the token is known with other parameters", code="IdempotentParameterMismatch")
        if all(self._machines[instance_id].died_at is not None for instance_id in ids):
            raise TokenSpent("the token's instances were terminated", code="IdempotentInstanceTerminated")
        return ids

    def _refuse_bad(self, parameters: LaunchParameters) -> None:
        if parameters.root_volume_size_gib is not None or parameters.root_volume_type is not None:
            self._look_up_root_device(parameters.image)
        if parameters.image in self.unknown_images:
            raise Refused(f"no image {parameters.image}", code="InvalidAMIID.NotFound", remedy="declare another image")
        if parameters.subnet in self.unknown_subnets:
            raise Refused(f"no subnet {parameters.subnet}", code="InvalidSubnetID.NotFound", remedy="declare another")
        if parameters.count < 1 or len(parameters.user_data.encode()) > USER_DATA_BYTES_MAX:
            raise Refused("count or user-data out of bounds", code="InvalidParameterValue", remedy="correct it")
        if len(parameters.tags) > TAGS_MAX:
            raise Refused("too many tags", code="TagLimitExceeded", remedy="declare fewer tags")
        living = sum(machine.died_at is None for machine in self._machines.values())
        if self.quota is not None and living + parameters.count > self.quota:
            raise QuotaReached(f"quota of {self.quota}", code="VcpuLimitExceeded", remedy="raise the quota")

    def _look_up_root_device(self, image: ImageId) -> None:
        """As the adapter does, once per image."""
        if image not in self._images_looked_up:
            self.calls["DescribeImages"] += 1
            self._images_looked_up.add(image)

    def _make(self, token: IntentToken | None, parameters: LaunchParameters) -> Machine:
        number = len(self._machines)
        machine = Machine(
            instance_id=InstanceId("i-0" + hashlib.sha256(f"{number}".encode()).hexdigest()[:16]),
            token=token,
            parameters=parameters,
            private_address=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}",
            made_at=self.clock.now(),
        )
        self._machines[machine.instance_id] = machine
        self._tag(machine, dict(parameters.tags))
        return machine

    def _terminate(self, machines: Sequence[Machine]) -> None:
        """A protected one saves its whole availability zone (here: subnet), and the others are terminated."""
        living = [machine for machine in machines if machine.died_at is None]
        spared = {machine.parameters.subnet for machine in living if machine.is_protected}
        for machine in living:
            if machine.parameters.subnet not in spared:
                machine.kill(self.clock.now())
        if spared:
            raise Refused("termination protection", code="OperationNotPermitted", remedy="switch it off")

    def _may_switch(self, machine: Machine, *, on: bool) -> bool:
        """EC2 starts what is stopped, stops what runs, and takes what is so already for done."""
        way = InstanceState.STOPPING if on else InstanceState.PENDING
        return machine.died_at is None and machine.state(Moment(self.clock.now()), self) is not way

    def _switch_all(self, machines: Sequence[Machine], *, on: bool) -> None:
        """All or none."""
        for machine in machines:
            offering = machine.parameters.instance_type, machine.parameters.subnet
            if on and not machine.is_on and offering in self.exhausted:
                raise NoCapacity(f"no {offering[0]} in {offering[1]}", code="InsufficientInstanceCapacity")
        for machine in machines:
            machine.switch(on=on, now=self.clock.now())

    def _change_tags(
        self, instance_ids: Collection[InstanceId], change: Callable[[dict[str, str]], dict[str, str]]
    ) -> None:
        machines = [self._machines.get(instance_id) for instance_id in sorted(set(instance_ids))]
        changed = []
        for machine in machines:
            if machine is None or not self._is_known(machine):
                raise Transient("EC2 does not know one of them: gone, or not visible yet")
            tags = change(dict(machine.tags))
            if len(tags) > TAGS_MAX:
                raise Refused("too many tags", code="TagLimitExceeded", remedy="declare fewer tags")
            changed.append((machine, tags))
        for machine, tags in changed:
            self._tag(machine, tags)

    def _tag(self, machine: Machine, tags: dict[str, str]) -> None:
        before, after = machine.tags.get(tag_keys.ENVIRONMENT), tags.get(tag_keys.ENVIRONMENT)
        if before is not None:
            self._by_environment.get(before, {}).pop(machine.instance_id, None)
        if after is not None:
            self._by_environment.setdefault(after, {})[machine.instance_id] = machine
        machine.tag(tags, self.clock.now())

    # --- time ---

    def _moment(self, method: str) -> Moment:
        return Moment(self.clock.now(), self.lag_s.get(method, 0))

    def _is_known(self, machine: Machine, moment: Moment | None = None) -> bool:
        """By its id."""
        is_visible = self._is_visible(machine, moment or Moment(self.clock.now()))
        return is_visible and machine.instance_id not in self.denied

    def _is_visible(self, machine: Machine, moment: Moment) -> bool:
        is_made = machine.made_at <= moment.knows_until
        is_shown = moment.seconds_since(machine.made_at) >= self.visibility_lag_s
        return is_made and is_shown and not self._is_forgotten(machine, moment)

    def _is_forgotten(self, machine: Machine, moment: Moment) -> bool:
        return machine.died_at is not None and moment.seconds_since(machine.died_at) >= self.linger_s
