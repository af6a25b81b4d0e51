"""The two tasks of measure, each exactly once by `runtime.exactly_once`.

`MessagesTask` compares the states of a partition of `messages` with what it has contributed, and
publishes the differences. `ChangesTask` adds the differences of a partition of `quality-changes` to
its cells. All changes of a route are on one partition, so a cell has one writer.

The position of a `ChangesTask` is the one in its changelog, not the committed offset: an addition
that is repeated would be wrong, and cells and position in one partition cannot be split.
"""

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from processors.quality import metrics
from processors.quality.cells import Added, Cells, Limits, applied, expired
from processors.quality.changes import changed
from processors.runtime import failpoints
from processors.runtime.alarms import Alarms
from processors.runtime.batch_size import Cut
from processors.runtime.cpu_budget import Turns
from processors.runtime.exactly_once.changelog_headers import NOTE, TAKEN_TO
from processors.runtime.exactly_once.metrics import batch_records
from processors.runtime.exactly_once.offset_note import Note
from processors.runtime.exactly_once.outputs import Outputs
from processors.runtime.exactly_once.partition_store import Anchor, PartitionStore
from processors.runtime.exactly_once.partition_task import PartitionTask
from processors.runtime.exactly_once.record_queue import Record
from processors.runtime.exactly_once.recovery import recover
from processors.runtime.exactly_once.session import Session
from processors.runtime.exactly_once.transaction import commit, deadline
from processors.runtime.record_batches import Outbox
from schemas.codec import decode_quality_change, encode
from schemas.processor_list import MEASURE, TopicKind
from schemas.quality import Period, QualityChange, route_of
from schemas.topics import partition_of
from service.kafka import clients
from service.kafka.clock import clock
from service.settings import Settings

_BATCH = 1000
_FORMAT = 1
_EXPIRED = 500  # cells deleted in one transaction, so that records do not wait long
_EXPIRY_SECONDS = 60.0
_IDLE_SECONDS = 0.5


class Batch(NamedTuple):
    """Records in order, or cells whose period is no longer kept; the offset to commit, if any."""

    records: Sequence[Record] = ()
    expired: Sequence[str] = ()
    taken_to: int | None = None


class Result(NamedTuple):
    """New values of the changelog, and changes to publish."""

    values: Mapping[bytes, bytes | None]
    changes: Sequence[QualityChange] = ()


class MeasuringTask(PartitionTask[Session[PartitionStore], Batch, PartitionStore]):
    """What both tasks have in common: a subclass says how records become a result."""

    input: TopicKind

    def __init__(
        self,
        settings: Settings,
        consumer: AIOKafkaConsumer,
        partition: TopicPartition,
        alarms: Alarms,
        *,
        turns: Turns,
    ) -> None:
        self._cut = Cut.whole(_BATCH)
        self._idle_at = 0.0
        self._outputs = Outputs(
            MEASURE.name,
            settings.topics.group(MEASURE.name),
            (TopicPartition(self._changelog(settings), partition.partition),),
        )
        super().__init__(settings, consumer, partition, alarms, turns=turns, name=MEASURE.name)

    @staticmethod
    @abstractmethod
    def _changelog(settings: Settings) -> str:
        """Return the topic that the store is restored from."""

    @abstractmethod
    def _reduce(self, store: PartitionStore, batch: Batch) -> Result:
        """Return what a batch makes of the stored values."""

    async def _recovered(self) -> Session[PartitionStore]:
        transactional_id = self._settings.topics.measuring_id(self.input, self._number)
        self._producer = clients.producer(self._settings, transactional_id)
        return await recover(
            self._settings,
            self._consumer,
            self._producer,
            self.partition,
            self._outputs,
            open_store=self._open_store,
            uncut=self._uncut,
        )

    def _new_store(self) -> PartitionStore:
        topic, number = self._outputs.changelog
        return PartitionStore(self._directory, f"{_FORMAT} {topic}[{number}]")

    async def _next(self, session: Session[PartitionStore]) -> Batch | None:
        if records := self._queue.take(self._cut.size):
            self._idle_at = time.monotonic() + _IDLE_SECONDS
            return Batch(records, taken_to=records[-1].offset + 1)
        if time.monotonic() < self._idle_at:
            return None
        # The inputs end in transaction markers: the lag would never be 0 without this commit.
        passed = await self._passed(session)
        return None if passed is None else Batch(taken_to=passed)

    async def _batch(self, session: Session[PartitionStore], batch: Batch) -> None:
        async with self._turns.take():
            result = self._reduce(session.store, batch)
        try:
            anchor = await self._publish(session, result, batch.taken_to)
        except TimeoutError:
            self._cut = self._cut.failed(len(batch.records))
            raise
        finally:
            self._stamp = session.stamp  # also of a transaction with an unknown outcome
        session.store.put(result.values, anchor, session.offset)
        failpoints.reach("measure.after_store_write")
        self._note_done(session, batch.records)
        self._cut = self._cut.passed()
        batch_records.add([len(batch.records)])
        session.refuse_loss()

    async def _publish(
        self, session: Session[PartitionStore], result: Result, taken_to: int | None
    ) -> Anchor | None:
        """Publish in a transaction; return the last changelog record, None if there is none."""
        now = session.stamp = max(clock.now(), session.stamp + 1)
        note = session.note.after(now, session.offset, states=bool(result.values), seen=False)
        position = session.offset if taken_to is None else taken_to

        def fill(outbox: Outbox) -> None:
            headers = [(TAKEN_TO, b"%d" % position), (NOTE, note.metadata.encode())]
            self._fill(outbox, result, now, headers)

        async with deadline(self._settings, session):
            ends = await commit(session, self._outputs, fill, taken_to, note)
        metrics.changes.inc(len(result.changes))
        end = ends.get(self._outputs.changelog.topic)
        return None if end is None else Anchor(end - 1, now)

    def _fill(self, outbox: Outbox, result: Result, now: int, headers: Any) -> None:
        topic, number = self._outputs.changelog
        for key, value in result.values.items():
            outbox.add(topic, number, key=key, value=value, timestamp=now, headers=headers)
        changes = self._settings.topics.quality_changes
        for one in result.changes:
            route = str(route_of(one))
            partition = partition_of(route, self._settings.partitions)
            value = encode(one)
            outbox.add(changes, partition, key=route.encode(), value=value, timestamp=now)

    @property
    def _directory(self) -> Path:
        return self._settings.stores / MEASURE.name / str(self._number) / self.input


class MessagesTask(MeasuringTask):
    """Turns the states of one partition of `messages` into changes of cells."""

    input: TopicKind = "messages"

    @staticmethod
    def _changelog(settings: Settings) -> str:
        return settings.topics.quality_contributions

    def _reduce(self, store: PartitionStore, batch: Batch) -> Result:
        found = changed(batch.records, store.get)
        metrics.unreadable.inc(found.unreadable)
        return Result(found.contributions, found.changes)


class ChangesTask(MeasuringTask):
    """Adds the changes of one partition of `quality-changes` to its cells, and deletes old ones."""

    input: TopicKind = "quality-changes"

    _expire_at = 0.0

    @cached_property
    def _limits(self) -> Limits:
        return limits_of(self._settings)

    @staticmethod
    def _changelog(settings: Settings) -> str:
        return settings.topics.quality

    async def _recovered(self) -> Session[PartitionStore]:
        session = await super()._recovered()
        session.offset = continued_at(session.store.position, session.offset, session.note)
        return session

    async def _next(self, session: Session[PartitionStore]) -> Batch | None:
        if batch := await super()._next(session):
            return batch
        if time.monotonic() < self._expire_at:
            return None
        keys = expired(_cells(session.store), self._limits, clock.now(), _EXPIRED)
        if not keys:
            self._expire_at = time.monotonic() + _EXPIRY_SECONDS
        return Batch(expired=keys) if keys else None

    def _reduce(self, store: PartitionStore, batch: Batch) -> Result:
        if batch.expired:
            return Result(dict.fromkeys(key.encode() for key in batch.expired))
        changes = [decode_quality_change(one.value) for one in batch.records]
        found: Added = applied(changes, _cells(store), self._limits, clock.now())
        metrics.past.inc(found.past)
        metrics.cells.inc(len(found.cells))
        return Result(found.cells)


def _cells(store: PartitionStore) -> Cells:
    return Cells(store.get, store.keys)


def continued_at(position: int | None, committed: int, note: Note) -> int:
    """Return the offset of the changes to continue at: the position that the cells name, if any.

    An offset that was committed without a note was moved by hand; it may skip changes that are
    gone, and never repeats one.
    """
    if position is None:
        return committed
    return position if note.time else max(position, committed)


def limits_of(settings: Settings) -> Limits:
    """Return the limits that the settings give."""
    days: dict[Period, int] = {
        "minute": settings.quality_minute_days,
        "hour": settings.quality_hour_days,
        "day": settings.quality_day_days,
    }
    return Limits(settings.quality_names, days)
