"""What the sandbox's Chef Server stores: whole objects, checked and completed as the real one does."""

import copy
import json
import re
import threading
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from reconciler.model.run_list import normalise

Document: TypeAlias = dict[str, Any]

INDEXES: Final = {"node": "nodes", "role": "roles", "environment": "environments", "client": "clients"}
_NAME = re.compile(r"[A-Za-z0-9_.:\-]+")
_RUN_LIST_ITEM = re.compile(
    r"(recipe\[)?[A-Za-z0-9_.\-]+(::[A-Za-z0-9_.\-]+)?(@\d+\.\d+(\.\d+)?)?(?(1)\])|role\[[A-Za-z0-9_.:\-]+\]"
)
# Field → what a missing one becomes. A PUT replaces the whole object, so what it leaves out is lost.
_FIELDS: Final[dict[str, Document]] = {
    "nodes": {
        "json_class": "Chef::Node",
        "chef_type": "node",
        "chef_environment": "_default",
        "automatic": {},
        "normal": {},
        "default": {},
        "override": {},
        "run_list": [],
    },
    "roles": {
        "json_class": "Chef::Role",
        "chef_type": "role",
        "description": "",
        "default_attributes": {},
        "override_attributes": {},
        "run_list": [],
        "env_run_lists": {},
    },
    "environments": {
        "json_class": "Chef::Environment",
        "chef_type": "environment",
        "description": "",
        "cookbook_versions": {},
        "default_attributes": {},
        "override_attributes": {},
    },
}
_OPTIONAL: Final = {"nodes": {"name", "policy_name", "policy_group"}, "roles": {"name"}, "environments": {"name"}}


class ChefRefusal(Exception):
    """An error reply: `{"error": [message]}` with this status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Objects:
    """Everything of one organisation. Each method is one atomic step."""

    def __init__(self) -> None:
        default = {"name": "_default", "description": "The default Chef environment"}
        self._kinds: dict[str, dict[str, Document]] = {
            "nodes": {},
            "roles": {},
            "environments": {"_default": _FIELDS["environments"] | default},
            "clients": {},
            "data": {},
        }
        self._lock = threading.Lock()

    def names(self, kind: str) -> list[str]:
        with self._lock:
            return sorted(self._kinds[kind])

    def get(self, kind: str, name: str) -> Document:
        with self._lock:
            return copy.deepcopy(self._existing(kind, name))

    def create(self, kind: str, document: Document) -> Document:
        name = _checked_name(document.get("name"))
        complete = checked(kind, document)
        with self._lock:
            if name in self._kinds[kind]:
                raise ChefRefusal(409, f"{kind.removesuffix('s').title()} '{name}' already exists")
            self._kinds[kind][name] = complete
        return copy.deepcopy(complete)

    def replace(self, kind: str, name: str, document: Document) -> Document:
        if document.setdefault("name", name) != name:
            raise ChefRefusal(400, f"{kind.removesuffix('s').title()} name mismatch: it cannot be renamed")
        complete = checked(kind, document)
        with self._lock:
            self._existing(kind, name)
            self._guard_default(kind, name)
            self._kinds[kind][name] = complete
        return copy.deepcopy(complete)

    def delete(self, kind: str, name: str) -> Document:
        with self._lock:
            document = self._existing(kind, name)
            self._guard_default(kind, name)
            del self._kinds[kind][name]
        return document

    def put_item(self, bag: str, item: Document, *, name: str | None = None) -> Document:
        """A data bag's item: a new one, or the one called `name` replaced."""
        identity = _checked_name(item.setdefault("id", name))
        with self._lock:
            items = self._existing("data", bag)["items"]
            if name is None and identity in items:
                raise ChefRefusal(409, f"Data Bag Item '{identity}' already exists in Data Bag '{bag}'.")
            if name is not None and name not in items:
                raise ChefRefusal(404, f"Cannot load data bag item {name} for data bag {bag}")
            if name is not None and name != identity:
                raise ChefRefusal(400, "Data Bag Item name mismatch")
            items[identity] = copy.deepcopy(item)
        return item

    def item(self, bag: str, name: str, *, delete: bool = False) -> Document:
        with self._lock:
            items: dict[str, Document] = self._existing("data", bag)["items"]
            if name not in items:
                raise ChefRefusal(404, f"Cannot load data bag item {name} for data bag {bag}")
            return items.pop(name) if delete else copy.deepcopy(items[name])

    def search(self, index: str, query: str) -> list[Document]:
        """Whole objects; a node's attributes are merged into its top level, as the real index holds them."""
        if index not in INDEXES:
            raise ChefRefusal(404, f"I don't know how to search for {index} data objects.")
        matches = _query(query)
        with self._lock:
            found = [_indexed(index, document) for document in self._kinds[INDEXES[index]].values()]
        return [copy.deepcopy(document) for document in found if matches(document)]

    def _existing(self, kind: str, name: str) -> Document:
        try:
            return self._kinds[kind][name]
        except KeyError:
            told = f"node '{name}' not found" if kind == "nodes" else f"Cannot load {kind.removesuffix('s')} {name}"
            raise ChefRefusal(404, told) from None

    def _guard_default(self, kind: str, name: str) -> None:
        if (kind, name) == ("environments", "_default"):
            raise ChefRefusal(405, "The '_default' environment cannot be modified.")


def checked(kind: str, document: Document) -> Document:
    """The object as it is stored; raises ChefRefusal (400) where the real server would not take it."""
    if kind not in _FIELDS:
        return copy.deepcopy(document)
    defaults = _FIELDS[kind]
    if unknown := sorted(set(document) - set(defaults) - _OPTIONAL[kind]):
        raise ChefRefusal(400, f"Invalid key {unknown[0]} in request body")
    for field, default in defaults.items():
        if field in document and not isinstance(document[field], type(default)):
            raise ChefRefusal(400, f"Field '{field}' is not a {type(default).__name__}")
    complete = copy.deepcopy(defaults | document)
    if "run_list" in complete:
        complete["run_list"] = _checked_run_list(complete["run_list"])
    return complete


def _checked_run_list(items: list[object]) -> list[str]:
    texts = [item for item in items if isinstance(item, str) and _RUN_LIST_ITEM.fullmatch(item)]
    if len(texts) != len(items):
        raise ChefRefusal(400, "Field 'run_list' is not a valid run list")
    return list(normalise(texts))


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ChefRefusal(400, f"Field 'name' invalid: {json.dumps(name)}")
    return name


def _indexed(index: str, document: Document) -> Document:
    if index != "node":
        return document
    merged: Document = {}
    for precedence in ("default", "normal", "override", "automatic"):
        merged = _deep_merge(merged, document[precedence])
    return merged | {
        key: value
        for key, value in document.items()
        if key not in _FIELDS["nodes"] or key in ("run_list", "chef_environment")
    }


def _deep_merge(below: Document, above: Document) -> Document:
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        merged[key] = _deep_merge(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return merged


def _query(query: str) -> Callable[[Document], bool]:
    """A predicate for `*:*` and `field:value`, where the value may end in `*`: all that first runs need."""
    if query in ("*:*", ""):
        return lambda _: True
    field, colon, wanted = query.partition(":")
    if not colon or not field or not wanted or re.search(r"[\s()\[\]\"?]", query):
        raise ChefRefusal(400, f"invalid search query: '{query}'")

    def matches(document: Document) -> bool:
        value = document.get(field)
        texts = [str(each) for each in value] if isinstance(value, list) else [str(value)] if value is not None else []
        if field in ("role", "recipe"):
            texts = [item[len(field) + 1 : -1] for item in document.get("run_list", []) if item.startswith(f"{field}[")]
        if wanted.endswith("*"):
            return any(text.startswith(wanted[:-1]) for text in texts)
        return wanted in texts

    return matches
