"""`hivequeen.yml`, read once into one frozen object. Durations are seconds inside, `15s`, `5m`, `14d` in the file."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from reconciler.model.names import FleetId


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
class Settings:
    fleet: FleetId
    repository: RepositorySettings
    aws: AwsSettings
    chef: ChefSettings
    bootstrap: BootstrapSettings
    mode: Mode = Mode.CONVERGE
    listen: ListenSettings = field(default_factory=ListenSettings)
    tls: TlsSettings | None = None
    control: Path = Path("/run/hivequeen/control.sock")
    state: str = "sqlite:////var/lib/hivequeen/state.db"
    intervals: Intervals = field(default_factory=Intervals)
    deadlines: Deadlines = field(default_factory=Deadlines)
    limits: Limits = field(default_factory=Limits)
    concurrency: int = 8  # environments converged at the same time
