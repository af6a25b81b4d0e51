"""A storm of timers: a million messages stall at once, while others go on."""

import asyncio
import time

from bench.changelog import fill
from bench.environment import Ground, Tell
from bench.figures import Report
from bench.live_traffic import Live, flowing, live
from bench.loop_stalls import watched
from bench.polling import LOOK_SECONDS
from bench.states import stalled
from bench.worker import ready, tracker
from processors.runtime import metrics

COUNT = 1_000_000
_RATE = 50
_QUIET_SECONDS = 5
_TELL_SECONDS = 5
_READY_SECONDS = 600
_LEAST_RATE = 500  # timers a second; what is slower is given up
_STALL_MS = 100


async def timers(ground: Ground, count: int = COUNT) -> list[Report]:
    """Restore a partition whose every message has stalled, and fire all its timers."""
    report = Report("timers", f"{count:,} due")
    async with ground.settings(partitions=1, timer_grace=0.0) as settings:
        report.add("a state", await fill(settings, stalled(), {0: count}, ground.tell), "bytes")
        async with live(settings) as traffic, watched() as lateness, tracker(settings) as one:
            seconds = await ready(one, _READY_SECONDS)
            report.add("until ready", seconds, "s")
            report.add("restored", count / seconds, "states/s")
            lateness.report(report, "restoring", _STALL_MS)
            await _storm(traffic, count, report, ground.tell)
            lateness.report(report, "storm", _STALL_MS)
            report.spread("live in the storm", traffic.take())
            async with flowing(traffic, _RATE, [0]):
                await asyncio.sleep(_QUIET_SECONDS)
            report.spread("live after it", traffic.take())
    return [report]


async def _storm(traffic: Live, count: int, report: Report, tell: Tell) -> None:
    """Wait until every timer has fired; live traffic goes on meanwhile."""
    transactions = _metric("bluetick_transactions_total", outcome="committed")
    before = _fired()
    began = told = time.monotonic()
    async with flowing(traffic, _RATE, [0]), asyncio.timeout(60 + count / _LEAST_RATE):
        while (fired := _fired() - before) < count:
            await asyncio.sleep(LOOK_SECONDS)
            if time.monotonic() - told > _TELL_SECONDS:
                told = time.monotonic()
                tell(f"{fired:,.0f} of {count:,} timers fired")
        seconds = time.monotonic() - began
    used = _metric("bluetick_transactions_total", outcome="committed") - transactions
    report.add("until all had fired", seconds, "s")
    report.add("fired", count / seconds, "timers/s")
    report.add("transactions", used)


def _fired() -> float:
    return _metric("bluetick_events_total", event="stalled")


def _metric(name: str, **labels: str) -> float:
    """A metric of the tracker in this process."""
    return metrics.registry.get_sample_value(name, labels) or 0.0
