"""Everything that differs between two installations, as one frozen object. Durations are seconds."""

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

from reconciler.model.names import FleetId
from reconciler.model.policy import Policy
from reconciler.model.rules import Rules

DEFAULT_CONTROL: Final = Path("/run/hivequeen/control.sock")


class Mode(StrEnum):
    OBSERVE = "observe"  # nothing is written to EC2, Chef or git, no claim made; registrations get 503
    CONVERGE = "converge"


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositorySettings:
    url: str  # https, ssh, git@host:path, or a local path
    branch: str = "main"
    path: str = "environments.d"
    ssh_key: Path | None = None
    known_hosts: Path | None = None
    verify_keys: Path | None = None  # allowed-signers file; set: every applied commit must be signed by one of them

    @property
    def local_path(self) -> Path | None:
        """Where the repository lies if it is on this machine; None for anything with a scheme or a host."""
        # As git itself decides: a colon before the first slash names a host, "scheme://" or "helper::" likewise.
        return None if ":" in self.url.partition("/")[0] else Path(self.url).absolute()


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsSettings:
    region: str
    endpoint_url: str | None = None
    account_id: str | None = None  # set: refuse any other account


@dataclass(frozen=True, slots=True, kw_only=True)
class ChefSettings:
    server_url: str  # "https://chef/organizations/acme"
    client_name: str
    client_key: Path
    ca_certificate: Path | None = None
    interval_s: float = 1800  # between chef-client runs on a node


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """The Chef or Cinc package that a node without one installs."""

    url: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapSettings:
    url: str  # where nodes reach the nodes listener: "https://10.0.0.5:9465"
    identity_certificates: Path  # PEM, the region's RSA certificates that sign identity documents
    ca_certificate: Path | None = None  # pinned by the first-boot script
    insecure: bool = False  # allow plain HTTP on an address that is not loopback
    product: str = "cinc"  # or "chef"
    package: Package | None = None  # None: the image must hold the client


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenSettings:
    operators: str = "127.0.0.1:9464"
    nodes: str = "0.0.0.0:9465"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """Of the nodes listener."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    poll_s: float = 15  # remote repositories; a local one is watched
    resync_s: float = 300  # a full pass at least this often: outside changes are found, orphans swept
    progress_s: float = 5  # a pass over what is awaited (nodes that boot); registrations wake the loop by themselves


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    launch_s: float = 600  # from RunInstances to running
    bootstrap_s: float = 1800  # from RunInstances to the first successful Chef run


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The prune limits of any rolling hour: more than `max(least, share)` is held."""

    nodes_least: int = 1
    nodes_share: float = 0.10  # of an environment's nodes
    environments_least: int = 3
    environments_share: float = 0.20  # of the fleet's environments
    orphan_age_s: float = (
        600  # an unwanted or stopped instance is left alone at least this long after its first sighting
    )
    failures_in_a_row: int = 3  # launches or bootstraps of one role, then it halts


@dataclass(frozen=True, slots=True, kw_only=True)
class TeardownSettings:
    grace_s: float = 300  # from the commit to the first removal: time to revert it with nothing lost


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """How long environments live, beyond what their files say. Protected ones live for ever."""

    default_ttl_s: float | None = None  # of files that name neither ttl nor expires; None: until the file is deleted
    maximum_ttl_s: float | None = None  # a file that asks for more violates the policy
    notices_s: tuple[float, ...] = (3600, 86400)  # before the end, sorted
    remove_files: bool = False  # the daemon commits the removal of an expired environment's file


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """Somebody who is told what happens."""

    name: str  # for metrics and logs; "notify[0]" where the file gives none
    url_file: Path  # holds the address, which is as good as a password with most chat services
    secret_file: Path | None = None  # set: messages are signed with it
    on: frozenset[str]  # of: ready, stalled, held, expiring, torn_down
    environments: str = "*"  # a pattern: "feature-*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    fleet: FleetId
    repository: RepositorySettings
    aws: AwsSettings
    chef: ChefSettings
    bootstrap: BootstrapSettings
    mode: Mode = Mode.CONVERGE
    listen: ListenSettings = field(default_factory=ListenSettings)
    tls: TlsSettings | None = None
    control: Path = DEFAULT_CONTROL
    state: str = "sqlite:////var/lib/hivequeen/state.db"
    intervals: Intervals = field(default_factory=Intervals)
    deadlines: Deadlines = field(default_factory=Deadlines)
    limits: Limits = field(default_factory=Limits)
    teardown: TeardownSettings = field(default_factory=TeardownSettings)
    quarantine_s: float = 0  # the newest failed node of a role is kept so long, to be looked at
    lifetimes: Lifetimes = field(default_factory=Lifetimes)
    policy: Policy = field(default_factory=Policy)
    notify: tuple[Receiver, ...] = ()
    prices: Path | None = None  # a price table; None: the one that comes with the program
    concurrency: int = 8  # environments converged at the same time

    @property
    def rules(self) -> Rules:
        """What planning needs of them."""
        return Rules(
            fleet=self.fleet,
            is_observing=self.mode is Mode.OBSERVE,
            launch_deadline=timedelta(seconds=self.deadlines.launch_s),
            bootstrap_deadline=timedelta(seconds=self.deadlines.bootstrap_s),
            stale_after=timedelta(seconds=4 * self.chef.interval_s),
            nodes_least=self.limits.nodes_least,
            nodes_share=self.limits.nodes_share,
            environments_least=self.limits.environments_least,
            environments_share=self.limits.environments_share,
            orphan_age=timedelta(seconds=self.limits.orphan_age_s),
            failures_in_a_row=self.limits.failures_in_a_row,
            progress=timedelta(seconds=self.intervals.progress_s),
            teardown_grace=timedelta(seconds=self.teardown.grace_s),
            quarantine=timedelta(seconds=self.quarantine_s),
            default_ttl=_timedelta(self.lifetimes.default_ttl_s),
            notices=tuple(timedelta(seconds=notice_s) for notice_s in self.lifetimes.notices_s),
        )


def _timedelta(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)
