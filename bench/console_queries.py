"""Console benchmark without Kafka: fills a read model in SQLite, and measures its queries."""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import groupby, islice
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from bench.console_records import Message, messages
from bench.environment import Log, size
from bench.figures import Report
from console.read_model.changes import Changes, StateRow, add
from console.read_model.database import Database, sqlite_url
from console.read_model.message_fields import Group, group_id_of
from console.read_model.queries import messages as searches
from console.read_model.queries import overview, timeline
from console.read_model.results import MessageFilter
from console.read_model.write import apply
from service.garbage_collection import stop_collecting
from service.wall_clock import now_ms

MOST_MS = 100
_TRIES = 30
_BATCH = 16_000  # messages: the loader writes 100 000 records at a time
_DAY_MS = 24 * overview.HOUR_MS
_DAYS = 30
_COUNTRIES = ("AT", "CZ", "DE", "ES", "FR", "GB", "HU", "IT", "NL", "PL", "SE", "SK")
_SEED = 11


class _Record(NamedTuple):
    partition: int
    offset: int
    key: bytes
    value: bytes


def without_kafka(count: int, log: Log) -> list[Report]:
    """Fill the tables with `count` messages of 30 days and 12 countries, and query them."""
    report = Report("console", f"{count:,} messages in SQLite, without Kafka")
    with tempfile.TemporaryDirectory(prefix="bluetick-bench-") as name:
        database = Database(sqlite_url(Path(name), "bench"))
        cpu, known = _fill(database, islice(messages(), count), log)
        report.add("CPU of a message: decode", cpu.decode / count * 1e6, "µs")
        report.add("CPU of a message: write", cpu.write / count * 1e6, "µs")
        report.add("CPU of a message: indexes", cpu.indexes / count * 1e6, "µs")
        report.add("database", size(Path(name)) / count, "bytes a message")
        for what, milliseconds in query_times(database, known):
            report.add(what, milliseconds, "ms", most=MOST_MS)
        database.engine.dispose()
    return [report]


class _Seconds(NamedTuple):
    decode: float
    write: float
    indexes: float


def _fill(
    database: Database, source: Iterator[Message], log: Log
) -> tuple[_Seconds, list[Message]]:
    """Write all messages; returns the CPU time, and some of the messages."""
    database.create()
    stop_collecting()
    random, known = Random(_SEED), list[Message]()  # noqa: S311 - repeatable on purpose
    decode = write = 0.0
    written = 0
    while some := list(islice(source, _BATCH)):
        began = time.process_time()
        changes = _changes(some, written * 100)
        decoded = time.process_time()
        for id_, row in changes.messages.items():
            if row is not None:
                changes.messages[id_] = _spread(row, random)
        spread = time.process_time()
        with database.writing() as connection:
            apply(database, connection, changes)
        decode, write = decode + decoded - began, write + time.process_time() - spread
        written += len(some)
        known = (known + some[:1])[-_TRIES:]
        log(f"{written:,} messages written")
    began = time.process_time()
    database.create_indexes()
    return _Seconds(decode, write, time.process_time() - began), known


def _changes(some: list[Message], offset: int) -> Changes:
    """Decode the records of some messages, topic by topic, as they are read from Kafka."""
    changes = Changes()
    records = [record for message in some for record in message.records]
    records.sort(key=lambda one: one.kind)
    for kind, some_records in groupby(enumerate(records), key=lambda one: one[1].kind):
        add(changes, kind, [_Record(0, offset + n, one.key, one.value) for n, one in some_records])
    return changes


def _spread(row: StateRow, random: Random) -> StateRow:
    """Move a message to another time and country, so that the counts are those of real use."""
    group = Group(
        provider=row.provider,
        gateway=row.gateway,
        country=random.choice(_COUNTRIES),
        status=row.status,
        stalled=int(row.stalled_since is not None),
        contradicted=int(row.contradictions is not None),
    )
    earlier = random.randrange(_DAYS * _DAY_MS)
    return row._replace(
        first_seen_at=row.first_seen_at - earlier,
        began_at=None if row.began_at is None else row.began_at - earlier,
        country=group.country,
        group_id=group_id_of(group),
    )


_TEXTS: dict[str, Callable[[Message], str]] = {
    "message id": lambda one: one.message_id,
    "number": lambda one: f"+{one.number}",
    "payload value": lambda one: f"{one.serial}",
    "common payload value": lambda _: "simulated",
}
_LISTS = {
    "all": MessageFilter(),
    "failed": MessageFilter(statuses=("failed",)),
    "two statuses": MessageFilter(statuses=("failed", "undelivered")),
    "provider": MessageFilter(provider="smsmanager"),
    "gateway": MessageFilter(gateway="viber"),
    "country": MessageFilter(country="SK"),
    "stalled": MessageFilter(stalled=True),
    "contradicted, of a provider": MessageFilter(provider="smsmanager", contradicted=True),
    "failed, to a country": MessageFilter(statuses=("failed",), country="SK"),
    "delivered, to no known country": MessageFilter(statuses=("delivered",), country="XX"),
    "by event time": MessageFilter(time="event"),
    "by event time, provider": MessageFilter(time="event", provider="smsmanager"),
    "by event time, gateway": MessageFilter(time="event", gateway="viber"),
    "common value, stalled": MessageFilter(text="simulated", stalled=True),
    "common value, failed, to a country": MessageFilter(
        text="simulated", statuses=("failed",), country="SK"
    ),
    "common value, to no known country": MessageFilter(text="simulated", country="XX"),
}


def query_times(database: Database, known: list[Message]) -> Iterator[tuple[str, float]]:
    """Yield what was asked, and the slowest of some queries, in milliseconds."""
    with database.reading() as connection:

        def search(wanted: MessageFilter) -> None:
            searches.search(connection, wanted)

        for what, text in _TEXTS.items():
            yield (
                f"search by {what}",
                _slowest(lambda one, text=text: search(MessageFilter(text=text(one))), known),
            )
        for what, wanted in _LISTS.items():
            yield f"list: {what}", _slowest(lambda _, wanted=wanted: search(wanted), known)
        key = _slowest(lambda one: timeline.find(connection, one.records[0].key.decode()), known)
        yield "timeline", key
        now = now_ms()
        yield "overview", _slowest(lambda _: overview.overview(connection, now), known)
        yield "choices of the filters", _slowest(lambda _: searches.choices(connection), known)
        day = now - _DAY_MS
        yield (
            "throughput of a day",
            _slowest(lambda _: overview.points(connection, day, now, overview.HOUR_MS), known),
        )


def _slowest(search: Callable[..., Any], known: list[Message]) -> float:
    times = []
    for one in known[-_TRIES:]:
        began = time.perf_counter()
        search(one)
        times.append((time.perf_counter() - began) * 1000)
    return statistics.quantiles(times, n=20)[-1]
