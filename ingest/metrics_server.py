"""Health and metrics of ingest over HTTP, on an address of their own: senders cannot reach it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import msgspec
from starlette.responses import Response

from ingest import metrics
from ingest.health import Health
from service.background_tasks import lasting
from service.http.server import HealthServer, Server, listen_for_health, readiness
from service.settings import Settings

# How often gauges that nobody sets by the way are looked at.
SAMPLE_SECONDS = 1.0


def listen(settings: Settings) -> socket.socket:
    """The listening socket of health and metrics; raises `Problem` if the port is taken."""
    port = settings.ingest_metrics_port
    return listen_for_health("ingest", settings.health_host, port, "BLUETICK_INGEST_METRICS_PORT")


@asynccontextmanager
async def exposed(listener: socket.socket, health: Callable[[], Health]) -> AsyncIterator[None]:
    """Answer `/health/live`, `/health/ready` and `/metrics` meanwhile."""

    async def ready() -> Response:
        return _page(health())

    server = HealthServer(ready, metrics.served(), grace=1)
    answering = lasting("the health server", partial(_answer, server, listener))
    try:
        yield
    finally:
        server.should_exit = True
        await asyncio.wait([answering])


def _page(health: Health) -> Response:
    return readiness(
        health.problems,
        degraded=bool(health.warnings),
        warnings=health.warnings,
        spool=msgspec.to_builtins(health.spool),
    )


async def _answer(server: Server, listener: socket.socket) -> None:
    """Serve on a copy of the listening socket: uvicorn's end closes what it is given."""
    try:
        await server.serve([listener.dup()])
    finally:
        server.stop_listening()


@asynccontextmanager
async def sampling(sample: Callable[[], None]) -> AsyncIterator[None]:
    """Call `sample` now and then meanwhile."""
    task = lasting("sampling", partial(_keep, sample))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _keep(sample: Callable[[], None]) -> None:
    while True:
        sample()
        await asyncio.sleep(SAMPLE_SECONDS)
