"""The job `ingest`: webhooks in by HTTP, each answered with 200 once it is on Kafka."""

import asyncio
import re
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bench.cpu import cpu_seconds
from bench.figures import quantile
from bench.peers import bluetick_services, load, outputs
from bench.peers.drain import Place
from bench.peers.processes import Program, Running, Value, running
from bench.peers.results import Run, Subject
from cli.simulator import http_client
from deploy.local_kafka.broker import free_port
from service.errors import Problem

PARTITIONS = 6
SECONDS = 4
SHARES = (0.5, 0.8)
BLUETICK, APP, GO = "Bluetick, one process", "the obvious Starlette app", "Go net/http, franz-go"
PORT = "{port}"  # in a command, replaced by the port of the run
_SOURCE = "whapi"
_WARM_UP_SECONDS = 2
_READY_SECONDS = 60
_OK = 200
_ID = re.compile(rb'"id":"([^"]+)"')
_KAFKA = "acks=all, linger 2 ms, zstd"

SUBJECTS = (
    Subject(name=BLUETICK, settings="the defaults, without a spool"),
    Subject(
        name=APP,
        against=BLUETICK,
        settings=f"uvicorn with uvloop and httptools, aiokafka's send_and_wait, {_KAFKA}",
    ),
    Subject(name=GO, against=BLUETICK, settings=f"both cores, ProduceSync, {_KAFKA}"),
)


class Tools(NamedTuple):
    """The load generators; without vegeta no fixed rate is measured."""

    wrk: str
    vegeta: Path | None


class Server(NamedTuple):
    """A server that is ready to start."""

    program: Program
    port: int
    topic: str


class Contestant(NamedTuple):
    """A subject and how to prepare a run of it."""

    name: str
    prepare: Callable[[Place], AbstractAsyncContextManager[Server]]


async def measure(
    place: Place,
    seconds: int,
    count: int,
    tools: Tools,
    peers: Mapping[str, Sequence[str | Path]],
) -> list[Run]:
    """Run the job; `peers` has the commands of those that are built."""
    contestants = [Contestant(BLUETICK, _bluetick)]
    contestants += [
        Contestant(name, partial(_peer, command=command)) for name, command in peers.items()
    ]
    runs = []
    for number in range(1, count + 1):
        for one in contestants:
            place.log(f"round {number} of {count}: {one.name}")
            try:
                runs.append(await _run(place, one, number, seconds, tools))
            except (Problem, TimeoutError) as error:
                runs.append(
                    Run(subject=one.name, round=number, figures={}, wrong=f"{error!s:.500}")
                )
            named = runs[-1].figures.items()
            place.log(
                f"  {runs[-1].wrong or ', '.join(f'{name} {value:,.1f}' for name, value in named)}"
            )
    return runs


async def _run(place: Place, one: Contestant, number: int, seconds: int, tools: Tools) -> Run:
    async with one.prepare(place) as server:
        directory = place.directory / f"ingest-{secrets.token_hex(4)}"
        async with running([server.program], directory) as processes:
            await ready(server.port, processes)
            url = f"http://127.0.0.1:{server.port}/webhooks/{_SOURCE}"
            measuring = _Measuring(place, url, processes, tools.wrk)
            await measuring.saturate(seconds)
            if tools.vegeta is not None:
                pacer = load.Pacer(tools.vegeta, url, directory)
                for share in SHARES:
                    await measuring.pace(share, seconds, pacer)
        wrong = await asyncio.to_thread(_wrong, place, server.topic, measuring)
    return Run(subject=one.name, round=number, figures=measuring.figures, wrong=wrong)


class _Measuring:
    """The loads on one server, and what they say was accepted."""

    def __init__(self, place: Place, url: str, processes: Running, wrk: str) -> None:
        self.figures: dict[str, float] = {}
        self.accepted: dict[str, int] = {}
        self.refused: list[str] = []
        self._place = place
        self._url = url
        self._processes = processes
        self._wrk = wrk
        self._rate = 0.0

    async def saturate(self, seconds: int) -> None:
        """Measure the closed loop, after a warm-up that does not count."""
        for name, length in (("warm-up", min(seconds, _WARM_UP_SECONDS)), ("closed", seconds)):
            run = f"{name}-{secrets.token_hex(3)}"
            cpu, broker = self._cpu()
            result = await load.closed(self._wrk, self._url, run, length)
            own, other = (
                after - before for after, before in zip(self._cpu(), (cpu, broker), strict=True)
            )
            self.accepted[run] = result.answered
            self._refuse(run, result.refused)
        self._rate = result.rate
        self.figures = {
            "webhooks/s": self._rate,
            "CPU µs/webhook": 1e6 * own / max(1, result.answered),
            "broker CPU µs/webhook": 1e6 * other / max(1, result.answered),
            "p50 ms at saturation": result.p50,
            "p99 ms at saturation": result.p99,
        }

    async def pace(self, share: float, seconds: int, pacer: load.Pacer) -> None:
        """Measure latencies at a share of the rate of the closed loop."""
        run = f"paced-{secrets.token_hex(3)}"
        rate = max(1, round(share * self._rate))
        hits = await pacer.post(run, rate, seconds)
        self.accepted[run] = sum(hit.ok for hit in hits)
        self._refuse(run, sum(not hit.ok for hit in hits))
        took = [1000 * (hit.answered - hit.scheduled) for hit in hits]
        for name, part in (("p50", 0.5), ("p99", 0.99)):
            self.figures[f"{name} ms at {share:.0%}"] = quantile(took, part)

    def _refuse(self, run: str, count: int) -> None:
        if count:
            self.refused.append(f"{run}: {count:,} requests without an answer of 200")

    def _cpu(self) -> tuple[float, float]:
        return self._processes.cpu(), cpu_seconds(self._place.broker_pid)


def _wrong(place: Place, topic: str, measured: _Measuring) -> str:
    """Compare the topic with the answers: each body of a 200 once, and nothing else."""
    ids, found = outputs.Ids(), Counter[str]()
    seen: set[bytes] = set()
    doubled = 0
    for message in place.broker.read(topic):
        ids.add(message.headers())
        [id_] = _ID.findall(message.value() or b"") or [b""]
        doubled += id_ in seen
        seen.add(id_)
        found["-".join(id_.decode().split("-")[:-1]).removesuffix("-00")] += 1
    said = [*_missing(measured.accepted, found), *measured.refused]
    if doubled:
        said.append(f"doubled {doubled:,} bodies")
    return "; ".join([*said, ids.wrong] if ids.wrong else said)


def _missing(accepted: Mapping[str, int], found: Mapping[str, int]) -> list[str]:
    """At its end a closed loop leaves a request a connection without its answer."""
    return [
        f"{run}: {accepted[run]:,} bodies accepted, {found.get(run, 0):,} on Kafka"
        for run in accepted
        if not accepted[run] <= found.get(run, 0) <= accepted[run] + load.CONNECTIONS
    ]


async def ready(port: int, processes: Running) -> None:
    async with asyncio.timeout(_READY_SECONDS):
        while True:
            processes.cpu()  # raises if it has ended
            with suppress(*http_client.Broken):
                answer = await http_client.get(f"http://127.0.0.1:{port}", "/health/ready")
                if answer.status == _OK:
                    return
            await asyncio.sleep(0.1)


@asynccontextmanager
async def _bluetick(place: Place) -> AsyncIterator[Server]:
    async with bluetick_services.namespace(place, partitions=PARTITIONS) as settings:
        port = free_port(0)
        more: dict[str, Value] = {
            "BLUETICK_PORT": port,
            "BLUETICK_INGEST_METRICS_PORT": 0,
            "BLUETICK_DRAIN": 0,
        }
        program = bluetick_services.service(settings, "ingest", more=more)
        yield Server(program, port, settings.topics.raw(_SOURCE))


@asynccontextmanager
async def _peer(place: Place, *, command: Sequence[str | Path]) -> AsyncIterator[Server]:
    topic = f"peer-{secrets.token_hex(4)}.raw"
    port = free_port(0)
    place.broker.create([topic], PARTITIONS)
    given: dict[str, Value] = {"KAFKA": place.broker.address, "OUTPUT": topic, "PORT": port}
    words = [str(word).replace(PORT, str(port)) for word in command]
    try:
        yield Server(Program(words, given), port, topic)
    finally:
        place.broker.delete(topic)
