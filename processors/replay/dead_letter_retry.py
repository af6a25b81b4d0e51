"""Retrying dead letters: their raw bodies are read again, normalised by today's code, published.

A dead letter is marked as settled only once all that its body amounts to is acknowledged. So a
retry may be killed anywhere and begun again: what was published twice the tracker knows.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from msgspec.structs import replace

from processors.dead_letters.record import Identity, marker
from processors.normalising.accounts import Corrections
from processors.normalising.body_normaliser import Bodies
from processors.replay.retry_outcome import Settled, settle
from processors.runtime import failpoints, log_ranges
from processors.runtime.offset_ranges import Span
from processors.runtime.raw_record import RawRecord
from processors.runtime.record_batches import Outbox, send
from providers.contract import Normalised
from providers.json_slices import UNBOUNDED
from schemas.coordinates import Coordinates, Partition, at
from service.errors import unreachable
from service.kafka import clients
from service.kafka.clock import clock
from service.settings import Settings

# Offsets nearer to each other than this are read in one go, with what lies between.
_NEAR = 10_000


@dataclass(slots=True)
class Report:
    """What came of a retry: counts of bodies, observations and dead letters; those not there."""

    bodies: int = 0
    observations: int = 0
    resolved: int = 0
    failing: Counter[str] = field(default_factory=Counter)
    gone: list[Coordinates] = field(default_factory=list)


async def retry(
    settings: Settings,
    letters: Mapping[Coordinates, Collection[Identity]],
    corrections: Corrections,
    replay: str | None,
    advance: Callable[[int], None],
) -> Report:
    """Retry the bodies at those coordinates, each with its open dead letters.

    `corrections` are accounts of sources, permitted beside those at reception. Observations carry
    the id `replay`; without one nothing is written. `advance` is called with how many bodies are
    done. Raises `Problem`, or `UnsentError` if Kafka does not take something.
    """
    failpoints.arm(settings.failpoint)
    report = Report()
    made_of = Bodies(settings, corrections)
    kept, report.gone = await there(settings, letters)
    advance(len(report.gone))
    producer = clients.producer(settings) if replay else None
    try:
        if producer is not None:
            await _started(settings, producer)
        async for bodies in read(settings, kept):
            # Nobody waits for this process: what was too costly live is normalised here.
            results = [(body, made_of.normalised(body, UNBOUNDED)) for body in bodies]
            settled = [settle(at(body), letters[at(body)], result) for body, result in results]
            if producer is not None and replay:
                outbox, markers = Outbox(producer), Outbox(producer)
                _publish(made_of, outbox, results, settled, replay)
                await send(outbox, settings.transaction_timeout)
                failpoints.reach("retry.before_markers")
                _mark(settings, markers, settled, replay)
                await send(markers, settings.transaction_timeout)
            _count(report, results, settled)
            advance(len(bodies))
    finally:
        if producer is not None:
            await clients.abandon(producer)
    return report


async def _started(settings: Settings, producer: AIOKafkaProducer) -> None:
    await clock.ensure(settings)
    try:
        await producer.start()
    except KafkaError as error:
        raise unreachable(settings.kafka, error) from error


async def there(
    settings: Settings, wanted: Iterable[Coordinates]
) -> tuple[list[Coordinates], list[Coordinates]]:
    """Those bodies that the log holds, and those it does not."""
    ours = {
        TopicPartition(topic, number)
        for topic in settings.topics.raw_topics
        for number in range(settings.partitions)
    }
    async with clients.reading(settings, settings.topics.raw_topics) as client:
        begins = await client.beginning_offsets(list(ours))
        ends = await client.end_offsets(list(ours))
    kept: list[Coordinates] = []
    gone: list[Coordinates] = []
    for one in sorted(wanted):
        place = TopicPartition(one.topic, one.partition)
        held = place in ours and begins[place] <= one.offset < ends[place]
        (kept if held else gone).append(one)
    return kept, gone


async def read(settings: Settings, wanted: Iterable[Coordinates]) -> AsyncIterator[list[RawRecord]]:
    """The raw records at those coordinates, some at a time, none of them empty-handed."""
    left = set(wanted)
    for wave in _waves(left):
        async for batch in log_ranges.read(settings, wave):
            found = [record for record in batch.records if at(record) in left]
            if found:
                yield found


def _waves(wanted: Iterable[Coordinates]) -> list[list[Span]]:
    """Spans that cover the coordinates, at most one of each partition in a wave."""
    runs: dict[Partition, list[Span]] = {}
    for topic, partition, offset in sorted(wanted):
        known = runs.setdefault((topic, partition), [])
        if known and offset - known[-1].end < _NEAR:
            known[-1] = known[-1]._replace(end=offset + 1)
        else:
            known.append(Span(topic, partition, offset, offset + 1))
    most = max(map(len, runs.values()), default=0)
    return [[own[wave] for own in runs.values() if wave < len(own)] for wave in range(most)]


def _publish(
    made_of: Bodies,
    outbox: Outbox,
    results: list[tuple[RawRecord, Normalised]],
    settled: list[Settled],
    replay: str,
) -> None:
    """What the bodies amount to, and dead letters of theirs that nobody has written yet."""
    for (body, result), one in zip(results, settled, strict=True):
        if not one.changes:
            continue
        replayed = [replace(observation, replay=replay) for observation in result.observations]
        outbox.put(made_of.observed(body, replayed, clock.now()))
        outbox.put(made_of.kept(body, one.new, clock.now()))


def _mark(settings: Settings, outbox: Outbox, settled: Iterable[Settled], replay: str) -> None:
    for one in settled:
        for letter in one.settled:
            outbox.add(
                settings.topics.dead_letters,
                letter.partition,
                key=None,
                value=None,
                timestamp=clock.now(),
                headers=marker(letter, replay),
            )


def _count(
    report: Report, results: list[tuple[RawRecord, Normalised]], settled: Iterable[Settled]
) -> None:
    report.bodies += len(results)
    for (_, result), one in zip(results, settled, strict=True):
        report.observations += len(result.observations) if one.changes else 0
        report.resolved += one.resolved
        report.failing.update(letter.code for letter in one.failing)
