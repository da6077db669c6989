"""A whole installation for stories: real git, the sandbox in this process, the daemon in one of its own."""

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self

import boto3
import yaml

from reconciler.sandbox import Sandbox
from tests.fakes.git_source import GitSource

PATIENCE_S: Final = 60


class Installation:
    def __init__(self, directory: Path, **sandbox: Any) -> None:
        self.directory = directory
        self.source = GitSource(directory / "git")
        self.sandbox = Sandbox(directory / "sandbox", repository=str(self.source.path), **sandbox)
        self._held = ExitStack()
        self._daemon: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._held.enter_context(self.sandbox)
        self.change_settings(intervals={"progress": "1s"})
        self._held.callback(self.stop)
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def change_settings(self, **changes: object) -> None:
        """Top-level keys of `hivequeen.yml`."""
        settings = yaml.safe_load(self.sandbox.settings.read_text())
        self.sandbox.settings.write_text(yaml.safe_dump(settings | changes))

    # --- the daemon's process ---

    def start(self) -> None:
        log = (self.directory / "daemon.log").open("a")
        self._daemon = subprocess.Popen(
            [sys.executable, "-m", "reconciler", "--config", str(self.sandbox.settings), "run"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **self.sandbox.environment},
        )
        log.close()

    def kill(self) -> None:
        """As the kernel does when memory is out."""
        assert self._daemon is not None
        self._daemon.kill()
        self._daemon.wait()
        self._daemon = None

    def stop(self, timeout_s: float = 15) -> int | None:
        """SIGTERM, and the exit code.

        Raises:
            subprocess.TimeoutExpired: it did not end in time.
        """
        if self._daemon is None:
            return None
        self._daemon.send_signal(signal.SIGTERM)
        code = self._daemon.wait(timeout=timeout_s)
        self._daemon = None
        return code

    def reload(self) -> None:
        assert self._daemon is not None
        self._daemon.send_signal(signal.SIGHUP)

    # --- asking ---

    def command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "reconciler", "--config", str(self.sandbox.settings), *arguments],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **self.sandbox.environment, "NO_COLOR": "1", "COLUMNS": "200"},
        )

    def ask(self, *arguments: str) -> Mapping[str, Any]:
        answer = self.command(*arguments, "--format", "json")
        document = json.loads(answer.stdout) if answer.stdout.startswith("{") else {}
        assert isinstance(document, dict)
        return document

    def condition(self, environment: str, kind: str) -> Mapping[str, Any]:
        """Empty while it is not known."""
        for one in self.ask("status").get("environments", ()):
            if one["name"] == environment:
                return next((c for c in one["conditions"] if c["type"] == kind), {})
        return {}

    def is_ready(self, *environments: str) -> bool:
        return all(self.condition(name, "Ready").get("status") is True for name in environments)

    # --- what is there ---

    def launched(self) -> Sequence[Mapping[str, Any]]:
        """Every instance that was ever made."""
        return self.sandbox.ec2.instances()

    def user_data(self, instance_id: str) -> str:
        """As RunInstances got it."""
        ec2 = boto3.client(
            "ec2",
            endpoint_url=self.sandbox.ec2_url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        answer = ec2.describe_instance_attribute(InstanceId=instance_id, Attribute="userData")
        return base64.b64decode(answer["UserData"]["Value"]).decode()

    def running(self) -> Mapping[str, int]:
        """By `environment/role`."""
        return Counter(
            f"{one['tags']['hivequeen:environment']}/{one['tags']['hivequeen:role']}"
            for one in self.launched()
            if one["state"] in ("pending", "running")
        )

    def until(self, is_so: Callable[[], bool], what: str) -> None:
        """Wait for it, bounded; the daemon's log goes with the failure."""
        deadline = time.monotonic() + PATIENCE_S
        pause = threading.Event()
        while not is_so():
            if time.monotonic() > deadline:
                log = (self.directory / "daemon.log").read_text()[-6000:]
                raise AssertionError(f"not in {PATIENCE_S} s: {what}\nrunning: {self.running()}\n{log}")
            pause.wait(0.1)
