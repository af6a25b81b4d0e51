"""Restoring a store: read its changelog from the store's anchor to the end of the log."""

import asyncio
import time
from collections.abc import Callable

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from processors.runtime import failpoints
from processors.runtime.exactly_once import metrics
from processors.runtime.exactly_once.partition_store import Anchor, PartitionStore
from schemas.topics import TOMBSTONE_DAYS
from service.kafka import clients
from service.kafka.clock import clock
from service.kafka.read_to_end import SILENCE_SECONDS, first_record, read_to_end
from service.logger import logger
from service.settings import Settings

log = logger(__name__)

_PROGRESS_SECONDS = 5
_BATCH = 1000

# An older store is not caught up: the log may no longer hold the tombstone of a state that the
# store still has. The deleted state would return.
OLDEST_MS = (TOMBSTONE_DAYS - 2) * 24 * 3_600_000

LeaveOut = Callable[[ConsumerRecord[bytes, bytes]], bool]
"""Whether a record of the changelog is not restored; it is called with all of them, in order."""


async def restore(
    settings: Settings,
    store: PartitionStore,
    changelog: TopicPartition,
    leave_out: LeaveOut,
    failpoint: str = "",
) -> None:
    """Bring the store up to the end of its changelog; `failpoint` is passed in the middle.

    The caller has fenced all earlier owners and ended open transactions, so the end does not move
    meanwhile. Raises `TimeoutError` if Kafka does not answer.
    """
    reader = clients.reader(settings)
    reader.assign([changelog])
    async with asyncio.timeout(SILENCE_SECONDS):
        await reader.start()
    try:
        [end] = (await reader.end_offsets([changelog])).values()
        [beginning] = (await reader.beginning_offsets([changelog])).values()
        await _Restoring(reader, changelog, store, leave_out, failpoint).run(beginning, end)
    finally:
        metrics.end_restore(changelog)
        await clients.leave(reader)


def discard(changelog: TopicPartition, store: PartitionStore, why: str) -> None:
    """Wipe a store, and log why."""
    log.warning("store_discarded", topic=changelog.topic, partition=changelog.partition, reason=why)
    store.wipe()


class _Restoring:
    """One restore; the anchor's own record is read first, to prove that the log is the same."""

    def __init__(
        self,
        reader: AIOKafkaConsumer,
        changelog: TopicPartition,
        store: PartitionStore,
        leave_out: LeaveOut,
        failpoint: str,
    ) -> None:
        self._reader = reader
        self._changelog = changelog
        self._log = log.bind(topic=changelog.topic, partition=changelog.partition)
        self._store = store
        self._leave_out = leave_out
        self._failpoint = failpoint
        self._count = 0

    async def run(self, beginning: int, end: int) -> None:
        anchor = self._store.anchor
        if anchor is not None and not (beginning <= anchor.offset < end):
            self._start_over(f"its last record, {anchor.offset}, is not in {beginning} to {end}")
            anchor = None
        if anchor is not None and anchor.timestamp < clock.now() - OLDEST_MS:
            self._start_over("it is so old that the log may no longer hold newer tombstones")
            anchor = None
        if anchor is not None and not await self._knows(anchor):
            self._start_over("the log has another record in place of its last one")
            anchor = None
        await self._read(anchor.offset + 1 if anchor else beginning, end)

    def _start_over(self, why: str) -> None:
        discard(self._changelog, self._store, why)

    async def _knows(self, anchor: Anchor) -> bool:
        """Whether the log has exactly this record; compaction may have removed it."""
        at = anchor.offset
        record = await first_record(self._reader, self._changelog, at, at + 1)
        return record is not None and Anchor(record.offset, record.timestamp) == anchor

    async def _read(self, start: int, end: int) -> None:
        self._reader.seek(self._changelog, start)
        if start < end:
            self._log.info("restore_started", start=start, end=end)
        await self._store.prepare_restore()
        began = logged = time.monotonic()
        metrics.begin_restore(self._changelog, max(0, end - start))
        async for read in read_to_end(self._reader, {self._changelog: end}, most=_BATCH):
            found = read.records.get(self._changelog, ())
            records = [one for one in found if not self._leave_out(one)]
            if len(records) < len(found):
                self._store.note_gaps()
            if records:
                self._store.restored(records)
                self._count += len(records)
                metrics.restored.inc(len(records))
                failpoints.reach(self._failpoint)
            position = read.reached[self._changelog]
            metrics.note_restore(self._changelog, end - position)
            if time.monotonic() - logged > _PROGRESS_SECONDS:
                logged = time.monotonic()
                share = 100 * (position - start) // (end - start)
                self._log.info("restore_progress", percent=share)
            # One fetch may hold the records of a hundred polls, which then never wait.
            await asyncio.sleep(0)
        await self._store.finish_restore()
        if start < end:
            seconds = time.monotonic() - began
            self._log.info("restore_finished", states=self._count, seconds=seconds)
