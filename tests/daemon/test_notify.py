"""Being told: over real HTTP, from a real journal, with a clock that only the test moves."""

import json
import queue
import socket
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from reconciler.adapters.journal import SqliteJournal
from reconciler.adapters.webhook import HttpWebhook
from reconciler.daemon.notify import SPREAD, TOPICS, WAITS_S, Delivery, Notifier, document_of
from reconciler.errors import Transient
from reconciler.model.conditions import Event
from reconciler.model.event_kinds import EventKind
from reconciler.model.names import EnvironmentName, FleetId, InstallationId, NodeName, RevisionId
from reconciler.report.metrics import Metrics, Notified
from reconciler.settings import Receiver
from tests.daemon.rehearsal import Time
from tests.fakes.clock import BEGAN, FakeClock

FLEET, INSTALLATION = FleetId("shop"), InstallationId("5eed")
CHECKOUT, FEATURE = EnvironmentName("checkout"), EnvironmentName("feature-login")
SOON_S = 20.0


def event(message: str, kind: EventKind = EventKind.STALLED, environment: EnvironmentName | None = CHECKOUT) -> Event:
    return Event(at=BEGAN, kind=kind.value, message=message, environment=environment)


# --- over HTTP ------------------------------------------------------------------------------------------------------


@dataclass
class Site:
    """A receiver's server: answers what it is told to, then 200 for ever."""

    url: str
    statuses: deque[int] = field(default_factory=deque)
    got: queue.Queue[tuple[str, dict[str, object]]] = field(default_factory=queue.Queue)  # key, document

    def next(self) -> tuple[str, object]:
        key, document = self.got.get(timeout=SOON_S)
        return key, document["message"]


@contextmanager
def site(*statuses: int) -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(here.statuses.popleft() if here.statuses else 200)
            self.send_header("Content-Length", "0")
            here.got.put((self.headers["Idempotency-Key"], json.loads(body)))  # before whoever posts learns of it
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    here = Site(url=f"http://127.0.0.1:{server.server_address[1]}/T0KEN", statuses=deque(statuses))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield here
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Office:
    """Where receivers are told from; `restart` gives it a new memory and keeps the journal."""

    folder: Path
    journal: SqliteJournal
    time: Time = field(default_factory=Time)
    metrics: Metrics = field(default_factory=Metrics)

    def delivery(
        self, url: str, *, name: str = "slack", on: frozenset[str] = frozenset({"stalled"}), environments: str = "*"
    ) -> Delivery:
        file = self.folder / name
        file.write_text(url)
        receiver = Receiver(name=name, url_file=file, on=on, environments=environments)
        return Delivery(
            receiver,
            fleet=FLEET,
            installation=self.journal.recall(BEGAN).installation,
            events=self.journal,
            webhook=HttpWebhook(receiver, clock=FakeClock()),
            monotonic=self.time.monotonic,
            jitter=lambda: 0.0,
            count=self.metrics.notification,
        )

    def started(self, url: str, *, environments: str = "*") -> Delivery:
        delivery = self.delivery(url, environments=environments)
        delivery.begin()
        return delivery

    def counted(self) -> dict[str, float]:
        families = text_string_to_metric_families(self.metrics.render().decode())
        samples = [sample for family in families for sample in family.samples]
        return {
            sample.labels["result"]: sample.value
            for sample in samples
            if sample.name == "hivequeen_notifications_total" and sample.value
        }


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with SqliteJournal(f"sqlite:///{tmp_path}/state.db", new_id=lambda: INSTALLATION) as journal:
        yield Office(tmp_path, journal)


def key(event_id: int) -> str:
    return f"{INSTALLATION}-{event_id}-{int(BEGAN.timestamp())}"


def told(site: Site) -> list[object]:
    messages = []
    while not site.got.empty():
        messages.append(site.next()[1])
    return messages


def test_what_happens_after_the_start_is_told_in_order(office: Office) -> None:
    office.journal.append(event("long ago"))
    with site() as here:
        delivery = office.started(here.url)
        office.journal.append(event("one"), event("two"))
        assert delivery.deliver() is None
        assert [here.next(), here.next()] == [(key(2), "one"), (key(3), "two")]
        assert told(here) == []
    assert office.counted() == {"delivered": 2}


def test_only_what_was_asked_for_is_told(office: Office) -> None:
    with site() as here:
        delivery = office.started(here.url, environments="feature-*")
        office.journal.append(
            event("another's"),
            event("asked for", environment=FEATURE),
            event("another topic", EventKind.READY, environment=FEATURE),
            event("everybody's", environment=None),
        )
        delivery.deliver()
        assert told(here) == ["asked for"]


def test_whoever_asks_for_all_environments_hears_of_the_installation_too(office: Office) -> None:
    with site() as here:
        delivery = office.started(here.url)
        office.journal.append(event("everybody's", environment=None))
        delivery.deliver()
        assert told(here) == ["everybody's"]


def test_a_restart_repeats_nothing_and_loses_nothing(office: Office) -> None:
    with site(200, 503) as here:
        delivery = office.started(here.url)
        office.journal.append(event("one"), event("two"))
        delivery.deliver()
        office.journal.append(event("three"))
        assert [here.next(), here.next()] == [(key(1), "one"), (key(2), "two")]
        office.started(here.url).deliver()
        assert [here.next(), here.next()] == [(key(2), "two"), (key(3), "three")]
        office.started(here.url).deliver()
        assert told(here) == []


def test_what_was_passed_over_is_not_told_when_it_is_asked_for_later(office: Office) -> None:
    with site() as here:
        delivery = office.started(here.url)
        office.journal.append(event("ready", EventKind.READY))
        delivery.deliver()
        wider = office.delivery(here.url, on=frozenset({"ready", "stalled"}))
        wider.begin()
        wider.deliver()
        assert told(here) == []


def test_a_failure_is_tried_again_later_and_what_follows_waits_its_turn(office: Office) -> None:
    with site(503, 404) as here:
        delivery = office.started(here.url)
        office.journal.append(event("one"), event("two"))
        assert delivery.deliver() == WAITS_S[0]
        office.time.elapsed_s += WAITS_S[0] - 1
        assert delivery.deliver() == 1
        office.time.elapsed_s += 1
        assert delivery.deliver() == WAITS_S[1]
        assert told(here) == ["one", "one"]
        office.time.elapsed_s += WAITS_S[1]
        assert delivery.deliver() is None
        assert told(here) == ["one", "two"]
    assert office.counted() == {"failed": 2, "delivered": 2}


def test_after_five_tries_in_ten_minutes_it_is_given_up_and_the_next_one_has_its_turn(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    with site(*[500] * 5) as here:
        delivery = office.started(here.url)
        office.journal.append(event("one"), event("two"))
        began_s = office.time.elapsed_s
        while (wait_s := delivery.deliver()) is not None:
            office.time.elapsed_s += wait_s
        assert told(here) == ["one"] * 5 + ["two"]
    assert 9 * 60 <= office.time.elapsed_s - began_s <= 11 * 60
    assert office.counted() == {"failed": 4, "given_up": 1, "delivered": 1}
    assert [record.message for record in caplog.records] == ["notification not delivered"] * 4 + [
        "notification given up"
    ]
    logged = " ".join(str(vars(record)) for record in caplog.records)
    assert "it answered 500" in logged and "T0KEN" not in logged


@dataclass
class Told:
    """A receiver in memory, which fails on command."""

    trouble: Exception | None = None
    keys: list[str] = field(default_factory=list)

    def post(self, document: Mapping[str, object], *, key: str) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.keys.append(key)


RECEIVER = Receiver(name="slack", url_file=Path("url"), on=frozenset({"stalled"}), environments="checkout")


def in_memory(
    journal: SqliteJournal, time: Time, there: Told, count: list[Notified] | None = None, jitter: float = 0.0
) -> Delivery:
    counted: list[Notified] = [] if count is None else count
    delivery = Delivery(
        RECEIVER,
        fleet=FLEET,
        installation=INSTALLATION,
        events=journal,
        webhook=there,
        monotonic=time.monotonic,
        jitter=lambda: jitter,
        count=counted.append,
    )
    delivery.begin()
    return delivery


@pytest.mark.parametrize(("asked_s", "waited_s"), [(30.0, 30.0), (1.0, WAITS_S[0]), (86_400.0, 600.0)])
def test_a_receiver_may_ask_for_more_time_within_bounds(office: Office, asked_s: float, waited_s: float) -> None:
    there = Told(trouble=Transient("it answered 429", retry_after_s=asked_s))
    delivery = in_memory(office.journal, office.time, there)
    office.journal.append(event("one"))
    assert delivery.deliver() == waited_s


def test_retries_are_spread_a_little_and_never_before_the_receiver_wants_them(office: Office) -> None:
    there = Told(trouble=Transient("it answered 429", retry_after_s=30.0))
    office.journal.append(event("long ago"))
    delivery = in_memory(office.journal, office.time, there, jitter=1.0)
    office.journal.append(event("one"))
    assert delivery.deliver() == pytest.approx(30 * (1 + SPREAD))


def test_a_lost_journal_repeats_no_key(tmp_path: Path) -> None:
    keys = set()
    for life in ("first", "second"):
        (tmp_path / life).mkdir()
        with SqliteJournal(f"sqlite:///{tmp_path}/{life}/state.db") as journal, site() as here:
            delivery = Office(tmp_path, journal).started(here.url)
            journal.append(event("of the same second"))
            delivery.deliver()
            keys.add(here.next()[0])
    assert len(keys) == 2


def test_a_journal_restored_from_a_backup_repeats_no_key(office: Office) -> None:
    there = Told()
    delivery = in_memory(office.journal, office.time, there)
    office.journal.append(event("one"))
    delivery.deliver()
    with SqliteJournal(f"sqlite:///{office.folder}/backup.db", new_id=lambda: INSTALLATION) as backup:
        delivery = in_memory(backup, office.time, there)
        backup.append(replace(event("another"), at=BEGAN + timedelta(minutes=1)))
        delivery.deliver()
    assert len(set(there.keys)) == 2


def test_what_the_journal_forgot_before_it_was_told_is_said_to_be_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    there, counted = Told(), list[Notified]()
    with SqliteJournal(f"sqlite:///{tmp_path}/state.db", events_kept=2) as journal:
        delivery = in_memory(journal, Time(), there, counted)
        journal.append(*(event(str(number)) for number in range(5)))
        delivery.deliver()
        journal.append(event("6"))
        delivery.deliver()
    assert there.keys == [key(4), key(5), key(6)]
    assert counted == [Notified.GIVEN_UP, *[Notified.DELIVERED] * 3]
    (lost,) = caplog.records
    assert (lost.message, vars(lost)["events"]) == ("notifications lost", 3)


def test_an_error_that_nobody_expected_is_a_failed_try_and_shows_no_address(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    there, counted = Told(trouble=LookupError("https://hooks.example.com/T0KEN")), list[Notified]()
    delivery = in_memory(office.journal, office.time, there, counted)
    office.journal.append(event("one"))
    assert delivery.deliver() == WAITS_S[0]
    assert counted == [Notified.FAILED]
    (said,) = caplog.records
    assert "unexpected LookupError at test_notify.py:" in vars(said)["problem"]
    assert "T0KEN" not in str(vars(said)) and "example.com" not in str(vars(said))


def test_what_was_delivered_is_not_posted_again_because_the_journal_failed_then(office: Office) -> None:
    there = Told()
    delivery = in_memory(office.journal, office.time, there)
    office.journal.append(event("one"))
    with office.journal._engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER full BEFORE UPDATE ON cursors BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
        )
    with pytest.raises(Exception, match="disk is full"):
        delivery.deliver()
    with office.journal._engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER full")
    office.journal.append(event("two"))
    delivery.deliver()
    assert there.keys == [key(1), key(2)]
    in_memory(office.journal, office.time, there).deliver()
    assert there.keys == [key(1), key(2)]


steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.sampled_from([CHECKOUT, FEATURE])),
        st.tuples(st.just("wait"), st.integers(1, 400)),
        st.tuples(st.sampled_from(["fail", "mend", "restart", "deliver"]), st.none()),
    ),
    max_size=40,
)


@pytest.mark.slow
@given(steps=steps)
@settings(max_examples=40, deadline=None)
def test_each_event_is_delivered_once_in_order_or_given_up_whatever_happens(
    steps: list[tuple[str, EnvironmentName | int | None]],
) -> None:
    there, time, counted, wanted = Told(), Time(), list[Notified](), list[str]()
    with TemporaryDirectory() as folder, SqliteJournal(f"sqlite:///{folder}/state.db") as journal:
        delivery = in_memory(journal, time, there, counted)
        for step, how in steps:
            if step == "append":
                environment = EnvironmentName(str(how))
                journal.append(event("x", environment=environment))
                wanted += [key(journal.newest())] if environment == CHECKOUT else []
            elif step == "wait":
                assert isinstance(how, int)
                time.elapsed_s += how
            elif step == "restart":
                delivery = in_memory(journal, time, there, counted)
            elif step == "deliver":
                delivery.deliver()
            else:
                there.trouble = Transient("down") if step == "fail" else None
        there.trouble = None
        while (wait_s := delivery.deliver()) is not None:
            time.elapsed_s += wait_s
    assert there.keys == sorted(set(there.keys), key=wanted.index)
    assert set(there.keys) <= set(wanted)
    assert len(wanted) - len(there.keys) == counted.count(Notified.GIVEN_UP)


# --- the threads ----------------------------------------------------------------------------------------------------


@contextmanager
def running(office: Office, *deliveries: Delivery) -> Iterator[Notifier]:
    notifier = Notifier(office.journal, deliveries)
    notifier.start()
    try:
        yield notifier
    finally:
        notifier.stop()


def test_a_wake_tells_everybody_what_is_new(office: Office) -> None:
    with site() as one, site() as other:
        deliveries = (office.delivery(one.url), office.delivery(other.url, name="pager"))
        with running(office, *deliveries) as notifier:
            for number in range(3):
                office.journal.append(event(str(number)))
                notifier.wake()
                assert one.next()[1] == other.next()[1] == str(number)


def test_a_receiver_that_hangs_keeps_neither_a_pass_nor_another_receiver_waiting(office: Office) -> None:
    with site() as here, closing(socket.create_server(("127.0.0.1", 0))) as silent:
        hanging = office.delivery(f"http://127.0.0.1:{silent.getsockname()[1]}", name="hanging")
        with running(office, hanging, office.delivery(here.url)) as notifier:
            for number in range(3):
                office.journal.append(event(str(number)))  # all that a pass does for it
                notifier.wake()
                assert here.next()[1] == str(number)
            silent.close()  # ends the hanging call
    assert office.journal.cursor(hanging.key) == 0


def test_what_was_not_told_before_a_stop_is_told_after_the_start(office: Office) -> None:
    with site() as here:
        with running(office, office.delivery(here.url)):
            pass
        office.journal.append(event("while nobody ran"))
        with running(office, office.delivery(here.url)):
            assert here.next()[1] == "while nobody ran"


def test_a_receiver_that_was_not_in_the_settings_for_a_while_is_not_told_of_that_time(office: Office) -> None:
    with site() as here:
        with running(office, office.delivery(here.url)):
            pass
        with running(office):
            office.journal.append(event("meanwhile"))
        with running(office, office.delivery(here.url)) as notifier:
            office.journal.append(event("now"))
            notifier.wake()
            assert here.next()[1] == "now"


class Stumbling(SqliteJournal):
    """Cannot be read until it is told that it can."""

    def __init__(self, url: str, trouble: Exception) -> None:
        super().__init__(url)
        self.trouble: Exception | None = trouble
        self.stumbles: queue.Queue[None] = queue.Queue()

    def after(self, event_id: int, *, limit: int) -> Sequence[tuple[int, Event]]:
        if self.trouble is not None:
            self.stumbles.put(None)
            raise self.trouble
        return super().after(event_id, limit=limit)


@pytest.mark.parametrize("trouble", [Transient("the disk is slow"), LookupError("T0KEN")])
def test_whatever_fails_for_a_while_ends_no_delivery_and_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, trouble: Exception
) -> None:
    with Stumbling(f"sqlite:///{tmp_path}/state.db", trouble) as journal, site() as here:
        office = Office(tmp_path, journal)
        with running(office, office.delivery(here.url)) as notifier:
            journal.stumbles.get(timeout=SOON_S)
            notifier.wake()
            journal.stumbles.get(timeout=SOON_S)
            journal.append(event("at last"))
            journal.trouble = None
            notifier.wake()
            assert here.next()[1] == "at last"
    assert office.counted()["failed"] >= 2
    (said,) = caplog.records
    assert (said.message, vars(said)["receiver"]) == ("notifications interrupted", "slack")
    assert "T0KEN" not in str(vars(said))


def test_nobody_to_tell_is_nothing_to_do(office: Office) -> None:
    with running(office) as notifier:
        notifier.wake()
    Notifier(office.journal, ()).stop()  # never started


# --- what is said ---------------------------------------------------------------------------------------------------


def test_a_document_says_all_that_the_event_does_and_a_line_for_slack() -> None:
    whole = Event(
        at=BEGAN,
        kind="Stalled",
        message="launch refused → raise the quota",
        environment=CHECKOUT,
        node=NodeName("checkout-web-1"),
        revision=RevisionId("a" * 40),
        actor="jessica",
    )
    assert document_of(7, whole, FLEET) == {
        "text": "*checkout* Stalled: launch refused → raise the quota (by jessica) [shop]",
        "id": 7,
        "fleet": "shop",
        "at": "2026-11-01T12:00:00+00:00",
        "kind": "Stalled",
        "environment": "checkout",
        "node": "checkout-web-1",
        "message": "launch refused → raise the quota",
        "revision": "a" * 40,
        "actor": "jessica",
    }


def test_nobodys_words_ring_a_channel_or_dress_up_as_a_link() -> None:
    nasty = Event(at=BEGAN, kind="Held", message="<!channel> & <http://x|y>", actor="<@U1>")
    document = document_of(1, nasty, FLEET)
    assert document["text"] == "Held: &lt;!channel&gt; &amp; &lt;http://x|y&gt; (by &lt;@U1&gt;) [shop]"
    assert document["message"] == "<!channel> & <http://x|y>"


def test_a_long_message_is_cut_for_slack_only() -> None:
    document = document_of(1, event("x" * 9000), FLEET)
    assert len(str(document["text"])) < 3100
    assert len(str(document["message"])) == 9000


def test_every_topic_of_the_settings_means_some_kind_of_event() -> None:
    schema = json.loads((Path(__file__).parents[2] / "schemas/settings.schema.json").read_text())
    offered = schema["properties"]["notify"]["items"]["properties"]["on"]["items"]["enum"]
    assert set(offered) == set(TOPICS)
    assert all(TOPICS.values())
