"""Outgoing records: gathered into Kafka batches, sent together, each acknowledgement checked."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidTimestampError,
    KafkaError,
    MessageSizeTooLargeError,
    NotEnoughReplicasAfterAppendError,
    NotEnoughReplicasError,
    OutOfOrderSequenceNumber,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import RecordMetadata
from msgspec import Struct

from processors.runtime import failpoints
from processors.runtime.raw_record import RawRecord
from service.kafka.clock import clock
from service.kafka.clock_offset import refused_time
from service.problem_sentences import CREATE_TOPICS, sentence

# Closing a batch compresses it: after this time, other tasks of the event loop run.
_PAUSE_SECONDS = 0.02

# Larger than a topic accepts, or than a segment of its log.
TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)

_REPLICAS = "bring its missing replicas back, or lower its min.insync.replicas"
_ADVICE: dict[type[BaseException], str] = {
    MessageSizeTooLargeError: "raise its max.message.bytes",
    NotEnoughReplicasAfterAppendError: _REPLICAS,
    NotEnoughReplicasError: _REPLICAS,
    RecordListTooLargeError: "raise its segment.bytes",
    TopicAuthorizationFailedError: "let this user write to it",
    UnknownTopicOrPartitionError: CREATE_TOPICS,
}


class TooLargeError(KafkaError):
    """Kafka refuses some batches as too large, and no batch for another reason.

    `owners` are the owners of the records in batches of that size or more. With records `apart`,
    they are the ones to set aside.
    """

    def __init__(self, message: str, owners: frozenset[str]) -> None:
        super().__init__(message)
        self.owners = owners


class UnsentError(Exception):
    """Kafka did not accept all of an outbox; names the topic, the reason, and what to do."""


Headers = Sequence[tuple[str, bytes]]
_NONE: Headers = []


class Outgoing(Struct, frozen=True, gc=False):
    """A record to be sent, and the raw record it is made of; `timestamp` is Unix milliseconds."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes
    timestamp: int
    headers: Headers
    raw: RawRecord

    @property
    def size(self) -> int:
        """The bytes of its value and headers."""
        if not self.headers:
            return len(self.value)
        return len(self.value) + sum(len(name) + len(value or b"") for name, value in self.headers)


@dataclass(slots=True)
class _Batch:
    topic: str
    partition: int
    builder: BatchBuilder
    count: int = 0
    begun: bool = False
    acknowledged: bool = False
    too_large: bool = False
    records: list[Outgoing] = field(default_factory=list)
    owners: set[str] = field(default_factory=set)

    def append(
        self, timestamp: int, key: bytes | None, value: bytes | None, headers: Headers | None
    ) -> bool:
        appended = self.builder.append(
            timestamp=timestamp, key=key, value=value, headers=list(headers) if headers else _NONE
        )
        if appended is None:
            return False
        self.count += 1
        return True

    def note(self, delivery: asyncio.Future[RecordMetadata]) -> None:
        error = None if delivery.cancelled() else delivery.exception()
        self.acknowledged = not delivery.cancelled() and error is None
        self.too_large = isinstance(error, TOO_LARGE)


class Outbox:
    """The records of one round; the caller gives partition and time, the outbox makes batches."""

    def __init__(
        self, producer: AIOKafkaProducer, failpoint: str = "", *, apart: bool = False
    ) -> None:
        """`failpoint` is passed once the first of several batches is acknowledged.

        With `apart`, each record is a batch of its own, which shows which record is refused.
        """
        self._apart = apart
        self._producer = producer
        self._failpoint = failpoint
        self._batches: list[_Batch] = []
        self._open: dict[tuple[str, int], _Batch] = {}

    def add(
        self,
        topic: str,
        partition: int,
        *,
        key: bytes | None,
        value: bytes | None,
        timestamp: int,
        headers: Headers | None = None,
        owner: str | None = None,
    ) -> None:
        """Add a record; `timestamp` is Unix milliseconds, `owner` is named by a refusal."""
        batch = self._append((topic, partition), timestamp, key, value, headers)
        if owner is not None:
            batch.owners.add(owner)

    def put(self, outgoing: Iterable[Outgoing]) -> None:
        """Add records and keep them, to send them apart if Kafka refuses them together."""
        for one in outgoing:
            place = (one.topic, one.partition)
            batch = self._append(place, one.timestamp, one.key, one.value, one.headers)
            batch.records.append(one)

    def refused(self) -> list[list[Outgoing]]:
        """After a failure: return the records refused as too large, by batch.

        Return [] if a batch failed for another reason.
        """
        failed = [one for one in self._batches if not one.acknowledged]
        return [one.records for one in failed] if all(one.too_large for one in failed) else []

    def unacknowledged(self) -> list[str]:
        """Return the topics with batches that were sent and not acknowledged.

        Return all topics if every sent batch is acknowledged: then the whole took too long.
        """
        open_ = {one.topic for one in self._batches if one.begun and not one.acknowledged}
        return sorted(open_ or {one.topic for one in self._batches})

    async def send(self) -> dict[str, int | None]:
        """Send everything and wait until it is acknowledged; raise if a batch is not.

        Return, per topic, the offset after the last record sent there. It is None if the broker
        did not report it, because it had the batch already, from a retry.
        """
        deliveries: list[asyncio.Future[RecordMetadata]] = []
        paused = time.monotonic()
        for batch in self._batches:
            if time.monotonic() - paused > _PAUSE_SECONDS:
                await asyncio.sleep(0)
                paused = time.monotonic()
            batch.builder.close()
            batch.begun = True
            delivery = await self._producer.send_batch(
                batch.builder, batch.topic, partition=batch.partition
            )
            delivery.add_done_callback(batch.note)
            deliveries.append(delivery)
            if failpoints.armed(self._failpoint) and len(deliveries) == 1:
                await asyncio.wait(deliveries)
                failpoints.reach(self._failpoint)
        results = await asyncio.gather(*deliveries, return_exceptions=True)
        # Every delivery is checked: aiokafka commits a transaction in spite of failed batches.
        outcomes = list(zip(self._batches, results, strict=True))
        _raise_first(outcomes)
        return {
            batch.topic: _end(batch, result)
            for batch, result in outcomes
            if not isinstance(result, BaseException)
        }

    def _append(
        self,
        place: tuple[str, int],
        timestamp: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers | None,
    ) -> _Batch:
        known = None if self._apart else self._open.get(place)
        batch = known or self._start(place)
        if not batch.append(timestamp, key, value, headers):
            # Full; the first record of a batch is accepted at any size.
            batch = self._start(place)
            batch.append(timestamp, key, value, headers)
        return batch

    def _start(self, place: tuple[str, int]) -> _Batch:
        batch = _Batch(*place, self._producer.create_batch())
        self._batches.append(batch)
        self._open[place] = batch
        return batch


async def send(outbox: Outbox, seconds: float) -> None:
    """Send everything and wait until it is acknowledged, or raise `UnsentError`."""
    try:
        async with asyncio.timeout(seconds):
            await outbox.send()
    except (KafkaError, TimeoutError, OSError) as error:
        topics = ", ".join(outbox.unacknowledged())
        cause = type(error.__cause__ or error)
        if cause is InvalidTimestampError:
            clock.doubt()
            raise UnsentError(f"{topics}: {refused_time(clock.known())}") from error
        advice = _ADVICE.get(cause, "check Kafka")
        fields = {"topics": topics, "why": cause.__name__, "advice": advice}
        raise UnsentError(sentence("unsent", fields)) from error


async def deliver(producer: AIOKafkaProducer, outbox: Outbox, seconds: float) -> list[Outgoing]:
    """Send everything; return the records that Kafka refuses as too large even alone.

    Raises `UnsentError` if a record is not sent for another reason. Only records that were `put`
    into the outbox can be sent apart.
    """
    try:
        await send(outbox, seconds)
    except UnsentError:
        refused = outbox.refused()
        if not refused:
            raise
    else:
        return []
    large: list[Outgoing] = []
    for records in refused:
        if len(records) == 1:
            large += records
            continue
        middle = len(records) // 2
        for half in (records[:middle], records[middle:]):
            apart = Outbox(producer)
            apart.put(half)
            large += await deliver(producer, apart, seconds)
    return large


def _raise_first(outcomes: Sequence[tuple[_Batch, RecordMetadata | BaseException]]) -> None:
    """Raise the first error, if there is one; a refused size only if it is the only reason."""
    failed = [(batch, one) for batch, one in outcomes if isinstance(one, BaseException)]
    refused = [batch for batch, one in failed if isinstance(one, TOO_LARGE)]
    topics = {(batch.topic, batch.partition) for batch in refused}
    for batch, error in failed:
        # Kafka refuses an idempotent producer's batches after a refused one as out of order.
        follows = isinstance(error, OutOfOrderSequenceNumber)
        if batch not in refused and not (follows and (batch.topic, batch.partition) in topics):
            raise error
    if refused:
        first = refused[0]
        raise TooLargeError(
            f"Kafka refuses {first.builder.size()} bytes for {first.topic}[{first.partition}] as "
            "too large: raise the topic's max.message.bytes",
            frozenset().union(*(one.owners for one, _ in outcomes if _as_large(one, refused))),
        ) from next(one for batch, one in failed if batch is first)


def _as_large(batch: _Batch, refused: Sequence[_Batch]) -> bool:
    """Whether a batch is at least as large as a refused batch of the same topic."""
    size = batch.builder.size()
    return any(batch.topic == one.topic and size >= one.builder.size() for one in refused)


def _end(batch: _Batch, result: RecordMetadata) -> int | None:
    return result.offset + batch.count if result.offset >= 0 else None
