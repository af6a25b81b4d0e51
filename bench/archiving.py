"""Archives: bodies a second into Parquet files, checked, and back."""

import asyncio
import time
from collections.abc import Iterator
from itertools import islice
from resource import RUSAGE_SELF, getrusage

from bench.environment import Ground, Tell, size
from bench.figures import Report
from cli.simulator.simulate import simulate
from processors.archive import reader, writer
from processors.archive.storage import Storage
from processors.runtime.offset_ranges import Window
from processors.runtime.record_batches import Outbox
from schemas.webhook import RawWebhook, to_headers
from service.kafka import clients
from service.settings import Settings
from service.wall_clock import now_ms

COUNT = 500_000
_PROVIDER = "smsmanager"
_PARTITIONS = 6
_ROUND = 20_000
_SIMULATED = 4000
_SEED = 7


async def archive(ground: Ground, count: int = COUNT) -> list[Report]:
    """Archive so many bodies on six partitions, verify them, read them back."""
    report = Report("archive", f"{count:,} bodies, partitions: {_PARTITIONS}")
    async with ground.settings(partitions=_PARTITIONS) as settings:
        mean = await _fill(settings, count, ground.tell)
        report.add("a body", mean, "bytes")
        storage = Storage(str(settings.data / "archive"))
        topic = settings.topics.raw(_PROVIDER)

        began, cpu = time.monotonic(), time.process_time()
        plans = await writer.prepare(settings, reader.catalogue(storage), [topic], None)
        await writer.archive(settings, storage, _PROVIDER, plans, _Unwatched())
        report.add("archive", count / (time.monotonic() - began), "bodies/s")
        report.add("archive: CPU of a body", _micros(cpu, count), "µs")
        report.add("a body in the archive", size(settings.data / "archive") / count, "bytes")

        archived = await reader.opened(storage.url)
        wanted = archived.by_time([topic], Window())
        began = time.monotonic()
        await archived.verify(wanted)
        report.add("verify before reading", count / (time.monotonic() - began), "bodies/s")
        began, cpu = time.monotonic(), time.process_time()
        read = [len(batch.records) async for batch in archived.read(wanted)]
        report.add("read back", sum(read) / (time.monotonic() - began), "bodies/s")
        report.add("read back: CPU of a body", _micros(cpu, count), "µs")
        report.add("bodies that were not read back", count - sum(read), most=0)
        report.add("largest RSS", getrusage(RUSAGE_SELF).ru_maxrss / 1024, "MiB")
    return [report]


def _micros(since: float, count: int) -> float:
    return (time.process_time() - since) / count * 1e6


class _Unwatched:
    def moved(self, offsets: int, records: int, size: int) -> None:
        """Nobody wants to know."""


async def _fill(settings: Settings, count: int, tell: Tell) -> float:
    """Put simulated bodies on the raw topic, a millisecond apart; their mean bytes."""
    producer = clients.producer(settings)
    await producer.start()
    topic = settings.topics.raw(_PROVIDER)
    webhooks, written, size_ = _webhooks(), 0, 0
    try:
        while written < count:
            outbox = Outbox(producer)
            for webhook in islice(webhooks, min(_ROUND, count - written)):
                outbox.add(
                    topic,
                    written // 100 % _PARTITIONS,
                    key=None,
                    value=webhook.body,
                    timestamp=webhook.received_at,
                    headers=to_headers(webhook),
                )
                written += 1
                size_ += len(webhook.body)
            await outbox.send()
            await asyncio.sleep(0)
    finally:
        await producer.stop()
    tell(f"{written:,} bodies of {size_ / written:.0f} bytes written")
    return size_ / written


def _webhooks() -> Iterator[RawWebhook]:
    """Webhooks without end: the same bodies again and again, each with an id of its own."""
    now = now_ms()
    posts = simulate(messages=_SIMULATED, base_time_ms=now, seed=_SEED, sources=[_PROVIDER]).posts
    number = 0
    while True:
        for post in posts:
            number += 1
            yield post.received(now + number, f"{number:032x}")
