"""The job `end-to-end`: from a webhook's scheduled post to the event that follows from it.

Ingest, normalise and track run as `bluetick up` runs them, each as one process.
"""

import re
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from bench.cpu import cpu_seconds
from bench.figures import quantile
from bench.peers import bluetick_services, load
from bench.peers.drain import Place
from bench.peers.ingest import ready
from bench.peers.kafka import Tail
from bench.peers.processes import Program, Running, Value, running
from bench.peers.results import Run, Subject
from bench.polling import until
from deploy.local_kafka.broker import free_port
from service.settings import Settings

PARTITIONS = 6
SECONDS = 6
RATES = (200, 1000, 2000, 3000, 5000)
QUICK_RATES = (50,)
BLUETICK = "Bluetick"
SERVICES = ("ingest", "normalise", "track")
SUBJECTS = (
    Subject(name=BLUETICK, settings="ingest, normalise and track, a process each; the defaults"),
)
_SOURCE = "whapi"
_WARM_UP_RATE, _WARM_UP_SECONDS = 500, 3
_DRAIN_SECONDS = 60
_KEPT_UP_SECONDS = 2.0
_ID = re.compile(rb'"message_id":"([^"]+)"')


class Rates(NamedTuple):
    """The rates to post at in turn, until one is too high, each for some seconds."""

    rates: Sequence[int]
    seconds: int


async def measure(place: Place, rates: Rates, count: int, vegeta: Path) -> list[Run]:
    """Run the job in each round."""
    runs = []
    for number in range(1, count + 1):
        place.log(f"round {number} of {count}: {BLUETICK}")
        async with bluetick_services.namespace(place, partitions=PARTITIONS) as settings:
            runs.append(await _run(place, settings, number, rates, vegeta))
        named = ", ".join(f"{name} {value:,.0f}" for name, value in runs[-1].figures.items())
        place.log(f"  {runs[-1].wrong or named}")
    return runs


async def _run(place: Place, settings: Settings, number: int, rates: Rates, vegeta: Path) -> Run:
    port = free_port(0)
    directory = place.directory / f"end-to-end-{number}"
    async with running(_programs(settings, port), directory) as processes:
        await ready(port, processes)
        tail = Tail(place.broker.address, settings.topics.events)
        try:
            url = f"http://127.0.0.1:{port}/webhooks/{_SOURCE}"
            pacer = load.Pacer(vegeta, url, directory)
            measuring = _Measuring(place, processes, tail, pacer)
            await measuring.at(_WARM_UP_RATE, _WARM_UP_SECONDS)
            measuring.figures = {"webhooks/s kept up with": 0.0}
            for rate in rates.rates:
                if not await measuring.at(rate, rates.seconds):
                    break
                measuring.figures["webhooks/s kept up with"] = rate
        finally:
            tail.close()
    return Run(
        subject=BLUETICK, round=number, figures=measuring.figures, wrong="; ".join(measuring.wrong)
    )


def _programs(settings: Settings, port: int) -> list[Program]:
    more: dict[str, Value] = {
        "BLUETICK_PORT": port,
        "BLUETICK_INGEST_METRICS_PORT": 0,
        "BLUETICK_DRAIN": 0,
    }
    return [bluetick_services.service(settings, name, more=more) for name in SERVICES]


class _Measuring:
    """Loads at fixed rates, and what they gave."""

    def __init__(self, place: Place, processes: Running, tail: Tail, pacer: load.Pacer) -> None:
        self.figures: dict[str, float] = {}
        self.wrong: list[str] = []
        self._place = place
        self._processes = processes
        self._tail = tail
        self._pacer = pacer

    async def at(self, rate: int, seconds: int) -> bool:
        """Measure one rate; return whether the services kept up with it."""
        run = f"e2e-{secrets.token_hex(3)}"
        began = len(self._tail.arrived)
        before = self._cpu()
        hits = await self._pacer.post(run, rate, seconds)
        accepted = sum(hit.ok for hit in hits)
        await self._drained(began + accepted)
        used = [after - earlier for after, earlier in zip(self._cpu(), before, strict=True)]
        arrived = self._arrived(run, began)
        times = {id_: at for at, id_ in reversed(arrived)}
        took = [
            times[id_] - hit.scheduled
            for number, hit in enumerate(hits)
            if (id_ := load.id_of(run, number)) in times
        ]
        self._check(run, accepted, Counter(id_ for _, id_ in arrived))
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            self.figures[f"{name} ms at {rate:,}/s"] = 1000 * quantile(took, share)
        for name, cpu in zip((*SERVICES, "broker"), used, strict=True):
            self.figures[f"{name} CPU µs/webhook at {rate:,}/s"] = 1e6 * cpu / max(1, accepted)
        last = max((at for at, _ in arrived), default=time.time()) - hits[-1].scheduled
        return accepted == len(hits) and last < _KEPT_UP_SECONDS

    async def _drained(self, count: int) -> None:
        """Wait until this many events have arrived, for a bounded time."""
        with suppress(TimeoutError):
            await until(lambda: len(self._tail.arrived) >= count, _DRAIN_SECONDS)

    def _arrived(self, run: str, begin: int) -> list[tuple[float, str]]:
        found = ((at, _ID.findall(value)[0].decode()) for at, value in self._tail.arrived[begin:])
        return [(at, id_) for at, id_ in found if id_.startswith(run)]

    def _check(self, run: str, accepted: int, events: Counter[str]) -> None:
        """Note dropped and doubled events; each webhook that was accepted has one event."""
        if len(events) < accepted:
            self.wrong.append(f"{run}: dropped {accepted - len(events):,} events")
        if doubled := sum(count - 1 for count in events.values()):
            self.wrong.append(f"{run}: doubled {doubled:,} events")

    def _cpu(self) -> list[float]:
        self._processes.cpu()  # raises if one has ended
        return [*self._processes.each_cpu(), cpu_seconds(self._place.broker_pid)]
