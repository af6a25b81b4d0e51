"""Live traffic: observations at a steady rate, and when their statuses can be read."""

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
    """Messages written one by one, each new, and how long each took to become a status."""

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
        """From before the write to after the read, for all that came so far (there)."""
        return [
            1000 * took
            for key, took in self._took.items()
            if partitions is None or self._written[key].partition in partitions
        ]

    @property
    def missing(self) -> int:
        """How many were written and cannot be read yet."""
        return len(self._written) - len(self._took)

    def take(self) -> list[float]:
        """The milliseconds so far; what is still on its way then is not counted at all."""
        taken = self.milliseconds()
        self._written.clear()
        self._took.clear()
        return taken

    async def write(self, partition: int) -> None:
        """Write one observation of a message never heard of."""
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
        """Write at a rate until cancelled; what comes late is made up for, so no stall hides."""
        began = time.perf_counter()
        sent = 0
        while True:
            await self.write(partitions[sent % len(partitions)])
            sent += 1
            await asyncio.sleep(max(0.0, began + sent / rate - time.perf_counter()))

    async def arrived(self) -> None:
        """Wait until the status of everything written is there."""
        await until(lambda: not self.missing, _ENOUGH_SECONDS)

    async def going(self, partitions: Collection[int]) -> None:
        """Wait until something that is written from now on has come on each of them."""
        since = time.perf_counter()
        await until(partial(self._went_on, partitions, since), _ENOUGH_SECONDS)

    async def read(self) -> None:
        """Note what arrives, until cancelled."""
        while True:
            polled = await self._consumer.getmany(timeout_ms=1000)
            now = time.perf_counter()
            for records in polled.values():
                for key in (record.key for record in records):
                    if key in self._written:
                        self._took.setdefault(key, now - self._written[key].at)

    def _went_on(self, partitions: Collection[int], since: float) -> bool:
        there = {self._written[k].partition for k in self._took if self._written[k].at > since}
        return there.issuperset(partitions)


@asynccontextmanager
async def live(settings: Settings) -> AsyncIterator[Live]:
    """Be ready to write, and read along."""
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
    """Write at a rate meanwhile, then wait for the last of it."""
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
