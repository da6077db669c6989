"""Logs of nodes are shown to people without control characters and without obvious secrets."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.enroll.masking import LOG_BYTES_MAX, MASK, mask, presentable

PEM_BODY = "MIIEowIBAAKCAQEAx\nSecretSecret\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("key AKIAIOSFODNN7EXAMPLE used", f"key {MASK} used"),
        ("password=hunter2 next", f"password={MASK} next"),
        ("DB_PASSWORD: 'two words' next", f"DB_PASSWORD: {MASK} next"),
        ('"api_key" => "abc"', f'"api_key" => {MASK}'),
        ("aws_secret_access_key = wJalr/XUtn", f"aws_secret_access_key = {MASK}"),
        ("Authorization: Bearer abc.def", f"Authorization: Bearer {MASK}"),
        ("mysql://app:pw@db/x", f"mysql://app:{MASK}@db/x"),
        (f"a\n-----BEGIN RSA PRIVATE KEY-----\n{PEM_BODY}-----END RSA PRIVATE KEY-----\nb", f"a\n{MASK}\nb"),
        (f"a\n-----BEGIN PRIVATE KEY-----\n{PEM_BODY}", f"a\n{MASK}"),
        (f"{PEM_BODY}-----END PRIVATE KEY-----\nb", f"{MASK}\nb"),
        ("the password policy is strict", "the password policy is strict"),
        ("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", None),
    ],
)
def test_obvious_secrets_are_masked_and_other_words_are_kept(text: str, shown: str | None) -> None:
    assert mask(text) == (text if shown is None else shown)


def test_colours_and_control_characters_are_removed() -> None:
    assert presentable(b"\x1b[31mred\x1b[0m\x07\r\n\x00tab\there\xe2\x80\xae\xff") == "red\ntab\there\ufffd"


def test_only_the_end_is_kept() -> None:
    assert presentable(b"a" * LOG_BYTES_MAX + b"end").endswith("aend")
    assert len(presentable(b"a" * LOG_BYTES_MAX * 2)) == LOG_BYTES_MAX


@given(st.binary(max_size=2000))
def test_any_bytes_become_text_that_a_terminal_only_shows(log: bytes) -> None:
    assert all(c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs") for c in presentable(log))


@given(st.text(max_size=300))
def test_masking_twice_masks_no_more(text: str) -> None:
    assert mask(mask(text)) == mask(text)


@given(st.text(max_size=50), st.from_regex(r"(AKIA|ASIA)[0-9A-Z]{16}", fullmatch=True), st.text(max_size=50))
def test_no_access_key_survives(before: str, key: str, after: str) -> None:
    assert key not in mask(f"{before} {key} {after}")
