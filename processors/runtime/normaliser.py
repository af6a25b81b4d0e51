"""The normaliser: raw bodies to observations and dead letters, at least once.

A round is: poll, normalise, send everything, see every acknowledgement, and only then commit the
offsets. A crash repeats a round, and a repeated observation is harmless: the tracker knows it.

A provider most of whose bodies would become dead letters is left where it is, and the others go on.
"""

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError, OffsetOutOfRangeError

from processors.deadletterlimit import Body, Flood, Limits, Window, judge
from processors.providers.base import Coordinates, Normalised
from processors.runtime import clients, failpoints, metrics
from processors.runtime.intime import InTime, in_time
from processors.runtime.outbox import Outbox
from processors.runtime.publishing import Bodies
from processors.runtime.sending import UnsentError, send
from processors.runtime.spans import raw_record
from schemas.kafka_time import clock
from schemas.records import StatusObservation
from schemas.settings import Settings

log = logging.getLogger(__name__)

Polled = Mapping[TopicPartition, Sequence[ConsumerRecord[bytes, bytes]]]

_POLL_MS = 200
_ROUND = 1000
# What may come of a provider's bodies in a round: a small one that was compressed may hold much.
_MOST_OUT_BYTES = 16 * 1024 * 1024
_RETRY_SECONDS = 1.0
_ASK_SECONDS = 30.0
_FINISH_SECONDS = 5.0
_REMIND_SECONDS = 60.0
_PATIENCE_SECONDS = 5.0


class Normaliser(ConsumerRebalanceListener):
    """One consumer over all raw topics, one producer."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._bodies = Bodies(settings)
        self._consumer = clients.consumer(settings, settings.topics.group("normalise"))
        self._producer: AIOKafkaProducer | None = None
        self._joined = False
        self._trouble = ""
        self._stopping = False
        self._unplaced: set[TopicPartition] = set()
        self._placed: set[TopicPartition] = set()
        self._order: InTime[ConsumerRecord[bytes, bytes]] = InTime(_PATIENCE_SECONDS)
        self._idle = True
        self._windows: dict[str, Window] = {}
        self._floods: dict[str, Flood] = {}
        self._reminded_at = -math.inf

    async def run(self, stop: asyncio.Event) -> None:
        """Normalise until `stop` is set; raises what made going on impossible."""
        work = asyncio.create_task(self._work())
        halt = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([work, halt], return_when=asyncio.FIRST_COMPLETED)
        finally:
            # A round cut off is repeated by whoever comes next, its dead letters too.
            self._stopping = True
            await asyncio.wait([work], timeout=_FINISH_SECONDS)
            work.cancel()
            halt.cancel()
            await asyncio.wait([work])
            await clients.leave(self._consumer)
            await self._drop_producer()
        if not work.cancelled():
            work.result()

    async def _work(self) -> None:
        self._consumer.subscribe(list(self._settings.topics.inputs("normalise")), listener=self)
        await clients.join(self._consumer)
        while not self._stopping:
            await self._round()

    def problems(self) -> list[str]:
        """Why the normaliser is not ready; nothing if it is."""
        floods = [str(flood) for flood in self._floods.values()]
        if self._trouble:
            return [*floods, self._trouble]
        if not self._joined:
            return [*floods, "the consumer group has not assigned partitions yet"]
        if self._unplaced:
            waiting = sorted(tp.partition for tp in self._unplaced)
            return [*floods, f"partitions not ready yet: {waiting}"]
        return floods

    async def broker_topics(self) -> set[str]:
        """Ask the broker for its topics: the sign that it answers."""
        return set(await self._consumer.topics())

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Forget them: whoever gets them repeats what was not committed."""
        del revoked  # eager assignors take all
        self._joined = False
        metrics.partitions.set(0)
        self._placed.clear()
        self._unplaced.clear()
        self._order.clear()

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Note them; they are placed outside the callback, where heartbeats go on."""
        self._unplaced = set(assigned)
        self._joined = True
        self._consumer.pause(*self._unplaced)
        metrics.partitions.set(len(self._unplaced))
        log.info("assigned %d partitions", len(self._unplaced))

    async def _round(self) -> None:
        inputs = self._settings.topics.inputs("normalise")
        clients.refuse_repartitioned(self._consumer, inputs, self._settings.partitions)
        self._remind()
        try:
            await self._place()
            if not self._placed:
                clients.check(self._consumer)
                await asyncio.sleep(_POLL_MS / 1000)
                return
            taken = await self._take()
            if taken:
                await self._process(taken)
            # Nothing may have been polled only because it is still being fetched again.
            if taken or await self._caught_up():
                self._trouble = ""
        except OffsetOutOfRangeError as error:
            partition, offset = next(iter(error.args[0].items()))
            raise await clients.overtaken(self._consumer, partition, offset) from None
        except (UnsentError, KafkaError, TimeoutError, OSError) as error:
            self._trouble = str(error) or type(error).__name__
            log.warning("%s; repeating the round", self._trouble)
            await self._start_over()

    async def _caught_up(self) -> bool:
        """Whether Kafka has said that there is no more to read."""
        for partition in self._placed:
            end = self._consumer.highwater(partition)
            if end is None or await self._consumer.position(partition) < end:
                return False
        return True

    async def _take(self) -> Polled:
        """Read on, and take what is next by its time."""
        if wanted := self._order.wanted():
            # What is in hand is worked on without a wait for more.
            wait = _POLL_MS if self._idle else 0
            self._order.add(
                await self._consumer.getmany(*wanted, timeout_ms=wait, max_records=_ROUND)
            )
        taken = self._order.take(self._consumer.highwater, time.monotonic())
        self._idle = not taken
        return taken

    async def _place(self) -> None:
        """Set newly assigned partitions to where the group stopped; those left alone stay so."""
        self._unplaced = {tp for tp in self._unplaced if self._provider(tp) not in self._floods}
        if not self._unplaced:
            return
        wanted = frozenset(self._unplaced)
        async with asyncio.timeout(_ASK_SECONDS):
            offsets = await clients.start_offsets(self._consumer, wanted)
        # Meanwhile the group may have changed its mind.
        for partition in wanted & self._unplaced:
            self._consumer.seek(partition, offsets[partition])
            self._consumer.resume(partition)
            self._unplaced.discard(partition)
            self._placed.add(partition)
            self._order.place(partition, offsets[partition])

    async def _process(self, polled: Polled) -> None:
        producer = self._producer or await self._start_producer()
        outbox = Outbox(producer, "normalise.after_first_send")
        taken = [
            share
            for provider in sorted({self._provider(partition) for partition in polled})
            if (share := await self._share(provider, polled, Outbox(producer)))
        ]
        if not taken:
            return
        for share in taken:
            outbox.take(share.outbox)
        await send(outbox, self._settings.transaction_timeout)
        failpoints.reach("normalise.before_commit")
        ends = {partition: offset for share in taken for partition, offset in share.ends.items()}
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                await self._consumer.commit(ends)
        except (CommitFailedError, IllegalStateError):
            log.info("the group was rebalanced under way: what is not committed is repeated")
        else:
            failpoints.reach("normalise.after_commit")
            for share in taken:
                self._windows[share.provider] = share.window
                share.tallies.publish()

    async def _share(self, provider: str, polled: Polled, outbox: Outbox) -> "_Share | None":
        """What a provider's bodies of a round amount to; None if they are to be left alone.

        Those past what a round may send are put back, for the next one.
        """
        share = _Share(provider, outbox)
        bodies: list[Body] = []
        own = {tp: records for tp, records in polled.items() if self._provider(tp) == provider}
        for record in in_time(own):
            if share.outbox.size >= _MOST_OUT_BYTES:
                break
            share.ends[TopicPartition(record.topic, record.partition)] = record.offset + 1
            bodies.append(self._normalise(record, share))
            if share.tallies.due():
                await asyncio.sleep(0)
        self._order.put_back(
            {tp: [r for r in own[tp] if r.offset >= share.ends.get(tp, 0)] for tp in own}
        )
        limits = Limits(self._settings.dead_letter_ratio, self._settings.dead_letter_run)
        window = self._windows.get(provider, Window())
        share.window, flood = judge(provider, window, bodies, limits)
        if flood:
            self._leave_alone(flood)
            return None
        return share

    def _normalise(self, record: ConsumerRecord[bytes, bytes], share: "_Share") -> Body:
        raw = raw_record(record)
        result = self._bodies.normalised(raw)
        now = clock.now()
        self._bodies.publish(share.outbox, result.observations, now)
        self._bodies.keep(share.outbox, raw, result.dead_letters, now)
        share.tallies.count(share.provider, result)
        at = Coordinates(record.topic, record.partition, record.offset)
        return Body(at, result.dead_letters[0].code if result.dead_letters else None)

    def _leave_alone(self, flood: Flood) -> None:
        """Stop reading a provider, until a restart: what is committed of it stays as it is."""
        self._floods[flood.provider] = flood
        self._reminded_at = -math.inf
        metrics.stopped.labels(flood.provider).set(1)
        held = {tp for tp in self._placed if self._provider(tp) == flood.provider}
        self._placed -= held
        self._order.forget(held)
        self._consumer.pause(*held)

    def _remind(self) -> None:
        """Say again and again what is left alone: the process lives on, and nobody looks."""
        if self._floods and time.monotonic() - self._reminded_at >= _REMIND_SECONDS:
            self._reminded_at = time.monotonic()
            for flood in self._floods.values():
                log.error("%s", flood)

    def _provider(self, partition: TopicPartition) -> str:
        return self._settings.topics.provider_of(partition.topic)

    async def _start_producer(self) -> AIOKafkaProducer:
        self._producer = clients.producer(self._settings)
        await self._producer.start()
        return self._producer

    async def _drop_producer(self) -> None:
        if self._producer is not None:
            await clients.abandon(self._producer)
            self._producer = None

    async def _start_over(self) -> None:
        """Go back to what is committed, with a new producer."""
        await self._drop_producer()
        self._unplaced |= self._placed
        self._placed.clear()
        self._order.clear()
        await asyncio.sleep(_RETRY_SECONDS)


class Tallies:
    """What a round counted; published once the round is committed, so repeats do not count."""

    _SLICE = 200

    def __init__(self) -> None:
        self._webhooks: Counter[tuple[str, ...]] = Counter()
        self._observations: Counter[tuple[str, ...]] = Counter()
        self._dead_letters: Counter[tuple[str, ...]] = Counter()
        self._ignored: Counter[tuple[str, ...]] = Counter()
        self._since_pause = 0

    def count(self, provider: str, result: Normalised) -> None:
        self._webhooks[provider,] += 1
        self._since_pause += 1 + len(result.observations)
        for observation in result.observations:
            seen = observation.status if isinstance(observation, StatusObservation) else "inbound"
            self._observations[provider, seen] += 1
        for letter in result.dead_letters:
            self._dead_letters[provider, letter.code] += 1
        for event, count in result.ignored.items():
            self._ignored[provider, metrics.event_label(event)] += count

    def due(self) -> bool:
        """Whether it is time to let the event loop's other work, heartbeats above all, run."""
        due = self._since_pause >= self._SLICE
        if due:
            self._since_pause = 0
        return due

    def publish(self) -> None:
        metrics.add(metrics.webhooks, self._webhooks)
        metrics.add(metrics.observations, self._observations)
        metrics.add(metrics.dead_letters, self._dead_letters)
        metrics.add(metrics.ignored, self._ignored)


@dataclass(slots=True)
class _Share:
    """One provider's part of a round; `ends` are the offsets after what was taken."""

    provider: str
    outbox: Outbox
    tallies: Tallies = field(default_factory=Tallies)
    window: Window = field(default_factory=Window)
    ends: dict[TopicPartition, int] = field(default_factory=dict)
