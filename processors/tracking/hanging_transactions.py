"""Ending a transaction that Kafka left open, before anything is read back (decision 16).

Kafka acknowledges a commit before the markers that end the transaction are in the logs. A partition
that has no leader when they are due it takes for a deleted one: it never writes them there, and
calls the transaction complete. That happens when a whole cluster, or the one broker, goes down and
comes back. Readers then wait at that place for ever, and a restore would stop there and forget.

A marker of the same producer ends whatever it has open in a partition, so the next owner can write
it. Which one follows from the other parts of the transaction: they bear the same time.
"""

import asyncio
import logging
import time
from collections.abc import Iterable
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.structs import OffsetAndMetadata

from processors.tracking.restore import header_number
from processors.tracking.split_transactions import Note
from schemas.webhook import to_iso
from service.kafka import clients
from service.kafka.read_to_end import SILENCE_SECONDS, first_record
from service.settings import Settings

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.1
_PATIENCE_SECONDS = 20

# A header of the first record of a transaction on `messages`: the offset it commits, where it does.
TAKEN_TO = "taken-to"
# And what it commits with it, as the offset's metadata.
NOTE = "offset-metadata"


class Open(NamedTuple):
    """A transaction that is open in some places.

    `time` is that of its records, in Unix milliseconds, `taken_to` the offset it was to commit if
    there was one, `note` the offset's metadata if that is known, and `seen` whether readers see a
    part of it in another place.
    """

    time: int
    taken_to: int | None
    places: tuple[TopicPartition, ...]
    seen: bool
    note: str | None = None


def was_committed(left: Open, committed: int, note: str) -> bool:
    """What had become of it; `committed` is the group's offset, `note` its metadata.

    One part that was committed tells of all. If there is none, nobody has seen anything of it, its
    offset is not committed either, and to abort it is right in any case: it is done again.
    """
    if left.seen:
        return True
    if known := Note.of(note).time:
        return known >= left.time
    return left.taken_to is not None and committed >= left.taken_to


def once_committed(left: Open, committed: int, note: str) -> tuple[int, str]:
    """The offset and its metadata as they are once the rest of it is committed.

    The offset may be less than before: a transaction that was split is tracked again.
    """
    if left.note is None:
        return max(committed, left.taken_to or 0), note
    if Note.of(note).time >= left.time:
        return committed, note
    return committed if left.taken_to is None else left.taken_to, left.note


async def settle(
    settings: Settings, producer: AIOKafkaProducer, source: TopicPartition, start: int, note: str
) -> tuple[int, str]:
    """End what is open in the partition's outputs; the offset that is committed then, its metadata.

    The producer has fenced every earlier owner; `start` is the committed offset, `note` is its
    metadata. Raises `KafkaError` or `TimeoutError` if Kafka does not let it be ended.
    """
    lost, topics = clients.losses(producer), settings.topics
    names = (topics.messages, topics.statuses, topics.events, topics.inbound)
    places = [TopicPartition(name, source.partition) for name in names]
    # Others write there too, at any time: what is seen there proves nothing about a transaction.
    shared = TopicPartition(topics.dead_letters, source.partition)
    stable, everything = clients.reader(settings), clients.reader(settings, "read_uncommitted")
    try:
        async with asyncio.timeout(SILENCE_SECONDS):
            # One after the other: one that still starts cannot be stopped.
            await stable.start()
            await everything.start()
            looking = _Looking(stable, everything, places, shared)
            while left := await looking.oldest():
                commit = was_committed(left, start, note)
                _tell(left, commit=commit)
                if commit:
                    start, note = once_committed(left, start, note)
                offsets = {source: OffsetAndMetadata(start, note)}
                # A connection that breaks meanwhile is no reason to stop: aiokafka asks again.
                async with asyncio.timeout(settings.transaction_timeout * 2 / 3):
                    with clients.explained(producer):
                        await clients.end(
                            producer, left.places, topics.group("track"), offsets, commit=commit
                        )
                await looking.until_ended(left.places)
                if clients.losses(producer) > lost:
                    # What was sent again may still arrive: not in another transaction of ours.
                    raise KafkaConnectionError("a connection was lost")
    finally:
        await asyncio.gather(clients.leave(stable), clients.leave(everything))
    return start, note


class _Looking:
    """Two readers of the same places: one of what is committed, one of everything."""

    def __init__(
        self,
        stable: AIOKafkaConsumer,
        everything: AIOKafkaConsumer,
        places: list[TopicPartition],
        shared: TopicPartition,
    ) -> None:
        self._stable = stable
        self._everything = everything
        self._places = places
        self._shared = shared

    async def oldest(self) -> Open | None:
        """The oldest transaction that is open; None if none is."""
        first = {
            place: await _first(self._everything, place, offset)
            for place, offset in (await self._open([*self._places, self._shared])).items()
        }
        times = [record.timestamp for record in first.values() if record]
        if not times:
            return None
        parts = {p: r for p, r in first.items() if r and r.timestamp == min(times)}
        seen = await self._seen(min(times), [p for p in self._places if p not in parts])
        known = [*parts.values(), *seen]
        said = [header_number(record, TAKEN_TO) for record in known]
        taken_to = max((offset for offset in said if offset is not None), default=None)
        notes = (v.decode() for r in known for name, v in r.headers if name == NOTE and v)
        return Open(min(times), taken_to, tuple(parts), bool(seen), next(notes, None))

    async def _seen(
        self, time: int, places: Iterable[TopicPartition]
    ) -> list[ConsumerRecord[bytes, bytes]]:
        """The first record of that very time in each place, of those that are committed."""
        wanted = dict.fromkeys(places, time)
        found = await self._stable.offsets_for_times(wanted) if wanted else {}
        records = [await _first(self._stable, p, at.offset) for p, at in found.items() if at]
        return [record for record in records if record and record.timestamp == time]

    async def until_ended(self, places: Iterable[TopicPartition]) -> None:
        """Wait for the markers: a commit is acknowledged before they are written."""
        patience = time.monotonic() + _PATIENCE_SECONDS
        while open_ := await self._open(places):
            if time.monotonic() > patience:
                topic, number = next(iter(open_))
                raise KafkaError(
                    f"{topic}[{number}] has a transaction that does not end; if this goes on, end "
                    "it by hand (kafka-transactions.sh find-hanging, then abort)"
                )
            await asyncio.sleep(_LOOK_SECONDS)

    async def _open(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Where what is open begins, for each place where something is."""
        wanted = list(places)
        # In this order: a marker that comes in between must not look like something open.
        ends = await self._everything.end_offsets(wanted)
        stable = await self._stable.end_offsets(wanted)
        return {place: stable[place] for place in wanted if stable[place] < ends[place]}


def _tell(left: Open, *, commit: bool) -> None:
    log.warning(
        "partition %d: Kafka left a transaction of %s open on %s; it is %s",
        left.places[0].partition,
        to_iso(left.time),
        ", ".join(sorted(place.topic for place in left.places)),
        "committed, as other parts of it were" if commit else "aborted, and done again",
    )


async def _first(
    reader: AIOKafkaConsumer, place: TopicPartition, offset: int
) -> ConsumerRecord[bytes, bytes] | None:
    """The first record from an offset on; None if there is none."""
    reader.assign([place])
    [end] = (await reader.end_offsets([place])).values()
    return await first_record(reader, place, offset, end)
