"""Deadlines of bodies in progress when ingest stops: never extended, and no error."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from ingest import app
from ingest.app import Ingest, create_app
from service.settings import Settings

_SCOPE = {
    "type": "http",
    "method": "POST",
    "raw_path": b"/webhooks/whapi/m",
    "query_string": b"",
    "headers": [(b"content-length", b"2")],
    "client": ("127.0.0.1", 1),
}


async def _answer(ingest: Ingest, receive: Any) -> int:
    """Return the endpoint's answer to a webhook with this `receive`."""
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await ingest.endpoint(_SCOPE, receive, send)
    return int(sent[0]["status"])


async def test_an_earlier_deadline_is_not_extended(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shutdown gives no sender more time than before."""
    monkeypatch.setattr(app, "LAST_BODY_SECONDS", 3600.0)
    ingest = create_app(settings.model_copy(update={"receive_deadline": 0.3}))

    async def never() -> Any:
        ingest.endpoint.close()
        await asyncio.Event().wait()

    async with asyncio.timeout(30), ingest.router.lifespan_context(ingest):
        assert await _answer(ingest, never) == 503


async def test_a_deadline_that_passes_at_the_end_is_no_error(settings: Settings) -> None:
    """The deadline of a body that has just expired cannot be changed; this raises nothing."""
    ingest = create_app(settings.model_copy(update={"receive_deadline": 0.01}))

    async def late() -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            ingest.endpoint.close()

    async with asyncio.timeout(30), ingest.router.lifespan_context(ingest):
        assert await _answer(ingest, late) == 503
