"""A running ingest for tests: the real uvicorn on a real socket, in this event loop."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from deploy import topics
from ingest.serve import serve
from schemas.serving import listen
from schemas.settings import Settings
from tests.broker.reading import Read, read

_SECONDS = 20


@dataclass(frozen=True)
class Ingest:
    """Where ingest listens, a client for it, and what it was told."""

    client: httpx.AsyncClient
    port: int
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

    async def ready(self) -> tuple[int, Any]:
        answer = await self.client.get("/health/ready")
        return answer.status_code, answer.json()


async def stored(ingest: Ingest, mark: str, provider: str = "whapi") -> list[Read]:
    """The raw records whose path carries the mark."""
    records = await read(ingest.settings.kafka, ingest.settings.topics.raw(provider))
    return [record for record in records if mark.encode() in record.headers["http-path"]]


def settings(kafka: str, namespace: str, **others: Any) -> Settings:
    """Settings for one test, with no balancer that has to notice; nothing of the environment's."""
    ours = {"host": "127.0.0.1", "port": 0, "drain": 0.05, **others}
    return Settings(kafka=kafka, namespace=namespace, **ours)


@asynccontextmanager
async def running(given: Settings, *, create: bool = True) -> AsyncIterator[Ingest]:
    """Ingest with its topics made; stopped in good order at the end."""
    if create:
        await topics.apply(given)
    stop = asyncio.Event()
    with listen("a test", given.host, given.port, "BLUETICK_PORT") as listener:
        port = listener.getsockname()[1]
        serving = asyncio.create_task(serve(given, listener, stop))
        address = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=address, timeout=_SECONDS) as client:
            try:
                yield Ingest(client, port, given, stop, serving)
            finally:
                stop.set()
                await serving


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for something to become true; a test that waits in vain fails."""
    async with asyncio.timeout(_SECONDS):
        while True:
            if await holds():
                return
            await asyncio.sleep(0.02)
