"""The daemon as a process of its own, against the sandbox: what systemd and operators see of it."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from reconciler.adapters.journal import SqliteJournal
from reconciler.daemon.client import ask
from reconciler.daemon.requests import AskStatus, MakePass, Ping
from reconciler.model.event_kinds import EventKind
from reconciler.sandbox import Sandbox
from reconciler.settings import load
from tests.daemon.test_notify import site

pytestmark = pytest.mark.slow

ENVIRONMENT = """\
project: kickstarter
owner: ops@example.com
branch: main
defaults: {image: ami-0123456789abcdef0, instance_type: [m7i.large], subnets: [subnet-0a1b2c3d4e5f60001], security_groups: [sg-0a1b2c3d4e5f60001]}
roles: {web: {count: 1, run_list: ["recipe[kickstarter::web]"]}}
"""


class Listener:
    """systemd's end of NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[str] = []
        self._heard = threading.Condition()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def wait_for(self, line: str, *, times: int = 1, within_s: float = 30) -> None:
        with self._heard:
            assert self._heard.wait_for(lambda: self.lines.count(line) >= times, within_s), (line, self.lines)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._socket.close()

    def _listen(self) -> None:
        while datagram := self._socket.recv(4096):
            with self._heard:
                self.lines.extend(datagram.decode().splitlines())
                self._heard.notify_all()


class Running:
    """One daemon."""

    def __init__(self, box: Sandbox, folder: Path) -> None:
        self.box = box
        self.listener = Listener(folder / "notify")
        self.log = folder / "daemon.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "reconciler", "--config", str(box.settings), "run"],
                stderr=log,
                env={**os.environ, **box.environment, "NOTIFY_SOCKET": str(self.listener.path)},
            )
        self.settings = load(box.settings)

    def ask(self, request: Any) -> Any:
        return ask(self.settings.control, request)

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)  # as the unit promises

    def logged(self, text: str) -> bool:
        return text in self.log.read_text()

    def converge(self) -> None:
        """Make passes until one finds nothing to do."""
        deadline = time.monotonic() + 60
        while self.ask(MakePass())["verdict"] != 0:
            assert time.monotonic() < deadline, self.log.read_text()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "environments"
    (path / "environments.d").mkdir(parents=True)
    (path / "environments.d" / "checkout.yml").write_text(ENVIRONMENT)
    git = ["git", "-C", str(path), "-c", "user.name=Jessica", "-c", "user.email=jessica@example.com"]
    for arguments in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "Add checkout"]):
        subprocess.run([*git, *arguments], check=True, timeout=30)
    return path


@pytest.fixture
def box(tmp_path: Path, repository: Path) -> Iterator[Sandbox]:
    with Sandbox(tmp_path / "box", repository=str(repository), pending_s=0.1, boot_s=0.1, run_s=0.1) as running:
        yield running


@pytest.fixture
def daemon(box: Sandbox, tmp_path: Path) -> Iterator[Running]:
    running = Running(box, tmp_path)
    try:
        running.listener.wait_for("READY=1")
        yield running
    finally:
        running.process.kill()
        running.process.wait(10)
        running.listener.close()


def rewrite(box: Sandbox, change: Callable[[dict[str, Any]], object]) -> None:
    settings = yaml.safe_load(box.settings.read_text())
    change(settings)
    box.settings.write_text(yaml.safe_dump(settings))


def test_it_converges_shows_that_it_lives_and_stops_when_asked(daemon: Running) -> None:
    daemon.converge()
    daemon.listener.wait_for("WATCHDOG=1")
    (environment,) = daemon.ask(AskStatus())["environments"]
    assert environment["roles"] == [{"role": "web", "desired": 1, "ready": 1, "phases": {"ready": 1}}]
    operators = f"http://{daemon.settings.listen.operators}"
    assert requests.get(f"{operators}/healthz", timeout=10).status_code == 200
    assert requests.get(f"{operators}/readyz", timeout=10).status_code == 200
    metrics = requests.get(f"{operators}/metrics", timeout=10).text
    for line in (
        'hivequeen_nodes{environment="checkout",phase="ready",role="web"} 1.0',
        'hivequeen_registrations_total{result="accepted"} 1.0',
        "hivequeen_node_ready_duration_seconds_count 1.0",
        "hivequeen_commit_to_launch_seconds_count 1.0",
    ):
        assert line in metrics
    assert re.search(r"^hivequeen_git_last_success_timestamp_seconds 1\.\d+e\+09$", metrics, re.MULTILINE)
    assert daemon.end() == 0
    daemon.listener.wait_for("STOPPING=1")
    assert not daemon.settings.control.exists()


def test_a_reload_takes_new_settings_and_refuses_wrong_ones(daemon: Running, box: Sandbox) -> None:
    good = box.settings.read_text()
    rewrite(box, lambda settings: settings.update(fleet=7))
    daemon.process.send_signal(signal.SIGHUP)
    daemon.listener.wait_for("READY=1", times=2)
    assert daemon.logged("new settings refused")
    assert daemon.ask(Ping())["mode"] == "converge"
    box.settings.write_text(good)
    rewrite(box, lambda settings: settings.update(mode="observe"))
    daemon.process.send_signal(signal.SIGHUP)
    daemon.listener.wait_for("READY=1", times=3)
    daemon.listener.wait_for("RELOADING=1", times=2)
    assert daemon.ask(Ping())["mode"] == "observe"
    assert daemon.end() == 0


def test_a_reload_to_an_address_that_is_taken_goes_back(daemon: Running, box: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        rewrite(box, lambda settings: settings["listen"].update(operators=f"127.0.0.1:{port}"))
        daemon.process.send_signal(signal.SIGHUP)
        daemon.listener.wait_for("READY=1", times=2)
    assert daemon.logged("new settings refused")
    assert requests.get(f"http://{daemon.settings.listen.operators}/healthz", timeout=10).status_code == 200
    assert daemon.end() == 0


def test_a_second_one_is_refused_while_the_first_holds_the_state(daemon: Running, box: Sandbox) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "reconciler", "--config", str(box.settings), "run"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **box.environment},
    )
    assert second.returncode == 1
    assert f"in use by another hivequeen (pid {daemon.process.pid})" in second.stderr
    assert "Traceback" not in second.stderr
    assert daemon.ask(Ping())["fleet"] == "sandbox"


def test_it_stays_up_and_says_so_when_nobody_answers(box: Sandbox, tmp_path: Path) -> None:
    rewrite(box, lambda settings: settings["chef"].update(server_url="http://127.0.0.1:1"))
    daemon = Running(box, tmp_path)
    try:
        daemon.listener.wait_for("READY=1")
        daemon.ask(MakePass())
        ready = requests.get(f"http://{daemon.settings.listen.operators}/readyz", timeout=10)
        assert ready.status_code == 503
        assert "127.0.0.1:1" in ready.text
        assert daemon.process.poll() is None
        began = time.monotonic()
        assert daemon.end() == 0
        assert time.monotonic() - began < 10
    finally:
        daemon.process.kill()
        daemon.process.wait(10)
        daemon.listener.close()


def test_a_receiver_is_told_once_that_an_environment_is_ready(box: Sandbox, tmp_path: Path) -> None:
    url = tmp_path / "url"
    with site() as here:
        url.write_text(here.url)
        rewrite(box, lambda settings: settings.update(notify=[{"url_file": str(url), "on": ["ready"]}]))
        for _ in range(2):  # the second finds nothing that it had not been told
            daemon = Running(box, tmp_path)
            try:
                daemon.listener.wait_for("READY=1")
                daemon.converge()
                happened = wait_until_told(daemon, f"notify[0] {url}")
                assert daemon.end() == 0
            finally:
                daemon.process.kill()
                daemon.process.wait(10)
                daemon.listener.close()
                daemon.listener.path.unlink()
    got = [document for _, document in here.got.queue]
    assert {(document["kind"], document["environment"]) for document in got} == {("Ready", "checkout")}
    told = [document["id"] for document in got]
    assert len(set(told)) == len(told)
    assert set(told) >= set(happened)


def wait_until_told(daemon: Running, receiver: str) -> list[int]:
    """The ids of all that it asked for. A daemon that ends before it has noted an answer would tell once more."""
    deadline = time.monotonic() + 60
    journal = SqliteJournal.open_readonly(daemon.settings.state)
    assert journal is not None
    with journal:
        happened = [number for number, event in journal.after(0, limit=1000) if event.kind == EventKind.READY]
        while (journal.cursor(receiver) or 0) < happened[-1]:
            daemon.ask(Ping())
            assert time.monotonic() < deadline, daemon.log.read_text()
    return happened
