"""One simulated daemon: the real program between the wires, on a journal that outlives it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

from reconciler.daemon.operations import Operations
from reconciler.daemon.teller import Teller
from reconciler.enroll.first_boot import FirstBoot
from reconciler.enroll.refusals import Refusals
from reconciler.enroll.register import Enrollment
from reconciler.enroll.report import FirstRuns
from reconciler.model.names import FleetId, IntentToken
from reconciler.model.policy import Policy
from reconciler.reconcile import Ports, Reconciler
from reconciler.report.metrics import Metrics
from reconciler.settings import (
    AwsSettings,
    BootstrapSettings,
    ChefSettings,
    Lifetimes,
    Limits,
    RepositorySettings,
    Settings,
    TeardownSettings,
)
from tests.enroll.world import AWS, keys_of
from tests.simulation.journal import SimulatedJournal
from tests.simulation.scene import Scene
from tests.simulation.specs import NODES_MOST, TYPES_ALLOWED
from tests.simulation.wire import Line, Wire

PASSWORD = "s3cret-of-git-planted"  # in the repository's address: a secret that everything here handles
CERTIFICATES = keys_of(AWS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What may differ between the settings of two worlds."""

    grace_s: float = 300
    quarantine_s: float = 0
    default_ttl_h: int = 0  # 0: none
    has_policy: bool = False
    removes_files: bool = False
    begins_with: int = 0  # environments that are there and ready when the first step is taken


def settings(terms: Terms) -> Settings:
    default_ttl_s = 3600 * terms.default_ttl_h or None
    bounds = Policy(nodes_per_environment=NODES_MOST, instance_types=TYPES_ALLOWED)
    return Settings(
        fleet=FleetId("demo"),
        repository=RepositorySettings(url=f"https://bot:{PASSWORD}@git.example.com/envs.git"),
        aws=AwsSettings(region="us-east-1"),
        chef=ChefSettings(
            server_url="https://chef.example.com/organizations/acme",
            client_name="hivequeen",
            client_key=Path("/etc/hivequeen/chef.pem"),
        ),
        bootstrap=BootstrapSettings(
            url="https://10.0.0.5:9465", identity_certificates=Path("/etc/hivequeen/aws-identity.pem")
        ),
        limits=Limits(orphan_age_s=600),
        teardown=TeardownSettings(grace_s=terms.grace_s),
        quarantine_s=terms.quarantine_s,
        lifetimes=Lifetimes(default_ttl_s=default_ttl_s, remove_files=terms.removes_files),
        policy=bounds if terms.has_policy else Policy(),
        concurrency=1,  # one thread: the same seed gives the same order of calls
    )


@cache
def user_data() -> str:
    made = settings(Terms())
    return FirstBoot.load(made.bootstrap, made.chef).render()


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The fakes that a daemon is wired to."""

    clock: Any
    cloud: Any
    chef: Any
    repository: Any


class Daemon:
    """One process. It dies with its line."""

    def __init__(
        self,
        *,
        world: World,
        journal: SimulatedJournal,
        scene: Scene,
        line: Line,
        settings: Settings,
        new_token: Callable[[], IntentToken],
        has_teller: bool,
    ) -> None:
        self.journal = journal
        self.scene = scene
        self.line = line
        cloud, chef = cast("Any", Wire(line, "cloud", world.cloud)), cast("Any", Wire(line, "chef", world.chef))
        wired, repository = (
            cast("Any", Wire(line, "journal", journal)),
            cast("Any", Wire(line, "repository", world.repository)),
        )
        self.reconciler = Reconciler(
            ports=Ports(clock=world.clock, repository=repository, cloud=cloud, chef=chef, journal=wired),
            settings=settings,
            first_boot=lambda _environment, _role: user_data(),
            user_data_limit_bytes=8192,
            new_token=new_token,
            jitter=lambda: 0.0,
        )
        refusals = Refusals(wired, lambda _: None)
        self.enrollment = Enrollment(
            clock=world.clock,
            cloud=cloud,
            chef=chef,
            journal=wired,
            settings=settings,
            certificates=CERTIFICATES,
            refusals=refusals,
            chef_environment=self.reconciler.chef_environment,
            may_write=self.reconciler.may_write,
        )
        self.first_runs = FirstRuns(clock=world.clock, journal=wired, refusals=refusals)
        # What a person does goes through the control socket: it meets no fault of ours.
        self.operations = Operations(
            settings=settings,
            clock=world.clock,
            journal=journal,
            chef=lambda: world.chef,
            account=world.cloud.account,
        )
        self.metrics = Metrics() if has_teller else None
        self.teller = Teller(journal=journal, metrics=self.metrics) if self.metrics is not None else None

    def close(self) -> None:
        self.reconciler.close()
