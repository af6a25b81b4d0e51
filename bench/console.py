"""Console benchmark: the time to load the read model, to search it, and to follow live traffic."""

import asyncio
import time
from collections.abc import Callable, Iterator
from itertools import islice

from bench.console_queries import MOST_MS, query_times
from bench.console_records import Message, messages
from bench.environment import Environment, size
from bench.figures import Report
from console.read_model.database import Database
from console.read_model.loading.loader import Loader
from console.read_model.queries import timeline
from console.serving import database_of
from processors.runtime.record_batches import Outbox
from schemas.topics import partition_of
from service.garbage_collection import stop_collecting
from service.kafka import clients
from service.settings import Settings
from service.wall_clock import now_ms

COUNT = 1_000_000
_PARTITIONS = 6
_ROUND = 2_000  # messages written at a time
_MOST_LOAD_SECONDS = 120
_MOST_BEHIND_SECONDS = 3
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
        stop_collecting()
        began, cpu = time.monotonic(), time.process_time()
        await loader.rebuild(asyncio.Event())
        seconds = time.monotonic() - began
        most = _MOST_LOAD_SECONDS if count == COUNT else None
        report.add("load of all messages", seconds, "s", most=most)
        report.add("messages loaded", count / seconds, "/s")
        report.add("CPU of a message", (time.process_time() - cpu) / count * 1e6, "µs")
        report.add("database", size(settings.data / "console") / count, "bytes a message")
        for what, milliseconds in query_times(database_of(settings), known):
            report.add(what, milliseconds, "ms", most=MOST_MS)
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
