"""The EC2 instance identity document: believed only after AWS's signature over its very bytes was checked.

The format and the certificates: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/verify-rsa.html
"""

import json
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from reconciler.enroll.keys import is_signed_by, read_base64
from reconciler.errors import SettingsError
from reconciler.model.desired import Json
from reconciler.model.names import ImageId, InstanceId, is_instance_id

DOCUMENT_BYTES_MAX = 4096  # real ones have about 500
SIGNATURE_BYTES_MAX = 1024
FIELD_LENGTH_MAX = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityDocument:
    """What AWS says about the instance that asked for it."""

    account_id: str
    region: str
    instance_id: InstanceId
    image_id: ImageId
    private_ip: str
    pending_time: str  # of its last start, RFC 3339


class IdentityCertificates:
    """The region's RSA certificates, any of which may have signed a document."""

    def __init__(self, keys: tuple[RSAPublicKey, ...]) -> None:
        self._keys = keys

    @classmethod
    def load(cls, path: Path) -> "IdentityCertificates":
        """Of a PEM file with one certificate or more.

        Raises:
            SettingsError: it cannot be read, or holds no RSA certificate.
        """
        try:
            certificates = x509.load_pem_x509_certificates(path.read_bytes())
        except (OSError, ValueError) as error:
            raise SettingsError((f"bootstrap.identity_certificates: {path}: {error}",)) from error
        keys = tuple(key for c in certificates if isinstance(key := c.public_key(), RSAPublicKey))
        if not keys:
            raise SettingsError((f"bootstrap.identity_certificates: {path}: holds no RSA certificate",))
        return cls(keys)

    def are_behind(self, document: bytes, signature: bytes) -> bool:
        """True if one of them signed exactly these bytes; `signature` as IMDS serves it, base64."""
        if len(document) > DOCUMENT_BYTES_MAX or len(signature) > SIGNATURE_BYTES_MAX:
            return False
        decoded = read_base64(signature)
        return decoded is not None and any(is_signed_by(key, document, decoded) for key in self._keys)


def parse_document(document: bytes) -> IdentityDocument | None:
    """None if it is not one. To be called only on bytes whose signature was checked."""
    try:
        fields: Json = json.loads(document.decode("utf-8"), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    read = [_text(fields, key) for key in ("accountId", "region", "instanceId", "imageId", "privateIp", "pendingTime")]
    texts = [text for text in read if text is not None]
    if len(texts) != len(read) or not is_instance_id(texts[2]):
        return None
    account_id, region, instance_id, image_id, private_ip, pending_time = texts
    return IdentityDocument(
        account_id=account_id,
        region=region,
        instance_id=InstanceId(instance_id),
        image_id=ImageId(image_id),
        private_ip=private_ip,
        pending_time=pending_time,
    )


def _text(fields: dict[str, Json], key: str) -> str | None:
    value = fields.get(key)
    return value if isinstance(value, str) and 0 < len(value) <= FIELD_LENGTH_MAX else None


def _without_duplicates(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    """Two readers of a key given twice could read two documents."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("duplicate key")
    return fields
