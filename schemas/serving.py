"""What our services share as processes: listen, log start and end, stop on a signal, serve HTTP."""

import asyncio
import contextlib
import errno
import logging
import signal
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import uvicorn
from starlette.responses import Response
from starlette.types import ASGIApp

from schemas.problem import Problem
from schemas.settings import Settings
from schemas.version import __version__

_BACKLOG = 2048

_log = logging.getLogger("bluetick")


def listen(who: str, host: str, port: int, setting: str) -> socket.socket:
    """A listening socket, or `Problem` naming the setting to change; port 0 is any free one."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        why = str(error.strerror).partition(" (")[0]  # `socket` puts in what it was doing
        raise Problem(
            f"{who} cannot listen on {host}:{port} ({why}); "
            f"{'stop what uses it, or ' if taken else ''}choose another address with "
            f"BLUETICK_HOST and {setting}"
        ) from None


def address_of(listener: socket.socket) -> str:
    """Where a socket listens, as host:port."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Stop(asyncio.Event):
    """Set once a service is to stop; `reason` says by what."""

    reason = "it ended by itself"

    def on(self, number: signal.Signals) -> None:
        self.reason = number.name
        self.set()


def told_to_stop() -> Stop:
    """An event that SIGTERM and SIGINT set."""
    stop = Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.on, number)
    return stop


@dataclass(slots=True)
class End:
    """How a service ends, unless by an exception."""

    reason: str = Stop.reason


@contextlib.contextmanager
def logged(name: str, settings: Settings, **addresses: str) -> Iterator[End]:
    """Log the start of a service, and its end with the reason; `addresses` are where it listens."""
    listens = ", ".join(f"{what} on {where}" for what, where in addresses.items())
    _log.info(
        "%s starting: version %s, namespace %s, %s, Kafka at %s",
        *(name, __version__, settings.namespace, listens, settings.kafka),
    )
    end = End()
    try:
        yield end
    except Problem as problem:
        _log.error("%s stopped: %s", name, "; ".join(str(problem).splitlines()))
        raise
    except BaseException as error:
        # Its own words may quote what senders sent.
        _log.error("%s stopped: %s", name, type(error).__name__)
        raise
    _log.info("%s stopped: %s", name, end.reason)


def readiness(problems: Sequence[str]) -> Response:
    """Answer whether a service is ready and, one sentence each, why not."""
    body = orjson.dumps({"ready": not problems, "problems": list(problems)})
    return Response(body, 503 if problems else 200, media_type="application/json")


def metrics(exposition: bytes) -> Response:
    """Answer with metrics in Prometheus' text format."""
    return Response(exposition, media_type="text/plain; version=0.0.4")


class Server(uvicorn.Server):
    """uvicorn, quiet, and leaving signals and lifespan to whoever runs it."""

    def __init__(self, app: ASGIApp, *, grace: int, **options: Any) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                # Paths and queries may hold secrets.
                access_log=False,
                # Logging is set up by the command; uvicorn's own TRACE prints paths and headers.
                log_config=None,
                server_header=False,
                proxy_headers=False,
                ws="none",
                lifespan="off",
                timeout_graceful_shutdown=grace,
                **options,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
