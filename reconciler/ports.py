"""The ports: what the stages need of the world. Each comment is the contract that every adapter and every fake keeps.

All of them: a failed, throttled or partial read raises `Transient` (or `Denied`); it never becomes "none there".
Every method may be called from several threads at once.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias

from reconciler.model.commits import Commit
from reconciler.model.conditions import Condition, Event
from reconciler.model.desired import Image
from reconciler.model.facts import Fact
from reconciler.model.memory import Intent, LaunchParameters, Memory, NodeRecord
from reconciler.model.names import (
    BlobId,
    ChefName,
    EnvironmentName,
    ImageId,
    InstallationId,
    InstanceId,
    IntentToken,
    NodeName,
    RevisionId,
)
from reconciler.model.observed import ChefEnvironment, ChefNode, ChefRole, Instance

# (service, operation, result) of every request that leaves the process: ("ec2", "DescribeInstances", "ok"). Results are
# "ok", "refused", "throttled", "unreachable". Feeds hivequeen_api_requests_total, and the tests that count calls.
RequestCounter: TypeAlias = Callable[[str, str, str], None]


class Clock(Protocol):
    def now(self) -> datetime:
        """The time, aware, in UTC."""


# --- git ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeEntry:
    """One thing directly inside the watched folder, or below it."""

    path: str  # relative to the watched folder: "checkout.yml", "old/checkout.yml"
    blob: BlobId
    mode: str  # "100644", "100755", "120000" (symlink), "160000" (submodule)
    size: int | None  # bytes; None for a submodule


class Repository(Protocol):
    """The spec repository: one branch, one folder. Nothing is ever checked out."""

    def fetch(self) -> RevisionId:
        """Bring the mirror up to date and return the branch's newest revision.

        Raises:
            Transient: the repository could not be reached.
            SourceRejected: it answered, but the newest revision is not validly signed by `verify_keys`.
            Stalled: the branch does not exist, or access is denied.
        """

    def tree(self, revision: RevisionId) -> tuple[TreeEntry, ...]:
        """Everything at and below the watched folder, sorted by path; empty if the folder does not exist.

        Raises:
            SourceRejected: a tree or blob object is missing or unreadable: nothing may be concluded from it.
        """

    def read(self, blobs: Collection[BlobId], *, limit_bytes: int) -> Mapping[BlobId, bytes]:
        """The content of each blob, in one go, cut to `limit_bytes + 1` where it is longer.

        Raises:
            SourceRejected: one of them is missing or unreadable.
        """

    def descends(self, revision: RevisionId, ancestor: RevisionId) -> bool:
        """True if `revision` equals or descends from `ancestor`; False also if `ancestor` is unknown here, even of itself.

        Raises:
            SourceRejected: `ancestor` is known, but `revision` is not, or a commit between them is unreadable.
        """

    def commit(self, revision: RevisionId) -> Commit:
        """Who made it, when and why.

        Raises:
            SourceRejected: it is unknown or unreadable; the same holds for `mark_applied`.
        """

    def touched(
        self, revision: RevisionId, paths: Collection[str], *, after: RevisionId | None = None
    ) -> Mapping[str, Commit]:
        """Of each path (relative to the watched folder) the newest commit that added, changed or removed it.

        Only commits that `revision` descends from or is; with `after`, none that `after` descends from or is. A path
        that none of them touched is left out. One walk over the history, whatever the number of paths.

        Raises:
            SourceRejected: a revision is unknown, or the history between is unreadable.
        """

    def remove(self, path: str, *, onto: RevisionId, message: str) -> RevisionId:
        """Commit the removal of one file (relative to the watched folder) to the branch and push it; the new revision.

        Raises:
            Conflict: the branch is not at `onto` any more: somebody pushed, and must be read first. Nothing was pushed.
            Transient: the repository could not be reached; the outcome is unknown.
            Denied, Refused: the push is not allowed.
        """

    def mark_applied(self, revision: RevisionId) -> None:
        """Set `refs/hivequeen/applied` in the mirror, so that the revision is never collected."""


# --- EC2 ------------------------------------------------------------------------------------------------------------


class Cloud(Protocol):
    """One account and region, seen through the tag `hivequeen:fleet`."""

    def account(self, *, afresh: bool = False) -> str:
        """The 12-digit account id of the credentials in use (STS), asked once and kept; `afresh` asks again."""

    def list_instances(self, environments: Collection[EnvironmentName] | None = None) -> Sequence[Instance]:
        """Every instance that carries our fleet tag, in any state; only of these environments, if given (at most 200).

        Paginated, every page read. New instances may be missing for seconds; terminated ones stay for about an hour.
        """

    def get_instances(self, instance_ids: Collection[InstanceId]) -> Mapping[InstanceId, Instance]:
        """By id, whatever their tags. An id that EC2 calls NotFound or malformed is left out: it may still exist."""

    def reserve_launch(self, count: int) -> None:
        """Take, from what EC2 allows of requests, what one `run_instances` of so many costs. Nothing is sent.

        To be called before the intent is written: then a launch that has to wait leaves no intent of unknown outcome.

        Raises:
            Throttled: not now; `retry_after_s` says when.
        """

    def run_instances(self, token: IntentToken, parameters: LaunchParameters) -> Sequence[InstanceId]:
        """Launch `parameters.count` like instances in one call, all or nothing; idempotent by `token`.

        `parameters.tags` are set at launch, on instances and volumes. IMDSv2 is required.

        Raises:
            Throttled: nothing was launched; nothing is said of an earlier call with this token.
            Transient: unreachable or timed out; **the outcome is unknown**.
            NoCapacity: EC2 has no room for this offering now.
            TokenMismatch, TokenSpent: see errors.
            Denied: permissions.
            QuotaReached: the account may have no more now.
            Refused: anything else for certain (bad image…): the same call can never succeed.
        """

    def terminate(self, instance_ids: Collection[InstanceId]) -> None:
        """Ask for termination in one call. One already gone or unknown is success, and proves nothing.

        Raises:
            Transient: the outcome is unknown.
            Refused: EC2 will not do it (permissions; termination protection: it spares the whole availability zone of
                a protected instance, and terminates those of other zones all the same).
        """

    def stop(self, instance_ids: Collection[InstanceId]) -> None:
        """Ask for these to be stopped in one call. One already stopped, or gone, is success.

        Raises:
            Transient: the outcome is unknown.
            Refused: EC2 will not do it (permissions, an instance that cannot be stopped).
        """

    def start(self, instance_ids: Collection[InstanceId]) -> None:
        """Ask for these to be started in one call. One already running, or gone, is success.

        Raises:
            Transient: the outcome is unknown.
            NoCapacity: EC2 has no room for them now; none was started.
            Refused: EC2 will not do it.
        """

    def set_tags(self, instance_ids: Collection[InstanceId], tags: Mapping[str, str]) -> None:
        """Add or overwrite these tags on each, in one call."""

    def remove_tags(self, instance_ids: Collection[InstanceId], keys: Collection[str]) -> None:
        """Remove these tag keys from each, in one call."""

    def resolve_image(self, image: Image) -> ImageId:
        """The image id that a moving image names now.

        Raises:
            Refused: there is no such parameter or no available image.
        """


# --- Chef -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The data-bag item `hivequeen/{fleet}`: which installation owns the fleet, and what it follows."""

    fleet: str
    installation: InstallationId
    account: str
    region: str
    repository: str
    branch: str
    path: str
    applied: RevisionId | None

    def differences(self, own: "Claim") -> tuple[str, ...]:
        """Why this standing claim is not `own`, for people; empty: it is. What was applied last does not matter."""
        return tuple(f"{name} {getattr(self, name)} is not {getattr(own, name)}" for name in self.differing(own))

    def differing(self, own: "Claim") -> tuple[str, ...]:
        """The fields that differ."""
        fields = ("installation", "account", "region", "repository", "branch", "path")
        return tuple(name for name in fields if getattr(self, name) != getattr(own, name))


class ChefServer(Protocol):
    """One organisation. Reads with `names=None` are one partial search over all (it may lag, and its order is random);
    with names, one GET each, which is authoritative: an absent name does not exist."""

    def nodes(self, names: Collection[NodeName] | None = None) -> Mapping[str, ChefNode]: ...

    def roles(self, names: Collection[ChefName] | None = None) -> Mapping[str, ChefRole]: ...

    def environments(self, names: Collection[ChefName] | None = None) -> Mapping[str, ChefEnvironment]: ...

    def clients(self, names: Collection[NodeName] | None = None) -> frozenset[str]:
        """The names of the API clients that exist."""

    def put_role(self, role: ChefRole) -> bool:
        """GET, change description, run list and default attributes, PUT (or POST); all else is kept. False: already so."""

    def put_environment(self, environment: ChefEnvironment) -> bool:
        """Likewise: description and `default_attributes.hivequeen` are ours, everything else is kept."""

    def put_node(self, name: NodeName, chef_environment: ChefName, run_list: Sequence[str]) -> bool:
        """Likewise: only these two fields change. False also if the node does not exist."""

    def delete_node(self, name: NodeName) -> None:
        """One that is already gone is success; the same holds for the other three."""

    def delete_client(self, name: NodeName) -> None: ...

    def delete_role(self, name: ChefName) -> None: ...

    def delete_environment(self, name: ChefName) -> None: ...

    def create_client(self, name: NodeName, public_key: str) -> None:
        """Create a non-admin client with this PEM public key; success too if it exists with an equal key.

        Raises:
            Conflict: it exists with another key; it was not changed.
        """

    def claim(self) -> Claim | None:
        """One GET."""

    def create_claim(self, claim: Claim) -> None:
        """By POST, so that only one installation wins (makes the data bag if need be).

        Raises:
            Conflict: there is a claim already.
        """

    def update_claim(self, claim: Claim) -> None:
        """Overwrite it by PUT."""


# --- journal --------------------------------------------------------------------------------------------------------


class Journal(Protocol):
    """The installation's durable memory. `record` is one transaction: on return it survives a power cut."""

    def recall(self, now: datetime) -> Memory:
        """Everything that planning needs, expired holds left out."""

    def record(self, at: datetime, *facts: Fact) -> None:
        """All of them or none."""

    def register(self, instance_id: InstanceId, public_key: str, at: datetime) -> str:
        """Bind a key to a known instance, first key wins; returns the key (PEM) that is bound now.

        Raises:
            KeyError: no such node record.
        """

    def node(self, instance_id: InstanceId) -> NodeRecord | None: ...

    def intent(self, token: IntentToken) -> Intent | None: ...

    def append(self, *events: Event) -> None: ...

    def events(self, environment: EnvironmentName | None = None, *, limit: int = 100) -> Sequence[Event]:
        """The newest `limit`, oldest first; of every environment if None."""

    def set_conditions(
        self, environment: EnvironmentName | None, conditions: Sequence[Condition], at: datetime
    ) -> Sequence[Condition]:
        """Replace them, keeping `since` of those whose truth and reason are unchanged; returns those that changed."""

    def conditions(self) -> Sequence[Condition]: ...


class EventLog(Protocol):
    """The journal's events, as they are followed: each has an id, and later ones have greater ids."""

    def after(self, event_id: int, *, limit: int) -> Sequence[tuple[int, Event]]:
        """The first `limit` events after this one, in order; 0: from the oldest that is kept."""

    def newest(self) -> int:
        """The id of the newest event; 0: there is none."""

    def cursor(self, receiver: str) -> int | None:
        """The last event that the receiver is done with; None: it never asked."""

    def keep_cursor(self, receiver: str, event_id: int) -> None:
        """A cursor never moves back."""

    def forget_cursors(self, *, but: Collection[str]) -> None:
        """Of all receivers except these: one that is named again later begins anew."""


# --- notifications --------------------------------------------------------------------------------------------------


class Webhook(Protocol):
    """One receiver of notifications. Used by one thread at a time."""

    def post(self, document: Mapping[str, object], *, key: str) -> None:
        """Post it as JSON. The key is the same whenever the same document is posted again.

        Raises:
            Transient: unreachable, timed out, throttled or in trouble itself; **the outcome is unknown**.
            Refused: it said no.
            Stalled: its address or secret cannot be read.
        None of them says anything of the address.
        """
