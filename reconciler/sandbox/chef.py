"""A small Chef Server: enough for Hivequeen and for the first Chef run of its nodes. In memory, one organisation.

It authenticates every request as the real one does, and keeps to its default permissions: the admin may do everything,
a client may read roles, environments, nodes and data bags, and may create and save only the node of its own name.
"""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

from cryptography.hazmat.primitives.serialization import load_pem_public_key
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from reconciler.sandbox.chef_objects import INDEXES, ChefRefusal, Document, Objects
from reconciler.sandbox.chef_signatures import BadSignature, user_of, verify

_CLIENT_FIELDS: Final = {
    "name",
    "clientname",
    "admin",
    "validator",
    "public_key",
    "create_key",
    "json_class",
    "chef_type",
}
_API_VERSION_WITH_KEYS: Final = 1  # from it on, a client's key is an object of its own


def create_chef_app(
    *, admin: str, admin_public_key: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Starlette:
    """Served at any address; `/organizations/NAME` in front of a path is accepted, whatever the name.

    Args:
        admin: the API client that may do everything.
        admin_public_key: its RSA key, PEM.
        now: the server's clock.
    """
    server = _ChefServer(admin, admin_public_key, now)
    routes = server.routes()
    return Starlette(
        routes=[Route("/_status", _status), Mount("/organizations/{organization}", routes=routes), *routes],
        exception_handlers={ChefRefusal: _refuse},
    )


async def _status(_: Request) -> Response:
    return JSONResponse({"status": "pong"})


async def _refuse(_: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, ChefRefusal) else 500
    return JSONResponse({"error": [str(error)]}, status_code=status)


_Work = Callable[["_Call"], tuple[int, object]]


class _Call:
    """One authenticated request."""

    def __init__(self, request: Request, *, user: str, is_admin: bool, body: bytes) -> None:
        self.method = "GET" if request.method == "HEAD" else request.method
        self.kind = request.path_params.get("kind", "")
        self.name = request.path_params.get("name", "")
        self.item = request.path_params.get("item", "")
        self.query = request.query_params
        self.user = user
        self.is_admin = is_admin
        version = request.headers.get("x-ops-server-api-version", "0")
        self.keys_apart = version.isdecimal() and int(version) >= _API_VERSION_WITH_KEYS
        self._root = str(request.base_url).rstrip("/")
        self._body = body

    def document(self) -> Document:
        try:
            document = json.loads(self._body)
        except ValueError:
            raise ChefRefusal(400, "invalid JSON") from None
        if not isinstance(document, dict):
            raise ChefRefusal(400, "the body is not a JSON object")
        return document

    def uri(self, *parts: str) -> str:
        return "/".join((self._root, *parts))

    def require(self, *, allowed: bool) -> None:
        if not allowed and not self.is_admin:
            permission = {"GET": "read", "POST": "create", "PUT": "update", "DELETE": "delete"}[self.method]
            raise ChefRefusal(403, f"missing {permission} permission")


class _ChefServer:
    def __init__(self, admin: str, admin_public_key: str, now: Callable[[], datetime]) -> None:
        self._admin = admin
        self._now = now
        self._objects = Objects()
        self._objects.create(
            "clients", {"name": admin, "admin": True, "validator": False, "public_key": admin_public_key}
        )

    def routes(self) -> list[BaseRoute]:
        def route(path: str, methods: list[str], work: _Work) -> Route:
            return Route(path, self._authenticated(work), methods=methods)

        return [
            route("/search/{name}", ["GET", "POST"], self._search),
            route("/clients", ["GET", "POST"], self._clients),
            route("/clients/{name}/keys/default", ["GET"], self._client_key),
            route("/clients/{name}", ["GET", "DELETE"], self._client),
            route("/data", ["GET", "POST"], self._bags),
            route("/data/{name}", ["GET", "POST", "DELETE"], self._bag),
            route("/data/{name}/{item}", ["GET", "PUT", "DELETE"], self._item),
            *(
                route(f"/{kind}{rest}", methods, work)
                for kind in ("nodes", "roles", "environments")
                for rest, methods, work in (
                    ("", ["GET", "POST"], self._collection(kind)),
                    ("/{name}", ["GET", "PUT", "DELETE"], self._object(kind)),
                )
            ),
        ]

    def _authenticated(self, work: _Work) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            body = await request.body()
            user = self._authenticate(request, body)
            is_admin = user == self._admin
            status, document = work(_Call(request, user=user, is_admin=is_admin, body=body))
            return JSONResponse(document, status_code=status)

        return answer

    def _authenticate(self, request: Request, body: bytes) -> str:
        raw_path = request.scope.get("raw_path")
        try:
            user = user_of(request.headers)
            verify(
                method=request.method,
                path=raw_path.decode() if isinstance(raw_path, bytes) else request.url.path,
                headers=request.headers,
                body=body,
                public_key=self._objects.get("clients", user)["public_key"],
                now=self._now(),
            )
        except (BadSignature, ChefRefusal) as error:
            told = error if isinstance(error, BadSignature) else "no such client"
            name = request.headers.get("x-ops-userid", "?")
            raise ChefRefusal(401, f"Failed to authenticate as '{name}'. {told}") from None
        return user

    # --- nodes, roles, environments -------------------------------------------------------------------------------

    def _collection(self, kind: str) -> _Work:
        def work(call: _Call) -> tuple[int, object]:
            if call.method == "GET":
                return 200, {name: call.uri(kind, name) for name in self._objects.names(kind)}
            document = call.document()
            call.require(allowed=kind == "nodes" and document.get("name") == call.user)
            created = self._objects.create(kind, document)
            return 201, {"uri": call.uri(kind, created["name"])}

        return work

    def _object(self, kind: str) -> _Work:
        def work(call: _Call) -> tuple[int, object]:
            match call.method:
                case "GET":
                    return 200, self._objects.get(kind, call.name)
                case "PUT":
                    call.require(allowed=kind == "nodes" and call.name == call.user)
                    return 200, self._objects.replace(kind, call.name, call.document())
                case _:
                    call.require(allowed=False)
                    return 200, self._objects.delete(kind, call.name)

        return work

    # --- clients --------------------------------------------------------------------------------------------------

    def _clients(self, call: _Call) -> tuple[int, object]:
        call.require(allowed=False)
        if call.method == "GET":
            return 200, {name: call.uri("clients", name) for name in self._objects.names("clients")}
        document = call.document()
        if unknown := sorted(set(document) - _CLIENT_FIELDS):
            raise ChefRefusal(400, f"Invalid key {unknown[0]} in request body")
        key = _checked_key(document.get("public_key"))
        name = self._objects.create(
            "clients", {"name": document.get("name"), "admin": False, "validator": False, "public_key": key}
        )["name"]
        uri = call.uri("clients", name)
        if not call.keys_apart:
            return 201, {"uri": uri, "public_key": key}
        chef_key = {"name": "default", "public_key": key, "expiration_date": "infinity", "uri": f"{uri}/keys/default"}
        return 201, {"uri": uri, "chef_key": chef_key}

    def _client(self, call: _Call) -> tuple[int, object]:
        call.require(allowed=call.method == "GET" and call.name == call.user)
        client = self._objects.get("clients", call.name)
        if call.method == "DELETE":
            self._objects.delete("clients", call.name)
        shown = {
            "name": call.name,
            "clientname": call.name,
            "validator": False,
            "json_class": "Chef::ApiClient",
            "chef_type": "client",
        }
        return 200, shown if call.keys_apart else shown | {"admin": client["admin"], "public_key": client["public_key"]}

    def _client_key(self, call: _Call) -> tuple[int, object]:
        call.require(allowed=call.name == call.user)
        key = self._objects.get("clients", call.name)["public_key"]
        return 200, {"name": "default", "public_key": key, "expiration_date": "infinity"}

    # --- data bags ------------------------------------------------------------------------------------------------

    def _bags(self, call: _Call) -> tuple[int, object]:
        if call.method == "GET":
            return 200, {name: call.uri("data", name) for name in self._objects.names("data")}
        call.require(allowed=False)
        bag = self._objects.create("data", {"name": call.document().get("name"), "items": {}})
        return 201, {"uri": call.uri("data", bag["name"])}

    def _bag(self, call: _Call) -> tuple[int, object]:
        if call.method == "GET":
            items = self._objects.get("data", call.name)["items"]
            return 200, {item: call.uri("data", call.name, item) for item in sorted(items)}
        call.require(allowed=False)
        if call.method == "POST":
            item = self._objects.put_item(call.name, call.document())
            return 201, item | {"chef_type": "data_bag_item", "data_bag": call.name}
        self._objects.delete("data", call.name)
        return 200, {"name": call.name, "json_class": "Chef::DataBag", "chef_type": "data_bag"}

    def _item(self, call: _Call) -> tuple[int, object]:
        if call.method == "GET":
            return 200, self._objects.item(call.name, call.item)
        call.require(allowed=False)
        if call.method == "PUT":
            return 200, self._objects.put_item(call.name, call.document(), name=call.item)
        return 200, self._objects.item(call.name, call.item, delete=True)

    # --- search ---------------------------------------------------------------------------------------------------

    def _search(self, call: _Call) -> tuple[int, object]:
        """Whole objects by GET; by POST only the values at the paths that the body names."""
        call.require(allowed=call.name != "client")
        found = self._objects.search(call.name, call.query.get("q", "*:*"))
        try:
            start, rows = int(call.query.get("start", "0")), int(call.query.get("rows", "1000"))
        except ValueError:
            raise ChefRefusal(400, "invalid 'start' or 'rows'") from None
        page = found[start : start + rows]
        answer: dict[str, object] = {"total": len(found), "start": start, "rows": page}
        if call.method == "POST":
            paths = call.document()
            answer["rows"] = [
                {
                    "url": call.uri(INDEXES[call.name], document["name"]),
                    "data": {key: _value_at(document, path) for key, path in paths.items()},
                }
                for document in page
            ]
        return 200, answer


def _value_at(document: object, path: list[str]) -> object:
    for step in path:
        document = document.get(step) if isinstance(document, dict) else None
    return document


def _checked_key(key: object) -> str:
    try:
        load_pem_public_key(str(key).encode())
    except ValueError:
        raise ChefRefusal(400, "Field 'public_key' is not a public key in PEM form") from None
    return str(key)
