"""systemd's notification protocol (sd_notify(3)): one datagram of `KEY=value` lines to `NOTIFY_SOCKET`."""

import contextlib
import socket
import time
from collections.abc import Callable

_STATUS_LENGTH_MAX = 200


class Notify:
    """Silent where nobody listens. What cannot be sent is dropped: a service must not fail for want of an audience."""

    def __init__(self, address: str | None, *, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        """`address` is the value of NOTIFY_SOCKET: a path, or `@name` in Linux' abstract namespace; None: not under systemd."""
        self._address = "\0" + address[1:] if address is not None and address.startswith("@") else address
        self._monotonic_ns = monotonic_ns

    def ready(self, status: str = "") -> None:
        self._send("READY=1", *_status(status))

    def status(self, text: str) -> None:
        self._send(*_status(text))

    def watchdog(self) -> None:
        self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """To be followed by `ready`."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={self._monotonic_ns() // 1000}")

    def stopping(self, status: str = "") -> None:
        self._send("STOPPING=1", *_status(status))

    def _send(self, *lines: str) -> None:
        if not self._address or not lines:
            return
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out,
        ):
            # A full queue of a busy systemd must not hold up the loop.
            out.settimeout(0)
            out.connect(self._address)
            out.send("\n".join(lines).encode())


def _status(text: str) -> tuple[str, ...]:
    one_line = " ".join(text.split())[:_STATUS_LENGTH_MAX]
    return (f"STATUS={one_line}",) if one_line else ()
