"""What may be asked through the control socket: one JSON object a line, strictly parsed into one of a closed set."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, ClassVar, Final, TypeAlias

from reconciler.errors import Refused
from reconciler.model.desired import Json
from reconciler.model.names import EnvironmentName, is_environment_name

REQUEST_LENGTH_MAX: Final = 64 * 1024  # bytes of one line
EVENTS_MOST: Final = 1000
TEXT_LENGTH_MAX: Final = 500
TARGET_LENGTH_MAX: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """Who answers, and how long since it last made progress."""

    request: ClassVar[str] = "ping"


@dataclass(frozen=True, slots=True, kw_only=True)
class AskPlan:
    request: ClassVar[str] = "plan"
    environment: EnvironmentName | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AskWorld:
    """The world as it is now, and the rules that the daemon plans by: for whoever plans another revision."""

    request: ClassVar[str] = "world"


@dataclass(frozen=True, slots=True, kw_only=True)
class AskStatus:
    request: ClassVar[str] = "status"


@dataclass(frozen=True, slots=True, kw_only=True)
class AskShow:
    request: ClassVar[str] = "show"
    target: str  # an environment, or any unique part of a node's name


@dataclass(frozen=True, slots=True, kw_only=True)
class AskWhy:
    request: ClassVar[str] = "why"
    target: str  # as of AskShow; also what is gone


@dataclass(frozen=True, slots=True, kw_only=True)
class AskEvents:
    request: ClassVar[str] = "events"
    environment: EnvironmentName | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Approve:
    request: ClassVar[str] = "approve"
    target: str  # digest or revision, or its beginning


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeClaim:
    request: ClassVar[str] = "claim"
    take_over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspend:
    request: ClassVar[str] = "suspend"
    environment: EnvironmentName | None = None  # None: everything
    reason: str = ""
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    request: ClassVar[str] = "resume"
    environment: EnvironmentName | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MakePass:
    request: ClassVar[str] = "reconcile"
    environments: tuple[EnvironmentName, ...] = ()  # empty: a full pass
    refresh_images: tuple[EnvironmentName, ...] = ()


Request: TypeAlias = (
    Ping
    | AskPlan
    | AskWorld
    | AskStatus
    | AskShow
    | AskWhy
    | AskEvents
    | Approve
    | TakeClaim
    | Suspend
    | Resume
    | MakePass
)
_KINDS: Final[Mapping[str, type[Request]]] = {
    kind.request: kind
    for kind in (
        Ping,
        AskPlan,
        AskWorld,
        AskStatus,
        AskShow,
        AskWhy,
        AskEvents,
        Approve,
        TakeClaim,
        Suspend,
        Resume,
        MakePass,
    )
}


def parse(line: bytes) -> Request:
    """
    Raises:
        Refused: it is not a request; the message says which part of it is wrong.
    """
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as trouble:
        raise Refused("not a line of JSON") from trouble
    if not isinstance(document, dict):
        raise Refused("not a JSON object")
    kind = _KINDS.get(name) if isinstance(name := document.pop("request", None), str) else None
    if kind is None:
        raise Refused(f"no such request; there are: {', '.join(_KINDS)}")
    unknown = sorted(document.keys() - {field.name for field in fields(kind)})
    if unknown:
        raise Refused(f"{kind.request} takes no {unknown[0]!r}")
    values: dict[str, Any] = {key: _READERS[key](value, key) for key, value in document.items()}
    try:
        return kind(**values)
    except TypeError as trouble:
        raise Refused(f"{kind.request} needs a target") from trouble


def encode(request: Request) -> bytes:
    """The line that `parse` reads back."""
    document: dict[str, Json] = {"request": request.request}
    for field in fields(request):
        value = getattr(request, field.name)
        document[field.name] = value.isoformat() if isinstance(value, datetime) else _plain(value)
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def _plain(value: Any) -> Json:
    plain: Json = list(value) if isinstance(value, tuple) else value
    return plain


def _environment(value: object, key: str) -> EnvironmentName:
    if not isinstance(value, str) or not is_environment_name(value):
        raise Refused(f"{key} is not the name of an environment: {str(value)[:40]!r}")
    return EnvironmentName(value)


def _environment_or_all(value: object, key: str) -> EnvironmentName | None:
    return None if value is None else _environment(value, key)


def _environments(value: object, key: str) -> tuple[EnvironmentName, ...]:
    if not isinstance(value, list):
        raise Refused(f"{key} is not a list")
    return tuple(_environment(name, key) for name in value)


def _text(value: object, key: str) -> str:
    if not isinstance(value, str) or len(value) > TEXT_LENGTH_MAX or not value.isprintable():
        raise Refused(f"{key} is not one line of at most {TEXT_LENGTH_MAX} characters")
    return value


def _target(value: object, key: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= TARGET_LENGTH_MAX or not value.isprintable():
        raise Refused(f"{key} is not a name")
    return value


def _flag(value: object, key: str) -> bool:
    if not isinstance(value, bool):
        raise Refused(f"{key} is not true or false")
    return value


def _count(value: object, key: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= EVENTS_MOST:
        raise Refused(f"{key} is not a number from 1 to {EVENTS_MOST}")
    return value


def _moment(value: object, key: str) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Refused(f"{key} is not a time with its zone, such as 2027-01-31T18:00:00+00:00")
    return moment


_READERS: Final[Mapping[str, Callable[[object, str], object]]] = {
    "environment": _environment_or_all,
    "environments": _environments,
    "refresh_images": _environments,
    "reason": _text,
    "target": _target,
    "take_over": _flag,
    "limit": _count,
    "until": _moment,
}
