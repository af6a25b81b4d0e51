"""Growth: CPU a record of trackers, by tracked messages, by partitions, and by processes."""

import asyncio
from collections.abc import Iterator, Sequence
from functools import partial
from random import Random
from typing import NamedTuple

from bench.peers import bluetick_services, command, track
from bench.peers.command import Job, Log, Measured, Size
from bench.peers.drain import Input, Place, figures, most_seconds, run, sample
from bench.peers.kafka import Progress
from bench.peers.lifecycle import RANK, Json
from bench.peers.processes import Running
from bench.peers.results import Result, Run, Subject
from service.settings import Settings
from service.wall_clock import now_ms

MESSAGES = (100_000, 1_000_000)
_PARTITIONS = (1, 4, 12, 24, 48)
_PROCESSES = (1, 2, 4)
_USUAL = 12  # partitions
_LOAD = 50_000  # messages whose statuses are measured
_SEED = 11
_STATUSES = list(RANK)
_QUIET_SECONDS = 2.0
_QUIET_CPU_SECONDS = 0.1


class Case(NamedTuple):
    """One measurement: `tracked` messages are there before those that are measured."""

    name: str
    tracked: int = 0
    partitions: int = _USUAL
    processes: int = 1


def cases(tracked: Sequence[int], load: int = _LOAD) -> list[Case]:
    """Return all measurements, for these numbers of tracked messages."""
    return [
        *(Case(f"tracked messages: {count:,}", max(count, load)) for count in tracked),
        *(Case(f"partitions: {count}", partitions=count) for count in _PARTITIONS),
        *(Case(f"processes: {count}", processes=count) for count in _PROCESSES),
    ]


async def growth(wanted: Sequence[Case], load: int, count: int, log: Log) -> Result:
    """Measure each case once in each round, each with topics of its own."""
    runs: list[Run] = []
    async with command.kafka(log) as place:
        for number in range(1, count + 1):
            for case in wanted:
                log(f"round {number} of {count}: {case.name}")
                runs.append(await _run(place, case, load, number))
    subjects = [Subject(name=case.name, settings="the defaults") for case in wanted]
    options = f" --load {load} --rounds {count}"
    named = "".join(f" --messages {case.tracked}" for case in wanted if case.tracked)
    job = Job("growth", "CPU of trackers", subjects, f"python -m bench growth{named}{options}")
    sizes = {"messages whose statuses are measured": load, "partitions, if not given": _USUAL}
    return command.result_of(job, Size(quick=False, rounds=count), sizes, {}, Measured(runs, {}))


async def _run(place: Place, case: Case, load: int, number: int) -> Run:
    """Track what is there before; then, when nothing is under way any more, measure the load."""
    base_ms = now_ms()
    async with bluetick_services.namespace(place, partitions=case.partitions) as source:
        before = track.write(place, source, _first(case.tracked, base_ms))
        later = _later(case.tracked, load, base_ms) if case.tracked else None
        more = list(later or track.observations(load, base_ms))
        facts = case.tracked + load * (len(RANK) - bool(case.tracked))
        trackers = track.trackers(case.name, source, case.processes, facts)
        return await run(
            place, before, trackers, number, partial(_loaded, source=source, more=more)
        )


async def _loaded(
    place: Place, before: Input, group: str, at: Running, *, source: Settings, more: Sequence[Json]
) -> dict[str, float]:
    """Measure the load once what is there before is tracked."""
    progress = Progress(place.broker.address, group, before.topic)
    try:
        async with asyncio.timeout(most_seconds(before)):
            await sample(place, progress, at, before.size)
            await _quiet(at)
            begin = await sample(place, progress, at, before.size)
            await asyncio.to_thread(track.write, place, source, more)
            end = await sample(place, progress, at, before.size + len(more))
    finally:
        progress.close()
    return figures(begin, end)


async def _quiet(processes: Running) -> None:
    """Wait until the processes do nothing: the store is compacted after much was written."""
    cpu = -1.0
    while processes.cpu() - cpu > _QUIET_CPU_SECONDS:
        cpu = processes.cpu()
        await asyncio.sleep(_QUIET_SECONDS)


def _first(messages: int, base_ms: int) -> Iterator[Json]:
    """Yield the first status of each message."""
    for number in range(messages):
        yield track.observation(number, _STATUSES[0], number, base_ms)


def _later(messages: int, load: int, base_ms: int) -> Iterator[Json]:
    """Yield the later statuses of `load` of the messages, chosen at random."""
    chosen = Random(_SEED).sample(range(messages), load)  # noqa: S311 - repeatable on purpose
    for turn, status in enumerate(_STATUSES[1:]):
        for position, number in enumerate(chosen, messages + turn * load):
            yield track.observation(number, status, position, base_ms)
