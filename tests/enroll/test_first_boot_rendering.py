"""User-data as text: valid for every sh, within EC2's limit, with nothing to be broken out of."""

import re
import shutil
import string
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.enroll.first_boot import (
    USER_DATA_BYTES_MAX,
    USER_DATA_LIMIT_UNKNOWN,
    FirstBoot,
    cron_schedule,
    user_data_limit,
)
from reconciler.errors import SettingsError, Stalled
from reconciler.sandbox.authority import certify_loopback
from reconciler.settings import BootstrapSettings, ChefSettings, Package
from tests.enroll.world import settings_for
from tests.fakes.clock import BEGAN

CA = certify_loopback(BEGAN).ca
FIRST_BOOT = FirstBoot(
    bootstrap=BootstrapSettings(
        url="https://10.0.0.5:9465",
        identity_certificates=Path("aws.pem"),
        package=Package(url="https://example.com/cinc.deb", sha256="0" * 64),
    ),
    chef=ChefSettings(server_url="https://chef", client_name="hivequeen", client_key=Path("chef.pem")),
    ca_certificate=CA,
    chef_ca_certificate=CA + CA,
)
# What YAML can hold: any text but NUL and lone surrogates.
DECLARED = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200)
SH = shutil.which("dash") or "sh"


def test_every_sh_can_parse_it() -> None:
    script = FIRST_BOOT.render("echo 'hello'")
    assert script.startswith("#!/bin/sh\n")
    subprocess.run([SH, "-n"], input=script.encode(), check=True)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_has_nothing_to_say() -> None:
    script = FIRST_BOOT.render("echo hello")
    done = subprocess.run(["shellcheck", "-s", "dash", "-"], input=script.encode(), stdout=subprocess.PIPE, check=False)
    assert done.stdout.decode() == ""


def test_it_leaves_most_of_user_data_to_people() -> None:
    assert FIRST_BOOT.user_data_limit >= USER_DATA_LIMIT_UNKNOWN


def written_by_sh(script: str) -> bytes:
    """The here-document of the declared user_data, executed by itself."""
    start = script.index('cat >"$WORK/user-data"')
    (end,) = re.findall(r"<<'(.+)'", script[start : script.index("\n", start)])
    document = script[start : script.index(f"\n{end}\n", start) + len(end) + 2]
    return subprocess.run(
        [SH], input=document.replace('>"$WORK/user-data"', "").encode(), stdout=subprocess.PIPE, check=True
    ).stdout


@pytest.mark.parametrize("letter", ["a", "E", "é"])
def test_a_line_that_begins_like_the_delimiter_loses_no_byte(letter: str) -> None:
    """dash 0.5.12 drops the byte beyond ASCII that follows what looks like the beginning of the delimiter."""
    declared = f"{letter}é\n{letter}_é\nx\n"
    assert written_by_sh(FIRST_BOOT.render(declared)) == declared.encode()


def test_a_text_that_no_delimiter_fits_is_refused_rather_than_harmed() -> None:
    declared = "\n".join(f"{letter}é" for letter in string.ascii_letters + string.digits)
    with pytest.raises(Stalled, match="unharmed"):
        FIRST_BOOT.render(declared)


@given(DECLARED)
@settings(deadline=None, max_examples=100)
def test_declared_user_data_arrives_as_it_was_declared_and_nothing_else_of_it_runs(declared: str) -> None:
    """The here-document by itself, run by sh, gives back its content."""
    script = FIRST_BOOT.render(declared)
    assert written_by_sh(script) == (declared if declared.endswith("\n") else declared + "\n").encode()


@given(url=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60))
@settings(deadline=None, max_examples=60)
def test_no_setting_can_be_broken_out_of(url: str) -> None:
    hostile = replace(
        FIRST_BOOT, bootstrap=replace(FIRST_BOOT.bootstrap, package=Package(url=url, sha256="$(false)`'\""))
    )
    line = next(line for line in hostile.render().splitlines() if line.startswith("PACKAGE_URL="))
    read = subprocess.run(
        [SH], input=f'{line}\nprintf %s "$PACKAGE_URL"'.encode(), stdout=subprocess.PIPE, check=True
    ).stdout.decode()
    assert read == url


def test_what_looks_like_a_placeholder_is_not_one() -> None:
    assert "\n@url@ @ca@\n" in FIRST_BOOT.render("@url@ @ca@")


@given(st.integers(0, 3))
def test_the_limit_is_exact(beyond: int) -> None:
    declared = "x" * (FIRST_BOOT.user_data_limit + beyond - 2) + "\n"
    size = len(FIRST_BOOT._fill(declared).encode())
    assert size == USER_DATA_BYTES_MAX + beyond - 2
    if beyond > 2:
        with pytest.raises(Stalled, match="EC2 takes 16384"):
            FIRST_BOOT.render(declared)
    else:
        FIRST_BOOT.render(declared)


def test_a_text_as_long_as_the_limit_fits() -> None:
    FIRST_BOOT.render("x" * FIRST_BOOT.user_data_limit)
    with pytest.raises(Stalled):
        FIRST_BOOT.render("x" * (FIRST_BOOT.user_data_limit + 1))


def test_it_holds_no_secret(tmp_path: Path) -> None:
    (tmp_path / "chef.pem").write_text("SECRET")
    script = FirstBoot.load(settings_for(tmp_path).bootstrap, settings_for(tmp_path).chef).render()
    assert "SECRET" not in script
    assert "chef.pem" not in script


def test_without_settings_the_limit_is_a_safe_guess(tmp_path: Path) -> None:
    assert user_data_limit(None) == USER_DATA_LIMIT_UNKNOWN
    assert user_data_limit(settings_for(tmp_path)) >= USER_DATA_LIMIT_UNKNOWN


@pytest.mark.parametrize(
    ("url", "insecure", "ok"),
    [
        ("https://10.0.0.5:9465", False, True),
        ("http://127.0.0.1:9465", False, True),
        ("http://[::1]:9465", False, True),
        ("http://localhost:9465", False, True),
        ("http://10.0.0.5:9465", False, False),
        ("http://10.0.0.5:9465", True, True),
        ("http://localhost.example.com", False, False),
        ("http://", False, False),
    ],
)
def test_plain_http_is_for_loopback_or_for_who_says_so(tmp_path: Path, url: str, *, insecure: bool, ok: bool) -> None:
    bootstrap = replace(settings_for(tmp_path).bootstrap, url=url, insecure=insecure)
    if ok:
        FirstBoot.load(bootstrap, settings_for(tmp_path).chef)
    else:
        with pytest.raises(SettingsError, match="plain HTTP"):
            FirstBoot.load(bootstrap, settings_for(tmp_path).chef)


def test_authorities_are_read_from_files_without_what_is_beside_them(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(f"Subject: me\n{CA}{CA}".replace("\n", "\r\n").encode())
    bootstrap = replace(settings_for(tmp_path).bootstrap, ca_certificate=path)
    chef = replace(settings_for(tmp_path).chef, ca_certificate=path)
    loaded = FirstBoot.load(bootstrap, chef)
    assert (loaded.ca_certificate, loaded.chef_ca_certificate) == (CA, CA)


@pytest.mark.parametrize("content", [None, "", "-----BEGIN CERTIFICATE-----"])
def test_an_authority_that_cannot_be_read_is_an_error_of_the_settings(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    bootstrap = replace(settings_for(tmp_path).bootstrap, ca_certificate=path)
    with pytest.raises(SettingsError, match=r"bootstrap\.ca_certificate"):
        FirstBoot.load(bootstrap, settings_for(tmp_path).chef)


@pytest.mark.parametrize(
    ("interval_s", "schedule"),
    [
        (10, "*/1 * * * *"),
        (1800, "*/30 * * * *"),
        (3600, "7 */1 * * *"),
        (4 * 3600, "7 */4 * * *"),
        (86400, "7 3 * * *"),
    ],
)
def test_cron_gets_the_nearest_schedule(interval_s: float, schedule: str) -> None:
    assert cron_schedule(interval_s) == schedule
