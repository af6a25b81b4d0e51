"""The plan of a replay: its effect, found by reading alone.

`plan_counts.py` has the counts. The range is read and normalised once, then `messages` is read to
its present end. Only the distinct facts of the range are kept in memory, not the states.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from processors.dead_letters import record as deadletters
from processors.normalising.accounts import UNCORRECTED, Corrections, fingerprint
from processors.normalising.body_normaliser import Bodies
from processors.replay import raw_input
from processors.replay.plan_counts import Counts, Facts, Kind, Standing, wanted
from processors.replay.progress import Spec
from processors.replay.range_syntax import Only
from processors.runtime import consumer_groups, log_ranges
from processors.runtime.offset_ranges import Span, Window, remaining
from processors.runtime.raw_record import Consumed, RawRecord
from schemas.codec import UndecodableError, decode_by_key
from schemas.coordinates import Coordinates, Partition, at
from schemas.records import Observation
from schemas.webhook import source_of
from service.errors import Problem
from service.settings import Settings

# After this number of records and observations, other tasks run, for example fetching.
SLICE = 200

OnProgress = Callable[[str, int, int], None]
"""Called with the name of the input, the number of offsets passed, and their total."""


@dataclass(slots=True)
class Plan:
    """The contents of a range, and its facts compared with the known states.

    `behind` is the number of observations that the tracker has not processed yet: their facts count
    as new.
    """

    spec: Spec
    counts: Counts = field(default_factory=Counts)
    facts: dict[Kind, Counter[Standing]] = field(default_factory=dict)
    behind: int = 0
    seconds: float = 0.0
    states: int = 0


async def resolve(
    settings: Settings,
    topics: Sequence[str],
    window: Window,
    offsets: Mapping[int, tuple[int, int]],
    only: Only | None,
    *,
    archive: str | None = None,
    source: str | None = None,
    corrections: Corrections = UNCORRECTED,
) -> tuple[Spec, int]:
    """Return the spec of a replay, and the number of records left to normalise.

    These are after the committed offsets of the live service, which processes them itself.
    """
    accounts = fingerprint(corrections)
    if archive is not None:
        url, found = await raw_input.archived(settings, topics, window, offsets, archive)
        return Spec(tuple(sorted(found)), window, only, url, source, accounts), 0
    found, cut = await raw_input.logged(settings, topics, window, offsets)
    spec = Spec(tuple(sorted(cut)), window, only, None, source, accounts)
    return spec, size(found) - size(cut)


class Selection:
    """The selected records and observations of a range."""

    def __init__(self, bodies: Bodies, spec: Spec, which: frozenset[Coordinates] | None) -> None:
        """`which` limits the selection to these raw records, unless it is None."""
        self._bodies = bodies
        self._window = spec.window
        self._only = spec.only
        self._source = spec.source
        self._which = which
        self._sources: set[str] = set()

    def observations(self, record: RawRecord, counts: Counts) -> list[Observation]:
        """Return and count the selected observations of a record; [] outside of the range."""
        if not self._window.holds(record.timestamp):
            return []
        if self._which is not None and at(record) not in self._which:
            return []
        provider = self._bodies.provider(record)
        if self._source is not None:
            source = source_of(record.headers, provider)
            self._sources.add(source)
            if source != self._source:
                return []
        normalised = self._bodies.normalised(record)
        found = wanted(self._only, normalised.observations)
        counts.add(provider, normalised, len(found))
        return found

    def refuse_unknown_source(self) -> None:
        """After the range: raise `Problem` if no body came from the selected source."""
        if self._source is not None and self._source not in self._sources:
            raise Problem("source_unheard", source=self._source, sources=sorted(self._sources))


async def selection(settings: Settings, bodies: Bodies, spec: Spec) -> Selection:
    """Return the selection of a spec; read the dead letters if it selects by their code."""
    only = spec.only
    if only is None or only.kind != "code":
        return Selection(bodies, spec, None)
    return Selection(bodies, spec, await _with_dead_letter(settings, only.value))


async def plan(
    settings: Settings,
    spec: Spec,
    wait: float,
    on_progress: OnProgress,
    corrections: Corrections = UNCORRECTED,
) -> Plan:
    """Read the range, then the states; wait at most `wait` seconds for the tracker to catch up."""
    began = time.monotonic()
    result, facts = Plan(spec), Facts()
    await _read_range(settings, Bodies(settings, corrections), result, facts, on_progress)
    # The range's own observations were published before its offsets were committed.
    topics = settings.topics
    result.behind = await consumer_groups.passed(
        settings, topics.group("track"), topics.observations, wait
    )
    result.states = await _read_states(settings, facts, on_progress)
    result.facts = facts.count()
    result.seconds = time.monotonic() - began
    return result


async def _read_range(
    settings: Settings, bodies: Bodies, result: Plan, facts: Facts, on_progress: OnProgress
) -> None:
    chosen = await selection(settings, bodies, result.spec)
    spans, since_pause = result.spec.spans, 0
    reached: dict[Partition, int] = {}
    async with aclosing(raw_input.bodies(settings, result.spec, spans)) as source:
        async for batch in source:
            for record in batch.records:
                found = chosen.observations(record, result.counts)
                for observation in found:
                    facts.add(observation)
                since_pause += 1 + len(found)
                if since_pause > SLICE:
                    since_pause = 0
                    await asyncio.sleep(0)
            reached |= batch.reached
            on_progress("the range", passed(spans, reached), size(spans))
    chosen.refuse_unknown_source()


async def _read_states(settings: Settings, facts: Facts, on_progress: OnProgress) -> int:
    """Compare with all states; return the number of records read."""
    log = await log_ranges.everything(settings, [settings.topics.messages])
    count = 0
    reached: dict[Partition, int] = {}
    async with aclosing(log_ranges.consumed(settings, log)) as source:
        async for batch in source:
            for record in batch.records:
                _compare(facts, record)
            count += len(batch.records)
            reached |= batch.reached
            on_progress("the states", passed(log, reached), size(log))
    return count


def _compare(facts: Facts, record: Consumed) -> None:
    key = (record.key or b"").decode("utf-8", "replace")
    if key not in facts:
        return
    try:
        facts.compare(key, None if record.value is None else decode_by_key(key, record.value))
    except UndecodableError as error:
        raise Problem(
            "state_unreadable",
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            why=str(error),
        ) from None


async def _with_dead_letter(settings: Settings, code: str) -> frozenset[Coordinates]:
    """Return the raw records that have a dead letter with this code."""
    found: set[Coordinates] = set()
    log = await log_ranges.everything(settings, [settings.topics.dead_letters])
    async for batch in log_ranges.consumed(settings, log):
        for record in batch.records:
            entry = deadletters.read(record)
            if entry and entry.letter.code == code:
                found.add(entry.letter.raw)
    return frozenset(found)


def size(wanted_: Iterable[Span]) -> int:
    """Return the number of offsets of the spans, which is the largest number of their records."""
    return sum(span.end - span.start for span in wanted_)


def passed(spans: Sequence[Span], reached: Mapping[Partition, int]) -> int:
    """Return the number of offsets of the spans that were passed, with a record or without one."""
    return size(spans) - size(remaining(spans, reached))
