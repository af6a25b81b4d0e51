"""Reading the topic of dead letters up to its present end, with a bar on a terminal."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cli.dead_letters.causes import Selection
from cli.options import Letters
from cli.output.json_escaping import as_text
from cli.output.records import Record
from deploy import topics
from processors.dead_letters import record as deadletters
from processors.dead_letters.record import Entry, Kept, Ledger
from processors.replay.range_syntax import times_of
from processors.runtime import log_ranges
from schemas.coordinates import Coordinates
from service.errors import Problem
from service.settings import Settings
from service.wall_clock import now_ms

T = TypeVar("T")


def selection(typed: Letters) -> Selection:
    """What is meant; raises `Problem`."""
    times = times_of(typed.since, typed.until, now_ms())
    meant = Selection(typed.provider, typed.code, *times)
    meant.check()
    return meant


def finished(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; Ctrl-C is a `Problem`."""
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        raise Problem("interrupted; what is written stays, and it may be run again") from None


async def standing(settings: Settings, meant: Selection) -> list[Kept]:
    """The dead letters meant, as they stand at the present end of the topic."""
    ledger = Ledger()
    async for _, entry in entries(settings, meant.since):
        if entry is not None:
            ledger.take(entry)
    return [kept for kept in ledger if meant.holds(kept.entry)]


async def found_at(settings: Settings, at: Coordinates) -> list[tuple[Record, Kept]]:
    """The dead letters at a place, with their records."""
    ledger = Ledger()
    records: dict[Coordinates, Record] = {}
    async for record, entry in entries(settings, None, at.partition):
        if entry is not None:
            ledger.take(entry)
            if entry.resolved is None and at in (entry.at, entry.letter.raw):
                records[entry.at] = record
    return [(records[k.entry.at], k) for k in ledger if k.entry.at in records]


def chosen(
    letters: Iterable[Kept], limit: int | None = None, *, everything: bool = False
) -> list[Kept]:
    """Of dead letters the open ones, or all of them: the oldest so many."""
    kept = [one for one in letters if everything or one.resolved is None]
    return sorted(kept, key=lambda one: (one.entry.timestamp, one.entry.at))[:limit]


async def entries(
    settings: Settings, since: int | None, partition: int | None = None
) -> AsyncIterator[tuple[Record, Entry | None]]:
    """The records of the topic up to its present end; None beside what is not ours."""
    await topics.require(settings, settings.topics.needed("normalise"))
    topic = settings.topics.dead_letters
    parts = await log_ranges.everything(settings, [topic], since)
    parts = [span for span in parts if partition in (None, span.partition)]
    with progress("dead letters") as (expect, advance):
        expect(sum(span.end - span.start for span in parts))
        async for batch in log_ranges.consumed(settings, parts):
            for record in batch.records:
                shown = Record.of(record)
                yield shown, deadletters.read(shown)
            advance(len(batch.records))


@contextmanager
def progress(what: str) -> Iterator[tuple[Callable[[int], None], Callable[[int], None]]]:
    """A bar on a terminal: told how much there is to do, and how much more is done."""
    console = Console(stderr=True)
    columns = (
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(what, total=None)
        yield (
            lambda total: bar.update(task, total=total),
            lambda more: bar.advance(task, more),
        )


def print_json(told: object) -> None:
    sys.stdout.write(as_text(told) + "\n")
