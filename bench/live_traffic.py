"""Live traffic: observations at a steady rate, and the latency until their statuses are read."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from msgspec.structs import replace

from bench.polling import until
from bench.states import observations
from schemas.codec import encode
from schemas.records import Observation, message_key
from service.kafka import clients
from service.settings import Settings
from service.wall_clock import now_ms

_ENOUGH_SECONDS = 120


class _Written(NamedTuple):
    partition: int
    at: float


class Live:
    """Writes observations of new messages and measures the latency of each status."""

    def __init__(
        self, settings: Settings, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer
    ) -> None:
        self._topic = settings.topics.observations
        self._producer = producer
        self._consumer = consumer
        self._example = next(_sent())
        self._written: dict[bytes, _Written] = {}
        self._took: dict[bytes, float] = {}
        self._count = 0

    def milliseconds(self, partitions: Collection[int] | None = None) -> list[float]:
        """Return the latencies so far, from before the write to after the read (of partitions)."""
        return [
            1000 * took
            for key, took in self._took.items()
            if partitions is None or self._written[key].partition in partitions
        ]

    @property
    def missing(self) -> int:
        """The number of written observations whose status has not arrived."""
        return len(self._written) - len(self._took)

    def measured(self) -> list[float]:
        """Return the latencies in ms so far and begin again; missing statuses are not counted."""
        latencies = self.milliseconds()
        self._written.clear()
        self._took.clear()
        return latencies

    async def write(self, partition: int) -> None:
        """Write one observation of a new message."""
        self._count += 1
        id_ = f"live-{self._count:031d}"
        key = message_key(self._example.provider, None, id_)
        now = now_ms()
        one = replace(self._example, message_key=key, message_id=id_, received_at=now)
        self._written[key.encode()] = _Written(partition, time.perf_counter())
        await self._producer.send(
            self._topic, encode(one), key=key.encode(), partition=partition, timestamp_ms=now
        )

    async def flow(self, rate: float, partitions: Sequence[int]) -> None:
        """Write at a rate until cancelled; late writes are made up for, so that stalls show."""
        began = time.perf_counter()
        sent = 0
        while True:
            await self.write(partitions[sent % len(partitions)])
            sent += 1
            await asyncio.sleep(max(0.0, began + sent / rate - time.perf_counter()))

    async def arrived(self) -> None:
        """Wait until all statuses have arrived."""
        await until(lambda: not self.missing, _ENOUGH_SECONDS)

    async def resumed(self, partitions: Collection[int]) -> None:
        """Wait until each partition has a status of an observation written from now on."""
        since = time.perf_counter()
        await until(partial(self._has_resumed, partitions, since), _ENOUGH_SECONDS)

    async def read(self) -> None:
        """Record the arrival of statuses until cancelled."""
        while True:
            polled = await self._consumer.getmany(timeout_ms=1000)
            now = time.perf_counter()
            for records in polled.values():
                for key in (record.key for record in records):
                    if key in self._written:
                        self._took.setdefault(key, now - self._written[key].at)

    def _has_resumed(self, partitions: Collection[int], since: float) -> bool:
        there = {self._written[k].partition for k in self._took if self._written[k].at > since}
        return there.issuperset(partitions)


@asynccontextmanager
async def live(settings: Settings) -> AsyncIterator[Live]:
    """Start a producer and a reader of statuses for the context."""
    producer, consumer = clients.producer(settings), clients.reader(settings)
    consumer.assign(
        [TopicPartition(settings.topics.statuses, p) for p in range(settings.partitions)]
    )
    await producer.start()
    await consumer.start()
    await consumer.seek_to_end()
    one = Live(settings, producer, consumer)
    reading = asyncio.create_task(one.read())
    try:
        yield one
    finally:
        await _ended(reading)
        await consumer.stop()
        await producer.stop()


@asynccontextmanager
async def flowing(one: Live, rate: float, partitions: Sequence[int]) -> AsyncIterator[None]:
    """Write at a rate within the context, then wait for the last status."""
    flow = asyncio.create_task(one.flow(rate, partitions))
    try:
        yield
        await _ended(flow)
        await one.arrived()
    finally:
        await _ended(flow)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()


def _sent() -> Iterator[Observation]:
    return (one for one in observations(now_ms()) if one.recipient)
