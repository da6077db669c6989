"""Posts to one receiver of notifications: JSON over HTTP, signed if it has a secret.

Its address is a secret: no error that leaves this module holds it, nor any part of it.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Final

import requests

from reconciler import __version__
from reconciler.errors import Refused, Stalled, Transient
from reconciler.ports import Clock
from reconciler.settings import Receiver

TIMEOUTS_S: Final = (3.0, 10.0)  # to connect, and for each wait for the answer
_FILE_LIMIT_BYTES: Final = 4096
_ADDRESS: Final = re.compile(r"https?://[^\s/]\S*", re.ASCII | re.IGNORECASE)
_TRY_LATER: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})


class HttpWebhook:
    """The port `Webhook`."""

    def __init__(self, receiver: Receiver, *, clock: Clock, timeouts_s: tuple[float, float] = TIMEOUTS_S) -> None:
        self._receiver = receiver
        self._clock = clock
        self._timeouts_s = timeouts_s

    def post(self, document: Mapping[str, object], *, key: str) -> None:
        # Both files are read anew: whoever changes a token need not restart anything.
        address = _address(self._receiver.url_file)
        body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": f"hivequeen/{__version__}",
            "Idempotency-Key": key,
            **self._signature(body),
        }
        try:
            # A connection of its own: hours pass between two posts, and no server keeps one so long.
            with requests.Session() as session:
                session.trust_env = False  # proxies and passwords come from settings, never from the environment
                with session.post(
                    address,
                    data=body,
                    headers=headers,
                    timeout=self._timeouts_s,
                    allow_redirects=False,  # what it says is for this receiver only
                    stream=True,  # nobody needs the body of the answer, however long it is
                ) as reply:
                    _check(reply)
        except requests.RequestException as error:
            raise Transient(_wording(error)) from None  # the error's own text holds the address

    def _signature(self, body: bytes) -> Mapping[str, str]:
        """With the moment, so that a message that somebody overheard cannot be sent again for ever."""
        if self._receiver.secret_file is None:
            return {}
        timestamp = str(int(self._clock.now().timestamp()))
        secret = _content(self._receiver.secret_file)
        digest = hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        return {"Hivequeen-Timestamp": timestamp, "Hivequeen-Signature": f"sha256={digest}"}


def _address(file: Path) -> str:
    address = _content(file).decode(errors="replace")
    if not _ADDRESS.fullmatch(address):
        raise Stalled(f"{file} holds no address", remedy="write one line into it: https://…")
    return address


def _content(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            content = opened.read(_FILE_LIMIT_BYTES).strip()
    except OSError as error:
        raise Stalled(f"{file} cannot be read: {error.strerror}", remedy="let the daemon's user read it") from error
    if not content:
        raise Stalled(f"{file} is empty", remedy="put the address or the secret there, or correct the settings")
    return content


def _check(reply: requests.Response) -> None:
    status = reply.status_code
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return
    if status in _TRY_LATER or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        wait = reply.headers.get("Retry-After", "")
        raise Transient(
            f"it answered {status}", retry_after_s=float(wait) if re.fullmatch("[0-9]{1,6}", wait) else None
        )
    raise Refused(f"it answered {status}", code=str(status), remedy="check the address, and what it allows")


def _wording(error: requests.RequestException) -> str:
    match error:
        case requests.exceptions.SSLError():
            return "no TLS connection that can be trusted"
        case requests.ConnectTimeout():
            return "no connection in time"
        case requests.Timeout():
            return "no answer in time"
        case _:
            return "it cannot be reached"
