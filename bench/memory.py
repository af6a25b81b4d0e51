"""Memory benchmark: the memory of a tracker's process with millions of messages."""

import asyncio
from collections.abc import Sequence

from bench.changelog import fill
from bench.environment import Environment, size
from bench.figures import Report
from bench.live_traffic import flowing, live
from bench.states import any_states
from bench.worker import Memory, Worker, worker
from service.settings import Settings

COUNTS = (100_000, 1_000_000, 5_000_000)
_PARTITIONS = 6
_RATE = 500
_LIVE_SECONDS = 10
_READY_SECONDS = 900
_POLL_SECONDS = 0.2
_MOST_MB = 400


async def memory(environment: Environment, counts: Sequence[int] = COUNTS) -> list[Report]:
    """Restore and track `counts` messages, each time in a new process."""
    return [await _memory(environment, count) for count in counts]


async def _memory(environment: Environment, count: int) -> Report:
    report = Report("memory", f"{count:,} messages, partitions: {_PARTITIONS}")
    each = -(-count // _PARTITIONS)
    async with environment.settings(partitions=_PARTITIONS) as settings:
        counts = dict.fromkeys(range(_PARTITIONS), each)
        report.add("a state", await fill(settings, any_states(), counts, environment.log), "bytes")
        await _measure(settings, each * _PARTITIONS, report)
    return report


async def _measure(settings: Settings, count: int, report: Report) -> None:
    async with live(settings) as traffic, worker(settings) as one:
        seconds = await one.ready(_READY_SECONDS)
        report.add("until ready, with the start of the process", seconds, "s")
        report.add("restored", count / seconds, "states/s")
        report.add("restored: peak", Memory.of(one.pid).peak, "MB", most=_MOST_MB)
        async with flowing(traffic, _RATE, range(settings.partitions)):
            steady = await _steady(one)
        report.add("under load: steady", steady, "MB", most=_MOST_MB)
        report.add("under load: peak", Memory.of(one.pid).peak, "MB", most=_MOST_MB)
        report.spread("live", traffic.measured())
    report.add("store on disk", size(settings.data) / 1e6, "MB")


async def _steady(one: Worker) -> float:
    """Return the mean memory over the second half of some seconds, MB."""
    seen = []
    for _ in range(round(_LIVE_SECONDS / _POLL_SECONDS)):
        await asyncio.sleep(_POLL_SECONDS)
        seen.append(Memory.of(one.pid).now)
    half = seen[len(seen) // 2 :]
    return sum(half) / len(half)
