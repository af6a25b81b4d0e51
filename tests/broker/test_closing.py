"""Deadlines of bodies under way when the door closes: no longer than before, and no error."""

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
    """What the endpoint says to a webhook that comes like this."""
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await ingest.endpoint(_SCOPE, receive, send)
    return int(sent[0]["status"])


async def test_a_deadline_that_comes_first_is_not_put_off(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end gives nobody more time than there was."""
    monkeypatch.setattr(app, "LAST_BODY_SECONDS", 3600.0)
    ingest = create_app(settings.model_copy(update={"receive_deadline": 0.3}))

    async def never() -> Any:
        ingest.endpoint.close()
        await asyncio.Event().wait()

    async with asyncio.timeout(30), ingest.router.lifespan_context(ingest):
        assert await _answer(ingest, never) == 503


async def test_a_deadline_that_passes_at_the_end_is_no_error(settings: Settings) -> None:
    """A body that is over just then, and does not know it yet, cannot get another deadline."""
    ingest = create_app(settings.model_copy(update={"receive_deadline": 0.01}))

    async def late() -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            ingest.endpoint.close()

    async with asyncio.timeout(30), ingest.router.lifespan_context(ingest):
        assert await _answer(ingest, late) == 503
