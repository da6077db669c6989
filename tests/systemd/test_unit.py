import shutil
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import pytest
import yaml

from reconciler.daemon.progress import STUCK_AFTER_S
from reconciler.daemon.service import STOP_S
from reconciler.settings import Mode, load

SYSTEMD = Path(__file__).parents[2] / "systemd"
UNIT = SYSTEMD / "hivequeen.service"
THRESHOLD = 15  # tenths: an exposure of 1.5

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A root with the unit and its executables where an installation has them, and systemd's own units."""
    root = tmp_path / "root"
    for program in ("usr/local/bin/hivequeen", "bin/kill"):
        path = root / program
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    shutil.copytree("/usr/lib/systemd/system", root / "usr/lib/systemd/system", symlinks=True)
    units = root / "etc/systemd/system"
    units.mkdir(parents=True)
    shutil.copy(UNIT, units)
    return root


def verify(root: Path) -> str:
    """All that systemd finds: its exit status stays 0 for keys that it does not know."""
    done = subprocess.run(
        ["systemd-analyze", "verify", f"--root={root}", UNIT.name],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr + ("" if done.returncode == 0 else f"exit status {done.returncode}")


@needs_systemd
def test_systemd_finds_nothing_wrong_with_the_unit(installed: Path) -> None:
    assert verify(installed) == ""


@needs_systemd
def test_systemd_would_find_a_key_that_it_does_not_know(installed: Path) -> None:
    unit = installed / "etc/systemd/system" / UNIT.name
    unit.write_text(unit.read_text().replace("\nUser=", "\nUsr="))
    assert "Usr" in verify(installed)


@needs_systemd
def test_the_unit_is_hardened() -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={THRESHOLD}", "--no-pager", str(UNIT)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout.splitlines()[-1:]


def test_the_control_socket_may_see_who_asks() -> None:
    assert "PrivateUsers" not in service_section()


def test_the_watchdog_and_healthz_call_the_loop_stuck_at_the_same_time() -> None:
    assert service_section()["WatchdogSec"] == f"{STUCK_AFTER_S / 60:g}min"


def test_systemd_waits_longer_than_the_daemon_does() -> None:
    assert float(service_section()["TimeoutStopSec"].removesuffix("s")) > STOP_S


def test_every_credential_that_the_sample_names_is_loaded() -> None:
    folder = "/run/credentials/hivequeen.service/"
    named = {
        text.removeprefix(folder)
        for text in strings(yaml.safe_load((SYSTEMD / "hivequeen.yml").read_text()))
        if text.startswith(folder)
    }
    loaded = {
        line.partition("=")[2].partition(":")[0]
        for line in UNIT.read_text().splitlines()
        if line.startswith("LoadCredential=")
    }
    assert named == loaded


def test_the_sample_settings_are_right_and_only_look() -> None:
    settings = load(SYSTEMD / "hivequeen.yml", check_files=False)
    assert settings.mode is Mode.OBSERVE


def test_the_sample_keeps_its_state_and_socket_where_the_unit_makes_room() -> None:
    settings = load(SYSTEMD / "hivequeen.yml", check_files=False)
    section = service_section()
    assert settings.state.startswith(f"sqlite:////var/lib/{section['StateDirectory']}/")
    assert settings.control.parent == Path("/run") / section["RuntimeDirectory"]


def service_section() -> dict[str, str]:
    parser = RawConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign] # as its documentation says
    parser.read(UNIT)
    return dict(parser["Service"])


def strings(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for inner in value.values() for text in strings(inner)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Type", "notify"),  # started means: it holds its state, and its listeners answer
        ("NotifyAccess", "main"),
        ("ExecReload", "/bin/kill -HUP $MAINPID"),
        ("Restart", "always"),
        ("User", "hivequeen"),
        ("StateDirectory", "hivequeen"),
        ("RuntimeDirectory", "hivequeen"),
        ("NoNewPrivileges", "yes"),
    ],
)
def test_the_unit_says(key: str, value: str) -> None:
    assert f"\n{key}={value}\n" in UNIT.read_text()


def test_the_program_stops_within_ten_seconds() -> None:
    assert STOP_S < 10
