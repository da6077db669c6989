"""An ASGI application served by uvicorn in a thread of its own: the nodes' listener, the operators' one, the sandbox's."""

import asyncio
import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import uvicorn
from starlette.types import ASGIApp

from reconciler.errors import Stalled

START_S = 10.0  # uvicorn needs well under a second; longer means that it never will
STOP_S = 3.0  # for requests in flight; the unit stops within 10 s in all
CONNECTIONS_MAX = 512  # a listener that nodes can reach must not be filled by one of them
BACKLOG = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """PEM files. The certificate's file may hold its chain."""

    certificate: Path
    key: Path


class _Uvicorn(uvicorn.Server):
    """Tells the starting thread when requests are answered."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_serving = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.is_serving.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets=sockets)
        for connection in list(self.server_state.connections):  # over TLS an idle client need not agree to close
            if connection.transport is not None:
                connection.transport.abort()
        await asyncio.sleep(0)  # the transports close in the loop's next round


class Server:
    """Serves `app` on `host:port` between `start()` and `stop()`, or as a context manager.

    Args:
        name: of the thread, for people who look at a stack dump.
        port: 0 lets the system choose; the real one is in `port` after `start()`.
        tls: None serves plain HTTP.
    """

    def __init__(self, app: ASGIApp, *, name: str, host: str, port: int, tls: Tls | None = None) -> None:
        self.host = host
        self.port = port
        self._tls = tls
        self._socket: socket.socket | None = None
        self._uvicorn = _Uvicorn(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                ws="none",
                http="h11",
                proxy_headers=False,  # addresses are those of the sockets: nobody may claim another
                server_header=False,
                limit_concurrency=CONNECTIONS_MAX,
                timeout_graceful_shutdown=int(STOP_S),
                ssl_certfile=tls.certificate if tls else None,
                ssl_keyfile=tls.key if tls else None,
            )
        )
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)

    @property
    def url(self) -> str:
        """Where it answers; meaningful after `start()`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    def start(self) -> None:
        """Return when requests are answered.

        Raises:
            Stalled: the address is taken or not ours, or the certificate and key cannot be used.
        """
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        # Only a socket that says it is TCP gets TCP_NODELAY from asyncio; without, each kept-alive request takes 44 ms.
        bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((self.host, self.port))
            self._uvicorn.config.load()
        except OSError as error:  # an SSLError is one too
            bound.close()
            raise Stalled(
                f"cannot listen on {self.host}:{self.port}: {error.strerror or error}",
                remedy="see `listen` and `tls` in hivequeen.yml",
            ) from error
        bound.listen(BACKLOG)
        self._socket = bound
        self.port = int(bound.getsockname()[1])
        self._thread.start()
        if not self._uvicorn.is_serving.wait(START_S):
            self.stop()
            raise Stalled(f"the listener on {self.host}:{self.port} did not start within {START_S:g} s")

    def stop(self) -> None:
        """Finish the requests in flight, within bounds, and close. Safe to call twice, or without `start()`."""
        self._uvicorn.should_exit = True
        if self._thread.is_alive():
            self._thread.join(STOP_S + 1)
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _serve(self) -> None:
        assert self._socket is not None  # noqa: S101 - start() sets it before the thread runs
        self._uvicorn.run(sockets=[self._socket])
