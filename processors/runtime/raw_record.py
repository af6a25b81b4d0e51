"""Raw records: webhook bodies as they are on Kafka or in an archive, one by one and in batches."""

from collections.abc import AsyncGenerator, Sequence
from typing import Generic, NamedTuple, TypeVar

from aiokafka import ConsumerRecord

from schemas.coordinates import Partition

Consumed = ConsumerRecord[bytes, bytes]
"""A record of any topic as aiokafka gives it."""


class RawRecord(NamedTuple):
    """One raw body with its coordinates, read from Kafka or from an archive."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    headers: Sequence[tuple[str, bytes]]
    body: bytes | None


R = TypeVar("R")


class Batch(NamedTuple, Generic[R]):
    """Records, each partition's in order, and the offsets reached with them.

    `reached` has the offset of the next record, for each partition that was read.
    """

    records: list[R]
    reached: dict[Partition, int]


Source = AsyncGenerator[Batch[RawRecord], None]
"""A source of raw records: the broker (`log_ranges.read`) or an archive."""


def raw_record(record: Consumed) -> RawRecord:
    """Return the raw record of a consumed record."""
    return RawRecord(
        record.topic,
        record.partition,
        record.offset,
        record.timestamp,
        record.headers,
        record.value,
    )
