"""Code that all services share: listen, log start and end, stop, serve HTTP.

Health and metrics have an address of their own, BLUETICK_HEALTH_HOST and a port of each service.
The connections of every server are bounded, so that idle ones do not use up its open files.
"""

import contextlib
import errno
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import uvicorn
from prometheus_client import CollectorRegistry, make_asgi_app
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import Problem
from service.http.connection_limits import Connections
from service.http.open_files import raise_limit, shares
from service.http.protocol import bounded
from service.http.whole_request import Take
from service.logger import logger
from service.settings import Settings
from service.signals import Stop
from service.version import __version__

# Connections that may wait in the system to be accepted, and how many are accepted at a time. Each
# is an open file before it is counted; asyncio would accept the whole queue at once.
_BACKLOG = 2048
_ACCEPTED_AT_A_TIME = 8

# Seconds a request may take to arrive at the health address.
_HEALTH_SECONDS = 5.0

_log = logger("bluetick")


def listen(
    who: str, host: str, port: int, setting: str, host_setting: str = "BLUETICK_HOST"
) -> socket.socket:
    """Return a listening socket; port 0 is any free one. Raises `Problem`, naming `settings`."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        why = str(error.strerror).partition(" (")[0]  # `socket` adds the operation to the text
        raise Problem(
            "address_refused",
            service=who,
            host=host,
            port=port,
            why=why,
            taken=taken,
            settings=[host_setting, setting],
        ) from None


def listen_for_health(who: str, host: str, port: int, setting: str) -> socket.socket:
    """Return a listening socket for health and metrics."""
    return listen(who, host, port, setting, "BLUETICK_HEALTH_HOST")


def address_of(listener: socket.socket) -> str:
    """Return the address of a listening socket, as host:port."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(slots=True)
class End:
    """How a service ends, unless by an exception."""

    reason: str = Stop.reason


@contextlib.contextmanager
def logged(name: str, settings: Settings, **addresses: str) -> Iterator[End]:
    """Log the start of a service, and its end with the reason; `addresses` are its addresses."""
    listens = ", ".join(f"{what} on {where}" for what, where in addresses.items())
    log = _log.bind(process=name)
    log.info(
        "service_starting",
        version=__version__,
        namespace=settings.namespace,
        addresses=listens,
        kafka=settings.kafka,
    )
    end = End()
    try:
        yield end
    except Problem as problem:
        why = "; ".join(str(problem).splitlines()).replace(":; ", ": ")
        log.error("service_stopped", reason=why, code=problem.code)  # noqa: TRY400 - no traceback
        raise
    except BaseException as error:
        # The text of the exception may quote a webhook.
        log.error("service_stopped", reason=type(error).__name__)  # noqa: TRY400
        raise
    log.info("service_stopped", reason=end.reason)


def readiness(problems: Sequence[str], **detail: Any) -> Response:
    """Answer whether a service is ready, with one sentence for each reason why not."""
    ready = not problems
    return _page({"ready": ready, "problems": list(problems), **detail}, good=ready)


def bare_readiness(*, ready: bool) -> Response:
    """Answer on a public address whether a service is ready, without the reasons."""
    return _page({"ready": ready}, good=ready)


def _page(page: dict[str, Any], *, good: bool) -> Response:
    return Response(orjson.dumps(page), 200 if good else 503, media_type="application/json")


def startedness(*, started: bool) -> Response:
    """Answer whether a service has finished its start; once it has, this never changes."""
    return _page({"started": started}, good=started)


async def live(_: Request) -> Response:
    """Answer that the process runs: its event loop does."""
    return Response()


class Server(uvicorn.Server):
    """A uvicorn server without logging, which leaves signals and lifespan to its caller.

    Its connections are bounded by `connections`; `take` is offered the requests that arrive whole.
    """

    def __init__(
        self, app: ASGIApp, connections: Connections, *, grace: int, take: Take | None = None
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=bounded(connections, take),
                # Paths and queries may hold secrets.
                access_log=False,
                # Logging is set up by the command; uvicorn's own TRACE prints paths and headers.
                log_config=None,
                server_header=False,
                proxy_headers=False,
                ws="none",
                lifespan="off",
                timeout_graceful_shutdown=grace,
                backlog=_ACCEPTED_AT_A_TIME,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept connections, a few at a time, from a long queue."""
        await super().startup(sockets)
        for one in sockets or ():
            one.listen(_BACKLOG)

    def stop_listening(self) -> None:
        """Accept no further connection; nothing if it does not listen (yet)."""
        for listening in getattr(self, "servers", ()):  # uvicorn sets it when it starts
            listening.close()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HealthServer(Server):
    """Serve `/health/live`, `…/ready`, `…/started` and `/metrics`, on a few connections.

    `ready` and `started` answer at once: a probe waits for a second at most.
    """

    def __init__(
        self,
        ready: Callable[[], Response],
        started: Callable[[], bool],
        registry: CollectorRegistry,
        *,
        grace: int,
    ) -> None:
        connections = Connections(_HEALTH_SECONDS, shares(raise_limit()).health)
        super().__init__(_pages(ready, started, registry), connections, grace=grace)


def _pages(
    ready: Callable[[], Response], started: Callable[[], bool], registry: CollectorRegistry
) -> Starlette:
    async def readiness_page(_: Request) -> Response:
        return ready()

    async def started_page(_: Request) -> Response:
        return startedness(started=started())

    return Starlette(
        routes=[
            Route("/health/live", live),
            Route("/health/ready", readiness_page),
            Route("/health/started", started_page),
            Route("/metrics", _Metrics(registry), methods=["GET"]),
        ]
    )


class _Metrics:
    """Metrics in Prometheus' format: text, or OpenMetrics if the request accepts that.

    Of the request only `Accept` is passed on: what is not text would be an exception and a
    traceback in the log, and to compress a response holds up the event loop. The response gets
    its length, which the application does not say: uvicorn would send it in chunks.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._app = make_asgi_app(registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        accept = [one for one in scope["headers"] if one[0] == b"accept" and one[1].isascii()]
        start: Message = {}

        async def send_with_length(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
                return
            length = str(len(message["body"])).encode()
            await send({**start, "headers": [*start["headers"], (b"content-length", length)]})
            await send(message)

        narrowed = {**scope, "headers": accept, "query_string": b""}
        await self._app(narrowed, receive, send_with_length)
