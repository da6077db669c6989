"""Signatures of the Chef API, protocol 1.3, with `cryptography` in place of PyChef's ctypes and SHA-1."""

import base64
import hashlib
import re
from datetime import datetime
from typing import BinaryIO

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

# https://docs.chef.io/server/api_chef_server/ names the request headers; 1 is the first version with separate client keys.
SERVER_API_VERSION = "1"
_LINE_LENGTH = 60  # of the signature's headers, as Ruby's Base64.encode64 breaks lines


class SSLError(Exception):
    """PyChef's own name for a key that cannot be used."""


class Key:
    """An RSA private key: the class that PyChef expects as `chef.rsa.Key`."""

    def __init__(self, fp: bytes | str | BinaryIO) -> None:
        """From PEM text (bytes), a path or an open file.

        Raises:
            SSLError: it is not an unencrypted RSA private key in PEM form. The message never quotes the key.
        """
        if isinstance(fp, str):
            with open(fp, "rb") as file:  # noqa: PTH123 - PyChef's interface: a path is a string
                pem = file.read()
        else:
            pem = fp if isinstance(fp, bytes) else fp.read()
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            # Without its cause: the library may quote what it could not parse.
            raise SSLError("not an unencrypted private key in PEM form") from None
        if not isinstance(key, RSAPrivateKey):
            raise SSLError("a private key, but not an RSA key")
        self.key = key
        self.public = False

    def sign(self, text: str) -> bytes:
        """RSA PKCS1v15 over SHA-256."""
        return self.key.sign(text.encode(), PKCS1v15(), SHA256())


def signed_headers(
    key: Key, *, method: str, path: str, body: bytes, user_id: str, timestamp: datetime
) -> dict[str, str]:
    """The headers that authenticate one request.

    Args:
        path: of the whole URL, `/organizations/ORG` included, without the query string.
        timestamp: aware, in UTC; the server refuses one that is more than 15 minutes off.
    """
    headers = {
        "X-Ops-Content-Hash": base64.b64encode(hashlib.sha256(body).digest()).decode(),
        "X-Ops-Sign": "algorithm=sha256;version=1.3;",
        "X-Ops-Timestamp": timestamp.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "X-Ops-UserId": user_id,
        "X-Ops-Server-API-Version": SERVER_API_VERSION,
    }
    text = "\n".join(
        (
            f"Method:{method.upper()}",
            f"Path:{_canonical(path)}",
            f"X-Ops-Content-Hash:{headers['X-Ops-Content-Hash']}",
            "X-Ops-Sign:version=1.3",
            f"X-Ops-Timestamp:{headers['X-Ops-Timestamp']}",
            f"X-Ops-UserId:{user_id}",
            f"X-Ops-Server-API-Version:{SERVER_API_VERSION}",
        )
    )
    signature = base64.b64encode(key.sign(text)).decode()
    lines = [signature[start : start + _LINE_LENGTH] for start in range(0, len(signature), _LINE_LENGTH)]
    return headers | {f"X-Ops-Authorization-{number}": line for number, line in enumerate(lines, start=1)}


def key_material(pem: str) -> bytes | None:
    """The public key itself, whatever its PEM looks like (PKCS#1 or SPKI, line ends, headers); None if it is no key."""
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _canonical(path: str) -> str:
    collapsed = re.sub("/+", "/", path)
    return collapsed.rstrip("/") or "/"
