"""How EC2, STS and SSM are asked: clients and credentials, pace, counting, repeats, and translation of what goes wrong.

Reads and writes have a client each, so that throttled reads never slow a termination. botocore repeats reads within
bounds. Of writes only what EC2 throttled is repeated, here, for that certainly was not done; a write without an
answer, and a 5xx "no capacity" that botocore would silently repeat, go back to the caller at once.
"""

import random
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, TypeVar

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from reconciler.adapters.ec2_errors import (
    STALE_CREDENTIALS,
    THROTTLES,
    code_of,
    request_result,
    translate_answer,
    translate_failure,
)
from reconciler.adapters.ec2_pace import Pace
from reconciler.adapters.ec2_parser import LeanParserFactory
from reconciler.errors import Denied, HivequeenError, SettingsError, Transient
from reconciler.model.names import InstanceId
from reconciler.ports import RequestCounter
from reconciler.settings import AwsSettings

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_sts import STSClient

CONNECT_TIMEOUT_S: Final = 3
READ_TIMEOUT_S: Final = 20
READ_ATTEMPTS_MAX: Final = 3
WRITE_ATTEMPTS_MAX: Final = 4  # of throttled writes: at most 0.5 + 1 + 2 s of waiting
WRITE_PAUSE_S: Final = 0.5  # before the second attempt; doubles
BAD_ID_ROUNDS_MAX: Final = 10

_Answer = TypeVar("_Answer")
_Page = TypeVar("_Page", bound=Mapping[str, Any])


@dataclass(frozen=True, slots=True)
class Clients:
    reads: "EC2Client"
    writes: "EC2Client"
    ssm: "SSMClient"
    sts: "STSClient"


class Requests:
    """One account's and region's.

    Args:
        sessions: makes the session whose credential chain is used; called again after credentials were refused, so
            that renewed ones are found without a restart.
        pause: waits so many seconds between attempts of a throttled write.
    """

    def __init__(
        self,
        settings: AwsSettings,
        count_request: RequestCounter,
        *,
        sessions: Callable[[], botocore.session.Session],
        pause: Callable[[float], None],
        pace: Pace,
    ) -> None:
        self._settings = settings
        self._count_request = count_request
        self._sessions = sessions
        self._pause = pause
        self._pace = pace
        self._lock = Lock()
        self._connected: Clients | None = None

    def clients(self) -> Clients:
        """Those of the credentials in use: others after some were refused."""
        with self._lock:
            if self._connected is None:
                self._connected = self._connect()
            return self._connected

    def read(self, operation: str, call: Callable[[], _Answer]) -> _Answer:
        self._pace.take(operation)
        return call()

    def pages(self, operation: str, pages: Iterable[_Page]) -> Iterator[_Page]:
        """Each is a request, made when it is its turn."""
        self._pace.take(operation)
        for page in pages:
            yield page
            if page.get("NextToken"):
                self._pace.take(operation)

    def write(
        self, operation: str, call: Callable[[], _Answer], *, instances: int = 0, is_reserved: bool = False
    ) -> _Answer:
        """
        Args:
            instances: that it launches, starts, stops or terminates.
            is_reserved: the first attempt has its place already.
        """
        for attempt in range(1, WRITE_ATTEMPTS_MAX + 1):
            if attempt > 1 or not is_reserved:
                self._pace.take(operation, instances=instances)
            try:
                return call()
            except ClientError as error:
                if code_of(error) not in THROTTLES or attempt == WRITE_ATTEMPTS_MAX:
                    raise
            jitter = 0.5 + random.random() / 2  # noqa: S311 - spreads attempts, guards nothing
            self._pause(WRITE_PAUSE_S * 2 ** (attempt - 1) * jitter)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def leaving_out(
        self,
        codes: Collection[str],
        operation: str,
        instance_ids: Sequence[InstanceId],
        call: Callable[[Sequence[InstanceId]], object],
    ) -> Sequence[InstanceId]:
        """One bad id fails the whole call: leave out those that EC2 names, and nothing more; returns these."""
        asked = list(instance_ids)
        left_out: list[InstanceId] = []
        for _ in range(BAD_ID_ROUNDS_MAX):
            if not asked:
                return left_out
            with self.translated("EC2", operation):
                try:
                    call(asked)
                except ClientError as error:
                    if code_of(error) not in codes:
                        raise
                    named = set(re.findall(r"i-[0-9a-z]+", str(error.response["Error"].get("Message", ""))))
                    if named.isdisjoint(asked):
                        raise
                    left_out += [instance_id for instance_id in asked if instance_id in named]
                    asked = [instance_id for instance_id in asked if instance_id not in named]
                else:
                    return left_out
        raise Transient(f"EC2 {operation}: still names bad ids after {BAD_ID_ROUNDS_MAX} requests")

    @contextmanager
    def translated(self, service: str, operation: str, *, subject: str = "") -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            raise self._noting_credentials(translate_answer(service, _about(operation, subject), error)) from error
        except (BotoCoreError, ResponseParserError) as error:
            if isinstance(error, ResponseParserError):  # botocore tells nobody of an answer that it cannot read
                self._count_request(service.lower(), operation, "unreachable")
            raise self._noting_credentials(translate_failure(service, _about(operation, subject), error)) from error

    def _connect(self) -> Clients:
        base = self._sessions()
        base.register_component("response_parser_factory", LeanParserFactory())
        reads = Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            retries={"mode": "standard", "total_max_attempts": READ_ATTEMPTS_MAX},
            parameter_validation=True,
            max_pool_connections=32,
        )
        writes = reads.merge(Config(retries={"mode": "standard", "total_max_attempts": 1}))
        region, url = self._settings.region, self._settings.endpoint_url
        try:
            session = boto3.Session(botocore_session=base, region_name=region)
            clients = Clients(
                reads=session.client("ec2", endpoint_url=url, config=reads),
                writes=session.client("ec2", endpoint_url=url, config=writes),
                ssm=session.client("ssm", endpoint_url=url, config=reads),
                sts=session.client("sts", endpoint_url=url, config=reads),
            )
        except ValueError as error:
            raise SettingsError((f"aws: {error}",)) from error
        except BotoCoreError as error:
            raise translate_failure("AWS", "session", error) from error
        for client in (clients.reads, clients.writes, clients.ssm, clients.sts):
            client.meta.events.register("response-received", self._count)
        return clients

    def _count(
        self,
        *,
        event_name: str,
        response_dict: Mapping[str, Any] | None,
        parsed_response: Mapping[str, Any] | None,
        **_: object,
    ) -> None:
        """One HTTP request, repeated ones included, has been answered or has failed."""
        service, operation = event_name.split(".")[1:]
        code = str((parsed_response or {}).get("Error", {}).get("Code", ""))
        result = "unreachable" if response_dict is None else request_result(code, response_dict["status_code"])
        self._count_request(service, operation, result)

    def _noting_credentials(self, error: HivequeenError) -> HivequeenError:
        if isinstance(error, Denied) and error.code in STALE_CREDENTIALS:
            with self._lock:
                self._connected = None
        return error


def _about(operation: str, subject: str) -> str:
    return f"{operation} ({subject})" if subject else operation
