"""A whole world in memory around one Reconciler: git, EC2, Chef, and nodes that boot when they are told to.

Only the journal is real, for nothing is easier than SQLite. Time stands still until a test moves it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from reconciler.adapters.journal import SqliteJournal
from reconciler.model import tags
from reconciler.model.names import ChefName, EnvironmentName, FleetId, InstanceId, IntentToken, NodeName, node_run_list
from reconciler.model.observed import Instance, InstanceState
from reconciler.model.passes import Pass, Scope
from reconciler.ports import Claim
from reconciler.reconcile import Ports, Reconciler
from reconciler.settings import (
    AwsSettings,
    BootstrapSettings,
    ChefSettings,
    Limits,
    RepositorySettings,
    Settings,
    TeardownSettings,
)
from tests.fakes.chef import FakeChefServer
from tests.fakes.clock import FakeClock
from tests.fakes.cloud import FakeCloud
from tests.fakes.repository import FakeRepository

EVERYTHING = Scope(environments=None, because="test")
PUBLIC_KEY = (
    rsa.generate_private_key(public_exponent=65537, key_size=2048)
    .public_key()
    .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    .decode()
)

PRODUCTION = """\
project: kickstarter
owner: ops@example.com
branch: main
defaults:
  image: ami-0123456789abcdef0
  instance_type: [m7i.large, m6i.large]
  subnets: [subnet-0a1b2c3d4e5f60001, subnet-0a1b2c3d4e5f60002]
  security_groups: [sg-0a1b2c3d4e5f60001]
roles:
  web: {count: 4, run_list: ["recipe[kickstarter::web]"], attributes: {unicorn: {workers: 8}}}
  worker: {count: 2, run_list: ["recipe[kickstarter::worker]"]}
"""
CHECKOUT = """\
extends: production
owner: jessica@example.com
branch: checkout-redesign
roles: {web: {count: 1}, worker: {count: 1}}
"""


def settings_for(directory: Path) -> Settings:
    return Settings(
        fleet=FleetId("demo"),
        repository=RepositorySettings(url="/srv/envs.git"),
        aws=AwsSettings(region="us-east-1"),
        chef=ChefSettings(server_url="https://chef", client_name="hivequeen", client_key=directory / "chef.pem"),
        bootstrap=BootstrapSettings(url="https://10.0.0.5:9465", identity_certificates=directory / "identity.pem"),
        limits=Limits(orphan_age_s=600),
        teardown=TeardownSettings(grace_s=0),  # stories of the grace period bring one of their own
    )


@dataclass(slots=True)
class World:
    """`commit` changes git, `reconcile` makes a pass, `boot` lets every running instance enroll and run Chef once."""

    directory: Path
    settings: Settings
    clock: FakeClock = field(default_factory=FakeClock)
    repository: FakeRepository = field(default_factory=FakeRepository)
    chef: FakeChefServer = field(default_factory=FakeChefServer)
    reports: list[Pass] = field(default_factory=list)
    user_data: str = "#!/bin/sh\n"
    tokens: int = 0
    cloud: FakeCloud = field(init=False)
    open_journal: Callable[[str], SqliteJournal] = SqliteJournal
    journal: SqliteJournal = field(init=False)
    reconciler: Reconciler = field(init=False)

    def __post_init__(self) -> None:
        self.cloud = FakeCloud(clock=self.clock)
        self.restart()

    # --- the daemon's life ---

    def restart(self) -> None:
        """A new process on the same journal."""
        self.journal = self.open_journal(f"sqlite:///{self.directory / 'state.db'}")
        self.reconciler = Reconciler(
            ports=Ports(
                clock=self.clock, repository=self.repository, cloud=self.cloud, chef=self.chef, journal=self.journal
            ),
            settings=self.settings,
            first_boot=lambda _environment, _role: self.user_data,
            user_data_limit_bytes=8192,
            report=self.reports.append,
            new_token=self._token,
            jitter=lambda: 0.0,
        )

    def change_settings(self, **changes: object) -> None:
        self.settings = replace(self.settings, **changes)  # type: ignore[arg-type]  # tests name fields of Settings
        self.restart()

    def lose_journal(self) -> None:
        self.close()
        for file in self.directory.glob("state.db*"):
            file.unlink()
        self.restart()

    def close(self) -> None:
        self.reconciler.close()
        self.journal.close()

    def _token(self) -> IntentToken:
        self.tokens += 1
        return IntentToken(f"hq-{self.tokens:032x}")

    # --- what happens to it ---

    def commit(self, **files: str | None) -> None:
        """Change files by stem, `-` written `_`: `commit(checkout=CHECKOUT, staging=None)`."""
        changes = {f"{stem.replace('_', '-')}.yml": content for stem, content in files.items()}
        self.repository.edit(changes)

    def reconcile(self, *names: str) -> Pass:
        """One pass over these environments, or over everything."""
        if not names:
            return self.reconciler.reconcile(EVERYTHING)
        scope = Scope(environments=frozenset(EnvironmentName(name) for name in names), because="test")
        return self.reconciler.reconcile(scope)

    def notice_commit(self) -> Pass | None:
        """What the loop does when the repository changed."""
        scope = self.reconciler.changed_scope()
        return self.reconciler.reconcile(scope) if scope is not None else None

    def boot(self) -> None:
        """Every running instance of ours that has no Chef client yet registers and runs Chef with success."""
        for instance in self.cloud.alive():
            if instance.state == InstanceState.RUNNING and tags.FLEET in instance.tags:
                self.boot_one(instance)

    def boot_one(self, instance: Instance) -> None:
        record = self.journal.node(instance.instance_id)
        if record is None or record.registered_at is not None:
            return
        self.journal.register(record.instance_id, PUBLIC_KEY, self.clock.now())
        self.chef.create_client(record.name, PUBLIC_KEY)
        self.run_chef(record.name)

    def run_chef(self, name: NodeName) -> None:
        record = next(one for one in self.journal.recall(self.clock.now()).nodes.values() if one.name == name)
        self.chef.save_node(
            name,
            chef_environment=ChefName(record.environment),
            run_list=node_run_list(record.environment, record.role),
            ohai_time=self.clock.now().timestamp(),
        )

    def settle(self, *, seconds: float = 10, passes: int = 12) -> Pass:
        """Boot and reconcile, with time between, until a full pass leaves nothing to do."""
        for _ in range(passes):
            done = self.reconcile()
            if done.plan is not None and not done.failures and all(one.is_converged for one in done.plan.environments):
                return done
            self.clock.advance(seconds)
            self.boot()
        raise AssertionError(f"not settled after {passes} passes: {self.describe(done)}")

    def spend(self, *, passes: int, seconds: float) -> None:
        """Boot and reconcile, with time between, whatever is left to do."""
        for _ in range(passes):
            self.clock.advance(seconds)
            self.boot()
            self.reconcile()

    def forget_calls(self) -> None:
        self.cloud.calls.clear()
        self.chef.calls.clear()
        self.chef.reads = self.chef.writes = 0

    # --- what is there ---

    def alive(self, environment: str, role: str | None = None) -> list[Instance]:
        return [
            one
            for one in self.cloud.alive()
            if one.environment == environment and (role is None or one.role == role) and tags.FLEET in one.tags
        ]

    def counts(self) -> Mapping[str, int]:
        """Live instances by `environment/role`."""
        found: dict[str, int] = {}
        for one in self.cloud.alive():
            key = f"{one.environment}/{one.role}"
            found[key] = found.get(key, 0) + 1
        return dict(sorted(found.items()))

    def claim_elsewhere(self, **changes: str) -> None:
        """Somebody else holds the claim now."""
        standing = self.chef.claim()
        assert standing is not None
        self.chef.update_claim(replace(standing, **changes))  # type: ignore[arg-type]  # tests name fields of Claim

    @staticmethod
    def describe(done: Pass) -> str:
        lines = [f"failure {failure.stage}: {failure.message}" for failure in done.failures]
        for one in done.plan.environments if done.plan else ():
            lines += [f"{one.name}: {action.name} {action.reason}" for action in one.actions]
            lines += [f"{one.name}: blocked {blocked.guard} {blocked.message}" for blocked in one.blocked]
            lines += [f"{one.name}: waiting {waiting.message}" for waiting in one.waiting]
            lines += [f"{one.name}: stalled {stall.message}" for stall in one.stalls]
        return "\n".join(lines)


__all__ = ["CHECKOUT", "EVERYTHING", "PRODUCTION", "Claim", "InstanceId", "World", "settings_for"]
