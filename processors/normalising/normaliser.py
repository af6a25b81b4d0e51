"""The normaliser: raw bodies to observations and dead letters, at least once.

A round is: poll, normalise, send everything, check every acknowledgement, and only then commit the
offsets. A crash repeats a round. A repeated observation is harmless: the tracker recognises it.

No body stops the others (decision 18): a body that costs too much, is too large for a topic or
raises an unexpected error becomes a dead letter. A partition that cannot continue is halted alone.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence
from functools import lru_cache, partial
from itertools import chain

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError

from processors.dead_letters.limit import Flood, Limits, Source, Windows, stopped
from processors.normalising import metrics
from processors.normalising.body_normaliser import Bodies
from processors.normalising.foreign_account_alarm import Alarm
from processors.normalising.policy_mark import marked, refuse_other
from processors.normalising.round import Outcome, Round
from processors.normalising.round_limit import MOST_BODIES, MOST_BYTES, longest
from processors.normalising.time_order import Placed, TimeOrder
from processors.normalising.webhook_to_observations import dead_letter, whole
from processors.runtime import failpoints
from processors.runtime.alarms import Alarms
from processors.runtime.assigned_partitions import AssignedPartitions
from processors.runtime.batch_size import Cut, Polls
from processors.runtime.cpu_budget import Pace
from processors.runtime.group_worker import Member, Poll, Polled
from processors.runtime.lag import Unprocessed
from processors.runtime.metrics import commit_seconds
from processors.runtime.partition_watch import Progress
from processors.runtime.raw_record import RawRecord, raw_record
from processors.runtime.record_batches import Outbox, Outgoing, UnsentError, deliver
from providers import NAMES
from providers.contract import Normalised
from providers.fields import word
from providers.rejection import Refused
from schemas.coordinates import Coordinates, at
from schemas.processor_list import NORMALISE
from schemas.webhook import source_of
from service import tracing
from service.errors import Problem, reason
from service.kafka import clients
from service.kafka.clock import clock
from service.log_events import Notice, notice
from service.logger import logger
from service.settings import Settings
from service.tracing import Headers

log = logger(__name__)

Ready = Sequence[Placed[ConsumerRecord[bytes, bytes]]]

_POLL_MS = 200
# Records may be compressed a hundredfold: the bytes of a poll, and the size of the first one.
_MOST_POLLED = 4000
_POLLED_BYTES = 8 * 1024 * 1024
_FIRST_POLL = 100
_ASK_SECONDS = 30.0
_PATIENCE_SECONDS = 5.0

# The cost limit of one body: seconds of CPU time, and bytes of its results.
_BODY_SECONDS = 0.25
_BODY_BYTES = 32 * 1024 * 1024

# Up to this number, observations become records without a pause, and stay below `_BODY_BYTES`.
_FEW = 16

# How long health shows a body that was set aside by a defect or by a topic's limit.
_SHOWN_SECONDS = 600.0


class Normaliser(Member):
    """Normalises the raw bodies that a member of the group reads, with one producer."""

    def __init__(self, settings: Settings, consumer: AIOKafkaConsumer, alarms: Alarms) -> None:
        self._settings = settings
        self._group = settings.topics.group(NORMALISE.name)
        self._consumer = consumer
        self._alarms = alarms
        self._bodies = Bodies(settings)
        self._producer: AIOKafkaProducer | None = None
        self._partitions = AssignedPartitions(
            consumer, alarms, partial(refuse_other, settings, consumer)
        )
        self._order: TimeOrder[ConsumerRecord[bytes, bytes]] = TimeOrder(_PATIENCE_SECONDS)
        self._idle = True
        self._windows = Windows(Limits(settings.dead_letter_ratio, settings.dead_letter_run))
        self._pace = Pace()
        self._cut = Cut.whole(MOST_BODIES)
        self._polls = Polls(most=_MOST_POLLED, budget=_POLLED_BYTES, size=_FIRST_POLL)
        self._under_way = 0
        self._foreign_accounts = Alarm()
        self._first: dict[TopicPartition, int] = {}  # the oldest times in the round under way

    def start(self) -> None:
        """Do nothing: no task runs between the rounds."""

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        self._partitions.assign(partitions)
        sentence = f"assigned {len(partitions)} partitions"
        log.info("partitions_assigned", message=sentence, count=len(partitions))

    async def revoked(self) -> None:
        """Release all partitions: their next owner repeats the uncommitted bodies."""
        self._partitions.revoke()
        self._order.clear()

    async def next_poll(self) -> Poll:
        """Poll the partitions with few buffered records; buffered records do not wait for more."""
        self._under_way = 0
        for partition, offset in (await self._partitions.seek()).items():
            self._order.place(partition, offset)
        if not self._partitions.ready:
            return Poll((), _POLL_MS, self._polls.size)
        wanted = self._order.wanted()
        return Poll(wanted, _POLL_MS if wanted and self._idle else 0, self._polls.size)

    async def records(self, polled: Polled) -> bool:
        """Normalise the next records in the order of time."""
        if not self._partitions.ready:
            return False
        self._order.add(polled)
        sizes = [len(record.value or b"") for records in polled.values() for record in records]
        self._polls = self._polls.after(len(sizes), sum(sizes))
        ready = self._order.next_records(self._consumer.highwater, time.monotonic())
        self._idle = not ready
        if ready:
            self._first = {tp: record.timestamp for tp, record in reversed(ready)}
            try:
                await self._process(ready)
            finally:
                self._first = {}
        # An empty poll may only mean that a fetch is still under way.
        return bool(ready) or await self._caught_up()

    def overtaken(self, partition: TopicPartition, problem: Problem) -> None:
        self._partitions.halt(partition, problem)
        self._order.remove([partition])

    def failed(self, error: Exception) -> str:
        trouble = reason(error)
        metrics.failed_rounds.inc()
        log.warning("round_failed", reason=trouble)
        return trouble

    async def start_over(self) -> None:
        """Go back to the committed offsets, with a new producer."""
        self._cut = self._cut.failed(self._under_way)
        await self._drop_producer()
        self._partitions.start_over()
        self._order.clear()

    def waiting(self) -> Iterable[TopicPartition]:
        return self._partitions.waiting

    def progress(self) -> Progress:
        return {
            tp: known._replace(oldest=self._first.get(tp, self._order.oldest(tp)))
            for tp, known in self._partitions.progress.items()
        }

    async def close(self) -> None:
        await self._drop_producer()

    async def _caught_up(self) -> bool:
        """Whether all records up to the known ends of the logs are read."""
        for partition in self._partitions.ready:
            end = self._consumer.highwater(partition)
            if end is None or await self._consumer.position(partition) < end:
                return False
        return True

    async def _process(self, ready: Ready) -> None:
        with tracing.processing(self._group) as trace:
            await self._traced_round(ready, trace)

    async def _traced_round(self, ready: Ready, trace: tracing.Round) -> None:
        producer = self._producer or await self._start_producer()
        outbox = Outbox(producer, "normalise.after_first_send")
        round_ = Round(outbox, self._windows.begin(), trace)
        await self._normalise(ready, round_)
        large = await deliver(producer, round_.outbox, self._settings.transaction_timeout)
        await self._set_aside(producer, large, round_)
        failpoints.reach("normalise.before_commit")
        began = time.monotonic()
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                await self._consumer.commit(marked(self._settings, round_.ends))
        except (CommitFailedError, IllegalStateError):
            log.info("round_rebalanced")
            self._cut = self._cut.failed(round_.bodies)
        else:
            failpoints.reach("normalise.after_commit")
            commit_seconds.add([time.monotonic() - began])
            self._cut = self._cut.passed()
            self._committed(round_)

    async def _normalise(self, ready: Ready, round_: Round) -> None:
        """Normalise as many bodies as a round may have, in the order of time; put the rest back."""
        most_seconds, began = longest(self._settings.session_timeout), time.monotonic()
        most, lasted = self._cut.size, 0.0
        reached: dict[TopicPartition, RawRecord] = {}
        for partition, record in ready:
            if round_.bodies >= most or round_.size >= MOST_BYTES or lasted >= most_seconds:
                break
            raw = reached[partition] = raw_record(record)
            round_.bodies = self._under_way = round_.bodies + 1
            await self._body(raw, round_)
            if self._pace.due():
                await self._pace.pause()
                lasted = time.monotonic() - began
        round_.reached = {
            tp: Unprocessed(raw.offset + 1, last=raw.timestamp) for tp, raw in reached.items()
        }
        self._order.put_back(ready[round_.bodies :])

    async def _body(self, raw: RawRecord, round_: Round) -> None:
        """Add the result of one body; after any error it is a dead letter."""
        provider = self._bodies.provider(raw)
        source = _named(provider, source_of(raw.headers, provider))
        window = round_.counted.window(source)
        if not window.wants():
            reason = f"too many bodies of the source {source.name} were dead letters"
            round_.add(raw, provider, self._refused(raw, Refused("source_stopped", reason)))
            return
        try:
            context = round_.trace.take(raw)
            result = self._bodies.begun(raw)
            if not isinstance(result, Normalised):
                result = await self._pace.within(result, _BODY_SECONDS)
            if result.dead_letters or len(result.observations) > _FEW:
                outcome = await self._records(raw, result, context)
            else:
                now = clock.now()
                records = list(self._bodies.observed(raw, result.observations, now, context))
                outcome = Outcome(result, records, sum([len(one.value) for one in records]))
        except Exception as error:  # noqa: BLE001 - after any error the body is kept
            outcome = self._refused(raw, error)
        if letters := outcome.result.dead_letters:
            round_.counted.add(source, at(raw), letters[0].code)
        else:
            window.good()
        round_.add(raw, provider, outcome)

    async def _records(self, raw: RawRecord, result: Normalised, context: Headers) -> Outcome:
        """Return the records of a body; `Refused` if they exceed the limit."""
        now = clock.now()
        records: list[Outgoing] = []
        size = 0
        for record in chain(
            self._bodies.observed(raw, result.observations, now, context),
            self._bodies.kept(raw, result.dead_letters, now),
        ):
            records.append(record)
            size += record.size
            if size > _BODY_BYTES:
                raise Refused("too_costly", f"its result has more than {_BODY_BYTES} bytes")
            if self._pace.due():
                await self._pace.pause()
        return Outcome(result, records, size)

    def _refused(self, raw: RawRecord, error: Exception) -> Outcome:
        """Return one dead letter for a whole body."""
        letter, now = dead_letter(error, raw.body or b""), clock.now()
        try:
            [record] = self._bodies.kept(raw, [letter], now)
        except Exception:  # noqa: BLE001 - headers that cannot be copied; the raw record has them
            [record] = self._bodies.kept(raw._replace(headers=()), [letter], now)
        return Outcome(whole(letter), [record], record.size)

    async def _set_aside(
        self, producer: AIOKafkaProducer, large: Sequence[Outgoing], round_: Round
    ) -> None:
        """Keep the bodies of records that are too large for their topics as dead letters.

        A dead letter that is itself too large is kept without its value.
        """
        letters: dict[Coordinates, Outgoing] = {}
        bare = [self._bodies.bare(one) for one in large if self._bodies.is_letter(one)]
        for one in large:
            place = at(one.raw)
            round_.large[place] = one.topic
            if self._bodies.is_letter(one):
                continue
            first = place not in letters
            round_.tallies.count_large(self._bodies.provider(one.raw), one, first=first)
            if first:
                letters[place] = self._refused(one.raw, _too_large(one)).records[0]
        bare += map(self._bodies.bare, await self._apart(producer, letters.values()))
        if left := await self._apart(producer, bare):
            raise UnsentError(
                f"Kafka does not accept the records for {left[0].topic} (MessageSizeTooLargeError),"
                " not even a dead letter without its value: raise its max.message.bytes"
            )

    async def _apart(
        self, producer: AIOKafkaProducer, records: Iterable[Outgoing]
    ) -> list[Outgoing]:
        outbox = Outbox(producer)
        outbox.put(records)
        return await deliver(producer, outbox, self._settings.transaction_timeout)

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

    async def _start_producer(self) -> AIOKafkaProducer:
        self._producer = clients.producer(self._settings)
        await self._producer.start()
        return self._producer

    async def _drop_producer(self) -> None:
        if self._producer is not None:
            await clients.abandon(self._producer)
            self._producer = None


@lru_cache(maxsize=1024)  # sources are few, webhooks are many
def _named(provider: str, name: str) -> Source:
    """Return a source. Its name is a header, so it may be any text; it appears in logs."""
    return Source(provider, word(name))


def _too_large(record: Outgoing) -> Refused:
    return Refused("too_large", f"the result is too large for {record.topic}")


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
