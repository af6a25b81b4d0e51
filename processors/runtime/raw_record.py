"""Raw records: webhook bodies as they are on Kafka or in an archive, one by one and in batches."""

from collections.abc import AsyncGenerator, Sequence
from typing import Generic, NamedTuple, TypeVar

from aiokafka import ConsumerRecord

from schemas.coordinates import Partition

Consumed = ConsumerRecord[bytes, bytes]
"""A record of any topic as aiokafka gives it."""


class RawRecord(NamedTuple):
    """One raw body with its coordinates, wherever it was read from."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    headers: Sequence[tuple[str, bytes]]
    body: bytes | None


R = TypeVar("R")


class Batch(NamedTuple, Generic[R]):
    """Some records, each partition's in order, and what is read with them.

    `reached` is, for the partitions that moved, the offset of the next record to come.
    """

    records: list[R]
    reached: dict[Partition, int]


Source = AsyncGenerator[Batch[RawRecord], None]
"""Where raw records come from: the broker (`log_ranges.read`) or an archive."""


def raw_record(record: Consumed) -> RawRecord:
    """A record of a raw topic as it came from the broker."""
    return RawRecord(
        record.topic,
        record.partition,
        record.offset,
        record.timestamp,
        record.headers,
        record.value,
    )
