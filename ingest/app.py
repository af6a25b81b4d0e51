"""The HTTP application on the public address: the webhook endpoint and three bare health pages.

`POST|PUT|PATCH|DELETE /webhooks/<source>[/<anything>]` answers 200 with an empty body once the
request's body is durable and unchanged. Every other answer of the endpoint is empty too, so that a
sender learns only the status (`ingest.accept_webhook.STATUS`). A 405 lists the methods in `Allow`,
and a 503 has `Retry-After`. An answer before the end of the body closes the connection;
`service.http.protocol` does this, and answers malformed requests.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from types import MappingProxyType
from typing import Any

from msgspec.structs import replace
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from ingest import metrics
from ingest.accept_webhook import Rejected, Source, accept, screen, split
from ingest.delivery import Durable, Where
from ingest.health import SHUTTING_DOWN, Health
from ingest.metrics_tally import Tally
from ingest.sources.loader import load
from ingest.sources.proofs.contract import Reply
from schemas.webhook import RawWebhook
from service import tracing
from service.http.request_body import Bodies, Disconnected, RefusedBody
from service.http.server import bare_readiness, live, startedness
from service.http.whole_request import WholeRequest
from service.kafka.clock import clock, comparing, running
from service.kafka.failures import reporter
from service.metrics.labels import UNKNOWN_SOURCE
from service.metrics.of_every_service import clock_offset, count_kafka_failure
from service.settings import Settings
from service.wall_clock import now_ms

_PREFIX = b"/webhooks/"
_EMPTY: Message = {"type": "http.response.body"}
_ACCEPTED: Message = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-length", b"0")],
}
_RETRY_SECONDS = b"5"
_HEADERS_BY_STATUS: Mapping[int, list[tuple[bytes, bytes]]] = MappingProxyType(
    {
        503: [(b"retry-after", _RETRY_SECONDS)],
    }
)

# How long bodies may still arrive, and Kafka may still acknowledge, after the start of a shutdown.
LAST_BODY_SECONDS = 2.0
LAST_PUBLISH_SECONDS = 3.0


class Ingest(Starlette):
    """The app. Webhooks bypass its middleware and routes, which take as long as Kafka does."""

    def __init__(self, endpoint: "WebhookEndpoint", durable: Durable, **options: Any) -> None:
        super().__init__(**options)
        self.endpoint = endpoint
        self.started = self.shutting_down = False
        self._durable = durable

    def health(self) -> Health:
        """Return the health in full, for the private address."""
        if self.shutting_down:
            return Health((SHUTTING_DOWN,))
        health = self._durable.health
        if not clock.problem:
            return health
        return replace(health, problems=(clock.problem, *health.problems))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["raw_path"].startswith(_PREFIX):
            await self.endpoint(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


_Outcome = tuple[Where, float] | Reply
"""Where a webhook is stored and the seconds that took, or the reply to a verification handshake."""


class WebhookEndpoint:
    """The ASGI endpoint under `/webhooks/`: reads a body, makes it durable and answers."""

    def __init__(self, settings: Settings, durable: Durable, sources: Mapping[str, Source]) -> None:
        self._settings = settings
        self._sources = sources
        self._durable = durable
        self._bodies = Bodies(
            settings.max_body, settings.max_in_flight_bytes, settings.receive_deadline
        )
        self._closing = False
        self._tally = Tally()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer and count one webhook; only a defect raises an exception to uvicorn."""
        began, source = time.perf_counter(), self._source_label(scope)
        metrics.count_received(source)
        await self._answer(source, began, self._receive(scope, receive), send)

    def take(self, request: WholeRequest) -> bool:
        """Make a webhook that arrived whole durable, and answer it later.

        This is the quick path of the usual webhook: it only accepts, and only what Kafka
        acknowledges. For all else it returns False, and `__call__` decides on the request.
        """
        began = time.perf_counter()
        path, _, query = request.url.partition(b"?")
        if not path.startswith(_PREFIX) or tracing.current.traces is not None:
            return False
        try:
            webhook = self._accepted(request, _rest(path, query))
            sent = None if webhook is None else self._durable.begin(webhook)
        except Exception:  # noqa: BLE001 - refused, or a defect: the app finds the same and answers
            return False
        if webhook is None or sent is None:
            return False
        self._tally.receive(webhook.source, len(webhook.body))
        sent.add_done_callback(partial(self._acknowledged, request, webhook, began))
        return True

    def _accepted(self, request: WholeRequest, target: bytes) -> RawWebhook | None:
        """Return the webhook, or None for a verification handshake; raises `Rejected`."""
        limit, now = self._settings.max_body, _clocks()
        screened = screen(
            self._sources,
            limit,
            method=request.method,
            target=target,
            headers=request.headers,
            peer=request.peer,
            now=now,
        )
        if isinstance(screened, Reply):
            return None
        uptime = None if clock.compared else running()
        webhook = accept(
            screened, limit, body=request.body, now=now, id_=os.urandom(16).hex(), uptime=uptime
        )
        return None if isinstance(webhook, Reply) else webhook

    def _acknowledged(
        self, request: WholeRequest, webhook: RawWebhook, began: float, sent: asyncio.Future[None]
    ) -> None:
        """Answer a webhook that `take` has sent; if Kafka refused it, it goes to the spool."""
        refused = sent.exception()
        if refused is None:
            self._tally.store(webhook.source, time.perf_counter() - began, request.accept)
            return

        async def rescue(_: Scope, __: Receive, send: Send) -> None:
            await self._answer(webhook.source, began, self._rescued(webhook, refused, began), send)

        request.hand_over(rescue)

    async def _rescued(
        self, webhook: RawWebhook, refused: BaseException, began: float
    ) -> tuple[Where, float]:
        if not isinstance(refused, Rejected):
            raise refused
        where = await self._durable.rescue(webhook, refused, time.perf_counter() - began)
        return where, time.perf_counter() - began

    async def _answer(
        self, source: str, began: float, received: Awaitable[_Outcome], send: Send
    ) -> None:
        """Answer and count a webhook that was counted as received."""
        status = 200
        try:
            outcome = await received
        except Rejected as rejected:
            metrics.count_rejected(source, rejected.cause)
            status = rejected.status
            await _refuse(rejected, send)
        except Disconnected:
            metrics.count_rejected(source, "disconnected")
            return
        except BaseException as error:
            metrics.count_rejected(source, "broken-off")
            if isinstance(error, Exception):  # uvicorn answers 500
                metrics.count_answer(500, time.perf_counter() - began)
            raise
        else:
            if isinstance(outcome, Reply):
                metrics.count_handshake(source)
                await _reply(outcome, send)
            else:
                metrics.count_accepted(source, *outcome)
                await send(_ACCEPTED)
                await send(_EMPTY)
        metrics.count_answer(status, time.perf_counter() - began)

    def close(self) -> None:
        """Refuse new webhooks, and shorten the deadlines of those in progress."""
        self._closing = True
        self._bodies.hurry(LAST_BODY_SECONDS)
        self._durable.close(LAST_PUBLISH_SECONDS)

    @property
    def sources(self) -> Collection[str]:
        """The names of the known sources."""
        return self._sources.keys()

    def sample(self) -> None:
        """Update the gauges, and log how full the spool is."""
        durable = self._durable
        sample = metrics.Sample(
            publishing=self._bodies.held + durable.publisher.in_flight_bytes,
            held=durable.held,
            free=durable.free_bytes(),
            given_up=durable.given_up,
            connected=durable.publisher.connected,
        )
        metrics.set_gauges(sample)
        durable.log_spool_use()

    def _source_label(self, scope: Scope) -> str:
        """Return the source as a label; an unknown name never becomes a label."""
        name, _ = split(_target(scope))
        return name if name in self._sources else UNKNOWN_SOURCE

    async def _receive(self, scope: Scope, receive: Receive) -> _Outcome:
        """Make a webhook durable; returns where it is stored, and the seconds that took.

        Returns a `Reply` for a verification handshake instead.
        """
        limit = self._settings.max_body
        screened = screen(
            self._sources,
            limit,
            method=scope["method"],
            target=_target(scope),
            headers=scope["headers"],
            # None if the sender has already disconnected.
            peer=scope["client"][0] if scope["client"] else "",
            now=_clocks(),
        )
        if isinstance(screened, Reply):
            return screened
        body = await self._body(receive)
        metrics.request_bytes.observe(len(body))
        webhook = accept(
            screened,
            limit,
            body=body,
            now=_clocks(),
            id_=os.urandom(16).hex(),
            uptime=None if clock.compared else running(),
        )
        if isinstance(webhook, Reply):
            return webhook
        began = time.perf_counter()
        where = await self._publish(webhook, scope["headers"])
        return where, time.perf_counter() - began

    async def _publish(self, webhook: RawWebhook, request: Iterable[tuple[bytes, bytes]]) -> Where:
        """Make a webhook durable; if traces are on, its record carries the request's trace on."""
        traces = tracing.current.traces
        if traces is None:
            return await self._durable.publish(webhook)
        topic = self._settings.topics.raw(webhook.provider)
        with traces.receiving(request, webhook.method, webhook.source, topic) as context:
            traced = replace(webhook, headers={**webhook.headers, **context})
            return await self._durable.publish(traced)

    async def _body(self, receive: Receive) -> bytes:
        """Read the whole body; raises `Rejected` if it passes a bound, or `Disconnected`."""
        try:
            return await self._bodies.read(receive)
        except RefusedBody as refused:
            late = self._closing and refused.cause == "too-slow"
            raise Rejected("shutting-down" if late else refused.cause) from None


def create_app(settings: Settings) -> Ingest:
    """Return the ASGI app; raises `Problem` if the sources file is wrong.

    Its lifespan starts the durable delivery, or raises `Problem`.

    A shutdown has two steps. `shutting_down = True` makes the app not ready, but it still accepts
    webhooks. `endpoint.close()` then answers 503 to new ones.
    """
    sources = load(settings.sources).sources
    durable = Durable(settings)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with (
            reporter.reporting(settings, count_kafka_failure),
            comparing(settings, clock_offset.set),
        ):
            await durable.start()
            app.started = True
            try:
                yield
            finally:
                await durable.stop()

    async def ready(_: Request) -> Response:
        """Answer without the reasons: senders must not see the addresses and paths in them."""
        return bare_readiness(ready=not app.health().problems)

    async def started(_: Request) -> Response:
        return startedness(started=app.started)

    pages = {"live": live, "ready": ready, "started": started}
    routes = [Route(f"/health/{name}", page) for name, page in pages.items()]
    app = Ingest(
        WebhookEndpoint(settings, durable, sources), durable, routes=routes, lifespan=lifespan
    )
    return app


def _clocks() -> tuple[int, int]:
    """Return Kafka's time and this machine's, in Unix milliseconds."""
    return clock.now(), now_ms()


def _target(scope: Scope) -> bytes:
    return _rest(scope["raw_path"], scope["query_string"])


def _rest(path: bytes, query: bytes) -> bytes:
    """Return the part of the URL after `/webhooks/` as sent: undecoded, with the query string."""
    rest = path[len(_PREFIX) :]
    return rest + b"?" + query if query else rest


async def _refuse(rejected: Rejected, send: Send) -> None:
    headers = [(b"content-length", b"0"), *_HEADERS_BY_STATUS.get(rejected.status, [])]
    if rejected.allow:
        headers.append((b"allow", ", ".join(rejected.allow).encode()))
    await send({"type": "http.response.start", "status": rejected.status, "headers": headers})
    await send(_EMPTY)


async def _reply(reply: Reply, send: Send) -> None:
    headers = [
        (b"content-length", str(len(reply.body)).encode()),
        (b"content-type", reply.content_type.encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
