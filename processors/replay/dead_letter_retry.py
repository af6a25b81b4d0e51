"""Retrying dead letters: read their raw bodies, normalise them by today's code, publish.

A dead letter is marked as resolved only after all results of its body are acknowledged. So a retry
may be killed at any point and started again: the tracker recognises repeated observations.
"""

import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from msgspec.structs import replace

from processors.dead_letters.record import Entry, Identity, Kept, marker
from processors.normalising.accounts import Corrections
from processors.normalising.body_normaliser import Bodies
from processors.replay.retry_outcome import RetryOutcome, outcome_of
from processors.runtime import failpoints, log_ranges
from processors.runtime.offset_ranges import Span
from processors.runtime.raw_record import RawRecord
from processors.runtime.record_batches import Outbox, send
from providers.contract import Normalised
from providers.json_slices import UNBOUNDED
from schemas.coordinates import Coordinates, Partition, at
from service.kafka import clients
from service.kafka.clock import clock
from service.kafka.failures import diagnosed
from service.settings import Settings

# Offsets nearer to each other than this are read together, with the records between them.
_NEAR = 10_000


@dataclass(slots=True)
class Report:
    """The result of a retry: counts, and the coordinates of the bodies that no longer exist."""

    bodies: int = 0
    observations: int = 0
    resolved: int = 0
    failing: Counter[str] = field(default_factory=Counter)
    gone: list[Coordinates] = field(default_factory=list)


def new_id() -> str:
    """Return an id of a retry: its time of day and random digits."""
    return f"retry-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{secrets.token_hex(2)}"


async def retry(
    settings: Settings,
    letters: Mapping[Coordinates, Collection[Identity]],
    corrections: Corrections,
    replay: str | None,
    advance: Callable[[int], None],
) -> Report:
    """Retry the bodies at those coordinates, each with its open dead letters.

    `corrections` are accounts of sources, permitted in addition to those at reception. Observations
    have the id `replay`; without one nothing is written. `advance` is called with the number of
    finished bodies. Raises `Problem`, or `UnsentError` if Kafka refuses a record.
    """
    failpoints.arm(settings.failpoint)
    report = Report()
    normaliser = Bodies(settings, corrections)
    kept, report.gone = await find_bodies(settings, letters)
    advance(len(report.gone))
    producer = clients.producer(settings) if replay else None
    try:
        if producer is not None:
            await _start(settings, producer)
        async for bodies in read(settings, kept):
            # No deadline applies here: bodies that were too costly for normalise are processed too.
            results = [(body, normaliser.normalised(body, UNBOUNDED)) for body in bodies]
            outcomes = [outcome_of(at(body), letters[at(body)], result) for body, result in results]
            if producer is not None and replay:
                outbox, markers = Outbox(producer), Outbox(producer)
                _publish(normaliser, outbox, results, outcomes, replay)
                await send(outbox, settings.transaction_timeout)
                failpoints.reach("retry.before_markers")
                _mark(settings, markers, outcomes, replay)
                await send(markers, settings.transaction_timeout)
            _count(report, results, outcomes)
            advance(len(bodies))
    finally:
        if producer is not None:
            await clients.abandon(producer)
    return report


def bodies_of(
    raw_topics: Collection[str],
    open_letters: Iterable[Kept],
    chosen: Callable[[Entry], bool],
    limit: int | None = None,
) -> dict[Coordinates, set[Identity]]:
    """Return the bodies of the chosen dead letters, each with all of its open ones.

    All dead letters of a body are compared, also unselected ones: they must not be written again.
    An invalid record on `observations` has no raw body. `limit` is the number of dead letters.
    """
    known = [
        kept
        for kept in open_letters
        if kept.entry.letter.raw.topic in raw_topics
        or kept.entry.letter.code != "not_an_observation"
    ]
    wanted = [kept.entry.letter.raw for kept in known if chosen(kept.entry)][:limit]
    bodies: dict[Coordinates, set[Identity]] = {raw: set() for raw in wanted}
    for kept in known:
        if kept.entry.letter.raw in bodies:
            bodies[kept.entry.letter.raw].add(kept.entry.letter)
    return bodies


async def _start(settings: Settings, producer: AIOKafkaProducer) -> None:
    await clock.ensure(settings)
    try:
        await producer.start()
    except KafkaError as error:
        raise await diagnosed(settings, error) from error


async def find_bodies(
    settings: Settings, wanted: Iterable[Coordinates]
) -> tuple[list[Coordinates], list[Coordinates]]:
    """Return the coordinates that the log holds, and those that it no longer holds."""
    partitions = {
        TopicPartition(topic, number)
        for topic in settings.topics.raw_topics
        for number in range(settings.partitions)
    }
    async with clients.reading(settings, settings.topics.raw_topics) as client:
        begins = await client.beginning_offsets(list(partitions))
        ends = await client.end_offsets(list(partitions))
    kept: list[Coordinates] = []
    gone: list[Coordinates] = []
    for one in sorted(wanted):
        place = TopicPartition(one.topic, one.partition)
        held = place in partitions and begins[place] <= one.offset < ends[place]
        (kept if held else gone).append(one)
    return kept, gone


async def read(settings: Settings, wanted: Iterable[Coordinates]) -> AsyncIterator[list[RawRecord]]:
    """Yield the raw records at those coordinates, in lists that are not empty."""
    left = set(wanted)
    for wave in _waves(left):
        async for batch in log_ranges.read(settings, wave):
            found = [record for record in batch.records if at(record) in left]
            if found:
                yield found


def _waves(wanted: Iterable[Coordinates]) -> list[list[Span]]:
    """Return spans that cover the coordinates, at most one of each partition in a wave."""
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
    normaliser: Bodies,
    outbox: Outbox,
    results: list[tuple[RawRecord, Normalised]],
    outcomes: list[RetryOutcome],
    replay: str,
) -> None:
    """Add the observations of the bodies, and their dead letters that are not written yet."""
    for (body, result), one in zip(results, outcomes, strict=True):
        if not one.changes:
            continue
        replayed = [replace(observation, replay=replay) for observation in result.observations]
        outbox.put(normaliser.observed(body, replayed, clock.now()))
        outbox.put(normaliser.kept(body, one.new, clock.now()))


def _mark(
    settings: Settings, outbox: Outbox, outcomes: Iterable[RetryOutcome], replay: str
) -> None:
    for one in outcomes:
        for letter in one.marked:
            outbox.add(
                settings.topics.dead_letters,
                letter.partition,
                key=None,
                value=None,
                timestamp=clock.now(),
                headers=marker(letter, replay),
            )


def _count(
    report: Report, results: list[tuple[RawRecord, Normalised]], outcomes: Iterable[RetryOutcome]
) -> None:
    report.bodies += len(results)
    for (_, result), one in zip(results, outcomes, strict=True):
        report.observations += len(result.observations) if one.changes else 0
        report.resolved += one.resolved
        report.failing.update(letter.code for letter in one.failing)
