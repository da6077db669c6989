"""What a reply of the Chef Server means for whoever asked: its error, named by the next step."""

import re
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

from requests import Response

from reconciler.adapters.chef.importing import NotFound
from reconciler.errors import Conflict, Denied, Refused, Transient

# The server refuses a signature that is 15 minutes off; a third of that is worth telling.
CLOCK_SKEW_TOLD: Final = timedelta(minutes=5)
_PERMISSIONS: Final = {"GET": "READ", "POST": "CREATE", "PUT": "UPDATE", "DELETE": "DELETE"}
_QUOTED_MAX: Final = 300  # characters of a foreign text in a message of ours
_TRANSIENT: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT)
_REMEDIES: Final[dict[int, str]] = {
    HTTPStatus.NOT_ACCEPTABLE: "use a Chef Server that speaks API version 1 (12.3 or later)",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "declare fewer or smaller attributes",
}
_NO_ORGANISATION = re.compile(r"organi[sz]ation .*(does not exist|not found)", re.IGNORECASE)


class Asked:
    """One request, in the words that messages use."""

    def __init__(self, method: str, path: str, *, client: str, at: datetime) -> None:
        self.method = method
        self.path = path.partition("?")[0]
        self.client = client
        self.at = at
        _, self.kind, *names = self.path.split("/")
        self.name = names[0] if names else ""

    @property
    def operation(self) -> str:
        """From a small closed set, for metrics: `GET nodes`, `POST search/node`."""
        index = f"/{self.name}" if self.kind == "search" else ""
        return f"{self.method} {self.kind}{index}"

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def check(asked: Asked, reply: Response) -> None:
    """Return if the reply is a good answer with a body.

    Raises:
        NotFound: PyChef's own 404, where the server itself says that the object does not exist.
        Transient, Denied, Conflict, Refused: see `ports.ChefServer`.
    """
    if reply.is_redirect:
        where = reply.headers.get("Location", "elsewhere")
        raise Denied(
            f"Chef Server redirects {asked} to {where}",
            code=str(reply.status_code),
            remedy="set chef.server_url to where it points",
        )
    if reply.status_code < HTTPStatus.MULTIPLE_CHOICES:
        if not reply.content.strip():
            # goiardi answers so to every path that it does not know, and a cut-off reply looks the same.
            raise Transient(f"Chef Server answered {asked} with {reply.status_code} and an empty body")
        return
    raise _error(asked, reply)


def count_as(status: int) -> str:
    """The `result` of `ports.RequestCounter`. A 404 is an answer like any other."""
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return "throttled"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "unreachable"
    if status >= HTTPStatus.BAD_REQUEST and status != HTTPStatus.NOT_FOUND:
        return "refused"
    return "ok"


def _error(asked: Asked, reply: Response) -> Exception:
    said, is_chef = _message(reply)
    text = f"Chef Server answered {asked} with {reply.status_code}: {said}"
    code = str(reply.status_code)
    if reply.status_code in _TRANSIENT or reply.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Transient(text, retry_after_s=_retry_after_s(reply))
    match reply.status_code:
        case HTTPStatus.UNAUTHORIZED:
            return _unauthorised(asked, reply, text)
        case HTTPStatus.FORBIDDEN:
            return Denied(text, code=code, remedy=_missing_permission(asked))
        case HTTPStatus.NOT_FOUND:
            return _not_found(text, is_absent=is_chef and not _NO_ORGANISATION.search(said))
        case HTTPStatus.CONFLICT:
            return Conflict(text, code=code)
    return Refused(text, code=code, remedy=_REMEDIES.get(reply.status_code, ""))


def _not_found(text: str, *, is_absent: bool) -> Exception:
    if is_absent:
        return NotFound(text, 404)
    # A wrong URL must not make every object look absent.
    return Denied(text, code="404", remedy="check chef.server_url, its /organizations/NAME included")


def _unauthorised(asked: Asked, reply: Response, text: str) -> Denied:
    skew = _clock_skew(asked, reply)
    if skew is not None and skew > CLOCK_SKEW_TOLD:
        minutes = round(skew.total_seconds() / 60)
        return Denied(
            f"{text} (this machine's clock and the Chef Server's are {minutes} minutes apart)",
            code="401",
            remedy="set both clocks by NTP",
        )
    return Denied(
        text,
        code="401",
        remedy=f"check that chef.client_key is the key of Chef client {asked.client} (chef.client_name) in this organisation",
    )


def _clock_skew(asked: Asked, reply: Response) -> timedelta | None:
    try:
        return abs(parsedate_to_datetime(reply.headers.get("Date", "")) - asked.at)
    except (ValueError, TypeError):  # no date, or one without a zone
        return None


def _missing_permission(asked: Asked) -> str:
    permission = "READ" if asked.kind == "search" else _PERMISSIONS.get(asked.method, asked.method)
    if asked.kind == "data" and asked.name:
        # Items have no ACL of their own; the bag's decides, also who may add one.
        return f"grant a group that holds client {asked.client} the permission {permission} on data bag {asked.name}"
    container = f"{asked.name}s" if asked.kind == "search" else asked.kind
    grant = f"grant a group that holds client {asked.client} the permission {permission} on container {container}"
    if asked.method == "POST" or not asked.name:
        return grant
    return f"{grant}, and on the existing {asked.kind.removesuffix('s')} {asked.name}"


def _retry_after_s(reply: Response) -> float | None:
    text = reply.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else None


def _message(reply: Response) -> tuple[str, bool]:
    """The server's own words, and whether they came in Chef's form."""
    try:
        body = reply.json()
    except ValueError:
        return _quoted(re.sub(r"<[^>]*>", " ", reply.text)) or reply.reason, False
    said = body.get("error") if isinstance(body, dict) else None
    if isinstance(said, list):
        said = ", ".join(str(part) for part in said)
    if not isinstance(said, str):
        return _quoted(reply.text), False
    return _quoted(said), True


def _quoted(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _QUOTED_MAX else line[: _QUOTED_MAX - 1] + "…"
