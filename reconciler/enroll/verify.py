"""Whether a machine is a node of ours: pure, so that every way to say yes can be tested."""

from dataclasses import dataclass
from datetime import datetime

from reconciler.enroll.identity import IdentityDocument
from reconciler.enroll.verdicts import Accepted, Delay, NotYet, Refusal, Rejected, Verdict
from reconciler.model import tags
from reconciler.model.deadlines import deadline
from reconciler.model.memory import Blindness, Intent, IntentState, NodeRecord
from reconciler.model.names import FleetId
from reconciler.model.observed import Instance, InstanceState


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """Where this installation's nodes live."""

    fleet: FleetId
    account: str
    region: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long nodes may take."""

    bootstrap_s: float
    sighted_again_at: datetime | None  # Memory's
    blindnesses: tuple[Blindness, ...] = ()  # Memory's


def verify(
    document: IdentityDocument,
    *,
    public_key: str,
    home: Home,
    record: NodeRecord | None,
    intent: Intent | None,
    instance: Instance | None,
    patience: Patience,
    now: datetime,
) -> Verdict:
    """Judge a document that AWS signed, sent by whoever holds `public_key` (PEM, as `write_public_key` writes it).

    Args:
        record: the journal's, of the document's instance id.
        intent: the journal's, of the instance's tag `hivequeen:intent`.
        instance: as EC2 describes the document's instance id now; None: not at all.
    """
    refused = _elsewhere(document, home) or _spent(record, public_key)
    if refused is not None:
        return refused
    if instance is None:
        return NotYet(reason=Delay.NOT_VISIBLE, message="EC2 does not show it yet")
    foreign = _unowned(instance, record, home.fleet) or _unlaunched(instance, record, intent)
    if foreign is not None:
        return foreign
    if record is None:
        return NotYet(reason=Delay.NOT_RECORDED, message="no pass has seen it yet")
    return _unlike(document, instance) or _late(instance, record, patience, now) or Accepted(record=record)


def _elsewhere(document: IdentityDocument, home: Home) -> Rejected | None:
    if document.account_id != home.account:
        return Rejected(reason=Refusal.ACCOUNT, message=f"of account {document.account_id}")
    if document.region != home.region:
        return Rejected(reason=Refusal.REGION, message=f"of region {document.region}")
    return None


def _spent(record: NodeRecord | None, public_key: str) -> Rejected | None:
    """The key first: whoever stole a document must not learn more, nor move the deadline of the node that it is of."""
    if record is None:
        return None
    if record.public_key not in (None, public_key):
        return Rejected(reason=Refusal.IDENTITY_REUSED, message="another key was registered first")
    if record.gone_at is not None:
        return Rejected(reason=Refusal.TERMINATED, message="was seen terminated")
    return None


def _unowned(instance: Instance, record: NodeRecord | None, fleet: FleetId) -> Rejected | NotYet | None:
    if instance.is_dead:
        return Rejected(reason=Refusal.TERMINATED, message=f"is {instance.state}")
    tagged = instance.tags.get(tags.FLEET)
    if tagged is None and record is not None:
        return NotYet(reason=Delay.NOT_VISIBLE, message="EC2 does not show its tags yet, or it lost them")
    if tagged != fleet:
        return Rejected(reason=Refusal.FOREIGN, message="is not of this fleet")
    return None


def _unlaunched(instance: Instance, record: NodeRecord | None, intent: Intent | None) -> Rejected | None:
    """Tag, intent and record must tell of one and the same launch of ours."""
    if intent is None or instance.intent != intent.token:
        return Rejected(reason=Refusal.FOREIGN, message="no intent of ours launched it")
    if instance.instance_id not in intent.instance_ids and not _may_hold_more(intent):
        return Rejected(reason=Refusal.FOREIGN, message="is not among the instances of its intent")
    if instance.image != intent.parameters.image:
        return Rejected(reason=Refusal.IMAGE, message=f"runs {instance.image}, launched was {intent.parameters.image}")
    launched = (intent.token, intent.environment, intent.role)
    if record is not None and (record.intent, record.environment, record.role) != launched:
        return Rejected(reason=Refusal.FOREIGN, message="its intent is another node's")
    return None


def _may_hold_more(intent: Intent) -> bool:
    """After a crash not all of its instances need be known yet, but it never accounts for more than it asked for."""
    return (
        intent.state in (IntentState.OPEN, IntentState.LAUNCHED) and len(intent.instance_ids) < intent.parameters.count
    )


def _unlike(document: IdentityDocument, instance: Instance) -> Rejected | NotYet | None:
    """The document must describe the instance as EC2 does."""
    if document.image_id != instance.image:
        return Rejected(reason=Refusal.IMAGE, message=f"document says {document.image_id}, EC2 {instance.image}")
    if instance.private_address is None:
        return NotYet(reason=Delay.NOT_VISIBLE, message="EC2 does not show its address yet")
    if document.private_ip != instance.private_address:
        return Rejected(
            reason=Refusal.ADDRESS, message=f"document says {document.private_ip}, EC2 {instance.private_address}"
        )
    if instance.state not in (InstanceState.PENDING, InstanceState.RUNNING):
        return NotYet(reason=Delay.NOT_VISIBLE, message=f"EC2 still shows it {instance.state}")
    return None


def _late(instance: Instance, record: NodeRecord, patience: Patience, now: datetime) -> Rejected | None:
    """A node that was ready once has no deadline any more."""
    if record.ready_at is not None or tags.READY in instance.tags:
        return None
    ends_at = deadline(
        launched_at=instance.launched_at,
        deferred_at=record.deferred_at,
        sighted_again_at=patience.sighted_again_at,
        blindnesses=patience.blindnesses,
        bootstrap_s=patience.bootstrap_s,
    )
    if now < ends_at:
        return None
    return Rejected(reason=Refusal.LATE, message=f"its deadline was {ends_at.isoformat(timespec='seconds')}")
