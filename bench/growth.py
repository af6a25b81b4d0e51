"""Growth: CPU a record of trackers, by tracked messages, by partitions, and by processes."""

from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple

from bench.peers import bluetick_services, command, track
from bench.peers.command import Job, Log, Measured, Size
from bench.peers.drain import Input, Place, run
from bench.peers.lifecycle import RANK, Json
from bench.peers.results import Result, Run, Subject
from service.wall_clock import now_ms

MESSAGES = (100_000, 1_000_000)
_PARTITIONS = (1, 4, 12, 24, 48)
_PROCESSES = (1, 2, 4)
_USUAL = 12  # partitions
_LOAD = 50_000  # messages whose statuses are measured
_SEED = 11


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
    base_ms = now_ms()
    async with bluetick_services.namespace(place, partitions=case.partitions) as source:
        if case.tracked:
            seen = _tracked(case.tracked, load, base_ms)
            written = track.write(place, source, seen)
            given, facts = Input(written.topic, written.size, case.tracked), written.size
        else:
            given = track.write(place, source, track.observations(load, base_ms))
            facts = load * len(RANK)
        trackers = track.trackers(case.name, source, case.processes, facts)
        return await run(place, given, trackers, number)


def _tracked(messages: int, load: int, base_ms: int) -> Iterator[Json]:
    """Yield the first status of each message, then the next one of `load` of them at random."""
    for number in range(messages):
        yield track.observation(number, "sending", number, base_ms)
    chosen = Random(_SEED).sample(range(messages), load)  # noqa: S311 - repeatable on purpose
    for position, number in enumerate(chosen):
        yield track.observation(number, "sent", messages + position, base_ms)
