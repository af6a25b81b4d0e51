"""Restore benchmark: the time until a tracker is ready, without and with an intact store."""

import asyncio
import shutil
import time
from collections.abc import Sequence
from functools import partial

from aiokafka import TopicPartition

from bench.changelog import fill
from bench.environment import Environment, size
from bench.figures import Report
from bench.live_traffic import flowing, live
from bench.loop_stalls import watched
from bench.polling import until
from bench.states import any_states
from bench.worker import ready, tracker
from processors.runtime.exactly_once.restore import restore as restore_store
from processors.runtime.group_worker import GroupWorker
from processors.tracking.state_store import Store
from service.settings import Settings

COUNTS = (100_000, 1_000_000)
_PARTITIONS = 4
_RATE = 50
_QUIET_SECONDS = 5
_READY_SECONDS = 600
_LEAST_RATE = 100_000
_INTACT_SECONDS = 2
_STALL_MS = 100


async def restore(environment: Environment, counts: Sequence[int] = COUNTS) -> list[Report]:
    """Restore `counts` states on one partition, on four, and next to a busy partition."""
    return [report for count in counts for report in await _restore(environment, count)]


async def _restore(environment: Environment, count: int) -> list[Report]:
    return [
        await _alone(environment, count, 1),
        await _alone(environment, count, _PARTITIONS),
        await _next_to_traffic(environment, count),
    ]


async def _alone(environment: Environment, count: int, partitions: int) -> Report:
    report = Report("restore", f"{count:,} states, partitions: {partitions}")
    async with environment.settings(partitions=partitions) as settings:
        counts = dict.fromkeys(range(partitions), count // partitions)
        report.add("a state", await fill(settings, any_states(), counts, environment.log), "bytes")
        async with watched() as lateness:
            seconds = await _from_nothing(settings)
            report.add("without a store", seconds, "s")
            report.add("without a store", count / seconds, "states/s", least=_LEAST_RATE)
            lateness.report(report, "without a store", _STALL_MS)
        report.add("a state in the store", size(settings.data) / count, "bytes")
        async with tracker(settings) as one:
            seconds = await ready(one, _READY_SECONDS)
        report.add("intact store: until ready", seconds, "s", most=_INTACT_SECONDS)
    return report


async def _from_nothing(settings: Settings) -> float:
    """Restore all partitions concurrently, into the directories that the tracker uses."""
    stores = [_store(settings, partition) for partition in range(settings.partitions)]
    began = time.monotonic()
    try:
        await asyncio.gather(
            *(
                restore_store(settings, store, _changelog(settings, number), lambda _: False)
                for number, store in enumerate(stores)
            )
        )
        return time.monotonic() - began
    finally:
        for store in stores:
            store.close()


async def _next_to_traffic(environment: Environment, count: int) -> Report:
    """Measure live traffic on partition 1, which has no states, while partition 0 restores."""
    report = Report("restore", f"next to a partition that restores {count:,} states")
    async with environment.settings(partitions=2) as settings:
        await fill(settings, any_states(), {0: count}, environment.log)
        async with live(settings) as traffic, watched() as lateness, tracker(settings) as one:
            await until(partial(_assigned, one), _READY_SECONDS)
            async with flowing(traffic, _RATE, [1]):
                report.add("restored after", await ready(one, _READY_SECONDS), "s")
            lateness.report(report, "meanwhile", _STALL_MS)
            # Observations written before partition 1 was ready waited for this, too.
            report.spread("live during it", traffic.measured())
            async with flowing(traffic, _RATE, [1]):
                await asyncio.sleep(_QUIET_SECONDS)
            report.spread("live after it", traffic.measured())
    return report


def _assigned(one: GroupWorker) -> bool:
    return all(problem.startswith("partitions not ready") for problem in one.problems())


def _changelog(settings: Settings, partition: int) -> TopicPartition:
    return TopicPartition(settings.topics.messages, partition)


def _store(settings: Settings, partition: int) -> Store:
    """Create an empty store in the directory that the partition's task uses."""
    directory = settings.stores / "track" / str(partition)
    shutil.rmtree(directory, ignore_errors=True)
    return Store(directory, f"{settings.topics.messages}[{partition}]")
