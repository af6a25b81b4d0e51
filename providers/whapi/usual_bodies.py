"""The usual body of Whapi, statuses of messages in personal chats, read in one pass. Pure.

Any other body is left to `parser.py`, which reads these bodies as well, to the same observations:
tests/unit/providers/test_usual_bodies.py compares both.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from providers.fields import Unread, occurred
from providers.status_words import status_of
from providers.usual_shape import Shape, Text, Word
from providers.whapi.parser import CHANNEL, PROVIDER, STATUSES
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


class _Event(Struct, forbid_unknown_fields=True, gc=False):
    type: Word
    event: Literal["post", "put"]


class _Body(Struct, forbid_unknown_fields=True, gc=False):
    statuses: Annotated[list[_Status], Meta(min_length=1)]
    event: _Event
    channel_id: Text


_decode = Shape(_Body)


def read(webhook: RawWebhook, at: Coordinates, _: str | None) -> list[Observation] | None:
    """Return the observations of a usual body; None if it is another one."""
    body = _decode(webhook.body)
    if body is None:
        return None
    catch_up = body.event.event == "put"
    unread: Unread = {}
    made: list[Observation] = []
    for index, given in enumerate(body.statuses):
        number = given.recipient_id.removesuffix(_SERVER)
        if not (number.isascii() and number.isdecimal()) or number.startswith("00"):
            return None
        made.append(
            StatusObservation(
                message_key=message_key(PROVIDER, body.channel_id, given.id),
                provider=PROVIDER,
                account=body.channel_id,
                source=webhook.source or None,
                message_id=given.id,
                channel=CHANNEL,
                gateway=CHANNEL,
                recipient=number,
                status=status_of(given.status, STATUSES),
                provider_status=given.status,
                occurred_at=occurred(given.timestamp, "timestamp", webhook.received_at, unread),
                received_at=webhook.received_at,
                raw=RawOrigin(*at, index),
                catch_up=catch_up,
            )
        )
    return None if unread else made
