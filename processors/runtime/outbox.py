"""Outgoing records, gathered into Kafka batches and sent together."""

import asyncio
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import RecordMetadata

Headers = list[tuple[str, bytes]]


@dataclass(slots=True)
class _Batch:
    topic: str
    partition: int
    builder: BatchBuilder
    count: int = 0

    def append(
        self, timestamp: int, key: bytes | None, value: bytes | None, headers: Headers | None
    ) -> bool:
        taken = self.builder.append(
            timestamp=timestamp, key=key, value=value, headers=headers or []
        )
        self.count += taken is not None
        return taken is not None


class Outbox:
    """The records of one round; the caller gives partition and time, the outbox makes batches."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
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
        place = (topic, partition)
        batch = self._open.get(place) or self._start(place)
        if not batch.append(timestamp, key, value, headers):
            # Full; the first record of a batch is taken whatever its size.
            self._start(place).append(timestamp, key, value, headers)

    async def send(self) -> dict[str, int | None]:
        """Send everything and wait until it is acknowledged; raises if anything was not.

        Returns, per topic, the offset after the last record sent there; None if the broker did not
        tell (it had the batch already, from a retry).
        """
        batches, futures = self._batches, []
        for batch in batches:
            batch.builder.close()
            futures.append(
                await self._producer.send_batch(
                    batch.builder, batch.topic, partition=batch.partition
                )
            )
        # Every future is looked at: aiokafka commits a transaction over batches that failed.
        acknowledged: list[RecordMetadata] = await asyncio.gather(*futures)
        ends: dict[str, int | None] = {}
        for batch, metadata in zip(batches, acknowledged, strict=True):
            ends[batch.topic] = metadata.offset + batch.count if metadata.offset >= 0 else None
        return ends

    def _start(self, place: tuple[str, int]) -> _Batch:
        batch = _Batch(*place, self._producer.create_batch())
        self._batches.append(batch)
        self._open[place] = batch
        return batch
