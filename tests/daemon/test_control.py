import grp
import json
import os
import pwd
import socket
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.daemon.client import NoDaemon, ask
from reconciler.daemon.control import CONNECTIONS_MAX, ControlSocket, Tell
from reconciler.daemon.requests import (
    REQUEST_LENGTH_MAX,
    Approve,
    AskEvents,
    AskPlan,
    AskShow,
    AskStatus,
    MakePass,
    Ping,
    Request,
    Resume,
    Suspend,
    TakeClaim,
    encode,
    parse,
)
from reconciler.errors import Conflict, Refused, Stalled
from reconciler.model.desired import Json
from reconciler.model.names import EnvironmentName

CHECKOUT = EnvironmentName("checkout")


class Clerk:
    """Answers requests, and keeps who asked for what."""

    def __init__(self) -> None:
        self.asked: list[tuple[Request, str]] = []
        self.hold = threading.Event()  # cleared: answers wait for it
        self.hold.set()
        self.began = threading.Semaphore(0)

    def answer(self, request: Request, actor: str, tell: Tell) -> Json:
        self.asked.append((request, actor))
        self.began.release()
        assert self.hold.wait(10)
        match request:
            case Ping():
                return {"pong": True}
            case MakePass():
                tell("waiting for the pass that runs")
                return {"passed": True}
            case Approve():
                raise Conflict("nothing is held", remedy="see: hivequeen plan")
            case _:
                raise RuntimeError("a bug, with a secret in it")


@pytest.fixture
def clerk() -> Clerk:
    return Clerk()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


@pytest.fixture
def control(clerk: Clerk, path: Path) -> Iterator[ControlSocket]:
    served = ControlSocket(path, clerk.answer, group="no-such-group", request_s=1)
    served.start()
    yield served
    clerk.hold.set()
    served.stop()


def send(path: Path, line: bytes) -> dict[str, dict[str, str]]:
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(10)
        raw.connect(str(path))
        raw.sendall(line)
        answer: dict[str, dict[str, str]] = json.loads(raw.makefile().readline())
        return answer


@pytest.mark.usefixtures("control")
def test_a_request_is_answered_and_its_actor_is_the_user_at_the_other_end(clerk: Clerk, path: Path) -> None:
    assert ask(path, Ping()) == {"pong": True}
    assert clerk.asked == [(Ping(), pwd.getpwuid(os.getuid()).pw_name)]


@pytest.mark.usefixtures("control")
def test_progress_is_told_before_the_answer(path: Path) -> None:
    told: list[str] = []
    assert ask(path, MakePass(), on_progress=told.append) == {"passed": True}
    assert told == ["waiting for the pass that runs"]


@pytest.mark.usefixtures("control")
def test_an_error_arrives_as_itself_with_its_remedy(path: Path) -> None:
    with pytest.raises(Conflict, match="nothing is held") as caught:
        ask(path, Approve(target="abcdef"))
    assert caught.value.remedy == "see: hivequeen plan"


@pytest.mark.usefixtures("control")
def test_a_bug_behind_the_socket_is_not_shown_to_whoever_asks_and_ends_nothing(path: Path) -> None:
    with pytest.raises(Stalled) as caught:
        ask(path, AskStatus())
    assert "secret" not in str(caught.value)
    assert ask(path, Ping()) == {"pong": True}


@pytest.mark.usefixtures("control")
def test_without_its_group_the_socket_is_the_owners_alone(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_group_may_use_the_socket(clerk: Clerk, path: Path) -> None:
    group = grp.getgrgid(os.getgid())
    served = ControlSocket(path, clerk.answer, group=group.gr_name)
    served.start()
    try:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert path.stat().st_gid == group.gr_gid
    finally:
        served.stop()


@pytest.mark.usefixtures("control")
@pytest.mark.parametrize(
    "line",
    [
        b"hello\n",
        b"\xff\xfe\n",
        b"[]\n",
        b"{}\n",
        b'{"request":"shutdown"}\n',
        b'{"request":["ping"]}\n',
        b'{"request":"ping","force":true}\n',
        b'{"request":"show"}\n',
        b'{"request":"plan","environment":"../etc"}\n',
        b'{"request":"plan","environment":7}\n',
        b'{"request":"events","limit":0}\n',
        b'{"request":"events","limit":true}\n',
        b'{"request":"claim","take_over":"yes"}\n',
        b'{"request":"suspend","until":"tomorrow"}\n',
        b'{"request":"suspend","until":"2027-01-01T00:00:00"}\n',
        b'{"request":"suspend","reason":"two\\nlines"}\n',
        b'{"request":"reconcile","environments":"checkout"}\n',
        b'{"request":"ping"}\n{"request":"ping"}\n',
        b"[" * 50_000 + b"\n",
    ],
)
def test_what_is_not_a_request_is_refused_and_asks_for_nothing(clerk: Clerk, path: Path, line: bytes) -> None:
    assert send(path, line)["error"]["kind"] == "Refused"
    assert clerk.asked == []


@pytest.mark.usefixtures("control")
def test_an_oversized_line_is_refused_before_it_has_come_whole(path: Path) -> None:
    assert "bytes long" in send(path, b"x" * (REQUEST_LENGTH_MAX + 1))["error"]["message"]


@pytest.mark.usefixtures("control")
def test_a_line_that_does_not_come_is_not_waited_for(path: Path) -> None:
    assert "in time" in send(path, b'{"request":')["error"]["message"]


@pytest.mark.usefixtures("control")
def test_a_full_socket_turns_others_away_and_serves_on_afterwards(clerk: Clerk, path: Path) -> None:
    clerk.hold.clear()
    with ThreadPoolExecutor(CONNECTIONS_MAX) as pool:
        waiting = [pool.submit(ask, path, Ping()) for _ in range(CONNECTIONS_MAX)]
        for _ in waiting:
            assert clerk.began.acquire(timeout=10)
        with socket.socket(socket.AF_UNIX) as raw:
            raw.settimeout(10)
            raw.connect(str(path))
            assert raw.recv(1) == b""
        clerk.hold.set()
        assert [answer.result(10) for answer in waiting] == [{"pong": True}] * CONNECTIONS_MAX


def test_stop_removes_the_socket_and_a_client_says_that_no_daemon_runs(control: ControlSocket, path: Path) -> None:
    control.stop()
    assert not path.exists()
    with pytest.raises(NoDaemon):
        ask(path, Ping())


@pytest.mark.usefixtures("control")
def test_a_second_daemon_is_refused_while_one_answers(clerk: Clerk, path: Path) -> None:
    with pytest.raises(Stalled, match="another daemon answers"):
        ControlSocket(path, clerk.answer).start()
    assert ask(path, Ping()) == {"pong": True}


def test_the_socket_of_a_killed_daemon_is_replaced(clerk: Clerk, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with pytest.raises(NoDaemon):
        ask(path, Ping())
    served = ControlSocket(path, clerk.answer)
    served.start()
    try:
        assert ask(path, Ping()) == {"pong": True}
    finally:
        served.stop()


def test_what_is_no_socket_is_never_removed(clerk: Clerk, path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(Stalled, match="not a socket"):
        ControlSocket(path, clerk.answer).start()
    assert path.read_text() == "precious"


def test_a_socket_that_another_daemon_made_since_is_left_to_it(control: ControlSocket, path: Path) -> None:
    path.unlink()
    with socket.socket(socket.AF_UNIX) as others:
        others.bind(str(path))
        control.stop()
        assert path.exists()


def test_a_missing_folder_is_named(clerk: Clerk, tmp_path: Path) -> None:
    with pytest.raises(Stalled, match="cannot make the control socket"):
        ControlSocket(tmp_path / "missing" / "control.sock", clerk.answer).start()


NAMES = st.from_regex(r"[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,5}){0,2}", fullmatch=True).map(EnvironmentName)
MOMENTS = st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2099, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - Hypothesis wants naive bounds
LINES = st.text(
    st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"], exclude_characters="\u00a0"), max_size=50
)
REQUESTS: st.SearchStrategy[Request] = st.one_of(
    st.just(Ping()),
    st.just(AskStatus()),
    st.builds(AskPlan, environment=st.none() | NAMES),
    st.builds(AskShow, target=NAMES),
    st.builds(AskEvents, environment=st.none() | NAMES, limit=st.integers(1, 1000)),
    st.builds(Approve, target=NAMES),
    st.builds(TakeClaim, take_over=st.booleans()),
    st.builds(
        Suspend,
        environment=st.none() | NAMES,
        reason=LINES.filter(str.isprintable),
        until=st.none() | MOMENTS,
    ),
    st.builds(Resume, environment=st.none() | NAMES),
    st.builds(
        MakePass,
        environments=st.lists(NAMES, max_size=3).map(tuple),
        refresh_images=st.lists(NAMES, max_size=3).map(tuple),
    ),
)


@given(REQUESTS)
def test_what_is_encoded_is_parsed_back(request: Request) -> None:
    assert parse(encode(request)) == request


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ).map(lambda value: json.dumps(value).encode())
)
def test_anything_else_is_refused_and_nothing_worse(line: bytes) -> None:
    with pytest.raises(Refused):
        parse(line)
