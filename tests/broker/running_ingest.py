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

_SECONDS = 20


@dataclass(frozen=True)
class Ingest:
    """Where ingest listens, a client for it, and what it was told."""

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
        """The status of its health page, and the problems there."""
        answer = await self._page()
        return answer.status_code, answer.json()["problems"]

    async def health(self) -> Any:
        """All that its health page says."""
        return (await self._page()).json()

    async def _page(self) -> httpx.Response:
        return await self.client.get(f"http://127.0.0.1:{self.health_port}/health/ready")


async def stored(ingest: Ingest, mark: str, provider: str = "whapi") -> list[Read]:
    """The raw records whose path carries the mark."""
    records = await read(ingest.settings.kafka, ingest.settings.topics.raw(provider))
    return [record for record in records if mark.encode() in record.headers["http-path"]]


def settings(kafka: str, namespace: str, **others: Any) -> Settings:
    """Settings for one test, with no balancer that has to notice; nothing of the environment's."""
    ours = {"port": 0, "ingest_metrics_port": 0, "drain": 0.05, **others}
    return Settings(kafka=kafka, namespace=namespace, **ours)


@asynccontextmanager
async def running(given: Settings, *, create: bool = True) -> AsyncIterator[Ingest]:
    """Ingest with its topics made; stopped in good order at the end."""
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
    """Wait until webhooks are taken; health answers earlier. Raises what ended ingest instead."""
    live = asyncio.create_task(client.get("/health/live"))
    await asyncio.wait([live, serving], return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        live.cancel()
        await serving
    await live


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for something to become true; a test that waits in vain fails."""
    async with asyncio.timeout(_SECONDS):
        while True:
            if await holds():
                return
            await asyncio.sleep(0.02)


async def largest(given: Settings, size: int, provider: str = "whapi") -> None:
    """Set the largest batch that the raw topic of a provider takes, in bytes."""
    await configure(given, {"max.message.bytes": str(size)}, provider)


async def configure(given: Settings, config: dict[str, str], provider: str = "whapi") -> None:
    """Set the configuration of a provider's raw topic, and nothing else of it."""
    named = given.topics.raw(provider)
    async with administering(given) as admin:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, named, config)])
