"""Failover: how long partitions stand still when the worker that had them is killed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import chain
from statistics import median
from typing import NamedTuple

from bench.environment import Ground, Tell
from bench.figures import Report
from bench.live_traffic import Live, flowing, live
from bench.polling import until
from bench.worker import Worker
from deploy.local_kafka.broker import free_port
from service.settings import Settings

SESSION = 6.0
TRIALS = 3
_PARTITIONS = 6
_RATE = 300
_STEADY_SECONDS = 1.0
_READY_SECONDS = 120


async def failover(ground: Ground, session: float = SESSION, trials: int = TRIALS) -> list[Report]:
    """Kill one of two workers: let the other take over, or start it again under its name."""
    return [
        await _failover(ground, session, trials, named=False),
        await _failover(ground, session, trials, named=True),
    ]


class _Outage(NamedTuple):
    """Seconds the victim's and the other's partitions stood still; new assignments of the other."""

    victim: float
    other: float
    assignments: int


async def _failover(ground: Ground, session: float, trials: int, *, named: bool) -> Report:
    async with (
        ground.settings(partitions=_PARTITIONS, session_timeout=session) as settings,
        _pair(settings, named=named) as pair,
        live(settings) as traffic,
    ):
        outages = [await pair.trial(traffic, ground.tell) for _ in range(trials)]
    return _report(outages, session, named=named)


class _Pair:
    """Two workers; the first is the one that gets killed."""

    def __init__(self, settings: Settings, *, named: bool) -> None:
        self._named = named
        self._settings = [_own(settings, name, named=named) for name in ("first", "second")]
        self._workers: list[Worker] = []

    async def start(self) -> None:
        self._workers = [Worker(given) for given in self._settings]
        await self._settled()

    async def stop(self) -> None:
        for one in self._workers:
            await one.stop()

    async def trial(self, traffic: Live, tell: Tell) -> _Outage:
        """Kill the first worker while all partitions have traffic, and see what comes late."""
        await self._settled()
        mine, known = self._first.assignments[-1], len(self._second.assignments)
        traffic.take()
        async with flowing(traffic, _RATE, range(_PARTITIONS)):
            await traffic.going(range(_PARTITIONS))
            await asyncio.sleep(_STEADY_SECONDS)
            self._first.kill()
            if self._named:
                self._restart()
            await traffic.going(range(_PARTITIONS))
        new = len(self._second.assignments) - known
        if not self._named:
            self._restart()
        outage = _outage(traffic, mine, new)
        tell(f"killed: {outage.victim:.1f} s; the other: {outage.other:.1f} s")
        return outage

    def _restart(self) -> None:
        self._workers[0] = Worker(self._settings[0])

    async def _settled(self) -> None:
        """Wait until both are ready and share the partitions."""
        await until(self._shared, _READY_SECONDS)
        for one in self._workers:
            await one.ready(_READY_SECONDS)

    def _shared(self) -> bool:
        last = [one.assignments[-1] if one.assignments else [] for one in self._workers]
        return all(last) and sorted(chain(*last)) == list(range(_PARTITIONS))

    @property
    def _first(self) -> Worker:
        return self._workers[0]

    @property
    def _second(self) -> Worker:
        return self._workers[1]


@asynccontextmanager
async def _pair(settings: Settings, *, named: bool) -> AsyncIterator[_Pair]:
    pair = _Pair(settings, named=named)
    try:
        await pair.start()
        yield pair
    finally:
        await pair.stop()


def _own(settings: Settings, name: str, *, named: bool) -> Settings:
    """What each worker has for itself: a directory, a port and, if it is to have one, a name."""
    changes = {
        "data": settings.data / name,
        "track_health_port": free_port(0),
        "instance": name if named else None,
    }
    return settings.model_copy(update=changes)


def _outage(traffic: Live, victims: list[int], assignments: int) -> _Outage:
    """Traffic is steady and dense, so what took longest tells how long a partition stood still."""
    others = set(range(_PARTITIONS)).difference(victims)
    return _Outage(
        max(traffic.milliseconds(victims)) / 1000,
        max(traffic.milliseconds(others)) / 1000,
        assignments,
    )


def _report(outages: list[_Outage], session: float, *, named: bool) -> Report:
    kind = "started again under its name" if named else "taken over by the other"
    report = Report("failover", f"{kind}, session {session:g} s, trials: {len(outages)}")
    victim, other = ([outage[n] for outage in outages] for n in (0, 1))
    assignments = sum(outage.assignments for outage in outages)
    report.add("its partitions stood still: median", median(victim), "s")
    report.add("its partitions stood still: longest", max(victim), "s")
    report.add("the other's stood still: median", median(other), "s")
    report.add("the other's stood still: longest", max(other), "s")
    report.add("new assignments of the other", assignments, most=0 if named else None)
    return report
