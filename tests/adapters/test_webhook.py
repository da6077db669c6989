"""A receiver of notifications over real HTTP: what it gets, and what is said of it when it does not work."""

import hashlib
import hmac
import json
import socket
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.adapters.webhook import HttpWebhook
from reconciler.errors import HivequeenError, Refused, Stalled, Transient
from reconciler.settings import Receiver
from tests.adapters.chef.scripted import Answer, scripted
from tests.fakes.clock import BEGAN, FakeClock

TOKEN = "T0KEN"  # the part of the address that nobody may learn
DOCUMENT = {"text": "checkout is naïve ✓", "environment": None}
OK = Answer(200, b"ok")


def webhook(folder: Path, url: str, *, secret: str | None = None, answers_within_s: float = 5) -> HttpWebhook:
    (folder / "url").write_text(f"{url}/{TOKEN}\n")
    if secret is not None:
        (folder / "secret").write_text(f"{secret}\n")
    receiver = Receiver(
        name="slack",
        url_file=folder / "url",
        secret_file=None if secret is None else folder / "secret",
        on=frozenset({"ready"}),
    )
    return HttpWebhook(receiver, clock=FakeClock(), timeouts_s=(5, answers_within_s))


def test_the_document_arrives_as_json_with_its_key(tmp_path: Path) -> None:
    with scripted(Answer(204, b"")) as server:
        webhook(tmp_path, server.url).post(DOCUMENT, key="shop-7")
    (asked,) = server.asked
    assert (asked.method, asked.path, json.loads(asked.body)) == ("POST", f"/{TOKEN}", DOCUMENT)
    assert asked.headers["Content-Type"] == "application/json; charset=utf-8"
    assert asked.headers["Idempotency-Key"] == "shop-7"
    assert "Hivequeen-Signature" not in asked.headers


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
        told = webhook(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}", answers_within_s=0.05)
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


@pytest.mark.parametrize("content", ["", " \n", f"ftp://127.0.0.1/{TOKEN}", f"https:///{TOKEN}", f"{TOKEN}\nhttps://x"])
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
