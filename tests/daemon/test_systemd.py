import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.daemon.systemd import Notify


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "notify") if request.param == "path" else f"@hivequeen-test-{os.getpid()}"


@pytest.fixture
def listener(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + address[1:] if address.startswith("@") else address)
        listening.settimeout(5)
        yield listening


def test_what_systemd_is_told(address: str, listener: socket.socket) -> None:
    notify = Notify(address, monotonic_ns=lambda: 5_000_000)
    notify.ready("fleet demo")
    notify.status("12 nodes\nready")
    notify.watchdog()
    notify.reloading()
    notify.stopping()
    assert [listener.recv(1000).decode() for _ in range(5)] == [
        "READY=1\nSTATUS=fleet demo",
        "STATUS=12 nodes ready",
        "WATCHDOG=1",
        "RELOADING=1\nMONOTONIC_USEC=5000",
        "STOPPING=1",
    ]


def test_nobody_listening_is_no_trouble(tmp_path: Path) -> None:
    Notify(None).ready()
    Notify(str(tmp_path / "missing")).watchdog()
