"""Timer benchmark: a million messages stall at once, during live traffic."""

import asyncio
import time

from bench.changelog import fill
from bench.environment import Environment, Log
from bench.figures import Report
from bench.live_traffic import Live, flowing, live
from bench.loop_stalls import watched
from bench.polling import POLL_SECONDS
from bench.states import stalled_states
from bench.worker import ready, tracker
from schemas.processor_list import TRACK
from service.metrics.registry import exposed

COUNT = 1_000_000
_RATE = 50
_QUIET_SECONDS = 5
_LOG_SECONDS = 5
_READY_SECONDS = 600
_LEAST_RATE = 500  # timers a second; a slower run is aborted
_STALL_MS = 100


async def timers(environment: Environment, count: int = COUNT) -> list[Report]:
    """Restore a partition on which all messages have stalled, and fire all its timers."""
    report = Report("timers", f"{count:,} due")
    async with environment.settings(partitions=1, timer_grace=0.0) as settings:
        report.add(
            "a state", await fill(settings, stalled_states(), {0: count}, environment.log), "bytes"
        )
        async with live(settings) as traffic, watched() as lateness, tracker(settings) as one:
            seconds = await ready(one, _READY_SECONDS)
            report.add("until ready", seconds, "s")
            report.add("restored", count / seconds, "states/s")
            lateness.report(report, "restoring", _STALL_MS)
            await _fire_all(traffic, count, report, environment.log)
            lateness.report(report, "firing", _STALL_MS)
            report.spread("live during firing", traffic.measured())
            async with flowing(traffic, _RATE, [0]):
                await asyncio.sleep(_QUIET_SECONDS)
            report.spread("live afterwards", traffic.measured())
    return [report]


async def _fire_all(traffic: Live, count: int, report: Report, log: Log) -> None:
    """Wait until every timer has fired, during live traffic."""
    transactions = _metric("bluetick_transactions_total", outcome="committed")
    before = _fired()
    began = logged = time.monotonic()
    async with flowing(traffic, _RATE, [0]), asyncio.timeout(60 + count / _LEAST_RATE):
        while (fired := _fired() - before) < count:
            await asyncio.sleep(POLL_SECONDS)
            if time.monotonic() - logged > _LOG_SECONDS:
                logged = time.monotonic()
                log(f"{fired:,.0f} of {count:,} timers fired")
        seconds = time.monotonic() - began
    used = _metric("bluetick_transactions_total", outcome="committed") - transactions
    report.add("until all had fired", seconds, "s")
    report.add("fired", count / seconds, "timers/s")
    report.add("transactions", used)


def _fired() -> float:
    return _metric("bluetick_events_total", event="stalled")


def _metric(name: str, **labels: str) -> float:
    """Return a metric of the tracker in this process."""
    return exposed(TRACK.name).get_sample_value(name, labels) or 0.0
