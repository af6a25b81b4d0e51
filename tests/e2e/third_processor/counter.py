"""Counts the records of `statuses`, at least once."""

import logging
from collections.abc import Iterable, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition

from processors.runtime.alarms import Alarms
from processors.runtime.assigned_partitions import AssignedPartitions
from processors.runtime.group_worker import Member, Poll, Polled
from service.errors import Problem
from service.settings import Settings

log = logging.getLogger(__name__)


class Counter(Member):
    """Logs how many records it has counted, and commits their offsets."""

    def __init__(self, settings: Settings, consumer: AIOKafkaConsumer, alarms: Alarms) -> None:
        del settings
        self._consumer = consumer
        self._partitions = AssignedPartitions(consumer, alarms)
        self._count = 0
        self._committed: dict[TopicPartition, int] = {}

    def start(self) -> None:
        """Nothing runs between the rounds."""

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        self._partitions.assign(partitions)

    async def revoked(self) -> None:
        self._partitions.revoke()

    async def next_poll(self) -> Poll:
        await self._partitions.seek()
        return Poll(self._partitions.ready, 100, 100)

    async def records(self, polled: Polled) -> bool:
        # A position passes transaction markers, too; the offsets of records do not.
        positions = {tp: await self._consumer.position(tp) for tp in self._partitions.ready}
        if positions != self._committed:
            await self._consumer.commit(positions)
            self._committed = positions
        if polled:
            self._count += sum(map(len, polled.values()))
            log.info("counted %d", self._count)
        return True

    def overtaken(self, partition: TopicPartition, problem: Problem) -> None:
        self._partitions.halt(partition, problem)

    def failed(self, error: Exception) -> str:
        return repr(error)

    async def start_over(self) -> None:
        self._partitions.start_over()

    def waiting(self) -> Iterable[TopicPartition]:
        return self._partitions.waiting

    async def close(self) -> None:
        log.info("counted %d in all", self._count)
