"""The nodes' listener: two endpoints, bounded, and nothing else to be found."""

from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from reconciler.listener import Server
from reconciler.sandbox.authority import new_key, sign
from reconciler.web.nodes import BODY_BYTES_MAX, Rate, create_nodes_app
from tests.enroll.world import Form, World, settings_for

REGISTER = "/bootstrap/v1/register"
REPORT = "/bootstrap/v1/report"


class Listener:
    def __init__(self, world: World, url: str) -> None:
        self.world = world
        self.url = url

    def post(self, path: str, **parts: bytes) -> requests.Response:
        files = {name: (name, content, "application/octet-stream") for name, content in parts.items()}
        return requests.post(f"{self.url}{path}", files=files, timeout=10)

    def register(self, form: Form) -> requests.Response:
        return self.post(
            REGISTER,
            document=form.document,
            signature=form.signature,
            public_key=form.public_key,
            proof=form.proof,
        )


@pytest.fixture(scope="module")
def key() -> RSAPrivateKey:
    return new_key()


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    world = World(tmp_path)
    app = create_nodes_app(world.enrollment, world.first_runs, monotonic=lambda: 0.0, requests_burst=20)
    with Server(app, name="nodes", host="127.0.0.1", port=0) as server:
        yield Listener(world, server.url)
    world.close()


def test_a_node_registers_and_reports(listener: Listener, key: RSAPrivateKey) -> None:
    node = listener.world.launch()
    answer = listener.register(listener.world.form(node, key))
    assert answer.status_code == HTTPStatus.OK
    assert answer.text.startswith(f"node_name={listener.world.record(node).name}\n")
    report = f"instance_id={node}\noutcome=success\nuser_data=0\n\nlog".encode()
    assert listener.post(REPORT, report=report, signature=sign(key, report)).status_code == HTTPStatus.OK
    assert listener.world.record(node).first_run_ok is True


def test_a_refusal_is_403_and_leaves_nothing(listener: Listener, key: RSAPrivateKey) -> None:
    form = listener.world.form(listener.world.launch(), key, region="eu-west-1")
    assert listener.register(form).status_code == HTTPStatus.FORBIDDEN
    assert listener.world.clients == {}


def test_a_deferral_is_503_with_a_time_to_come_back(listener: Listener, key: RSAPrivateKey) -> None:
    listener.world.why_not = "NotOwner"
    answer = listener.register(listener.world.form(listener.world.launch(), key))
    assert (answer.status_code, answer.headers["Retry-After"]) == (HTTPStatus.SERVICE_UNAVAILABLE, "1")


@pytest.mark.parametrize(
    "path", ["/", "/metrics", "/healthz", "/bootstrap/v1/", f"{REGISTER}/", "/bootstrap/v2/register"]
)
def test_nothing_else_is_there(listener: Listener, path: str) -> None:
    assert requests.get(f"{listener.url}{path}", timeout=10).status_code == HTTPStatus.NOT_FOUND
    assert requests.post(f"{listener.url}{path}", timeout=10).status_code == HTTPStatus.NOT_FOUND


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_there_is_only_one_way_to_ask(listener: Listener, method: str) -> None:
    assert requests.request(method, f"{listener.url}{REGISTER}", timeout=10).status_code == HTTPStatus.NOT_FOUND


PARTS = {"document": b"d", "signature": b"s", "public_key": b"k", "proof": b"p"}


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"document": b"d"},
        PARTS | {"more": b"m"},
        PARTS | {"document": b"x" * BODY_BYTES_MAX},
    ],
)
def test_another_form_is_malformed(listener: Listener, parts: dict[str, bytes]) -> None:
    assert listener.post(REGISTER, **parts).status_code == HTTPStatus.BAD_REQUEST


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded", b"document=d&signature=s&public_key=k&proof=p"),
        ("application/json", b"{}"),
        ("multipart/form-data", b"no boundary"),
        ("multipart/form-data; boundary=b", b"--b\r\nnonsense"),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="document"\r\n\r\nx\r\n--b--\r\n',
        ),
    ],
)
def test_another_body_is_malformed(listener: Listener, content_type: str, body: bytes) -> None:
    answer = requests.post(f"{listener.url}{REGISTER}", data=body, headers={"Content-Type": content_type}, timeout=10)
    assert answer.status_code == HTTPStatus.BAD_REQUEST


def test_one_address_cannot_flood(listener: Listener) -> None:
    statuses = [listener.post(REPORT, report=b"r", signature=b"s").status_code for _ in range(22)]
    assert statuses == [HTTPStatus.FORBIDDEN] * 20 + [HTTPStatus.TOO_MANY_REQUESTS] * 2


def test_a_fault_of_ours_asks_to_come_back(tmp_path: Path, key: RSAPrivateKey) -> None:
    """A setting that nodes cannot be told surfaces only here."""
    world = World(tmp_path, settings=settings_for(tmp_path, server_url="https://chef/$(reboot)"))
    app = create_nodes_app(world.enrollment, world.first_runs)
    with Server(app, name="nodes", host="127.0.0.1", port=0) as server:
        answer = Listener(world, server.url).register(world.form(world.launch(), key))
    assert answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    world.close()


def test_tokens_come_back_with_time_and_addresses_do_not_share_them() -> None:
    now = [0.0]
    rate = Rate(per_s=1, burst=2, monotonic=lambda: now[0])
    assert [rate.allows("a") for _ in range(3)] == [True, True, False]
    assert rate.allows("b")
    now[0] = 1.0
    assert [rate.allows("a") for _ in range(2)] == [True, False]
    now[0] = 100.0
    assert [rate.allows("a") for _ in range(3)] == [True, True, False]


def test_the_memory_of_addresses_is_bounded() -> None:
    rate = Rate(per_s=1, burst=2, monotonic=lambda: 0.0)
    for number in range(5000):
        rate.allows(str(number))
    assert len(rate._buckets) <= 4096
