"""Running a processor as a process: signals, health and metrics over HTTP, an orderly end."""

import asyncio
import gc
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Protocol

from starlette.responses import Response

from processors.runtime import failpoints, metrics
from service.errors import unreachable
from service.http.server import (
    HealthServer,
    address_of,
    listen_for_health,
    logged,
    readiness,
)
from service.kafka.clock import clock, comparing
from service.settings import Settings
from service.signals import stop_on_signals

log = logging.getLogger(__name__)

_BROKER_SECONDS = 2.0
_GRACE_SECONDS = 2

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
    with listen_for_health(name, settings.health_host, port, setting) as listener:
        asyncio.run(_serve(name, settings, make, listener))


async def _serve(
    name: str, settings: Settings, make: Callable[[Settings], Worker], listener: socket.socket
) -> None:
    worker = make(settings)
    # What is there by now stays: looking through it again and again stops the loop for 0.1 s.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG)
    server = HealthServer(
        lambda: _ready(name, settings, worker), metrics.registry, grace=_GRACE_SECONDS
    )
    health = asyncio.create_task(server.serve(sockets=[listener]))
    stop = stop_on_signals()
    with logged(name, settings, health=address_of(listener)) as end:
        try:
            async with comparing(settings, metrics.clock_offset.set):
                await worker.run(stop)
            end.reason = stop.reason
        finally:
            server.should_exit = True
            await asyncio.wait([health])


async def _ready(name: str, settings: Settings, worker: Worker) -> Response:
    clocks = [clock.problem] if clock.problem else []
    problems = worker.problems() or await _broker_problems(name, settings, worker)
    return readiness([*clocks, *problems])


async def _broker_problems(name: str, settings: Settings, worker: Worker) -> list[str]:
    try:
        async with asyncio.timeout(_BROKER_SECONDS):
            there = await worker.broker_topics()
    except Exception:  # noqa: BLE001 - whatever it was, the broker did not answer
        return [str(unreachable(settings.kafka))]
    needed = settings.topics.needed(name)
    return [f"topic {topic} is missing" for topic in needed if topic not in there]
