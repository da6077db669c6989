"""Our signatures, judged by Chef's own verifier (Debian's ruby-mixlib-authentication)."""

import base64
import json
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from reconciler.adapters.chef.signing import Key, SSLError, key_material, signed_headers
from reconciler.adapters.clock import SystemClock
from reconciler.model.names import ChefName
from reconciler.model.observed import ChefRole
from reconciler.ports import Clock
from tests.adapters.chef.scripted import Asked, error, json_answer, scripted
from tests.adapters.chef.worlds import Pair, adapter
from tests.fakes.clock import FakeClock

VERIFIER = Path(__file__).with_name("verify_signatures.rb")
ROLE = ChefRole(name=ChefName("übung"), run_list=(), default_attributes={"gruß": "Zürich 🐝"}, description="Größe")


def verdicts(public_key: str, asked: list[Asked]) -> list[bool | str]:
    probe = ["ruby", "-e", 'require "mixlib/authentication"']
    if shutil.which("ruby") is None or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("the Debian package ruby-mixlib-authentication is not installed")
    requests = [
        {
            "method": each.method,
            "path": urlsplit(each.path).path,
            "headers": each.headers,
            "body": base64.b64encode(each.body).decode(),
        }
        for each in asked
    ]
    done = subprocess.run(
        ["ruby", str(VERIFIER)],
        input=json.dumps({"public_key": public_key, "requests": requests}),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    judged: list[bool | str] = json.loads(done.stdout)
    return judged


def captured(key: Path, clock: Clock) -> list[Asked]:
    """A GET, a POST with a body and a search with a query, all below /organizations/."""
    created = json_answer(201, {"uri": "x"})
    found = json_answer(200, {"total": 0, "start": 0, "rows": []})
    with scripted(error(404, "no"), created, found) as script:
        server = adapter(f"{script.url}/organizations/acme/", key=key, clock=clock)
        server.put_role(ROLE)
        server.nodes()
        server.close()
    return script.asked


def test_chefs_own_verifier_accepts_every_kind_of_request(hivequeen_key: Path, hivequeen_keys: Pair) -> None:
    asked = captured(hivequeen_key, SystemClock())
    assert [each.method for each in asked] == ["GET", "POST", "POST"]
    assert asked[0].path == "/organizations/acme/roles/%C3%BCbung"
    assert asked[2].path.partition("?")[1]
    assert all(each.headers["X-Ops-Server-API-Version"] == "1" for each in asked)
    assert verdicts(hivequeen_keys.public, asked) == [True, True, True]


def test_a_body_of_raw_utf8_is_signed_as_the_bytes_that_are_sent(hivequeen_key: Path, hivequeen_keys: Pair) -> None:
    with scripted(json_answer(201, {"uri": "x"})) as script:
        server = adapter(script.url, key=hivequeen_key)
        server._api.request("POST", "/roles", data='{"name": "gruß", "description": "Zürich 🐝"}')
        server.close()
    assert "Zürich 🐝".encode() in script.asked[0].body
    assert verdicts(hivequeen_keys.public, script.asked) == [True]


def test_a_request_changed_on_its_way_is_refused(hivequeen_key: Path, hivequeen_keys: Pair) -> None:
    get, post, _ = captured(hivequeen_key, SystemClock())
    tampered = [
        replace(get, method="DELETE"),
        replace(get, path="/organizations/other/roles/x"),
        replace(get, headers=get.headers | {"X-Ops-UserId": "admin"}),
        replace(get, headers=get.headers | {"X-Ops-Server-API-Version": "0"}),
        replace(post, body=post.body + b" "),
    ]
    assert verdicts(hivequeen_keys.public, tampered) == [False] * len(tampered)


def test_another_clients_signature_is_refused(hivequeen_key: Path, node_keys: tuple[Pair, Pair]) -> None:
    asked = captured(hivequeen_key, SystemClock())
    assert verdicts(node_keys[0].public, asked) == [False] * 3


def test_a_signature_of_an_hour_ago_is_refused(hivequeen_key: Path, hivequeen_keys: Pair) -> None:
    asked = captured(hivequeen_key, FakeClock(datetime.now(UTC) - timedelta(hours=1)))
    assert verdicts(hivequeen_keys.public, asked) == [False] * 3


def test_doubled_and_trailing_slashes_are_signed_as_the_server_reads_them(hivequeen_keys: Pair) -> None:
    key = Key(hivequeen_keys.private.encode())
    at = datetime(2026, 11, 1, tzinfo=UTC)

    def signature(path: str) -> dict[str, str]:
        return signed_headers(key, method="get", path=path, body=b"", user_id="hivequeen", timestamp=at)

    assert signature("/organizations//acme/nodes/") == signature("/organizations/acme/nodes")
    assert signature("/") != signature("/nodes")


@pytest.mark.parametrize(
    "pem", [b"", b"no key", b"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----"]
)
def test_what_is_no_key_is_said_to_be_none(pem: bytes) -> None:
    with pytest.raises(SSLError, match="not an unencrypted private key in PEM form"):
        Key(pem)


def test_key_material_is_the_same_in_every_form_and_none_of_rubbish(hivequeen_keys: Pair) -> None:
    assert key_material(hivequeen_keys.public) == key_material(hivequeen_keys.public_pkcs1) is not None
    assert key_material("rubbish") is None
