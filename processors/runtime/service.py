"""Running a processor as a process: signals, health and metrics over HTTP, an orderly end."""

import asyncio
import gc
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from processors.runtime import failpoints, metrics
from schemas import serving
from schemas.kafka_time import clock, comparing
from schemas.problem import unreachable
from schemas.serving import Server, listen, readiness, told_to_stop
from schemas.settings import Settings

log = logging.getLogger(__name__)

_BROKER_SECONDS = 2.0

# Records make no cycles, so that looking for some at Python's usual pace (700 new objects) is a
# fifth of a tracker's work, and finds nothing.
_YOUNG = 20_000


class Worker(Protocol):
    """What a processor is to its process."""

    def run(self, stop: asyncio.Event) -> Awaitable[None]: ...
    def problems(self) -> list[str]: ...
    def broker_topics(self) -> Awaitable[set[str]]: ...


def run(name: str, settings: Settings, make: Callable[[Settings], Worker], port: int) -> None:
    """Run a worker until SIGTERM or SIGINT; raises `Problem` for what made going on impossible.

    `name` is the command's, `port` that of its health and metrics.
    """
    failpoints.arm(settings.failpoint)
    setting = f"BLUETICK_{name.upper()}_HEALTH_PORT"
    with listen(name, settings.host, port, setting) as listener:
        asyncio.run(_serve(name, settings, make, listener))


async def _serve(
    name: str, settings: Settings, make: Callable[[Settings], Worker], listener: socket.socket
) -> None:
    worker = make(settings)
    # What is there by now stays: looking through it again and again stops the loop for 0.1 s.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG)
    server = Server(_app(name, settings, worker), grace=2)
    health = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        async with comparing(settings, metrics.clock_offset.set):
            await worker.run(told_to_stop())
    finally:
        server.should_exit = True
        await asyncio.wait([health])
        log.info("stopped")


def _app(name: str, settings: Settings, worker: Worker) -> Starlette:
    async def live(_: Request) -> Response:
        return Response()

    async def ready(_: Request) -> Response:
        clocks = [clock.problem] if clock.problem else []
        return readiness(
            clocks + (worker.problems() or await _broker_problems(name, settings, worker))
        )

    async def numbers(_: Request) -> Response:
        return serving.metrics(metrics.exposition())

    return Starlette(
        routes=[
            Route("/health/live", live),
            Route("/health/ready", ready),
            Route("/metrics", numbers),
        ]
    )


async def _broker_problems(name: str, settings: Settings, worker: Worker) -> list[str]:
    try:
        async with asyncio.timeout(_BROKER_SECONDS):
            there = await worker.broker_topics()
    except Exception:  # noqa: BLE001 - whatever it was, the broker did not answer
        return [str(unreachable(settings.kafka))]
    needed = settings.topics.needed(name)
    return [f"topic {topic} is missing" for topic in needed if topic not in there]
