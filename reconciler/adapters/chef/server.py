"""`ports.ChefServer` on a real Chef Server."""

import ssl
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlsplit

from reconciler.adapters.chef import documents
from reconciler.adapters.chef.documents import Document
from reconciler.adapters.chef.importing import Client, Environment, Node, NotFound, Role
from reconciler.adapters.chef.signing import Key, SSLError, key_material
from reconciler.adapters.chef.transport import SigningChefAPI
from reconciler.errors import Conflict, Denied, Refused, SettingsError, Transient
from reconciler.model.names import ChefName, FleetId, NodeName
from reconciler.model.observed import ChefEnvironment, ChefNode, ChefRole
from reconciler.model.run_list import normalise
from reconciler.ports import Claim, Clock, RequestCounter
from reconciler.settings import ChefSettings

_Value = TypeVar("_Value")

CLAIM_BAG: Final = "hivequeen"

# A search must be one request, because its order may change from one to the next. OpenSearch behind a real server
# refuses to return more than 10,000 rows unless it is configured to, and then counts no further either
# (chef/chef-server#3786): so that many means that there may be more, and only then a larger request is worth its risk.
SEARCH_ROWS: Final = (10_000, 100_000)


class PyChefServer:
    """One organisation, as one API client with the fleet's claim."""

    def __init__(
        self,
        *,
        settings: ChefSettings,
        fleet: FleetId,
        clock: Clock,
        count: RequestCounter,
        timeouts_s: tuple[float, float] = (3.0, 15.0),
        readers: int = 8,
    ) -> None:
        """Nothing is contacted yet.

        Args:
            timeouts_s: to connect, and between bytes of a reply. A search over 10,000 nodes takes about a second.
            readers: named reads that run at once.

        Raises:
            SettingsError: the URL, the key or the authority's certificate cannot be used.
        """
        self._fleet = fleet
        self._api = SigningChefAPI(
            settings.server_url,
            _usable_key(settings),
            settings.client_name,
            ca_certificate=settings.ca_certificate,
            clock=clock,
            count=count,
            timeouts_s=timeouts_s,
        )
        self._readers = ThreadPoolExecutor(max_workers=readers, thread_name_prefix="chef-read")

    def close(self) -> None:
        """Stop the reading threads and close all connections."""
        self._readers.shutdown(cancel_futures=True)
        self._api.close()

    # --- reads ----------------------------------------------------------------------------------------------------

    def nodes(self, names: Collection[NodeName] | None = None) -> Mapping[str, ChefNode]:
        if names is None:
            return _by_name(self._search("node", documents.NODE_KEYS), documents.node_from_row)
        return _by_name(self._get_each("nodes", names), documents.node_from)

    def roles(self, names: Collection[ChefName] | None = None) -> Mapping[str, ChefRole]:
        if names is None:
            return _by_name(self._search("role", documents.ROLE_KEYS), documents.role_from)
        return _by_name(self._get_each("roles", names), documents.role_from)

    def environments(self, names: Collection[ChefName] | None = None) -> Mapping[str, ChefEnvironment]:
        if names is None:
            return _by_name(self._search("environment", documents.ENVIRONMENT_KEYS), documents.environment_from)
        return _by_name(self._get_each("environments", names), documents.environment_from)

    def clients(self, names: Collection[NodeName] | None = None) -> frozenset[str]:
        if names is None:
            return frozenset(row["name"] for row in self._search("client", documents.CLIENT_KEYS))
        return frozenset(document["name"] for document in self._get_each("clients", names))

    # --- writes ---------------------------------------------------------------------------------------------------

    def put_role(self, role: ChefRole) -> bool:
        return self._put(
            "roles",
            role.name,
            new=documents.new_role(role),
            change=lambda existing: documents.changed_role(existing, role),
            read=documents.role_from,
        )

    def put_environment(self, environment: ChefEnvironment) -> bool:
        return self._put(
            "environments",
            environment.name,
            new=documents.new_environment(environment),
            change=lambda existing: documents.changed_environment(existing, environment),
            read=documents.environment_from,
        )

    def put_node(self, name: NodeName, chef_environment: ChefName, run_list: Sequence[str]) -> bool:
        return self._put(
            "nodes",
            name,
            new=None,  # a node that hivequeen created could not be saved by its own client
            change=lambda existing: documents.changed_node(existing, chef_environment, normalise(run_list)),
            read=documents.node_from,
        )

    def delete_node(self, name: NodeName) -> None:
        self._delete(Node, name)

    def delete_client(self, name: NodeName) -> None:
        self._delete(Client, name)

    def delete_role(self, name: ChefName) -> None:
        self._delete(Role, name)

    def delete_environment(self, name: ChefName) -> None:
        self._delete(Environment, name)

    def create_client(self, name: NodeName, public_key: str) -> None:
        wanted = key_material(public_key)
        if wanted is None:
            raise Refused(f"the public key for Chef client {name} is not a key in PEM form", code="400")
        try:
            reply = self._ask("POST", "/clients", {"name": name, "admin": False, "public_key": public_key})
        except Conflict:
            existing = self._client_key(name)
            if existing is None or key_material(existing) != wanted:
                raise Conflict(
                    f"Chef client {name} exists already, with another key or one that cannot be read", code="409"
                ) from None
            return
        made = documents.client_key(reply)
        if made is not None and key_material(made) != wanted:
            raise Refused(
                f"Chef Server made Chef client {name} with a key of its own", remedy=f"delete Chef client {name}"
            )

    # --- the claim ------------------------------------------------------------------------------------------------

    def claim(self) -> Claim | None:
        try:
            item = self._request("GET", _claim_path(self._fleet))
        except NotFound:
            return None
        return documents.claim_from(item)

    def create_claim(self, claim: Claim) -> None:
        item = documents.claim_document(claim)
        try:
            self._request("POST", f"/data/{CLAIM_BAG}", item)
        except NotFound:
            with suppress(Conflict):  # somebody else made the bag just now; the item decides who wins
                self._ask("POST", "/data", {"name": CLAIM_BAG})
            self._ask("POST", f"/data/{CLAIM_BAG}", item)

    def update_claim(self, claim: Claim) -> None:
        self._ask("PUT", _claim_path(claim.fleet), documents.claim_document(claim))

    # --- how ------------------------------------------------------------------------------------------------------

    def _request(self, method: str, path: str, data: object = None) -> Document:
        """The reply's JSON object. Raises PyChef's NotFound too: only for callers who know what that means."""
        document = self._api.api_request(method, path, data=data)
        if not isinstance(document, dict):
            raise Transient(f"Chef Server's answer to {method} {path} is not an object")
        return document

    def _ask(self, method: str, path: str, data: object = None) -> Document:
        """As `_request`, of what must be there."""
        try:
            return self._request(method, path, data)
        except NotFound as error:
            raise Transient(f"{error} (it should have been there; somebody may have deleted it just now)") from error

    def _get(self, kind: str, name: str) -> Document | None:
        try:
            document = self._request("GET", f"/{kind}/{quote(name, safe='')}")
        except NotFound:
            return None
        if document.get("name") != name:
            raise Transient(f"Chef Server answered GET /{kind}/{name} with another object")
        return document

    def _get_each(self, kind: str, names: Collection[str]) -> Iterable[Document]:
        wanted = sorted(set(names))
        if len(wanted) <= 1:  # the common case needs no thread
            found = [self._get(kind, name) for name in wanted]
        else:
            found = list(self._readers.map(lambda name: self._get(kind, name), wanted))
        return [document for document in found if document is not None]

    def _search(self, index: str, keys: Mapping[str, Sequence[str]]) -> Sequence[Document]:
        """Every object of this index; one request, a second one only in an organisation of 10,000."""
        for rows in SEARCH_ROWS:
            path = f"/search/{index}?q=*%3A*&rows={rows}&start=0"
            answer = documents.search_answer(index, self._ask("POST", path, keys))
            if max(answer.total, len(answer.rows)) < SEARCH_ROWS[0]:
                break
        if answer.total != len(answer.rows) or len(answer.rows) in SEARCH_ROWS:
            raise Transient(
                f"Chef Server returned {len(answer.rows)} of {answer.total} {index}s from its search",
                remedy=f"if it lasts: `chef-server-ctl reindex`; READ on every {index}; in an organisation of 10,000 or more, "
                "raise index.max_result_window and track_total_hits",
            )
        return answer.rows

    def _put(
        self,
        kind: str,
        name: str,
        *,
        new: Document | None,
        change: Callable[[Document], Document],
        read: Callable[[Document], object],
    ) -> bool:
        """GET, change what is ours, PUT; POST `new` where there is none. True if anything was written."""
        existing = self._get(kind, name)
        if existing is None:
            if new is None:
                return False
            try:
                self._ask("POST", f"/{kind}", new)
            except Conflict:
                existing = self._get(kind, name)  # a lost race: what is there now is compared like anything else
                if existing is None:
                    raise Transient(f"Chef Server's {kind} {name} comes and goes") from None
            else:
                return True
        wanted = change(existing)
        if read(wanted) == read(existing):
            return False
        self._ask("PUT", f"/{kind}/{quote(name, safe='')}", wanted)
        return True

    def _delete(self, kind: Callable[..., object], name: str) -> None:
        thing: Any = kind(quote(name, safe=""), api=self._api, skip_load=True)
        with suppress(NotFound):
            thing.delete()

    def _client_key(self, name: str) -> str | None:
        """From the client itself (API version 0 and goiardi) or from its keys; None where it cannot be read."""
        path = f"/clients/{quote(name, safe='')}"
        try:
            client = self._ask("GET", path)
            return documents.client_key(client) or documents.client_key(self._request("GET", f"{path}/keys/default"))
        except (NotFound, Denied):
            return None


def _claim_path(fleet: str) -> str:
    return f"/data/{CLAIM_BAG}/{quote(fleet, safe='')}"


def _by_name(found: Iterable[Document], read: Callable[[Document], _Value]) -> dict[str, _Value]:
    return {document["name"]: read(document) for document in found}


def _usable_key(settings: ChefSettings) -> Key:
    """The client's key; every fault of the Chef settings that can be seen without contact is told at once."""
    problems = []
    url = urlsplit(settings.server_url)
    if url.scheme not in ("http", "https") or not url.hostname:
        problems.append(f"chef.server_url: {settings.server_url} is not an http or https URL")
    if settings.ca_certificate is not None:
        try:
            ssl.create_default_context(cafile=settings.ca_certificate)
        except (OSError, ssl.SSLError) as error:
            problems.append(f"chef.ca_certificate: {settings.ca_certificate}: {error.strerror or error}")
    key = None
    try:
        key = Key(str(settings.client_key))
    except OSError as error:
        problems.append(f"chef.client_key: {settings.client_key}: {error.strerror}")
    except SSLError as error:
        problems.append(f"chef.client_key: {settings.client_key}: {error}")
    if problems or key is None:
        raise SettingsError(tuple(problems))
    return key
