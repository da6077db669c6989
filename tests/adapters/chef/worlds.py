"""The three Chef Servers that keep one contract: the fake, the sandbox's and goiardi, with what a test does beside the port."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from reconciler.adapters.chef import PyChefServer
from reconciler.adapters.chef.importing import NotFound
from reconciler.adapters.chef.signing import Key
from reconciler.adapters.chef.transport import SigningChefAPI
from reconciler.adapters.clock import SystemClock
from reconciler.model.names import FleetId
from reconciler.ports import ChefServer, Clock, RequestCounter
from reconciler.settings import ChefSettings
from tests.fakes.chef import FakeChefServer

FLEET = FleetId("demo")
KEPT_CLIENTS = {"admin", "hivequeen", "chef-validator", "chef-webui"}


class World(Protocol):
    @property
    def server(self) -> ChefServer: ...

    def save_node(self, name: str, *, chef_environment: str, run_list: Sequence[str], ohai_time: float | None) -> None:
        """What a node's own Chef run does."""


@dataclass(frozen=True, slots=True)
class FakeWorld:
    server: FakeChefServer

    def save_node(self, name: str, *, chef_environment: str, run_list: Sequence[str], ohai_time: float | None) -> None:
        self.server.save_node(name, chef_environment=chef_environment, run_list=run_list, ohai_time=ohai_time)


@dataclass(slots=True)
class HttpWorld:
    """A server behind HTTP, seen through the adapter; `api` is somebody else with every right."""

    server: PyChefServer
    api: SigningChefAPI
    requests: Counter[tuple[str, str]] = field(default_factory=Counter)  # (operation, result), of the adapter only

    def save_node(self, name: str, *, chef_environment: str, run_list: Sequence[str], ohai_time: float | None) -> None:
        automatic = {"ohai_time": ohai_time, "platform": "debian"} if ohai_time is not None else {}
        self.save(
            "nodes",
            {
                "name": name,
                "json_class": "Chef::Node",
                "chef_type": "node",
                "chef_environment": chef_environment,
                "run_list": list(run_list),
                "automatic": automatic,
                "normal": {"tags": ["kept"]},
                "default": {},
                "override": {},
            },
        )

    def save(self, kind: str, document: Mapping[str, Any]) -> None:
        try:
            self.api.api_request("PUT", f"/{kind}/{document['name']}", data=document)
        except NotFound:
            self.api.api_request("POST", f"/{kind}", data=document)

    def load(self, kind: str, name: str) -> dict[str, Any]:
        document = self.api.api_request("GET", f"/{kind}/{name}")
        assert isinstance(document, dict)
        return document

    def clean(self) -> None:
        """Back to an empty organisation."""
        for kind, kept in (
            ("nodes", set()),
            ("roles", set()),
            ("environments", {"_default"}),
            ("clients", KEPT_CLIENTS),
            ("data", set()),
        ):
            names = self.api.api_request("GET", f"/{kind}")
            assert isinstance(names, dict)
            for name in names:
                if name not in kept:
                    self.api.api_request("DELETE", f"/{kind}/{name}")

    def close(self) -> None:
        self.server.close()
        self.api.close()


def http_world(url: str, client: str, key: Path) -> HttpWorld:
    requests: Counter[tuple[str, str]] = Counter()

    def count(_service: str, operation: str, result: str) -> None:
        requests[operation, result] += 1

    return HttpWorld(
        server=adapter(url, client=client, key=key, count=count),
        api=SigningChefAPI(
            url,
            Key(str(key)),
            client,
            ca_certificate=None,
            clock=SystemClock(),
            count=ignore,
            timeouts_s=(3, 15),
        ),
        requests=requests,
    )


def ignore(_service: str, _operation: str, _result: str) -> None:
    """Count nothing."""


def adapter(
    url: str,
    *,
    client: str = "hivequeen",
    key: Path,
    clock: Clock | None = None,
    count: RequestCounter = ignore,
    timeouts_s: tuple[float, float] = (3, 15),
    ca_certificate: Path | None = None,
) -> PyChefServer:
    return PyChefServer(
        settings=ChefSettings(server_url=url, client_name=client, client_key=key, ca_certificate=ca_certificate),
        fleet=FLEET,
        clock=clock or SystemClock(),
        count=count,
        timeouts_s=timeouts_s,
    )


@dataclass(frozen=True, slots=True)
class Pair:
    """An RSA key pair, PEM."""

    private: str
    public: str
    public_pkcs1: str  # the same public key in the other form


def pair() -> Pair:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key()
    return Pair(
        private=key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode(),
        public=public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
        public_pkcs1=public.public_bytes(Encoding.PEM, PublicFormat.PKCS1).decode(),
    )
