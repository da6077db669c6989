"""The rules of planning: the few settings that decide what may be done, as one frozen value."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from reconciler.model.names import FleetId

# A returned instance id counts as observed for this long, even if no listing shows it (EC2 is eventually consistent);
# an intent that no complete listing shows for this long after its last attempt launched nothing.
UNSEEN_GRACE: Final = timedelta(minutes=5)
# An EC2 client token is not replayed after this long: EC2 itself remembers tokens for at least a day.
REPLAY_AGE_MAX: Final = timedelta(hours=1)
# EC2 lists terminated instances for about an hour; only then does NotFound by id prove anything.
NOT_FOUND_PROOF: Final = timedelta(hours=1)
# After a take-over the other daemon may still have launches under way.
TAKE_OVER_LAUNCH_PAUSE: Final = timedelta(minutes=5)
# For this long after a take-over every removal needs approval.
TAKE_OVER_CAUTION: Final = timedelta(hours=24)
APPROVAL_LIFETIME: Final = timedelta(hours=24)
PRUNE_WINDOW: Final = timedelta(hours=1)
# An offering without capacity is skipped for this long.
EXHAUSTED_FOR: Final = timedelta(minutes=3)
BACKOFF_MAX: Final = timedelta(minutes=15)  # between tries of one environment
# From a role's failures in a row to its next canary; it doubles with each that fails, up to BACKOFF_MAX.
CANARY_PAUSE: Final = timedelta(minutes=1)
BATCH_SIZE_MAX: Final = 100  # nodes of one RunInstances call


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    fleet: FleetId
    is_observing: bool = False  # mode: observe
    launch_deadline: timedelta = timedelta(minutes=10)
    bootstrap_deadline: timedelta = timedelta(minutes=30)
    stale_after: timedelta = timedelta(hours=2)  # since the last Chef run of a ready node
    nodes_least: int = 1
    nodes_share: float = 0.10
    environments_least: int = 3
    environments_share: float = 0.20
    orphan_age: timedelta = timedelta(minutes=10)
    failures_in_a_row: int = 3
    teardown_grace: timedelta = timedelta(minutes=5)  # in which a commit cancels a teardown with nothing lost
    quarantine: timedelta = timedelta(0)  # the newest failed node of a role is kept so long, to be looked at
    default_ttl: timedelta | None = None  # of environments whose files name neither ttl nor expires
    notices: tuple[timedelta, ...] = (timedelta(hours=1), timedelta(days=1))  # before an environment expires, sorted
    progress: timedelta = timedelta(seconds=5)  # look again at what is awaited
