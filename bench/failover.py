"""Failover benchmark: how long partitions are unavailable after their worker is killed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import chain
from statistics import median
from typing import NamedTuple

from bench.environment import Environment, Log
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


async def failover(
    environment: Environment, session: float = SESSION, trials: int = TRIALS
) -> list[Report]:
    """Kill one of two workers: let the other take over, or restart it with its instance name."""
    return [
        await _failover(environment, session, trials, named=False),
        await _failover(environment, session, trials, named=True),
    ]


class _Outage(NamedTuple):
    """Seconds that each worker's partitions were unavailable; new assignments of the other one."""

    victim: float
    other: float
    assignments: int


async def _failover(
    environment: Environment, session: float, trials: int, *, named: bool
) -> Report:
    async with (
        environment.settings(partitions=_PARTITIONS, session_timeout=session) as settings,
        _pair(settings, named=named) as pair,
        live(settings) as traffic,
    ):
        outages = [await pair.trial(traffic, environment.log) for _ in range(trials)]
    return _report(outages, session, named=named)


class _Pair:
    """Two workers; the first one is killed."""

    def __init__(self, settings: Settings, *, named: bool) -> None:
        self._named = named
        self._settings = [_settings_of(settings, name, named=named) for name in ("first", "second")]
        self._workers: list[Worker] = []

    async def start(self) -> None:
        self._workers = [Worker(given) for given in self._settings]
        await self._wait_until_shared()

    async def stop(self) -> None:
        for one in self._workers:
            await one.stop()

    async def trial(self, traffic: Live, log: Log) -> _Outage:
        """Kill the first worker while all partitions have traffic; return the outage."""
        await self._wait_until_shared()
        mine, known = self._first.assignments[-1], len(self._second.assignments)
        traffic.measured()
        async with flowing(traffic, _RATE, range(_PARTITIONS)):
            await traffic.resumed(range(_PARTITIONS))
            await asyncio.sleep(_STEADY_SECONDS)
            self._first.kill()
            if self._named:
                self._restart()
            await traffic.resumed(range(_PARTITIONS))
        new = len(self._second.assignments) - known
        if not self._named:
            self._restart()
        outage = _outage(traffic, mine, new)
        log(f"killed: {outage.victim:.1f} s; the other: {outage.other:.1f} s")
        return outage

    def _restart(self) -> None:
        self._workers[0] = Worker(self._settings[0])

    async def _wait_until_shared(self) -> None:
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


def _settings_of(settings: Settings, name: str, *, named: bool) -> Settings:
    """Return the settings of one worker: its directory, port and, if `named`, instance name."""
    changes = {
        "data": settings.data / name,
        "track_health_port": free_port(0),
        "instance": name if named else None,
    }
    return settings.model_copy(update=changes)


def _outage(traffic: Live, victims: list[int], assignments: int) -> _Outage:
    """Return the outage: with steady traffic the longest latency is the time without service."""
    others = set(range(_PARTITIONS)).difference(victims)
    return _Outage(
        max(traffic.milliseconds(victims)) / 1000,
        max(traffic.milliseconds(others)) / 1000,
        assignments,
    )


def _report(outages: list[_Outage], session: float, *, named: bool) -> Report:
    kind = "restarted with its instance name" if named else "taken over by the other"
    report = Report("failover", f"{kind}, session {session:g} s, trials: {len(outages)}")
    victim, other = ([outage[n] for outage in outages] for n in (0, 1))
    assignments = sum(outage.assignments for outage in outages)
    report.add("its partitions unavailable: median", median(victim), "s")
    report.add("its partitions unavailable: longest", max(victim), "s")
    report.add("the other's partitions unavailable: median", median(other), "s")
    report.add("the other's partitions unavailable: longest", max(other), "s")
    report.add("new assignments of the other", assignments, most=0 if named else None)
    return report
