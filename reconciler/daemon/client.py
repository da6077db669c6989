"""The other end of the control socket."""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from reconciler import errors
from reconciler.daemon.requests import Request, encode
from reconciler.errors import Denied, HivequeenError, Stalled, Transient
from reconciler.model.desired import Json

CONNECT_S: Final = 2.0
SILENCE_S: Final = 60.0  # a pass sends a sign of life every few seconds; the other answers come at once
ANSWER_LENGTH_MAX: Final = 256 * 1024 * 1024

_KINDS: Final[dict[str, type[HivequeenError]]] = {
    kind.__name__: kind
    for kind in (
        errors.Transient,
        errors.Refused,
        errors.Denied,
        errors.Conflict,
        errors.Stalled,
        errors.SourceRejected,
    )
}


class NoDaemon(Stalled):
    """Nobody answers on the control socket."""


def ask(path: Path, request: Request, *, on_progress: Callable[[str], None] = lambda _: None) -> Json:
    """The daemon's answer.

    Raises:
        NoDaemon: none runs.
        Denied: this user may not use the socket.
        HivequeenError: what the daemon answered instead, or it fell silent.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(CONNECT_S)
        try:
            connection.connect(os.fspath(path))
        except PermissionError as trouble:
            raise Denied(
                f"you may not use the control socket {path}",
                remedy="join the group hivequeen (then log in again), or use sudo",
            ) from trouble
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as trouble:
            raise NoDaemon(
                f"no daemon answers on {path}", remedy="start it: systemctl start hivequeen, or hivequeen run"
            ) from trouble
        except OSError as trouble:
            raise Transient(f"the control socket {path} does not answer: {trouble}") from trouble
        try:
            connection.settimeout(SILENCE_S)
            connection.sendall(encode(request))
            with connection.makefile("rb") as lines:
                while line := lines.readline(ANSWER_LENGTH_MAX):
                    answer = json.loads(line)
                    if "progress" in answer:
                        on_progress(str(answer["progress"]))
                    elif "error" in answer:
                        raise _error(answer["error"])
                    else:
                        result: Json = answer["ok"]
                        return result
        except TimeoutError as trouble:
            raise Transient("the daemon fell silent", remedy="see: systemctl status hivequeen") from trouble
        except (OSError, ValueError, KeyError) as trouble:
            raise Transient(f"the daemon's answer broke off: {trouble}") from trouble
    raise Transient("the daemon ended the conversation without an answer", remedy="see its log")


def _error(document: dict[str, str]) -> HivequeenError:
    kind = _KINDS.get(document["kind"], Stalled)
    return kind(document["message"], remedy=document["remedy"])
