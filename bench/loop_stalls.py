"""How late the event loop is: a task that wants to run every few milliseconds, and notes when."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.figures import Report, quantile

_EVERY = 0.005


class Lateness:
    """By how many milliseconds each wake-up came too late."""

    def __init__(self) -> None:
        self._milliseconds: list[float] = []

    def report(self, report: Report, during: str, most: float | None = None) -> None:
        """Tell of what was noted so far, and begin anew."""
        noted, self._milliseconds = self._milliseconds, []
        longest = max(noted, default=0.0)
        report.add(f"{during}: longest stall of the loop", longest, "ms", most=most)
        report.add(f"{during}: p99.9 of its lateness", quantile(noted, 0.999), "ms")

    async def watch(self) -> None:
        while True:
            due = time.perf_counter() + _EVERY
            await asyncio.sleep(_EVERY)
            self._milliseconds.append(1000 * max(0.0, time.perf_counter() - due))


@asynccontextmanager
async def watched() -> AsyncIterator[Lateness]:
    """Watch this process's event loop meanwhile."""
    lateness = Lateness()
    watching = asyncio.create_task(lateness.watch())
    try:
        # Its first wake-up is due before what is to be watched begins.
        await asyncio.sleep(2 * _EVERY)
        yield lateness
    finally:
        watching.cancel()
        await asyncio.wait([watching])
