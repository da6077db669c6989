"""A fleet with nodes that have just been launched, an AWS that signs for them, and an Enrollment to register with."""

from collections import Counter
from collections.abc import Callable  # noqa: TC003 - as everywhere else here, not for types only
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from reconciler.adapters.journal import SqliteJournal
from reconciler.enroll.answers import Answer
from reconciler.enroll.identity import IdentityCertificates
from reconciler.enroll.refusals import Refusals
from reconciler.enroll.register import Enrollment
from reconciler.enroll.report import FirstRuns
from reconciler.errors import HivequeenError
from reconciler.model import tags
from reconciler.model.conditions import Event
from reconciler.model.facts import Fact, IntentLaunched, IntentOpened, NodeForgotten
from reconciler.model.memory import Intent, LaunchParameters, Memory, NodeRecord
from reconciler.model.names import (
    ChefName,
    EnvironmentName,
    FleetId,
    ImageId,
    InstanceId,
    IntentToken,
    RoleName,
)
from reconciler.ports import ChefServer
from reconciler.sandbox.authority import IdentityAuthority, identity_document, public_pem, sign
from reconciler.sandbox.ec2_account import Launched
from reconciler.settings import AwsSettings, BootstrapSettings, ChefSettings, Mode, RepositorySettings, Settings
from tests.fakes.chef import FakeChefServer
from tests.fakes.clock import BEGAN, FakeClock
from tests.fakes.cloud import FakeCloud

FLEET = FleetId("demo")
ENVIRONMENT = EnvironmentName("checkout")
ROLE = RoleName("web")
SERVER_URL = "https://chef.example.com/organizations/acme"
AWS = IdentityAuthority(BEGAN)  # its key takes a while to make, and every test may share it


def keys_of(authority: IdentityAuthority) -> IdentityCertificates:
    key = x509.load_pem_x509_certificate(authority.certificate_pem.encode()).public_key()
    assert isinstance(key, RSAPublicKey)
    return IdentityCertificates((key,))


def settings_for(folder: Path, *, server_url: str = SERVER_URL, mode: Mode = Mode.CONVERGE) -> Settings:
    return Settings(
        mode=mode,
        fleet=FLEET,
        repository=RepositorySettings(url="/srv/envs.git"),
        aws=AwsSettings(region="us-east-1"),
        chef=ChefSettings(server_url=server_url, client_name="hivequeen", client_key=folder / "chef.pem"),
        bootstrap=BootstrapSettings(url="https://10.0.0.5:9465", identity_certificates=folder / "aws-identity.pem"),
    )


@dataclass(frozen=True, kw_only=True)
class Form:
    """What a machine posts to register."""

    document: bytes
    signature: bytes
    public_key: bytes
    proof: bytes


class TroubledJournal(SqliteJournal):
    """The real one, whose next call of a method can be made to fail."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._troubles: dict[str, HivequeenError] = {}

    def fail_next(self, method: str, error: HivequeenError) -> None:
        self._troubles[method] = error

    def _suffer(self, method: str) -> None:
        if method in self._troubles:
            raise self._troubles.pop(method)

    def recall(self, now: datetime) -> Memory:
        self._suffer("recall")
        return super().recall(now)

    def record(self, at: datetime, *facts: Fact) -> None:
        self._suffer("record")
        super().record(at, *facts)

    def register(self, instance_id: InstanceId, public_key: str, at: datetime) -> str:
        self._suffer("register")
        return super().register(instance_id, public_key, at)

    def node(self, instance_id: InstanceId) -> NodeRecord | None:
        self._suffer("node")
        return super().node(instance_id)

    def intent(self, token: IntentToken) -> Intent | None:
        self._suffer("intent")
        return super().intent(token)

    def append(self, *events: Event) -> None:
        self._suffer("append")
        super().append(*events)


class World:
    """Everything real but EC2 and, unless told otherwise, the Chef Server.

    Attributes:
        why_not: what the daemon says when asked whether it may write.
        before_writing: called when it is asked: what others do meanwhile.
    """

    def __init__(
        self,
        folder: Path,
        *,
        chef: ChefServer | None = None,
        settings: Settings | None = None,
        clock: FakeClock | None = None,
    ) -> None:
        self.clock = clock or FakeClock()
        self.cloud = FakeCloud(clock=self.clock, fleet=FLEET)
        self.chef = FakeChefServer()
        self.journal = TroubledJournal(f"sqlite:///{folder / 'state.db'}")
        self.refused: Counter[str] = Counter()
        self.deferred: Counter[str] = Counter()
        self.woken: list[EnvironmentName] = []
        self.why_not: str | None = None
        self.before_writing: Callable[[], None] = lambda: None
        self.chef_environments: dict[EnvironmentName, ChefName] = {ENVIRONMENT: ChefName("checkout")}
        self.refusals = Refusals(self.journal, lambda reason: self.refused.update([reason]))
        self.enrollment = Enrollment(
            clock=self.clock,
            cloud=self.cloud,
            chef=chef or self.chef,
            journal=self.journal,
            settings=settings or settings_for(folder),
            certificates=keys_of(AWS),
            refusals=self.refusals,
            chef_environment=self.chef_environments.get,
            may_write=self._may_write,
            on_deferral=lambda reason: self.deferred.update([reason]),
            on_registered=self.woken.append,
            retry_after_s=1,
        )
        self.first_runs = FirstRuns(
            clock=self.clock,
            journal=self.journal,
            refusals=self.refusals,
            on_deferral=lambda reason: self.deferred.update([reason]),
            on_reported=self.woken.append,
            retry_after_s=1,
        )
        self._launches = 0

    def launch(self, *, tag_changes: dict[str, str] | None = None, user_data: str = "") -> InstanceId:
        """One node, launched as a pass does: intent first."""
        intent = self.open_intent(tag_changes=tag_changes, user_data=user_data)
        instance_ids = self.cloud.run_instances(intent.token, intent.parameters)
        self.journal.record(self.clock.now(), IntentLaunched(token=intent.token, instance_ids=tuple(instance_ids)))
        return instance_ids[0]

    def open_intent(self, *, tag_changes: dict[str, str] | None = None, user_data: str = "") -> Intent:
        self._launches += 1
        token = IntentToken(f"intent-{self._launches}")
        tagged = {tags.FLEET: FLEET, tags.ENVIRONMENT: ENVIRONMENT, tags.ROLE: ROLE, tags.INTENT: token}
        intent = Intent(
            token=token,
            environment=ENVIRONMENT,
            role=ROLE,
            parameters=LaunchParameters(
                image=ImageId("ami-0123456789abcdef0"),
                instance_type="m7i.large",
                subnet="subnet-a",
                count=1,
                security_groups=("sg-1",),
                instance_profile=None,
                key_name=None,
                root_volume_size_gib=None,
                root_volume_type=None,
                user_data=user_data,
                tags=tuple(sorted((tagged | (tag_changes or {})).items())),
            ),
            opened_at=self.clock.now(),
        )
        self.journal.record(self.clock.now(), IntentOpened(intent=intent))
        return intent

    def launched(self, instance_id: InstanceId) -> Launched:
        """As the machine's own metadata service knows it."""
        instance = next(one for one in self.cloud.everything() if one.instance_id == instance_id)
        return Launched(
            instance_id=instance_id,
            image_id=instance.image,
            instance_type=instance.instance_type,
            private_ip=instance.private_address or "",
            user_data=self.cloud.parameters_of(instance_id).user_data,
            account_id=self.cloud.account_id,
            region="us-east-1",
            launched_at=instance.launched_at,
        )

    def form(self, instance_id: InstanceId, key: RSAPrivateKey, **changes: str) -> Form:
        """What this machine would post; `changes` are what AWS would say otherwise of it."""
        said = replace(self.launched(instance_id), **changes)  # type: ignore[arg-type]  # only texts are changed in tests
        return form_of(said, key)

    def register(self, form: Form) -> Answer:
        return self.enrollment.register(
            document=form.document, signature=form.signature, public_key=form.public_key, proof=form.proof
        )

    def record(self, instance_id: InstanceId) -> NodeRecord:
        record = self.journal.node(instance_id)
        assert record is not None
        return record

    @property
    def events(self) -> list[Event]:
        return list(self.journal.events())

    @property
    def clients(self) -> dict[str, str]:
        """Of nodes, by name: their public keys."""
        return {name: key for name, key in self.chef.stored_clients.items() if name != "chef-validator"}

    def forget(self, instance_id: InstanceId) -> None:
        self.journal.record(self.clock.now(), NodeForgotten(instance_id=instance_id))

    def _may_write(self) -> str | None:
        self.before_writing()
        return self.why_not

    def close(self) -> None:
        self.journal.close()


def form_of(launched: Launched, key: RSAPrivateKey, *, authority: IdentityAuthority = AWS) -> Form:
    document = identity_document(launched)
    return Form(
        document=document,
        signature=authority.sign(document),
        public_key=public_pem(key).encode(),
        proof=sign(key, document),
    )
