"""The story of a registration: the only write to Chef outside a pass."""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import assert_never

from reconciler.enroll import answers
from reconciler.enroll.answers import Answer
from reconciler.enroll.identity import IdentityCertificates, IdentityDocument, parse_document
from reconciler.enroll.keys import is_signed_by, read_public_key, write_public_key
from reconciler.enroll.refusals import Refusals
from reconciler.enroll.verdicts import Accepted, Delay, NotYet, Refusal, Rejected, Verdict
from reconciler.enroll.verify import Home, Patience, verify
from reconciler.errors import Conflict, HivequeenError
from reconciler.model.conditions import Event
from reconciler.model.event_kinds import EventKind
from reconciler.model.facts import RegistrationDeferred
from reconciler.model.memory import NodeRecord
from reconciler.model.names import ChefName, EnvironmentName, InstanceId, node_run_list
from reconciler.ports import ChefServer, Clock, Cloud, Journal
from reconciler.settings import Mode, Settings

log = logging.getLogger(__name__)

RETRY_AFTER_S = 15


class Enrollment:
    """Turns machines that can prove to be ours into Chef clients.

    Args:
        chef_environment: the Chef environment that an environment's nodes belong to; None while that is not known yet.
        may_write: None, or why the daemon must not write now (`NotOwner`, still starting…).
        on_deferral: called with the value of a `Delay` at each 503.
        on_registered: a node has its client now: its environment is worth a pass.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        cloud: Cloud,
        chef: ChefServer,
        journal: Journal,
        settings: Settings,
        certificates: IdentityCertificates,
        refusals: Refusals,
        chef_environment: Callable[[EnvironmentName], ChefName | None],
        may_write: Callable[[], str | None] = lambda: None,
        on_deferral: Callable[[str], None] = lambda _: None,
        on_registered: Callable[[EnvironmentName], None] = lambda _: None,
        retry_after_s: int = RETRY_AFTER_S,
    ) -> None:
        self._clock = clock
        self._cloud = cloud
        self._chef = chef
        self._journal = journal
        self._settings = settings
        self._certificates = certificates
        self._refusals = refusals
        self._chef_environment = chef_environment
        self._may_write = may_write
        self._on_deferral = on_deferral
        self._on_registered = on_registered
        self._retry_after_s = retry_after_s

    def register(self, *, document: bytes, signature: bytes, public_key: bytes, proof: bytes) -> Answer:
        """Answer one request, whoever sent it.

        Args:
            document: the instance identity document, byte for byte as IMDS serves it.
            signature: AWS's of it, base64, as IMDS `/signature` serves it.
            public_key: PEM, as `openssl pkey -pubout` writes it.
            proof: the signature of `document` by that key, binary, as `openssl dgst -sha256 -sign` writes it.
        """
        now = self._clock.now()
        if not self._certificates.are_behind(document, signature):
            return self._refuse(Refusal.SIGNATURE, "the identity document is not signed by AWS", now)
        identity = parse_document(document)
        if identity is None:
            return self._refuse(Refusal.MALFORMED, "the identity document lacks what is needed", now)
        key = read_public_key(public_key)
        if key is None:
            return self._refuse(Refusal.KEY, "no RSA public key of 2048 to 4096 bits", now, identity.instance_id)
        if not is_signed_by(key, document, proof):
            return self._refuse(Refusal.PROOF, "the sender does not hold the key", now, identity.instance_id)
        return self._judge(identity, write_public_key(key), now)

    def _judge(self, identity: IdentityDocument, public_key: str, now: datetime) -> Answer:
        try:
            record = self._journal.node(identity.instance_id)
        except HivequeenError as error:
            return self._defer(Delay.JOURNAL_UNAVAILABLE, error.message, now, None)
        match self._verdict(identity, public_key, record, now):
            case Rejected(reason=reason, message=message):
                return self._refuse(reason, message, now, identity.instance_id, record)
            case NotYet(reason=reason, message=message):
                return self._defer(reason, message, now, record)
            case Accepted(record=record):
                return self._admit(record, public_key, now)
            case _ as unreachable:
                assert_never(unreachable)

    def _verdict(
        self, identity: IdentityDocument, public_key: str, record: NodeRecord | None, now: datetime
    ) -> Verdict:
        try:
            account = self._cloud.account()
            instance = self._cloud.get_instances([identity.instance_id]).get(identity.instance_id)
        except HivequeenError as error:
            return NotYet(reason=Delay.CLOUD_UNAVAILABLE, message=error.message)
        try:
            intent = self._journal.intent(instance.intent) if instance and instance.intent else None
            memory = self._journal.recall(now)
        except HivequeenError as error:
            return NotYet(reason=Delay.JOURNAL_UNAVAILABLE, message=error.message)
        verdict = verify(
            identity,
            public_key=public_key,
            home=Home(fleet=self._settings.fleet, account=account, region=self._settings.aws.region),
            record=record,
            intent=intent,
            instance=instance,
            patience=Patience(
                bootstrap_s=self._settings.deadlines.bootstrap_s,
                sighted_again_at=memory.sighted_again_at,
                blindnesses=memory.blindnesses,
            ),
            now=now,
        )
        if isinstance(verdict, Accepted):
            for suspension in memory.suspensions:
                if suspension.environment in (None, verdict.record.environment):
                    return NotYet(reason=Delay.SUSPENDED, message=suspension.reason)
        return verdict

    def _admit(self, record: NodeRecord, public_key: str, now: datetime) -> Answer:
        """A node of ours, in time, that holds its key: the first such key becomes its Chef client."""
        why_not = "mode is observe" if self._settings.mode is Mode.OBSERVE else self._may_write()
        if why_not is not None:
            return self._defer(Delay.READ_ONLY, why_not, now, record)
        chef_environment = self._chef_environment(record.environment)
        if chef_environment is None:
            return self._defer(Delay.READ_ONLY, "its Chef environment is not known yet", now, record)
        answer = answers.registered(
            name=record.name,
            server_url=self._settings.chef.server_url,
            chef_environment=chef_environment,
            run_list=node_run_list(record.environment, record.role),
        )
        obstacle = self._bind(record, public_key, now) or self._create_client(record, public_key, now)
        if obstacle is not None:
            return obstacle
        self._welcome(record, now)
        return answer

    def _bind(self, record: NodeRecord, public_key: str, now: datetime) -> Answer | None:
        try:
            bound = self._journal.register(record.instance_id, public_key, now)
        except KeyError:
            return self._defer(Delay.NOT_RECORDED, "it was forgotten meanwhile", now, None)
        except HivequeenError as error:
            return self._defer(Delay.JOURNAL_UNAVAILABLE, error.message, now, record)
        if bound != public_key:  # two raced, and the other won
            return self._refuse(
                Refusal.IDENTITY_REUSED, "another key was registered first", now, record.instance_id, record
            )
        return None

    def _create_client(self, record: NodeRecord, public_key: str, now: datetime) -> Answer | None:
        try:
            self._chef.create_client(record.name, public_key)
        except Conflict as error:
            return self._refuse(Refusal.CLIENT_EXISTS, error.message, now, record.instance_id, record)
        except HivequeenError as error:  # whatever it is, it is not the node's fault
            return self._defer(Delay.CHEF_UNAVAILABLE, error.message, now, record)
        return None

    def _welcome(self, record: NodeRecord, now: datetime) -> None:
        log.info("node registered", extra={"environment": record.environment, "node": record.name})
        if record.public_key is None:
            event = Event(
                at=now,
                kind=EventKind.NODE_REGISTERED.value,
                message=f"{record.name} has its Chef client",
                environment=record.environment,
                node=record.name,
            )
            try:
                self._journal.append(event)
            except HivequeenError as error:  # the client exists: the node must hear of it
                log.warning("event lost", extra={"kind": event.kind, "detail": error.message})
        self._on_registered(record.environment)

    def _refuse(
        self,
        reason: Refusal,
        message: str,
        now: datetime,
        instance_id: InstanceId | None = None,
        record: NodeRecord | None = None,
    ) -> Answer:
        self._refusals.note(reason, message, at=now, instance_id=instance_id, record=record)
        return answers.refused(reason)

    def _defer(self, reason: Delay, message: str, now: datetime, record: NodeRecord | None) -> Answer:
        """503, and the node's deadline counts from now: it waits for us."""
        self._on_deferral(reason)
        log.info(
            "registration deferred",
            extra={"reason": str(reason), "detail": message, "node": record.name if record else ""},
        )
        if record is not None:
            try:
                self._journal.record(now, RegistrationDeferred(instance_id=record.instance_id))
            except HivequeenError as error:
                log.warning("deferral not recorded", extra={"node": record.name, "detail": error.message})
        return answers.deferred(reason, self._retry_after_s)
