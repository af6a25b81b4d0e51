"""What our services share as processes: listen or say why not, stop when told, serve HTTP."""

import asyncio
import contextlib
import errno
import signal
import socket
from collections.abc import Iterator, Sequence
from typing import Any

import orjson
import uvicorn
from starlette.responses import Response
from starlette.types import ASGIApp

from schemas.problem import Problem

_BACKLOG = 2048


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


def told_to_stop() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


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
