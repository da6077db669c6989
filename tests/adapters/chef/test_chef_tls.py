"""A Chef Server behind TLS: trusted by its own authority's certificate only."""

import ipaddress
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from reconciler.errors import Denied, Transient
from reconciler.listener import Server, Tls
from reconciler.sandbox.chef import create_chef_app
from tests.adapters.chef.worlds import Pair, adapter


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """Signed by itself, for 127.0.0.1."""
    directory = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "chef")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    files = Tls(certificate=directory / "chef.crt", key=directory / "chef.key")
    files.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


@pytest.fixture(scope="module")
def port(tls: Tls, hivequeen_keys: Pair) -> Iterator[int]:
    app = create_chef_app(admin="hivequeen", admin_public_key=hivequeen_keys.public)
    with Server(app, name="chef-tls", host="127.0.0.1", port=0, tls=tls) as server:
        yield server.port


def test_the_authority_of_the_settings_is_trusted(port: int, tls: Tls, hivequeen_key: Path) -> None:
    server = adapter(f"https://127.0.0.1:{port}", key=hivequeen_key, ca_certificate=tls.certificate)
    assert "hivequeen" in server.clients()
    server.close()


def test_an_unknown_authority_is_denied_and_names_the_setting(port: int, hivequeen_key: Path) -> None:
    server = adapter(f"https://127.0.0.1:{port}", key=hivequeen_key)
    with pytest.raises(Denied, match="is not trusted") as caught:
        server.clients()
    assert "chef.ca_certificate" in caught.value.remedy
    server.close()


def test_another_host_name_is_denied(port: int, tls: Tls, hivequeen_key: Path) -> None:
    server = adapter(f"https://localhost:{port}", key=hivequeen_key, ca_certificate=tls.certificate)
    with pytest.raises(Denied, match="is not trusted"):
        server.clients()
    server.close()


def test_plain_http_where_tls_is_spoken_is_transient(port: int, hivequeen_key: Path) -> None:
    server = adapter(f"http://127.0.0.1:{port}", key=hivequeen_key)
    with pytest.raises(Transient):
        server.clients()
    server.close()


def test_tls_where_plain_http_is_spoken_is_transient(sandbox_url: str, hivequeen_key: Path) -> None:
    server = adapter(sandbox_url.replace("http://", "https://"), key=hivequeen_key)
    with pytest.raises(Transient, match="no TLS with"):
        server.clients()
    server.close()
