"""One partition's task of the tracker; its steps are those of `runtime.exactly_once`.

A batch is the records of the queue and a bounded number of due timers. A batch that takes too long,
or that Kafka refuses as too large, is smaller when it is repeated; the message that causes this is
set aside (docs/decisions/0017-bounds.md).
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from aiokafka import AIOKafkaConsumer, TopicPartition

from processors.runtime import failpoints
from processors.runtime.alarms import Alarms
from processors.runtime.cpu_budget import Turns
from processors.runtime.exactly_once.partition_store import Anchor
from processors.runtime.exactly_once.partition_task import PartitionTask
from processors.runtime.exactly_once.record_queue import Record
from processors.runtime.record_batches import TooLargeError
from processors.tracking import letter_notices
from processors.tracking.batch_cut import BatchCut
from processors.tracking.batch_types import Reduced, Work
from processors.tracking.commit_batch import publish
from processors.tracking.incomplete_transactions import stored
from processors.tracking.log_clock import LogClock
from processors.tracking.outputs import source_of
from processors.tracking.recovery import recover
from processors.tracking.reduce_batch import reduce
from processors.tracking.session import Session
from processors.tracking.state_store import Store
from processors.tracking.timers import Patience
from processors.tracking.tracking_dead_letters import Letter
from schemas.processor_list import TRACK
from service import tracing
from service.kafka import clients
from service.kafka.clock import clock
from service.logger import logger
from service.settings import Settings

log = logger(__name__)

_BATCH = 4000
_TIMERS = 250  # fired in one transaction, so that records do not wait long
# How long health shows a message that was set aside because of a defect.
_SHOWN_SECONDS = 600.0


class Task(PartitionTask[Session, Work, Store]):
    """Tracks one partition until it is closed; while it is `stopped` it does no work."""

    def __init__(
        self,
        settings: Settings,
        consumer: AIOKafkaConsumer,
        partition: TopicPartition,
        alarms: Alarms,
        *,
        turns: Turns,
        watermark: Callable[[float], int],
    ) -> None:
        """`watermark` is `NormaliserWatermark.until`."""
        self._watermark = watermark
        self._cut = BatchCut(_BATCH)
        self._patience = patience_of(settings)
        self._source = source_of(settings.installation)
        super().__init__(settings, consumer, partition, alarms, turns=turns, name=TRACK.name)

    async def _recovered(self) -> Session:
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
        self._log_clock = LogClock(
            self._consumer, self.partition, self._watermark, self._settings.timer_grace
        )
        if session.left_out:
            with self._uncut():
                await self._write_again(session)
        return session

    async def _write_again(self, session: Session) -> None:
        """Write the present states of keys whose newer states are not restored."""
        result = stored(session.left_out, session.store.get, self._patience)
        anchor = await publish(self._settings, session, result, None, apart=False)
        session.store.write(result.states, anchor, result.armed)

    def _new_store(self) -> Store:
        return Store(self._directory, f"{self._settings.topics.messages}[{self._number}]")

    async def _next(self, session: Session) -> Work | None:
        now = clock.now()
        horizon = await self._log_clock.horizon(now, drained=not self._queue)
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

    def _rests_after(self, batch: Work) -> bool:
        more_timers = len(batch.timers) >= min(_TIMERS, self._cut.size)
        return super()._rests_after(batch) and not more_timers

    async def _batch(self, session: Session, work: Work) -> None:
        with tracing.processing(self._group) as trace:
            contexts = trace.take_all(cast("Sequence[Record]", work.records))
            work = work._replace(contexts=contexts)
            async with self._turns.take() as turn:
                result = await reduce(work, session.store.get, self._cut.unwanted, turn.pause)
            trace.keep(result.taken)
            anchor = None
            if result.taken or result.states:
                anchor = await self._publish(session, work, result)
        session.store.write(
            result.states, anchor, result.armed, result.spent, result.counts.messages
        )
        failpoints.reach("track.after_store_write")
        self._queue.put_back(cast("Sequence[Record]", work.records[result.taken :]))
        self._note_done(session, cast("Sequence[Record]", work.records[: result.taken]))
        self._log_clock.advance(result.latest)
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

    @property
    def _directory(self) -> Path:
        return self._settings.stores / "track" / str(self._number)


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
