"""The door's metrics over HTTP, on a port of their own: senders have no business there."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ingest import metrics
from ingest.lasting import lasting
from schemas import serving
from schemas.serving import Server, address_of, listen
from schemas.settings import Settings

# How often gauges that nobody sets by the way are looked at.
SAMPLE_SECONDS = 1.0


@asynccontextmanager
async def exposed(settings: Settings) -> AsyncIterator[str]:
    """Answer `/metrics` meanwhile, and give the address; raises `Problem` if the port is taken."""
    port = settings.ingest_metrics_port
    with listen("ingest", settings.host, port, "BLUETICK_INGEST_METRICS_PORT") as listener:
        server = Server(Starlette(routes=[Route("/metrics", _numbers)]), grace=1)
        answering = lasting("the metrics server", partial(_answer, server, listener))
        try:
            yield address_of(listener)
        finally:
            server.should_exit = True
            await asyncio.wait([answering])


async def _answer(server: Server, listener: socket.socket) -> None:
    """Serve on a copy of the listening socket: uvicorn's end closes what it is given."""
    try:
        await server.serve([listener.dup()])
    finally:
        for door in getattr(server, "servers", ()):  # none if it never began
            door.close()


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


async def _numbers(_: Request) -> Response:
    return serving.metrics(metrics.exposition())
