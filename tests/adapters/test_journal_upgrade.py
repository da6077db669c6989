"""A file that version 1 wrote opens, and nothing in it is lost."""

import sqlite3
from datetime import timedelta
from pathlib import Path

from reconciler.adapters.journal import SqliteJournal
from reconciler.model.conditions import Condition, ConditionType, Event
from reconciler.model.facts import EnvironmentEnding, NodeFailed, TeardownItems
from reconciler.model.memory import (
    Approval,
    Backoff,
    Cause,
    EndingCause,
    Exhausted,
    Item,
    ItemKind,
    KnownEnvironment,
    NodeRecord,
    Suspension,
    Termination,
    Trouble,
)
from reconciler.model.names import EnvironmentName, IntentToken, NodeName, RevisionId
from tests.adapters.journal_facts import CHECKOUT, FIRST, NOON, WEB

A, B = RevisionId("a" * 40), RevisionId("b" * 40)
PRODUCTION = EnvironmentName("production")
HOUR = timedelta(hours=1)

VERSION_1 = """
CREATE TABLE approvals (
    digest VARCHAR NOT NULL,
    removals TEXT NOT NULL,
    actor TEXT NOT NULL,
    at VARCHAR NOT NULL,
    expires_at VARCHAR NOT NULL,
    PRIMARY KEY (digest)
);
CREATE TABLE backoffs (
    environment VARCHAR NOT NULL,
    failures INTEGER NOT NULL,
    until VARCHAR NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY (environment)
);
CREATE TABLE conditions (
    environment VARCHAR NOT NULL,
    type VARCHAR NOT NULL,
    is_true BOOLEAN NOT NULL,
    reason VARCHAR NOT NULL,
    message TEXT NOT NULL,
    remedy TEXT NOT NULL,
    revision VARCHAR,
    since VARCHAR NOT NULL,
    PRIMARY KEY (environment, type)
);
CREATE TABLE environments (
    name VARCHAR NOT NULL,
    declared_by VARCHAR NOT NULL,
    is_protected BOOLEAN NOT NULL,
    teardown_began_at VARCHAR,
    teardown_revision VARCHAR,
    PRIMARY KEY (name)
);
CREATE TABLE events (
    id INTEGER NOT NULL,
    at VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    message TEXT NOT NULL,
    environment VARCHAR,
    node VARCHAR,
    revision VARCHAR,
    actor TEXT NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX events_by_environment ON events (environment, id);
CREATE TABLE exhausted (
    instance_type VARCHAR NOT NULL,
    subnet VARCHAR NOT NULL,
    until VARCHAR NOT NULL,
    PRIMARY KEY (instance_type, subnet)
);
CREATE TABLE facts (name VARCHAR NOT NULL, value TEXT NOT NULL, PRIMARY KEY (name));
CREATE TABLE intents (
    token VARCHAR NOT NULL,
    environment VARCHAR NOT NULL,
    role VARCHAR NOT NULL,
    parameters TEXT NOT NULL,
    user_data TEXT NOT NULL,
    opened_at VARCHAR NOT NULL,
    attempted_at VARCHAR,
    state VARCHAR NOT NULL,
    instance_ids TEXT NOT NULL,
    settled_at VARCHAR,
    message TEXT NOT NULL,
    PRIMARY KEY (token)
);
CREATE INDEX intents_by_state ON intents (state, settled_at);
CREATE TABLE nodes (
    instance_id VARCHAR NOT NULL,
    environment VARCHAR NOT NULL,
    role VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    intent VARCHAR,
    launched_at VARCHAR NOT NULL,
    seen_at VARCHAR NOT NULL,
    public_key TEXT,
    registered_at VARCHAR,
    deferred_at VARCHAR,
    ready_at VARCHAR,
    first_run_ok BOOLEAN,
    first_run_log TEXT NOT NULL,
    missing_since VARCHAR,
    odd_since VARCHAR,
    gone_at VARCHAR,
    PRIMARY KEY (instance_id)
);
CREATE INDEX ix_nodes_intent ON nodes (intent);
CREATE TABLE settled (
    environment VARCHAR NOT NULL,
    role VARCHAR NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (environment, role)
);
CREATE TABLE suspensions (
    environment VARCHAR NOT NULL,
    reason TEXT NOT NULL,
    actor TEXT NOT NULL,
    since VARCHAR NOT NULL,
    until VARCHAR,
    PRIMARY KEY (environment)
);
CREATE TABLE teardowns (environment VARCHAR NOT NULL, at VARCHAR NOT NULL, PRIMARY KEY (environment));
CREATE TABLE terminations (
    instance_id VARCHAR NOT NULL,
    environment VARCHAR NOT NULL,
    cause VARCHAR NOT NULL,
    at VARCHAR NOT NULL,
    PRIMARY KEY (instance_id)
);
CREATE INDEX ix_terminations_at ON terminations (at);
CREATE TABLE troubles (
    environment VARCHAR NOT NULL,
    role VARCHAR NOT NULL,
    content VARCHAR NOT NULL,
    failed TEXT NOT NULL,
    is_halted BOOLEAN NOT NULL,
    message TEXT NOT NULL,
    remedy TEXT NOT NULL,
    since VARCHAR NOT NULL,
    PRIMARY KEY (environment, role)
);
PRAGMA user_version = 1;
"""
NOON_TEXT = "2026-11-23T12:00:00.000000+00:00"
LATER_TEXT = "2026-11-24T12:00:00.000000+00:00"
PARAMETERS = (
    '{"count":1,"image":"ami-1","instance_profile":null,"instance_type":"m7i.large","key_name":null,'
    '"root_volume_size_gib":null,"root_volume_type":null,"security_groups":["sg-app"],"subnet":"subnet-a",'
    '"tags":[["Name","checkout-web"]]}'
)
ROWS: tuple[tuple[str, tuple[object, ...]], ...] = (
    ("facts", ("installation", "one")),
    ("facts", ("applied", B)),
    ("environments", ("production", B, 1, None, None)),
    ("environments", ("checkout", A, 0, NOON_TEXT, B)),
    ("teardowns", ("checkout", NOON_TEXT)),
    (
        "nodes",
        (
            *(FIRST, "checkout", "web", "checkout-web-1", "token-0", NOON_TEXT, NOON_TEXT, "KEY", NOON_TEXT, None),
            *(NOON_TEXT, 1, "naïve ✓", None, NOON_TEXT, None),
        ),
    ),
    (
        "intents",
        (
            *("token-0", "checkout", "web", PARAMETERS, "", NOON_TEXT, None, "launched", f'["{FIRST}"]', NOON_TEXT),
            "",
        ),
    ),
    ("terminations", (FIRST, "checkout", "teardown", NOON_TEXT)),
    ("approvals", ("3f2a", "[]", "ops", NOON_TEXT, LATER_TEXT)),
    ("suspensions", ("", "freeze", "ops", NOON_TEXT, None)),
    ("troubles", ("checkout", "web", "c0ffee", f'["{FIRST}"]', 1, "no", "do", NOON_TEXT)),
    ("backoffs", ("checkout", 2, LATER_TEXT, "no")),
    ("exhausted", ("m7i.large", "subnet-a", LATER_TEXT)),
    ("settled", ("production", "web", 4)),
    ("events", (7, NOON_TEXT, "NodeReady", "ready", "checkout", "checkout-web-1", A, "ops")),
    ("conditions", ("checkout", "Stalled", 1, "Broken", "it is", "mend it", A, NOON_TEXT)),
)


def written_by_version_1(folder: Path) -> str:
    connection = sqlite3.connect(folder / "state.db")
    connection.executescript(VERSION_1)
    for table, row in ROWS:
        connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
    connection.commit()
    connection.close()
    return f"sqlite:///{folder}/state.db"


def layout(file: Path) -> dict[str, set[tuple[object, ...]]]:
    """Of every table its columns (name, type, not null, default, place in the key) and indexes."""
    connection = sqlite3.connect(file)
    try:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            name: {row[1:] for row in connection.execute(f"PRAGMA table_info({name})")}
            | {(row[1], row[2]) for row in connection.execute(f"PRAGMA index_list({name})")}
            for name in names
        }
    finally:
        connection.close()


def test_an_upgraded_file_is_laid_out_like_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    with SqliteJournal(f"sqlite:///{tmp_path}/new/state.db"), SqliteJournal(written_by_version_1(tmp_path)):
        pass
    assert layout(tmp_path / "state.db") == layout(tmp_path / "new" / "state.db")


def test_what_version_1_remembered_is_remembered(tmp_path: Path) -> None:
    with SqliteJournal(written_by_version_1(tmp_path)) as journal:
        memory, events, conditions = journal.recall(NOON), journal.events(), journal.conditions()
    assert (memory.installation, memory.applied) == ("one", B)
    assert memory.environments == {
        PRODUCTION: KnownEnvironment(name=PRODUCTION, declared_by=B, is_protected=True),
        CHECKOUT: KnownEnvironment(name=CHECKOUT, declared_by=A, teardown_began_at=NOON),
    }
    assert memory.nodes == {
        FIRST: NodeRecord(
            instance_id=FIRST,
            environment=CHECKOUT,
            role=WEB,
            name=NodeName("checkout-web-1"),
            intent=IntentToken("token-0"),
            launched_at=NOON,
            seen_at=NOON,
            public_key="KEY",
            registered_at=NOON,
            ready_at=NOON,
            first_run_ok=True,
            first_run_log="naïve ✓",
            odd_since=NOON,
        )
    }
    assert memory.intents[IntentToken("token-0")].parameters.tags == (("Name", "checkout-web"),)
    assert memory.teardowns == {CHECKOUT: NOON}
    assert memory.settled == {(PRODUCTION, WEB): 4}
    assert memory.terminations == (Termination(instance_id=FIRST, environment=CHECKOUT, cause=Cause.TEARDOWN, at=NOON),)
    assert memory.approvals == (
        Approval(digest="3f2a", removals=frozenset(), actor="ops", at=NOON, expires_at=NOON + 24 * HOUR),
    )
    assert memory.suspensions == (Suspension(environment=None, reason="freeze", actor="ops", since=NOON, until=None),)
    assert memory.troubles[CHECKOUT, WEB] == Trouble(
        environment=CHECKOUT,
        role=WEB,
        content="c0ffee",
        failed=frozenset({FIRST}),
        is_halted=True,
        message="no",
        remedy="do",
        since=NOON,
    )
    assert memory.backoffs[CHECKOUT] == Backoff(environment=CHECKOUT, failures=2, until=NOON + 24 * HOUR, message="no")
    assert memory.exhausted == (Exhausted(instance_type="m7i.large", subnet="subnet-a", until=NOON + 24 * HOUR),)
    assert events == (
        Event(
            at=NOON,
            kind="NodeReady",
            message="ready",
            environment=CHECKOUT,
            node=NodeName("checkout-web-1"),
            revision=A,
            actor="ops",
        ),
    )
    assert conditions == (
        Condition(
            environment=CHECKOUT,
            type=ConditionType.STALLED,
            is_true=True,
            reason="Broken",
            message="it is",
            remedy="mend it",
            revision=A,
            since=NOON,
        ),
    )


def test_a_teardown_that_version_1_began_goes_on_and_gets_its_receipt(tmp_path: Path) -> None:
    web = Item(kind=ItemKind.CHEF_ROLE, name="checkout-web")
    with SqliteJournal(written_by_version_1(tmp_path)) as journal:
        journal.record(
            NOON + HOUR,
            EnvironmentEnding(
                environment=CHECKOUT, cause=EndingCause.REMOVED, revision=B, author="ops", file="checkout.yml"
            ),
            TeardownItems(environment=CHECKOUT, found=frozenset({web})),
            NodeFailed(instance_id=FIRST),
        )
        memory = journal.recall(NOON + HOUR)
    known = memory.environments[CHECKOUT]
    assert known.ending is not None and known.ending.items == {web: None}
    assert known.teardown_began_at == NOON
    assert memory.nodes[FIRST].failed_at == NOON + HOUR
