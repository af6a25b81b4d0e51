"""The publisher of webhooks: batches shared by all requests, each answered once acknowledged.

A request appends to the open batch of its raw topic. A batch is sent as soon as a slot is free, a
small one after a rest. When idle, a request is therefore sent at once; under load, batches grow
while earlier ones are in flight. Idempotence is off on purpose: idempotent sends never time out in
aiokafka 0.14, and the tracker removes duplicates.
"""

import asyncio
import logging
import math
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    BrokerResponseError,
    InvalidTimestampError,
    KafkaError,
    MessageSizeTooLargeError,
    RequestTimedOutError,
    TopicAuthorizationFailedError,
)

from ingest.accept_webhook import Cause, Rejected
from ingest.publishing.topic_batches import (
    REFUSED_SECONDS,
    STALE_SECONDS,
    Batch,
    Blame,
    PendingWebhook,
    TopicQueue,
)
from ingest.publishing.topic_check import CHECK_SECONDS, TopicCheck
from ingest.reception_time import Reading, corrected, stamp
from schemas.webhook import RawWebhook
from service.background_tasks import lasting
from service.errors import Problem, described
from service.kafka import clients, clock_offset
from service.kafka.clock import clock, running
from service.kafka.connections import adopt_producer
from service.kafka.failures import diagnosed, reporter, right_missing
from service.kafka.login import options
from service.logger import logger
from service.settings import Settings

# One batch, before compression, in bytes: far below the broker's 1 MiB, far above its overhead.
BATCH_BYTES = 512 * 1024

# The interval of the check for overdue requests.
EXPIRY_SECONDS = 0.05

# The longest wait for the end of the producer.
_CLOSE_SECONDS = 1.0

_MOST_REFUSALS = 2  # of a batch, because of its records' time

_NOT_CONNECTED = "Kafka answers, but ingest is not connected to it yet"

_log = logger(__name__)


class Publisher:
    """Publishes raw webhooks to Kafka, bounded in requests, bytes and seconds.

    Call `start` and `stop` once, on the event loop that also calls `publish`.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._check = TopicCheck(settings)
        self._queues = {
            provider: TopicQueue(settings.topics.raw(provider), settings.partitions)
            for provider in settings.topics.providers
        }
        self._requests = 0
        self._bytes = 0
        self._flush_due = False
        self._rest: asyncio.Handle | None = None
        self._rests_until = math.inf
        self._closes_at: float | None = None
        self._producer: AIOKafkaProducer | None = None
        self._last_acknowledgement = 0.0
        self._refused_at = -math.inf
        self._silent = False
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def problem(self) -> str | None:
        """The reason why webhooks cannot be published now, in one sentence; None while they can."""
        if self._check.problem:
            return self._check.problem
        if self._producer is None:
            return _NOT_CONNECTED
        return self._time_refusal or next(
            filter(None, map(self._topic_refusal, self._queues.values())), None
        )

    @property
    def failure(self) -> str | None:
        """The known reason why Kafka does not acknowledge webhooks; None while it does."""
        if self._check.problem:
            return self._check.problem
        if self._producer is None:
            return _NOT_CONNECTED
        for queue in self._queues.values():
            if queue.refused:
                return self._refused_topic(queue)
        return f"Kafka has acknowledged nothing for {STALE_SECONDS} s" if self._silent else None

    @property
    def unavailable(self) -> bool:
        """Whether Kafka acknowledges nothing: since `STALE_SECONDS` of silence, until a success."""
        return self._silent or self._producer is None

    @property
    def connected(self) -> bool:
        """Whether there is a connection to a broker now."""
        return self._producer is not None and clients.connected(self._producer)

    @property
    def _time_refusal(self) -> str | None:
        """The sentence about a recent refusal because of the records' time; else None."""
        lately = self._loop.time() - self._refused_at < REFUSED_SECONDS
        return clock_offset.refused_time(clock.known()) if lately else None

    def _topic_refusal(self, queue: TopicQueue) -> str | None:
        """The sentence about a topic whose records Kafka has recently refused; else None."""
        refuses = queue.refuses_all(self._loop.time(), self._check.failed_at)
        return self._refused_topic(queue) if refuses else None

    def _right_missing(self, queue: TopicQueue) -> Problem | None:
        """Return the right that Kafka's last refusal says is missing; None if it is another one."""
        if queue.refused != TopicAuthorizationFailedError.__name__:
            return None
        return right_missing(self._settings, TopicAuthorizationFailedError(queue.topic))

    def _refused_topic(self, queue: TopicQueue) -> str:
        if denied := self._right_missing(queue):
            return str(denied)
        return f"Kafka does not accept the records for {queue.topic} ({queue.refused})"

    @property
    def in_flight(self) -> int:
        """The number of webhooks in flight to Kafka, including those already answered."""
        return self._requests

    @property
    def in_flight_bytes(self) -> int:
        """The size of the bodies in flight, in bytes."""
        return self._bytes

    async def start(self, *, patient: bool = False) -> None:
        """Connect; raises `Problem` without an answer, or if a raw topic is missing or wrong.

        If `patient`, Kafka may be unavailable and topics may be missing: the publisher retries.
        """
        _limit_client_log()
        self._loop = asyncio.get_running_loop()
        try:
            await self._check.start(patient=patient)
            if self._check.problem is None:
                with suppress(*([Problem] if patient else [])):
                    self._producer = await self._connect()
        except BaseException:
            await self._check.stop()
            raise
        self._tasks = [
            lasting("the check of deadlines", self._expire),
            lasting("the Kafka connection", self._keep_connected),
        ]

    def close(self, seconds: float) -> None:
        """Refuse new webhooks; those in flight have at most `seconds` left."""
        self._closes_at = self._loop.time() + seconds

    async def stop(self) -> None:
        """Refuse the webhooks still in flight and disconnect, within a few seconds."""
        self.close(0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for queue in self._queues.values():
            while queue.queued:
                self._answer(queue.queued.popleft(), "shutting-down")
        await self._disconnect()
        await self._check.stop()

    def publish(self, webhook: RawWebhook) -> asyncio.Future[None]:
        """Send a webhook; the future ends once Kafka acknowledges it, or with `Rejected`.

        Raises `Rejected` at once if too many webhooks or bytes are in flight.
        """
        settings = self._settings
        if self._closes_at is not None:
            raise Rejected("shutting-down")
        if self._producer is None:
            raise Rejected("not-durable")
        if self._requests >= settings.max_in_flight or (
            self._bytes + len(webhook.body) > settings.max_in_flight_bytes
        ):
            raise Rejected("overloaded")
        deadline = self._loop.time() + settings.publish_deadline
        pending = PendingWebhook(webhook, deadline, self._loop.create_future())
        queue = self._queues.get(webhook.provider)
        if queue is None:  # spooled by a version with more providers
            pending.refuse("not-durable")
            return pending.answer
        self._enqueue(self._producer, queue, pending)
        self._requests += 1
        self._bytes += len(webhook.body)
        self._flush_soon()
        return pending.answer

    @staticmethod
    def _enqueue(producer: AIOKafkaProducer, queue: TopicQueue, pending: PendingWebhook) -> None:
        if not queue.queued or not queue.queued[-1].append(pending):
            queue.queued.append(Batch(producer.create_batch()))
            queue.queued[-1].append(pending)

    def _flush_soon(self) -> None:
        """Flush after the callbacks that are ready in this iteration of the event loop."""
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        producer = self._producer
        if producer is None:
            return
        now = self._loop.time()
        for queue in self._queues.values():
            while queue.queued and queue.has_slot(now):
                until = queue.rests_until(len(queue.queued[0].pending))
                if until > now:
                    self._flush_at(until)
                    break
                partition = queue.next_partition(_leaders(producer, queue.topic), now)
                if partition is None:
                    break
                batch = queue.sent[partition] = queue.queued.popleft()
                batch.sent_at = now
                batch.task = asyncio.create_task(self._send(producer, queue, partition, batch))
                batch.task.add_done_callback(partial(self._sent, queue, partition))

    def _flush_at(self, when: float) -> None:
        """Flush at this time of the event loop, or before if that is due anyway."""
        if self._rests_until <= when:
            return
        if self._rest is not None:
            self._rest.cancel()
        # uvloop returns a handle without a time if the wait is below a millisecond.
        self._rest, self._rests_until = self._loop.call_at(when, self._rested), when

    def _rested(self) -> None:
        self._rest, self._rests_until = None, math.inf
        self._flush()

    async def _send(
        self, producer: AIOKafkaProducer, queue: TopicQueue, partition: int, batch: Batch
    ) -> Cause | None:
        """Send a batch; returns None once Kafka has it, or the cause of its refusal."""
        try:
            sent = await producer.send_batch(batch.builder, queue.topic, partition=partition)
            await sent
        except MessageSizeTooLargeError as error:
            self._note_answer()
            self._failed(queue, batch, error, "batch")
            self._split(producer, queue, batch)
        except InvalidTimestampError:
            self._note_answer()
            await self._restamp(producer, queue, batch)
        except KafkaError as error:
            silent = isinstance(error, RequestTimedOutError) or not isinstance(
                error, BrokerResponseError
            )
            self._failed(queue, batch, error, "silence" if silent else "answer")
            if denied := self._right_missing(queue):
                reporter.refused(denied)
                _log.error("kafka_unusable", message=str(denied), code=denied.code)
            why = type(error).__name__
            _log.warning(
                "batch_not_acknowledged", topic=queue.topic, partition=partition, error=why
            )
        else:
            return None
        return "not-durable"

    def _failed(self, queue: TopicQueue, batch: Batch, error: KafkaError, blame: Blame) -> None:
        queue.fail(type(error).__name__, blame, batch.sent_at, self._loop.time())

    def _sent(self, queue: TopicQueue, partition: int, task: asyncio.Task[Cause | None]) -> None:
        """Finish a batch whose task ended, including one that was cancelled before it began."""
        cause: Cause | None = "not-durable"
        if not task.cancelled():
            error = task.exception()
            if error is None:
                cause = task.result()
            else:
                _log.error(
                    "batch_failed",
                    topic=queue.topic,
                    partition=partition,
                    error=described(error),
                    exc_info=error,
                )
        if cause is None:
            self._note_answer()
            queue.acknowledge(queue.sent[partition].sent_at, self._loop.time())
        self._answer(queue.sent.pop(partition), cause)
        self._flush_soon()

    def _note_answer(self) -> None:
        """Record that Kafka has answered a batch: acknowledged it, or refused its size or time."""
        self._last_acknowledgement = self._loop.time()
        if self._silent:
            self._silent = False
            _log.warning("kafka_acknowledges")

    def _check_silence(self, now: float) -> None:
        """Detect that Kafka acknowledges nothing although batches are in flight."""
        sent = [batch.sent_at for queue in self._queues.values() for batch in queue.sent.values()]
        if (
            sent
            and not self._silent
            and now - max(self._last_acknowledgement, min(sent)) > STALE_SECONDS
        ):
            self._silent = True
            _log.warning("kafka_silent", seconds=STALE_SECONDS)

    def _split(self, producer: AIOKafkaProducer, queue: TopicQueue, batch: Batch) -> None:
        """Halve a batch that the broker refuses as too large, so that its other records are sent.

        A record that is too large by itself stays in its batch and is refused.
        """
        _log.error("batch_too_large", topic=queue.topic, bodies=len(batch.pending))
        middle = len(batch.pending) // 2
        if middle:
            for half in (batch.pending[middle:], batch.pending[:middle]):
                smaller = Batch(producer.create_batch())
                for pending in half:
                    smaller.append(pending)
                queue.queued.appendleft(smaller)
            batch.pending = []

    async def compare_clocks(self) -> None:
        """Compare this machine's clock with Kafka's now."""
        await clock.compare(self._settings)

    async def with_kafka_time(self, webhooks: Sequence[RawWebhook]) -> list[RawWebhook]:
        """Return the webhooks with reception times by Kafka's clock, if Kafka's time is known."""
        await clock.ensure(self._settings)
        if not clock.compared:
            return list(webhooks)
        reading = Reading(clock.now(), running())
        return [corrected(one, reading) for one in webhooks]

    async def _restamp(self, producer: AIOKafkaProducer, queue: TopicQueue, batch: Batch) -> None:
        """Queue a batch again with corrected times, after Kafka has refused the time of a record.

        If Kafka's time is unknown or is refused too, the batch is refused.
        """
        if batch.refusals == 0:
            await clock.compare(self._settings)
        if not clock.compared or batch.refusals >= _MOST_REFUSALS:
            self._refused_at = self._loop.time()
            refused = clock_offset.refused_time(clock.known())
            _log.error("time_refused", topic=queue.topic, reason=refused)
            return
        reading = Reading(clock.now(), running())
        batches: list[Batch] = []
        for pending in batch.pending:
            pending.webhook = corrected(pending.webhook, reading)
            pending.stamp = stamp(pending.webhook.received_at, reading.now, batch.refusals + 1)
            if not batches or not batches[-1].append(pending):
                batches.append(Batch(producer.create_batch()))
                batches[-1].append(pending)
        for again in reversed(batches):
            again.refusals = batch.refusals + 1
            queue.queued.appendleft(again)
        batch.pending = []

    def _answer(self, batch: Batch, cause: Cause | None) -> None:
        """Answer all requests of a finished batch: acknowledged (`cause` is None) or refused."""
        for pending in batch.pending:
            self._requests -= 1
            self._bytes -= len(pending.webhook.body)
            if cause is not None:
                pending.refuse(cause)
            elif not pending.answer.done():
                pending.answer.set_result(None)

    async def _expire(self) -> None:
        """Refuse overdue requests: one timer for all of them."""
        while True:
            await asyncio.sleep(EXPIRY_SECONDS)
            now = self._loop.time()
            over = self._closes_at is not None and now >= self._closes_at
            self._check_silence(now)
            for queue in self._queues.values():
                for batch in (*queue.sent.values(), *queue.queued):
                    for pending in batch.pending:
                        if pending.deadline > now and not over:
                            break
                        pending.refuse("not-durable")
                # All requests of these batches have been answered 503 already.
                while queue.queued and queue.queued[0].pending[-1].answer.done():
                    self._answer(queue.queued.popleft(), "not-durable")
            self._flush_soon()

    async def _keep_connected(self) -> None:
        """Connect if there is no producer; replace one whose sender task died."""
        while True:
            # A request for missing topics might make Kafka create them, with other settings.
            if self._producer is None and not self._check.missing:
                with suppress(Problem):
                    self._producer = await self._connect()
            if self._producer is None:
                await asyncio.sleep(CHECK_SECONDS)
                continue
            await clients.broken(self._producer)
            _log.error("producer_died")
            await self._disconnect()

    async def _disconnect(self) -> None:
        """Disconnect and end the batches in flight; whether Kafka has stored them is unknown."""
        producer, self._producer = self._producer, None
        if producer:
            await clients.abandon(producer, flush_seconds=_CLOSE_SECONDS)
        batches = [batch for queue in self._queues.values() for batch in queue.sent.values()]
        tasks = [batch.task for batch in batches if batch.task]
        if tasks:
            _, pending = await asyncio.wait(tasks, timeout=_CLOSE_SECONDS)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def _connect(self) -> AIOKafkaProducer:
        deadline = self._settings.publish_deadline
        producer = AIOKafkaProducer(
            **options(self._settings),
            acks="all",
            enable_idempotence=False,
            compression_type="zstd",
            max_batch_size=BATCH_BYTES,
            request_timeout_ms=round(deadline * 1000),
        )
        adopt_producer(producer, connect_seconds=deadline)
        try:
            await producer.start()
            for queue in self._queues.values():
                await producer.partitions_for(queue.topic)
        except BaseException as error:
            await clients.abandon(producer, flush_seconds=_CLOSE_SECONDS)
            if isinstance(error, KafkaError):
                raise await diagnosed(self._settings, error) from error
            raise
        return producer


def _leaders(producer: AIOKafkaProducer, topic: str) -> dict[int, int]:
    """Return the broker that leads each partition of a topic, of those that have a leader."""
    cluster = producer.client.cluster
    led = cluster.available_partitions_for_topic(topic) or ()
    return {number: cluster.leader_for_partition(TopicPartition(topic, number)) for number in led}


def _limit_client_log() -> None:
    """Keep aiokafka above DEBUG, where it logs whole requests, including bodies."""
    logger = logging.getLogger("aiokafka")
    logger.setLevel(max(logger.level, logging.INFO))
