"""The reasons of conditions: a closed set for each type, which scripts may go by."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from reconciler.model.conditions import ConditionType
from reconciler.model.plan import Guard

# The reason of a condition that is not true, where there is nothing more to say.
CALM: Final[Mapping[ConditionType, str]] = MappingProxyType(
    {
        ConditionType.RECONCILING: "Idle",
        ConditionType.STALLED: "NothingStuck",
        ConditionType.HELD: "NothingHeld",
        ConditionType.SUSPENDED: "NotSuspended",
        ConditionType.ENDING: "NotEnding",
        ConditionType.EXPIRED: "NotExpired",
        ConditionType.QUARANTINED: "NothingKept",
        ConditionType.STALE: "ChefHeard",
        ConditionType.LOST: "AllTagged",
        ConditionType.NOT_OWNER: "ClaimIsOurs",
        ConditionType.DEGRADED: "Healthy",
    }
)

ACCESS_DENIED: Final = "AccessDenied"  # the reason of Stalled that `/readyz` looks for

# Guards whose hold a person lifts. The others are conditions of their own: GRACE is Ending.
HOLDING: Final[Mapping[Guard, str]] = MappingProxyType(
    {
        Guard.TAKE_OVER: "TakenOver",
        Guard.HISTORY: "HistoryRewritten",
        Guard.EMPTY_REVISION: "EmptyRevision",
        Guard.PROTECTED: "Protected",
        Guard.POLICY: "Policy",
        Guard.PRUNE_NODES: "TooManyNodes",
        Guard.PRUNE_ENVIRONMENTS: "TooManyEnvironments",
    }
)

# Guards that make the whole installation write nothing, and so suspend each environment.
READ_ONLY: Final[Mapping[Guard, str]] = MappingProxyType(
    {Guard.OBSERVE_MODE: "ObserveMode", Guard.NOT_OWNER: "NotOwner"}
)

# By the stage of the pass that failed.
FAILED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "source": "SourceFailed",
        "observe": "ObserveFailed",
        "claim": "ClaimFailed",
        "converge": "ConvergeFailed",
    }
)

REASONS: Final[Mapping[ConditionType, frozenset[str]]] = MappingProxyType(
    {
        ConditionType.READY: frozenset(
            {
                "AllReady",
                "Ending",
                "TearingDown",
                "Expired",
                "Stalled",
                "ReadOnly",
                "Suspended",
                "Held",
                "Degraded",
                "Asleep",  # as its schedule wants it
                "Converging",
                "Unknown",
            }
        ),
        ConditionType.RECONCILING: frozenset({"Acting", "Waiting", "TearingDown", "Idle"}),
        # The first ones are the planner's stalls.
        ConditionType.STALLED: frozenset(
            {
                "BadFile",
                "ChefEnvironmentMissing",
                "ForeignChefEnvironment",
                "ForeignChefRole",
                "ImageUnresolved",
                "Unreadable",
                "NodeLost",
                "RoleHalted",
                "BreakerOpen",
                "LifetimeUnknown",
                "Defect",
                "ActionRefused",
                ACCESS_DENIED,
                "NothingStuck",
                *FAILED.values(),
            }
        ),
        ConditionType.HELD: frozenset({*HOLDING.values(), "NothingHeld"}),
        # The last two of an environment that nothing can be done for: the mode, or somebody else's claim.
        ConditionType.SUSPENDED: frozenset(
            {"ByPerson", "EverythingByPerson", "ByFile", "NotSuspended", *READ_ONLY.values()}
        ),
        # "Held" and "Waiting": the grace is over, and nothing has been removed yet.
        ConditionType.ENDING: frozenset({"Grace", "Held", "Waiting", "TearingDown", "NotEnding"}),
        ConditionType.EXPIRED: frozenset({"LifetimeOver", "NotExpired"}),
        ConditionType.QUARANTINED: frozenset({"FailedNodeKept", "NothingKept"}),
        ConditionType.STALE: frozenset({"ChefSilent", "ChefHeard"}),
        ConditionType.LOST: frozenset({"TagMissing", "AllTagged"}),
        ConditionType.NOT_OWNER: frozenset({"ClaimedByAnother", "ClaimIsOurs"}),
        ConditionType.DEGRADED: frozenset({*FAILED.values(), "ActionFailed", "OutcomeUnknown", "Healthy"}),
    }
)

OF_INSTALLATION: Final = (
    ConditionType.NOT_OWNER,
    ConditionType.SUSPENDED,
    ConditionType.HELD,
    ConditionType.STALLED,
    ConditionType.DEGRADED,
)
