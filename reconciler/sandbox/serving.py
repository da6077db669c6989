"""Serves a Starlette application of the sandbox on loopback, from a thread of this process."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

START_S = 10.0
STOP_S = 3


class _Uvicorn(uvicorn.Server):
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


@contextmanager
def serve_asgi(app: ASGIApp, *, name: str, port: int = 0) -> Iterator[str]:
    """Yields the URL; stops on leaving."""
    server = _Uvicorn(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            http="h11",
            timeout_graceful_shutdown=STOP_S,
        )
    )
    with socket.create_server(("127.0.0.1", port), backlog=256) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name=name, daemon=True)
        thread.start()
        try:
            if not server.is_serving.wait(START_S):
                raise TimeoutError(f"{name} did not start within {START_S:g} s")
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(STOP_S + 1)
