"""Chef's JSON documents and our values. What a document holds beyond our values is never looked at and never lost.

Every document here has a name already: `search_answer` and the adapter's reads by name see to that.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from reconciler.errors import Stalled, Transient
from reconciler.model.names import ChefName, InstallationId, NodeName, RevisionId
from reconciler.model.observed import ChefEnvironment, ChefNode, ChefRole
from reconciler.model.run_list import normalise
from reconciler.ports import Claim

Document: TypeAlias = dict[str, Any]  # JSON as it came: the edge where dicts die

# Partial search: our name → path in what the server indexes (of a node: its attributes merged, so no "automatic").
_LAST_MOMENT_S: Final = 253402300800  # the year 10000
NODE_KEYS: Final = {key: [key] for key in ("name", "chef_environment", "run_list", "ohai_time")}
ROLE_KEYS: Final = {key: [key] for key in ("name", "description", "run_list", "default_attributes")}
ENVIRONMENT_KEYS: Final = {key: [key] for key in ("name", "description", "default_attributes")}
CLIENT_KEYS: Final = {"name": ["name"]}

_CLAIM_TEXTS: Final = ("installation", "account", "region", "repository", "branch", "path")


def node_from_row(row: Document) -> ChefNode:
    """From a partial search's row."""
    return _node(row, row.get("ohai_time"))


def node_from(document: Document) -> ChefNode:
    """From a whole node object."""
    return _node(document, _mapping(document.get("automatic")).get("ohai_time"))


def _node(document: Document, ohai_time: object) -> ChefNode:
    return ChefNode(
        name=NodeName(document["name"]),
        chef_environment=ChefName(document.get("chef_environment") or "_default"),
        run_list=normalise(_items(document, "run_list")),
        ohai_time=_moment(ohai_time),
    )


def _moment(seconds: object) -> float | None:
    """The node itself writes it, and may write anything: what is no moment of the calendar was never said."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    return float(seconds) if 0 <= seconds < _LAST_MOMENT_S else None


def changed_node(document: Document, chef_environment: ChefName, run_list: tuple[str, ...]) -> Document:
    return document | {"chef_environment": chef_environment, "run_list": list(run_list)}


def role_from(document: Document) -> ChefRole:
    return ChefRole(
        name=ChefName(document["name"]),
        run_list=normalise(_items(document, "run_list")),
        default_attributes=_mapping(document.get("default_attributes")),
        description=document.get("description") or "",
    )


def new_role(role: ChefRole) -> Document:
    fixed = {"json_class": "Chef::Role", "chef_type": "role", "override_attributes": {}, "env_run_lists": {}}
    return changed_role({"name": role.name} | fixed, role)


def changed_role(document: Document, role: ChefRole) -> Document:
    return document | {
        "description": role.description,
        "run_list": list(normalise(role.run_list)),
        "default_attributes": dict(role.default_attributes),
    }


def environment_from(document: Document) -> ChefEnvironment:
    return ChefEnvironment(
        name=ChefName(document["name"]),
        default_attributes=_mapping(document.get("default_attributes")),
        description=document.get("description") or "",
    )


def new_environment(environment: ChefEnvironment) -> Document:
    return {
        "name": environment.name,
        "description": environment.description,
        "json_class": "Chef::Environment",
        "chef_type": "environment",
        "cookbook_versions": {},
        "default_attributes": dict(environment.default_attributes),
        "override_attributes": {},
    }


def changed_environment(document: Document, environment: ChefEnvironment) -> Document:
    """Ours are the description and `default_attributes.hivequeen`; a person may keep other attributes there."""
    attributes = dict(_mapping(document.get("default_attributes")))
    if "hivequeen" in environment.default_attributes:
        attributes["hivequeen"] = environment.default_attributes["hivequeen"]
    return document | {"description": environment.description, "default_attributes": attributes}


def claim_document(claim: Claim) -> Document:
    texts = {field: getattr(claim, field) for field in _CLAIM_TEXTS}
    return {"id": claim.fleet, **texts, "applied": claim.applied}


def claim_from(item: Mapping[str, Any]) -> Claim:
    """Raises Stalled where the item is not one that Hivequeen wrote."""
    texts = {field: item.get(field) for field in ("id", *_CLAIM_TEXTS)}
    applied = item.get("applied")
    wrong = [field for field, value in texts.items() if not isinstance(value, str)]
    if not isinstance(applied, str | None):
        wrong.append("applied")
    if wrong:
        raise Stalled(
            f"the claim, data-bag item hivequeen/{item.get('id')}, cannot be read: {', '.join(sorted(wrong))}",
            remedy="find out who changed it; `knife data bag delete hivequeen FLEET` removes it",
        )
    return Claim(
        fleet=str(texts["id"]),
        installation=InstallationId(str(texts["installation"])),
        account=str(texts["account"]),
        region=str(texts["region"]),
        repository=str(texts["repository"]),
        branch=str(texts["branch"]),
        path=str(texts["path"]),
        applied=RevisionId(applied) if applied is not None else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchAnswer:
    """What one search request brought."""

    total: int
    rows: tuple[Document, ...]


def search_answer(index: str, document: Document) -> SearchAnswer:
    """Raises Transient where it is not a search's answer, or holds a row without a name."""
    if isinstance(document.get("rows"), list) and isinstance(document.get("total"), int):
        rows = [row.get("data") for row in document["rows"] if isinstance(row, dict)]
        named = tuple(row for row in rows if isinstance(row, dict) and isinstance(row.get("name"), str))
        if len(named) == len(document["rows"]):
            return SearchAnswer(total=document["total"], rows=named)
    raise Transient(f"Chef Server's answer to a search of {index}s is not understood; nothing is concluded from it")


def client_key(document: Document) -> str | None:
    """The public key in a client, in a client's key, or in the reply to a creation, of any API version."""
    chef_key = _mapping(document.get("chef_key"))
    key = document.get("public_key") or chef_key.get("public_key")
    return key if isinstance(key, str) else None


def _items(document: Document, field: str) -> list[str]:
    items = document.get(field) or []
    return [item for item in items if isinstance(item, str)] if isinstance(items, list) else []


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
