"""Who signed a request to the Chef Server: protocol 1.0, 1.1 and 1.3, as clients of every age send them.

Written from the protocol and sharing nothing with our own signer, so that the two cannot be wrong together.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

SKEW_MAX: Final = timedelta(minutes=15)


class BadSignature(Exception):
    """The request is not authentic; the message may be told to whoever sent it."""


def user_of(headers: Mapping[str, str]) -> str:
    """Who the request says it is from, not yet proved; raises BadSignature if it does not say."""
    try:
        return headers["x-ops-userid"]
    except KeyError:
        raise BadSignature("missing required authentication header 'X-Ops-UserId'") from None


def verify(*, method: str, path: str, headers: Mapping[str, str], body: bytes, public_key: str, now: datetime) -> None:
    """Return if the holder of the key signed exactly this request within the last 15 minutes.

    Args:
        path: as in the request line, without the query.
        headers: any mapping that ignores case.

    Raises:
        BadSignature: anything else.
    """
    key = load_pem_public_key(public_key.encode())
    if not isinstance(key, rsa.RSAPublicKey):
        raise BadSignature("the client's key is not an RSA key")
    try:
        described = dict(re.findall(r"(algorithm|version)=([^;]*)", headers["x-ops-sign"]))
        version = described["version"]
        timestamp = headers["x-ops-timestamp"]
        content_hash = headers["x-ops-content-hash"]
        user = headers["x-ops-userid"]
    except KeyError as error:
        raise BadSignature(f"missing required authentication header {error}") from None
    _check_time(timestamp, now)
    signature = _signature(headers)
    canonical_path = re.sub("/+", "/", path).rstrip("/") or "/"
    try:
        if version == "1.3":
            _check_content(content_hash, hashlib.sha256(body).digest())
            lines = [
                f"Method:{method.upper()}",
                f"Path:{canonical_path}",
                f"X-Ops-Content-Hash:{content_hash}",
                "X-Ops-Sign:version=1.3",
                f"X-Ops-Timestamp:{timestamp}",
                f"X-Ops-UserId:{user}",
                f"X-Ops-Server-API-Version:{headers.get('x-ops-server-api-version', '0')}",
            ]
            key.verify(signature, "\n".join(lines).encode(), padding.PKCS1v15(), hashes.SHA256())
        elif version in ("1.0", "1.1"):
            _check_content(content_hash, hashlib.sha1(body).digest())  # noqa: S324 - the old protocols are made of SHA-1
            lines = [
                f"Method:{method.upper()}",
                f"Hashed Path:{_sha1(canonical_path)}",
                f"X-Ops-Content-Hash:{content_hash}",
                f"X-Ops-Timestamp:{timestamp}",
                f"X-Ops-UserId:{_sha1(user) if version == '1.1' else user}",
            ]
            # They sign the text itself, not a digest of it.
            if key.recover_data_from_signature(signature, padding.PKCS1v15(), None) != "\n".join(lines).encode():
                raise BadSignature("the signature does not match the request")
        else:
            raise BadSignature(f"bad version of the signing protocol: {version}")
    except InvalidSignature:
        raise BadSignature("the signature does not match the request") from None


def _check_time(timestamp: str, now: datetime) -> None:
    try:
        sent_at = datetime.strptime(timestamp, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise BadSignature("X-Ops-Timestamp is not a time") from None
    if abs(now - sent_at) > SKEW_MAX:
        raise BadSignature("Synchronize the clock on your host.")


def _check_content(claimed: str, digest: bytes) -> None:
    if claimed != base64.b64encode(digest).decode():
        raise BadSignature("X-Ops-Content-Hash does not match the body")


def _signature(headers: Mapping[str, str]) -> bytes:
    lines: list[str] = []
    while line := headers.get(f"x-ops-authorization-{len(lines) + 1}"):
        lines.append(line)
    try:
        return base64.b64decode("".join(lines), validate=True)
    except binascii.Error:
        raise BadSignature("X-Ops-Authorization is not Base64") from None


def _sha1(text: str) -> str:
    return base64.b64encode(hashlib.sha1(text.encode()).digest()).decode()  # noqa: S324 - as above
