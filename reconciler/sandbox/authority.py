"""The sandbox's two authorities: one signs identity documents as AWS does, one certifies the daemon's nodes listener."""

import json
from base64 import encodebytes
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:  # moto is slow to import, and those who only sign do without
    from reconciler.sandbox.ec2_account import Launched

LIFETIME = timedelta(days=3650)
SKEW = timedelta(days=1)  # a certificate is valid a little before it is made: clocks differ


def new_key() -> RSAPrivateKey:
    return generate_private_key(public_exponent=65537, key_size=2048)


def private_pem(key: RSAPrivateKey) -> str:
    """As Chef writes its keys."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode("ascii")


def public_pem(key: RSAPrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")


def sign(key: RSAPrivateKey, content: bytes) -> bytes:
    """As `openssl dgst -sha256 -sign`."""
    return key.sign(content, PKCS1v15(), SHA256())


class IdentityAuthority:
    """Stands for AWS's signature over identity documents."""

    def __init__(self, now: datetime) -> None:
        self._key = new_key()
        self.certificate_pem = _pem(_certificate("sandbox identity", self._key, now=now))

    def sign(self, document: bytes) -> bytes:
        """Base64 in lines, as IMDS serves it."""
        return encodebytes(sign(self._key, document)).rstrip(b"\n")


def identity_document(launched: "Launched") -> bytes:
    """As IMDS serves it: JSON over several lines."""
    fields = {
        "accountId": launched.account_id,
        "architecture": "x86_64",
        "availabilityZone": f"{launched.region}a",
        "billingProducts": None,
        "devpayProductCodes": None,
        "imageId": launched.image_id,
        "instanceId": launched.instance_id,
        "instanceType": launched.instance_type,
        "kernelId": None,
        "pendingTime": launched.launched_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "privateIp": launched.private_ip,
        "ramdiskId": None,
        "region": launched.region,
        "version": "2017-09-30",
    }
    return json.dumps(fields, indent=2).encode("ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerFiles:
    """PEM texts of a TLS listener on loopback."""

    ca: str
    certificate: str
    key: str


def certify_loopback(now: datetime) -> ListenerFiles:
    """A new authority, and a certificate by it for 127.0.0.1 and localhost."""
    ca_key, key = new_key(), new_key()
    ca = _certificate("sandbox nodes authority", ca_key, now=now)
    certificate = _certificate("localhost", key, now=now, issuer=ca, issuer_key=ca_key)
    return ListenerFiles(ca=_pem(ca), certificate=_pem(certificate), key=private_pem(key))


def _certificate(
    name: str,
    key: RSAPrivateKey,
    *,
    now: datetime,
    issuer: x509.Certificate | None = None,
    issuer_key: RSAPrivateKey | None = None,
) -> x509.Certificate:
    """Self-signed, an authority's; with an issuer, a server's on loopback."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = issuer_key or key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if issuer is not None:
        names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(signer, SHA256())


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode("ascii")
