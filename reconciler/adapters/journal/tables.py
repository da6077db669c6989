"""The tables of version 3, and how moments and absent scopes are written in them."""

from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Boolean, Column, Dialect, Float, Index, Integer, MetaData, String, Table, Text, TypeDecorator

# The scope "everything" (`environment=None`) as a key: NULLs never conflict with each other, so they cannot be one.
EVERYTHING: Final = ""


class Moment(TypeDecorator[datetime]):
    """An aware time as fixed-width RFC 3339 text in UTC: sorts like time, and reads like it in the sqlite3 shell."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:  # noqa: ARG002 -- SQLAlchemy's signature
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time without a zone cannot be journalled: {value.isoformat()}")
        return value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 -- SQLAlchemy's signature
        return None if value is None else datetime.fromisoformat(value)


metadata = MetaData()

# "installation", "applied", "latest_at", "taken_over_at", "looked_at", "sighted_again_at", "blindnesses" (JSON list of pairs)
facts = Table("facts", metadata, Column("name", String, primary_key=True), Column("value", Text, nullable=False))

environments = Table(
    "environments",
    metadata,
    Column("name", String, primary_key=True),
    Column("declared_by", String, nullable=False),
    Column("is_protected", Boolean, nullable=False, default=False),
    Column("teardown_began_at", Moment),
)

endings = Table(
    "endings",
    metadata,
    Column("environment", String, primary_key=True),
    Column("cause", String, nullable=False),
    Column("at", Moment, nullable=False),
    Column("revision", String, nullable=False),
    Column("author", Text, nullable=False),
    Column("file", Text, nullable=False),
)

# What a teardown removes. Apart from `nodes`, which are forgotten while it goes on: the receipt names them to the end.
ending_items = Table(
    "ending_items",
    metadata,
    Column("environment", String, primary_key=True),
    Column("kind", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("gone_at", Moment),
)

notices = Table(
    "notices",
    metadata,
    Column("environment", String, primary_key=True),
    Column("expires_at", Moment, nullable=False),
    Column("ahead_s", Float, nullable=False),
)

orphans = Table(
    "orphans",
    metadata,
    Column("kind", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("sighted_at", Moment, nullable=False),
)

# Apart from `environments`: a finished teardown still counts towards the limit of its hour.
teardowns = Table(
    "teardowns",
    metadata,
    Column("environment", String, primary_key=True),
    Column("at", Moment, nullable=False),
)

nodes = Table(
    "nodes",
    metadata,
    Column("instance_id", String, primary_key=True),
    Column("environment", String, nullable=False),
    Column("role", String, nullable=False),
    Column("name", String, nullable=False),
    Column("intent", String, index=True),
    Column("launched_at", Moment, nullable=False),
    Column("seen_at", Moment, nullable=False),
    Column("public_key", Text),
    Column("registered_at", Moment),
    Column("deferred_at", Moment),
    Column("ready_at", Moment),
    Column("first_run_ok", Boolean),
    Column("first_run_log", Text, nullable=False),
    Column("missing_since", Moment),
    Column("odd_since", Moment),
    Column("failed_at", Moment),
    Column("gone_at", Moment),
)

intents = Table(
    "intents",
    metadata,
    Column("token", String, primary_key=True),
    Column("environment", String, nullable=False),
    Column("role", String, nullable=False),
    Column("parameters", Text, nullable=False),  # JSON, all but the user-data
    Column("user_data", Text, nullable=False),  # blanked when the intent settles: only a replay needs it
    Column("opened_at", Moment, nullable=False),
    Column("attempted_at", Moment),
    Column("state", String, nullable=False),
    Column("instance_ids", Text, nullable=False),  # JSON list
    Column("settled_at", Moment),
    Column("message", Text, nullable=False),
    Index("intents_by_state", "state", "settled_at"),
)

terminations = Table(
    "terminations",
    metadata,
    Column("instance_id", String, primary_key=True),
    Column("environment", String, nullable=False),
    Column("cause", String, nullable=False),
    Column("at", Moment, nullable=False, index=True),
)

approvals = Table(
    "approvals",
    metadata,
    Column("digest", String, primary_key=True),
    Column("removals", Text, nullable=False),  # JSON list of lists
    Column("actor", Text, nullable=False),
    Column("at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
)

suspensions = Table(
    "suspensions",
    metadata,
    Column("environment", String, primary_key=True),  # or EVERYTHING
    Column("reason", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("since", Moment, nullable=False),
    Column("until", Moment),
)

troubles = Table(
    "troubles",
    metadata,
    Column("environment", String, primary_key=True),
    Column("role", String, primary_key=True),
    Column("content", String, nullable=False),
    Column("failed", Text, nullable=False),  # JSON list
    Column("is_halted", Boolean, nullable=False),
    Column("message", Text, nullable=False),
    Column("remedy", Text, nullable=False),
    Column("since", Moment, nullable=False),
    Column("retry_at", Moment),
)

backoffs = Table(
    "backoffs",
    metadata,
    Column("environment", String, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("until", Moment, nullable=False),
    Column("message", Text, nullable=False),
)

exhausted = Table(
    "exhausted",
    metadata,
    Column("instance_type", String, primary_key=True),
    Column("subnet", String, primary_key=True),
    Column("until", Moment, nullable=False),
)

settled = Table(
    "settled",
    metadata,
    Column("environment", String, primary_key=True),
    Column("role", String, primary_key=True),
    Column("count", Integer, nullable=False),
)

pins = Table(
    "pins",
    metadata,
    Column("environment", String, primary_key=True),
    Column("role", String, primary_key=True),
    Column("source", Text, nullable=False),
    Column("image", String, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True),  # grows by one per event: retention counts with it
    Column("at", Moment, nullable=False),
    Column("kind", String, nullable=False),
    Column("message", Text, nullable=False),
    Column("environment", String),
    Column("node", String),
    Column("revision", String),
    Column("actor", Text, nullable=False),
    Index("events_by_environment", "environment", "id"),
)

# The last event that each follower of the log is done with.
cursors = Table(
    "cursors",
    metadata,
    Column("receiver", String, primary_key=True),
    Column("event_id", Integer, nullable=False),
)

conditions = Table(
    "conditions",
    metadata,
    Column("environment", String, primary_key=True),  # or EVERYTHING
    Column("type", String, primary_key=True),
    Column("is_true", Boolean, nullable=False),
    Column("reason", String, nullable=False),
    Column("message", Text, nullable=False),
    Column("remedy", Text, nullable=False),
    Column("revision", String),
    Column("since", Moment, nullable=False),
)
