"""The usual body of SmsManager, an array of delivery reports, read in one pass. Pure.

Any other body is left to `parser.py`, which reads these bodies as well, to the same observations:
tests/unit/providers/test_usual_bodies.py compares both.
"""

import re
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType
from pydantic_core import from_json

from providers.fields import Unread, finite, occurred, phone
from providers.json_slices import MAX_DEPTH
from providers.rejection import Refused
from providers.smsmanager.parser import (
    CHANNELS,
    DETAILS,
    PROVIDER,
    STATUSES,
    detail_name,
    index_of,
    network_code,
    reason_of,
)
from providers.status_words import status_of
from providers.usual_shape import Shape, Text, Word
from schemas.accounts import NO_ACCOUNT
from schemas.coordinates import Coordinates
from schemas.records import Billing, Observation, RawOrigin, StatusObservation, message_key
from schemas.webhook import RawWebhook


class _To(Struct, forbid_unknown_fields=True, gc=False):
    phone_number: Text


class _Detail(Struct, forbid_unknown_fields=True, gc=False):
    gateway: Text | UnsetType = UNSET
    sender: Text | UnsetType = UNSET
    country: Word | int | UnsetType = UNSET
    operator: Word | int | UnsetType = UNSET
    price_czk: Raw | UnsetType = UNSET
    price_eur: Raw | UnsetType = UNSET
    count: Annotated[int, Meta(ge=0, le=2**31)] | UnsetType = UNSET


class _Report(Struct, forbid_unknown_fields=True, gc=False):
    message_id: Text
    gateway: Word
    type: Literal["outgoing"]
    result: Word
    to: _To
    timestamp: Word | int
    request_id: Text | UnsetType = UNSET
    result_info: Text | UnsetType = UNSET
    payload: Raw | UnsetType = UNSET
    sms: _Detail | UnsetType = UNSET
    viber: _Detail | UnsetType = UNSET
    whatsapp: _Detail | UnsetType = UNSET
    whatsapp_body: _Detail | UnsetType = UNSET
    whatsapp_template: _Detail | UnsetType = UNSET
    rcs: _Detail | UnsetType = UNSET


_EMPTY = _Detail()
_PRICE = re.compile(rb"[0-9]{1,15}(?:\.[0-9]{1,15})?")
_decode = Shape(list[_Report])


def read(webhook: RawWebhook, at: Coordinates, account: str | None) -> list[Observation] | None:
    """Return the observations of a usual body; None if it is another one."""
    text = webhook.body
    if text.count(b"[") + text.count(b"{") > MAX_DEPTH:
        return None
    unread: Unread = {}
    made: list[Observation] = []
    for index, given in enumerate(_decode(text) or ()):
        made.append(
            StatusObservation(
                message_key=message_key(PROVIDER, account, given.message_id),
                provider=PROVIDER,
                account=account or NO_ACCOUNT,
                source=webhook.source or None,
                message_id=given.message_id,
                request_id=given.request_id or None,
                recipient_index=index_of(given.message_id),
                direction="outbound",
                channel=CHANNELS.get(given.gateway, given.gateway),
                gateway=given.gateway,
                recipient=phone(given.to.phone_number),
                status=status_of(given.result, STATUSES),
                provider_status=given.result,
                occurred_at=occurred(given.timestamp, "timestamp", webhook.received_at, unread),
                received_at=webhook.received_at,
                reason=reason_of(given.result_info) if given.result_info else None,
                billing=_billing(given, unread),
                payload=_payload(given.payload, unread),
                raw=RawOrigin(*at, index),
            )
        )
    return None if unread else made or None


def _billing(given: _Report, unread: Unread) -> Billing | None:
    name = detail_name(given.gateway)
    detail: _Detail | UnsetType = getattr(given, name) if name in DETAILS else UNSET
    if detail is UNSET or detail == _EMPTY:
        return None
    return Billing(
        sender=phone(detail.sender or None),
        mcc=_code(detail.country, name, "country", unread),
        mnc=_code(detail.operator, name, "operator", unread),
        parts=None if detail.count is UNSET else detail.count,
        prices=_prices(detail, unread),
    )


def _code(value: str | int | UnsetType, name: str, field: str, unread: Unread) -> str | None:
    return None if value is UNSET else network_code(value, name, field, unread)


def _prices(detail: _Detail, unread: Unread) -> dict[str, str]:
    prices: dict[str, str] = {}
    for currency, given in (("CZK", detail.price_czk), ("EUR", detail.price_eur)):
        if given is UNSET:
            continue
        if _PRICE.fullmatch(bytes(given)) is None:
            unread[currency] = Refused("bad_value", "an unusual price")
        prices[currency] = bytes(given).decode()
    return prices


def _payload(given: Raw | UnsetType, unread: Unread) -> Any:
    if given is UNSET:
        return None
    try:
        return finite(from_json(bytes(given)), "payload", unread)
    except ValueError:
        unread["payload"] = Refused("bad_value", "a number with very many digits")
    return None
