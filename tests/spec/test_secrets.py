"""Which values look like secrets, and which only speak of them."""

import pytest

from reconciler.spec.secrets import secret_kind
from tests.spec.revision import PRODUCTION, read

TOKEN = "q8Zr3vK1xW7nB5tL"  # made up


@pytest.mark.parametrize(
    ("keys", "text", "kind"),
    [
        (("id",), "AKIAIOSFODNN7EXAMPLE", "an AWS access key"),
        (("note",), "use ASIAIOSFODNN7EXAMPLE for now", "an AWS access key"),
        (("pem",), "-----BEGIN RSA PRIVATE KEY-----\nMII…", "a private key"),
        (("pem",), "-----BEGIN PRIVATE KEY-----", "a private key"),
        (("x",), "ghp_" + "a1" * 18, "a GitHub token"),
        (("db_password",), TOKEN, "a secret"),
        (("db", "password"), TOKEN, "a secret"),
        (("secrets", "stripe"), TOKEN, "a secret"),
        (("API-KEY",), TOKEN, "a secret"),
        (("secret_access_key",), "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "a secret"),
        (("token",), "0123456789abcdef0123456789abcdef", "a secret"),
        (("name",), TOKEN, ""),
        (("password",), "short", ""),
        (("password",), "changeme-changeme", ""),
        (("password_file",), "/etc/app/password", ""),
        (("password",), "/run/credentials/app/password", ""),
        (("token_url",), "https://login.example.com/oauth/token", ""),
        (("secret",), "arn:aws:secretsmanager:us-east-1:123456789012:secret:app", ""),
        (("secret",), "ask the ops team for this one", ""),
        (("certificate",), "-----BEGIN CERTIFICATE-----", ""),
        (("tokenizer",), TOKEN, ""),
    ],
)
def test_what_looks_like_a_secret(keys: tuple[str, ...], text: str, kind: str) -> None:
    assert secret_kind(keys, text) == kind


@pytest.mark.parametrize(
    "key", ["attributes: {password: %s}", "tags: {token: %s}", "user_data: 'export KEY=AKIAIOSFODNN7EXAMPLE # %s'"]
)
def test_a_finding_about_a_secret_does_not_repeat_it(key: str) -> None:
    desired = read({"a.yml": PRODUCTION + f"    {key % TOKEN}\n"})
    assert len(desired.findings) == 1
    assert "looks like" in str(desired.findings[0])
    assert TOKEN not in str(desired.findings[0])
    assert "AKIA" not in str(desired.findings[0])
