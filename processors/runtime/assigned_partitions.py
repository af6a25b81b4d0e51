"""The partitions assigned to a member that commits offsets without a transaction.

Each partition begins at the committed offset of its group. If its log no longer holds that offset,
the partition is halted alone and tried again every minute. Its committed offset does not change.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition

from processors.runtime.alarms import Alarms
from processors.runtime.lag import Unprocessed
from service.errors import Problem
from service.kafka import clients
from service.log_events import notice

_ASK_SECONDS = 30.0
_TRY_AGAIN_SECONDS = 60.0


class AssignedPartitions:
    """The partitions that are ready to be polled, wait for their offset, or are halted."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        alarms: Alarms,
        check: Callable[[TopicPartition], Awaitable[None]] | None = None,
    ) -> None:
        """`check` raises the `Problem` that forbids to read a partition."""
        self.ready: set[TopicPartition] = set()
        # What is committed of the partitions that were ready since their assignment.
        self.progress: dict[TopicPartition, Unprocessed] = {}
        self._consumer = consumer
        self._alarms = alarms
        self._check = check
        self._waiting: set[TopicPartition] = set()
        self._halted: set[TopicPartition] = set()
        self._try_again_at = 0.0

    @property
    def waiting(self) -> set[TopicPartition]:
        """The partitions that are not ready yet, without the halted ones, which have an alarm."""
        return self._waiting - self._halted

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Add paused partitions; `seek` makes them ready."""
        self._waiting = set(partitions)

    def revoke(self) -> None:
        """Remove all partitions."""
        self.ready.clear()
        self.progress.clear()
        self._waiting.clear()
        for partition in list(self._halted):
            self._unhalt(partition)

    def start_over(self) -> None:
        """Let every ready partition begin again at its committed offset."""
        self._waiting |= self.ready
        self.ready.clear()

    def committed(self, reached: Mapping[TopicPartition, Unprocessed]) -> None:
        """Record what is committed of the partitions that are still assigned."""
        self.progress |= {tp: known for tp, known in reached.items() if tp in self.progress}

    async def seek(self) -> dict[TopicPartition, int]:
        """Make the waiting partitions ready; return the start offset of each."""
        if self._halted and time.monotonic() >= self._try_again_at:
            self._try_again_at = time.monotonic() + _TRY_AGAIN_SECONDS
            self._waiting |= self._halted
        if not self._waiting:
            return {}
        wanted = frozenset(self._waiting)
        async with asyncio.timeout(_ASK_SECONDS):
            offsets = await self._starts(wanted)
        # Meanwhile the group may have been rebalanced.
        begun = {p: offset for p, offset in offsets.items() if p in self._waiting}
        for partition, offset in begun.items():
            self._consumer.seek(partition, offset)
            self._consumer.resume(partition)
            self._waiting.discard(partition)
            self.ready.add(partition)
            self.progress[partition] = Unprocessed(offset)
            self._unhalt(partition)
        return begun

    async def _starts(self, wanted: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the start offsets; halt each partition whose log lacks its offset."""
        try:
            return await self._checked(wanted)
        except Problem:
            pass  # one partition or several: each is requested alone below
        offsets: dict[TopicPartition, int] = {}
        for partition in wanted:
            try:
                offsets |= await self._checked([partition])
            except Problem as problem:
                self.halt(partition, problem)
        return offsets

    async def _checked(self, wanted: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        if self._check is not None:
            for partition in wanted:
                await self._check(partition)
        return await clients.start_offsets(self._consumer, wanted)

    def halt(self, partition: TopicPartition, problem: Problem) -> None:
        """Stop reading a partition, and raise an alarm."""
        if partition not in self._consumer.assignment():
            return
        self._waiting.discard(partition)
        self.ready.discard(partition)
        self._consumer.pause(partition)
        if not self._halted:
            self._try_again_at = time.monotonic() + _TRY_AGAIN_SECONDS
        self._halted.add(partition)
        halted = notice(
            "partition_halted",
            topic=partition.topic,
            partition=partition.partition,
            code=problem.code,
            reason=str(problem),
        )
        self._alarms.raise_(partition, halted, time.monotonic())

    def _unhalt(self, partition: TopicPartition) -> None:
        self._halted.discard(partition)
        self._alarms.clear(partition)
