"""The listener: real port, TLS, clean stop, and clear words when it cannot listen."""

import socket
from pathlib import Path

import pytest
import requests
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from reconciler.errors import Stalled
from reconciler.listener import Server, Tls


def hello(request: Request) -> PlainTextResponse:
    assert request.client is not None
    return PlainTextResponse(request.client.host)


APP = Starlette(routes=[Route("/", hello)])


def test_the_real_port_is_known_after_start_and_free_after_stop() -> None:
    with Server(APP, name="test", host="127.0.0.1", port=0) as server:
        assert server.port != 0
        assert requests.get(server.url, timeout=5).text == "127.0.0.1"
        port = server.port
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{port}", timeout=5)
    server.stop()


def test_a_forwarded_address_is_not_believed() -> None:
    with Server(APP, name="test", host="127.0.0.1", port=0) as server:
        answer = requests.get(server.url, headers={"X-Forwarded-For": "10.9.9.9"}, timeout=5)
    assert answer.text == "127.0.0.1"


def test_a_taken_address_is_one_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = Server(APP, name="test", host="127.0.0.1", port=taken.getsockname()[1])
        with pytest.raises(Stalled, match="cannot listen on 127"):
            server.start()


def test_an_unusable_certificate_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "certificate.pem").write_text("none")
    tls = Tls(certificate=tmp_path / "certificate.pem", key=tmp_path / "certificate.pem")
    with pytest.raises(Stalled, match="cannot listen"):
        Server(APP, name="test", host="127.0.0.1", port=0, tls=tls).start()
