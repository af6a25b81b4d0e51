"""Sets the metrics of a worker's partitions each second: ready, stopped and lag.

The ends of the logs are those of the consumer's fetches and, every few seconds, of one request for
all partitions: a partition that is restored or stopped is not fetched.
"""

import asyncio
import contextlib
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from processors.runtime import metrics
from processors.runtime.alarms import Alarms
from processors.runtime.lag import Lag, PartitionLag, Unprocessed
from service.kafka import clients
from service.kafka.clock import clock
from service.kafka.read_to_end import first_record
from service.metrics.of_every_service import kafka_connected
from service.settings import Settings

_SAMPLE_SECONDS = 1.0
_ASK_SECONDS = 5.0
_PATIENCE_SECONDS = 10.0

Progress = Mapping[TopicPartition, Unprocessed]


class Watched(Protocol):
    """What is asked of a worker's member."""

    def waiting(self) -> Iterable[TopicPartition]: ...
    def progress(self) -> Progress: ...
    def sample(self) -> None: ...


class PartitionWatch:
    """Follows the partitions that are assigned to one worker."""

    def __init__(
        self, settings: Settings, consumer: AIOKafkaConsumer, member: Watched, alarms: Alarms
    ) -> None:
        self._settings = settings
        self._consumer = consumer
        self._member = member
        self._alarms = alarms
        self._lags: dict[TopicPartition, PartitionLag] = {}
        self._ends: dict[TopicPartition, int] = {}
        # The committed offsets of the partitions whose progress the member does not know.
        self._committed: dict[TopicPartition, Unprocessed] = {}

    def assign(self, partitions: Collection[TopicPartition]) -> None:
        """Follow these partitions, and no others."""
        metrics.forget(self._lags.keys() - set(partitions))
        now = clock.now()
        self._lags = {partition: PartitionLag(now) for partition in partitions}
        self._ends, self._committed = {}, {}
        metrics.partitions.set(len(partitions))
        for partition in partitions:
            metrics.note_partition(partition, ready=False, stopped=False)
            metrics.note_lag(partition, Lag())

    async def run(self) -> None:
        """Set the metrics until cancelled."""
        due = 0.0
        while True:
            if time.monotonic() >= due:
                due = time.monotonic() + _ASK_SECONDS
                await self._ask()
            self._sample()
            await asyncio.sleep(_SAMPLE_SECONDS)

    def _sample(self) -> None:
        kafka_connected.set(clients.connected(self._consumer))
        stopped, waiting = set(self._alarms.causes()), set(self._member.waiting())
        progress, now = self._progress(), clock.now()
        for partition, lag in self._lags.items():
            metrics.note_partition(
                partition, ready=partition not in waiting, stopped=partition in stopped
            )
            if known := progress.get(partition):
                metrics.note_lag(partition, lag.observe(known, self._end(partition), now))
        self._member.sample()

    def _progress(self) -> Progress:
        return {**self._committed, **self._member.progress()}

    def _end(self, partition: TopicPartition) -> int | None:
        """Return the newest known end of a partition's log."""
        ends = [self._ends.get(partition)]
        if partition in self._consumer.assignment():
            ends.append(self._consumer.last_stable_offset(partition))
        return max((end for end in ends if end is not None), default=None)

    async def _ask(self) -> None:
        """Request the ends of the logs, and what else is not known; without an answer, go on."""
        asked = self._lags
        with contextlib.suppress(KafkaError, TimeoutError, OSError):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                ends = dict(await self._consumer.end_offsets(list(asked))) if asked else {}
                committed = await self._committed_of(asked.keys() - self._member.progress().keys())
                if asked is self._lags:
                    self._ends, self._committed = ends, committed
                    await self._find_times()

    async def _committed_of(
        self, partitions: Collection[TopicPartition]
    ) -> dict[TopicPartition, Unprocessed]:
        if not partitions:
            return {}
        found = await clients.committed_offsets(self._consumer, partitions)
        if new := [partition for partition in partitions if partition not in found]:
            found |= await self._consumer.beginning_offsets(new)
        return {partition: Unprocessed(offset) for partition, offset in found.items()}

    async def _find_times(self) -> None:
        """Read the time of the next record of each partition of which nothing says how old it is.

        These are partitions that are behind and not read yet, because they are restored or stopped.
        """
        progress, lags = self._progress(), self._lags
        unknown = {
            partition: progress[partition].next
            for partition, lag in lags.items()
            if partition in progress and lag.unknown(progress[partition])
        }
        if not unknown:
            return
        reader = clients.reader(self._settings, fetch_bytes=1)
        try:
            await reader.start()
            for partition, offset in unknown.items():
                reader.assign([partition])
                record = await first_record(reader, partition, offset, self._ends[partition])
                if record is not None:
                    lags[partition].found(offset, record.timestamp)
        finally:
            await clients.leave(reader)
