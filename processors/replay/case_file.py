"""A case in a file: one body as a provider posts it, or a life of deliveries and waits. Pure.

A life is an array of objects: `{"provider", "body", "received_at", "headers", "path", "method"}`,
of which the first two are required, and `{"wait_hours": 25}`.
"""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from processors.replay.pipeline_in_memory import Delivery, Step, Wait
from schemas.webhook import KEPT_HEADERS

_HOUR_MS = 3_600_000
_ASCII_SPACE = b" \t\r\n"


class NotALifeError(ValueError):
    """A life has the wrong format; the text is the reason."""


class _Entry(Struct, forbid_unknown_fields=True):
    """A delivery or a wait."""

    provider: str | None = None
    body: Raw = Raw()
    received_at: int | None = None
    headers: dict[str, str] = {}
    path: str = ""
    method: str = "POST"
    wait_hours: float | None = None


_objects = msgspec.json.Decoder(list[dict[str, Raw]])
_entries = msgspec.json.Decoder(list[_Entry])


def steps_of(text: bytes, provider: str | None = None) -> list[Step]:
    """Return the steps in a file; `provider` is the provider of a body that is not a life."""
    if is_life(text):
        return _life(text)
    if provider is None:
        raise NotALifeError("it is one body, not a life: name its provider")
    return [Delivery(provider, text)]


def is_life(text: bytes) -> bool:
    """Whether it is an array of deliveries and waits; a provider's own array has no such items."""
    if not text.lstrip(_ASCII_SPACE).startswith(b"["):
        return False
    try:
        items = _objects.decode(text)
    except msgspec.DecodeError:
        return False
    return bool(items) and all({"provider", "body"} <= i.keys() or "wait_hours" in i for i in items)


def _life(text: bytes) -> list[Step]:
    try:
        return [_step(entry) for entry in _entries.decode(text)]
    except msgspec.DecodeError as error:
        raise NotALifeError(f"it is not a life: {error}; see docs/cases.md") from None


def _step(entry: _Entry) -> Step:
    if entry.wait_hours is not None:
        return Wait(round(entry.wait_hours * _HOUR_MS))
    headers = {name.lower(): value for name, value in entry.headers.items()}
    kept: dict[str, Any] = {name: headers[name] for name in KEPT_HEADERS if name in headers}
    return Delivery(
        provider=entry.provider or "",
        body=bytes(entry.body),
        received_at=entry.received_at,
        headers=kept,
        path=entry.path,
        method=entry.method,
    )
