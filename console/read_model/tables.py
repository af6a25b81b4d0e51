"""The tables of the read model, one schema for SQLite and PostgreSQL.

A message is identified by `message_id_of(key)`, 16 bytes. Times are Unix milliseconds. Each table
is written from one topic only, so the order between topics does not matter. Secondary indexes are
made when the first load ends, and so is `terms`: that takes less time than to keep them during it.
"""

from hashlib import blake2b

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
)

FORMAT = 4
"""The version of this schema: a read model of another version is rebuilt."""

METADATA = MetaData()


def _required(name: str, kind: type) -> Column[object]:
    return Column(name, kind, nullable=False)


def _key(name: str, kind: type) -> Column[object]:
    return Column(name, kind, primary_key=True, autoincrement=False)


MESSAGES = Table(
    "messages",
    METADATA,
    _key("id", LargeBinary),
    _required("offset", BigInteger),
    _required("first_seen_at", BigInteger),
    Column("began_at", BigInteger),
    _required("provider", Text),
    _required("gateway", Text),
    _required("country", Text),
    _required("status", Text),
    Column("stalled_since", BigInteger),
    Column("contradictions", SmallInteger),
    _required("group_id", BigInteger),
    _required("terms", BigInteger),
    _required("state", LargeBinary),
)
"""The state of each message, from `messages`; "" stands for an unknown gateway, country or status.

`began_at` is the event time of the first fact of its attempts, by which `quality` counts it; null
for an inbound message, and without attempts. `gateway` is that of the attempt that gives the
message its status; without contradictions their number is null. `group_id` is its row in
`message_groups`, `terms` a digest of its rows in `terms`, and `state` the record's value.
"""

ATTEMPTS = Table(
    "attempts",
    METADATA,
    _key("message", LargeBinary),
    _key("gateway", Text),
    _required("began_at", BigInteger),
    sqlite_with_rowid=False,
)
"""The attempts of each message that has several; of the others, `messages` says the same."""

TERMS = Table(
    "terms",
    METADATA,
    _key("term", BigInteger),
    _key("first_seen_at", BigInteger),
    _key("message", LargeBinary),
    sqlite_with_rowid=False,
)
"""The values by which a message is found, hashed: ids, number, values of the payload.

`first_seen_at` is the message's, so that the newest messages of a common value are found at once.
"""

TERM_CHANGES = Table(
    "term_changes",
    METADATA,
    _required("first_seen_at", BigInteger),
    _required("message", LargeBinary),
    _required("change", SmallInteger),
    _required("terms", Text),
)
"""Terms of a message, as a JSON array, that come (1) or go (-1), during the first load only.

Hashes are in no order: to keep `terms` sorted meanwhile writes all of it again in each transaction.
"""

VIEWERS = Table(
    "viewers",
    METADATA,
    _key("id", LargeBinary),
    _required("offset", BigInteger),
    _required("message", LargeBinary),
    _required("state", LargeBinary),
)
"""The state of each viewer of a message, from `messages`; `id` is that of the viewer's key."""

VERDICTS = Table(
    "verdicts",
    METADATA,
    _key("partition", SmallInteger),
    _key("offset", BigInteger),
    _required("message", LargeBinary),
    _required("received_at", BigInteger),
    _required("gateway", Text),
    _required("viewer", Text),
    _required("fact", Text),
    _required("verdict", Text),
    sqlite_with_rowid=False,
)
"""The verdict on each fact, from `statuses`; `viewer` is "" for the message's own facts."""

EVENTS = Table(
    "events",
    METADATA,
    _key("partition", SmallInteger),
    _key("offset", BigInteger),
    _required("message", LargeBinary),
    _required("event", Text),
    _required("at", BigInteger),
    _required("record", LargeBinary),
    sqlite_with_rowid=False,
)
"""Events that neither a fact nor its verdict shows, from `events`: stalled, resumed, and others."""

INBOUND = Table(
    "inbound",
    METADATA,
    _key("id", LargeBinary),
    _required("revision", Integer),
    Column("answers", LargeBinary),
    _required("sender", Text),
    _required("received_at", BigInteger),
    _required("record", LargeBinary),
)
"""The newest revision of each inbound message or reply, from `inbound`.

`answers` is the message that it answers.
"""

DEAD_LETTERS = Table(
    "dead_letters",
    METADATA,
    _key("id", LargeBinary),
    _required("provider", Text),
    _required("code", Text),
    _required("cause", Text),
    _required("reason", Text),
    _required("pointer", Text),
    _required("topic", Text),
    _required("partition", SmallInteger),
    _required("offset", BigInteger),
    _required("raw_topic", Text),
    _required("raw_partition", SmallInteger),
    _required("raw_offset", BigInteger),
    _required("written_at", BigInteger),
    _required("resolved", Text),
    _required("failed_in", Text),
)
"""Each dead letter by its identity: its record and its raw body; `resolved` is "" while open."""

QUALITY = Table(
    "quality",
    METADATA,
    _key("key", Text),
    _required("resolution", Text),
    _required("at", BigInteger),
    _required("provider", Text),
    _required("record", LargeBinary),
)
"""The cells of delivery quality, from `quality`."""

MESSAGE_COUNTS = Table(
    "message_counts",
    METADATA,
    _key("hour", BigInteger),
    _key("provider", Text),
    _key("status", Text),
    _required("messages", BigInteger),
    sqlite_with_rowid=False,
)
"""The number of rows of `messages` by the hour of `first_seen_at` and the other columns."""

MESSAGE_GROUPS = Table(
    "message_groups",
    METADATA,
    _key("id", BigInteger),
    _required("provider", Text),
    _required("gateway", Text),
    _required("country", Text),
    _required("status", Text),
    _required("stalled", SmallInteger),
    _required("contradicted", SmallInteger),
    _required("messages", BigInteger),
)
"""Each combination of what messages are filtered by, and how many rows of `messages` have it.

`id` is a hash of the combination; `stalled` and `contradicted` are 0 or 1. A list with filters
reads the newest messages of the groups that match, so it never reads one that does not.
"""

FACT_COUNTS = Table(
    "fact_counts",
    METADATA,
    _key("minute", BigInteger),
    _key("provider", Text),
    _key("status", Text),
    _required("facts", BigInteger),
    sqlite_with_rowid=False,
)
"""The number of facts by the minute of their receipt, from `statuses`."""

POSITIONS = Table(
    "positions",
    METADATA,
    _key("topic", Text),
    _key("partition", SmallInteger),
    _required("next_offset", BigInteger),
    _required("end_offset", BigInteger),
    _required("looked_at", BigInteger),
)
"""The next offset to read of each partition, written with what was read; its end at a time."""

ABOUT = Table("about", METADATA, _key("name", Text), _required("value", Text))
"""The version of the schema, the namespace, and whether the first load has ended."""

INDEXES = (
    Index("messages_by_time", MESSAGES.c.first_seen_at, MESSAGES.c.id),
    Index("messages_by_group", MESSAGES.c.group_id, MESSAGES.c.first_seen_at, MESSAGES.c.id),
    Index("messages_by_begin", MESSAGES.c.group_id, MESSAGES.c.began_at, MESSAGES.c.id),
    Index("attempts_by_begin", ATTEMPTS.c.gateway, ATTEMPTS.c.began_at, ATTEMPTS.c.message),
    Index("viewers_of_message", VIEWERS.c.message),
    Index("verdicts_of_message", VERDICTS.c.message),
    Index("events_of_message", EVENTS.c.message),
    Index("replies_of_message", INBOUND.c.answers),
    Index("inbound_by_sender", INBOUND.c.sender),
    Index("dead_letters_by_time", DEAD_LETTERS.c.written_at, DEAD_LETTERS.c.id),
    Index("dead_letters_by_state", DEAD_LETTERS.c.resolved, DEAD_LETTERS.c.written_at),
    Index("quality_by_time", QUALITY.c.resolution, QUALITY.c.at),
)


def message_id_of(key: str | bytes) -> bytes:
    """Return the identity of a message (or of a viewer's state) in the tables: 16 bytes."""
    text = key if isinstance(key, bytes) else key.encode()
    return blake2b(text, digest_size=16).digest()
