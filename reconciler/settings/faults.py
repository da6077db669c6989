"""What a schema cannot say of the settings: how they go together, and whether the files that they name are there."""

import ipaddress
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from reconciler.document import Document, KeyPath, show
from reconciler.settings.durations import is_duration, seconds
from reconciler.settings.values import ListenSettings

Fault: TypeAlias = tuple[KeyPath, str, str]  # where, what, remedy


FILES: Final[tuple[tuple[str, str], ...]] = (
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
_REMOTE_URLS: Final = (
    re.compile(r"https://[^\s/-]\S*"),
    re.compile(r"ssh://(?:[\w.+][\w.+-]*@)?[\w\[]\S*"),
    re.compile(r"[\w.+][\w.+-]*@\w[\w.-]*:[^:\s]\S*"),  # git@host:path
)
_PORT_MAX: Final = 65535


def faults(document: Document) -> Iterator[Fault]:
    """What the schema cannot say. Tolerates missing keys and wrong types, which the schema reports."""
    yield from _repository_faults(document)
    yield from _bootstrap_faults(document)
    yield from _listen_faults(document)
    deadlines = [_text(document, "deadlines", key) for key in ("launch", "bootstrap")]
    launch_s, bootstrap_s = (seconds(text) if is_duration(text) else 0 for text in deadlines)
    if launch_s > bootstrap_s > 0:
        message = f"deadlines.launch is longer than deadlines.bootstrap: {deadlines[0]} and {deadlines[1]}"
        yield ("deadlines", "launch"), message, "both count from the launch, so make bootstrap the longer one"


def _repository_faults(document: Document) -> Iterator[Fault]:
    url = _text(document, "repository", "url")
    if url and local_path(url) is None and not is_remote_url(url):
        shown = show(re.sub(r"(?<=://)[^/@\s]+@", "***@", url))  # there may be a password in it
        message = f"repository.url {shown} is not an address that is fetched from"
        yield ("repository", "url"), message, "write https://…, ssh://…, git@host:path or a local path"


def is_remote_url(url: str) -> bool:
    """An address that git fetches from, and could not take for one of its options."""
    return any(kind.fullmatch(url) for kind in _REMOTE_URLS)


def _bootstrap_faults(document: Document) -> Iterator[Fault]:
    where = ("bootstrap", "url")
    url = urlsplit(_text(document, *where))
    section = document.tree.get("bootstrap")
    is_insecure = isinstance(section, dict) and section.get("insecure") is True
    if url.scheme == "http" and not is_insecure and not _is_loopback(url.hostname or ""):
        remedy = "use https, or set bootstrap.insecure: true where nobody can listen in"
        yield where, f"bootstrap.url {show(url.geturl())} is plain HTTP on an address that is not loopback", remedy
    if url.scheme == "https" and not document.tree.get("tls"):
        yield where, "tls is missing, but bootstrap.url is https", "add tls: {certificate: …, key: …}"


def _listen_faults(document: Document) -> Iterator[Fault]:
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


def file_faults(document: Document, folder: Path) -> Iterator[Fault]:
    for section, key in FILES:
        written = _text(document, section, key)
        trouble = file_trouble(folder / written) if written else ""
        if trouble:
            yield (
                (section, key),
                f"{section}.{key}: {folder / written} {trouble}",
                "correct the path, or put the file there",
            )


def file_trouble(path: Path) -> str:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return "is not a file"
        path.open("rb").close()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return ""


def _text(document: Document, section: str, key: str) -> str:
    values = document.tree.get(section)
    value = values.get(key) if isinstance(values, dict) else None
    return value if isinstance(value, str) else ""


def local_path(url: str) -> Path | None:
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
