"""Reading the topic of dead letters up to its present end, for the commands and the console."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from cli.dead_letters.causes import Selection
from cli.options import Letters
from cli.output import progress
from cli.output.records import Record
from deploy import topics
from processors.dead_letters import record as deadletters
from processors.dead_letters.record import Entry, Kept, Ledger
from processors.replay.range_syntax import times_of
from processors.runtime import log_ranges
from schemas.coordinates import Coordinates
from service.settings import Settings
from service.wall_clock import now_ms

T = TypeVar("T")

OnProgress = Callable[[int, int], None]
"""Receives how many records of the topic are read, and how many there are."""


def with_bar(read: Callable[[OnProgress], Coroutine[Any, Any, T]]) -> T:
    """Return what is read, with a bar on a terminal meanwhile."""
    with progress.shown(transient=True) as shown:
        return asyncio.run(read(shown.count("dead letters", None).show))


def selection(typed: Letters) -> Selection:
    """Return the selection that the options describe; raises `Problem`."""
    times = times_of(typed.since, typed.until, now_ms())
    meant = Selection(typed.provider, typed.code, *times)
    meant.check()
    return meant


async def read_selected(settings: Settings, meant: Selection, show: OnProgress) -> list[Kept]:
    """Return the selected dead letters, as of the present end of the topic."""
    ledger = Ledger()
    async for _, entry in entries(settings, meant.since, show):
        if entry is not None:
            ledger.add(entry)
    return [kept for kept in ledger if meant.holds(kept.entry)]


async def found_at(
    settings: Settings, at: Coordinates, show: OnProgress
) -> list[tuple[Record, Kept]]:
    """Return the dead letters at some coordinates, with their records."""
    ledger = Ledger()
    records: dict[Coordinates, Record] = {}
    async for record, entry in entries(settings, None, show, at.partition):
        if entry is not None:
            ledger.add(entry)
            if entry.resolved is None and at in (entry.at, entry.letter.raw):
                records[entry.at] = record
    return [(records[k.entry.at], k) for k in ledger if k.entry.at in records]


def chosen(
    letters: Iterable[Kept], limit: int | None = None, *, everything: bool = False
) -> list[Kept]:
    """Return the open dead letters, or all of them: the `limit` oldest."""
    kept = [one for one in letters if everything or one.resolved is None]
    return sorted(kept, key=lambda one: (one.entry.timestamp, one.entry.at))[:limit]


async def entries(
    settings: Settings, since: int | None, show: OnProgress, partition: int | None = None
) -> AsyncIterator[tuple[Record, Entry | None]]:
    """Yield the topic's records up to its present end; None for an unknown record's entry.

    Raises `Problem` if a topic that dead letters come from, or go to, is missing or foreign.
    """
    await topics.require(settings, settings.topics.needed("normalise"))
    topic = settings.topics.dead_letters
    parts = await log_ranges.everything(settings, [topic], since)
    parts = [span for span in parts if partition in (None, span.partition)]
    done, total = 0, sum(span.end - span.start for span in parts)
    show(done, total)
    async for batch in log_ranges.consumed(settings, parts):
        for record in batch.records:
            one = Record.of(record)
            yield one, deadletters.read(one)
        done += len(batch.records)
        show(done, total)
