"""Measures stalls of the event loop: a task that wakes every few ms and records its delay."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.figures import Report, quantile

_EVERY = 0.005


class Lateness:
    """The delay of each wake-up in milliseconds."""

    def __init__(self) -> None:
        self._milliseconds: list[float] = []

    def report(self, report: Report, during: str, most: float | None = None) -> None:
        """Add the delays so far to the report, and begin again."""
        delays, self._milliseconds = self._milliseconds, []
        longest = max(delays, default=0.0)
        report.add(f"{during}: longest stall of the loop", longest, "ms", most=most)
        report.add(f"{during}: p99.9 of its lateness", quantile(delays, 0.999), "ms")

    async def watch(self) -> None:
        while True:
            due = time.perf_counter() + _EVERY
            await asyncio.sleep(_EVERY)
            self._milliseconds.append(1000 * max(0.0, time.perf_counter() - due))


@asynccontextmanager
async def watched() -> AsyncIterator[Lateness]:
    """Measure this process's event loop within the context."""
    lateness = Lateness()
    watching = asyncio.create_task(lateness.watch())
    try:
        # The first wake-up comes before the measured code begins.
        await asyncio.sleep(2 * _EVERY)
        yield lateness
    finally:
        watching.cancel()
        await asyncio.wait([watching])
