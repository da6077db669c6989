"""A receiver of notifications over real HTTP: what it gets, and what is said of it when it does not work."""

import hashlib
import hmac
import json
import socket
import ssl
import threading
import time
import traceback
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from select import select

import pytest

from reconciler.adapters.webhook import HttpWebhook
from reconciler.errors import HivequeenError, Refused, Stalled, Transient
from reconciler.listener import Tls
from reconciler.settings import Receiver
from tests.adapters.chef.scripted import Answer, scripted
from tests.adapters.chef.test_chef_tls import tls
from tests.fakes.clock import BEGAN, FakeClock

__all__ = ["tls"]  # a fixture, which pytest finds by its name here

TOKEN = "T0KEN"  # the part of the address that nobody may learn
DOCUMENT = {"text": "checkout is naïve ✓", "environment": None}
OK = Answer(200, b"ok")


def webhook(
    folder: Path, url: str, *, secret: str | None = None, within_s: float = 5, authority: Path | None = None
) -> HttpWebhook:
    (folder / "url").write_text(f"{url}/{TOKEN}\n")
    if secret is not None:
        (folder / "secret").write_text(f"{secret}\n")
    receiver = Receiver(
        name="slack",
        url_file=folder / "url",
        secret_file=None if secret is None else folder / "secret",
        on=frozenset({"ready"}),
    )
    return HttpWebhook(receiver, clock=FakeClock(), within_s=within_s, authority=authority)


def test_the_document_arrives_as_json_with_its_key(tmp_path: Path) -> None:
    with scripted(Answer(204, b"")) as server:
        webhook(tmp_path, server.url).post(DOCUMENT, key="shop-7")
    (asked,) = server.asked
    assert (asked.method, asked.path, json.loads(asked.body)) == ("POST", f"/{TOKEN}", DOCUMENT)
    assert asked.headers["Content-Type"] == "application/json; charset=utf-8"
    assert asked.headers["Idempotency-Key"] == "shop-7"
    assert "Hivequeen-Signature" not in asked.headers
    assert asked.headers["Host"] == server.url.removeprefix("http://")


def test_a_password_in_the_address_becomes_a_header(tmp_path: Path) -> None:
    with scripted(OK) as server:
        webhook(tmp_path, server.url.replace("//", "//hive:p%40ss@")).post(DOCUMENT, key="1")
    (asked,) = server.asked
    assert asked.headers["Authorization"] == f"Basic {b64encode(b'hive:p@ss').decode()}"
    assert "@" not in asked.headers["Host"] + asked.path


def test_a_signature_covers_the_moment_and_the_body(tmp_path: Path) -> None:
    with scripted(OK) as server:
        webhook(tmp_path, server.url, secret="s3cret").post(DOCUMENT, key="shop-7")
    (asked,) = server.asked
    moment = asked.headers["Hivequeen-Timestamp"]
    expected = hmac.new(b"s3cret", f"{moment}.".encode() + asked.body, hashlib.sha256).hexdigest()
    assert moment == str(int(BEGAN.timestamp()))
    assert asked.headers["Hivequeen-Signature"] == f"sha256={expected}"


def test_a_new_address_and_secret_hold_from_the_next_post_on(tmp_path: Path) -> None:
    with scripted(OK) as old, scripted(OK) as new:
        told = webhook(tmp_path, old.url, secret="old")
        told.post(DOCUMENT, key="1")
        (tmp_path / "url").write_text(new.url)
        (tmp_path / "secret").write_text("new")
        told.post(DOCUMENT, key="1")
        assert (len(old.asked), len(new.asked)) == (1, 1)
        assert old.asked[0].headers["Hivequeen-Signature"] != new.asked[0].headers["Hivequeen-Signature"]


def trouble_of(call: Callable[[], None]) -> HivequeenError:
    """Without the secret part of the address anywhere in it, nor in the traceback that a log would show."""
    with pytest.raises(HivequeenError) as caught:
        call()
    shown = "".join(traceback.format_exception(caught.value)) + caught.value.remedy
    assert TOKEN not in shown and "127.0.0.1" not in caught.value.message
    return caught.value


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_receiver_in_trouble_may_be_asked_again(tmp_path: Path, status: int) -> None:
    with scripted(Answer(status, b"", [("Retry-After", "30")])) as server:
        trouble = trouble_of(lambda: webhook(tmp_path, server.url).post(DOCUMENT, key="1"))
    assert isinstance(trouble, Transient)
    assert (trouble.message, trouble.retry_after_s) == (f"it answered {status}", 30)


def test_a_moment_to_try_again_that_is_no_number_is_passed_over(tmp_path: Path) -> None:
    with scripted(Answer(503, b"", [("Retry-After", "Wed, 21 Oct 2026 07:28:00 GMT")])) as server:
        trouble = trouble_of(lambda: webhook(tmp_path, server.url).post(DOCUMENT, key="1"))
    assert isinstance(trouble, Transient) and trouble.retry_after_s is None


@pytest.mark.parametrize("status", [400, 403, 404, 410])
def test_a_receiver_that_says_no_is_told_so(tmp_path: Path, status: int) -> None:
    with scripted(Answer(status, b"channel_is_archived")) as server:
        trouble = trouble_of(lambda: webhook(tmp_path, server.url).post(DOCUMENT, key="1"))
    assert isinstance(trouble, Refused) and trouble.code == str(status)


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    with scripted(OK) as elsewhere, scripted(Answer(307, b"", [("Location", elsewhere.url)])) as server:
        trouble = trouble_of(lambda: webhook(tmp_path, server.url).post(DOCUMENT, key="1"))
        assert isinstance(trouble, Refused) and elsewhere.asked == []


def test_a_receiver_that_does_not_answer_is_waited_for_only_so_long(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        told = webhook(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}", within_s=0.05)
        trouble = trouble_of(lambda: told.post(DOCUMENT, key="1"))
    assert isinstance(trouble, Transient) and trouble.message == "no answer in time"


def test_a_receiver_that_is_not_there_may_be_asked_again(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    trouble = trouble_of(lambda: webhook(tmp_path, f"http://127.0.0.1:{port}").post(DOCUMENT, key="1"))
    assert isinstance(trouble, Transient) and trouble.message == "it cannot be reached"


def test_a_receiver_that_is_not_who_it_should_be_gets_nothing(tmp_path: Path) -> None:
    with scripted(OK) as server:
        told = webhook(tmp_path, server.url.replace("http:", "https:"))
        trouble = trouble_of(lambda: told.post(DOCUMENT, key="1"))
        assert isinstance(trouble, Transient) and "TLS" in trouble.message
        assert server.asked == []


@pytest.mark.parametrize(
    "content",
    [
        "",
        " \n",
        f"ftp://127.0.0.1/{TOKEN}",
        f"https:///{TOKEN}",
        f"{TOKEN}\nhttps://x",
        f"https://hooks..127.0.0.1/{TOKEN}",
        f"https://{'x' * 64}.127.0.0.1/{TOKEN}",
        f"https://\N{REPLACEMENT CHARACTER}/{TOKEN}",
        f"https://[::127.0.0.1/{TOKEN}",
        f"https://127.0.0.1:99999/{TOKEN}",
        f"https://127.0.0.1:{TOKEN}/",
    ],
)
def test_a_file_without_an_address_stalls_and_is_named(tmp_path: Path, content: str) -> None:
    told = webhook(tmp_path, "http://x")
    (tmp_path / "url").write_text(content)
    trouble = trouble_of(lambda: told.post(DOCUMENT, key="1"))
    assert isinstance(trouble, Stalled) and str(tmp_path / "url") in trouble.message


@pytest.mark.parametrize("name", ["url", "secret"])
def test_a_file_that_is_not_there_stalls_and_is_named(tmp_path: Path, name: str) -> None:
    with scripted(OK) as server:
        told = webhook(tmp_path, server.url, secret="s3cret")
        (tmp_path / name).unlink()
        trouble = trouble_of(lambda: told.post(DOCUMENT, key="1"))
        assert isinstance(trouble, Stalled) and str(tmp_path / name) in trouble.message
        assert server.asked == []  # never without its signature


# --- receivers that mean harm, or are broken ------------------------------------------------------------------------

PATIENCE_S = 5.0  # of a receiver, with a caller that would never give up


@contextmanager
def rude(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A receiver that does this to whoever asked it something. Gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(PATIENCE_S)

        def serve() -> None:
            with suppress(OSError):
                asking, _ = listening.accept()
                with asking:
                    asking.settimeout(PATIENCE_S)
                    asking.recv(1 << 16)
                    answer(asking)
                    # What is left unread would make the end a reset, which may overtake the answer.
                    asking.shutdown(socket.SHUT_WR)
                    while asking.recv(1 << 16):
                        pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            thread.join()


@pytest.mark.parametrize("status", [200, 302, 503])
def test_an_answer_without_end_is_not_read(tmp_path: Path, status: int) -> None:
    sent_bytes = 0

    def pour(asking: socket.socket) -> None:
        nonlocal sent_bytes
        asking.sendall(b"HTTP/1.1 %d x\r\nLocation: /y\r\n\r\n" % status)
        for _ in range(64):
            sent_bytes += asking.send(bytes(1 << 20))

    with rude(pour) as place, suppress(HivequeenError):
        webhook(tmp_path, f"http://{place}").post(DOCUMENT, key="1")
    assert sent_bytes < 32 << 20  # what the buffers of both sockets take; nobody reads the rest


@pytest.mark.parametrize(
    ("scheme", "first"),
    [
        ("http", b"HTTP/1.1 2"),
        ("http", b"HTTP/1.1 200 OK\r\nX-Slow: "),
        ("https", b"\x16\x03\x03\x40\x00"),  # of a TLS handshake
    ],
)
def test_a_receiver_that_drips_does_not_hold_its_caller(tmp_path: Path, scheme: str, first: bytes) -> None:
    def drip(asking: socket.socket) -> None:
        asking.sendall(first)
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s:
            if select([asking], [], [], 0.01)[0] and not asking.recv(1 << 16):
                break  # whoever asked has gone; until then it was the rest of what it asked
            asking.sendall(b"0")

    with rude(drip) as place:
        told = webhook(tmp_path, f"{scheme}://{place}", within_s=0.2)
        trouble = trouble_of(lambda: told.post(DOCUMENT, key="1"))
    assert isinstance(trouble, Transient) and trouble.message.endswith("in time")


def test_a_receiver_that_says_wait_for_ever_does_not_hold_its_caller(tmp_path: Path) -> None:
    def stall(asking: socket.socket) -> None:
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s:
            asking.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    with rude(stall) as place:
        told = webhook(tmp_path, f"http://{place}", within_s=0.2)
        trouble = trouble_of(lambda: told.post(DOCUMENT, key="1"))
    assert isinstance(trouble, Transient) and trouble.message == "no answer in time"


@pytest.mark.parametrize("to", [b"http://\xff/", b"http://[", b"http://x:99999/", b"//..", b"\xff"])
def test_a_redirect_to_nowhere_is_a_redirect(tmp_path: Path, to: bytes) -> None:
    answer = b"HTTP/1.1 302 x\r\nLocation: " + to + b"\r\nContent-Length: 0\r\n\r\n"
    with rude(lambda asking: asking.sendall(answer)) as place:
        trouble = trouble_of(lambda: webhook(tmp_path, f"http://{place}").post(DOCUMENT, key="1"))
    assert isinstance(trouble, Refused) and trouble.code == "302"


@pytest.mark.parametrize(
    "answer",
    [
        b"220 mail.example.com ESMTP\r\n",
        b"HTTP/1.1 what\r\n\r\n",
        b"HTTP/1.1 200 " + b"x" * 70_000,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"",
    ],
)
def test_what_is_no_answer_may_be_asked_for_again(tmp_path: Path, answer: bytes) -> None:
    with rude(lambda asking: asking.sendall(answer)) as place:
        trouble = trouble_of(lambda: webhook(tmp_path, f"http://{place}").post(DOCUMENT, key="1"))
    assert isinstance(trouble, Transient)
    assert trouble.message in {"its answer is not HTTP", "it hung up"}


def test_a_receiver_behind_tls_is_told_if_its_authority_is_known(tmp_path: Path, tls: Tls) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.certificate, tls.key)
    got = b""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(PATIENCE_S)

        def serve() -> None:
            nonlocal got
            with context.wrap_socket(listening.accept()[0], server_side=True) as asking:
                asking.settimeout(PATIENCE_S)
                while not got.endswith(b"}"):
                    got += asking.recv(1 << 16)
                asking.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        place = f"127.0.0.1:{listening.getsockname()[1]}"
        webhook(tmp_path, f"https://{place}", authority=tls.certificate).post(DOCUMENT, key="1")
        thread.join()
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(f"POST /{TOKEN} HTTP/1.1\r\n".encode()) and f"Host: {place}".encode() in head.split(b"\r\n")
    assert json.loads(body) == DOCUMENT
