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
SHARES = (0.5, 0.8)  # of the rate of the closed loop
EQUAL_RATE = 3000  # webhooks a second, the same for all subjects
BLUETICK, APP, GO = "Bluetick, one process", "the obvious Starlette app", "Go net/http, franz-go"
PORT = "{port}"  # in a command, replaced by the port of the run
_SOURCE = "whapi"
_WARM_UP_SECONDS = 2
_PACED_WARM_UP_SECONDS = 1
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
                await measuring.pace(pacer, EQUAL_RATE, f"{EQUAL_RATE:,}/s", seconds)
                for share in SHARES:
                    rate = max(1, round(share * measuring.rate))
                    await measuring.pace(pacer, rate, f"{share:.0%}", seconds)
        wrong = await asyncio.to_thread(_wrong, place, server.topic, measuring)
    return Run(subject=one.name, round=number, figures=measuring.figures, wrong=wrong)


class _Measuring:
    """The loads on one server, and what they say was accepted."""

    def __init__(self, place: Place, url: str, processes: Running, wrk: str) -> None:
        self.figures: dict[str, float] = {}
        self.accepted: dict[str, int] = {}
        self.refused: dict[str, int] = {}
        self._place = place
        self._url = url
        self._processes = processes
        self._wrk = wrk
        self.rate = 0.0

    async def saturate(self, seconds: int) -> None:
        """Measure the closed loop, after a warm-up that does not count."""
        for name, length in (("warmup", min(seconds, _WARM_UP_SECONDS)), ("closed", seconds)):
            run = f"{name}-{secrets.token_hex(3)}"
            cpu, broker = self._cpu()
            result = await load.closed(self._wrk, self._url, run, length)
            own, other = (
                after - before for after, before in zip(self._cpu(), (cpu, broker), strict=True)
            )
            self.accepted[run] = result.answered
            self.refused[run] = result.refused
        self.rate = result.rate
        self.figures = {
            "webhooks/s": self.rate,
            "CPU µs/webhook": 1e6 * own / max(1, result.answered),
            "broker CPU µs/webhook": 1e6 * other / max(1, result.answered),
            "p50 ms at saturation": result.p50,
            "p99 ms at saturation": result.p99,
        }
        self._show_refused(run, "at saturation")

    async def pace(self, pacer: load.Pacer, rate: int, name: str, seconds: int) -> None:
        """Measure latencies at a rate, after a warm-up, in which the connections are opened."""
        run = f"paced-{secrets.token_hex(3)}"
        hits = await pacer.post(run, rate, _PACED_WARM_UP_SECONDS + seconds)
        self.accepted[run] = sum(hit.ok for hit in hits)
        self.refused[run] = len(hits) - self.accepted[run]
        measured = hits[rate * _PACED_WARM_UP_SECONDS :]
        took = [1000 * (hit.answered - hit.scheduled) for hit in measured]
        for figure, part in (("p50", 0.5), ("p99", 0.99)):
            self.figures[f"{figure} ms at {name}"] = quantile(took, part)
        self._show_refused(run, f"at {name}")

    def _show_refused(self, run: str, load_name: str) -> None:
        """A refusal loses nothing, so it is a figure."""
        if count := self.refused[run]:
            self.figures[f"requests without a 200 {load_name}"] = count

    def _cpu(self) -> tuple[float, float]:
        return self._processes.cpu(), cpu_seconds(self._place.broker_pid)


def _wrong(place: Place, topic: str, measured: _Measuring) -> str:
    """Compare the topic with the answers: each body of a 200 once, and nothing else."""
    ids, found = outputs.Ids(), Counter[str]()
    for message in place.broker.read(topic):
        ids.add(message.headers())
        found[_id(message.value() or b"")] += 1
    said = wrong_bodies(measured.accepted, measured.refused, found)
    return "; ".join([*said, ids.wrong] if ids.wrong else said)


def _id(value: bytes) -> str:
    """Return the id of a body; "" if the body is not the one that was posted with it."""
    [id_] = _ID.findall(value) or [b""]
    return id_.decode() if load.body(id_.decode()) == value else ""


def wrong_bodies(
    accepted: Mapping[str, int], refused: Mapping[str, int], found: Mapping[str, int]
) -> list[str]:
    """Say which bodies were dropped, doubled or altered; `found` counts them by their ids.

    A refused body may be on Kafka, and so may one of each connection at the end of a closed loop.
    """
    said = []
    by_run = Counter("-".join(id_.split("-")[:2]) for id_ in found)
    for run, least in accepted.items():
        if not least <= by_run[run] <= least + refused[run] + load.CONNECTIONS:
            said.append(f"{run}: {least:,} bodies accepted, {by_run[run]:,} on Kafka")
    if doubled := sum(count - 1 for count in found.values()):
        said.append(f"doubled {doubled:,} bodies")
    if "" in found:
        said.append(f"altered {found['']:,} bodies")
    return said


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
