"""The report of a node's first Chef run: a failed one is seen where people look.

A report is `key=value` lines, an empty line, and the end of the log; it is signed with the key that the node
registered. A replayed one changes nothing: success is never taken back, and the same outcome is noted once.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from reconciler.enroll import answers
from reconciler.enroll.answers import Answer
from reconciler.enroll.keys import is_signed_by
from reconciler.enroll.masking import LOG_BYTES_MAX, presentable
from reconciler.enroll.refusals import Refusals
from reconciler.enroll.verdicts import Delay, Refusal
from reconciler.errors import HivequeenError
from reconciler.model.conditions import Event
from reconciler.model.event_kinds import EventKind
from reconciler.model.facts import FirstRunReported
from reconciler.model.memory import NodeRecord
from reconciler.model.names import EnvironmentName, InstanceId, is_instance_id
from reconciler.ports import Clock, Journal

log = logging.getLogger(__name__)

RETRY_AFTER_S = 15
HEAD_BYTES_MAX = 512
EVENT_LINES_MAX = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the first-boot script says of the run."""

    instance_id: InstanceId
    ok: bool
    user_data_status: int  # exit status of the declared user_data; 0 also where there is none
    log: str


def parse_report(content: bytes) -> Report | None:
    """None if it is not one."""
    head, separator, tail = content.partition(b"\n\n")
    if not separator or len(head) > HEAD_BYTES_MAX or len(tail) > LOG_BYTES_MAX:
        return None
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        return None
    fields = dict(line.partition("=")[::2] for line in lines)
    instance_id, outcome, status = (fields.get(key, "") for key in ("instance_id", "outcome", "user_data"))
    if not is_instance_id(instance_id) or outcome not in ("success", "failure"):
        return None
    if not (status.isdecimal() and len(status) <= len("255")):
        return None
    return Report(
        instance_id=InstanceId(instance_id),
        ok=outcome == "success",
        user_data_status=int(status),
        log=presentable(tail),
    )


class FirstRuns:
    """Takes the reports of nodes that registered."""

    def __init__(
        self,
        *,
        clock: Clock,
        journal: Journal,
        refusals: Refusals,
        on_deferral: Callable[[str], None] = lambda _: None,
        on_reported: Callable[[EnvironmentName], None] = lambda _: None,
        retry_after_s: int = RETRY_AFTER_S,
    ) -> None:
        self._clock = clock
        self._journal = journal
        self._refusals = refusals
        self._on_deferral = on_deferral
        self._on_reported = on_reported
        self._retry_after_s = retry_after_s

    def report(self, *, content: bytes, signature: bytes) -> Answer:
        """Answer one request, whoever sent it. `signature` is binary, as `openssl dgst -sha256 -sign` writes it."""
        now = self._clock.now()
        report = parse_report(content)
        if report is None:
            self._refusals.note(Refusal.MALFORMED, "not a report of a first run", at=now)
            return answers.refused(Refusal.MALFORMED)
        try:
            record = self._journal.node(report.instance_id)
            if record is None or not _is_signed_by_node(record, content, signature):
                self._refusals.note(Refusal.REPORT, "no node that registered signed it", at=now)
                return answers.refused(Refusal.REPORT)
            if _is_news(record, report):
                self._take(record, report, now)
        except HivequeenError as error:
            log.warning("report deferred", extra={"instance_id": report.instance_id, "detail": error.message})
            self._on_deferral(Delay.JOURNAL_UNAVAILABLE)
            return answers.deferred(Delay.JOURNAL_UNAVAILABLE, self._retry_after_s)
        return answers.noted()

    def _take(self, record: NodeRecord, report: Report, now: datetime) -> None:
        event = Event(
            at=now,
            kind=(EventKind.FIRST_RUN_SUCCEEDED if report.ok else EventKind.FIRST_RUN_FAILED).value,
            message=_message(record, report),
            environment=record.environment,
            node=record.name,
        )
        self._journal.record(now, FirstRunReported(instance_id=record.instance_id, ok=report.ok, log=report.log))
        self._journal.append(event)
        log.info("first run reported", extra={"node": record.name, "ok": report.ok})
        self._on_reported(record.environment)


def _is_signed_by_node(record: NodeRecord, content: bytes, signature: bytes) -> bool:
    if record.public_key is None:
        return False
    key = load_pem_public_key(record.public_key.encode("ascii"))
    return isinstance(key, RSAPublicKey) and is_signed_by(key, content, signature)


def _is_news(record: NodeRecord, report: Report) -> bool:
    """The first report counts; success after failure too; nothing takes success or readiness back."""
    if record.ready_at is not None and not report.ok:
        return False
    return record.first_run_ok is None or (report.ok and not record.first_run_ok)


def _message(record: NodeRecord, report: Report) -> str:
    aside = f"; its declared user_data failed with exit status {report.user_data_status}"
    said = f"the first Chef run of {record.name} {'succeeded' if report.ok else 'failed'}" + (
        aside if report.user_data_status else ""
    )
    if report.ok:
        return said
    end = "\n".join(report.log.splitlines()[-EVENT_LINES_MAX:])
    return f"{said}\n{end}"
