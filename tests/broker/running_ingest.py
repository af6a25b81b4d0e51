"""A running ingest for tests: the real uvicorn on a real socket, in this event loop."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from deploy import topics
from ingest import metrics_server
from ingest.server import serve
from service.http.server import listen
from service.kafka.admin import administering
from service.settings import Settings
from tests.broker.reading import Read, read

_SECONDS = 60


@dataclass(frozen=True)
class Ingest:
    """A running ingest: its ports, a client for it, and its settings."""

    client: httpx.AsyncClient
    port: int
    health_port: int
    settings: Settings
    stop: asyncio.Event
    serving: asyncio.Task[None]

    async def raw(self, head: str, body: bytes = b"") -> bytes:
        """Send bytes as they are, then read until the server closes the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(head.replace("\n", "\r\n").encode() + body)
            return await asyncio.wait_for(reader.read(), _SECONDS)
        finally:
            writer.close()
            await writer.wait_closed()

    async def ready(self) -> tuple[int, list[str]]:
        """Return the status of its health page and the problems on it."""
        answer = await self._page()
        return answer.status_code, answer.json()["problems"]

    async def health(self) -> Any:
        """Return the contents of its health page."""
        return (await self._page()).json()

    async def _page(self) -> httpx.Response:
        return await self.client.get(f"http://127.0.0.1:{self.health_port}/health/ready")


async def stored(ingest: Ingest, mark: str, provider: str = "whapi") -> list[Read]:
    """Return the raw records whose path contains the mark."""
    records = await read(ingest.settings.kafka, ingest.settings.topics.raw(provider))
    return [record for record in records if mark.encode() in record.headers["http-path"]]


def settings(kafka: str, namespace: str, **others: Any) -> Settings:
    """Return settings for one test, with a short drain and nothing from the environment.

    The deadline of Kafka is long, so that a busy machine does not turn an answer into 503.
    """
    given = {"port": 0, "ingest_metrics_port": 0, "drain": 0.05, "publish_deadline": 20.0, **others}
    return Settings(kafka=kafka, namespace=namespace, **given)


@asynccontextmanager
async def running(given: Settings, *, create: bool = True) -> AsyncIterator[Ingest]:
    """Run ingest with its topics created; shut it down at the end."""
    if create:
        await topics.apply(given)
    stop = asyncio.Event()
    with (
        listen("a test", given.host, given.port, "BLUETICK_PORT") as listener,
        metrics_server.listen(given) as private,
    ):
        port, health_port = listener.getsockname()[1], private.getsockname()[1]
        serving = asyncio.create_task(serve(given, listener, stop, private=private))
        address = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=address, timeout=_SECONDS) as client:
            try:
                await _started(client, serving)
                yield Ingest(client, port, health_port, given, stop, serving)
            finally:
                stop.set()
                await serving


async def _started(client: httpx.AsyncClient, serving: asyncio.Task[None]) -> None:
    """Wait until ingest accepts webhooks, or raise the error that ended it."""
    live = asyncio.create_task(client.get("/health/live"))
    await asyncio.wait([live, serving], return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        live.cancel()
        await serving
    await live


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until `holds` returns true; a test that waits too long fails."""
    async with asyncio.timeout(_SECONDS):
        while True:
            if await holds():
                return
            await asyncio.sleep(0.02)


async def largest(given: Settings, size: int, provider: str = "whapi") -> None:
    """Set the largest batch that a provider's raw topic accepts, in bytes."""
    await configure(given, {"max.message.bytes": str(size)}, provider)


async def configure(given: Settings, config: dict[str, str], provider: str = "whapi") -> None:
    """Replace the configuration of a provider's raw topic."""
    named = given.topics.raw(provider)
    async with administering(given) as admin:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, named, config)])
