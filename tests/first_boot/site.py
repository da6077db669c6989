"""All that a booting machine talks to, over real HTTP and TLS: its metadata service, the daemon's listener, Chef."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from reconciler.adapters.chef import PyChefServer
from reconciler.adapters.clock import SystemClock
from reconciler.enroll.first_boot import FirstBoot
from reconciler.listener import Server, Tls
from reconciler.model.names import ChefName, InstanceId
from reconciler.model.observed import ChefEnvironment, ChefRole
from reconciler.sandbox.authority import ListenerFiles, new_key, private_pem, public_pem
from reconciler.sandbox.chef import create_chef_app
from reconciler.sandbox.imds import Imds
from reconciler.settings import BootstrapSettings, ChefSettings, Package
from reconciler.web.nodes import create_nodes_app
from tests.enroll.world import AWS, FLEET, World, settings_for
from tests.fakes.clock import FakeClock


@dataclass(kw_only=True)
class Site:
    world: World
    chef: PyChefServer
    chef_url: str
    nodes_url: str
    imds_url: str
    ca: str
    imds: Imds
    folder: Path
    package: Package | None = None
    product: str = "cinc"
    interval_s: float = 1800
    clients_before: frozenset[str] = field(default_factory=frozenset)

    def user_data(self, declared: str | None = None, *, ca: str | None = None, url: str | None = None) -> str:
        """As the daemon renders it for this site."""
        return FirstBoot(
            bootstrap=BootstrapSettings(
                url=url or self.nodes_url,
                identity_certificates=self.folder / "aws-identity.pem",
                product=self.product,
                package=self.package,
            ),
            chef=ChefSettings(
                server_url=self.chef_url,
                client_name="hivequeen",
                client_key=self.folder / "chef.pem",
                interval_s=self.interval_s,
            ),
            ca_certificate=ca or self.ca,
            chef_ca_certificate=ca or self.ca,
        ).render(declared)

    def launch(self, *, tag_changes: dict[str, str] | None = None) -> InstanceId:
        """A node of ours, with its metadata service."""
        instance_id = self.world.launch(tag_changes=tag_changes)
        self.imds.add(self.world.launched(instance_id))
        return instance_id

    def imds_of(self, instance_id: InstanceId) -> str:
        return f"{self.imds_url}/instances/{instance_id}"

    @property
    def node_clients(self) -> frozenset[str]:
        """Chef clients that were made since the site was built."""
        return self.chef.clients() - self.clients_before


@contextmanager
def site(folder: Path, listener: ListenerFiles) -> Iterator[Site]:
    (folder / "nodes.pem").write_text(listener.certificate)
    (folder / "nodes-key.pem").write_text(listener.key)
    admin = new_key()
    (folder / "chef.pem").write_text(private_pem(admin))
    imds = Imds(AWS)
    chef_app = create_chef_app(admin="hivequeen", admin_public_key=public_pem(admin))
    with (
        Server(chef_app, name="chef", host="127.0.0.1", port=0) as chef_server,
        Server(imds.app, name="imds", host="127.0.0.1", port=0) as imds_server,
    ):
        chef_url = f"{chef_server.url}/organizations/acme"
        chef = PyChefServer(
            settings=ChefSettings(server_url=chef_url, client_name="hivequeen", client_key=folder / "chef.pem"),
            fleet=FLEET,
            clock=SystemClock(),
            count=lambda *_: None,
        )
        chef.put_environment(ChefEnvironment(name=ChefName("checkout"), default_attributes={}))
        chef.put_role(
            ChefRole(name=ChefName("checkout-web"), run_list=("recipe[kickstarter::web]",), default_attributes={})
        )
        world = World(
            folder,
            chef=chef,
            settings=settings_for(folder, server_url=chef_url),
            clock=FakeClock(datetime.now(UTC)),
        )
        nodes_app = create_nodes_app(world.enrollment, world.first_runs)
        tls = Tls(certificate=folder / "nodes.pem", key=folder / "nodes-key.pem")
        with Server(nodes_app, name="nodes", host="127.0.0.1", port=0, tls=tls) as nodes_server:
            yield Site(
                world=world,
                chef=chef,
                chef_url=chef_url,
                nodes_url=nodes_server.url,
                imds_url=imds_server.url,
                ca=listener.ca,
                imds=imds,
                folder=folder,
                clients_before=chef.clients(),
            )
        world.close()
        chef.close()
