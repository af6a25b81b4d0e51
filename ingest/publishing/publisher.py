"""Webhooks in flight to Kafka: batches shared by all requests, each answered once acknowledged.

A request appends to the open batch of its raw topic. A batch leaves as soon as a slot is free, so
when idle a request is sent at once, and under load batches grow by themselves while earlier ones
are on their way. Idempotence is off on purpose: idempotent sends never time out in aiokafka 0.14,
and duplicates are removed downstream.
"""

import asyncio
import logging
import math
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    BrokerResponseError,
    InvalidTimestampError,
    KafkaError,
    MessageSizeTooLargeError,
    NoError,
    RequestTimedOutError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.metadata import MetadataRequest

from ingest.admission import Cause, Rejected
from ingest.publishing.topic_batches import (
    REFUSED_SECONDS,
    STALE_SECONDS,
    Batch,
    Blame,
    Lane,
    Waiting,
)
from ingest.reception_time import Reading, corrected, stamp
from schemas.webhook import RawWebhook
from service.background_tasks import described, lasting
from service.errors import Problem, cut_differently, missing, unreachable
from service.kafka import clients, clock_offset
from service.kafka.clock import clock, running
from service.kafka.connections import adopt, adopt_producer
from service.settings import Settings

# One batch, before compression, in bytes: far below the broker's 1 MiB, far above its overhead.
BATCH_BYTES = 512 * 1024

# Overdue requests are looked for, and Kafka is asked whether it is there, so often.
SWEEP_SECONDS = 0.05
WATCH_SECONDS = 1.0

# Longest wait for Kafka's word that it is there, and for its farewell. A single request has less,
# so that aiokafka closes a connection that is dead, and the next look opens another.
_ANSWER_SECONDS = 1.0
_REQUEST_MS = 800
_CLOSE_SECONDS = 1.0

_MOST_REFUSALS = 2  # of a batch, for the time of its records

_NOT_CONNECTED = "Kafka answers, but ingest is not connected to it yet"

_log = logging.getLogger(__name__)


class Publisher:
    """Puts raw webhooks on Kafka; bounded in requests, bytes and seconds.

    `start` and `stop` once, on the event loop that also calls `publish`.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._watch = _Watch(settings)
        self._lanes = {
            provider: Lane(settings.topics.raw(provider), settings.partitions)
            for provider in settings.topics.providers
        }
        self._requests = 0
        self._bytes = 0
        self._flush_due = False
        self._last_call: float | None = None
        self._producer: AIOKafkaProducer | None = None
        self._heard_at = 0.0
        self._refused_at = -math.inf
        self._silent = False
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def problem(self) -> str | None:
        """Why webhooks cannot be published now, in one sentence; None while they can."""
        if self._watch.problem:
            return self._watch.problem
        if self._producer is None:
            return _NOT_CONNECTED
        return self._untimely or next(filter(None, map(self._refusal, self._lanes.values())), None)

    @property
    def trouble(self) -> str | None:
        """Why webhooks are not acknowledged, as far as that is known; None while they are."""
        if self._watch.problem:
            return self._watch.problem
        if self._producer is None:
            return _NOT_CONNECTED
        for lane in self._lanes.values():
            if lane.refused:
                return _not_taken(lane)
        return f"Kafka has acknowledged nothing for {STALE_SECONDS} s" if self._silent else None

    @property
    def away(self) -> bool:
        """Whether Kafka acknowledges nothing: from a while in vain until the next success."""
        return self._silent or self._producer is None

    @property
    def _untimely(self) -> str | None:
        """That Kafka has refused webhooks for their time: for a while, as only a try tells more."""
        lately = self._loop.time() - self._refused_at < REFUSED_SECONDS
        return clock_offset.refused_time(clock.known()) if lately else None

    def _refusal(self, lane: Lane) -> str | None:
        """That Kafka answers, but takes nothing of a topic: lately, as only a try tells more."""
        refuses = lane.refuses_all(self._loop.time(), self._watch.wrong_at)
        return _not_taken(lane) if refuses else None

    @property
    def in_flight(self) -> int:
        """Webhooks on their way to Kafka, also those whose senders have been answered."""
        return self._requests

    @property
    def in_flight_bytes(self) -> int:
        return self._bytes

    async def start(self, *, patient: bool = False) -> None:
        """Connect, or raise `Problem`: no answer, or a raw topic missing or of the wrong shape.

        If `patient`, Kafka need not answer yet, nor have the topics: it is tried until it does.
        """
        _quieten()
        self._loop = asyncio.get_running_loop()
        try:
            await self._watch.start(patient=patient)
            if self._watch.problem is None:
                with suppress(*([Problem] if patient else [])):
                    self._producer = await self._connect()
        except BaseException:
            await self._watch.stop()
            raise
        self._tasks = [lasting("the sweep", self._sweep), lasting("the mending", self._mend)]

    def close(self, seconds: float) -> None:
        """Take nothing more from now on; what is on its way has at most so many seconds left."""
        self._last_call = self._loop.time() + seconds

    async def stop(self) -> None:
        """Give up what is still on its way, and disconnect; bounded to a few seconds."""
        self.close(0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for lane in self._lanes.values():
            while lane.queue:
                self._settle(lane.queue.popleft(), "shutting-down")
        await self._give_up()
        await self._watch.stop()

    def publish(self, webhook: RawWebhook) -> asyncio.Future[None]:
        """Send a webhook; the future is done once Kafka acknowledged it, or raises `Rejected`.

        Raises `Rejected` at once when too much is on its way already.
        """
        settings = self._settings
        if self._last_call is not None:
            raise Rejected("shutting-down")
        if self._producer is None:
            raise Rejected("not-durable")
        if self._requests >= settings.max_in_flight or (
            self._bytes + len(webhook.body) > settings.max_in_flight_bytes
        ):
            raise Rejected("overloaded")
        deadline = self._loop.time() + settings.publish_deadline
        waiting = Waiting(webhook, deadline, self._loop.create_future())
        lane = self._lanes.get(webhook.provider)
        if lane is None:  # spooled by a Bluetick that knew more providers
            waiting.refuse("not-durable")
            return waiting.answer
        self._enqueue(self._producer, lane, waiting)
        self._requests += 1
        self._bytes += len(webhook.body)
        self._flush_soon()
        return waiting.answer

    @staticmethod
    def _enqueue(producer: AIOKafkaProducer, lane: Lane, waiting: Waiting) -> None:
        if not lane.queue or not lane.queue[-1].append(waiting):
            lane.queue.append(Batch(producer.create_batch()))
            lane.queue[-1].append(waiting)

    def _flush_soon(self) -> None:
        """Flush once this round of the event loop has heard all its requests."""
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        producer = self._producer
        if producer is None:
            return
        now = self._loop.time()
        for lane in self._lanes.values():
            while lane.queue and lane.has_slot(now):
                led = producer.client.cluster.available_partitions_for_topic(lane.topic)
                partition = lane.next_partition(led or set())
                if partition is None:
                    break
                batch = lane.sent[partition] = lane.queue.popleft()
                batch.sent_at = now
                batch.task = asyncio.create_task(self._send(producer, lane, partition, batch))
                batch.task.add_done_callback(partial(self._sent, lane, partition))

    async def _send(
        self, producer: AIOKafkaProducer, lane: Lane, partition: int, batch: Batch
    ) -> Cause | None:
        """None once Kafka has the batch, or why it must be refused."""
        try:
            sent = await producer.send_batch(batch.builder, lane.topic, partition=partition)
            await sent
        except MessageSizeTooLargeError as error:
            self._heard()
            self._failed(lane, batch, error, "batch")
            self._split(producer, lane, batch)
        except InvalidTimestampError:
            self._heard()
            await self._restamp(producer, lane, batch)
        except KafkaError as error:
            silent = isinstance(error, RequestTimedOutError) or not isinstance(
                error, BrokerResponseError
            )
            self._failed(lane, batch, error, "silence" if silent else "answer")
            _log.warning("%s: a batch is not acknowledged: %s", lane.topic, type(error).__name__)
        else:
            return None
        return "not-durable"

    def _failed(self, lane: Lane, batch: Batch, error: KafkaError, blame: Blame) -> None:
        lane.fail(type(error).__name__, blame, batch.sent_at, self._loop.time())

    def _sent(self, lane: Lane, partition: int, task: asyncio.Task[Cause | None]) -> None:
        """A batch is over, well or not: also when its task was cancelled before it began."""
        cause: Cause | None = "not-durable"
        if not task.cancelled():
            error = task.exception()
            if error is None:
                cause = task.result()
            else:
                _log.error("%s: a batch could not be sent (%s)", lane.topic, described(error))
        if cause is None:
            self._heard()
            lane.acknowledge(self._loop.time())
        self._settle(lane.sent.pop(partition), cause)
        self._flush_soon()

    def _heard(self) -> None:
        """Kafka has acknowledged something, or said that it is too large."""
        self._heard_at = self._loop.time()
        if self._silent:
            self._silent = False
            _log.warning("Kafka acknowledges again")

    def _listen(self, now: float) -> None:
        """Notice that Kafka acknowledges nothing, though something has been on its way."""
        sent = [batch.sent_at for lane in self._lanes.values() for batch in lane.sent.values()]
        if sent and not self._silent and now - max(self._heard_at, min(sent)) > STALE_SECONDS:
            self._silent = True
            _log.warning("Kafka has acknowledged nothing for %s s", STALE_SECONDS)

    def _split(self, producer: AIOKafkaProducer, lane: Lane, batch: Batch) -> None:
        """The broker takes less at a time than it should: halve the batch, to spare the others.

        A record too large by itself stays in its batch, and is refused with it.
        """
        _log.error(
            "%s: the broker refuses %d records at a time as too large; raise max.message.bytes",
            lane.topic,
            len(batch.waiting),
        )
        middle = len(batch.waiting) // 2
        if middle:
            for half in (batch.waiting[middle:], batch.waiting[:middle]):
                smaller = Batch(producer.create_batch())
                for waiting in half:
                    smaller.append(waiting)
                lane.queue.appendleft(smaller)
            batch.waiting = []

    async def compare_clocks(self) -> None:
        """Ask for Kafka's time now."""
        await clock.compare(self._settings)

    async def by_kafkas_clock(self, webhooks: Sequence[RawWebhook]) -> list[RawWebhook]:
        """The webhooks, received when they were by Kafka's clock, if that can be known."""
        await clock.ensure(self._settings)
        if not clock.compared:
            return list(webhooks)
        reading = Reading(clock.now(), running())
        return [corrected(one, reading) for one in webhooks]

    async def _restamp(self, producer: AIOKafkaProducer, lane: Lane, batch: Batch) -> None:
        """Kafka refuses a record's time: send the batch again with times that it can take.

        If Kafka's time is not known, or is refused as well, the batch is refused.
        """
        if batch.refusals == 0:
            await clock.compare(self._settings)
        if not clock.compared or batch.refusals >= _MOST_REFUSALS:
            self._refused_at = self._loop.time()
            _log.error("%s: %s", lane.topic, clock_offset.refused_time(clock.known()))
            return
        reading = Reading(clock.now(), running())
        batches: list[Batch] = []
        for waiting in batch.waiting:
            waiting.webhook = corrected(waiting.webhook, reading)
            waiting.stamp = stamp(waiting.webhook.received_at, reading.now, batch.refusals + 1)
            if not batches or not batches[-1].append(waiting):
                batches.append(Batch(producer.create_batch()))
                batches[-1].append(waiting)
        for again in reversed(batches):
            again.refusals = batch.refusals + 1
            lane.queue.appendleft(again)
        batch.waiting = []

    def _settle(self, batch: Batch, cause: Cause | None) -> None:
        """Answer all requests of a batch that is over: acknowledged (None), or refused."""
        for waiting in batch.waiting:
            self._requests -= 1
            self._bytes -= len(waiting.webhook.body)
            if cause is not None:
                waiting.refuse(cause)
            elif not waiting.answer.done():
                waiting.answer.set_result(None)

    async def _sweep(self) -> None:
        """Refuse what is overdue: one timer for all requests."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = self._loop.time()
            over = self._last_call is not None and now >= self._last_call
            self._listen(now)
            for lane in self._lanes.values():
                for batch in (*lane.sent.values(), *lane.queue):
                    for waiting in batch.waiting:
                        if waiting.deadline > now and not over:
                            break
                        waiting.refuse("not-durable")
                # Nobody waits for these any more: their senders were told to send them again.
                while lane.queue and lane.queue[0].waiting[-1].answer.done():
                    self._settle(lane.queue.popleft(), "not-durable")
            self._flush_soon()

    async def _mend(self) -> None:
        """Connect if we are not; replace a producer whose sender died: it would fail for ever."""
        while True:
            # Asked for topics that are missing, Kafka might create them, with other settings.
            if self._producer is None and not self._watch.missing:
                with suppress(Problem):
                    self._producer = await self._connect()
            if self._producer is None:
                await asyncio.sleep(WATCH_SECONDS)
                continue
            await clients.broken(self._producer)
            _log.error("the Kafka producer died; starting another one")
            await self._give_up()

    async def _give_up(self) -> None:
        """Disconnect, and end the batches on their way: whether they arrive stays unknown."""
        producer, self._producer = self._producer, None
        if producer:
            await clients.abandon(producer, flush_seconds=_CLOSE_SECONDS)
        batches = [batch for lane in self._lanes.values() for batch in lane.sent.values()]
        tasks = [batch.task for batch in batches if batch.task]
        if tasks:
            _, pending = await asyncio.wait(tasks, timeout=_CLOSE_SECONDS)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def _connect(self) -> AIOKafkaProducer:
        deadline = self._settings.publish_deadline
        producer = AIOKafkaProducer(
            **self._settings.kafka_options(),
            acks="all",
            enable_idempotence=False,
            compression_type="zstd",
            max_batch_size=BATCH_BYTES,
            request_timeout_ms=round(deadline * 1000),
        )
        adopt_producer(producer, connect_seconds=deadline)
        try:
            await producer.start()
            for lane in self._lanes.values():
                await producer.partitions_for(lane.topic)
        except BaseException as error:
            await clients.abandon(producer, flush_seconds=_CLOSE_SECONDS)
            if isinstance(error, KafkaError):
                raise unreachable(self._settings.kafka) from error
            raise
        return producer


class _Watch:
    """Asks Kafka every second whether it is there and has the raw topics as they should be.

    It has a connection of its own: a metadata request on the producer's would wait behind bodies.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._expected = dict.fromkeys(settings.topics.raw_topics, settings.partitions)
        self._client: Any = None
        self._node: Any = None
        self._task: asyncio.Task[None] | None = None
        self.problem: str | None = "Kafka was not asked yet"
        self.silent = True
        self.missing = False
        self.wrong_at = -math.inf  # when it last found a problem

    async def start(self, *, patient: bool) -> None:
        """Look once, or raise `Problem`; then keep looking.

        If `patient`, neither silence nor a missing topic is a problem.
        """
        try:
            self._client = AIOKafkaClient(
                **self._settings.kafka_options(), request_timeout_ms=_REQUEST_MS
            )
            adopt(self._client, connect_seconds=_REQUEST_MS / 1000, answer_seconds=None)
            self.problem = await self._look()
        except ValueError as error:
            raise Problem("kafka_settings", why=str(error)) from error
        if self.problem and not (patient and (self.silent or self.missing)):
            raise Problem("kafka_not_ready", why=self.problem)
        self._task = lasting("the watch", self._keep_looking)

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._client:
            await self._client.close()

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            self.problem = await self._look()
            if self.problem:
                self.wrong_at = asyncio.get_running_loop().time()

    async def _look(self) -> str | None:
        """What is wrong, in one sentence, within about a second for each broker that hangs."""
        self.silent = False
        if not self._client.cluster.brokers():
            with suppress(KafkaError):
                await self._client.bootstrap()
        brokers = [broker.nodeId for broker in self._client.cluster.brokers()]
        # The one that answered last is asked first, so that a dead one beside it does not matter.
        for node in sorted(brokers, key=lambda node: node != self._node):
            with suppress(KafkaError, OSError, TimeoutError):
                async with asyncio.timeout(_ANSWER_SECONDS):
                    problem = await self._ask(node)
                self._node = node
                return problem
        self.silent = True
        return str(unreachable(self._settings.kafka))

    async def _ask(self, node: Any) -> str | None:
        """What this broker says of the raw topics; asking must not create them."""
        request = MetadataRequest(list(self._expected), allow_auto_topic_creation=False)
        answer = await self._client.send(node, request)
        codes = [for_code(code) for code, *_ in answer.topics]
        self.missing = UnknownTopicOrPartitionError in codes
        problems = (
            self._compare(topic, for_code(code), len(partitions))
            for code, topic, _, partitions in answer.topics
        )
        return next(filter(None, problems), None)

    def _compare(self, topic: str, error: type[BrokerResponseError], count: int) -> str | None:
        if error is UnknownTopicOrPartitionError:
            return missing(topic)
        if error is not NoError:
            return f"Kafka says {error.__name__} of the topic {topic}"
        if count != self._expected[topic]:
            return cut_differently(topic, count, self._expected[topic])
        return None


def _not_taken(lane: Lane) -> str:
    return f"Kafka does not take what goes to {lane.topic} ({lane.refused})"


def _quieten() -> None:
    """At DEBUG aiokafka would log whole requests, bodies included."""
    logger = logging.getLogger("aiokafka")
    logger.setLevel(max(logger.level, logging.INFO))
