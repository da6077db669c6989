"""Every way in which a Chef Server can fail to answer, and the error that it becomes."""

import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reconciler.adapters.chef import PyChefServer
from reconciler.errors import Conflict, Denied, HivequeenError, Refused, SettingsError, Stalled, Transient
from reconciler.model.names import ChefName, InstallationId, NodeName
from reconciler.model.observed import ChefEnvironment, ChefRole
from reconciler.ports import Claim
from tests.adapters.chef.scripted import Answer, Scripted, error, json_answer, scripted
from tests.adapters.chef.worlds import FLEET, HttpWorld, Pair, adapter, pair
from tests.fakes.clock import FakeClock

WEB = NodeName("checkout-web-0123456789abcdef0")
ROLE = ChefRole(name=ChefName("checkout-web"), run_list=("recipe[nginx]",), default_attributes={"a": 1})
PUBLIC_KEY = pair().public
CLAIM = Claim(
    fleet=FLEET,
    installation=InstallationId("6f3c"),
    account="123456789012",
    region="us-east-1",
    repository="/srv/envs.git",
    branch="main",
    path="environments.d",
    applied=None,
)


@contextmanager
def talking(key: Path, *answers: Answer) -> Iterator[tuple[PyChefServer, Scripted]]:
    with scripted(*answers) as script:
        server = adapter(script.url, key=key)
        try:
            yield server, script
        finally:
            server.close()


def raised(key: Path, answer: Answer, ask: Callable[[PyChefServer], object]) -> HivequeenError:
    with talking(key, answer) as (server, _), pytest.raises(HivequeenError) as caught:
        ask(server)
    return caught.value


# --- no answer ------------------------------------------------------------------------------------------------------


def test_an_unreachable_server_is_transient_and_says_where_and_why(hivequeen_key: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    server = adapter(url, key=hivequeen_key)
    with pytest.raises(Transient, match=rf"{url} cannot be reached for GET /nodes/.*refused"):
        server.nodes([WEB])
    server.close()


def test_a_server_that_never_answers_is_transient_after_the_timeout(hivequeen_key: Path) -> None:
    counted: Counter[tuple[str, str, str]] = Counter()

    def count(service: str, operation: str, result: str) -> None:
        counted[service, operation, result] += 1

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        server = adapter(url, key=hivequeen_key, timeouts_s=(0.5, 0.1), count=count)
        with pytest.raises(Transient, match="did not answer PUT /data/hivequeen/demo in time"):
            server.update_claim(CLAIM)
        server.close()
    # Once: a write whose reply was lost must not be sent again.
    assert counted == {("chef", "PUT data", "unreachable"): 1}


def test_a_connection_cut_in_the_middle_is_transient(hivequeen_key: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def cut() -> None:
            connection, _ = listener.accept()
            connection.recv(65536)
            connection.close()

        thread = threading.Thread(target=cut)
        thread.start()
        server = adapter(f"http://127.0.0.1:{listener.getsockname()[1]}", key=hivequeen_key)
        with pytest.raises(Transient, match="cannot be reached"):
            server.nodes([WEB])
        server.close()
        thread.join()


# --- a bad answer ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [b"", b"   ", b"<html>Sign in to the hotel's network</html>", b'{"name": ', b"[]", b"{}"]
)
@pytest.mark.parametrize(
    "ask",
    [
        lambda server: server.nodes(),
        lambda server: server.nodes([WEB]),
        lambda server: server.roles([ROLE.name]),
        lambda server: server.clients(),
        lambda server: server.clients([WEB]),
        lambda server: server.put_role(ROLE),
        lambda server: server.put_node(WEB, ChefName("x"), []),
    ],
)
def test_a_body_that_is_no_answer_is_never_taken_for_none(
    hivequeen_key: Path, body: bytes, ask: Callable[[PyChefServer], object]
) -> None:
    assert isinstance(raised(hivequeen_key, Answer(200, body), ask), Transient)


@pytest.mark.parametrize(
    "rows",
    [
        {"total": 3, "start": 0, "rows": [{"url": "", "data": {"name": "a"}}]},
        {"total": 1, "start": 0, "rows": [{"url": "", "data": {"name": None}}]},
        {"total": 1, "start": 0, "rows": [None]},
        {"total": 0, "start": 0},
        {"start": 0, "rows": []},
        # OpenSearch stops at 10,000 and counts no further.
        {"total": 10_000, "start": 0, "rows": [{"url": "", "data": {"name": f"n{i}"}} for i in range(10_000)]},
    ],
    ids=["fewer rows than total", "nameless row", "null row", "no rows", "no total", "as many as the index gives"],
)
def test_a_partial_search_result_is_transient(hivequeen_key: Path, rows: object) -> None:
    assert isinstance(raised(hivequeen_key, json_answer(200, rows), lambda server: server.clients()), Transient)


def test_an_organisation_of_ten_thousand_is_read_by_a_larger_request(hivequeen_key: Path) -> None:
    def answer(count: int) -> Answer:
        rows = [{"url": "", "data": {"name": f"n{number}"}} for number in range(count)]
        return json_answer(200, {"total": count, "start": 0, "rows": rows})

    with talking(hivequeen_key, answer(10_000), answer(10_001)) as (server, script):
        assert len(server.clients()) == 10_001
    assert [asked.path for asked in script.asked] == [
        "/search/client?q=*%3A*&rows=10000&start=0",
        "/search/client?q=*%3A*&rows=100000&start=0",
    ]


def test_a_reply_about_another_object_is_transient(hivequeen_key: Path) -> None:
    answer = json_answer(200, {"name": "somebody-else", "run_list": []})
    assert isinstance(raised(hivequeen_key, answer, lambda server: server.nodes([WEB])), Transient)


# --- a no -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, Refused),
        (401, Denied),
        (403, Denied),
        (405, Refused),
        (406, Refused),
        (409, Conflict),
        (412, Refused),
        (413, Refused),
        (429, Transient),
        (500, Transient),
        (502, Transient),
        (503, Transient),
    ],
)
def test_each_status_becomes_the_error_that_says_what_to_do_next(
    hivequeen_key: Path, status: int, expected: type[HivequeenError]
) -> None:
    caught = raised(hivequeen_key, error(status, "because", "of that"), lambda server: server.nodes([WEB]))
    assert type(caught) is expected
    assert "because, of that" in caught.message
    assert str(status) in caught.message


def test_a_throttled_request_says_when_to_try_again(hivequeen_key: Path) -> None:
    answer = json_answer(429, {"error": ["slow down"]}, ("Retry-After", "7"))
    caught = raised(hivequeen_key, answer, lambda server: server.claim())
    assert isinstance(caught, Transient)
    assert caught.retry_after_s == 7


def test_a_gateways_page_is_quoted_without_its_markup(hivequeen_key: Path) -> None:
    page = Answer(
        502, b"<html><head><title>502 Bad Gateway</title></head><body>nginx" + b"x" * 5000 + b"</body></html>"
    )
    caught = raised(hivequeen_key, page, lambda server: server.nodes())
    assert "502 Bad Gateway nginx" in caught.message
    assert "<" not in caught.message
    assert len(caught.message) < 500


@pytest.mark.parametrize(
    "answer",
    [
        error(404, "organization 'acme' does not exist."),
        Answer(404, b"<html>404 Not Found</html>"),
        Answer(404, b""),
        json_answer(404, {"message": "no Route matched with those values"}),
    ],
    ids=["no such organisation", "a web server's page", "nothing", "a gateway's JSON"],
)
def test_a_404_that_is_not_about_the_object_is_not_taken_for_its_absence(hivequeen_key: Path, answer: Answer) -> None:
    caught = raised(hivequeen_key, answer, lambda server: server.nodes([WEB]))
    assert isinstance(caught, Denied)
    assert "chef.server_url" in caught.remedy


def test_a_redirect_is_not_followed(hivequeen_key: Path) -> None:
    answer = Answer(301, b"", (("Location", "https://elsewhere/"),))
    with talking(hivequeen_key, answer) as (server, script), pytest.raises(Denied, match="https://elsewhere/"):
        server.nodes([WEB])
    assert script.lines == [f"GET /nodes/{WEB}"]


@pytest.mark.parametrize(
    ("ask", "remedy"),
    [
        (lambda server: server.nodes(), "READ on container nodes"),
        (lambda server: server.roles([ROLE.name]), "READ on container roles, and on the existing role checkout-web"),
        (lambda server: server.delete_client(WEB), f"DELETE on container clients, and on the existing client {WEB}"),
        (lambda server: server.claim(), "READ on data bag hivequeen"),
        (lambda server: server.create_client(WEB, PUBLIC_KEY), "CREATE on container clients"),
    ],
)
def test_a_403_names_the_missing_permission(
    hivequeen_key: Path, ask: Callable[[PyChefServer], object], remedy: str
) -> None:
    caught = raised(hivequeen_key, error(403, "missing permission"), ask)
    assert isinstance(caught, Denied)
    assert caught.remedy == f"grant a group that holds client hivequeen the permission {remedy}"


def test_a_403_on_a_write_names_the_write(hivequeen_key: Path) -> None:
    exists = json_answer(200, {"name": ROLE.name, "run_list": []})
    with talking(hivequeen_key, exists, error(403, "no")) as (server, _), pytest.raises(Denied) as caught:
        server.put_role(ROLE)
    assert "UPDATE on container roles, and on the existing role checkout-web" in caught.value.remedy


def test_a_wrong_key_is_denied_and_names_the_setting(sandbox_url: str, tmp_path: Path) -> None:
    key = tmp_path / "other.pem"
    key.write_text(pair().private)
    server = adapter(sandbox_url, key=key)
    with pytest.raises(Denied, match="401: Failed to authenticate as 'hivequeen'") as caught:
        server.nodes()
    assert "chef.client_key" in caught.value.remedy
    server.close()


def test_a_skewed_clock_is_told_from_a_wrong_key(sandbox_url: str, hivequeen_key: Path) -> None:
    clock = FakeClock(datetime.now(UTC) - timedelta(hours=2))
    server = adapter(sandbox_url, key=hivequeen_key, clock=clock)
    with pytest.raises(Denied, match="clock and the Chef Server's are 120 minutes apart") as caught:
        server.nodes()
    assert "NTP" in caught.value.remedy
    server.close()


def test_no_error_shows_the_private_key(hivequeen_key: Path, hivequeen_keys: Pair, sandbox_url: str) -> None:
    lines = [line for line in hivequeen_keys.private.splitlines() if len(line) > 40]
    clock = FakeClock(datetime.now(UTC) + timedelta(hours=2))
    server = adapter(sandbox_url, key=hivequeen_key, clock=clock)
    with pytest.raises(Denied) as caught:
        server.nodes()
    server.close()
    told = repr(caught.value) + caught.value.remedy
    assert not any(line in told for line in lines)


# --- settings -------------------------------------------------------------------------------------------------------


def test_every_fault_of_the_settings_is_told_at_once_and_without_the_key(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN RSA PRIVATE KEY-----\nsecretsecret\n-----END RSA PRIVATE KEY-----\n")
    with pytest.raises(SettingsError) as caught:
        adapter("chef.example.com", key=broken, ca_certificate=tmp_path / "absent.pem")
    url, authority, key = caught.value.problems
    assert url == "chef.server_url: chef.example.com is not an http or https URL"
    assert authority == f"chef.ca_certificate: {tmp_path}/absent.pem: No such file or directory"
    assert key == f"chef.client_key: {broken}: not an unencrypted private key in PEM form"
    assert "secret" not in str(caught.value)


def test_a_missing_key_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.pem: No such file or directory"):
        adapter("http://127.0.0.1", key=tmp_path / "absent.pem")


# --- races ----------------------------------------------------------------------------------------------------------


def test_a_role_that_somebody_made_meanwhile_is_compared(hivequeen_key: Path) -> None:
    theirs = json_answer(200, {"name": ROLE.name, "run_list": ["nginx"], "default_attributes": {"a": 1}})
    with talking(hivequeen_key, error(404, "no"), error(409, "exists"), theirs) as (server, script):
        assert server.put_role(ROLE) is False
    assert script.lines == ["GET /roles/checkout-web", "POST /roles", "GET /roles/checkout-web"]


def test_a_different_role_that_somebody_made_meanwhile_is_changed(hivequeen_key: Path) -> None:
    theirs = json_answer(200, {"name": ROLE.name, "run_list": [], "default_attributes": {}, "env_run_lists": {"x": []}})
    with talking(hivequeen_key, error(404, "no"), error(409, "exists"), theirs, theirs) as (server, script):
        assert server.put_role(ROLE) is True
    assert script.lines[-1] == "PUT /roles/checkout-web"
    assert b'"env_run_lists": {"x": []}' in script.asked[-1].body


def test_an_object_that_vanishes_between_read_and_write_is_not_made_anew(hivequeen_key: Path) -> None:
    exists = json_answer(200, {"name": "checkout", "default_attributes": {}})
    environment = ChefEnvironment(name=ChefName("checkout"), default_attributes={"hivequeen": {"fleet": "demo"}})
    with talking(hivequeen_key, exists, error(404, "gone")) as (server, script), pytest.raises(Transient):
        server.put_environment(environment)
    assert script.lines == ["GET /environments/checkout", "PUT /environments/checkout"]


@pytest.mark.parametrize("answer", [error(403, "no"), json_answer(200, {"name": WEB}), error(404, "no default key")])
def test_an_existing_client_whose_key_cannot_be_read_is_a_conflict(
    hivequeen_key: Path, hivequeen_keys: Pair, answer: Answer
) -> None:
    client = json_answer(200, {"name": WEB, "validator": False})
    with talking(hivequeen_key, error(409, "exists"), client, answer) as (server, script), pytest.raises(Conflict):
        server.create_client(WEB, hivequeen_keys.public)
    assert script.lines == ["POST /clients", f"GET /clients/{WEB}", f"GET /clients/{WEB}/keys/default"]


def test_a_server_that_makes_its_own_key_is_not_trusted(hivequeen_key: Path, hivequeen_keys: Pair) -> None:
    answer = json_answer(201, {"uri": "…", "public_key": pair().public, "private_key": "…"})
    caught = raised(hivequeen_key, answer, lambda server: server.create_client(WEB, hivequeen_keys.public))
    assert isinstance(caught, Refused)


def test_of_eight_claims_at_once_one_wins(http: HttpWorld) -> None:
    results: list[str] = []
    start = threading.Barrier(8)

    def claim() -> None:
        start.wait(5)
        try:
            http.server.create_claim(CLAIM)
            results.append("won")
        except (Conflict, Transient) as error:  # a server pressed so hard may also answer 500: the next pass asks again
            results.append(type(error).__name__)

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert results.count("won") == 1
    assert results.count("Conflict") >= 1


def test_a_search_that_is_not_found_is_not_an_empty_organisation(hivequeen_key: Path) -> None:
    caught = raised(hivequeen_key, error(404, "I don't know how to search for nodes"), lambda server: server.nodes())
    assert isinstance(caught, Transient)


def test_an_existing_client_that_vanishes_while_it_is_compared_is_transient(hivequeen_key: Path) -> None:
    with talking(hivequeen_key, error(409, "exists"), error(404, "gone")) as (server, _), pytest.raises(Transient):
        server.create_client(WEB, PUBLIC_KEY)


def test_an_existing_client_that_may_not_be_read_is_a_conflict(hivequeen_key: Path) -> None:
    with talking(hivequeen_key, error(409, "exists"), error(403, "no")) as (server, _), pytest.raises(Conflict):
        server.create_client(WEB, PUBLIC_KEY)


def test_a_role_that_comes_and_goes_is_transient(hivequeen_key: Path) -> None:
    absent = error(404, "no")
    with talking(hivequeen_key, absent, error(409, "exists"), absent) as (server, _), pytest.raises(Transient):
        server.put_role(ROLE)


def test_a_public_key_that_is_none_is_refused_before_anything_is_asked(hivequeen_key: Path) -> None:
    with talking(hivequeen_key, error(500, "never")) as (server, script), pytest.raises(Refused):
        server.create_client(WEB, "no key")
    assert script.asked == []


@pytest.mark.parametrize("body", [b"[]", b"null", b"", b"nothing"])
def test_a_claim_that_is_no_object_is_transient(hivequeen_key: Path, body: bytes) -> None:
    assert isinstance(raised(hivequeen_key, Answer(200, body), lambda server: server.claim()), Transient)


def test_a_claim_that_somebody_rewrote_needs_a_person(hivequeen_key: Path) -> None:
    item = json_answer(200, {"id": "demo", "installation": 7, "applied": ["x"], "region": "us-east-1"})
    caught = raised(hivequeen_key, item, lambda server: server.claim())
    assert isinstance(caught, Stalled)
    assert "hivequeen/demo" in caught.message
    assert "account, applied, branch, installation, path, repository" in caught.message


def test_an_environment_is_described_without_a_mark_of_ours(hivequeen_key: Path) -> None:
    theirs = json_answer(200, {"name": "checkout", "default_attributes": {"hivequeen": 1}})
    environment = ChefEnvironment(name=ChefName("checkout"), default_attributes={}, description="new")
    with talking(hivequeen_key, theirs) as (server, script):
        assert server.put_environment(environment) is True
    assert b'"default_attributes": {"hivequeen": 1}' in script.asked[-1].body
