"""The usual body of Whapi, statuses of messages in personal chats, read in one pass. Pure.

Any other body is left to `parser.py`, which reads these bodies as well, to the same observations:
tests/unit/providers/test_usual_bodies.py compares both. Decision 35 says why there are two.
"""

from typing import Annotated, Literal

from msgspec import Meta, MsgspecError, Struct
from msgspec.json import Decoder

from providers.fields import Unread, occurred
from providers.status_words import status_of
from providers.whapi.parser import CHANNEL, PROVIDER, STATUSES
from schemas.coordinates import Coordinates
from schemas.records import Observation, RawOrigin, StatusObservation, message_key
from schemas.webhook import RawWebhook

# So short that each field fits its bound (schemas/bounds.py).
_Short = Annotated[str, Meta(min_length=1, max_length=64)]
_SERVER = "@s.whatsapp.net"


class _Status(Struct, forbid_unknown_fields=True, gc=False):
    id: _Short
    code: Annotated[int, Meta(ge=0, le=99)]
    status: _Short
    recipient_id: _Short
    timestamp: _Short


class _Event(Struct, forbid_unknown_fields=True, gc=False):
    type: _Short
    event: Literal["post", "put"]


class _Body(Struct, forbid_unknown_fields=True, gc=False):
    statuses: Annotated[list[_Status], Meta(min_length=1)]
    event: _Event
    channel_id: _Short


_decode = Decoder(_Body).decode

# The quotes of a body without its statuses, and those of a status, if no field is repeated.
_QUOTES, _QUOTES_OF_A_STATUS = 16, 18


def read(webhook: RawWebhook, at: Coordinates, _: str | None) -> list[Observation] | None:
    """Return the observations of a usual body; None if it is another one."""
    text = webhook.body
    try:
        body = _decode(text)
    except (MsgspecError, UnicodeDecodeError):
        return None
    quotes = _QUOTES + _QUOTES_OF_A_STATUS * len(body.statuses)
    if b"\\" in text or text.count(b'"') != quotes:
        return None
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
                occurred_at=occurred(
                    given.timestamp, "timestamp", webhook.received_at, unread
                ),
                received_at=webhook.received_at,
                raw=RawOrigin(*at, index),
                catch_up=body.event.event == "put",
            )
        )
    return None if unread else made
