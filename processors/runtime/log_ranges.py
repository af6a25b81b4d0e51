"""Ranges of topics on this broker: finding their offsets, and reading them batch by batch.

A range by time uses the record's timestamp, which is the time when the body was received. Bodies
that waited in a spool lie later in the log with an older timestamp. So a span by time reaches
beyond its end (`spooled_ms`), and the timestamp of each record is checked.
"""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing

from aiokafka import AIOKafkaConsumer, TopicPartition

from processors.runtime.consumer_groups import Committed
from processors.runtime.offset_ranges import Span, Window, refuse_backwards, refuse_empty, remaining
from processors.runtime.raw_record import Batch, Consumed, RawRecord, Source, raw_record
from schemas.coordinates import Partition
from schemas.webhook import to_iso
from service.errors import Problem
from service.kafka import clients
from service.kafka.read_to_end import first_record, read_to_end
from service.settings import Settings

# The time allowed to drain a full spool once Kafka is back.
_DRAIN_MS = 24 * 3_600_000


def spooled_ms(settings: Settings) -> int:
    """Return the longest time that a body may have waited in ingest's spool, in milliseconds."""
    return round(settings.spool_max_age * 1000) + _DRAIN_MS


async def by_time(settings: Settings, topics: Sequence[str], window: Window) -> list[Span]:
    """Return the spans that hold every record of the window; `Problem` if the log does not."""
    refuse_backwards(window)
    async with clients.reading(settings, topics) as client:
        log = await _log(client, settings, topics)
        if window.since is not None:
            await _refuse_deleted(client, log, window.since)
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
    """Return the spans of one topic for ranges of offsets by partition; or raise `Problem`."""
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
    """Return spans of all that the topics hold, from the first record since `since` (Unix ms)."""
    async with clients.reading(settings, topics) as client:
        log = await _log(client, settings, topics)
        starts = await _first_since(client, log, since)
        whole = [
            span if since is None else span._replace(start=starts.get(place, span.end))
            for place, span in log.items()
        ]
        return remaining(whole, {})


async def held(settings: Settings, topics: Sequence[str]) -> dict[Partition, Span]:
    """Return the offsets of every partition of the topics, also of empty partitions."""
    async with clients.reading(settings, topics) as client:
        return await _log(client, settings, topics)


def normalised(spans: Iterable[Span], committed: Committed) -> list[Span]:
    """Cut the spans at the offsets committed by normalise: it processes the rest itself."""
    done = {(p.topic, p.partition): known.offset for p, known in committed.items()}
    cut = [span._replace(end=min(span.end, done.get(span.place, 0))) for span in spans]
    return [span for span in cut if span.start < span.end]


async def read(settings: Settings, spans: Iterable[Span]) -> Source:
    """Yield all bodies of the spans, batch by batch; memory is that of one fetch."""
    async with aclosing(consumed(settings, spans)) as source:
        async for batch in source:
            yield Batch([raw_record(record) for record in batch.records], batch.reached)


async def consumed(
    settings: Settings, spans: Iterable[Span]
) -> AsyncGenerator[Batch[Consumed], None]:
    """Yield all committed records of the spans, batch by batch.

    Raises `Problem` if Kafka does not answer, or if retention deletes records before they are read.
    """
    left = remaining(spans, {})
    if not left:
        return
    async with clients.reading(settings) as client:
        client.assign([TopicPartition(*span.place) for span in left])
        for span in left:
            client.seek(TopicPartition(*span.place), span.start)
        ends = {TopicPartition(*span.place): span.end for span in left}
        async with aclosing(read_to_end(client, ends)) as reads:
            async for records, reached in reads:
                yield Batch(
                    [record for found in records.values() for record in found],
                    {(place.topic, place.partition): at for place, at in reached.items()},
                )


async def _log(
    client: AIOKafkaConsumer, settings: Settings, topics: Iterable[str]
) -> dict[Partition, Span]:
    """Return the offsets that the topics hold now, by partition."""
    places = [TopicPartition(t, number) for t in topics for number in range(settings.partitions)]
    starts = await client.beginning_offsets(places)
    ends = await client.end_offsets(places)
    return {(p.topic, p.partition): Span(p.topic, p.partition, starts[p], ends[p]) for p in places}


async def _first_since(
    client: AIOKafkaConsumer, log: Iterable[Partition], at: int | None
) -> dict[Partition, int]:
    """Return each partition's first offset with a timestamp from `at` on, if there is one."""
    if at is None:
        return {}
    found = await client.offsets_for_times({TopicPartition(*p): max(0, at) for p in log})
    return {(p.topic, p.partition): known.offset for p, known in found.items() if known}


async def _refuse_deleted(client: AIOKafkaConsumer, log: dict[Partition, Span], since: int) -> None:
    """Raise `Problem` if retention may have deleted records received at `since` or later."""
    cut = {TopicPartition(*p): 0 for p, span in log.items() if 0 < span.start < span.end}
    oldest = [known.timestamp for known in (await client.offsets_for_times(cut)).values() if known]
    if oldest and since < max(oldest):
        raise Problem(
            "range_before_log",
            since=to_iso(since),
            oldest=to_iso(max(oldest)),
            held=await _held(client, log),
        )


async def _held(client: AIOKafkaConsumer, log: dict[Partition, Span]) -> str:
    """Describe what the topics hold: offsets, and reception times of the first and last bodies."""
    edges = [
        RawRecord(*place, offset, record.timestamp, (), None)
        for place, span in log.items()
        if span.start < span.end
        for offset in (span.start, span.end - 1)
        for record in await _first(client, Span(*place, offset, span.end))
    ]
    if not edges:
        return "nothing is there"
    parts = []
    for topic in sorted({edge.topic for edge in edges}):
        of = [edge for edge in edges if edge.topic == topic]
        first, last = min(e.timestamp for e in of), max(e.timestamp for e in of)
        offsets = f"{min(e.offset for e in of)} to {max(e.offset for e in of)}"
        parts.append(f"{topic} has offsets {offsets}, {to_iso(first)} to {to_iso(last)}")
    return "there is: " + "; ".join(parts)


async def _first(client: AIOKafkaConsumer, span: Span) -> list[RawRecord]:
    """Return the first record of a span, [] if there is none."""
    place = TopicPartition(*span.place)
    client.assign([place])
    found = await first_record(client, place, span.start, span.end)
    return [raw_record(found)] if found else []
