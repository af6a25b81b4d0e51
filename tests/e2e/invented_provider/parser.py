"""The invented provider: an array of reports, one for each flight of a pigeon. Pure."""

from typing import Any, Required

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from providers import json_slices
from providers.contract import Ignored, Item, Outcomes, Part
from providers.fields import Id, milliseconds, phone, reader
from providers.rejection import Refused
from schemas.records import Status, StatusObservation, message_key
from schemas.webhook import RawWebhook

STATUSES: dict[str, Status] = {"launched": "sent", "landed": "delivered", "lost": "failed"}

_PROVIDER = "invented"


class _Flight(TypedDict, total=False):
    flight: Required[Id]
    loft: Required[Id]
    state: Required[Id]
    at: Any
    to: str | None


_read = reader(TypeAdapter(_Flight))


def split(_: RawWebhook, text: bytes) -> list[Part]:
    """Cut a body into its flights."""
    if not text.startswith(b"["):
        json_slices.refuse_unless_json(text)
        raise Refused("wrong_root", "the body should be an array of flights")
    return [
        Part(f"/{index}", element, _flight)
        for index, element in enumerate(json_slices.elements(text))
    ]


def _flight(item: Item) -> Outcomes:
    report = _read(item.json)
    if report["state"] == "feeding":
        return (Ignored("feeding"),)
    return (
        StatusObservation(
            message_key=message_key(_PROVIDER, report["loft"], report["flight"]),
            provider=_PROVIDER,
            account=report["loft"],
            source=item.source,
            message_id=report["flight"],
            direction="outbound",
            channel="pigeon",
            gateway="pigeon",
            recipient=phone(report.get("to")),
            status=STATUSES.get(report["state"], "unknown"),
            provider_status=report["state"],
            occurred_at=milliseconds(report.get("at"), "at"),
            received_at=item.webhook.received_at,
            raw=item.raw,
        ),
    )
