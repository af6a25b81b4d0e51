"""What a replay would bring, found out by reading alone.

The range is read and normalised once, then `messages` is read to its present end. States come and
go: what is kept is the distinct facts of the range.
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
from processors.replay.facts import Counts, Facts, Kind, Standing, wanted
from processors.replay.progress import Spec
from processors.replay.range_syntax import Only
from processors.runtime import consumer_groups, log_ranges
from processors.runtime.offset_ranges import Span, Window
from processors.runtime.raw_record import Consumed, RawRecord
from schemas.codec import UndecodableError, decode_by_key
from schemas.coordinates import Coordinates, at
from schemas.records import Observation
from schemas.webhook import source_of
from service.errors import Problem
from service.settings import Settings

# After so many observations the event loop's other work is let in, fetching above all.
SLICE = 200

Tell = Callable[[str, int, int], None]
"""Takes what is being read, how many records were, and of how many."""


@dataclass(slots=True)
class Plan:
    """What there is in a range, and how its facts stand to what is known.

    `behind` is how many observations the tracker had still to take: their facts count as new.
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
    """What a replay of a range is to do, and how many records are left to the normaliser.

    Those are past what the live normaliser has committed: it will take them itself.
    """
    accounts = fingerprint(corrections)
    if archive is not None:
        url, found = await raw_input.archived(settings, topics, window, offsets, archive)
        return Spec(tuple(sorted(found)), window, only, url, source, accounts), 0
    found, cut = await raw_input.logged(settings, topics, window, offsets)
    spec = Spec(tuple(sorted(cut)), window, only, None, source, accounts)
    return spec, size(found) - size(cut)


class Selection:
    """Which records and observations of a range are meant."""

    def __init__(self, bodies: Bodies, spec: Spec, which: frozenset[Coordinates] | None) -> None:
        """`which` raw records alone are meant, if it is not None."""
        self._bodies = bodies
        self._window = spec.window
        self._only = spec.only
        self._source = spec.source
        self._which = which
        self._sources: set[str] = set()

    def observations(self, record: RawRecord, counts: Counts) -> list[Observation]:
        """What is meant of one record, counted; nothing of one outside of the range."""
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
        result = self._bodies.normalised(record)
        found = wanted(self._only, result.observations)
        counts.add(provider, result, len(found))
        return found

    def refuse_unheard(self) -> None:
        """After the range: raise `Problem` if none of its bodies came in by the source wanted."""
        if self._source is not None and self._source not in self._sources:
            there = ", ".join(sorted(self._sources)) or "none"
            raise Problem(
                f"no body of that range came in by the source {self._source}; correct --source, "
                f"there are: {there}"
            )


async def selection(settings: Settings, bodies: Bodies, spec: Spec) -> Selection:
    """Look up what the range's selection needs to know: which bodies have such a dead letter."""
    only = spec.only
    if only is None or only.kind != "code":
        return Selection(bodies, spec, None)
    return Selection(bodies, spec, await _with_dead_letter(settings, only.value))


async def plan(
    settings: Settings,
    spec: Spec,
    wait: float,
    tell: Tell,
    corrections: Corrections = UNCORRECTED,
) -> Plan:
    """Read the range, then the states; `wait` is the seconds the tracker may take to catch up."""
    began = time.monotonic()
    made, facts = Plan(spec), Facts()
    await _read_range(settings, Bodies(settings, corrections), made, facts, tell)
    # The range's own observations were there before its offsets were committed.
    topics = settings.topics
    made.behind = await consumer_groups.passed(
        settings, topics.group("track"), topics.observations, wait
    )
    made.states = await _read_states(settings, facts, tell)
    made.facts = facts.count()
    made.seconds = time.monotonic() - began
    return made


async def _read_range(
    settings: Settings, bodies: Bodies, made: Plan, facts: Facts, tell: Tell
) -> None:
    chosen = await selection(settings, bodies, made.spec)
    total, done, since_pause = size(made.spec.spans), 0, 0
    async with aclosing(raw_input.bodies(settings, made.spec, made.spec.spans)) as source:
        async for batch in source:
            for record in batch.records:
                found = chosen.observations(record, made.counts)
                for observation in found:
                    facts.add(observation)
                since_pause += 1 + len(found)
                if since_pause > SLICE:
                    since_pause = 0
                    await asyncio.sleep(0)
            done += len(batch.records)
            tell("the range", done, total)
    chosen.refuse_unheard()


async def _read_states(settings: Settings, facts: Facts, tell: Tell) -> int:
    """Compare with all states there are; how many records were read."""
    log = await log_ranges.everything(settings, [settings.topics.messages])
    total, done = size(log), 0
    async with aclosing(log_ranges.consumed(settings, log)) as source:
        async for batch in source:
            for record in batch.records:
                _settle(facts, record)
            done += len(batch.records)
            tell("the states", done, total)
    return done


def _settle(facts: Facts, record: Consumed) -> None:
    key = (record.key or b"").decode("utf-8", "replace")
    if key not in facts:
        return
    try:
        facts.settle(key, None if record.value is None else decode_by_key(key, record.value))
    except UndecodableError as error:
        raise Problem(
            f"the state at {record.topic}[{record.partition}] offset {record.offset} cannot be "
            f"read ({error}); look at the record, and whether it is of a newer Bluetick"
        ) from None


async def _with_dead_letter(settings: Settings, code: str) -> frozenset[Coordinates]:
    """The raw records that have a dead letter with this code."""
    found: set[Coordinates] = set()
    log = await log_ranges.everything(settings, [settings.topics.dead_letters])
    async for batch in log_ranges.consumed(settings, log):
        for record in batch.records:
            entry = deadletters.read(record)
            if entry and entry.letter.code == code:
                found.add(entry.letter.raw)
    return frozenset(found)


def size(wanted_: Iterable[Span]) -> int:
    """How many records spans hold, at most."""
    return sum(span.end - span.start for span in wanted_)
