"""A real Chef Server for tests: goiardi, the Debian package, on loopback and in a temporary directory."""

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Goiardi:
    url: str  # without /organizations/…: it has only one
    admin: str
    admin_key: Path


def is_installed() -> bool:
    return shutil.which("goiardi") is not None


@contextmanager
def goiardi(directory: Path) -> Iterator[Goiardi]:
    """A fresh one; it forgets everything at the end."""
    port = _free_port()
    where = ["-I", "127.0.0.1", "-H", "127.0.0.1", "-P", str(port), f"--conf-root={directory}"]
    how = ["-A", "-g", "error", "-L", str(directory / "goiardi.log"), "--json-req-max-size=10000000"]
    with (directory / "out.log").open("wb") as log:
        process = subprocess.Popen(
            ["goiardi", *where, *how],
            stdout=log,
            stderr=log,
            env={"PATH": os.environ["PATH"], "HOME": str(directory)},
        )
    try:
        _await_listening(port, process, directory)
        yield Goiardi(url=f"http://127.0.0.1:{port}", admin="admin", admin_key=directory / "admin.pem")
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_listening(port: int, process: "subprocess.Popen[bytes]", directory: Path) -> None:
    pause = threading.Event()
    for _ in range(int(START_S / 0.05)):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0 and (directory / "admin.pem").exists():
                return
        if process.poll() is not None:
            break
        pause.wait(0.05)  # goiardi tells nobody when it is ready
    raise RuntimeError(f"goiardi did not start: {(directory / 'out.log').read_text()}")
