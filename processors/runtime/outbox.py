"""Outgoing records, gathered into Kafka batches and sent together."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import RecordMetadata

from processors.runtime import failpoints
from schemas.problem import Problem

Headers = Sequence[tuple[str, bytes]]


@dataclass(slots=True)
class _Batch:
    topic: str
    partition: int
    builder: BatchBuilder
    count: int = 0
    begun: bool = False
    acknowledged: bool = False

    def append(
        self, timestamp: int, key: bytes | None, value: bytes | None, headers: Headers | None
    ) -> bool:
        taken = self.builder.append(
            timestamp=timestamp, key=key, value=value, headers=list(headers or ())
        )
        self.count += taken is not None
        return taken is not None

    def note(self, delivery: asyncio.Future[RecordMetadata]) -> None:
        self.acknowledged = not delivery.cancelled() and delivery.exception() is None


class Outbox:
    """The records of one round; the caller gives partition and time, the outbox makes batches."""

    def __init__(self, producer: AIOKafkaProducer, failpoint: str = "") -> None:
        """`failpoint` is passed once the first of several batches is acknowledged."""
        self._producer = producer
        self._failpoint = failpoint
        self.size = 0  # bytes of the values added, before they are compressed
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
    ) -> None:
        """Add a record; `timestamp` is Unix milliseconds."""
        self.size += len(value or b"")
        place = (topic, partition)
        batch = self._open.get(place) or self._start(place)
        if not batch.append(timestamp, key, value, headers):
            # Full; the first record of a batch is taken whatever its size.
            self._start(place).append(timestamp, key, value, headers)

    def take(self, other: "Outbox") -> None:
        """Send what another outbox of the same producer holds with this one's."""
        self._batches += other._batches  # noqa: SLF001 - of the same class
        self.size += other.size

    def unacknowledged(self) -> list[str]:
        """The topics that Kafka was given something for and has not acknowledged it.

        All topics if it acknowledged what it was given: then it took too long over the whole.
        """
        open_ = {one.topic for one in self._batches if one.begun and not one.acknowledged}
        return sorted(open_ or {one.topic for one in self._batches})

    async def send(self) -> dict[str, int | None]:
        """Send everything and wait until it is acknowledged; raises if anything was not.

        Returns, per topic, the offset after the last record sent there; None if the broker did not
        tell (it had the batch already, from a retry).
        """
        deliveries: list[asyncio.Future[RecordMetadata]] = []
        for batch in self._batches:
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
        # Every delivery is looked at: aiokafka commits a transaction over batches that failed.
        return {
            batch.topic: _end(batch, result)
            for batch, result in zip(self._batches, results, strict=True)
        }

    def _start(self, place: tuple[str, int]) -> _Batch:
        batch = _Batch(*place, self._producer.create_batch())
        self._batches.append(batch)
        self._open[place] = batch
        return batch


def _end(batch: _Batch, result: RecordMetadata | BaseException) -> int | None:
    if isinstance(result, MessageSizeTooLargeError):
        raise Problem(
            f"Kafka refuses {batch.builder.size()} bytes for {batch.topic}[{batch.partition}] as "
            "too large, and nothing of the batch was committed; raise the topic's "
            "max.message.bytes, then start again"
        ) from result
    if isinstance(result, BaseException):
        raise result
    return result.offset + batch.count if result.offset >= 0 else None
