"""The usual body of Whapi, statuses without errors, read in one pass. Pure.

Any other body is left to `parser.py`, which reads these bodies as well, to the same observations:
tests/unit/providers/test_usual_bodies.py compares both.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from providers.fields import Unread, occurred
from providers.status_words import status_of
from providers.usual_shape import Shape, Text, Word
from providers.whapi.events import event_of
from providers.whapi.parser import CHANNEL, PROVIDER, STATUSES
from providers.whapi.parties import has_receipts, reader_of
from schemas.coordinates import Coordinates
from schemas.records import Observation, RawOrigin, StatusObservation, message_key
from schemas.webhook import RawWebhook

_SERVER = "@s.whatsapp.net"


class _Status(Struct, forbid_unknown_fields=True, gc=False):
    id: Text
    status: Word
    recipient_id: Text
    timestamp: Word | int
    code: int | UnsetType = UNSET
    viewer_id: Text | UnsetType = UNSET


class _Event(Struct, forbid_unknown_fields=True, gc=False):
    type: Word
    event: Literal["post", "put"]


class _Body(Struct, forbid_unknown_fields=True, gc=False):
    statuses: Annotated[list[_Status], Meta(min_length=1)]
    channel_id: Text
    event: _Event | UnsetType = UNSET


_decode = Shape(_Body)


def read(webhook: RawWebhook, at: Coordinates, _: str | None) -> list[Observation] | None:
    """Return the observations of a usual body; None if it is another one."""
    body = _decode(webhook.body)
    if body is None:
        return None
    verb = body.event.event if body.event else event_of(webhook, b"null")[1]
    unread: Unread = {}
    made: list[Observation] = []
    for index, given in enumerate(body.statuses):
        recipient, viewer = _parties(given, unread)
        made.append(
            StatusObservation(
                message_key=message_key(PROVIDER, body.channel_id, given.id),
                provider=PROVIDER,
                account=body.channel_id,
                source=webhook.source or None,
                message_id=given.id,
                channel=CHANNEL,
                gateway=CHANNEL,
                recipient=recipient,
                viewer=viewer,
                status=status_of(given.status, STATUSES),
                provider_status=given.status,
                occurred_at=occurred(given.timestamp, "timestamp", webhook.received_at, unread),
                received_at=webhook.received_at,
                raw=RawOrigin(*at, index),
                catch_up=verb == "put",
                receipts=has_receipts(recipient),
            )
        )
    return None if unread else made


def _parties(given: _Status, unread: Unread) -> tuple[str | None, str | None]:
    """Return the recipient of a status, and its viewer if its chat has many readers."""
    number = given.recipient_id.removesuffix(_SERVER)
    if number.isascii() and number.isdecimal() and not number.startswith("00"):
        return number, None  # a personal chat, as nearly always
    viewer = given.viewer_id or None
    return reader_of({"recipient_id": given.recipient_id, "viewer_id": viewer}, unread)
