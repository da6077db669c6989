"""Log lines: parseable, legible, and free of secrets."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal

import pytest

from reconciler.model.actions import ActionName
from reconciler.report.logs import configure, for_command, redact

PRIVATE = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAKC\n-----END RSA PRIVATE KEY-----"
KEY_ID = "AKIAIOSFODNN7EXAMPLE"


class Stream(io.StringIO):
    def __init__(self, *, is_terminal: bool = False) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def logged(form: Literal["json", "console"], message: str, *, is_terminal: bool = False, **extra: object) -> str:
    stream = Stream(is_terminal=is_terminal)
    configure(form, "INFO", stream=stream)
    logging.getLogger("reconciler.test").info(message, extra=extra)
    return stream.getvalue()


def test_a_json_line_holds_time_level_event_and_the_extra_fields() -> None:
    line = json.loads(logged("json", "action done", action=ActionName.LAUNCH_NODES, environment="checkout", count=2))
    at = datetime.fromisoformat(line.pop("ts"))
    assert abs((datetime.now(UTC) - at).total_seconds()) < 60
    assert line == {
        "level": "info",
        "event": "action done",
        "logger": "reconciler.test",
        "action": "launch_nodes",
        "environment": "checkout",
        "count": 2,
    }


def test_one_record_is_one_line_whatever_it_holds() -> None:
    text = logged(
        "json", "two\nlines", log="a\nb", nested={"at": datetime(2026, 1, 1, tzinfo=UTC), "names": {"b", "a"}}
    )
    assert text.count("\n") == 1
    assert json.loads(text)["nested"] == {"at": "2026-01-01T00:00:00+00:00", "names": ["a", "b"]}


def test_extra_cannot_overwrite_what_the_line_itself_says() -> None:
    assert json.loads(logged("json", "action done", level="fake", event="fake"))["event"] == "action done"


def test_a_console_line_reads_from_left_to_right() -> None:
    assert logged("console", "action done", action="launch", detail="two words", count=2) == (
        'info    action done  action=launch detail="two words" count=2\n'
    )


def test_only_a_terminal_gets_the_time() -> None:
    assert logged("console", "started", is_terminal=True)[2] == ":"
    assert logged("console", "started").startswith("info")


@pytest.mark.parametrize(
    "secret",
    [
        PRIVATE,
        PRIVATE.partition("-----END")[0],
        PRIVATE.replace("RSA ", ""),
        PRIVATE.replace("RSA", "EC"),
        KEY_ID,
        "Authorization: Basic b3BzOnNlY3JldA==",
        '"authorization": "Bearer abc.def"',
        "X-Ops-Authorization-1: jVHrNniWzpbez",
        "https://ops:hunter2@git.example.com/envs.git",
        "aws_secret_access_key=wJalrXUtnFEMI/K7MDENG",
    ],
)
def test_a_secret_is_masked_wherever_it_stands(secret: str) -> None:
    leaks = ("MIIEow", KEY_ID, "b3BzOnNlY3JldA", "abc.def", "jVHrNniWzpbez", "hunter2", "wJalrXUtnFEMI")
    form: Literal["json", "console"]
    for form in ("json", "console"):
        for text in (
            logged(form, f"request failed: {secret}"),
            logged(form, "request failed", detail=secret),
            logged(form, "request failed", nested={"deep": [secret]}),
        ):
            assert not any(leak in text for leak in leaks)
            assert "request failed" in text
    assert redact(redact(secret)) == redact(secret)


def test_a_secret_in_an_exception_is_masked() -> None:
    stream = Stream()
    configure("json", "INFO", stream=stream)
    try:
        int(PRIVATE)
    except ValueError:
        logging.getLogger("reconciler.test").exception("defect")
    line = json.loads(stream.getvalue())
    assert "MIIEow" not in line["exception"] and "ValueError: invalid literal" in line["exception"]


@pytest.mark.parametrize("name", ["password", "aws_secret", "private_key", "client_key", "user_data", "Authorization"])
def test_a_field_whose_name_says_secret_is_masked(name: str) -> None:
    assert json.loads(logged("json", "request", is_terminal=False, **{name: "hunter2"}))[name] == "[masked]"
    assert json.loads(logged("json", "request", headers={name: "hunter2"}))["headers"][name] == "[masked]"


def test_ordinary_text_stays_as_it_is() -> None:
    text = "launched 2 web nodes: i-0123456789abcdef0 (count: web.count 1 → 2) at https://chef/organizations/acme"
    assert redact(text) == text
    assert redact("-----BEGIN PUBLIC KEY-----\nMIIB") == "-----BEGIN PUBLIC KEY-----\nMIIB"


def test_talkative_libraries_are_heard_only_when_they_warn() -> None:
    stream = Stream()
    configure("console", "DEBUG", stream=stream)
    logging.getLogger("botocore.endpoint").debug("Making request")
    logging.getLogger("urllib3.connectionpool").info("Starting connection")
    logging.getLogger("uvicorn.error").info("Started")
    assert stream.getvalue() == ""
    logging.getLogger("botocore.credentials").warning("expired")
    assert "expired" in stream.getvalue()


def test_a_request_that_is_tried_again_is_no_line_of_its_own() -> None:
    """What comes of the tries is told by whoever made the request."""
    stream = Stream()
    configure("console", "INFO", stream=stream)
    logging.getLogger("urllib3.connectionpool").warning("Retrying (Retry(total=None, connect=3)) after connection ...")
    assert stream.getvalue() == ""


def test_a_command_shows_defects_in_full_and_leaves_the_rest_to_its_own_words() -> None:
    stream, ours = Stream(), logging.getLogger("reconciler.test")
    with for_command(stream=stream):
        ours.warning("event", extra={"kind": "Stalled"})
        assert stream.getvalue() == ""
        ours.error("converge broke off", extra={"environment": "checkout"})
    assert stream.getvalue().endswith("error   converge broke off  environment=checkout\n")
    ours.error("heard by nobody here")
    assert "heard by nobody here" not in stream.getvalue()


def test_configuring_twice_writes_each_line_once() -> None:
    first = Stream()
    configure("console", "INFO", stream=first)
    assert logged("console", "once").count("once") == 1
    assert first.getvalue() == ""


def test_without_a_stream_lines_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    configure("console", "INFO", stream=sys.stderr)
    logging.getLogger("reconciler.test").info("heard")
    assert "heard" in capsys.readouterr().err
