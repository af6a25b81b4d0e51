"""The invented provider: an array of reports, one for each flight of a pigeon. Pure."""

from typing import Any

from typing_extensions import TypedDict

from providers import json_slices
from providers.contract import Ignored, Item, Outcomes, Part
from providers.fields import Id, missing, noted, occurred, phone, reader
from providers.rejection import Refused
from providers.status_words import status_of
from schemas.records import Status, StatusObservation, message_key
from schemas.webhook import RawWebhook

STATUSES: dict[str, Status] = {"launched": "sent", "landed": "delivered", "lost": "failed"}

_PROVIDER = "invented"


class _Flight(TypedDict, total=False):
    flight: Id | None
    loft: Id | None
    state: Id | None
    at: Any
    to: str | None


_read = reader(_Flight)


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
    report, unread = _read(item.json)
    state = report.get("state") or missing("state", unread)
    if state == "feeding":
        return (Ignored("feeding"),)
    loft = report.get("loft") or missing("loft", unread)
    flight = report.get("flight") or missing("flight", unread)
    received_at = item.webhook.received_at
    made = StatusObservation(
        message_key=message_key(_PROVIDER, loft, flight),
        provider=_PROVIDER,
        account=loft,
        source=item.source,
        message_id=flight,
        direction="outbound",
        channel="pigeon",
        gateway="pigeon",
        recipient=phone(report.get("to")),
        status=status_of(state, STATUSES),
        provider_status=state,
        occurred_at=occurred(report.get("at"), "at", received_at, unread),
        received_at=received_at,
        raw=item.raw,
    )
    return (noted(made, unread),)
