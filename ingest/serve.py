"""The ingest service: a listening socket, the app, uvicorn, and an orderly end."""

import asyncio
import importlib
import importlib.util
import logging
import os
import resource
import socket
from collections.abc import Callable, Coroutine
from typing import Any

from ingest.addresses import is_loopback
from ingest.app import create_app
from ingest.connection import bounded
from ingest.connections import Connections
from ingest.exposing import exposed, sampling
from schemas.problem import Problem
from schemas.serving import Server, address_of, listen, logged, told_to_stop
from schemas.settings import Settings

# The end takes at most 10 s. Readiness is false for `drain` seconds before the door closes, so that
# a load balancer can notice; whoever was let in last has a moment to begin; then what is under way
# has its time; then Kafka is left.
_SETTLE_SECONDS = 0.5
_GRACE_SECONDS = 4

# Open files that are no sender's connection: Kafka's, the listener, the loop's own.
_OTHER_FILES = 128

_log = logging.getLogger(__name__)


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; raises `Problem` if that cannot begin."""
    refuse_exposure(settings)
    with listen("ingest", settings.host, settings.port, "BLUETICK_PORT") as listener:
        _run(_serve_alone(settings, listener))


def run_worker(settings: Settings, inherited: int, begun: Callable[[], None]) -> None:
    """The same on a socket that the supervisor listens on; `begun` is called once it serves.

    The supervisor exposes the metrics of all workers.
    """
    with socket.socket(fileno=inherited) as listener:
        _run(_serve_until_told(f"ingest worker {os.getpid()}", settings, listener, begun))


def _run(serving: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(serving)


async def serve(
    settings: Settings,
    listener: socket.socket,
    stop: asyncio.Event,
    begun: Callable[[], None] = lambda: None,
) -> None:
    """Serve on a listening socket until `stop` is set; raises `Problem` if Kafka is not ready."""
    _quieten()
    app = create_app(settings)
    connections = Connections(settings.receive_deadline, _room(settings.max_connections))
    server = Server(app, grace=_GRACE_SECONDS, http=bounded(connections))
    # Not left to uvicorn, which would log a Problem with a traceback and swallow it.
    async with app.router.lifespan_context(app), sampling(app.hook.sample):
        serving = asyncio.create_task(server.serve([listener]))
        stopping = asyncio.create_task(stop.wait())
        begun()
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        app.leaving = True
        connections.leave()
        await asyncio.wait([serving], timeout=settings.drain)
        for door in server.servers:
            door.close()
        await asyncio.wait([serving], timeout=_SETTLE_SECONDS)
        app.hook.close()
        server.should_exit = True
        await serving


async def _serve_alone(settings: Settings, listener: socket.socket) -> None:
    async with exposed(settings) as metrics:
        await _serve_until_told("ingest", settings, listener, metrics=metrics)


async def _serve_until_told(
    name: str,
    settings: Settings,
    listener: socket.socket,
    begun: Callable[[], None] = lambda: None,
    **addresses: str,
) -> None:
    stop = told_to_stop()
    with logged(name, settings, webhooks=address_of(listener), **addresses) as end:
        await serve(settings, listener, stop, begun)
        end.reason = stop.reason


def refuse_exposure(settings: Settings) -> None:
    """Without a file of sources anybody may send; with one, only where it says so itself."""
    if settings.sources is None and not is_loopback(settings.host):
        raise Problem(
            f"ingest will not listen on {settings.host} (BLUETICK_HOST), where others can reach "
            "it, because senders need not prove themselves; say in a file of sources how they do "
            "(BLUETICK_SOURCES, docs/sources.md), or listen on 127.0.0.1"
        )


def _room(wanted: int) -> int:
    """How many connections to allow: as many as wanted, or as the system lets a process have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if most == resource.RLIM_INFINITY or wanted + _OTHER_FILES <= most:
        return wanted
    room = max(1, most - _OTHER_FILES)
    _log.warning(
        "the system allows %d open files, so %d connections, not the %d of "
        "BLUETICK_MAX_CONNECTIONS; raise the limit of open files",
        *(most, room, wanted),
    )
    return room


def _quieten() -> None:
    """Below DEBUG uvicorn has a level at which it logs paths and headers."""
    logger = logging.getLogger("uvicorn")
    logger.setLevel(max(logger.level, logging.INFO))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Take uvloop where there is one; None is asyncio's own loop."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module(
        "uvloop"
    ).new_event_loop
    return factory
