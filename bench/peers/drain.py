"""A measured run that drains a topic: a subject reads all of it, and its outputs are compared.

The first records, usually a fifth, are the warm-up: rate and CPU count from there.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import NamedTuple

from bench.cpu import cpu_seconds
from bench.peers.kafka import Broker, Progress
from bench.peers.processes import Program, Running, running
from bench.peers.results import Run
from service.errors import Problem

WARM_UP = 0.2
_LOOK_SECONDS = 0.1
_MOST_SECONDS = 300
_LEAST_RATE = 5_000  # records/s of a large input


class Place(NamedTuple):
    """Where the subjects run: the broker, its process, a directory, a line of progress."""

    broker: Broker
    broker_pid: int
    directory: Path
    log: Callable[[str], None]


class Prepared(NamedTuple):
    """A subject that is ready to start; `check` returns what is wrong with its outputs, or ""."""

    programs: Sequence[Program]
    group: str
    check: Callable[[], str]


class Input(NamedTuple):
    """The topic that is drained, the number of its records, and how many are the warm-up."""

    topic: str
    size: int
    warm_up: int


class Contestant(NamedTuple):
    """A subject and how to prepare a run of it; the context deletes what the run has made."""

    name: str
    prepare: Callable[[Place], AbstractAsyncContextManager[Prepared]]


Measure = Callable[[Place, Input, str, Running], Awaitable[dict[str, float]]]
"""Measures running processes of a group; raises `TimeoutError` if they take too long."""


class Sample(NamedTuple):
    """What is committed, and the CPU seconds of the subject and of the broker, at a time."""

    done: int
    at: float
    cpu: float
    broker: float


async def rounds(
    place: Place, given: Input, contestants: Sequence[Contestant], count: int
) -> list[Run]:
    """Run each contestant once in each round, in turn."""
    runs = []
    for number in range(1, count + 1):
        for one in contestants:
            place.log(f"round {number} of {count}: {one.name}")
            runs.append(await run(place, given, one, number))
    return runs


async def run(
    place: Place, given: Input, one: Contestant, number: int, measure: Measure | None = None
) -> Run:
    """Run a contestant once, and show its figures, those of `measure` if given."""
    measured = await _run(place, given, one, number, measure or _drained)
    place.log(_line(measured))
    return measured


async def _run(place: Place, given: Input, one: Contestant, number: int, measure: Measure) -> Run:
    async with one.prepare(place) as prepared:
        directory = place.directory / f"{one.name}-{number}".replace(" ", "-").replace(",", "")
        try:
            async with running(prepared.programs, directory) as processes:
                found = await measure(place, given, prepared.group, processes)
        except TimeoutError:
            late = f"it did not finish within {most_seconds(given)} s"
            return Run(subject=one.name, round=number, figures={}, wrong=late)
        except Problem as problem:  # it has ended
            return Run(subject=one.name, round=number, figures={}, wrong=str(problem))
        wrong = await asyncio.to_thread(prepared.check)
    return Run(subject=one.name, round=number, figures=found, wrong=wrong)


def most_seconds(given: Input) -> int:
    """Return how long a run may take."""
    return max(_MOST_SECONDS, given.size // _LEAST_RATE)


async def _drained(place: Place, given: Input, group: str, processes: Running) -> dict[str, float]:
    progress = Progress(place.broker.address, group, given.topic)
    try:
        async with asyncio.timeout(most_seconds(given)):
            begin = await sample(place, progress, processes, given.warm_up)
            end = await sample(place, progress, processes, given.size)
    finally:
        progress.close()
    return figures(begin, end)


def figures(begin: Sample, end: Sample) -> dict[str, float]:
    """Return the figures between two samples; {} if all was committed at once (tiny sizes)."""
    done = end.done - begin.done
    if not done:
        return {}
    return {
        "records/s": done / (end.at - begin.at),
        "CPU µs/record": 1e6 * (end.cpu - begin.cpu) / done,
        "broker CPU µs/record": 1e6 * (end.broker - begin.broker) / done,
    }


async def sample(place: Place, progress: Progress, processes: Running, least: float) -> Sample:
    """Wait until the group has committed this many records."""
    while True:
        at, cpu, broker = time.monotonic(), processes.cpu(), cpu_seconds(place.broker_pid)
        done = await asyncio.to_thread(progress.committed)
        if done >= least:
            return Sample(done, at, cpu, broker)
        await asyncio.sleep(_LOOK_SECONDS)


def _line(run: Run) -> str:
    if run.wrong:
        return f"  disqualified: {run.wrong}"
    return "  " + ", ".join(f"{name} {value:,.1f}" for name, value in run.figures.items())
