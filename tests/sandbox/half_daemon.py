"""As much of the daemon as a booting machine meets: its adapters, its journal and its nodes listener, all real."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import botocore.session

from reconciler.adapters.chef import PyChefServer
from reconciler.adapters.clock import SystemClock
from reconciler.adapters.ec2 import Ec2
from reconciler.adapters.journal import SqliteJournal
from reconciler.enroll.first_boot import FirstBoot
from reconciler.enroll.identity import IdentityCertificates
from reconciler.enroll.refusals import Refusals
from reconciler.enroll.register import Enrollment
from reconciler.enroll.report import FirstRuns
from reconciler.listener import Server, Tls
from reconciler.model import tags
from reconciler.model.facts import IntentLaunched, IntentOpened
from reconciler.model.memory import Intent, LaunchParameters
from reconciler.model.names import ChefName, EnvironmentName, ImageId, InstanceId, IntentToken, RoleName
from reconciler.model.observed import ChefEnvironment, ChefRole
from reconciler.sandbox import Sandbox
from reconciler.sandbox.ec2_account import IMAGES, SECURITY_GROUP, SUBNETS
from reconciler.settings import Settings, load
from reconciler.web.nodes import create_nodes_app

ENVIRONMENT = EnvironmentName("checkout")
ROLE = RoleName("web")


@dataclass(kw_only=True)
class HalfDaemon:
    settings: Settings
    cloud: Ec2
    chef: PyChefServer
    journal: SqliteJournal
    refused: Counter[str]
    clock: SystemClock
    why_not: list[str]  # it must not write while this is not empty

    def launch(self, count: int = 1, *, user_data: str | None = None, fleet: str | None = None) -> list[InstanceId]:
        """Like nodes, as a pass does it: intent first."""
        token = IntentToken(f"intent-{os.urandom(8).hex()}")
        tagged = {tags.FLEET: fleet or self.settings.fleet, tags.ENVIRONMENT: ENVIRONMENT, tags.ROLE: ROLE}
        script = FirstBoot.load(self.settings.bootstrap, self.settings.chef).render()
        parameters = LaunchParameters(
            image=ImageId(IMAGES[0]),
            instance_type="m7i.large",
            subnet=next(iter(SUBNETS)),
            count=count,
            security_groups=(SECURITY_GROUP,),
            instance_profile=None,
            key_name=None,
            root_volume_size_gib=None,
            root_volume_type=None,
            user_data=script if user_data is None else user_data,
            tags=tuple(sorted((tagged | {tags.INTENT: token}).items())),
        )
        intent = Intent(
            token=token, environment=ENVIRONMENT, role=ROLE, parameters=parameters, opened_at=self.clock.now()
        )
        self.journal.record(self.clock.now(), IntentOpened(intent=intent))
        instance_ids = tuple(self.cloud.run_instances(token, parameters))
        self.journal.record(self.clock.now(), IntentLaunched(token=token, instance_ids=instance_ids))
        return list(instance_ids)


@contextmanager
def half_daemon(sandbox: Sandbox) -> Iterator[HalfDaemon]:
    """Runs by the `hivequeen.yml` that the sandbox wrote."""
    settings = load(sandbox.settings)
    clock = SystemClock()
    refused: Counter[str] = Counter()
    why_not: list[str] = []
    chef = PyChefServer(settings=settings.chef, fleet=settings.fleet, clock=clock, count=lambda *_: None)
    chef.put_environment(ChefEnvironment(name=ChefName("checkout"), default_attributes={}))
    chef.put_role(ChefRole(name=ChefName("checkout-web"), run_list=("recipe[app::web]",), default_attributes={}))
    cloud = Ec2(settings.aws, settings.fleet, lambda *_: None, sessions=lambda: _session(sandbox.environment))
    with SqliteJournal(settings.state) as journal:
        refusals = Refusals(journal, lambda reason: refused.update([reason]))
        enrollment = Enrollment(
            clock=clock,
            cloud=cloud,
            chef=chef,
            journal=journal,
            settings=settings,
            certificates=IdentityCertificates.load(settings.bootstrap.identity_certificates),
            refusals=refusals,
            chef_environment=ChefName,
            may_write=lambda: why_not[0] if why_not else None,
            retry_after_s=0,
        )
        first_runs = FirstRuns(clock=clock, journal=journal, refusals=refusals)
        tls = settings.tls
        assert tls is not None
        host, _, port = settings.listen.nodes.rpartition(":")
        with Server(
            create_nodes_app(enrollment, first_runs),
            name="nodes",
            host=host,
            port=int(port),
            tls=Tls(certificate=tls.certificate, key=tls.key),
        ):
            yield HalfDaemon(
                settings=settings,
                cloud=cloud,
                chef=chef,
                journal=journal,
                refused=refused,
                clock=clock,
                why_not=why_not,
            )
    chef.close()


def _session(credentials: Mapping[str, str]) -> botocore.session.Session:
    session = botocore.session.Session()
    session.set_credentials(credentials["AWS_ACCESS_KEY_ID"], credentials["AWS_SECRET_ACCESS_KEY"])
    return session
