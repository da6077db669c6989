"""The instance metadata service of every simulated instance: `/instances/{id}/latest/…`, version 2 only."""

import secrets
import threading
from base64 import b64encode
from hashlib import sha256

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from reconciler.sandbox.authority import IdentityAuthority, identity_document
from reconciler.sandbox.ec2_account import Launched

TOKEN_HEADER = "x-aws-ec2-metadata-token"  # noqa: S105 - a header's name
TTL_HEADER = "x-aws-ec2-metadata-token-ttl-seconds"


class Imds:
    """Serves what its instances may know of themselves. `app` is a Starlette application."""

    def __init__(self, authority: IdentityAuthority) -> None:
        self._authority = authority
        self._instances: dict[str, Launched] = {}
        self._secret = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self.app = Starlette(
            routes=[
                Route("/instances/{instance_id}/latest/api/token", self._token, methods=["PUT"]),
                Route("/instances/{instance_id}/latest/{path:path}", self._read, methods=["GET"]),
            ]
        )

    def add(self, launched: Launched) -> None:
        with self._lock:
            self._instances[launched.instance_id] = launched

    def remove(self, instance_id: str) -> None:
        with self._lock:
            self._instances.pop(instance_id, None)

    async def _token(self, request: Request) -> Response:
        if not request.headers.get(TTL_HEADER, "").isdecimal():
            return PlainTextResponse("", status_code=400)
        return PlainTextResponse(self._token_of(request.path_params["instance_id"]))

    async def _read(self, request: Request) -> Response:
        instance_id = request.path_params["instance_id"]
        if not secrets.compare_digest(request.headers.get(TOKEN_HEADER, ""), self._token_of(instance_id)):
            return PlainTextResponse("", status_code=401)
        with self._lock:
            launched = self._instances.get(instance_id)
        content = self._content(launched, request.path_params["path"]) if launched else None
        return PlainTextResponse("", status_code=404) if content is None else Response(content)

    def _content(self, launched: Launched, path: str) -> bytes | None:
        match path:
            case "meta-data/instance-id":
                return launched.instance_id.encode("ascii")
            case "meta-data/local-ipv4":
                return launched.private_ip.encode("ascii")
            case "user-data":
                return launched.user_data.encode() or None
            case "dynamic/instance-identity/document":
                return identity_document(launched)
            case "dynamic/instance-identity/signature":
                return self._authority.sign(identity_document(launched))
            case _:
                return None

    def _token_of(self, instance_id: str) -> str:
        return b64encode(sha256(self._secret + instance_id.encode()).digest()).decode("ascii")
