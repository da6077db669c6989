"""A machine to boot: a temporary root, the real sh, curl and openssl, and a stand-in for what it would change for good."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
CLIENT = REPOSITORY / "tests" / "fakes" / "chef_client" / "client.py"
TIMEOUT_S = 60


@dataclass(frozen=True, kw_only=True)
class Boot:
    """How one run of the script ended."""

    status: int
    said: str


class Machine:
    """Files are below `root`; `sleep` returns at once and is noted; `systemctl` is only noted."""

    def __init__(self, folder: Path, *, product: str = "cinc", has_client: bool = True) -> None:
        self.root = folder / "root"
        self.bin = folder / "bin"
        self.product = product
        self._notes = folder / "notes"
        for path in (self.root / "etc" / "cron.d", self.bin, self._notes):
            path.mkdir(parents=True)
        self.add_command("sleep", f'echo "$1" >>{self._notes}/sleep')
        self.add_command("systemctl", f'echo "$*" >>{self._notes}/systemctl')
        if has_client:
            self.add_client()

    def add_command(self, name: str, script: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def add_client(self) -> None:
        self.add_command(
            f"{self.product}-client", f'PYTHONPATH={REPOSITORY} exec {sys.executable} -W error {CLIENT} "$@"'
        )

    def remove_command(self, name: str) -> None:
        (self.bin / name).unlink()

    def add_systemd(self) -> None:
        (self.root / "run" / "systemd" / "system").mkdir(parents=True)
        (self.root / "etc" / "systemd" / "system").mkdir(parents=True)

    def boot(self, script: str, *, imds: str, tries: int = 0, failing_recipe: str = "") -> Boot:
        """As cloud-init does: the user-data is a file that is executed."""
        user_data = self.root / "user-data"
        user_data.write_text(script, encoding="utf-8")
        done = subprocess.run(
            [shutil.which("dash") or "sh", str(user_data)],
            env={
                "PATH": f"{self.bin}:/usr/bin:/bin",
                "HIVEQUEEN_ROOT": str(self.root),
                "HIVEQUEEN_IMDS": imds,
                "HIVEQUEEN_TRIES_MAX": str(tries),
                "HIVEQUEEN_TEST_FAILING": failing_recipe,
                "no_proxy": "127.0.0.1",
            },
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT_S,
            check=False,
        )
        return Boot(status=done.returncode, said=done.stdout.decode(errors="replace"))

    @property
    def config(self) -> Path:
        return self.root / "etc" / self.product

    @property
    def waits(self) -> list[int]:
        """What it slept, in seconds."""
        return [int(line) for line in self._noted("sleep")]

    @property
    def systemctl(self) -> list[str]:
        return self._noted("systemctl")

    def state(self, instance_id: str) -> Path:
        return self.root / "var" / "lib" / "hivequeen" / instance_id

    def _noted(self, command: str) -> list[str]:
        path = self._notes / command
        return path.read_text().splitlines() if path.exists() else []


def has(*commands: str) -> bool:
    """Whether this machine of ours can run the tests at all."""
    return all(shutil.which(command, path=os.defpath) for command in commands)
