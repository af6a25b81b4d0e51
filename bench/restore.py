"""Restoring: how long until a tracker works, from nothing and from an intact store."""

import asyncio
import shutil
import time
from collections.abc import Sequence
from functools import partial

from bench.changelog import fill
from bench.environment import Ground, size
from bench.figures import Report
from bench.live_traffic import flowing, live
from bench.loop_stalls import watched
from bench.polling import until
from bench.states import settled
from bench.worker import ready, tracker
from processors.runtime.group_worker import GroupWorker
from processors.tracking.restore import restore as restore_store
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


async def restore(ground: Ground, counts: Sequence[int] = COUNTS) -> list[Report]:
    """Restore so many states on one partition, the same over four, and beside a busy one."""
    return [report for count in counts for report in await _restore(ground, count)]


async def _restore(ground: Ground, count: int) -> list[Report]:
    return [
        await _alone(ground, count, 1),
        await _alone(ground, count, _PARTITIONS),
        await _beside(ground, count),
    ]


async def _alone(ground: Ground, count: int, partitions: int) -> Report:
    report = Report("restore", f"{count:,} states, partitions: {partitions}")
    async with ground.settings(partitions=partitions) as settings:
        counts = dict.fromkeys(range(partitions), count // partitions)
        report.add("a state", await fill(settings, settled(), counts, ground.tell), "bytes")
        async with watched() as lateness:
            seconds = await _from_nothing(settings)
            report.add("from nothing", seconds, "s")
            report.add("from nothing", count / seconds, "states/s", least=_LEAST_RATE)
            lateness.report(report, "from nothing", _STALL_MS)
        report.add("a state in the store", size(settings.data) / count, "bytes")
        async with tracker(settings) as one:
            seconds = await ready(one, _READY_SECONDS)
        report.add("intact store: until ready", seconds, "s", most=_INTACT_SECONDS)
    return report


async def _from_nothing(settings: Settings) -> float:
    """Restore all partitions at once, into stores where the tracker will look for them."""
    stores = [_store(settings, partition) for partition in range(settings.partitions)]
    began = time.monotonic()
    try:
        await asyncio.gather(
            *(restore_store(settings, store, number) for number, store in enumerate(stores))
        )
        return time.monotonic() - began
    finally:
        for store in stores:
            store.close()


async def _beside(ground: Ground, count: int) -> Report:
    """Partition 1 has nothing to restore and live traffic, while partition 0 restores."""
    report = Report("restore", f"beside a partition that restores {count:,} states")
    async with ground.settings(partitions=2) as settings:
        await fill(settings, settled(), {0: count}, ground.tell)
        async with live(settings) as traffic, watched() as lateness, tracker(settings) as one:
            await until(partial(_assigned, one), _READY_SECONDS)
            async with flowing(traffic, _RATE, [1]):
                report.add("restored after", await ready(one, _READY_SECONDS), "s")
            lateness.report(report, "meanwhile", _STALL_MS)
            # Those written before partition 1 itself was ready wait for that, too.
            report.spread("live meanwhile", traffic.take())
            async with flowing(traffic, _RATE, [1]):
                await asyncio.sleep(_QUIET_SECONDS)
            report.spread("live afterwards", traffic.take())
    return report


def _assigned(one: GroupWorker) -> bool:
    return all(problem.startswith("partitions not ready") for problem in one.problems())


def _store(settings: Settings, partition: int) -> Store:
    """The partition's store, empty, where its task will look for it."""
    directory = settings.data / settings.namespace / "track" / str(partition)
    shutil.rmtree(directory, ignore_errors=True)
    return Store(directory, f"{settings.topics.messages}[{partition}]")
