"""Posts to one receiver of notifications: JSON over HTTP, signed if it has a secret.

Its address is a secret: no error that leaves this module holds it, nor any part of it. Neither is the receiver trusted:
of its answer the head is read, for a bounded time; no redirect is followed and no body read.
"""

import hashlib
import hmac
import json
import re
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import requests
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from reconciler import __version__
from reconciler.errors import Refused, Stalled, Transient
from reconciler.ports import Clock
from reconciler.settings import Receiver

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

WITHIN_S: Final = 15.0  # a whole post, but for looking up the name, which the system's resolver bounds
_CONNECT_S: Final = 3.0  # to one of its addresses
_FILE_LIMIT_BYTES: Final = 4096
_ADDRESS: Final = re.compile(r"https?://[^\s/]\S*", re.ASCII | re.IGNORECASE)
_TRY_LATER: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})


class HttpWebhook:
    """The port `Webhook`.

    Args:
        within_s: for a whole post, whatever the receiver does.
        authority: the certificates that are trusted; None: the public ones that come with requests.
    """

    def __init__(
        self, receiver: Receiver, *, clock: Clock, within_s: float = WITHIN_S, authority: Path | None = None
    ) -> None:
        self._receiver = receiver
        self._clock = clock
        self._within_s = within_s
        self._authority = authority

    def post(self, document: Mapping[str, object], *, key: str) -> None:
        body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": f"hivequeen/{__version__}",
            "Idempotency-Key": key,
            "Connection": "close",  # hours pass between two posts, and no server keeps one so long
        }
        # Both files are read anew: whoever changes a token need not restart anything.
        target = _target(self._receiver.url_file)
        answer = self._ask(target, body, {**headers, **target.headers, **self._signature(body)})
        _check(*answer)

    def _signature(self, body: bytes) -> Mapping[str, str]:
        """With the moment, so that a message that somebody overheard cannot be sent again for ever."""
        if self._receiver.secret_file is None:
            return {}
        timestamp = str(int(self._clock.now().timestamp()))
        secret = _content(self._receiver.secret_file)
        digest = hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        return {"Hivequeen-Timestamp": timestamp, "Hivequeen-Signature": f"sha256={digest}"}

    def _ask(self, target: "_Target", body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
        """The status, and `Retry-After`. Errors are worded here: their own texts hold the address."""
        deadline = _Deadline(self._within_s)
        try:
            connected = self._connected(target, deadline)
        except TimeoutError:
            raise Transient("no connection in time") from None
        except ssl.SSLError:
            raise Transient("no TLS connection that can be trusted") from None
        except OSError:
            raise Transient("it cannot be reached") from None
        # Not with requests, which reads all of a redirect's body even if it is to follow none.
        with closing(connected), closing(HTTPConnection(target.host, target.port)) as connection:
            connection.sock = _Bounded(connected, deadline)
            try:
                connection.request("POST", target.path, body, headers)
                reply = connection.getresponse()
            except TimeoutError:
                raise Transient("no answer in time") from None
            except OSError:
                raise Transient("it hung up") from None
            except (HTTPException, ValueError):
                raise Transient("its answer is not HTTP") from None
            with reply:
                return reply.status, reply.headers.get("Retry-After", "")

    def _connected(self, target: "_Target", deadline: "_Deadline") -> socket.socket:
        """With the first of its addresses that takes it. Proxies come from settings, never from the environment."""
        connected = _first(target, deadline)
        if not target.is_tls:
            return connected
        try:
            trust = ssl.create_default_context(cafile=self._authority or DEFAULT_CA_BUNDLE_PATH)
            connected.settimeout(deadline.left_s())  # of the handshake as a whole
            return trust.wrap_socket(connected, server_hostname=target.host)
        except BaseException:
            connected.close()
            raise


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    host: str
    port: int
    is_tls: bool
    path: str  # with its query
    headers: Mapping[str, str]


class _Deadline:
    def __init__(self, within_s: float) -> None:
        self._at_s = time.monotonic() + within_s

    def left_s(self) -> float:
        """
        Raises:
            TimeoutError: nothing is left.
        """
        left_s = self._at_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        return left_s


class _Bounded(RawIOBase):
    """What `http.client` uses of a socket. A socket's own timeout begins anew with each byte that drips in."""

    def __init__(self, connected: socket.socket, deadline: _Deadline) -> None:
        super().__init__()
        self._socket = connected
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        self._socket.settimeout(self._deadline.left_s())
        self._socket.sendall(data)

    def makefile(self, _mode: str) -> BufferedReader:
        return BufferedReader(_Bounded(self._socket, self._deadline))  # closed apart, as with a socket

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        self._socket.settimeout(self._deadline.left_s())
        return self._socket.recv_into(buffer)


def _first(target: _Target, deadline: _Deadline) -> socket.socket:
    trouble = OSError("it has no address")
    for family, kind, protocol, _, place in socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM):
        found = socket.socket(family, kind, protocol)
        try:
            found.settimeout(min(_CONNECT_S, deadline.left_s()))
            found.connect(place)
        except OSError as error:
            found.close()
            trouble = error
        else:
            return found
    raise trouble


def _target(file: Path) -> _Target:
    address = _content(file).decode(errors="replace")
    if not _ADDRESS.fullmatch(address):
        raise _no_address(file)
    try:
        # As requests reads it: names in other scripts, what must be quoted, a password before the host.
        prepared = requests.Request("POST", address).prepare()
        parts = urlsplit(prepared.url or "")
        host = (parts.hostname or "").encode("idna").decode()
        is_tls = parts.scheme == "https"
        port = parts.port or (443 if is_tls else 80)
    except (requests.RequestException, ValueError):  # their texts hold the address
        raise _no_address(file) from None
    headers = {"Host": parts.netloc.rpartition("@")[2]}
    if "Authorization" in prepared.headers:
        headers["Authorization"] = prepared.headers["Authorization"]
    return _Target(host=host, port=port, is_tls=is_tls, path=prepared.path_url, headers=headers)


def _no_address(file: Path) -> Stalled:
    return Stalled(f"{file} holds no address", remedy="write one line into it: https://…")


def _content(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            content = opened.read(_FILE_LIMIT_BYTES).strip()
    except OSError as error:
        raise Stalled(f"{file} cannot be read: {error.strerror}", remedy="let the daemon's user read it") from error
    if not content:
        raise Stalled(f"{file} is empty", remedy="put the address or the secret there, or correct the settings")
    return content


def _check(status: int, wait: str) -> None:
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return
    if status in _TRY_LATER or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise Transient(
            f"it answered {status}", retry_after_s=float(wait) if re.fullmatch("[0-9]{1,6}", wait) else None
        )
    raise Refused(f"it answered {status}", code=str(status), remedy="check the address, and what it allows")
