"""The sandbox's Chef Server, as nodes and other clients meet it: signatures, permissions, refusals, search."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from reconciler.adapters.chef.signing import Key, signed_headers
from reconciler.listener import Server
from reconciler.sandbox.chef import create_chef_app

SIGNER = Path(__file__).with_name("sign_requests.rb")
WEB = "checkout-web-0123456789abcdef0"


@dataclass(frozen=True, slots=True)
class Actor:
    """A client with its key, talking to one server."""

    name: str
    private: str
    public: str
    url: str = ""

    def ask(
        self, method: str, path: str, document: object = None, *, query: str = "", at: datetime | None = None
    ) -> tuple[int, Any]:
        body = b"" if document is None else document if isinstance(document, bytes) else json.dumps(document).encode()
        headers = signed_headers(
            Key(self.private.encode()),
            method=method,
            path=path,
            body=body,
            user_id=self.name,
            timestamp=at or datetime.now(UTC),
        )
        reply = requests.request(method, self.url + path + query, data=body, headers=headers, timeout=10)
        return reply.status_code, reply.json()


def actor(name: str, url: str = "") -> Actor:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return Actor(name, private.decode(), public.decode(), url)


@pytest.fixture(scope="module")
def keys() -> tuple[Actor, Actor]:
    return actor("hivequeen"), actor(WEB)


@pytest.fixture
def admin(keys: tuple[Actor, Actor]) -> Iterator[Actor]:
    """The admin of a fresh server."""
    app = create_chef_app(admin="hivequeen", admin_public_key=keys[0].public)
    with Server(app, name="chef-sandbox", host="127.0.0.1", port=0) as server:
        yield Actor(keys[0].name, keys[0].private, keys[0].public, server.url)


@pytest.fixture
def web(admin: Actor, keys: tuple[Actor, Actor]) -> Actor:
    """A node whose client exists."""
    assert admin.ask("POST", "/clients", {"name": WEB, "public_key": keys[1].public})[0] == 201
    return Actor(WEB, keys[1].private, keys[1].public, admin.url)


# --- who --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.3"])
def test_requests_signed_by_chefs_own_client_are_accepted_and_tampered_ones_are_not(admin: Actor, version: str) -> None:
    probe = ["ruby", "-e", 'require "mixlib/authentication"']
    if shutil.which("ruby") is None or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("the Debian package ruby-mixlib-authentication is not installed")
    path = "/organizations/acme/roles"
    body = json.dumps({"name": "base", "description": "Größe"}, ensure_ascii=False)
    request = {
        "method": "post",
        "path": path,
        "body": body,
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "user": admin.name,
        "version": version,
    }
    done = subprocess.run(
        ["ruby", str(SIGNER)],
        input=json.dumps({"private_key": admin.private, "requests": [request]}),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    headers = json.loads(done.stdout)[0] | {"X-Ops-Server-API-Version": "1"}

    def post(to: str, data: str) -> int:
        return requests.post(admin.url + to, data=data.encode(), headers=headers, timeout=10).status_code

    assert post(path, body + " ") == 401
    assert post("/organizations/other/roles", body) == 401
    assert post(path, body) == 201
    assert admin.ask("GET", "/roles/base")[1]["description"] == "Größe"


def test_an_unsigned_request_an_unknown_client_and_an_old_signature_are_refused(admin: Actor) -> None:
    unsigned = requests.get(f"{admin.url}/nodes", timeout=10)
    assert (unsigned.status_code, list(unsigned.json())) == (401, ["error"])
    stranger = Actor("stranger", admin.private, admin.public, admin.url)
    assert stranger.ask("GET", "/nodes")[0] == 401
    status, told = admin.ask("GET", "/nodes", at=datetime.now(UTC) - timedelta(minutes=16))
    assert status == 401
    assert "Synchronize the clock" in told["error"][0]


def test_a_client_cannot_speak_for_another(admin: Actor, web: Actor) -> None:
    assert Actor(admin.name, web.private, web.public, admin.url).ask("GET", "/nodes")[0] == 401


def test_a_deleted_client_is_nobody(admin: Actor, web: Actor) -> None:
    assert web.ask("GET", "/nodes")[0] == 200
    assert admin.ask("DELETE", f"/clients/{WEB}")[0] == 200
    assert web.ask("GET", "/nodes")[0] == 401


def test_its_health_is_told_to_anybody(admin: Actor) -> None:
    assert requests.get(f"{admin.url}/_status", timeout=10).json() == {"status": "pong"}


# --- may ----------------------------------------------------------------------------------------------------------------


def test_a_nodes_first_run_needs_only_its_own_key(admin: Actor, web: Actor) -> None:
    admin.ask("POST", "/environments", {"name": "checkout", "default_attributes": {"a": 1}})
    admin.ask("POST", "/roles", {"name": "checkout-web", "run_list": ["nginx"]})
    assert web.ask("GET", f"/nodes/{WEB}")[0] == 404
    assert (
        web.ask("POST", "/nodes", {"name": WEB, "chef_environment": "checkout", "run_list": ["role[checkout-web]"]})[0]
        == 201
    )
    assert web.ask("GET", "/roles/checkout-web")[1]["run_list"] == ["recipe[nginx]"]
    assert web.ask("GET", "/environments/checkout")[1]["default_attributes"] == {"a": 1}
    node = web.ask("GET", f"/nodes/{WEB}")[1]
    assert web.ask("PUT", f"/nodes/{WEB}", node | {"automatic": {"ohai_time": 1.5}})[0] == 200
    assert admin.ask("GET", f"/nodes/{WEB}")[1]["automatic"] == {"ohai_time": 1.5}


@pytest.mark.parametrize(
    ("method", "path", "document"),
    [
        ("POST", "/nodes", {"name": "checkout-web-0123456789abcdef1"}),
        ("PUT", "/nodes/other", {"name": "other"}),
        ("DELETE", "/nodes/other", None),
        ("POST", "/roles", {"name": "mine"}),
        ("PUT", "/roles/base", {"name": "base"}),
        ("DELETE", "/roles/base", None),
        ("POST", "/environments", {"name": "mine"}),
        ("POST", "/clients", {"name": "mine"}),
        ("GET", "/clients", None),
        ("DELETE", "/clients/hivequeen", None),
        ("GET", "/clients/hivequeen", None),
        ("GET", "/clients/hivequeen/keys/default", None),
        ("POST", "/data", {"name": "mine"}),
        ("POST", "/data/bag", {"id": "mine"}),
        ("POST", "/search/client", {"name": ["name"]}),
    ],
)
def test_a_node_may_do_nothing_else(admin: Actor, web: Actor, method: str, path: str, document: object) -> None:
    admin.ask("POST", "/nodes", {"name": "other"})
    admin.ask("POST", "/roles", {"name": "base"})
    admin.ask("POST", "/data", {"name": "bag"})
    status, told = web.ask(method, path, document)
    assert status == 403
    assert "permission" in told["error"][0]


# --- what -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "document", "status"),
    [
        ("GET", "/nodes/absent", None, 404),
        ("PUT", "/roles/absent", {"name": "absent"}, 404),
        ("DELETE", "/environments/absent", None, 404),
        ("GET", "/data/absent/item", None, 404),
        ("POST", "/data/absent", {"id": "item"}, 404),
        ("PUT", "/data/bag/absent", {"id": "absent"}, 404),
        ("POST", "/search/absent", {}, 404),
        ("POST", "/nodes", {"name": "there"}, 409),
        ("POST", "/data", {"name": "bag"}, 409),
        ("POST", "/data/bag", {"id": "there"}, 409),
        ("POST", "/clients", {"name": "hivequeen", "public_key": "KEY"}, 409),
        ("POST", "/nodes", b"{", 400),
        ("POST", "/nodes", [], 400),
        ("POST", "/nodes", {"name": "a b"}, 400),
        ("POST", "/nodes", {}, 400),
        ("POST", "/nodes", {"name": "new", "run_list": ["recipe[a"]}, 400),
        ("POST", "/nodes", {"name": "new", "run_list": {}}, 400),
        ("POST", "/roles", {"name": "new", "extra": 1}, 400),
        ("PUT", "/nodes/there", {"name": "other"}, 400),
        ("POST", "/clients", {"name": "new"}, 400),
        ("POST", "/clients", {"name": "new", "public_key": "KEY", "extra": 1}, 400),
        ("PUT", "/data/bag/there", {"id": "other"}, 400),
        ("PUT", "/environments/_default", {"name": "_default"}, 405),
    ],
)
def test_bad_requests_are_refused_in_chefs_form(
    admin: Actor, method: str, path: str, document: object, status: int
) -> None:
    admin.ask("POST", "/nodes", {"name": "there"})
    admin.ask("POST", "/data", {"name": "bag"})
    admin.ask("POST", "/data/bag", {"id": "there"})
    if isinstance(document, dict) and document.get("public_key") == "KEY":
        document = document | {"public_key": admin.public}
    got, told = admin.ask(method, path, document)
    assert (got, list(told), type(told["error"])) == (status, ["error"], list)


def test_put_replaces_the_whole_object(admin: Actor) -> None:
    admin.ask("POST", "/nodes", {"name": "n", "automatic": {"ohai_time": 1}, "normal": {"a": 1}})
    admin.ask("PUT", "/nodes/n", {"name": "n", "run_list": ["a"]})
    node = admin.ask("GET", "/nodes/n")[1]
    assert (node["automatic"], node["normal"], node["run_list"]) == ({}, {}, ["recipe[a]"])


def test_data_bags_hold_items(admin: Actor, web: Actor) -> None:
    admin.ask("POST", "/data", {"name": "bag"})
    admin.ask("POST", "/data/bag", {"id": "item", "value": 1})
    admin.ask("PUT", "/data/bag/item", {"value": 2})
    assert web.ask("GET", "/data/bag/item")[1] == {"id": "item", "value": 2}
    assert list(web.ask("GET", "/data/bag")[1]) == ["item"]
    assert admin.ask("DELETE", "/data/bag/item")[0] == 200
    assert web.ask("GET", "/data/bag/item")[0] == 404
    assert admin.ask("DELETE", "/data/bag")[0] == 200
    assert web.ask("GET", "/data")[1] == {}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("*:*", ["a", "b"]),
        ("name:a", ["a"]),
        ("name:*", ["a", "b"]),
        ("chef_environment:_default", ["a", "b"]),
        ("platform:deb*", ["a"]),
        ("role:web", ["b"]),
        ("name:absent", []),
    ],
)
def test_nodes_are_found_by_their_merged_attributes(web: Actor, admin: Actor, query: str, found: list[str]) -> None:
    attributes = {
        "automatic": {"platform": "debian"},
        "default": {"deep": {"x": 1, "y": 1}},
        "override": {"deep": {"y": 2}},
    }
    admin.ask("POST", "/nodes", {"name": "a", **attributes})
    admin.ask("POST", "/nodes", {"name": "b", "run_list": ["role[web]"]})
    keys = {"name": ["name"], "y": ["deep", "y"], "none": ["deep", "absent", "x"]}
    status, answer = web.ask("POST", "/search/node", keys, query=f"?q={query}&rows=10&start=0")
    assert status == 200
    assert answer["total"] == len(found)
    assert [row["data"]["name"] for row in answer["rows"]] == found
    assert all(row["data"]["none"] is None for row in answer["rows"])
    assert [row["data"]["y"] for row in answer["rows"] if row["data"]["name"] == "a"] == [2] * ("a" in found)


def test_a_search_by_get_returns_whole_objects_in_pages(admin: Actor) -> None:
    for number in range(3):
        admin.ask("POST", "/roles", {"name": f"role{number}"})
    answer = admin.ask("GET", "/search/role", query="?q=*:*&rows=2&start=1")[1]
    assert (answer["total"], answer["start"], [row["name"] for row in answer["rows"]]) == (3, 1, ["role1", "role2"])


def test_a_query_that_is_not_understood_is_refused_rather_than_answered_wrongly(admin: Actor) -> None:
    assert admin.ask("POST", "/search/node", {"name": ["name"]}, query="?q=name:a%20AND%20name:b")[0] == 400
