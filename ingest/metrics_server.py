"""The HTTP server for health and metrics of ingest, on an address that senders cannot reach."""

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

# Interval at which the sampled gauges are set.
SAMPLE_SECONDS = 1.0


def listen(settings: Settings) -> socket.socket:
    """Return the listening socket of health and metrics; raises `Problem` if the port is in use."""
    port = settings.ingest_metrics_port
    return listen_for_health("ingest", settings.health_host, port, "BLUETICK_INGEST_METRICS_PORT")


@asynccontextmanager
async def exposed(
    listener: socket.socket, health: Callable[[], Health], started: Callable[[], bool]
) -> AsyncIterator[None]:
    """Serve the health pages and `/metrics` within this context."""
    server = HealthServer(lambda: _page(health()), started, metrics.served(), grace=1)
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
    """Serve on a copy of the listening socket, since uvicorn closes its socket at the end."""
    try:
        await server.serve([listener.dup()])
    finally:
        server.stop_listening()


@asynccontextmanager
async def sampling(sample: Callable[[], None]) -> AsyncIterator[None]:
    """Call `sample` periodically within this context."""
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
