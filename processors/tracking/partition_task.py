"""One partition's task: exactly-once tracking (docs/decisions/0003-aiokafka.md has the evidence).

A task owns a transactional producer (its fencing token), a store, and a short queue of records. A
batch is the records of the queue and a bounded number of due timers. Its steps, in order:

1. read the states of all keys at once; the pure pass makes new states and outputs;
2. publish outputs, changelog and the consumer's offset in one transaction (commit_batch.py);
3. write the states and the anchor to the store, in one batch.

A crash before the commit leaves nothing. A crash between 2 and 3 leaves a store that is behind; the
changelog completes it. After an error or a deadline before the end of the commit, the task discards
the producer, recovers, and continues with a new session (recovery.py).

A batch that takes too long, or that Kafka refuses as too large, is smaller when it is repeated; the
message that causes this is set aside (docs/decisions/0017-bounds.md). An error that repetition does
not fix stops the partition, not the process: the partition is tried again from time to time.
"""

import asyncio
import contextlib
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import cast

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import ProducerFenced

from processors.runtime import failpoints
from processors.runtime.alarms import Alarms
from processors.runtime.lag import Unprocessed
from processors.runtime.record_batches import TooLargeError
from processors.tracking import letter_notices, metrics, recovery_causes
from processors.tracking.batch_cut import BatchCut
from processors.tracking.batch_types import Reduced, Work
from processors.tracking.commit_batch import publish
from processors.tracking.log_clock import LogClock
from processors.tracking.outputs import source_of
from processors.tracking.record_queue import Record, RecordQueue
from processors.tracking.recovery import recover
from processors.tracking.reduce_batch import reduce
from processors.tracking.session import Session
from processors.tracking.state_store import Anchor, CorruptError, Store
from processors.tracking.timers import Patience
from processors.tracking.tracking_dead_letters import Letter
from providers.rejection import calls
from schemas.codec import NewerFormatError
from schemas.processor_list import TRACK
from service import tracing
from service.errors import Problem
from service.kafka import clients
from service.kafka.causes import RIGHT_CAUSES
from service.kafka.clock import clock
from service.kafka.failures import reporter, right_missing
from service.log_events import notice
from service.logger import logger
from service.settings import Settings

log = logger(__name__)

_BATCH = 4000
_TIMERS = 250  # fired in one transaction, so that records do not wait long
_TICK_SECONDS = 1.0
_epochs = itertools.count()  # no two tasks of a process share one
_RETRY_SECONDS = 1.0
_CLOSE_SECONDS = 10.0
# A stopped partition is tried again after this time.
_STOPPED_SECONDS = 60.0
# How long health shows a message that was set aside because of a defect.
_SHOWN_SECONDS = 600.0


class Task:
    """Tracks one partition until it is closed; while it is `stopped` it does no work."""

    def __init__(
        self,
        settings: Settings,
        consumer: AIOKafkaConsumer,
        partition: TopicPartition,
        watermark: Callable[[float], int],
        alarms: Alarms,
    ) -> None:
        """`watermark` is `NormaliserWatermark.until`."""
        self.partition = partition
        self._log = log.bind(topic=partition.topic, partition=partition.partition)
        self.ready = False
        self.stopped = False
        # A seek has made records void that were polled in another epoch or for another task.
        self.epoch = next(_epochs)
        self._settings = settings
        self._group = settings.topics.group(TRACK.name)
        self._consumer = consumer
        self._watermark = watermark
        self._alarms = alarms
        self._queue = RecordQueue()
        self._fed = 0
        self._closing = False
        self._working = False
        self._fenced_at = -math.inf
        self._cut = BatchCut(_BATCH)
        self._fault: Problem | None = None
        self._patience = patience_of(settings)
        self._source = source_of(settings.installation)
        # For the lag: what is committed, and the time of the first record of the batch under way.
        self._done: Unprocessed | None = None
        self._first: int | None = None
        self._stamp = 0  # the time of the last transaction's records, Unix ms
        self._producer: AIOKafkaProducer | None = None
        self._store: Store | None = None
        self._runner = asyncio.create_task(self._run(), name=f"track-{partition.partition}")

    @property
    def accepts_records(self) -> bool:
        """Whether the task can take more records."""
        return self.ready and self._queue.accepts

    @property
    def progress(self) -> Unprocessed | None:
        """What is committed, and the time of the next record; None before the first recovery."""
        first = self._queue.oldest if self._first is None else self._first
        return self._done and self._done._replace(oldest=first)

    @property
    def store(self) -> Store | None:
        """The store while the task is ready."""
        return self._store if self.ready else None

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

    async def _run(self) -> None:
        try:
            while not self._closing:
                try:
                    await self._track()
                except Exception as error:  # noqa: BLE001 - a partition must not end the others
                    await self._pause_partition(error)
        except asyncio.CancelledError:
            pass
        finally:
            self.ready = False
            self._alarms.clear(self.partition)
            metrics.forget_restore(self._number)
            await self._release()

    async def _track(self) -> None:
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

    async def _recover(self) -> Session:
        """Fence all earlier owners, and only then find the offset to continue at."""
        self.epoch = next(_epochs)
        self._queue.clear()
        transactional_id = self._settings.topics.transactional_id(self._number)
        self._producer = clients.producer(self._settings, transactional_id)
        session = await recover(
            self._settings,
            self._consumer,
            self._producer,
            self.partition,
            open_store=self._open_store,
            uncut=self._uncut,
        )
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

    def _open_store(self) -> Store:
        """Open the store, or return it if it is open: a recovery keeps it."""
        if self._store is None:
            identity = f"{self._settings.topics.messages}[{self._number}]"
            self._store = Store(self._directory, identity)
        return self._store

    @contextlib.contextmanager
    def _uncut(self) -> Iterator[None]:
        """Run a block that must not be cancelled: `close` waits for its end."""
        self._working = True
        try:
            yield
        finally:
            self._working = False

    async def _work(self, session: Session) -> None:
        log_clock = LogClock(
            self._consumer, self.partition, self._watermark, self._settings.timer_grace
        )
        while not self._closing:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK_SECONDS):
                    await self._queue.arrived.wait()
            self._queue.arrived.clear()
            if self._fault is not None:
                raise self._fault
            session.refuse_loss()
            while not self._closing and (work := await self._next(session, log_clock)):
                small = len(work.records) + len(work.timers) < min(_TIMERS, self._cut.size)
                began = time.monotonic()
                with self._uncut(), self._under_way(work):
                    await self._batch(session, log_clock, work)
                if small:
                    await self._queue.rest(time.monotonic() - began)

    @contextlib.contextmanager
    def _under_way(self, work: Work) -> Iterator[None]:
        """Show the first record of a batch as the oldest one until the batch ends."""
        self._first = cast("Record", work.records[0]).timestamp if work.records else None
        try:
            yield
        finally:
            self._first = None

    async def _next(self, session: Session, log_clock: LogClock) -> Work | None:
        """Return the next batch; None if there is no work."""
        now = clock.now()
        horizon = await log_clock.horizon(now, drained=not self._queue)
        most = self._cut.size
        records = self._queue.take(most)
        timers = session.store.due(horizon, min(_TIMERS, most))
        if not records and not timers:
            return None
        return Work(
            records,
            timers,
            now,
            horizon,
            self._patience,
            source=self._source,
            repaired_to=session.repaired_to,
            seen=session.seen,
        )

    async def _batch(self, session: Session, log_clock: LogClock, work: Work) -> None:
        with tracing.processing(self._group) as trace:
            contexts = trace.take_all(cast("Sequence[Record]", work.records))
            work = work._replace(contexts=contexts)
            result = await reduce(work, session.store.get, self._cut.unwanted)
            trace.keep(result.taken)
            anchor = None
            if result.taken or result.states:
                anchor = await self._publish(session, work, result)
        session.store.write(
            result.states, anchor, result.armed, result.spent, result.counts.messages
        )
        failpoints.reach("track.after_store_write")
        self._queue.put_back(cast("Sequence[Record]", work.records[result.taken :]))
        if result.taken:
            last = cast("Record", work.records[result.taken - 1])
            self._done = Unprocessed(session.offset, last=last.timestamp)
        log_clock.advance(result.latest)
        self._cut.passed()
        self._report(result.letters)
        session.refuse_loss()

    async def _publish(self, session: Session, work: Work, result: Reduced) -> Anchor | None:
        """Publish in a transaction; if it fails, the next batch is smaller."""
        taken_to = work.records[result.taken - 1].offset + 1 if result.taken else None
        try:
            return await publish(self._settings, session, result, taken_to, apart=self._cut.apart)
        except TooLargeError as error:
            self._cut.refused(error)
            raise
        except TimeoutError:
            self._cut.failed(result.taken + len(work.timers))
            raise
        finally:
            self._stamp = session.stamp  # also of a transaction with an unknown outcome

    def _report(self, letters: Sequence[Letter]) -> None:
        """Log what was set aside; health also shows defects and invalid records."""
        for found in letter_notices.notices(letters):
            if found.past_bound:
                log.warning(found.notice.event, **found.notice.fields)
            else:
                self._alarms.raise_(found.code, found.notice, time.monotonic(), _SHOWN_SECONDS)

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

    @property
    def _directory(self) -> Path:
        return self._settings.stores / "track" / str(self._number)


def _defect(error: Exception) -> str:
    where = calls(error).rpartition("\n")[2]
    return f"{type(error).__name__} at {where}; please report this"


def patience_of(settings: Settings) -> Patience:
    """Return the settings' patience, in milliseconds."""
    return Patience(
        queued=_ms(settings.stalled_queued),
        sent=_ms(settings.stalled_sent),
        queued_by_channel={c: _ms(s) for c, s in settings.stalled_queued_by_channel.items()},
        sent_by_channel={c: _ms(s) for c, s in settings.stalled_sent_by_channel.items()},
    )


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
