"""What goes wrong outside, and what EC2 and Chef are like."""

from dataclasses import dataclass
from datetime import timedelta

from reconciler.errors import Denied, HivequeenError, NoCapacity, QuotaReached, Refused, Transient
from reconciler.model.names import ImageId
from tests.simulation.specs import IMAGES, SUBNETS
from tests.simulation.steps.step import Step, below
from tests.simulation.wire import Fault
from tests.simulation.world import SimulatedWorld

CALLS = (
    ("cloud", "run_instances"),
    ("cloud", "run_instances"),
    ("cloud", "terminate"),
    ("cloud", "list_instances"),
    ("cloud", "get_instances"),
    ("cloud", "set_tags"),
    ("cloud", "account"),
    ("chef", "nodes"),
    ("chef", "roles"),
    ("chef", "environments"),
    ("chef", "clients"),
    ("chef", "put_role"),
    ("chef", "put_environment"),
    ("chef", "put_node"),
    ("chef", "delete_node"),
    ("chef", "delete_client"),
    ("chef", "delete_role"),
    ("chef", "delete_environment"),
    ("chef", "create_client"),
    ("chef", "claim"),
    ("chef", "create_claim"),
    ("chef", "update_claim"),
    ("journal", "recall"),
    ("journal", "record"),
    ("journal", "register"),
    ("repository", "fetch"),
    ("repository", "tree"),
    ("repository", "read"),
    ("repository", "descends"),
    ("repository", "touched"),
    ("repository", "commit"),
    ("repository", "mark_applied"),
)
SERVICES = ("cloud", "chef", "journal", "repository")


@dataclass(frozen=True, slots=True)
class Break(Step):
    """The next calls of an operation time out, before or after the work is done; some are refused."""

    call: int = below(len(CALLS))
    after: int = below(2)
    times: int = below(3)
    kind: int = below(4)

    def apply(self, world: SimulatedWorld) -> None:
        service, operation = CALLS[self.call]
        refusal = _refusal(operation) if self.kind == 0 else None
        error = refusal or Transient(f"{service}.{operation} timed out")
        world.exchange.faults.append(
            Fault(
                service=service,
                operation=operation,
                error=error,
                after=bool(self.after) and refusal is None,  # a refusal is certain: nothing was done
                times=self.times + 1,
            )
        )


def _refusal(operation: str) -> HivequeenError | None:
    if operation == "run_instances":
        return QuotaReached("VcpuLimitExceeded", code="VcpuLimitExceeded", remedy="raise the quota")
    if operation in ("terminate", "set_tags"):
        return Refused(f"{operation} is refused", code="OperationNotPermitted", remedy="allow it")
    if operation in ("put_role", "delete_role", "delete_node", "create_client", "nodes"):
        return Denied("403", code="403", remedy="grant it")
    return None


@dataclass(frozen=True, slots=True)
class Refuse(Step):
    """A launch is refused: no capacity, no permission, no such thing."""

    kind: int = below(4)
    times: int = below(3)

    def apply(self, world: SimulatedWorld) -> None:
        errors: tuple[HivequeenError, ...] = (
            NoCapacity("no room", code="InsufficientInstanceCapacity"),
            Denied("UnauthorizedOperation", code="UnauthorizedOperation", remedy="grant ec2:RunInstances"),
            QuotaReached("VcpuLimitExceeded", code="VcpuLimitExceeded", remedy="raise the quota"),
            Refused("InvalidParameterValue", code="InvalidParameterValue", remedy="correct it"),
        )
        world.exchange.faults.append(
            Fault(
                service="cloud",
                operation="run_instances",
                error=errors[self.kind],
                after=False,
                times=self.times + 1,
            )
        )


@dataclass(frozen=True, slots=True)
class LoseReply(Step):
    """RunInstances does its work, and nobody hears of it."""

    times: int = below(2)

    def apply(self, world: SimulatedWorld) -> None:
        error = Transient("the connection was closed")
        world.exchange.faults.append(
            Fault(service="cloud", operation="run_instances", error=error, after=True, times=self.times + 1)
        )


@dataclass(frozen=True, slots=True)
class Outage(Step):
    """A whole service does not answer for a while."""

    service: int = below(len(SERVICES))
    calls: int = below(30)

    def apply(self, world: SimulatedWorld) -> None:
        service = SERVICES[self.service]
        error = Transient(f"{service} does not answer")
        world.exchange.faults.append(
            Fault(service=service, operation="", error=error, after=False, times=self.calls + 1)
        )


@dataclass(frozen=True, slots=True)
class EndTrouble(Step):
    def apply(self, world: SimulatedWorld) -> None:
        world.exchange.faults.clear()


@dataclass(frozen=True, slots=True)
class Exhaust(Step):
    """EC2 runs out of one offering, or has room again for all."""

    type: int = below(3)
    subnet: int = below(len(SUBNETS))
    on: int = below(2)

    def apply(self, world: SimulatedWorld) -> None:
        offering = (("m7i.large", "m6i.large", "c7i.large")[self.type], SUBNETS[self.subnet])
        if self.on:
            world.cloud.exhausted.add(offering)
        else:
            world.cloud.exhausted.clear()


@dataclass(frozen=True, slots=True)
class Quota(Step):
    room: int = below(6)  # 5: none set

    def apply(self, world: SimulatedWorld) -> None:
        world.cloud.quota = None if self.room == 5 else len(world.living()) + self.room


@dataclass(frozen=True, slots=True)
class Images(Step):
    """An image is deregistered, or all are there again."""

    image: int = below(len(IMAGES) + 1)

    def apply(self, world: SimulatedWorld) -> None:
        if self.image < len(IMAGES):
            world.cloud.unknown_images.add(ImageId(IMAGES[self.image]))
        else:
            world.cloud.unknown_images.clear()


@dataclass(frozen=True, slots=True)
class Temper(Step):
    """How slow EC2 is: new instances unknown, pending, ending."""

    visibility: int = below(4)
    pending: int = below(3)
    ending: int = below(3)

    def apply(self, world: SimulatedWorld) -> None:
        world.cloud.visibility_lag_s = (0, 2, 20, 200)[self.visibility]
        world.cloud.pending_s = (0, 20, 700)[self.pending]
        now, longest = world.clock.now(), timedelta(seconds=400)
        if not any(one.ended_at and now - one.ended_at < longest for one in world.ledger.machines.values()):
            world.cloud.shutting_down_s = (0, 15, 400)[self.ending]  # what was seen ended does not end once more


LACKING = ("tags", "subnet", "security_groups", "instance_profile", "private_address")


@dataclass(frozen=True, slots=True)
class Blur(Step):
    """Records of young instances lack something, and answers are old; or all is clear again."""

    lacking: int = below(len(LACKING) + 1)
    partial: int = below(3)
    lag: int = below(4)

    def apply(self, world: SimulatedWorld) -> None:
        world.cloud.partial_s.clear()
        if self.lacking < len(LACKING):
            world.cloud.partial_s[LACKING[self.lacking]] = (0, 5, 40)[self.partial]
        lag_s = (0, 2, 30, 200)[self.lag]
        world.cloud.lag_s["list_instances"] = lag_s
        world.ledger.slack = max(world.ledger.slack, timedelta(seconds=lag_s))


@dataclass(frozen=True, slots=True)
class SearchLag(Step):
    """Chef's search answers as of now, until it is indexed again."""

    on: int = below(2)

    def apply(self, world: SimulatedWorld) -> None:
        world.chef.index()
        world.chef.search_lag = bool(self.on)


@dataclass(frozen=True, slots=True)
class Index(Step):
    def apply(self, world: SimulatedWorld) -> None:
        world.chef.index()
