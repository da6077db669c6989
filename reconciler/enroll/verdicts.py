"""What may come of a registration or report: closed sets, because counters and people's alerts are labelled with them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from reconciler.model.memory import NodeRecord


class Refusal(StrEnum):
    """Why a request got 403 and its sender should stop. The label of the refusals' counter."""

    MALFORMED = "malformed"  # not what the first-boot script sends
    SIGNATURE = "signature"  # AWS did not sign this document
    KEY = "key"  # not an RSA public key of a sane size
    PROOF = "proof"  # the sender does not hold the key
    ACCOUNT = "account"
    REGION = "region"
    FOREIGN = "foreign"  # no launch of ours
    IMAGE = "image"
    ADDRESS = "address"
    TERMINATED = "terminated"
    LATE = "late"  # the bootstrap deadline has passed
    IDENTITY_REUSED = "identity_reused"  # another key registered for this instance first
    CLIENT_EXISTS = "client_exists"  # Chef holds a client of that name with another key
    REPORT = "report"  # a report that no registered node signed


class Delay(StrEnum):
    """Why a request got 503 and its sender should try again."""

    NOT_VISIBLE = "not_visible"  # EC2 does not show the instance, or all of it, yet
    NOT_RECORDED = "not_recorded"  # launched, but no pass has seen it yet
    SUSPENDED = "suspended"
    READ_ONLY = "read_only"  # mode observe, NotOwner, or not ready to write yet
    CLOUD_UNAVAILABLE = "cloud_unavailable"
    CHEF_UNAVAILABLE = "chef_unavailable"
    JOURNAL_UNAVAILABLE = "journal_unavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    record: NodeRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class NotYet:
    reason: Delay
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    reason: Refusal
    message: str


Verdict: TypeAlias = Accepted | NotYet | Rejected
