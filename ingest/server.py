"""The ingest service: a listening socket, the app, uvicorn, and an orderly shutdown."""

import asyncio
import importlib
import importlib.util
import logging
import os
import socket
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

from ingest import metrics, metrics_server
from ingest.app import Ingest, create_app
from ingest.health import Health
from ingest.metrics_server import exposed, sampling
from ingest.sources.ip_allowlist import is_loopback
from service.errors import Problem
from service.http.connection_limits import Connections
from service.http.open_files import raise_limit, shares
from service.http.server import Server, address_of, listen, logged
from service.logger import logger
from service.metrics import of_every_service
from service.settings import Settings
from service.signals import stop_on_signals

# A shutdown takes at most 10 s. Ingest is not ready for `drain` seconds before it stops listening,
# so that a load balancer notices. The last accepted connections have a moment to send a request.
# Then requests in progress have their grace period; then ingest disconnects from Kafka.
_LAST_ACCEPT_SECONDS = 0.5
_GRACE_SECONDS = 4

_log = logger(__name__)


Report = Callable[[Health], None]
"""Receives the health of a process periodically, once it serves."""


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; raises `Problem` if the service cannot start."""
    refuse_exposure(settings)
    with (
        listen("ingest", settings.host, settings.port, "BLUETICK_PORT") as listener,
        metrics_server.listen(settings) as private,
    ):
        _run(_serve_until_signal("ingest", settings, listener, private=private))


def run_worker(settings: Settings, inherited: int, report: Report) -> None:
    """Serve as a worker on the supervisor's listening socket; calls `report` once it serves.

    The supervisor exposes the health and the metrics of all workers.
    """
    with socket.socket(fileno=inherited) as listener:
        name = f"ingest worker {os.getpid()}"
        _run(_serve_until_signal(name, settings, listener, report=report))


def _run(serving: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(serving)


async def serve(
    settings: Settings,
    listener: socket.socket,
    stop: asyncio.Event,
    *,
    private: socket.socket | None = None,
    report: Report = lambda _: None,
) -> None:
    """Serve on a listening socket until `stop` is set; raises `Problem` if Kafka is not ready.

    `private` is the socket on which health and metrics are exposed, if any.
    """
    _limit_uvicorn_log()
    app = create_app(settings)
    limit = _connection_limit(settings.max_connections)
    metrics.begin(settings, limit, app.endpoint.sources)
    connections = Connections(settings.receive_deadline, limit, metrics.count_malformed)
    server = Server(app, connections, grace=_GRACE_SECONDS, take=app.endpoint.take)
    async with AsyncExitStack() as stack:
        if private:
            await stack.enter_async_context(exposed(private, app.health, lambda: app.started))
        # Not run by uvicorn, which would log a Problem with a traceback and discard it.
        await stack.enter_async_context(app.router.lifespan_context(app))
        await stack.enter_async_context(sampling(lambda: _sample(app, report)))
        serving = asyncio.create_task(server.serve([listener]))
        await _until_either(serving, stop)
        app.shutting_down = True
        connections.leave()
        await asyncio.wait([serving], timeout=settings.drain)
        server.stop_listening()
        await asyncio.wait([serving], timeout=_LAST_ACCEPT_SECONDS)
        app.endpoint.close()
        server.should_exit = True
        await serving


def _sample(app: Ingest, report: Report) -> None:
    app.endpoint.sample()
    health = app.health()
    of_every_service.ready.set(not health.problems)
    report(health)


async def _until_either(serving: asyncio.Task[None], stop: asyncio.Event) -> None:
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()


async def _serve_until_signal(
    name: str,
    settings: Settings,
    listener: socket.socket,
    *,
    private: socket.socket | None = None,
    report: Report = lambda _: None,
) -> None:
    stop = stop_on_signals()
    addresses = {"webhooks": address_of(listener)}
    if private is not None:
        addresses["health"] = address_of(private)
    with logged(name, settings, **addresses) as end:
        await serve(settings, listener, stop, private=private, report=report)
        end.reason = stop.reason


def refuse_exposure(settings: Settings) -> None:
    """Raise `Problem` on an address that other machines can reach, if there is no sources file."""
    if settings.sources is None and not is_loopback(settings.host):
        raise Problem("unauthenticated_exposure", host=settings.host)


def _connection_limit(wanted: int) -> int:
    """Return the allowed connections: `wanted`, or fewer if the limit of open files requires it."""
    limit = raise_limit()
    room = shares(limit, wanted).senders
    if room < wanted:
        _log.warning("connections_limited", files=limit, connections=room, wanted=wanted)
    return room


def _limit_uvicorn_log() -> None:
    """Keep uvicorn's log level above the one at which it logs paths and headers."""
    logger = logging.getLogger("uvicorn")
    logger.setLevel(max(logger.level, logging.INFO))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's factory if it is installed; None means asyncio's own loop."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module(
        "uvloop"
    ).new_event_loop
    return factory
