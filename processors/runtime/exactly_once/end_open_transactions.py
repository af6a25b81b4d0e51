"""Ending a transaction that Kafka left open, before anything is read back (decision 16).

Kafka acknowledges a commit before the markers that end the transaction are in the logs. If a
partition has no leader at that moment, Kafka treats it as deleted: it never writes the markers
there, and reports the transaction as complete. This happens when a whole cluster, or its only
broker, goes down and returns. Readers then wait at that offset for ever, and a restore would lose
the states behind it.

A marker of the same producer ends its open transaction in a partition, so the next owner can write
it. The other parts of the transaction decide which marker: their records have the same time.
"""

import asyncio
import time
from collections.abc import Iterable
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.structs import OffsetAndMetadata

from processors.runtime.exactly_once.changelog_headers import NOTE, TAKEN_TO, header_number
from processors.runtime.exactly_once.offset_note import Note
from processors.runtime.exactly_once.outputs import Outputs
from schemas.webhook import to_iso
from service.kafka import clients
from service.kafka.read_to_end import SILENCE_SECONDS, first_record
from service.logger import logger
from service.settings import Settings

log = logger(__name__)

_CHECK_SECONDS = 0.1
_PATIENCE_SECONDS = 20


class Open(NamedTuple):
    """A transaction that is open in some partitions.

    `time` is that of its records, in Unix milliseconds. `taken_to` is the offset that it was to
    commit, if known; `note` the offset's metadata, if known. `seen` says whether readers see a part
    of it in another partition.
    """

    time: int
    taken_to: int | None
    places: tuple[TopicPartition, ...]
    seen: bool
    note: str | None = None


def was_committed(left: Open, committed: int, note: str) -> bool:
    """Whether it was committed; `committed` is the group's offset, `note` its metadata.

    One committed part proves that all were. Without one, no reader has seen any part, and its
    offset is not committed either. Then an abort is always right: its records are tracked again.
    """
    if left.seen:
        return True
    if known := Note.of(note).time:
        return known >= left.time
    if left.taken_to is None:
        return False
    # Timers alone commit the offset that was committed before: it proves nothing.
    alone = left.note is not None and left.taken_to == Note.of(left.note).begin
    return committed >= left.taken_to and not alone


def once_committed(left: Open, committed: int, note: str) -> tuple[int, str]:
    """Return the offset and its metadata after the rest of the transaction is committed.

    The offset may be less than before: a transaction that was split is tracked again.
    """
    if left.note is None:
        return max(committed, left.taken_to or 0), note
    if Note.of(note).time >= left.time:
        return committed, note
    return committed if left.taken_to is None else left.taken_to, left.note


async def end_open(
    settings: Settings,
    producer: AIOKafkaProducer,
    outputs: Outputs,
    source: TopicPartition,
    committed: OffsetAndMetadata,
) -> OffsetAndMetadata:
    """End open transactions in the outputs; return the committed offset and its metadata.

    The producer has fenced all earlier owners; `committed` is what the group has committed.
    Raises `KafkaError` or `TimeoutError` if Kafka does not end a transaction.
    """
    start, note = committed.offset, committed.metadata
    lost = clients.losses(producer)
    stable, everything = clients.reader(settings), clients.reader(settings, "read_uncommitted")
    try:
        async with asyncio.timeout(SILENCE_SECONDS):
            # One after the other: a consumer that is still starting cannot be stopped.
            topics = [place.topic for place in (*outputs.own, *outputs.shared)]
            await clients.begin(stable, topics)
            await clients.begin(everything, topics)
            readers = _Readers(stable, everything, outputs)
            while left := await readers.oldest():
                commit = was_committed(left, start, note)
                _log_end(left, commit=commit)
                if commit:
                    start, note = once_committed(left, start, note)
                offsets = {source: OffsetAndMetadata(start, note)}
                # A lost connection is no reason to stop: aiokafka sends the request again.
                async with asyncio.timeout(settings.transaction_timeout * 2 / 3):
                    with clients.explained(producer):
                        await clients.end(
                            producer, left.places, outputs.group, offsets, commit=commit
                        )
                await readers.until_ended(left.places)
                if clients.losses(producer) > lost:
                    # A request sent twice may still arrive, and must not end a later transaction.
                    raise KafkaConnectionError("a connection was lost")
    finally:
        await asyncio.gather(clients.leave(stable), clients.leave(everything))
    return OffsetAndMetadata(start, note)


class _Readers:
    """Two readers of the same partitions: one of committed records, one of all records."""

    def __init__(
        self,
        stable: AIOKafkaConsumer,
        everything: AIOKafkaConsumer,
        outputs: Outputs,
    ) -> None:
        self._stable = stable
        self._everything = everything
        self._outputs = outputs

    async def oldest(self) -> Open | None:
        """Return the oldest open transaction; None if none is open."""
        first = {
            place: await _first(self._everything, place, offset)
            for place, offset in (
                await self._open([*self._outputs.own, *self._outputs.shared])
            ).items()
        }
        times = [record.timestamp for record in first.values() if record]
        if not times:
            return None
        parts = {p: r for p, r in first.items() if r and r.timestamp == min(times)}
        seen = await self._seen(min(times), [p for p in self._outputs.own if p not in parts])
        known = [*parts.values(), *seen]
        offsets = [header_number(record, TAKEN_TO) for record in known]
        taken_to = max((offset for offset in offsets if offset is not None), default=None)
        notes = (v.decode() for r in known for name, v in r.headers if name == NOTE and v)
        return Open(min(times), taken_to, tuple(parts), bool(seen), next(notes, None))

    async def _seen(
        self, time: int, places: Iterable[TopicPartition]
    ) -> list[ConsumerRecord[bytes, bytes]]:
        """Return, by partition, the first committed record with exactly that time, if any."""
        wanted = dict.fromkeys(places, time)
        found = await self._stable.offsets_for_times(wanted) if wanted else {}
        records = [await _first(self._stable, p, at.offset) for p, at in found.items() if at]
        return [record for record in records if record and record.timestamp == time]

    async def until_ended(self, places: Iterable[TopicPartition]) -> None:
        """Wait until the markers are written: Kafka acknowledges a commit earlier."""
        patience = time.monotonic() + _PATIENCE_SECONDS
        while open_ := await self._open(places):
            if time.monotonic() > patience:
                topic, number = next(iter(open_))
                raise KafkaError(
                    f"{topic}[{number}] has a transaction that does not end; if this continues, "
                    "abort it by hand (docs/log-messages.md)"
                )
            await asyncio.sleep(_CHECK_SECONDS)

    async def _open(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the start of the oldest open transaction in each partition that has one."""
        wanted = list(places)
        # In this order: a marker written in between must not look like an open transaction.
        ends = await self._everything.end_offsets(wanted)
        stable = await self._stable.end_offsets(wanted)
        return {place: stable[place] for place in wanted if stable[place] < ends[place]}


def _log_end(left: Open, *, commit: bool) -> None:
    log.warning(
        "transaction_left_open",
        partition=left.places[0].partition,
        time=to_iso(left.time),
        topics=sorted(place.topic for place in left.places),
        outcome="committed, like its other parts" if commit else "aborted, and tracked again",
    )


async def _first(
    reader: AIOKafkaConsumer, place: TopicPartition, offset: int
) -> ConsumerRecord[bytes, bytes] | None:
    """Return the first record from an offset on; None if there is none."""
    reader.assign([place])
    [end] = (await reader.end_offsets([place])).values()
    return await first_record(reader, place, offset, end)
