"""Log lines: JSON for collectors, or columns for people; never a secret, whoever wrote it.

The message of a record is the constant name of an event ("action done"); what varies goes into `extra`.
"""

import json
import logging
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final, Literal, TextIO

# What a record has by itself. Everything else in it came with `extra`.
_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

# They tell every connection at INFO or below; their warnings stay.
_TALKATIVE: Final = ("boto3", "botocore", "urllib3", "s3transfer", "uvicorn", "uvicorn.access", "watchfiles", "asyncio")
# It warns of each request that it tries again; what comes of that is told by whoever made the request.
_RETRYING: Final = "urllib3.connectionpool"

MASK: Final = "[masked]"
_SECRETS: Final = (
    # A private key, also one that was cut off before its end.
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    re.compile(r"(?i)(?<=authorization)[\"']?\s*[:=]\s*[\"']?[^\r\n\"']+"),
    re.compile(r"(?i)(?<=x-ops-authorization-)\d+[\"']?\s*[:=]\s*[\"']?[^\r\n\"']+"),
    re.compile(r"(?i)(?<=aws_secret_access_key)[\"']?\s*[:=]\s*[\"']?[^\s\"']+"),
    re.compile(r"(?i)(?<=aws_session_token)[\"']?\s*[:=]\s*[\"']?[^\s\"']+"),
    re.compile(r"(?<=://)[^/\s@]+:[^/\s@]+(?=@)"),  # user:password in a URL
)
_SECRET_NAMES: Final = re.compile(r"(?i)(password|passphrase|secret|private_key|client_key|authorization|user_data)$")


def configure(
    form: Literal["json", "console"], level: int | str = logging.INFO, *, stream: TextIO | None = None
) -> None:
    """Send every log record of the process there, in this form. May be called again.

    Args:
        level: of our own records; the talkative libraries stay at WARNING.
        stream: stderr if None.
    """
    out = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonLines() if form == "json" else ConsoleLines(with_time=out.isatty()))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger(_RETRYING).setLevel(logging.ERROR)
    logging.captureWarnings(capture=True)


@contextmanager
def for_command(*, stream: TextIO | None = None) -> Iterator[None]:
    """While a command works that tells in its own words what came of it: of the log only defects, with all they say.

    Without any handler Python would write the bare message of every warning.

    Args:
        stream: stderr if None.
    """
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setLevel(logging.ERROR)
    handler.setFormatter(ConsoleLines(with_time=False))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


class JsonLines(logging.Formatter):
    """One object a line: `ts` (RFC 3339, UTC), `level`, `event`, `logger`, then what `extra` held."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "ts": _moment(record).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": redact(record.getMessage()),
            "logger": record.name,
        }
        for name, value in _extra(record).items():
            line.setdefault(name, value)
        trouble = _trouble(record)
        if trouble:
            line["exception"] = trouble
        return json.dumps(line, ensure_ascii=False, separators=(",", ":"))


class ConsoleLines(logging.Formatter):
    """`12:00:01 info  action done  action=launch environment=checkout`.

    Without the time where the stream is no terminal: the journal and container runtimes stamp each line themselves.
    """

    def __init__(self, *, with_time: bool) -> None:
        super().__init__()
        self._with_time = with_time

    def format(self, record: logging.LogRecord) -> str:
        time = f"{_moment(record):%H:%M:%S} " if self._with_time else ""
        fields = " ".join(f"{name}={_legible(value)}" for name, value in _extra(record).items())
        line = f"{time}{record.levelname.lower():<7} {redact(record.getMessage())}{f'  {fields}' if fields else ''}"
        trouble = _trouble(record)
        return f"{line}\n{trouble}" if trouble else line


def redact(text: str) -> str:
    """The text without private keys, AWS key ids, authorization headers and passwords in URLs."""
    for secret in _SECRETS:
        text = secret.sub(lambda found: _masked(found.group()), text)
    return text


def _masked(secret: str) -> str:
    separator = re.match(r"[\"']?\s*[:=]\s*", secret)
    return f"{separator.group() if separator else ''}{MASK}"


def _moment(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, tz=UTC)


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {
        name: MASK if _SECRET_NAMES.search(name) else _plain(value)
        for name, value in vars(record).items()
        if name not in _OWN
    }


def _plain(value: object) -> Any:
    """As JSON can hold it, and redacted however deep it lies."""
    plain: Any
    match value:
        case Enum():
            plain = _plain(value.value)
        case None | bool() | int() | float():
            plain = value
        case Mapping():
            plain = {str(key): MASK if _SECRET_NAMES.search(str(key)) else _plain(one) for key, one in value.items()}
        case list() | tuple():
            plain = [_plain(one) for one in value]
        case set() | frozenset():
            plain = sorted((_plain(one) for one in value), key=str)
        case datetime():
            plain = value.isoformat()
        case _:
            plain = redact(str(value))
    return plain


def _legible(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    is_one_word = bool(text) and not re.search(r"[\s=\"]", text)
    return text if is_one_word or not isinstance(value, str) else json.dumps(text, ensure_ascii=False)


def _trouble(record: logging.LogRecord) -> str:
    if not record.exc_info or record.exc_info[1] is None:
        return ""
    return redact("".join(traceback.format_exception(*record.exc_info)).rstrip())
