"""A Chef Server in memory, behind the port: as slow to index and as quick to conflict as the real one."""

import copy
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from cryptography.hazmat.primitives.serialization import load_pem_public_key

from reconciler.errors import Conflict, HivequeenError, Transient
from reconciler.model.names import ChefName, NodeName
from reconciler.model.observed import ChefEnvironment, ChefNode, ChefRole
from reconciler.model.run_list import normalise
from reconciler.ports import Claim

_Value = TypeVar("_Value")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class _Fault:
    error: HivequeenError
    after_commit: bool


class _Organisation:
    """What the server stores."""

    def __init__(self) -> None:
        self.nodes: dict[str, ChefNode] = {}
        self.roles: dict[str, ChefRole] = {}
        self.environments: dict[str, ChefEnvironment] = {
            "_default": ChefEnvironment(
                name=ChefName("_default"), default_attributes={}, description="The default Chef environment"
            )
        }
        self.clients: dict[str, str] = {"chef-validator": ""}  # name → public key (PEM)

    def copy(self) -> "_Organisation":
        """What is stored is copied when it is put, and never changed afterwards."""
        other = _Organisation()
        other.nodes, other.roles = dict(self.nodes), dict(self.roles)
        other.environments, other.clients = dict(self.environments), dict(self.clients)
        return other


class FakeChefServer:
    """`ports.ChefServer` without a network.

    Attributes:
        calls: how often each operation ran: "search nodes" (a whole-organisation read), "get nodes" (one per name),
            else the port's method name ("put_role", "claim"…).
        reads, writes: requests that asked, and requests that changed something.
        search_lag: while true, whole-organisation reads answer as of the last `index()`.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.reads = 0
        self.writes = 0
        self.search_lag = False
        self._claim: Claim | None = None
        self._stored = _Organisation()
        self._indexed = _Organisation()
        self._faults: defaultdict[str, deque[_Fault]] = defaultdict(deque)
        self._lock = threading.RLock()

    # --- what a test does to the server ---------------------------------------------------------------------------

    def fail_next(self, operation: str, error: HivequeenError, *, after_commit: bool = False) -> None:
        """The next call of this port method raises `error`, before or after it did its work. Calls queue up."""
        with self._lock:
            self._faults[operation].append(_Fault(error, after_commit))

    def index(self) -> None:
        """Bring the search index up to date."""
        with self._lock:
            self._indexed = self._stored.copy()

    def save_node(
        self,
        name: str,
        *,
        chef_environment: str = "_default",
        run_list: Sequence[str] = (),
        ohai_time: float | None = None,
    ) -> None:
        """What a node's own successful Chef run does, or anybody with knife."""
        with self._lock:
            self._stored.nodes[name] = ChefNode(
                name=NodeName(name),
                chef_environment=ChefName(chef_environment),
                run_list=normalise(run_list),
                ohai_time=ohai_time,
            )

    def forget_claim(self) -> None:
        """Somebody deletes the data-bag item."""
        with self._lock:
            self._claim = None

    @property
    def stored_nodes(self) -> Mapping[str, ChefNode]:
        """What is there, without a call being counted; so are the next three."""
        with self._lock:
            return dict(self._stored.nodes)

    @property
    def stored_roles(self) -> Mapping[str, ChefRole]:
        with self._lock:
            return dict(self._stored.roles)

    @property
    def stored_environments(self) -> Mapping[str, ChefEnvironment]:
        with self._lock:
            return dict(self._stored.environments)

    @property
    def stored_clients(self) -> Mapping[str, str]:
        with self._lock:
            return dict(self._stored.clients)

    # --- the port -------------------------------------------------------------------------------------------------

    def nodes(self, names: Collection[NodeName] | None = None) -> Mapping[str, ChefNode]:
        return self._read("nodes", names, lambda organisation: organisation.nodes)

    def roles(self, names: Collection[ChefName] | None = None) -> Mapping[str, ChefRole]:
        return self._read("roles", names, lambda organisation: organisation.roles)

    def environments(self, names: Collection[ChefName] | None = None) -> Mapping[str, ChefEnvironment]:
        return self._read("environments", names, lambda organisation: organisation.environments)

    def clients(self, names: Collection[NodeName] | None = None) -> frozenset[str]:
        return frozenset(self._read("clients", names, lambda organisation: organisation.clients))

    def put_role(self, role: ChefRole) -> bool:
        wanted = replace(role, run_list=normalise(role.run_list))
        return self._call("put_role", lambda: self._put(self._stored.roles, wanted.name, copy.deepcopy(wanted)))

    def put_environment(self, environment: ChefEnvironment) -> bool:
        def put() -> bool:
            existing = self._stored.environments.get(environment.name)
            attributes = dict(existing.default_attributes if existing else environment.default_attributes)
            if "hivequeen" in environment.default_attributes:
                attributes["hivequeen"] = environment.default_attributes["hivequeen"]
            wanted = copy.deepcopy(replace(environment, default_attributes=attributes))
            return self._put(self._stored.environments, environment.name, wanted)

        return self._call("put_environment", put)

    def put_node(self, name: NodeName, chef_environment: ChefName, run_list: Sequence[str]) -> bool:
        def put() -> bool:
            existing = self._stored.nodes.get(name)
            if existing is None:
                self.reads += 1
                return False
            wanted = replace(existing, chef_environment=chef_environment, run_list=normalise(run_list))
            return self._put(self._stored.nodes, name, wanted)

        return self._call("put_node", put)

    def delete_node(self, name: NodeName) -> None:
        self._call("delete_node", lambda: self._delete(self._stored.nodes, name))

    def delete_client(self, name: NodeName) -> None:
        self._call("delete_client", lambda: self._delete(self._stored.clients, name))

    def delete_role(self, name: ChefName) -> None:
        self._call("delete_role", lambda: self._delete(self._stored.roles, name))

    def delete_environment(self, name: ChefName) -> None:
        self._call("delete_environment", lambda: self._delete(self._stored.environments, name))

    def create_client(self, name: NodeName, public_key: str) -> None:
        def create() -> None:
            existing = self._stored.clients.get(name)
            if existing is None:
                self._stored.clients[name] = public_key
                self.writes += 1
                return
            self.reads += 1
            if not existing or load_pem_public_key(existing.encode()) != load_pem_public_key(public_key.encode()):
                raise Conflict(f"Chef client {name} exists with another key", code="409")

        self._call("create_client", create)

    def claim(self) -> Claim | None:
        def read() -> Claim | None:
            self.reads += 1
            return self._claim

        return self._call("claim", read)

    def create_claim(self, claim: Claim) -> None:
        def create() -> None:
            if self._claim is not None:
                raise Conflict(f"data bag item hivequeen/{claim.fleet} exists", code="409")
            self._claim = claim
            self.writes += 1

        self._call("create_claim", create)

    def update_claim(self, claim: Claim) -> None:
        def update() -> None:
            if self._claim is None:
                raise Transient(f"data bag item hivequeen/{claim.fleet} vanished before it could be updated")
            self._claim = claim
            self.writes += 1

        self._call("update_claim", update)

    # --- how ------------------------------------------------------------------------------------------------------

    def _call(self, operation: str, work: Callable[[], _Result], *, counted_as: str = "", times: int = 1) -> _Result:
        with self._lock:
            self.calls[counted_as or operation] += times
            fault = self._faults[operation].popleft() if self._faults[operation] else None
            if fault is not None and not fault.after_commit:
                raise fault.error
            result = work()
            if fault is not None:
                raise fault.error
            return result

    def _read(
        self,
        kind: str,
        names: Collection[str] | None,
        choose: Callable[[_Organisation], Mapping[str, _Value]],
    ) -> Mapping[str, _Value]:
        def read() -> Mapping[str, _Value]:
            if names is None:
                self.reads += 1
                return dict(choose(self._indexed if self.search_lag else self._stored))
            self.reads += len(set(names))
            stored = choose(self._stored)
            return {name: stored[name] for name in names if name in stored}

        if names is None:
            return self._call(kind, read, counted_as=f"search {kind}")
        return self._call(kind, read, counted_as=f"get {kind}", times=len(set(names)))

    def _put(self, kind: dict[str, _Value], name: str, wanted: _Value) -> bool:
        self.reads += 1
        if kind.get(name) == wanted:
            return False
        kind[name] = wanted
        self.writes += 1
        return True

    def _delete(self, kind: dict[str, _Value], name: str) -> None:
        self.writes += 1
        kind.pop(name, None)
