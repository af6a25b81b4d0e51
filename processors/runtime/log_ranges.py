"""Ranges of topics on this broker: which offsets a range means, and reading it batch by batch.

A range by time is one of the record's own timestamp, which is when the body was received. Bodies
that waited in a spool lie later in the log under an older timestamp, so a span by time reaches
further than its end (`spooled_ms`), and each record's timestamp is looked at.
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

# What a spool that may take no more is given to be drained once Kafka is back.
_DRAIN_MS = 24 * 3_600_000


def spooled_ms(settings: Settings) -> int:
    """How long a body may have waited in ingest's spool before it came to Kafka."""
    return round(settings.spool_max_age * 1000) + _DRAIN_MS


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
            raise Problem(f"no body was received in that range; {await _held(client, log)}")
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
                raise Problem(f"there is no {place}: the topic's last partition is {len(log) - 1}")
            refuse_empty(span)
            if span.start < there.start or span.end > there.end:
                raise Problem(
                    f"{place} does not hold all of {span.start}-{span.end}; "
                    f"{await _held(client, {span.place: there})}"
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


async def held(settings: Settings, topics: Sequence[str]) -> dict[Partition, Span]:
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

    Raises `Problem` if Kafka is silent, or if retention takes what was still to be read.
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
    """All that the topics hold now, by partition."""
    places = [TopicPartition(t, number) for t in topics for number in range(settings.partitions)]
    starts = await client.beginning_offsets(places)
    ends = await client.end_offsets(places)
    return {(p.topic, p.partition): Span(p.topic, p.partition, starts[p], ends[p]) for p in places}


async def _first_since(
    client: AIOKafkaConsumer, log: Iterable[Partition], at: int | None
) -> dict[Partition, int]:
    """Each partition's first offset with such a timestamp or a later one, where there is any."""
    if at is None:
        return {}
    found = await client.offsets_for_times({TopicPartition(*p): max(0, at) for p in log})
    return {(p.topic, p.partition): known.offset for p, known in found.items() if known}


async def _refuse_forgotten(
    client: AIOKafkaConsumer, log: dict[Partition, Span], since: int
) -> None:
    """Raise `Problem` if retention has deleted what may have been received at `since` or later."""
    cut = {TopicPartition(*p): 0 for p, span in log.items() if 0 < span.start < span.end}
    oldest = [known.timestamp for known in (await client.offsets_for_times(cut)).values() if known]
    if oldest and since < max(oldest):
        raise Problem(
            f"the log no longer holds everything since {to_iso(since)}: begin at "
            f"{to_iso(max(oldest))} or later, or name --offsets; {await _held(client, log)}"
        )


async def _held(client: AIOKafkaConsumer, log: dict[Partition, Span]) -> str:
    """Say what the topics hold: offsets, and when the first and last bodies were received."""
    edges = [
        RawRecord(*place, offset, record.timestamp, (), None)
        for place, span in log.items()
        if span.start < span.end
        for offset in (span.start, span.end - 1)
        for record in await _first(client, Span(*place, offset, span.end))
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


async def _first(client: AIOKafkaConsumer, span: Span) -> list[RawRecord]:
    """The first record of a span, if there is one."""
    place = TopicPartition(*span.place)
    client.assign([place])
    found = await first_record(client, place, span.start, span.end)
    return [raw_record(found)] if found else []
