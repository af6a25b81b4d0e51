"""Measure the cost of ingest's connection bounds, and the effect of hostile senders on honest ones.

`python -m tests.broker.hostile_load` prints figures and ratios and asserts nothing. It takes
a minute.
"""

# ruff: noqa: T201 - figures are for reading

import asyncio
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL
from contextlib import suppress
from pathlib import Path

import uvloop
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from deploy import topics
from deploy.local_kafka.broker import LocalKafka, free_port
from service.http.connection_limits import Connections
from service.http.server import Server, listen
from tests.broker.http_bytes import Head, connect
from tests.broker.running_ingest import settings
from tests.e2e.commands import COMMAND

_HEADERS = ("user-agent: load", "accept: */*", "content-type: application/json", "x-request-id: 1")
_BODY = b"x" * 400
_POST = Head("/webhooks/whapi/load").sized(_BODY, *_HEADERS)
_SENDERS = 32
_SECONDS = 4.0
_ROUNDS = 5


async def _answer(_: Scope, receive: Receive, send: Send) -> None:
    """The smallest possible app: read the body, answer 200."""
    while (await receive()).get("more_body"):
        pass
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}
    )
    await send({"type": "http.response.body"})


def _serve(port: int, own: bool) -> None:  # noqa: FBT001 - positional for multiprocessing
    server = Server(_answer, Connections(10.0, 10_000), grace=1)
    if not own:
        server.config.http = HttpToolsProtocol
    uvloop.run(server.serve([listen("load", "127.0.0.1", port, "port")]))


async def _send(port: int, seconds: float, pause: float = 0.0) -> list[float]:
    """Post one after the other on one connection; returns the duration of each in ms."""
    reader, writer = await connect(port)
    took = []
    until = time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        writer.write(_POST)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        took.append((time.perf_counter() - began) * 1000)
        if pause:
            await asyncio.sleep(pause)
    writer.close()
    return took


async def _sent(port: int, pause: float = 0.0) -> list[float]:
    taken = await asyncio.gather(*(_send(port, _SECONDS, pause) for _ in range(_SENDERS)))
    return sorted(each for one in taken for each in one)


async def _listening(port: int) -> None:
    while True:
        with suppress(OSError):
            (await asyncio.open_connection("127.0.0.1", port))[1].close()
            return
        await asyncio.sleep(0.05)


async def _cost(*, own: bool) -> float:
    """Return a server's processor time per request, in microseconds."""
    port = free_port(0)
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(port, own))
    process.start()
    try:
        await _listening(port)
        before = _used(process.pid)
        sent = len(await _sent(port))
        return (_used(process.pid) - before) / sent
    finally:
        process.kill()
        process.join()


def _used(process: int | None) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1e6 / os.sysconf("SC_CLK_TCK")


async def _cost_of_bounds() -> None:
    costs = [(await _cost(own=False), await _cost(own=True)) for _ in range(_ROUNDS)]
    plain, own = (statistics.median(each) for each in zip(*costs, strict=True))
    print(f"processor time of a request: uvicorn {plain:.1f} us, Bluetick {own:.1f} us")


async def _trickle(writers: list[asyncio.StreamWriter]) -> None:
    while True:
        for writer in writers:
            writer.write(b"x")
        await asyncio.sleep(1)


async def _hostile(port: int) -> None:
    """Hold 2000 idle connections, 300 that send a head slowly and 300 a body, forever."""
    starts = (
        [b""] * 2000 + [_POST[:60]] * 300 + [Head("/webhooks/whapi")("content-length: 9999")] * 300
    )
    writers = []
    for start in starts:
        _, writer = await connect(port)
        writer.write(start)
        writers.append(writer)
    await _trickle(writers[2000:])


def _run_hostile(port: int) -> None:
    asyncio.run(_hostile(port))


async def _cost_of_hostile(kafka: str) -> None:
    given = settings(kafka, "load")
    await topics.apply(given)
    port = free_port(0)
    variables = {"BLUETICK_KAFKA": kafka, "BLUETICK_NAMESPACE": "load", "BLUETICK_PORT": str(port)}
    process = await asyncio.create_subprocess_exec(
        *(*COMMAND, "ingest"), env={**os.environ, **variables}, stdin=DEVNULL
    )
    try:
        await _listening(port)
        await _sent(port, 0.1)
        figures = {"alone": await _sent(port, 0.1)}
        enemy = multiprocessing.get_context("spawn").Process(target=_run_hostile, args=(port,))
        enemy.start()
        try:
            await asyncio.sleep(2)  # until all are connected
            figures["beset"] = await _sent(port, 0.1)
        finally:
            enemy.kill()
            enemy.join()
        for name, took in figures.items():
            print(
                f"{name}: {len(took)} x 200, p50 {_at(took, 50):.1f} ms, p99 {_at(took, 99):.1f} ms"
            )
        print(f"p99 beset: x{_at(figures['beset'], 99) / _at(figures['alone'], 99):.2f}")
    finally:
        process.terminate()
        await process.wait()


def _at(took: list[float], percent: int) -> float:
    return took[len(took) * percent // 100]


async def _main() -> None:
    await _cost_of_bounds()
    with tempfile.TemporaryDirectory() as folder:
        async with LocalKafka(Path(folder), progress=print) as kafka:
            await _cost_of_hostile(kafka.bootstrap)


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
