"""The sandbox's EC2 endpoint: moto behind a WSGI layer that adds what moto lacks.

Client tokens, `pending` that lasts, delayed visibility, capacity errors, termination protection as EC2 keeps it, limits
on requests, and faults before or after commit. An unmodified boto3 talks to it; STS and SSM are served too. One account, one region.

For demos and tests, to loopback only: `GET /_sandbox/instances`, `POST`/`DELETE /_sandbox/faults`,
`POST /_sandbox/offerings`.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from threading import RLock, Thread
from typing import TYPE_CHECKING, Any, Final
from xml.sax.saxutils import escape

from werkzeug.serving import WSGIRequestHandler, make_server

from reconciler.sandbox.ec2_account import SERVICES, Account, Launched, Reply, Request, Timing, read_form
from reconciler.sandbox.ec2_faults import Effect, Fault, Faults, Moment
from reconciler.sandbox.ec2_throttling import Throttling

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["Ec2Endpoint", "Effect", "Fault", "Faults", "Launched", "Moment", "Timing", "serve"]

ACCOUNT: Final = "123456789012"
REGION: Final = "us-east-1"
BODY_BYTES_MAX: Final = 4_000_000
CONTROL: Final = "/_sandbox/"


@dataclass(frozen=True, slots=True)
class _Launch:
    """What a client token stands for."""

    form: frozenset[tuple[str, str]]
    instance_ids: list[str]


class Ec2Endpoint:
    """A WSGI application.

    Args:
        on_launch: called once per instance, after it exists, even if the caller never learns so.
        on_terminate: called once per instance id.
        is_throttling: keep EC2's limits on requests.
        now: the time that everything here goes by.
    """

    def __init__(
        self,
        *,
        account_id: str = ACCOUNT,
        region: str = REGION,
        timing: Timing | None = None,
        on_launch: Callable[[Launched], None] = lambda _: None,
        on_terminate: Callable[[str], None] = lambda _: None,
        is_throttling: bool = False,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.faults = Faults()
        self.throttled: Counter[str] = Counter()  # by operation
        self.region = region
        self._throttling = Throttling(now) if is_throttling else None
        self._on_launch = on_launch
        self._on_terminate = on_terminate
        self._one_at_a_time = RLock()  # moto is not safe for threads
        self._account = Account(account_id=account_id, region=region, timing=timing or Timing(), now=now)
        self._launches: dict[str, _Launch] = {}
        self._exhausted: set[tuple[str, str]] = set()

    # --- for the process that runs it ---

    def exhaust(self, instance_type: str, subnet: str) -> None:
        """No room for this offering until `restock`."""
        with self._one_at_a_time:
            self._exhausted.add((instance_type, subnet))

    def restock(self, instance_type: str, subnet: str) -> None:
        with self._one_at_a_time:
            self._exhausted.discard((instance_type, subnet))

    def protect(self, instance_id: str, *, on: bool = True) -> None:
        """Switch termination protection."""
        with self._one_at_a_time:
            self._account.protect(instance_id, on=on)

    def instances(self) -> list[dict[str, Any]]:
        """Everything there is, in order of launch: id, state, type, image, subnet, address, launch time, token, tags."""
        with self._one_at_a_time:
            self._account.settle()
            return self._account.instances()

    # --- HTTP ---

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "/")
        is_control = path.startswith(CONTROL)
        reply = self._control(environ, path.removeprefix(CONTROL)) if is_control else self._call(environ)
        start_response(f"{reply.status} -", [*reply.headers, ("Content-Length", str(len(reply.body)))])
        return [reply.body]

    def _call(self, environ: "WSGIEnvironment") -> Reply:
        request = _read_request(environ)
        if request is None or request.service not in SERVICES:
            return _error("ec2", 404, "InvalidAction", "only signed requests to ec2, sts and ssm are served here")
        if _credential_scope(environ)[0] != self.region:
            return _error(request.service, 401, "AuthFailure", f"credentials must be scoped to {self.region}")
        fault = self.faults.take(request.operation)
        if fault is None:
            return self._answer(request)
        if fault.moment is Moment.BEFORE:
            return self._suffer(fault, request) or self._answer(request)
        answer = self._answer(request)
        return self._suffer(fault, request) or answer

    def _suffer(self, fault: Fault, request: Request) -> Reply | None:
        match fault.effect:
            case Effect.REFUSE:
                return _error(request.service, fault.status, fault.code, fault.message)
            case Effect.DROP:
                raise ConnectionResetError("dropped on request")  # the server closes the connection without an answer
            case Effect.HANG:
                self.faults.hang()
        return None

    def _answer(self, request: Request) -> Reply:
        launched: list[Launched] = []
        died: list[str] = []
        with self._one_at_a_time:
            if not self._admits(request):
                self.throttled[request.operation] += 1
                return _error("ec2", 503, "RequestLimitExceeded", "Request limit exceeded.")
            self._account.settle()
            match request.operation:
                case "RunInstances":
                    reply, launched = self._run_instances(request)
                case "TerminateInstances":
                    reply, died = self._terminate_instances(request)
                case "StopInstances" | "StartInstances":
                    reply = self._switch_instances(request, on=request.operation == "StartInstances")
                case "CreateTags" | "DeleteTags":
                    reply = self._tag(request)
                case _:
                    reply = self._account.forward(request)
        for one in launched:
            self._on_launch(one)
        for instance_id in died:
            self._on_terminate(instance_id)
        return reply

    def _admits(self, request: Request) -> bool:
        if self._throttling is None or request.service != "ec2":
            return True
        form = request.form
        is_bare = request.operation.startswith("Describe") and not any(
            key.startswith(("Filter.", "MaxResults", "InstanceId.", "ImageId.")) for key in form
        )
        instances = int(form.get("MaxCount", 0)) or len(request.ids())
        return self._throttling.admits(request.operation, instances=instances, is_bare=is_bare)

    def _run_instances(self, request: Request) -> tuple[Reply, list[Launched]]:
        form = request.form
        token = form.get("ClientToken", "")
        parameters = frozenset(item for item in form.items() if item[0] != "ClientToken")
        known = self._launches.get(token) if token else None
        if known is not None:
            return self._replay(request, known, parameters), []
        image, offering = form.get("ImageId", ""), (form.get("InstanceType", ""), form.get("SubnetId", ""))
        if not self._account.has_image(image):
            message = f"The image id '[{image}]' does not exist"
            return _error("ec2", 400, "InvalidAMIID.NotFound", message), []
        if offering in self._exhausted:
            return _no_capacity(*offering), []
        reply, launched = self._account.launch(request)
        if token and launched:
            self._launches[token] = _Launch(parameters, [one.instance_id for one in launched])
        return reply, launched

    def _replay(self, request: Request, known: _Launch, parameters: frozenset[tuple[str, str]]) -> Reply:
        if parameters != known.form:
            message = (
                "Arguments on this idempotent request are inconsistent with arguments used in previous request(s)."
            )
            return _error("ec2", 400, "IdempotentParameterMismatch", message)
        if all(self._account.is_dead(instance_id) for instance_id in known.instance_ids):
            message = "The instances of this client token were terminated."
            return _error("ec2", 400, "IdempotentInstanceTerminated", message)
        return self._account.launch_reply(request, known.instance_ids)

    def _terminate_instances(self, request: Request) -> tuple[Reply, list[str]]:
        """With a protected one among them EC2 spares its whole availability zone, and terminates those of others."""
        ids = request.ids()
        spared = {zone for zone in map(self._account.protected_zone, ids) if zone is not None}
        if not spared or not all(map(self._account.is_visible, ids)):
            return self._account.terminate(request)
        elsewhere = [instance_id for instance_id in ids if self._account.zone(instance_id) not in spared]
        died: list[str] = []
        if elsewhere:
            form = {key: value for key, value in request.form.items() if not key.startswith("InstanceId.")}
            form |= {f"InstanceId.{index}": instance_id for index, instance_id in enumerate(elsewhere, start=1)}
            _, died = self._account.terminate(request.with_form(form))
        protected = next(instance_id for instance_id in ids if self._account.protected_zone(instance_id) is not None)
        message = (
            f"The instance '{protected}' may not be terminated. "
            "Modify its 'disableApiTermination' instance attribute and try again."
        )
        return _error("ec2", 400, "OperationNotPermitted", message), died

    def _switch_instances(self, request: Request, *, on: bool) -> Reply:
        """All or none."""
        ids = request.ids()
        if all(map(self._account.is_visible, ids)):  # else moto says NotFound
            for instance_id in ids:
                if not self._account.may_switch(instance_id, on=on):
                    verb = "started" if on else "stopped"
                    message = f"This instance '{instance_id}' is not in a state from which it can be {verb}."
                    return _error("ec2", 400, "IncorrectInstanceState", message)
                offering = self._account.offering(instance_id)
                if on and self._account.is_stopped(instance_id) and offering in self._exhausted:
                    return _no_capacity(*offering)
        return self._account.switch(request, on=on)

    def _tag(self, request: Request) -> Reply:
        """moto tags what does not exist."""
        named = [value for key, value in request.form.items() if key.startswith("ResourceId.")]
        unknown = [one for one in named if one.startswith("i-") and not self._account.is_visible(one)]
        if unknown:
            message = f"The instance IDs '{', '.join(unknown)}' do not exist"
            return _error("ec2", 400, "InvalidInstanceID.NotFound", message)
        return self._account.forward(request)

    # --- control ---

    def _control(self, environ: "WSGIEnvironment", what: str) -> Reply:
        if not ip_address(environ.get("REMOTE_ADDR", "0.0.0.0")).is_loopback:  # noqa: S104 - stands for "unknown"
            return _json(403, {"error": "loopback only"})
        steps: dict[tuple[str, str], Callable[[], Reply]] = {
            ("GET", "instances"): lambda: _json(200, self.instances()),
            ("GET", "faults"): lambda: _json(200, {"hanging": self.faults.hanging}),
            ("POST", "faults"): lambda: self._add_fault(_read_json(environ)),
            ("DELETE", "faults"): self._end_faults,
            ("POST", "offerings"): lambda: self._stock(**_read_json(environ)),
        }
        step = steps.get((environ["REQUEST_METHOD"], what))
        if step is None:
            return _json(404, {"error": "no such thing here"})
        try:
            return step()
        except (ValueError, TypeError) as error:
            return _json(400, {"error": str(error)})

    def _add_fault(self, document: dict[str, Any]) -> Reply:
        self.faults.add(Fault.read(document))
        return _json(201, {})

    def _end_faults(self) -> Reply:
        self.faults.clear()
        self.faults.release()
        return _json(200, {})

    def _stock(self, *, instance_type: str, subnet: str, exhausted: bool) -> Reply:
        change = self.exhaust if exhausted else self.restock
        change(instance_type, subnet)
        return _json(201, {})


def _read_request(environ: "WSGIEnvironment") -> Request | None:
    _, service = _credential_scope(environ)
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if not service or environ.get("PATH_INFO") != "/" or length > BODY_BYTES_MAX:
        return None
    body = environ["wsgi.input"].read(length)
    target = environ.get("HTTP_X_AMZ_TARGET")
    if target:
        return Request(service, target.rpartition(".")[2], body, environ)
    form = read_form(body)
    return Request(service, form.get("Action", ""), body, environ, form)


def _credential_scope(environ: "WSGIEnvironment") -> tuple[str, str]:
    """Region and service of a signed request; empty for an unsigned one. Signatures are not verified."""
    _, _, scope = str(environ.get("HTTP_AUTHORIZATION", "")).partition("Credential=")
    parts = scope.partition(",")[0].split("/")
    return (parts[2], parts[3]) if len(parts) == 5 else ("", "")  # noqa: PLR2004 - key/date/region/service/aws4_request


def _read_json(environ: "WSGIEnvironment") -> dict[str, Any]:
    # A web page cannot send this type to another origin without being asked first.
    if environ.get("CONTENT_TYPE", "").partition(";")[0] != "application/json":
        raise ValueError("send application/json")
    document = json.loads(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
    if not isinstance(document, dict):
        raise TypeError("send an object")
    return document


def _json(status: int, document: object) -> Reply:
    return Reply(status, json.dumps(document).encode(), (("Content-Type", "application/json"),))


def _no_capacity(instance_type: str, subnet: str) -> Reply:
    message = f"We currently do not have sufficient {instance_type} capacity in the zone of {subnet}."
    return _error("ec2", 500, "InsufficientInstanceCapacity", message)


def _error(service: str, status: int, code: str, message: str) -> Reply:
    """An error as each service words it."""
    if service == "ssm":
        return _json(status, {"__type": code, "message": message})
    error = f"<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error>"
    if service == "sts":
        return Reply(status, f"<ErrorResponse>{error}<RequestId>sandbox</RequestId></ErrorResponse>".encode())
    return Reply(status, f"<Response><Errors>{error}</Errors><RequestID>sandbox</RequestID></Response>".encode())


class _QuietHandler(WSGIRequestHandler):
    def connection_dropped(self, error: BaseException, environ: "WSGIEnvironment | None" = None) -> None:  # noqa: ARG002 - werkzeug's signature
        """The endpoint raised on purpose: werkzeug by itself would keep an HTTP/1.1 connection open."""
        self.close_connection = True

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - werkzeug's name
        """Nothing: the client reports its requests."""


@contextmanager
def serve(app: "WSGIApplication", host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve it from a thread of this process; yields the URL, stops on leaving."""
    server = make_server(host, port, app, threaded=True, request_handler=_QuietHandler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, name="sandbox-ec2", daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_port}"
    finally:
        if isinstance(app, Ec2Endpoint):
            app.faults.clear()
            app.faults.release()
        server.shutdown()
        thread.join()
        server.server_close()
