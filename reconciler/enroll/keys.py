"""RSA keys and signatures of nodes. One way to write a key, so that equal keys are equal text."""

import binascii
from base64 import b64decode, b64encode

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

BITS_MIN = 2048  # what Chef's own tools make
BITS_MAX = 4096  # a larger one costs the verifier, and nobody asked for it
EXPONENT = 65537  # what openssl makes; an odd one is either weak or slow
PEM_BYTES_MAX = 2048


def read_public_key(pem: bytes) -> RSAPublicKey | None:
    """The key in this PEM, or None unless it is an RSA key of a sane size, written exactly as `openssl pkey -pubout` does."""
    if len(pem) > PEM_BYTES_MAX:
        return None
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        return None
    if not isinstance(key, RSAPublicKey) or not BITS_MIN <= key.key_size <= BITS_MAX:
        return None
    if key.public_numbers().e != EXPONENT or write_public_key(key).encode("ascii") != pem:
        return None
    return key


def write_public_key(key: RSAPublicKey) -> str:
    """As PEM, byte for byte as openssl writes it."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")


def is_signed_by(key: RSAPublicKey, content: bytes, signature: bytes) -> bool:
    """True if `openssl dgst -sha256 -sign` with the private half made this signature of this content."""
    try:
        key.verify(signature, content, PKCS1v15(), SHA256())
    except InvalidSignature:
        return False
    return True


def read_base64(text: bytes) -> bytes | None:
    """Base64 in lines, as IMDS and openssl write it; None if it is anything else, or has a second way to be written."""
    joined = text.replace(b"\n", b"")
    try:
        content = b64decode(joined, validate=True)
    except binascii.Error:
        return None
    return content if b64encode(content) == joined else None
