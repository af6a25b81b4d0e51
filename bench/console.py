"""Console benchmark: the time to load the read model, to search it, and to follow live traffic."""

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from bench.console_records import Message, messages
from bench.environment import Environment, size
from bench.figures import Report
from console.read_model.database import Database
from console.read_model.loading.loader import Loader
from console.read_model.queries import messages as searches
from console.read_model.queries import overview, timeline
from console.read_model.results import MessageFilter
from console.serving import database_of
from processors.runtime.record_batches import Outbox
from schemas.topics import partition_of
from service.kafka import clients
from service.settings import Settings
from service.wall_clock import now_ms

COUNT = 1_000_000
_PARTITIONS = 6
_ROUND = 2_000  # messages written at a time
_MOST_LOAD_SECONDS = 120
_MOST_SEARCH_MS = 100
_MOST_BEHIND_SECONDS = 3
_TRIES = 30
_LIVE_SECONDS = 20
_LIVE_RATE = 1000


async def console(environment: Environment, count: int = COUNT) -> list[Report]:
    """Write the records of `count` messages, load them, search them, and follow more of them."""
    report = Report("console", f"{count:,} messages in SQLite, partitions: {_PARTITIONS}")
    async with environment.settings(partitions=_PARTITIONS) as settings:
        source = messages()
        known, records = await _fill(environment, settings, islice(source, count))
        report.add("records of a message", records / count)
        loader = Loader(settings, database_of(settings), _shown(environment))
        began, cpu = time.monotonic(), time.process_time()
        await loader.rebuild(asyncio.Event())
        seconds = time.monotonic() - began
        most = _MOST_LOAD_SECONDS if count == COUNT else None
        report.add("load of all messages", seconds, "s", most=most)
        report.add("messages loaded", count / seconds, "/s")
        report.add("CPU of a message", (time.process_time() - cpu) / count * 1e6, "µs")
        report.add("database", size(settings.data / "console") / count, "bytes a message")
        for what, milliseconds in _searches(database_of(settings), known):
            report.add(what, milliseconds, "ms", most=_MOST_SEARCH_MS)
        behind = await _behind(settings, source)
        report.add(
            "age of what is shown, live at 1 000 messages/s", behind, "s", most=_MOST_BEHIND_SECONDS
        )
    return [report]


def _shown(environment: Environment) -> Callable[[int, int], None]:
    last = [time.monotonic()]

    def show(read: int, every: int) -> None:
        if time.monotonic() - last[0] > 10:  # noqa: PLR2004 - seconds
            last[0] = time.monotonic()
            environment.log(f"{read:,} of {every:,} offsets loaded")

    return show


async def _fill(
    environment: Environment, settings: Settings, source: Iterator[Message]
) -> tuple[list[Message], int]:
    """Write all messages; returns some of them, and the number of records."""
    producer = clients.producer(settings)
    await producer.start()
    known: list[Message] = []
    written = records = 0
    try:
        while some := list(islice(source, _ROUND)):
            records += await _write(settings, Outbox(producer), some)
            written += len(some)
            known = (known + some[:1])[-1000:]
            if written % 100_000 == 0:
                environment.log(f"{written:,} messages written")
    finally:
        await producer.stop()
    return known, records


async def _write(settings: Settings, outbox: Outbox, some: list[Message]) -> int:
    count = 0
    for message in some:
        partition = partition_of(message.records[0].key.decode(), settings.partitions)
        for record in message.records:
            topic = f"{settings.namespace}.{record.kind}"
            outbox.add(
                topic, partition, key=record.key, value=record.value, timestamp=now_ms(), headers=[]
            )
            count += 1
    await outbox.send()
    return count


def _searches(database: Database, known: list[Message]) -> Iterator[tuple[str, float]]:
    """Yield what was searched, and the slowest of some searches, in milliseconds."""
    texts: dict[str, Callable[[Message], str]] = {
        "message id": lambda one: one.message_id,
        "number": lambda one: f"+{one.number}",
        "payload value": lambda one: f"{one.serial}",
        "common payload value": lambda _: "simulated",
    }
    with database.reading() as connection:
        for what, text in texts.items():
            yield (
                f"search by {what}, slowest",
                _slowest(
                    lambda one, text=text: searches.search(
                        connection, MessageFilter(text=text(one))
                    ),
                    known,
                ),
            )
        for wanted in (
            MessageFilter(),
            MessageFilter(statuses=("failed",)),
            MessageFilter(provider="smsmanager", contradicted=True),
        ):
            yield (
                f"list of {wanted.statuses or wanted.provider or 'all'}, slowest",
                _slowest(lambda _, wanted=wanted: searches.search(connection, wanted), known),
            )
        yield (
            "timeline, slowest",
            _slowest(lambda one: timeline.find(connection, one.records[0].key.decode()), known),
        )
        yield (
            "overview, slowest",
            _slowest(lambda _: overview.overview(connection, now_ms()), known),
        )


def _slowest(search: Callable[..., Any], known: list[Message]) -> float:
    times = []
    for one in known[-_TRIES:]:
        began = time.perf_counter()
        search(one)
        times.append((time.perf_counter() - began) * 1000)
    return statistics.quantiles(times, n=20)[-1]


async def _behind(settings: Settings, source: Iterator[Message]) -> float:
    """Return the greatest age in seconds of a message when it is first found, under live load."""
    database = database_of(settings)
    loader, stop = Loader(settings, database), asyncio.Event()
    loading = asyncio.create_task(loader.run(stop))
    producer = clients.producer(settings)
    await producer.start()
    worst = 0.0
    try:
        for _ in range(_LIVE_SECONDS):
            began = time.monotonic()
            some = list(islice(source, _LIVE_RATE))
            await _write(settings, Outbox(producer), some)
            written = time.monotonic()
            key = some[-1].records[0].key.decode()
            while not await asyncio.to_thread(_has, database, key):  # noqa: ASYNC110 - of a database
                await asyncio.sleep(0.02)
            worst = max(worst, time.monotonic() - written)
            await asyncio.sleep(max(0.0, 1 - (time.monotonic() - began)))
    finally:
        stop.set()
        await loading
        await producer.stop()
    return worst


def _has(database: Database, key: str) -> bool:
    with database.reading() as connection:
        return timeline.find(connection, key) is not None
