"""The normaliser: raw bodies to observations and dead letters, at least once.

A round is: poll, normalise, send everything, see every acknowledgement, and only then commit the
offsets. A crash repeats a round, and a repeated observation is harmless: the tracker knows it.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from aiokafka import AIOKafkaProducer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError, OffsetOutOfRangeError

from processors.normalise import normalise
from processors.providers.base import Coordinates, Normalised
from processors.runtime import clients, failpoints, metrics
from processors.runtime.deadletters import headers as dead_letter_headers
from processors.runtime.intime import InTime, in_time
from processors.runtime.outbox import Outbox
from schemas.codec import encode
from schemas.problem import Problem
from schemas.records import StatusObservation, record_keys
from schemas.settings import Settings
from schemas.topics import partition_of
from schemas.webhook import from_record

log = logging.getLogger(__name__)

Polled = Mapping[TopicPartition, Sequence[ConsumerRecord[bytes, bytes]]]

_POLL_MS = 200
_ROUND = 1000
_RETRY_SECONDS = 1.0
_ASK_SECONDS = 30.0
_FINISH_SECONDS = 5.0
_PATIENCE_SECONDS = 5.0


class Normaliser(ConsumerRebalanceListener):
    """One consumer over all raw topics, one producer."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._consumer = clients.consumer(settings, settings.topics.group("normalise"))
        self._producer: AIOKafkaProducer | None = None
        self._joined = False
        self._trouble = ""
        self._stopping = False
        self._unplaced: set[TopicPartition] = set()
        self._placed: set[TopicPartition] = set()
        self._order: InTime[ConsumerRecord[bytes, bytes]] = InTime(_PATIENCE_SECONDS)
        self._idle = True

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
        if self._trouble:
            return [self._trouble]
        if not self._joined:
            return ["the consumer group has not assigned partitions yet"]
        if self._unplaced:
            return [f"partitions not ready yet: {sorted(tp.partition for tp in self._unplaced)}"]
        return []

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
        try:
            await self._place()
            if not self._placed:
                clients.check(self._consumer)
                await asyncio.sleep(_POLL_MS / 1000)
                return
            taken = await self._take()
            if taken:
                await self._process(taken)
            self._trouble = ""
        except OffsetOutOfRangeError as error:
            partition, offset = next(iter(error.args[0].items()))
            raise Problem(clients.overtaken(partition, offset)) from None
        except (KafkaError, TimeoutError, OSError) as error:
            self._trouble = str(error) or type(error).__name__
            log.warning("%s; repeating the round", self._trouble)
            await self._start_over()

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
        """Set newly assigned partitions to where the group stopped."""
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
        tallies = Tallies()
        for record in in_time(polled):
            self._normalise(record, outbox, tallies)
            if tallies.due():
                await asyncio.sleep(0)
        async with asyncio.timeout(self._settings.transaction_timeout):
            await outbox.send()
        failpoints.reach("normalise.before_commit")
        ends = {partition: records[-1].offset + 1 for partition, records in polled.items()}
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                await self._consumer.commit(ends)
        except (CommitFailedError, IllegalStateError):
            log.info("the group was rebalanced under way: what is not committed is repeated")
        else:
            failpoints.reach("normalise.after_commit")
            tallies.publish()

    def _normalise(
        self, record: ConsumerRecord[bytes, bytes], outbox: Outbox, tallies: "Tallies"
    ) -> None:
        topics = self._settings.topics
        provider = topics.provider_of(record.topic)
        webhook = from_record(provider, record.value, record.headers, record.timestamp)
        result = normalise(webhook, Coordinates(record.topic, record.partition, record.offset))
        now = round(time.time() * 1000)
        for observation in result.observations:
            value = encode(observation)
            for key in record_keys(observation):
                partition = partition_of(key, self._settings.partitions)
                outbox.add(
                    topics.observations, partition, key=key.encode(), value=value, timestamp=now
                )
        for letter in result.dead_letters:
            outbox.add(
                topics.dead_letters,
                record.partition,
                key=None,
                value=letter.value,
                timestamp=now,
                headers=dead_letter_headers(letter, record),
            )
        tallies.count(provider, result)

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
