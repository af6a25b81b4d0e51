"""Restoring a store: read `messages` from the store's anchor to the end of the log."""

import asyncio
import time
from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from processors.runtime import failpoints
from processors.tracking import metrics
from processors.tracking.changelog_headers import NEXT_TIMER, header_number
from processors.tracking.state_store import Anchor, Store
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


async def restore(settings: Settings, store: Store, partition: int) -> None:
    """Bring the store up to the end of its partition of `messages`.

    The caller has fenced all earlier owners and ended open transactions, so the end does not move
    meanwhile. Raises `TimeoutError` if Kafka does not answer.
    """
    changelog = TopicPartition(settings.topics.messages, partition)
    reader = clients.reader(settings)
    reader.assign([changelog])
    async with asyncio.timeout(SILENCE_SECONDS):
        await reader.start()
    try:
        [end] = (await reader.end_offsets([changelog])).values()
        [beginning] = (await reader.beginning_offsets([changelog])).values()
        await _Restoring(reader, changelog, store).run(beginning, end)
    finally:
        metrics.end_restore(partition)
        await clients.leave(reader)


class _Restoring:
    """One restore; the anchor's own record is read first, to prove that the log is the same."""

    def __init__(self, reader: AIOKafkaConsumer, changelog: TopicPartition, store: Store) -> None:
        self._reader = reader
        self._changelog = changelog
        self._store = store
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
        log.warning(
            "store_discarded",
            topic=self._changelog.topic,
            partition=self._changelog.partition,
            reason=why,
        )
        self._store.wipe()

    async def _knows(self, anchor: Anchor) -> bool:
        """Whether the log has exactly this record; compaction may have removed it."""
        at = anchor.offset
        record = await first_record(self._reader, self._changelog, at, at + 1)
        return record is not None and Anchor(record.offset, record.timestamp) == anchor

    async def _read(self, start: int, end: int) -> None:
        self._reader.seek(self._changelog, start)
        number = self._changelog.partition
        if start < end:
            log.info(
                "restore_started",
                topic=self._changelog.topic,
                partition=number,
                start=start,
                end=end,
            )
        if self._store.anchor is None:
            self._store.counts = None  # counting once, at the end, costs less than each change
        elif self._store.counts is None:
            await self._count_messages()
        began = logged = time.monotonic()
        metrics.begin_restore(number, max(0, end - start))
        async for read in read_to_end(self._reader, {self._changelog: end}, most=_BATCH):
            if records := read.records.get(self._changelog):
                self._write(records)
                failpoints.reach("track.during_restore")
            position = read.reached[self._changelog]
            metrics.note_restore(number, end - position)
            if time.monotonic() - logged > _PROGRESS_SECONDS:
                logged = time.monotonic()
                share = 100 * (position - start) // (end - start)
                log.info("restore_progress", partition=number, percent=share)
            # One fetch may hold the records of a hundred polls, which then never wait.
            await asyncio.sleep(0)
        if self._store.counts is None:
            await self._count_messages()
        if start < end:
            seconds = time.monotonic() - began
            log.info("restore_finished", partition=number, states=self._count, seconds=seconds)

    async def _count_messages(self) -> None:
        for _ in self._store.count():
            await asyncio.sleep(0)

    def _write(self, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        """Write one poll's records to the store."""
        last = Anchor(records[-1].offset, records[-1].timestamp)
        states = {record.key: record.value for record in records if record.key is not None}
        # Due at once if the record has no such header.
        armed = {
            r.key: header_number(r, NEXT_TIMER) or 0
            for r in records
            if r.key and r.value is not None
        }
        counted = self._store.counts is not None
        difference = self._store.change_from(states) if counted else None
        self._store.write(states, last, armed, difference=difference)
        self._count += len(records)
        metrics.restored.inc(len(records))
