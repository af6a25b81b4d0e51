"""Live updates by server-sent events: a page reloads its parts when the read model has changed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from sse_starlette import EventSourceResponse
from starlette.requests import Request
from starlette.responses import Response

_LOOK_SECONDS = 1.0
_PING_SECONDS = 15
_MOST_STREAMS = 500  # each keeps a connection; the others are for pages

Look = Callable[[], Awaitable[object]]
"""Returns a value that differs when there is something new to show."""


class Changes:
    """Looks for changes while a page listens, once for all of them."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._changed = asyncio.Condition()
        self._count = 0
        self._listeners = 0
        self._looking: asyncio.Task[None] | None = None
        self._closing = False

    async def stream(self, request: Request) -> Response:
        """Answer with an event for each change, until the page is closed.

        Above the maximum of streams a page is not live: a stream is never idle, so none can end
        for another one.
        """
        del request
        if self._listeners >= _MOST_STREAMS:
            return Response("too many pages are open", 503, media_type="text/plain")
        return EventSourceResponse(self._events(), ping=_PING_SECONDS)

    async def close(self) -> None:
        """End all streams."""
        self._closing = True
        if self._looking is not None:
            self._looking.cancel()
        async with self._changed:
            self._changed.notify_all()

    async def _events(self) -> AsyncIterator[dict[str, Any]]:
        self._listeners += 1
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._watch())
        seen = self._count
        try:
            yield {"event": "open", "data": ""}
            while not self._closing:
                async with self._changed:
                    while self._count == seen and not self._closing:
                        await self._changed.wait()
                    seen = self._count
                if not self._closing:
                    yield {"event": "changed", "data": ""}
        finally:
            self._listeners -= 1

    async def _watch(self) -> None:
        last = await self._safely()
        while self._listeners:
            await asyncio.sleep(_LOOK_SECONDS)
            now = await self._safely()
            if now != last:
                last = now
                async with self._changed:
                    self._count += 1
                    self._changed.notify_all()

    async def _safely(self) -> object:
        """Return the present value; None while the read model cannot be read."""
        try:
            return await self._look()
        except Exception:  # noqa: BLE001 - the page itself says why
            return None
