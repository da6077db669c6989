"""EC2 in memory, behind ports.Cloud, for any number of instances; it goes by the clock that it is given.

Held to the real adapter by tests/adapters/test_ec2_contract.py. Where EC2 is unpleasant this is too: tokens are
remembered, new instances are unknown for a while and `NotFound` lies about them, terminated ones linger and lose
their addresses, listings come in no useful order, and a reply can be lost after EC2 has done the work.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from threading import RLock
from types import MappingProxyType
from typing import TypeVar

from reconciler.errors import HivequeenError, NoCapacity, QuotaReached, Refused, TokenMismatch, TokenSpent, Transient
from reconciler.model import tags as tag_keys
from reconciler.model.desired import Image, ImageById, ImageByName
from reconciler.model.memory import LaunchParameters
from reconciler.model.names import EnvironmentName, FleetId, ImageId, InstanceId, IntentToken, is_instance_id
from reconciler.model.observed import Instance, InstanceState
from reconciler.ports import Clock

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
class _Machine:
    instance_id: InstanceId
    token: IntentToken | None
    parameters: LaunchParameters
    private_address: str
    launched_at: datetime  # or started
    made_at: datetime
    tags: dict[str, str]
    started_at: datetime  # or launched
    stopped_at: datetime | None = None
    is_protected: bool = False
    died_at: datetime | None = None
    shown: Instance | None = None  # as last described; None: something changed


@dataclass(slots=True)
class _Trouble:
    error: HivequeenError
    after_commit: bool
    times: int


@dataclass(slots=True)
class FakeCloud:
    """One account and region.

    `calls` counts requests by EC2 operation, a listing as many as it has pages; `writes` counts those that write.
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
    calls: Counter[str] = field(default_factory=Counter)
    _is_known: bool = False
    _machines: dict[InstanceId, _Machine] = field(default_factory=dict)
    _by_environment: dict[str, dict[InstanceId, _Machine]] = field(default_factory=dict)
    _launches: dict[IntentToken, tuple[LaunchParameters, tuple[InstanceId, ...]]] = field(default_factory=dict)
    _troubles: dict[str, list[_Trouble]] = field(default_factory=dict)
    _images_looked_up: set[ImageId] = field(default_factory=set)
    _lock: RLock = field(default_factory=RLock)

    # --- ports.Cloud ---

    def account(self, *, afresh: bool = False) -> str:
        with self._lock:
            if afresh or not self._is_known:
                self._call("GetCallerIdentity", lambda: self.account_id)
                self._is_known = True  # asked once and kept, as the port says
            return self.account_id

    def list_instances(self, environments: Collection[EnvironmentName] | None = None) -> Sequence[Instance]:
        if environments is not None and not environments:
            return ()
        with self._lock:
            now = self.clock.now()
            if environments is None or len(environments) > FILTER_VALUES_MAX:
                candidates: Iterable[_Machine] = self._machines.values()
            else:
                candidates = (
                    machine for name in set(environments) for machine in self._by_environment.get(name, {}).values()
                )
            visible = [
                machine
                for machine in candidates
                if machine.tags.get(tag_keys.FLEET) == self.fleet and self._is_visible(machine, now)
            ]
            for _ in range(max(1, ceil(len(visible) / PAGE_SIZE))):  # a failing page fails the listing
                self._call("DescribeInstances", lambda: None)
            listed = [
                self._show(machine, now)
                for machine in visible
                if environments is None or machine.tags.get(tag_keys.ENVIRONMENT) in environments
            ]
            return tuple(sorted(listed, key=lambda instance: instance.instance_id))  # no order of launch

    def get_instances(self, instance_ids: Collection[InstanceId]) -> Mapping[InstanceId, Instance]:
        asked = {instance_id for instance_id in instance_ids if is_instance_id(instance_id)}
        with self._lock:
            known = self._without_unknown("DescribeInstances", asked)
            if not known:
                return {}
            now = self.clock.now()
            return self._call("DescribeInstances", lambda: {one.instance_id: self._show(one, now) for one in known})

    def run_instances(self, token: IntentToken, parameters: LaunchParameters) -> Sequence[InstanceId]:
        with self._lock:
            return self._call("RunInstances", lambda: self._launch(token, parameters))

    def terminate(self, instance_ids: Collection[InstanceId]) -> None:
        with self._lock:
            known = self._without_unknown("TerminateInstances", instance_ids)
            if known:
                self._call("TerminateInstances", lambda: self._terminate(known))

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
                    self._call(operation, lambda: None)  # EC2 names one at a time
                    known.remove(machine)
            if known:
                self._call(operation, lambda: self._switch_all(known, on=on))
            left_out = self.get_instances(set(instance_ids) - {machine.instance_id for machine in known})
            waiting = [one.instance_id for one in left_out.values() if not one.is_dead]
            if waiting:
                raise Transient(f"EC2 {operation}: not possible yet: {waiting}")

    def _without_unknown(self, operation: str, instance_ids: Collection[InstanceId]) -> Sequence[_Machine]:
        """EC2 answers NotFound, which names the unknown ones; then there is a second call without them."""
        now = self.clock.now()
        asked = sorted(set(instance_ids))
        machines = [machine for machine in map(self._machines.get, asked) if machine is not None]
        known = [machine for machine in machines if self._is_visible(machine, now)]
        if len(known) < len(asked):
            self._call(operation, lambda: None)
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
                self._kill(self._machines[instance_id])

    def stop_by_hand(self, *instance_ids: InstanceId) -> None:
        with self._lock:
            for instance_id in instance_ids:
                self._switch(self._machines[instance_id], on=False)

    def start_by_hand(self, *instance_ids: InstanceId) -> None:
        with self._lock:
            for instance_id in instance_ids:
                self._switch(self._machines[instance_id], on=True)

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
            now = self.clock.now()
            return tuple(self._show(one, now) for one in self._machines.values() if not self._is_forgotten(one, now))

    def alive(self) -> Sequence[Instance]:
        """`everything` that is neither terminated nor on its way there."""
        return tuple(instance for instance in self.everything() if not instance.is_dead)

    def parameters_of(self, instance_id: InstanceId) -> LaunchParameters:
        """What it was launched with, user-data included."""
        with self._lock:
            return self._machines[instance_id].parameters

    # --- EC2's side ---

    def _call(self, operation: str, work: Callable[[], _Answer]) -> _Answer:
        self.calls[operation] += 1
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

    def _make(self, token: IntentToken | None, parameters: LaunchParameters) -> _Machine:
        number = len(self._machines)
        machine = _Machine(
            instance_id=InstanceId("i-0" + hashlib.sha256(f"{number}".encode()).hexdigest()[:16]),
            token=token,
            parameters=parameters,
            private_address=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}",
            launched_at=self.clock.now().replace(microsecond=0),  # EC2 tells whole seconds
            made_at=self.clock.now(),
            started_at=self.clock.now(),
            tags={},
        )
        self._machines[machine.instance_id] = machine
        self._tag(machine, dict(parameters.tags))
        return machine

    def _terminate(self, machines: Sequence[_Machine]) -> None:
        """A protected one saves its whole availability zone (here: subnet), and the others are terminated."""
        living = [machine for machine in machines if machine.died_at is None]
        spared = {machine.parameters.subnet for machine in living if machine.is_protected}
        for machine in living:
            if machine.parameters.subnet not in spared:
                self._kill(machine)
        if spared:
            raise Refused("termination protection", code="OperationNotPermitted", remedy="switch it off")

    def _may_switch(self, machine: _Machine, *, on: bool) -> bool:
        """EC2 starts what is stopped, stops what runs, and takes what is so already for done."""
        way = InstanceState.STOPPING if on else InstanceState.PENDING
        return machine.died_at is None and self._state(machine, self.clock.now()) is not way

    def _switch_all(self, machines: Sequence[_Machine], *, on: bool) -> None:
        """All or none."""
        for machine in machines:
            offering = machine.parameters.instance_type, machine.parameters.subnet
            if on and machine.stopped_at is not None and offering in self.exhausted:
                raise NoCapacity(f"no {offering[0]} in {offering[1]}", code="InsufficientInstanceCapacity")
        for machine in machines:
            self._switch(machine, on=on)

    def _switch(self, machine: _Machine, *, on: bool) -> None:
        if on and machine.stopped_at is not None:
            machine.stopped_at = None
            machine.started_at = self.clock.now()
            machine.launched_at = machine.started_at.replace(microsecond=0)  # EC2 tells the last start
            machine.shown = None
        elif not on and machine.stopped_at is None:
            machine.stopped_at = self.clock.now()

    def _kill(self, machine: _Machine) -> None:
        if machine.died_at is None:
            machine.died_at = self.clock.now()

    def _change_tags(
        self, instance_ids: Collection[InstanceId], change: Callable[[dict[str, str]], dict[str, str]]
    ) -> None:
        now = self.clock.now()
        machines = [self._machines.get(instance_id) for instance_id in sorted(set(instance_ids))]
        changed = []
        for machine in machines:
            if machine is None or not self._is_visible(machine, now):
                raise Transient("EC2 does not know one of them: gone, or not visible yet")
            tags = change(dict(machine.tags))
            if len(tags) > TAGS_MAX:
                raise Refused("too many tags", code="TagLimitExceeded", remedy="declare fewer tags")
            changed.append((machine, tags))
        for machine, tags in changed:
            self._tag(machine, tags)

    def _tag(self, machine: _Machine, tags: dict[str, str]) -> None:
        before, after = machine.tags.get(tag_keys.ENVIRONMENT), tags.get(tag_keys.ENVIRONMENT)
        if before is not None:
            self._by_environment.get(before, {}).pop(machine.instance_id, None)
        if after is not None:
            self._by_environment.setdefault(after, {})[machine.instance_id] = machine
        machine.tags = tags
        machine.shown = None

    # --- time ---

    def _is_visible(self, machine: _Machine, now: datetime) -> bool:
        return (now - machine.made_at).total_seconds() >= self.visibility_lag_s and not self._is_forgotten(machine, now)

    def _is_forgotten(self, machine: _Machine, now: datetime) -> bool:
        return machine.died_at is not None and (now - machine.died_at).total_seconds() >= self.linger_s

    def _state(self, machine: _Machine, now: datetime) -> InstanceState:
        if machine.died_at is not None:
            is_going = (now - machine.died_at).total_seconds() < self.shutting_down_s
            return InstanceState.SHUTTING_DOWN if is_going else InstanceState.TERMINATED
        if machine.stopped_at is not None:
            is_stopping = (now - machine.stopped_at).total_seconds() < self.stopping_s
            return InstanceState.STOPPING if is_stopping else InstanceState.STOPPED
        is_pending = (now - machine.started_at).total_seconds() < self.pending_s
        return InstanceState.PENDING if is_pending else InstanceState.RUNNING

    def _show(self, machine: _Machine, now: datetime) -> Instance:
        state = self._state(machine, now)
        if machine.shown is None or machine.shown.state is not state:
            parameters = machine.parameters
            is_there = state is not InstanceState.TERMINATED  # EC2 tells little of a terminated one
            machine.shown = Instance(
                instance_id=machine.instance_id,
                state=state,
                image=parameters.image,
                instance_type=parameters.instance_type,
                subnet=parameters.subnet if is_there else None,
                security_groups=frozenset(parameters.security_groups if is_there else ()),
                instance_profile=parameters.instance_profile if is_there else None,
                private_address=machine.private_address if is_there else None,
                launched_at=machine.launched_at,
                tags=MappingProxyType(dict(machine.tags)),
            )
        return machine.shown
