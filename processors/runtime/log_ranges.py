"""Ranges of the raw topics: what a range means on this broker, and reading it batch by batch.

A range by time is one of the record's own timestamp, which is when the body was received. Bodies
that waited in a spool lie later in the log under an older timestamp, so a span by time reaches
further than its end (`spooled_ms`), and each record's timestamp is looked at.
"""

import time
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Generic, NamedTuple, TypeVar

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from processors.runtime.consumer_groups import Committed
from schemas.webhook import to_iso
from service.errors import Problem, unreachable
from service.kafka import clients
from service.settings import Settings

# What a spool that may take no more is given to be drained once Kafka is back.
_DRAIN_MS = 24 * 3_600_000

_POLL_MS = 500
_SILENCE_SECONDS = 60
_BATCH = 4000

Place = tuple[str, int]
"""A topic's partition."""


class Span(NamedTuple):
    """Offsets `start` to before `end` of one partition."""

    topic: str
    partition: int
    start: int
    end: int

    @property
    def place(self) -> Place:
        return self.topic, self.partition


class Window(NamedTuple):
    """Times of reception, Unix milliseconds, from `since` to before `until`; None: no bound."""

    since: int | None = None
    until: int | None = None

    def holds(self, timestamp: int) -> bool:
        after = self.since is None or self.since <= timestamp
        return after and (self.until is None or timestamp < self.until)


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
    reached: dict[Place, int]


Source = AsyncGenerator[Batch[RawRecord], None]
"""Where bodies come from: the broker (`read`), or whoever gives the same batches."""

Consumed = ConsumerRecord[bytes, bytes]


def remaining(spans: Iterable[Span], reached: Mapping[Place, int]) -> list[Span]:
    """What is left of the spans once those offsets are reached."""
    left = [
        span._replace(start=max(span.start, reached.get(span.place, span.start))) for span in spans
    ]
    return [span for span in left if span.start < span.end]


def spooled_ms(settings: Settings) -> int:
    """How long a body may have waited in ingest's spool before it came to Kafka."""
    return round(settings.spool_max_age * 1000) + _DRAIN_MS


def refuse_backwards(window: Window) -> None:
    """Raise `Problem` for a window that ends before it begins."""
    if window.since is not None and window.until is not None and window.since >= window.until:
        raise Problem("range_backwards", since=to_iso(window.since), until=to_iso(window.until))


def refuse_empty(span: Span) -> None:
    """Raise `Problem` for a span without offsets."""
    if span.start >= span.end:
        raise Problem(
            "range_empty",
            topic=span.topic,
            partition=span.partition,
            start=span.start,
            end=span.end,
        )


async def by_time(settings: Settings, topics: Sequence[str], window: Window) -> list[Span]:
    """The spans that hold every record of the window; raises `Problem` if the log does not."""
    refuse_backwards(window)
    async with clients.reading(settings, topics) as client:
        log = await _log(client, settings, topics)
        if window.since is not None:
            await _refuse_forgotten(client, log, window.since)
        starts = await _first_since(client, log, window.since)
        ends = await _first_since(client, log, window.until and window.until + spooled_ms(settings))
        spans = []
        for place, whole in log.items():
            start = whole.start if window.since is None else starts.get(place, whole.end)
            spans.append(Span(*place, start, min(whole.end, ends.get(place, whole.end))))
        spans = [span for span in spans if span.start < span.end]
        if not spans:
            raise Problem("range_without_bodies", held=await _held(client, log))
        return spans


async def by_offsets(
    settings: Settings, topic: str, offsets: Mapping[int, tuple[int, int]]
) -> list[Span]:
    """Spans of one topic, from an offset to before another by partition; raises `Problem`."""
    async with clients.reading(settings, [topic]) as client:
        log = await _log(client, settings, [topic])
        spans = [Span(topic, partition, *bounds) for partition, bounds in sorted(offsets.items())]
        for span in spans:
            place = f"{topic}[{span.partition}]"
            there = log.get(span.place)
            if there is None:
                raise Problem("no_such_partition", partition=place, last=len(log) - 1)
            refuse_empty(span)
            if span.start < there.start or span.end > there.end:
                raise Problem(
                    "offsets_not_held",
                    partition=place,
                    start=span.start,
                    end=span.end,
                    held=await _held(client, {span.place: there}),
                )
        return spans


async def everything(
    settings: Settings, topics: Sequence[str], since: int | None = None
) -> list[Span]:
    """All the topics hold now, from the first record as young as `since` (Unix ms) on."""
    async with clients.reading(settings, topics) as client:
        log = await _log(client, settings, topics)
        starts = await _first_since(client, log, since)
        whole = [
            span if since is None else span._replace(start=starts.get(place, span.end))
            for place, span in log.items()
        ]
        return remaining(whole, {})


async def held(settings: Settings, topics: Sequence[str]) -> dict[Place, Span]:
    """The offsets of every partition of the topics, also where there is nothing now."""
    async with clients.reading(settings, topics) as client:
        return await _log(client, settings, topics)


def normalised(spans: Iterable[Span], committed: Committed) -> list[Span]:
    """The spans up to what a normaliser's group has committed: the rest it will do itself."""
    done = {(p.topic, p.partition): known.offset for p, known in committed.items()}
    cut = [span._replace(end=min(span.end, done.get(span.place, 0))) for span in spans]
    return [span for span in cut if span.start < span.end]


async def read(settings: Settings, spans: Iterable[Span]) -> Source:
    """All bodies of the spans, batch by batch; memory is that of one fetch."""
    async with aclosing(consumed(settings, spans)) as source:
        async for batch in source:
            yield Batch([raw_record(record) for record in batch.records], batch.reached)


async def consumed(
    settings: Settings, spans: Iterable[Span]
) -> AsyncGenerator[Batch[Consumed], None]:
    """All committed records of the spans, batch by batch.

    Raises `Problem` if Kafka falls silent, or if retention takes what was still to be read.
    """
    spans = remaining(spans, {})
    if not spans:
        return
    left = {TopicPartition(*span.place): span.end for span in spans}
    if not left:
        return
    async with clients.reading(settings) as client:
        client.assign(list(left))
        for span in spans:
            client.seek(TopicPartition(*span.place), span.start)
        heard = time.monotonic()
        while left:
            batch = await _poll(client, left)
            if batch.reached:
                heard = time.monotonic()
                yield batch
            elif time.monotonic() - heard > _SILENCE_SECONDS:
                raise unreachable(settings.kafka)


async def _poll(client: AIOKafkaConsumer, left: dict[TopicPartition, int]) -> Batch[Consumed]:
    """Read on; a partition that is read to its end leaves `left`."""
    before = {place: await client.position(place) for place in left}
    polled = await client.getmany(*left, timeout_ms=_POLL_MS, max_records=_BATCH)
    batch: Batch[Consumed] = Batch([], {})
    for place, records in polled.items():
        end = left[place]
        inside = records[-1].offset < end
        batch.records.extend(records if inside else [r for r in records if r.offset < end])
    for place, end in list(left.items()):
        # It passes offsets without a record, too: records alone would never come to the end.
        position = await client.position(place)
        if position > before[place]:
            batch.reached[place.topic, place.partition] = min(position, end)
        if position >= end:
            del left[place]
            client.pause(place)
    return batch


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


async def _log(
    client: AIOKafkaConsumer, settings: Settings, topics: Iterable[str]
) -> dict[Place, Span]:
    """All that the topics hold now, by partition."""
    places = [TopicPartition(t, number) for t in topics for number in range(settings.partitions)]
    starts = await client.beginning_offsets(places)
    ends = await client.end_offsets(places)
    return {(p.topic, p.partition): Span(p.topic, p.partition, starts[p], ends[p]) for p in places}


async def _first_since(
    client: AIOKafkaConsumer, log: Iterable[Place], at: int | None
) -> dict[Place, int]:
    """Each partition's first offset with such a timestamp or a later one, where there is any."""
    if at is None:
        return {}
    found = await client.offsets_for_times({TopicPartition(*p): max(0, at) for p in log})
    return {(p.topic, p.partition): known.offset for p, known in found.items() if known}


async def _refuse_forgotten(client: AIOKafkaConsumer, log: dict[Place, Span], since: int) -> None:
    """Raise `Problem` if retention has deleted what may have been received at `since` or later."""
    cut = {TopicPartition(*p): 0 for p, span in log.items() if 0 < span.start < span.end}
    oldest = [known.timestamp for known in (await client.offsets_for_times(cut)).values() if known]
    if oldest and since < max(oldest):
        raise Problem(
            "range_before_log",
            since=to_iso(since),
            oldest=to_iso(max(oldest)),
            held=await _held(client, log),
        )


async def _held(client: AIOKafkaConsumer, log: dict[Place, Span]) -> str:
    """Say what the topics hold: offsets, and when the first and last bodies were received."""
    edges = [
        RawRecord(*place, offset, record.timestamp, (), None)
        for place, span in log.items()
        if span.start < span.end
        for offset in (span.start, span.end - 1)
        for record in await _one(client, Span(*place, offset, span.end))
    ]
    if not edges:
        return "nothing is there"
    said = []
    for topic in sorted({edge.topic for edge in edges}):
        of = [edge for edge in edges if edge.topic == topic]
        first, last = min(e.timestamp for e in of), max(e.timestamp for e in of)
        offsets = f"{min(e.offset for e in of)} to {max(e.offset for e in of)}"
        said.append(f"{topic} has offsets {offsets}, {to_iso(first)} to {to_iso(last)}")
    return "there is: " + "; ".join(said)


async def _one(client: AIOKafkaConsumer, span: Span) -> list[RawRecord]:
    """The first record of a span, if it comes soon."""
    place = TopicPartition(*span.place)
    client.assign([place])
    client.seek(place, span.start)
    polled = await client.getmany(place, timeout_ms=10 * _POLL_MS, max_records=1)
    return [raw_record(record) for record in polled.get(place, ())]
