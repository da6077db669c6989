"""`hivequeen.yml`, read once into one frozen object. Durations are seconds inside, `15s`, `5m`, `14d` in the file."""

import ipaddress
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from reconciler.document import Document, KeyPath, Schema, read_document, show
from reconciler.errors import SettingsError
from reconciler.model.findings import Finding
from reconciler.model.names import FleetId
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
        )


# --- loading --------------------------------------------------------------------------------------------------------

_Fault: TypeAlias = tuple[KeyPath, str, str]  # where, what, remedy

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_FILES: Final[tuple[tuple[str, str], ...]] = (
    ("repository", "ssh_key"),
    ("repository", "known_hosts"),
    ("repository", "verify_keys"),
    ("chef", "client_key"),
    ("chef", "ca_certificate"),
    ("bootstrap", "identity_certificates"),
    ("bootstrap", "ca_certificate"),
    ("tls", "certificate"),
    ("tls", "key"),
)
_DURATIONS: Final = frozenset({"interval", "poll", "resync", "progress", "launch", "bootstrap", "orphan_age", "grace"})
_REMOTE_URLS: Final = (
    re.compile(r"https://[^\s/-]\S*"),
    re.compile(r"ssh://(?:[\w.+][\w.+-]*@)?[\w\[]\S*"),
    re.compile(r"[\w.+][\w.+-]*@\w[\w.-]*:[^:\s]\S*"),  # git@host:path
)
_TEMPLATE_REMEDY: Final = "copy systemd/hivequeen.yml there, or name one with --config; to try it out: script/demo"
_PORT_MAX: Final = 65535


def load(path: Path, *, check_files: bool = True) -> Settings:
    """Read and check the settings file. Relative paths in it count from its folder.

    Args:
        check_files: False leaves out whether the named key and certificate files exist.

    Raises:
        SettingsError: every problem of the file, one line each.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise SettingsError((f"{path}: there is no such file ({_TEMPLATE_REMEDY})",)) from error
    except OSError as error:
        raise SettingsError((f"{path}: cannot be read: {error.strerror}",)) from error
    if all(not line.strip() or line.lstrip().startswith(b"#") for line in content.splitlines()):
        raise SettingsError((f"{path}: the file is empty ({_TEMPLATE_REMEDY})",))
    document = read_document(content, file=str(path))
    folder = path.absolute().parent
    findings = set(document.findings)
    if document.is_readable:
        findings.update(Schema.named("settings.schema.json").check(document))
        faults = (*_faults(document), *(_file_faults(document, folder) if check_files else ()))
        findings.update(
            Finding(origin=document.origin(where), message=message, remedy=remedy) for where, message, remedy in faults
        )
    if findings:
        raise SettingsError(tuple(str(finding) for finding in sorted(findings)))
    return _settings(document.tree, folder)


def control_of(path: Path) -> Path | None:
    """Where the daemon of these settings listens, as far as that can be read, whatever else is wrong with them."""
    try:
        document = read_document(path.read_bytes(), file=str(path))
    except OSError:
        return None
    written = document.tree.get("control") if document.is_readable else None
    if not document.is_readable or not isinstance(written, str | None):
        return None
    return Path(written) if written else DEFAULT_CONTROL


def _faults(document: Document) -> Iterator[_Fault]:
    """What the schema cannot say. Tolerates missing keys and wrong types, which the schema reports."""
    yield from _repository_faults(document)
    yield from _bootstrap_faults(document)
    yield from _listen_faults(document)
    deadlines = [_text(document, "deadlines", key) for key in ("launch", "bootstrap")]
    launch_s, bootstrap_s = (_seconds(text) if re.fullmatch("[0-9]+[smhd]", text) else 0 for text in deadlines)
    if launch_s > bootstrap_s > 0:
        message = f"deadlines.launch is longer than deadlines.bootstrap: {deadlines[0]} and {deadlines[1]}"
        yield ("deadlines", "launch"), message, "both count from the launch, so make bootstrap the longer one"


def _repository_faults(document: Document) -> Iterator[_Fault]:
    url = _text(document, "repository", "url")
    if url and _local_path(url) is None and not is_remote_url(url):
        shown = show(re.sub(r"(?<=://)[^/@\s]+@", "***@", url))  # there may be a password in it
        message = f"repository.url {shown} is not an address that is fetched from"
        yield ("repository", "url"), message, "write https://…, ssh://…, git@host:path or a local path"


def is_remote_url(url: str) -> bool:
    """An address that git fetches from, and could not take for one of its options."""
    return any(kind.fullmatch(url) for kind in _REMOTE_URLS)


def _bootstrap_faults(document: Document) -> Iterator[_Fault]:
    where = ("bootstrap", "url")
    url = urlsplit(_text(document, *where))
    section = document.tree.get("bootstrap")
    is_insecure = isinstance(section, dict) and section.get("insecure") is True
    if url.scheme == "http" and not is_insecure and not _is_loopback(url.hostname or ""):
        remedy = "use https, or set bootstrap.insecure: true where nobody can listen in"
        yield where, f"bootstrap.url {show(url.geturl())} is plain HTTP on an address that is not loopback", remedy
    if url.scheme == "https" and not document.tree.get("tls"):
        yield where, "tls is missing, but bootstrap.url is https", "add tls: {certificate: …, key: …}"


def _listen_faults(document: Document) -> Iterator[_Fault]:
    defaults = ListenSettings()
    addresses = {
        "operators": _text(document, "listen", "operators") or defaults.operators,
        "nodes": _text(document, "listen", "nodes") or defaults.nodes,
    }
    for key, address in addresses.items():
        port = address.rpartition(":")[2]
        if port.isdecimal() and int(port) > _PORT_MAX:
            yield ("listen", key), f"listen.{key} {show(address)}: a port is at most {_PORT_MAX}", ""
    bootstrap = document.tree.get("bootstrap")
    is_insecure = isinstance(bootstrap, dict) and bootstrap.get("insecure") is True
    host = addresses["nodes"].rpartition(":")[0].strip("[]")
    is_plain = _text(document, "bootstrap", "url").startswith("http:") and not document.tree.get("tls")
    if is_plain and not is_insecure and not _is_loopback(host):
        message = f"without tls, listen.nodes {addresses['nodes']} serves plain HTTP on an address that is not loopback"
        yield ("listen", "nodes"), message, "add tls, or listen on 127.0.0.1"
    if addresses["operators"] == addresses["nodes"] and not addresses["nodes"].endswith(":0"):
        message = f"listen.operators and listen.nodes are both {addresses['nodes']}"
        yield ("listen",), message, "nodes must not reach the operators' listener: use two ports"


def _file_faults(document: Document, folder: Path) -> Iterator[_Fault]:
    for section, key in _FILES:
        written = _text(document, section, key)
        trouble = _trouble(folder / written) if written else ""
        if trouble:
            yield (
                (section, key),
                f"{section}.{key}: {folder / written} {trouble}",
                "correct the path, or put the file there",
            )


def _trouble(path: Path) -> str:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return "is not a file"
        path.open("rb").close()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return ""


def _settings(tree: Mapping[str, Any], folder: Path) -> Settings:
    """From a tree without faults; what is left out keeps its default, which is said once, above."""
    repository = _fields(tree, "repository", folder)
    local = _local_path(repository["url"])
    if local is not None:
        repository["url"] = os.path.normpath(folder / local)
    bootstrap = _fields(tree, "bootstrap", folder)
    if "package" in bootstrap:
        bootstrap["package"] = Package(**bootstrap["package"])
    given: dict[str, Any] = {}
    if tree.get("mode"):
        given["mode"] = Mode(tree["mode"])
    if tree.get("tls"):
        given["tls"] = TlsSettings(**_fields(tree, "tls", folder))
    if tree.get("control"):
        given["control"] = Path(tree["control"])
    if tree.get("quarantine"):
        given["quarantine_s"] = _seconds(tree["quarantine"])
    if tree.get("concurrency"):
        given["concurrency"] = int(tree["concurrency"])
    if tree.get("state"):
        given["state"] = f"sqlite:///{os.path.normpath(folder / tree['state'].removeprefix('sqlite:///'))}"
    return Settings(
        fleet=FleetId(tree["fleet"]),
        repository=RepositorySettings(**repository),
        aws=AwsSettings(**_fields(tree, "aws", folder)),
        chef=ChefSettings(**_fields(tree, "chef", folder)),
        bootstrap=BootstrapSettings(**bootstrap),
        listen=ListenSettings(**_fields(tree, "listen", folder)),
        intervals=Intervals(**_fields(tree, "intervals", folder)),
        deadlines=Deadlines(**_fields(tree, "deadlines", folder)),
        limits=Limits(**_limits(_fields(tree, "limits", folder))),
        teardown=TeardownSettings(**_fields(tree, "teardown", folder)),
        **given,
    )


def _fields(tree: Mapping[str, Any], section: str, folder: Path) -> dict[str, Any]:
    """A section's values by the names of their fields, without those that are null."""
    fields: dict[str, Any] = {}
    for key, value in (tree.get(section) or {}).items():
        if value is None:
            continue
        if (section, key) in _FILES:
            fields[key] = folder / value
        elif key in _DURATIONS:
            fields[f"{key}_s"] = _seconds(value)
        else:
            fields[key] = value
    return fields


def _limits(fields: Mapping[str, Any]) -> dict[str, Any]:
    """`{nodes: {least: 1}}` → `{nodes_least: 1}`."""
    flat: dict[str, Any] = {}
    for key, value in fields.items():
        if isinstance(value, dict):
            flat.update({f"{key}_{part}": number for part, number in value.items() if number is not None})
        else:
            flat[key] = value
    return flat


def _seconds(duration: str) -> float:
    return float(int(duration[:-1]) * _SECONDS[duration[-1]])


def _text(document: Document, section: str, key: str) -> str:
    values = document.tree.get(section)
    value = values.get(key) if isinstance(values, dict) else None
    return value if isinstance(value, str) else ""


def _local_path(url: str) -> Path | None:
    """The folder that a repository's address means; None if it is no path of this machine."""
    if url.startswith("file:///"):
        url = url.removeprefix("file://")
    is_path = url and not url.startswith("-") and ":" not in url.partition("/")[0] and url.isprintable()
    return Path(url) if is_path else None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
