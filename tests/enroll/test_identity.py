"""The certificates that vouch for identity documents, and what counts as a document, a key and Base64."""

from base64 import b64encode, encodebytes
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from reconciler.enroll.identity import DOCUMENT_BYTES_MAX, IdentityCertificates, parse_document
from reconciler.enroll.keys import read_base64, read_public_key, write_public_key
from reconciler.errors import SettingsError
from reconciler.sandbox.authority import IdentityAuthority
from tests.enroll.world import AWS
from tests.fakes.clock import BEGAN


def self_signed(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    name = x509.Name([])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2027, 1, 1, tzinfo=UTC))
        .sign(key, SHA256())
    )
    return certificate.public_bytes(Encoding.PEM).decode()


def test_any_certificate_of_the_file_may_have_signed(tmp_path: Path) -> None:
    other = IdentityAuthority(BEGAN)
    path = tmp_path / "aws.pem"
    elliptic = self_signed(ec.generate_private_key(ec.SECP256R1()))
    path.write_text(f"# us-east-1\n{elliptic}{other.certificate_pem}{AWS.certificate_pem}")
    certificates = IdentityCertificates.load(path)
    assert certificates.are_behind(b"document", AWS.sign(b"document"))
    assert certificates.are_behind(b"document", other.sign(b"document"))
    assert not certificates.are_behind(b"document", IdentityAuthority(BEGAN).sign(b"document"))


def test_certificates_of_1024_bits_are_read_too(tmp_path: Path) -> None:
    """AWS's older regions have such."""
    path = tmp_path / "aws.pem"
    path.write_text(self_signed(rsa.generate_private_key(public_exponent=65537, key_size=1024)))
    assert not IdentityCertificates.load(path).are_behind(b"document", AWS.sign(b"document"))


@pytest.mark.parametrize("content", [None, "", "nothing"])
def test_a_file_without_certificates_is_an_error_of_the_settings(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "aws.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingsError, match=r"bootstrap\.identity_certificates"):
        IdentityCertificates.load(path)


def test_a_file_with_no_rsa_certificate_is_an_error_of_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "aws.pem"
    path.write_text(self_signed(ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(SettingsError, match="holds no RSA certificate"):
        IdentityCertificates.load(path)


def test_oversized_input_is_not_even_verified(tmp_path: Path) -> None:
    path = tmp_path / "aws.pem"
    path.write_text(AWS.certificate_pem)
    certificates = IdentityCertificates.load(path)
    large = b" " * (DOCUMENT_BYTES_MAX + 1)
    assert not certificates.are_behind(large, AWS.sign(large))
    assert not certificates.are_behind(b"document", AWS.sign(b"document") + b"\n" * 1024)


@given(st.binary(max_size=600))
def test_no_bytes_break_the_parser(content: bytes) -> None:
    parse_document(content)


@given(st.binary(max_size=100))
def test_base64_has_one_way_to_be_written_but_for_line_breaks(content: bytes) -> None:
    assert read_base64(encodebytes(content)) == content
    assert read_base64(b64encode(content)) == content
    assert read_base64(b64encode(content) + b" ") is None


@pytest.mark.parametrize("text", [b"QQ", b"QR==", b"Q!==", b"QQ===", b"\xff", b"QUJD\r\n"])
def test_base64_with_a_second_reading_is_none(text: bytes) -> None:
    assert read_base64(text) is None


def test_a_key_is_read_only_as_openssl_writes_it() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    pem = write_public_key(key).encode()
    assert read_public_key(pem) == key
    assert read_public_key(pem.rstrip(b"\n")) is None
    assert read_public_key(pem.replace(b"\n", b"\r\n")) is None
    assert read_public_key(pem + pem) is None
    assert read_public_key(key.public_bytes(Encoding.PEM, PublicFormat.PKCS1)) is None
    assert read_public_key(pem + b" " * 2048) is None


def test_keys_that_are_not_rsa_of_a_sane_size_are_none() -> None:
    elliptic = ec.generate_private_key(ec.SECP256R1()).public_key()
    assert read_public_key(elliptic.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)) is None
    for bits, exponent in ((1024, 65537), (2048, 3)):
        odd = rsa.generate_private_key(public_exponent=exponent, key_size=bits).public_key()
        assert read_public_key(write_public_key(odd).encode()) is None
    assert read_public_key(b"-----BEGIN PUBLIC KEY-----\nnone\n-----END PUBLIC KEY-----\n") is None
