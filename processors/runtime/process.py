"""Running a processor as a process: signals, health and metrics over HTTP, an orderly end."""

import asyncio
import gc
import logging
import socket

from starlette.responses import Response

from processors.runtime import failpoints
from processors.runtime.group_worker import GroupWorker, MakeMember
from schemas.processors import Processor
from service.errors import unreachable
from service.http.server import (
    HealthServer,
    address_of,
    listen_for_health,
    logged,
    readiness,
)
from service.kafka.clock import clock, comparing
from service.metrics.of_every_service import clock_offset, note_build
from service.metrics.registry import exposed
from service.settings import Settings
from service.signals import stop_on_signals

log = logging.getLogger(__name__)

_BROKER_SECONDS = 2.0
_GRACE_SECONDS = 2

# Records make no reference cycles. A collection at every 700 new objects, Python's default, is a
# fifth of a tracker's work, and finds nothing.
_YOUNG = 20_000


def run(processor: Processor, settings: Settings, make: MakeMember) -> None:
    """Run a processor until SIGTERM or SIGINT; `Problem` if it cannot continue."""
    failpoints.arm(settings.failpoint)
    setting = f"BLUETICK_{processor.port_setting.upper()}"
    port = settings.health_port(processor.name)
    with listen_for_health(processor.name, settings.health_host, port, setting) as listener:
        asyncio.run(_serve(processor, settings, make, listener))


async def _serve(
    processor: Processor, settings: Settings, make: MakeMember, listener: socket.socket
) -> None:
    name = processor.name
    worker = GroupWorker(processor, settings, make)
    note_build(name)
    # The objects made so far stay: collecting over them again and again stops the loop for 0.1 s.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG)
    server = HealthServer(
        lambda: _ready(name, settings, worker), exposed(name), grace=_GRACE_SECONDS
    )
    health = asyncio.create_task(server.serve(sockets=[listener]))
    stop = stop_on_signals()
    with logged(name, settings, health=address_of(listener)) as end:
        try:
            async with comparing(settings, clock_offset.set):
                await worker.run(stop)
            end.reason = stop.reason
        finally:
            server.should_exit = True
            await asyncio.wait([health])


async def _ready(name: str, settings: Settings, worker: GroupWorker) -> Response:
    clocks = [clock.problem] if clock.problem else []
    problems = worker.problems() or await _broker_problems(name, settings, worker)
    return readiness([*clocks, *problems])


async def _broker_problems(name: str, settings: Settings, worker: GroupWorker) -> list[str]:
    try:
        async with asyncio.timeout(_BROKER_SECONDS):
            existing = await worker.broker_topics()
    except Exception:  # noqa: BLE001 - after any error the broker did not answer
        return [str(unreachable(settings.kafka))]
    needed = settings.topics.needed(name)
    return [f"topic {topic} is missing" for topic in needed if topic not in existing]
