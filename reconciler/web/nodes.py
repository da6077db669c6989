"""The nodes' listener: two endpoints, everything bounded, nothing else to be found there."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus

from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive

from reconciler.enroll.answers import Answer
from reconciler.enroll.register import Enrollment
from reconciler.enroll.report import FirstRuns

log = logging.getLogger(__name__)

REGISTER = "/bootstrap/v1/register"
REPORT = "/bootstrap/v1/report"

BODY_BYTES_MAX = 64 * 1024  # a registration has about 3 KiB, a report 13 KiB
BODY_S_MAX = 20.0  # nodes are near; slower is not a node
AT_ONCE = 16  # requests that ask EC2 and Chef at the same time
WAITING_MAX = 256  # beyond this a node is better off coming back
RETRY_AFTER_S = 15
HANG_UP = {"Connection": "close"}  # a node asks once or twice in its life: idle connections are only in the way

# Of one address. A fleet behind one NAT gateway shares it, so this bounds floods, not fleets.
REQUESTS_PER_S = 20.0
REQUESTS_BURST = 200
ADDRESSES_MAX = 4096


class Rate:
    """A token bucket per address."""

    def __init__(self, *, per_s: float, burst: int, monotonic: Callable[[], float]) -> None:
        self._per_s = per_s
        self._burst = burst
        self._monotonic = monotonic
        self._buckets: dict[str, tuple[float, float]] = {}  # tokens left, and when that was

    def allows(self, address: str) -> bool:
        """True if this address may ask now; that uses one of its tokens."""
        now = self._monotonic()
        tokens, at = self._buckets.pop(address, (float(self._burst), now))
        tokens = min(float(self._burst), tokens + (now - at) * self._per_s)
        if len(self._buckets) >= ADDRESSES_MAX:
            self._buckets.pop(next(iter(self._buckets)))  # whoever asked least lately
        self._buckets[address] = (max(0.0, tokens - 1), now)
        return tokens >= 1


def create_nodes_app(
    enrollment: Enrollment,
    first_runs: FirstRuns,
    *,
    monotonic: Callable[[], float] = time.monotonic,
    requests_per_s: float = REQUESTS_PER_S,
    requests_burst: int = REQUESTS_BURST,
) -> Starlette:
    """The application of the nodes' listener."""
    rate = Rate(per_s=requests_per_s, burst=requests_burst, monotonic=monotonic)
    threads = CapacityLimiter(AT_ONCE)

    def answering(names: frozenset[str], answer: Callable[[Mapping[str, bytes]], Answer]) -> Callable[..., object]:
        async def endpoint(request: Request) -> Response:
            if not rate.allows(request.client.host if request.client else ""):
                return _busy(HTTPStatus.TOO_MANY_REQUESTS)
            if threads.statistics().tasks_waiting >= WAITING_MAX:
                return _busy(HTTPStatus.SERVICE_UNAVAILABLE)
            parts = await _parts(request, names)
            return _response(await to_thread.run_sync(answer, parts, limiter=threads))

        return endpoint

    def register(parts: Mapping[str, bytes]) -> Answer:
        return enrollment.register(
            document=parts["document"],
            signature=parts["signature"],
            public_key=parts["public_key"],
            proof=parts["proof"],
        )

    def report(parts: Mapping[str, bytes]) -> Answer:
        return first_runs.report(content=parts["report"], signature=parts["signature"])

    app = Starlette(
        routes=[
            Route(
                REGISTER,
                answering(frozenset({"document", "signature", "public_key", "proof"}), register),
                methods=["POST"],
            ),
            Route(REPORT, answering(frozenset({"report", "signature"}), report), methods=["POST"]),
        ],
        exception_handlers={
            HTTPStatus.BAD_REQUEST: _bad_request,
            HTTPStatus.NOT_FOUND: _not_found,
            HTTPStatus.METHOD_NOT_ALLOWED: _not_found,
            Exception: _failed,
        },
    )
    app.router.redirect_slashes = False
    return app


async def _parts(request: Request, names: frozenset[str]) -> dict[str, bytes]:
    """The form's files by name: exactly these.

    Raises:
        HTTPException: 400, it is anything else, too large or too slow.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise HTTPException(HTTPStatus.BAD_REQUEST, "not a multipart form")
    bounded = Request(request.scope, receive=_bounded(request.receive))
    try:
        async with asyncio.timeout(BODY_S_MAX), bounded.form(max_files=len(names), max_fields=1) as form:
            items = form.multi_items()
            files = {name: await part.read() for name, part in items if isinstance(part, UploadFile)}
    except (ClientDisconnect, TimeoutError, KeyError, ValueError) as error:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "not a form that the first-boot script sends") from error
    if files.keys() != names or len(items) != len(names):
        raise HTTPException(HTTPStatus.BAD_REQUEST, f"needs the files {', '.join(sorted(names))}")
    return files


def _bounded(receive: Receive) -> Receive:
    received = 0

    async def bounded() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > BODY_BYTES_MAX:
            raise HTTPException(HTTPStatus.BAD_REQUEST, f"more than {BODY_BYTES_MAX} bytes")
        return message

    return bounded


def _response(answer: Answer) -> Response:
    headers = {} if answer.retry_after_s is None else {"Retry-After": str(answer.retry_after_s)}
    return PlainTextResponse(answer.body, status_code=answer.status, headers=HANG_UP | headers)


def _busy(status: HTTPStatus) -> Response:
    return PlainTextResponse("busy\n", status_code=status, headers=HANG_UP | {"Retry-After": str(RETRY_AFTER_S)})


def _not_found(request: Request, error: Exception) -> Response:
    del request, error
    return PlainTextResponse("not found\n", status_code=HTTPStatus.NOT_FOUND, headers=HANG_UP)


def _bad_request(request: Request, error: Exception) -> Response:
    del request
    detail = error.detail if isinstance(error, HTTPException) else ""
    return PlainTextResponse(f"{detail}\n", status_code=HTTPStatus.BAD_REQUEST, headers=HANG_UP)


def _failed(request: Request, error: Exception) -> Response:
    """A fault of ours: the node may try again, and its deadline decides."""
    log.error("request failed", extra={"path": request.url.path}, exc_info=error)
    return _busy(HTTPStatus.SERVICE_UNAVAILABLE)
