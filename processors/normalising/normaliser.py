"""The normaliser: raw bodies to observations and dead letters, at least once.

A round is: poll, normalise, send everything, check every acknowledgement, and only then commit the
offsets. A crash repeats a round. A repeated observation is harmless: the tracker recognises it.
Large bodies wait for rounds of their own, which run beside the usual ones (decision 39).

No body stops the others (decision 18): a body that costs too much, is too large for a topic or
raises an unexpected error becomes a dead letter. A partition that cannot continue is halted alone.
"""

import asyncio
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError

from processors.dead_letters.limit import Flood, Limits, Source, Windows, stopped
from processors.normalising import metrics
from processors.normalising.body_normaliser import Bodies
from processors.normalising.body_outcome import BodyOutcomes
from processors.normalising.foreign_account_alarm import Alarm
from processors.normalising.policy_mark import marked, refuse_other
from processors.normalising.round import Round
from processors.normalising.round_limit import MOST_BODIES, MOST_BYTES, longest
from processors.normalising.set_aside import LargeResults
from processors.normalising.time_order import Placed, TimeOrder
from processors.normalising.waiting_bodies import Waiting, WaitingBodies, next_offset, pause_after
from processors.runtime import failpoints
from processors.runtime.alarms import Alarms
from processors.runtime.assigned_partitions import AssignedPartitions
from processors.runtime.batch_size import Cut, Polls, rest_seconds
from processors.runtime.cpu_budget import Pace
from processors.runtime.group_worker import Member, Poll, Polled
from processors.runtime.lag import Unprocessed
from processors.runtime.metrics import commit_seconds
from processors.runtime.partition_watch import Progress
from processors.runtime.raw_record import RawRecord, raw_record
from processors.runtime.record_batches import Outbox, deliver
from providers import NAMES
from schemas.processor_list import NORMALISE
from service import tracing
from service.errors import Problem, reason
from service.kafka import clients
from service.log_events import Notice, notice
from service.logger import logger
from service.settings import Settings

log = logger(__name__)

Ready = Sequence[Placed[ConsumerRecord[bytes, bytes]]]

_POLL_MS = 200
_SHORT_POLL_MS = 10
# Records may be compressed a hundredfold: the bytes of a poll, and the size of the first one.
_MOST_POLLED = 4000
_POLLED_BYTES = 8 * 1024 * 1024
_FIRST_POLL = 100
_ASK_SECONDS = 30.0
_PATIENCE_SECONDS = 5.0

# How long health shows a body that was set aside by a defect or by a topic's limit.
_SHOWN_SECONDS = 600.0


class Normaliser(Member):
    """Normalises the raw bodies that a member of the group reads, with one producer."""

    def __init__(self, settings: Settings, consumer: AIOKafkaConsumer, alarms: Alarms) -> None:
        self._settings = settings
        self._group = settings.topics.group(NORMALISE.name)
        self._consumer = consumer
        self._alarms = alarms
        bodies = Bodies(settings)
        self._producer: AIOKafkaProducer | None = None
        self._partitions = AssignedPartitions(
            consumer, alarms, partial(refuse_other, settings, consumer)
        )
        self._order: TimeOrder[ConsumerRecord[bytes, bytes]] = TimeOrder(_PATIENCE_SECONDS)
        self._waiting: WaitingBodies[ConsumerRecord[bytes, bytes]] = WaitingBodies()
        self._idle = True
        self._windows = Windows(Limits(settings.dead_letter_ratio, settings.dead_letter_run))
        self._pace, self._large_pace = Pace(), Pace()
        self._outcomes = BodyOutcomes(bodies, self._pace)
        self._large_outcomes = BodyOutcomes(bodies, self._large_pace)
        self._large_results = LargeResults(bodies, self._outcomes, settings.transaction_timeout)
        self._large_round: asyncio.Task[bool] | None = None
        self._committing = asyncio.Lock()
        self._cut = Cut.whole(MOST_BODIES)
        self._polls = Polls(most=_MOST_POLLED, budget=_POLLED_BYTES, size=_FIRST_POLL)
        self._foreign_accounts = Alarm()

    def start(self) -> None:
        """Do nothing: no task runs between the rounds."""

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        self._partitions.assign(partitions)
        sentence = f"assigned {len(partitions)} partitions"
        log.info("partitions_assigned", message=sentence, count=len(partitions))

    async def revoked(self) -> None:
        """Release all partitions: their next owner repeats the uncommitted bodies."""
        self._partitions.revoke()
        self._forget()

    async def next_poll(self) -> Poll:
        """Poll the partitions with few buffered records; buffered records do not wait for more."""
        for partition, offset in (await self._partitions.seek()).items():
            self._order.place(partition, offset)
            self._waiting.remove(partition)
        if not self._partitions.ready:
            return Poll((), _POLL_MS, self._polls.size)
        wanted = [] if self._waiting.full else self._order.wanted()
        return Poll(wanted, self._poll_ms() if self._idle else 0, self._polls.size)

    def _poll_ms(self) -> int:
        """Return how long to wait for records: at most until a waiting body may be taken."""
        if self._large_round is not None:
            return _SHORT_POLL_MS
        seconds = self._waiting.wait_seconds(time.monotonic())
        return _POLL_MS if seconds is None else min(_POLL_MS, math.ceil(1000 * seconds))

    async def records(self, polled: Polled) -> bool:
        """Normalise the next records in the order of time, and meanwhile some waiting bodies."""
        if not self._partitions.ready:
            return False
        self._order.add(polled)
        sizes = [len(record.value or b"") for records in polled.values() for record in records]
        self._polls = self._polls.after(len(sizes), sum(sizes))
        ready = self._order.next_records(self._consumer.highwater, time.monotonic())
        self._idle = not ready
        if (ready or self._waiting) and self._producer is None:
            await self._start_producer()
        worked = self._next_large_round()
        if ready:
            began = time.monotonic()
            worked |= await self._process(ready)
            await asyncio.sleep(rest_seconds(time.monotonic() - began, len(ready)))
        else:
            await self._pass_gaps()
        # An empty poll may only mean that a fetch is still under way.
        return worked or (not self._waiting and await self._caught_up())

    def _next_large_round(self) -> bool:
        """Begin a round of waiting bodies once the last one has ended; whether one has.

        Raises the error of a round that failed.
        """
        task = self._large_round
        if task is not None:
            if not task.done():
                return False
            self._large_round = None
            task.result()
        if self._waiting:
            self._waiting.resume(now := time.monotonic())
            if self._waiting.wait_seconds(now) == 0:
                self._large_round = asyncio.create_task(self._process(None), name="large-bodies")
        return task is not None

    def overtaken(self, partition: TopicPartition, problem: Problem) -> None:
        self._partitions.halt(partition, problem)
        self._order.remove([partition])
        self._waiting.remove(partition)

    def failed(self, error: Exception) -> str:
        trouble = reason(error)
        metrics.failed_rounds.inc()
        log.warning("round_failed", reason=trouble)
        return trouble

    async def start_over(self) -> None:
        """Go back to the committed offsets, with a new producer."""
        await self._drop_producer()
        self._partitions.start_over()
        self._forget()

    def _forget(self) -> None:
        """Drop all bodies that are read and not committed."""
        self._order.clear()
        self._waiting.clear()

    def waiting(self) -> Iterable[TopicPartition]:
        return self._partitions.waiting

    def progress(self) -> Progress:
        return {
            tp: known._replace(oldest=self._oldest(tp))
            for tp, known in self._partitions.progress.items()
        }

    def _oldest(self, partition: TopicPartition) -> int | None:
        """Return the time of a partition's first body that is read and not committed."""
        read = (self._waiting.oldest(partition), self._order.oldest(partition))
        return min((one for one in read if one is not None), default=None)

    async def close(self) -> None:
        await self._drop_producer()

    async def _caught_up(self) -> bool:
        """Whether all records up to the known ends of the logs are read."""
        for partition in self._partitions.ready:
            end = self._consumer.highwater(partition)
            if end is None or await self._consumer.position(partition) < end:
                return False
        return True

    async def _pass_gaps(self) -> None:
        """Commit the offsets without a record after the last body of each partition."""
        for partition in list(self._partitions.ready):
            position = await self._consumer.position(partition)
            if not self._order.pass_gap(partition, position):
                continue
            async with self._committing:
                offset = next_offset(partition, self._waiting, self._order)
                passed = offset is not None and await self._committed_offsets({partition: offset})
            if passed and offset is not None:
                before = self._partitions.progress.get(partition)
                reached = Unprocessed(offset, last=before and before.last)
                self._partitions.committed({partition: reached})

    async def _process(self, ready: Ready | None) -> bool:
        """Make a round of the next records, or of waiting bodies (None); whether it had bodies."""
        producer = self._producer
        assert producer is not None  # noqa: S101 - `records` has started it
        with tracing.processing(self._group) as trace:
            outbox = Outbox(producer, "normalise.after_first_send")
            round_ = Round(outbox, self._windows.begin(), trace)
            try:
                if ready is None:
                    await self._large_bodies(producer, round_)
                else:
                    await self._usual_bodies(producer, round_, ready)
            except Exception:
                self._cut = self._cut.failed(round_.bodies)
                raise
        return bool(round_.bodies)

    async def _usual_bodies(self, producer: AIOKafkaProducer, round_: Round, ready: Ready) -> None:
        taken = await self._normalise(ready, round_)
        if round_.bodies:
            await self._publish(producer, round_)
        self._order.done()
        if round_.bodies:
            await self._commit(round_, taken)

    async def _large_bodies(self, producer: AIOKafkaProducer, round_: Round) -> None:
        taken = await self._normalise_waiting(round_)
        if taken:
            await self._publish(producer, round_)
            for one in taken:
                self._waiting.published(one)
            await self._commit(round_, {one.partition: raw_record(one.record) for one in taken})
        self._waiting.done()

    async def _publish(self, producer: AIOKafkaProducer, round_: Round) -> None:
        large = await deliver(producer, round_.outbox, self._settings.transaction_timeout)
        await self._large_results.set_aside(producer, large, round_)
        failpoints.reach("normalise.before_commit")

    async def _commit(self, round_: Round, taken: Mapping[TopicPartition, RawRecord]) -> None:
        """Commit the offsets; `taken` has the last record taken of each partition.

        The two kinds of rounds commit one after the other, so that no offset moves back.
        """
        began = time.monotonic()
        async with self._committing:
            for tp, raw in taken.items():
                offset = next_offset(tp, self._waiting, self._order)
                if offset is not None:
                    round_.reached[tp] = Unprocessed(offset, last=raw.timestamp)
            if not await self._committed_offsets(round_.ends):
                log.info("round_rebalanced")
                self._cut = self._cut.failed(round_.bodies)
                return
        failpoints.reach("normalise.after_commit")
        commit_seconds.add([time.monotonic() - began])
        self._cut = self._cut.passed()
        self._committed(round_)

    async def _committed_offsets(self, ends: Mapping[TopicPartition, int]) -> bool:
        """Commit these offsets; return False if a rebalance has revoked the partitions."""
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                if ends:
                    await self._consumer.commit(marked(self._settings, ends))
        except (CommitFailedError, IllegalStateError):
            return False
        return bool(ends)

    async def _normalise(self, ready: Ready, round_: Round) -> Mapping[TopicPartition, RawRecord]:
        """Normalise as many bodies as a round may have, in the order of time; put the rest back.

        Large bodies, and the later bodies of their sources, wait. Return the last record taken of
        each partition.
        """
        most_seconds, began = longest(self._settings.session_timeout, large=False), time.monotonic()
        most, lasted, taken = self._cut.size, 0.0, 0
        waiting, outcomes, some_wait = self._waiting, self._outcomes, bool(self._waiting)
        last: dict[TopicPartition, RawRecord] = {}
        for partition, record in ready:
            if round_.bodies >= most or round_.size >= MOST_BYTES or lasted >= most_seconds:
                break
            taken += 1
            raw = last[partition] = raw_record(record)
            source = outcomes.source(raw)
            waits = some_wait and waiting.holds(source)
            if waits or await outcomes.add(raw, source, round_, large=False) is None:
                self._wait(source, partition, record)
                some_wait = True
            if self._pace.due():
                await self._pace.pause()
                lasted = time.monotonic() - began
        self._order.put_back(ready[taken:])
        return last

    async def _normalise_waiting(
        self, round_: Round
    ) -> Sequence[Waiting[ConsumerRecord[bytes, bytes]]]:
        """Normalise some of the waiting bodies: at least one, unless all sources pause."""
        now = time.monotonic()
        end = now + longest(self._settings.session_timeout, large=True)
        taken: list[Waiting[ConsumerRecord[bytes, bytes]]] = []
        while now < end and round_.bodies < self._cut.size and round_.size < MOST_BYTES:
            found = self._waiting.take()
            if found is None:
                break
            taken.append(found)
            raw = raw_record(found.record)
            outcome = await self._large_outcomes.add(raw, found.source, round_, large=True)
            if self._large_pace.due():
                await self._large_pace.pause()
            began, now = now, time.monotonic()
            keys = (one.key for one in (outcome.records if outcome else ()))
            pause = pause_after(keys, now - began)
            self._waiting.used(found.source, now - began, pause, now)
        return taken

    def _wait(
        self, source: Source, partition: TopicPartition, record: ConsumerRecord[bytes, bytes]
    ) -> None:
        """Let a body wait, unless its partition was revoked during the round."""
        if self._order.first(partition) is not None:
            self._waiting.add(source, (partition, record))

    def _committed(self, round_: Round) -> None:
        """Publish the counts of a committed round, and raise its alarms."""
        self._partitions.committed(round_.reached)
        now = time.monotonic()
        round_.tallies.publish()
        self._foreign_accounts.raise_for(round_.foreign)
        self._windows.keep(round_.counted)
        for kind, defect in round_.notices().items():
            self._alarms.raise_(kind, defect, now, _SHOWN_SECONDS)
        floods = {flood.source: flood for flood in self._windows.floods()}
        for source, flood in floods.items():
            self._alarms.raise_(source, _stop_notice(flood), now)
        for cause in self._alarms.causes():
            if isinstance(cause, Source) and cause not in floods:
                self._alarms.clear(cause)
                log.warning("source_resumed", source=cause.name, provider=cause.provider)
        for provider, count in _stopped(floods.values()).items():
            metrics.stopped.labels(provider).set(count)

    async def _start_producer(self) -> None:
        self._producer = clients.producer(self._settings)
        await self._producer.start()

    async def _drop_producer(self) -> None:
        """Drop the producer; a round of large bodies that uses it ends."""
        if (task := self._large_round) is not None:
            self._large_round = None
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if self._producer is not None:
            await clients.abandon(self._producer)
            self._producer = None


def _stop_notice(flood: Flood) -> Notice:
    return notice(
        "source_stopped",
        message=str(flood),
        source=flood.source.name,
        provider=flood.source.provider,
        code=flood.code,
    )


def _stopped(floods: Iterable[Flood]) -> dict[str, int]:
    """Return the number of stopped sources of each provider, 0 included."""
    return dict.fromkeys(NAMES, 0) | stopped(floods)
