"""One instance of the EC2 in memory: what it was and is, so that it can be shown as of any moment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Protocol, TypeVar

from reconciler.model.memory import LaunchParameters
from reconciler.model.names import InstanceId, IntentToken
from reconciler.model.observed import Instance, InstanceState

END_OF_TIME = datetime.max.replace(tzinfo=UTC)
_What = TypeVar("_What")


class Times(Protocol):
    """How long things take, in seconds."""

    pending_s: float
    shutting_down_s: float
    stopping_s: float
    partial_s: dict[str, float]


@dataclass(slots=True)
class Machine:
    instance_id: InstanceId
    token: IntentToken | None
    parameters: LaunchParameters
    private_address: str
    made_at: datetime
    is_protected: bool = False
    died_at: datetime | None = None
    # What it became, and when; the last entry is in force.
    _tags: list[tuple[datetime, Mapping[str, str]]] = field(default_factory=list)
    _switches: list[tuple[datetime, bool]] = field(default_factory=list)  # on or off
    _shown: Instance | None = None  # as last described with nothing left out; None: something changed

    @property
    def tags(self) -> Mapping[str, str]:
        return self._tags[-1][1] if self._tags else {}

    def tag(self, tags: Mapping[str, str], now: datetime) -> None:
        self._tags.append((now, MappingProxyType(dict(tags))))
        self._shown = None

    @property
    def is_on(self) -> bool:
        return not self._switches or self._switches[-1][1]

    def switch(self, *, on: bool, now: datetime) -> None:
        if on is not self.is_on:
            self._switches.append((now, on))
            self._shown = None

    def kill(self, now: datetime) -> None:
        if self.died_at is None:
            self.died_at = now

    def state(self, moment: "Moment", times: Times) -> InstanceState:
        if self.died_at is not None and self.died_at <= moment.knows_until:
            is_going = moment.seconds_since(self.died_at) < times.shutting_down_s
            return InstanceState.SHUTTING_DOWN if is_going else InstanceState.TERMINATED
        since, is_on = self._switched(moment)
        passed_s = moment.seconds_since(since)
        if is_on:
            return InstanceState.PENDING if passed_s < times.pending_s else InstanceState.RUNNING
        return InstanceState.STOPPING if passed_s < times.stopping_s else InstanceState.STOPPED

    def show(self, moment: "Moment", times: Times, *, is_whole: bool = False) -> Instance:
        """As DescribeInstances knows it of a moment, now or earlier; `is_whole`: with what it lacks at first."""
        age_s = moment.seconds_since(self.made_at)
        missing = {name for name, lasts_s in times.partial_s.items() if age_s < lasts_s and not is_whole}
        state = self.state(moment, times)
        if missing or moment.is_past:
            return self._describe(moment, state, missing)
        if self._shown is None or self._shown.state is not state:
            self._shown = self._describe(moment, state, missing)
        return self._shown

    def _describe(self, moment: "Moment", state: InstanceState, missing: set[str]) -> Instance:
        parameters = self.parameters
        if state is InstanceState.TERMINATED:  # EC2 tells little of it then
            missing = missing | {"subnet", "security_groups", "instance_profile", "private_address"}
        tags = {} if "tags" in missing else _newest(self._tags, moment, (self.made_at, {}))[1]
        return Instance(
            instance_id=self.instance_id,
            state=state,
            image=parameters.image,
            instance_type=parameters.instance_type,
            subnet=None if "subnet" in missing else parameters.subnet,
            security_groups=frozenset(() if "security_groups" in missing else parameters.security_groups),
            instance_profile=None if "instance_profile" in missing else parameters.instance_profile,
            private_address=None if "private_address" in missing else self.private_address,
            launched_at=self._started_at(moment).replace(microsecond=0),  # EC2 tells whole seconds
            tags=MappingProxyType({key: value for key, value in tags.items() if f"tag:{key}" not in missing}),
        )

    def _switched(self, moment: "Moment") -> tuple[datetime, bool]:
        return _newest(self._switches, moment, (self.made_at, True))

    def _started_at(self, moment: "Moment") -> datetime:
        """When it was last started, or launched: EC2 calls both its launch."""
        starts = [switch for switch in self._switches if switch[1]]
        return _newest(starts, moment, (self.made_at, True))[0]


@dataclass(frozen=True, slots=True)
class Moment:
    """As of when something is told: now, or so many seconds ago."""

    now: datetime
    ago_s: float = 0

    @property
    def is_past(self) -> bool:
        return self.ago_s > 0

    @property
    def knows_until(self) -> datetime:
        """What happened later is not known yet. Now everything is, even where somebody has put the clock back."""
        return self.now - timedelta(seconds=self.ago_s) if self.is_past else END_OF_TIME

    def seconds_since(self, event: datetime) -> float:
        return (self.now - event).total_seconds() - self.ago_s


def _newest(
    entries: Sequence[tuple[datetime, _What]], moment: Moment, first: tuple[datetime, _What]
) -> tuple[datetime, _What]:
    """The last entry that was known then; before all of them, `first`."""
    return next((entry for entry in reversed(entries) if entry[0] <= moment.knows_until), first)
