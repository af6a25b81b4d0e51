"""HTTP on the public address: the hook, two health pages without detail, and the answers.

`POST|PUT|PATCH|DELETE /webhooks/<source>[/<anything>]` answers 200 with an empty body once the
body is durable, exactly as it came. Every other answer of the hook is empty too: a
sender learns the status (`ingest.admission.STATUS`) and nothing else. 405 names the verbs in
`Allow`,
503 says in `Retry-After` when to come again. An answer before the end of the body ends the
connection; `service.http.protocol` sees to that, and to what is no request at all.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from types import MappingProxyType
from typing import Any

from msgspec.structs import replace
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from ingest import metrics
from ingest.admission import Rejected, Source, accept, screen, split
from ingest.delivery import Durable, Where
from ingest.health import LEAVING, Health
from ingest.sources.loader import load
from ingest.sources.proofs.contract import Reply
from service.http.server import bare_readiness, live
from service.kafka.clock import clock, comparing, running
from service.settings import Settings
from service.wall_clock import now_ms

_PREFIX = b"/webhooks/"
_EMPTY: Message = {"type": "http.response.body"}
_TAKEN: Message = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-length", b"0")],
}
_RETRY_SECONDS = b"5"
_EXTRA: Mapping[int, list[tuple[bytes, bytes]]] = MappingProxyType(
    {
        503: [(b"retry-after", _RETRY_SECONDS)],
    }
)

# How long bodies may still arrive, and Kafka may still acknowledge, once the end was announced.
LAST_BODY_SECONDS = 2.0
LAST_CALL_SECONDS = 3.0


class Ingest(Starlette):
    """The app. Webhooks go past its middleware and routes: these cost as much as Kafka does."""

    def __init__(self, hook: "Hook", durable: Durable, **options: Any) -> None:
        super().__init__(**options)
        self.hook = hook
        self.leaving = False
        self._durable = durable

    def health(self) -> Health:
        """What the private address says, in full."""
        if self.leaving:
            return Health((LEAVING,))
        health = self._durable.health
        if not clock.problem:
            return health
        return replace(health, problems=(clock.problem, *health.problems))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["raw_path"].startswith(_PREFIX):
            await self.hook(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


class Disconnected(Exception):
    """The sender went away before its body was complete."""


class Hook:
    """The ASGI endpoint under `/webhooks/`: reads, publishes, answers."""

    def __init__(self, settings: Settings, durable: Durable, sources: Mapping[str, Source]) -> None:
        self._settings = settings
        self._sources = sources
        self._durable = durable
        self._reading: set[asyncio.Timeout] = set()
        self._held = 0
        self._closing = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one webhook, and count it; uvicorn sees no exception of ours but a bug."""
        source = self._known(scope)
        metrics.came(source)
        try:
            outcome = await self._take(scope, receive)
        except Rejected as rejected:
            metrics.refused(source, rejected.cause)
            await _refuse(rejected, send)
        except Disconnected:
            metrics.refused(source, "disconnected")
        except BaseException:
            metrics.refused(source, "broken-off")
            raise
        else:
            if isinstance(outcome, Reply):
                metrics.answered(source)
                await _reply(outcome, send)
                return
            metrics.taken(source, *outcome)
            await send(_TAKEN)
            await send(_EMPTY)

    def close(self) -> None:
        """Take nothing new; let what is under way end soon."""
        self._closing = True
        soon = asyncio.get_running_loop().time() + LAST_BODY_SECONDS
        for timeout in self._reading:
            with suppress(RuntimeError):  # it is over, and its body does not know yet
                timeout.reschedule(min(soon, timeout.when() or soon))
        self._durable.close(LAST_CALL_SECONDS)

    def sample(self) -> None:
        """Note for the metrics what is held now, and warn of a spool that fills."""
        durable = self._durable
        publishing = self._held + durable.publisher.in_flight_bytes
        limit = self._settings.spool_max_bytes if self._settings.spool else 0
        metrics.sample(publishing, durable.held, durable.given_up, limit)
        durable.look()

    def _known(self, scope: Scope) -> str:
        """The source as a label; a name that is none of ours never becomes one."""
        name, _ = split(_target(scope))
        return name if name in self._sources else metrics.NOBODY

    async def _take(self, scope: Scope, receive: Receive) -> tuple[Where, float] | Reply:
        """Make a webhook durable: where it is then, and how many seconds that took.

        A verification handshake gets a reply instead.
        """
        limit = self._settings.max_body
        screened = screen(
            self._sources,
            limit,
            method=scope["method"],
            target=_target(scope),
            headers=scope["headers"],
            # None of a sender that has left again.
            peer=scope["client"][0] if scope["client"] else "",
            now=_clocks(),
        )
        if isinstance(screened, Reply):
            return screened
        body = await self._body(receive)
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
        where = await self._durable.publish(webhook)
        return where, time.perf_counter() - began

    async def _body(self, receive: Receive) -> bytes:
        """The whole body, or `Rejected`: too slow, too large, or too many at a time."""
        timeout = asyncio.timeout(self._settings.receive_deadline)
        self._reading.add(timeout)
        try:
            async with timeout:
                message = await receive()
                if message["type"] == "http.request" and not message.get("more_body", False):
                    return bytes(message.get("body", b""))
                return await self._rest(message, receive)
        except TimeoutError:
            raise Rejected("shutting-down" if self._closing else "too-slow") from None
        finally:
            self._reading.discard(timeout)

    async def _rest(self, message: Message, receive: Receive) -> bytes:
        """A body in pieces; what all requests hold of theirs is bounded together."""
        body = bytearray()
        try:
            while True:
                if message["type"] != "http.request":
                    raise Disconnected
                piece = message.get("body", b"")
                self._held += len(piece)
                body += piece
                if len(body) > self._settings.max_body:
                    raise Rejected("too-large")
                if self._held > self._settings.max_in_flight_bytes:
                    raise Rejected("overloaded")
                if not message.get("more_body", False):
                    return bytes(body)
                message = await receive()
        finally:
            self._held -= len(body)


def create_app(settings: Settings) -> Ingest:
    """The ASGI app, or `Problem` if its sources are wrong.

    Its lifespan opens what makes bodies durable, or raises `Problem`.

    The end has two steps: `leaving = True` makes it not ready, though it still takes webhooks;
    `hook.close()` answers 503 to what is new.
    """
    sources = load(settings.sources).sources
    durable = Durable(settings)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with comparing(settings, metrics.clock_offset.set):
            await durable.start()
            try:
                yield
            finally:
                await durable.stop()

    async def ready(_: Request) -> Response:
        """Whether, not why: Kafka's addresses and the disk's paths are nothing for senders."""
        return bare_readiness(ready=not app.health().problems)

    routes = [Route("/health/live", live), Route("/health/ready", ready)]
    app = Ingest(Hook(settings, durable, sources), durable, routes=routes, lifespan=lifespan)
    return app


def _clocks() -> tuple[int, int]:
    """Kafka's time and this machine's, in Unix milliseconds."""
    return clock.now(), now_ms()


def _target(scope: Scope) -> bytes:
    """What follows `/webhooks/` as sent: undecoded, with the query string."""
    path: bytes = scope["raw_path"][len(_PREFIX) :]
    query: bytes = scope["query_string"]
    return path + b"?" + query if query else path


async def _refuse(rejected: Rejected, send: Send) -> None:
    headers = [(b"content-length", b"0"), *_EXTRA.get(rejected.status, [])]
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
