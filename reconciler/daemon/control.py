"""The control socket: operators' commands reach the daemon here, and the kernel says who asks.

One connection is one line of JSON in, then lines out: any number of `{"progress": …}`, at last `{"ok": …}` or
`{"error": {kind, message, remedy}}`.
"""

import contextlib
import errno
import grp
import json
import logging
import os
import pwd
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

from reconciler.daemon.requests import REQUEST_LENGTH_MAX, Request, parse
from reconciler.errors import HivequeenError, Refused, Stalled
from reconciler.model.desired import Json

log = logging.getLogger(__name__)

GROUP: Final = "hivequeen"  # its members may give orders, where it exists
CONNECTIONS_MAX: Final = 32
REQUEST_S: Final = 5.0  # in which the whole line must have come
SEND_S: Final = 10.0  # a reader that stands still for longer is dropped
STOP_S: Final = 2.0

Tell: TypeAlias = Callable[[str], None]
# (request, actor, tell) → the answer's document. `tell` sends a line of progress.
Answer: TypeAlias = Callable[[Request, str, Tell], Json]


class ControlSocket:
    """Answers between `start` and `stop`, one thread per connection."""

    def __init__(self, path: Path, answer: Answer, *, group: str = GROUP, request_s: float = REQUEST_S) -> None:
        self._path = path
        self._answer = answer
        self._group = group
        self._request_s = request_s
        self._listener: socket.socket | None = None
        self._inode: int | None = None
        self._acceptor: threading.Thread | None = None
        self._open: dict[socket.socket, threading.Thread] = {}
        self._changing = threading.Lock()

    def start(self) -> None:
        """
        Raises:
            Stalled: the path cannot be bound, or somebody else answers there.
        """
        _remove_stale(self._path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # Before bind, so that there is no moment in which others may connect; the umask is everybody's and stays.
            os.fchmod(listener.fileno(), 0o600)
            listener.bind(os.fspath(self._path))
            _open_to_group(self._path, self._group)
            listener.listen(CONNECTIONS_MAX)
        except OSError as trouble:
            listener.close()
            raise Stalled(
                f"cannot make the control socket {self._path}: {trouble.strerror or trouble}",
                remedy="its folder must exist and be the daemon's own; see `control` in hivequeen.yml",
            ) from trouble
        self._inode = self._path.stat().st_ino
        self._listener = listener
        self._acceptor = threading.Thread(target=self._accept, args=(listener,), name="control", daemon=True)
        self._acceptor.start()

    def stop(self) -> None:
        """Take no more connections, drop those that are idle, and remove the socket. Safe to call twice."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        if _inode(self._path) == self._inode:
            self._path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        listener.close()
        deadline = time.monotonic() + STOP_S
        with self._changing:
            threads = [*self._open.values()]
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RD)  # ends a wait for a request; an answer may still be sent
        for thread in (self._acceptor, *threads):
            if thread is not None:
                thread.join(max(0.0, deadline - time.monotonic()))

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError as trouble:
                if self._listener is None or trouble.errno in (errno.EBADF, errno.EINVAL):
                    return
                log.warning("control connection not accepted", extra={"problem": str(trouble)})
                continue
            thread = threading.Thread(target=self._serve, args=(connection,), name="control request", daemon=True)
            with self._changing:
                is_full = len(self._open) >= CONNECTIONS_MAX
                if not is_full:
                    self._open[connection] = thread
            if is_full:
                connection.close()
            else:
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with contextlib.suppress(OSError):  # whoever asked has gone; what was begun goes on
                self._converse(connection)
        finally:
            with self._changing:
                self._open.pop(connection, None)
            connection.close()

    def _converse(self, connection: socket.socket) -> None:
        def send(document: dict[str, Json]) -> None:
            connection.sendall(json.dumps(document, separators=(",", ":")).encode() + b"\n")

        try:
            line = _line(connection, time.monotonic() + self._request_s)
            connection.settimeout(SEND_S)
            request, actor = parse(line), _peer(connection)
            result = self._answer(request, actor, lambda text: send({"progress": text}))
        except HivequeenError as trouble:
            kind = type(trouble).__name__
            send({"error": {"kind": kind, "message": trouble.message, "remedy": trouble.remedy}})
        except OSError:
            raise
        except Exception:
            log.exception("control request broke off")
            send({"error": {"kind": "Stalled", "message": "the daemon failed on this", "remedy": "see its log"}})
        else:
            send({"ok": result})


def _line(connection: socket.socket, deadline: float) -> bytes:
    received = b""
    while not received.endswith(b"\n"):
        if len(received) > REQUEST_LENGTH_MAX:
            raise Refused(f"a request is at most {REQUEST_LENGTH_MAX} bytes long")
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            part = connection.recv(REQUEST_LENGTH_MAX)
        except TimeoutError as trouble:
            raise Refused("no whole line came in time") from trouble
        if not part:
            raise Refused("the connection ended before its line did")
        received += part
    return received


def _peer(connection: socket.socket) -> str:
    """The name of the user at the other end, from the kernel."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _open_to_group(path: Path, name: str) -> None:
    """Let the group in, if there is one and we may; else the socket stays the owner's alone."""
    try:
        group = grp.getgrnam(name).gr_gid
        # Under systemd it is the daemon's own group already, and chown() is forbidden.
        if path.stat().st_gid != group:
            os.chown(path, -1, group)
    except (KeyError, PermissionError):
        return
    path.chmod(0o660)


def _remove_stale(path: Path) -> None:
    """Remove what a killed daemon left, never what somebody answers on or what is no socket."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return
    if not stat.S_ISSOCK(mode):
        raise Stalled(f"{path} exists and is not a socket", remedy="remove it, or correct `control` in hivequeen.yml")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except OSError as trouble:
            raise Stalled(
                f"cannot tell who listens on {path}: {trouble}", remedy="see `control` in hivequeen.yml"
            ) from trouble
    raise Stalled(f"another daemon answers on {path}", remedy="stop it first, or give this one another `control`")


def _inode(path: Path) -> int | None:
    try:
        return path.lstat().st_ino
    except OSError:
        return None
