"""Reads the topic `quality`, and prints its figures."""

import asyncio
from contextlib import aclosing

from rich.console import Console

from cli.options import QualityOf
from cli.output.jsonl import print_json
from cli.problem_sentences import CommandProblem
from cli.quality.figures import DIMENSIONS, Dimension, Query, as_json, rows
from cli.quality.table import table
from cli.tail import follow
from processors.replay.range_syntax import times_of
from schemas.codec import decode_quality
from schemas.quality import QualityCell, start_of
from schemas.webhook import to_iso
from service.errors import Problem
from service.kafka.clock import clock
from service.settings import Settings

_NONE = (
    "no figures for this time. bluetick measure makes them of the states of messages: see whether "
    "it runs (bluetick group show measure), or ask for another time with --from."
)


def show(settings: Settings, wanted: QualityOf, *, json: bool) -> int:
    """Print the figures of a time; returns the exit code. Raises `Problem`."""
    query = query_of(wanted, clock.now())
    found = rows(asyncio.run(read(settings)), query)
    if json:
        print_json(as_json(found, query))
    elif found:
        Console().print(table(found, query))
    else:
        Console(highlight=False).print(_NONE)
    return 0


def query_of(wanted: QualityOf, now: int) -> Query:
    """Return the query of typed options; `now` is Unix milliseconds. Raises `Problem`."""
    since, until = times_of(wanted.since, wanted.until, now)
    since = start_of("minute", since or 0)
    if until is not None and until <= since:
        raise Problem("range_backwards", since=to_iso(since), until=to_iso(until))
    return Query(_dimensions(wanted.by), since, until, wanted.per)


def _dimensions(text: str) -> list[Dimension]:
    names = list(dict.fromkeys(one.strip() for one in text.split(",")))
    known = [one for name in names for one in DIMENSIONS if one == name]
    if len(known) < len(names):
        raise CommandProblem(
            "unknown_dimension",
            "--by {text!r} names a dimension that there is not; the dimensions are {known}, with "
            "commas between",
            text=text,
            known=", ".join(DIMENSIONS),
        )
    return known


async def read(settings: Settings) -> list[QualityCell]:
    """Return the cells on the topic, the newest of each key. Raises `Problem`."""
    newest: dict[bytes, bytes | None] = {}
    following = follow(settings, settings.topics.quality, from_start=True, until_end=True)
    async with aclosing(following) as records:
        async for record in records:
            if record.key is not None:
                newest[record.key] = record.value
    return [decode_quality(value) for value in newest.values() if value is not None]
