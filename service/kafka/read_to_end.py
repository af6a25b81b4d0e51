"""Reading partitions to known end offsets, batch by batch."""

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

# The time without progress of any partition after which Kafka counts as silent.
SILENCE_SECONDS = 60

_POLL_MS = 100
_RECORDS = 4000

Records = dict[TopicPartition, list[ConsumerRecord[bytes, bytes]]]


class Read(NamedTuple):
    """Records by partition; `reached` is the next offset of each partition that moved."""

    records: Records
    reached: dict[TopicPartition, int]


async def read_to_end(
    client: AIOKafkaConsumer, ends: Mapping[TopicPartition, int], *, most: int = _RECORDS
) -> AsyncGenerator[Read, None]:
    """Yield the records from the client's positions to before the ends, at most `most` at a time.

    A partition is at its end once its position is: a log may end in transaction markers, and
    compaction leaves gaps, which positions pass and records do not show. Raises `TimeoutError` if
    Kafka is silent for `SILENCE_SECONDS`.
    """
    at = {place: await client.position(place) for place in ends}
    left = {place: end for place, end in ends.items() if at[place] < end}
    if left:  # records fetched ahead from a partition at its end would delay the others
        client.pause(*(ends.keys() - left.keys()))
        client.resume(*left)
    heard = time.monotonic()
    while left:
        polled = await client.getmany(*left, timeout_ms=_POLL_MS, max_records=most)
        read = Read({place: _before(left[place], found) for place, found in polled.items()}, {})
        for place, end in list(left.items()):
            position = await client.position(place)
            if position > at[place]:
                at[place] = position
                read.reached[place] = min(position, end)
            if position >= end:
                del left[place]
                if left:
                    client.pause(place)
        if read.reached:
            yield read
            heard = time.monotonic()
        elif time.monotonic() - heard > SILENCE_SECONDS:
            raise TimeoutError


async def first_record(
    client: AIOKafkaConsumer, place: TopicPartition, start: int, end: int
) -> ConsumerRecord[bytes, bytes] | None:
    """Return the first record of an assigned partition in `start` to `end`, exclusive, or None."""
    client.seek(place, start)
    async with aclosing(read_to_end(client, {place: end}, most=1)) as reads:
        async for read in reads:
            for record in read.records.get(place, ()):
                return record
    return None


def _before(
    end: int, records: list[ConsumerRecord[bytes, bytes]]
) -> list[ConsumerRecord[bytes, bytes]]:
    if records[-1].offset < end:
        return records
    return [record for record in records if record.offset < end]
