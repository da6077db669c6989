"""Everything that a daemon needs around it, in this process, and the settings that point it there."""

import os
import socket
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

import yaml
from starlette.types import ASGIApp

from reconciler.listener import Server
from reconciler.sandbox.authority import IdentityAuthority, certify_loopback, new_key, private_pem, public_pem
from reconciler.sandbox.chef import create_chef_app
from reconciler.sandbox.ec2 import ACCOUNT, REGION, Ec2Endpoint, Timing, serve
from reconciler.sandbox.imds import Imds
from reconciler.sandbox.machines import Machines, Pace

CHEF_USER: Final = "hivequeen"
ORGANIZATION: Final = "sandbox"
# The endpoint looks only at what the signature is scoped to, so these are no secret.
CREDENTIALS: Final = {"AWS_ACCESS_KEY_ID": "sandbox", "AWS_SECRET_ACCESS_KEY": "sandbox"}


class Sandbox:
    """Runs between entering and leaving. Everything is on loopback, and forgotten afterwards but for the folder.

    Args:
        directory: gets keys, certificates and `hivequeen.yml`; the daemon's state and control socket go there too.
        repository: the spec repository that the daemon shall follow.
        pending_s: from launch to `running`.
        boot_s: from launch until a machine reads its user-data.
        run_s: that a Chef run takes.
        repeat_s: between later Chef runs; None: there are none.
        failing_recipes: a Chef run with one of these fails; `machines.failing_recipes` may be changed later.

    Attributes (while it runs):
        ec2: the endpoint, for faults and a look at all instances.
        machines: the simulated instances.
        ec2_url, chef_url, imds_url: where they answer.
        settings: the written `hivequeen.yml`.
    """

    ec2: Ec2Endpoint
    machines: Machines
    ec2_url: str
    chef_url: str
    imds_url: str

    def __init__(
        self,
        directory: Path,
        *,
        repository: str,
        branch: str = "main",
        path: str = "environments.d",
        fleet: str = "sandbox",
        pending_s: float = 1.0,
        boot_s: float = 2.0,
        run_s: float = 1.0,
        repeat_s: float | None = None,
        failing_recipes: Collection[str] = (),
    ) -> None:
        self.directory = directory.absolute()
        self.settings = self.directory / "hivequeen.yml"
        self._repository = {"url": repository, "branch": branch, "path": path}
        self._fleet = fleet
        self._timing = Timing(pending_s=pending_s)
        self._pace = Pace(boot_s=boot_s, run_s=run_s, repeat_s=repeat_s)
        self._failing_recipes = failing_recipes
        self._running = ExitStack()

    @property
    def environment(self) -> Mapping[str, str]:
        """What the daemon's process environment must hold besides: credentials that boto3 finds."""
        return {**CREDENTIALS, "AWS_DEFAULT_REGION": REGION, "AWS_EC2_METADATA_DISABLED": "true"}

    def __enter__(self) -> Self:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._running:
            self._start()
            self._running = self._running.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def _start(self) -> None:
        now = datetime.now(UTC)
        authority, listener, admin = IdentityAuthority(now), certify_loopback(now), new_key()
        imds = Imds(authority)
        start = self._running.enter_context
        self.imds_url = start(_on_loopback(imds.app, name="sandbox-imds")).url
        self.machines = start(
            Machines(imds=imds, imds_url=self.imds_url, pace=self._pace, failing_recipes=self._failing_recipes)
        )
        chef = create_chef_app(admin=CHEF_USER, admin_public_key=public_pem(admin))
        self.chef_url = f"{start(_on_loopback(chef, name='sandbox-chef')).url}/organizations/{ORGANIZATION}"
        self.ec2 = Ec2Endpoint(
            timing=self._timing, on_launch=self.machines.launch, on_terminate=self.machines.terminate
        )
        self.ec2_url = start(serve(self.ec2))
        self._write("chef.pem", private_pem(admin))
        self._write("aws-identity.pem", authority.certificate_pem)
        self._write("nodes-ca.pem", listener.ca)
        self._write("nodes.pem", listener.certificate)
        self._write("nodes-key.pem", listener.key)
        self._write("hivequeen.yml", yaml.safe_dump(self._settings(), sort_keys=False))

    def _settings(self) -> Mapping[str, object]:
        operators, nodes = _free_ports(2)
        folder = self.directory
        return {
            "fleet": self._fleet,
            "mode": "converge",
            "repository": self._repository,
            "aws": {"region": REGION, "endpoint_url": self.ec2_url, "account_id": ACCOUNT},
            "chef": {
                "server_url": self.chef_url,
                "client_name": CHEF_USER,
                "client_key": str(folder / "chef.pem"),
            },
            "bootstrap": {
                "url": f"https://127.0.0.1:{nodes}",
                "ca_certificate": str(folder / "nodes-ca.pem"),
                "identity_certificates": str(folder / "aws-identity.pem"),
                "product": "cinc",
            },
            "listen": {"operators": f"127.0.0.1:{operators}", "nodes": f"127.0.0.1:{nodes}"},
            "tls": {"certificate": str(folder / "nodes.pem"), "key": str(folder / "nodes-key.pem")},
            "control": str(folder / "control.sock"),
            "state": f"sqlite:///{folder / 'state.db'}",
            "intervals": {"progress": "1s"},  # here nodes boot within seconds
            "teardown": {"grace": "0s"},  # and whoever tries it out wants to see the end
        }

    def _write(self, name: str, content: str) -> None:
        """The owner's alone: some of them are keys."""
        path = self.directory / name
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(content)


def _on_loopback(app: ASGIApp, *, name: str) -> Server:
    return Server(app, name=name, host="127.0.0.1", port=0)


def _free_ports(count: int) -> list[int]:
    """Different ones; somebody could take them before the daemon does, but nobody is in a hurry to."""
    with ExitStack() as stack:
        return [int(stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]) for _ in range(count)]
