"""One partition's task, exactly once (docs/decisions/0003-aiokafka.md has the evidence).

A task owns a transactional producer (its fencing token), a store, and a short queue of records. A
processor's own task says what a batch is; each batch is processed in these steps:

1. read the values of all keys at once; a pure pass makes new values and outputs;
2. publish outputs, changelog and the consumer's offset in one transaction (transaction.py);
3. write the values and the anchor to the store, in one batch.

A crash before the commit leaves nothing. A crash between 2 and 3 leaves a store that is behind; the
changelog completes it. After an error or a deadline before the end of the commit, the task discards
the producer, recovers, and continues with a new session (recovery.py).

An error that repetition does not fix stops the partition, not the process: the partition is tried
again from time to time.
"""

import asyncio
import contextlib
import itertools
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import ProducerFenced

from processors.runtime.alarms import Alarms
from processors.runtime.batch_size import MANY
from processors.runtime.cpu_budget import Turns
from processors.runtime.exactly_once import metrics, recovery_causes
from processors.runtime.exactly_once.partition_store import CorruptError
from processors.runtime.exactly_once.record_queue import Record, RecordQueue
from processors.runtime.exactly_once.session import S, Session
from processors.runtime.lag import Unprocessed
from providers.rejection import calls
from schemas.codec import NewerFormatError
from service.errors import Problem
from service.kafka import clients
from service.kafka.causes import RIGHT_CAUSES
from service.kafka.failures import reporter, right_missing
from service.log_events import notice
from service.logger import logger
from service.settings import Settings

log = logger(__name__)

Q = TypeVar("Q", bound=Session[Any])
B = TypeVar("B", bound="Batch")

_TICK_SECONDS = 1.0
_epochs = itertools.count()  # no two tasks of a process share one
_RETRY_SECONDS = 1.0
_CLOSE_SECONDS = 10.0
# A stopped partition is tried again after this time.
_STOPPED_SECONDS = 60.0


class Batch(Protocol):
    """The records that are processed together, if any."""

    @property
    def records(self) -> Sequence[Any]: ...


class PartitionTask(ABC, Generic[Q, B, S]):
    """Processes one partition until it is closed; while it is `stopped` it does no work.

    A processor's task is a subclass: `_new_store` opens a store, `_recovered` makes a session,
    `_next` a batch, `_batch` processes it.
    """

    def __init__(
        self,
        settings: Settings,
        consumer: AIOKafkaConsumer,
        partition: TopicPartition,
        alarms: Alarms,
        *,
        turns: Turns,
        name: str,
    ) -> None:
        """`name` is that of the processor; `turns` are those of all its tasks."""
        self.partition = partition
        self._log = log.bind(topic=partition.topic, partition=partition.partition)
        self.ready = False
        self.stopped = False
        # A seek has made records void that were polled in another epoch or for another task.
        self.epoch = next(_epochs)
        self._settings = settings
        self._group = settings.topics.group(name)
        self._consumer = consumer
        self._alarms = alarms
        self._turns = turns
        self._queue = RecordQueue()
        self._fed = 0
        self._closing = False
        self._working = False
        self._fenced_at = -math.inf
        self._fault: Problem | None = None
        # For the lag: what is committed, and the time of the first record of the batch under way.
        self._done: Unprocessed | None = None
        self._first: int | None = None
        self._stamp = 0  # the time of the last transaction's records, Unix ms
        self._producer: AIOKafkaProducer | None = None
        self._store: S | None = None
        self._runner = asyncio.create_task(self._run(), name=f"{name}-{partition.partition}")

    @property
    def store(self) -> S | None:
        """The store while the task is ready."""
        return self._store if self.ready else None

    @property
    def accepts_records(self) -> bool:
        """Whether the task can take more records."""
        return self.ready and self._queue.accepts

    @property
    def progress(self) -> Unprocessed | None:
        """What is committed, and the time of the next record; None before the first recovery."""
        first = self._queue.oldest if self._first is None else self._first
        return self._done and self._done._replace(oldest=first)

    def feed(self, records: Sequence[Record], epoch: int) -> None:
        """Take records polled in `epoch`.

        If the task has recovered since, or the poll began for an earlier task, their offsets may
        be wrong: the position is set to the first record that the task has not received.
        """
        if epoch != self.epoch:
            if self.ready:
                self._consumer.seek(self.partition, self._fed)
            return
        self._queue.add(records)
        self._fed = records[-1].offset + 1

    async def close(self) -> None:
        """Stop; a running batch may end first, within its own deadline."""
        self._closing = True
        self.ready = False
        self._queue.arrived.set()
        patience = self._settings.transaction_timeout if self._working else 0
        if patience:
            await asyncio.wait([self._runner], timeout=patience)
        self._runner.cancel()
        await asyncio.wait([self._runner], timeout=_CLOSE_SECONDS)

    def stop(self, problem: Problem) -> None:
        """Stop the partition for that reason, until it is tried again."""
        self._fault = problem
        self._queue.arrived.set()

    @abstractmethod
    async def _recovered(self) -> Q:
        """Start `_producer`, fence all earlier owners, restore the store; return the session."""

    @abstractmethod
    async def _next(self, session: Q) -> B | None:
        """Return the next batch; None if there is no work."""

    @abstractmethod
    async def _batch(self, session: Q, batch: B) -> None:
        """Process and commit a batch, and write it to the store."""

    @abstractmethod
    def _new_store(self) -> S:
        """Open the store of the partition."""

    def _open_store(self) -> S:
        """Open the store, or return it if it is open: a recovery keeps it."""
        if self._store is None:
            self._store = self._new_store()
        return self._store

    async def _run(self) -> None:
        try:
            while not self._closing:
                try:
                    await self._once()
                except Exception as error:  # noqa: BLE001 - a partition must not end the others
                    await self._pause_partition(error)
        except asyncio.CancelledError:
            pass
        finally:
            self.ready = False
            self._alarms.clear(self.partition)
            metrics.forget_restore(self._number)
            await self._release()

    async def _once(self) -> None:
        """Recover and work, once; raise the errors that an immediate repetition does not fix."""
        try:
            await self._work(await self._recover())
        except recovery_causes.RECOVERABLE as error:
            if denied := right_missing(self._settings, error):
                raise denied from error
            metrics.recoveries.labels(recovery_causes.cause(error)).inc()
            await self._prepare_recovery(error)

    async def _prepare_recovery(self, error: Exception) -> None:
        if isinstance(error, ProducerFenced):
            await self._wait_for_revocation()
        elif isinstance(error, CorruptError):
            self._log.warning("store_damaged", reason=error)
            await self._discard_producer()
            self._wipe()
        else:
            self._log.warning("partition_recovering", reason=recovery_causes.words(error))
            await self._discard_producer()

    async def _pause_partition(self, error: Exception) -> None:
        """Stop the partition for a while, and report why; other partitions continue."""
        foreseen = isinstance(error, Problem | NewerFormatError)
        why = str(error) if foreseen else _defect(error)
        if isinstance(error, Problem) and error.code in RIGHT_CAUSES:
            reporter.refused(error)
        self.stopped = True
        stopped = notice(
            "partition_stopped",
            topic=self.partition.topic,
            partition=self._number,
            reason=why,
        )
        self._alarms.raise_(self.partition, stopped, time.monotonic())
        self._fault = None
        if self.partition in self._consumer.assignment():
            self._consumer.pause(self.partition)
        await self._discard_producer()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOPPED_SECONDS):
                while not self._closing:
                    self._queue.arrived.clear()
                    await self._queue.arrived.wait()
        if not self._closing:
            metrics.recoveries.labels(recovery_causes.STOPPED).inc()

    async def _recover(self) -> Q:
        """Fence all earlier owners, and only then find the offset to continue at."""
        self.epoch = next(_epochs)
        self._queue.clear()
        session = await self._recovered()
        session.stamp = max(self._stamp, session.stamp)
        self._fed = session.offset
        self._done = Unprocessed(session.offset)
        self._consumer.seek(self.partition, self._fed)
        self._consumer.resume(self.partition)
        self.ready = True
        self.stopped = False
        self._alarms.clear(self.partition)
        self._log.info("partition_ready", offset=self._fed)
        return session

    @contextlib.contextmanager
    def _uncut(self) -> Iterator[None]:
        """Run a block that must not be cancelled: `close` waits for its end."""
        self._working = True
        try:
            yield
        finally:
            self._working = False

    async def _work(self, session: Q) -> None:
        while not self._closing:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK_SECONDS):
                    await self._queue.arrived.wait()
            self._queue.arrived.clear()
            if self._fault is not None:
                raise self._fault
            session.refuse_loss()
            while not self._closing and (batch := await self._next(session)):
                rests, began = self._rests_after(batch), time.monotonic()
                with self._uncut(), self._under_way(batch):
                    await self._batch(session, batch)
                if rests:
                    await self._queue.rest(time.monotonic() - began)

    def _rests_after(self, batch: B) -> bool:
        """Whether a batch that is about to begin is small: then the next one may wait for more."""
        return self._queue.emptied and len(batch.records) < MANY

    @contextlib.contextmanager
    def _under_way(self, batch: B) -> Iterator[None]:
        """Show the first record of a batch as the oldest one until the batch ends."""
        self._first = batch.records[0].timestamp if batch.records else None
        try:
            yield
        finally:
            self._first = None

    async def _passed(self, session: Q) -> int | None:
        """Return the position if it is ahead, and all polled records are processed; else None.

        Between the two are transaction markers, or gaps that compaction left. The position moves
        and its records are fed without an await in between.
        """
        if self._queue or self.partition not in self._consumer.assignment():
            return None
        position: int = await self._consumer.position(self.partition)
        return position if position > session.offset and not self._queue else None

    def _note_done(self, session: Q, records: Sequence[Record]) -> None:
        """Note that these records are processed and committed."""
        last = records[-1].timestamp if records else (self._done and self._done.last)
        self._done = Unprocessed(session.offset, last=last)

    async def _discard_producer(self) -> None:
        """Discard the producer: its outcome is unknown until a new producer has fenced it."""
        self.ready = False
        if self._producer is not None:
            await clients.abandon(self._producer)
            self._producer = None
        await asyncio.sleep(_RETRY_SECONDS)

    async def _wait_for_revocation(self) -> None:
        """Wait for the group to revoke the partition, because another owner has it.

        Without a revocation, the transaction had only expired (the process was suspended, say), and
        the task continues. A second fencing soon after that means a rival tracker.
        """
        self._log.warning("partition_fenced")
        patience = self._settings.session_timeout
        again = time.monotonic() - self._fenced_at < 3 * patience
        await self._discard_producer()
        await asyncio.sleep(patience)
        self._fenced_at = time.monotonic()
        if again:
            raise Problem(
                "partition_contested",
                topic=self.partition.topic,
                partition=self._number,
                namespace=self._settings.namespace,
            )

    def _wipe(self) -> None:
        if self._store is not None:
            self._store.wipe()

    async def _release(self) -> None:
        try:
            if self._producer is not None:
                await clients.abandon(self._producer)
        finally:
            if self._store is not None:
                self._store.close()

    @property
    def _number(self) -> int:
        return self.partition.partition


def _defect(error: Exception) -> str:
    where = calls(error).rpartition("\n")[2]
    return f"{type(error).__name__} at {where}; please report this"
