"""SmsManager, JSON API v2: delivery reports, replies and unsolicited messages. Pure.

A body is an array of items; an object with `notifications` and one bare item are taken as well,
as the vendor's own n8n node does. `type` tells the direction: `outgoing` is a delivery report,
`incoming` with a `message_id` is a reply to that message, without one it is unsolicited.
Sources: the vendor's OpenAPI document (jsonapi_v2, x-webhooks) and guides/webhooks; what only
third parties tell is named where it is used.
"""

import json
import math
import re
from functools import lru_cache
from hashlib import blake2b
from typing import Annotated, Any, Required, cast

import msgspec
from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from providers import json_slices
from providers.contract import Item, Outcomes, Part
from providers.fields import Id, ignore, milliseconds, missing, phone, reader, refuse_non_finite
from providers.rejection import Refused
from schemas.accounts import NO_ACCOUNT
from schemas.records import (
    Billing,
    InboundObservation,
    Reason,
    Status,
    StatusObservation,
    message_key,
)
from schemas.webhook import RawWebhook

PROVIDER = "smsmanager"

STATUSES: dict[str, Status] = {
    "sending": "sending",
    "sent": "sent",
    "delivered": "delivered",
    "seen": "read",
    "undelivered": "undelivered",
    "rejected": "rejected",
    "failed": "failed",
}

# What a message travels on. An unheard-of gateway is a channel of its own.
CHANNELS = {
    "whatsapp": "whatsapp",
    "whatsapp_body": "whatsapp",
    "whatsapp_template": "whatsapp",
    "whatsapp_text": "whatsapp",
}

DETAILS = frozenset({"sms", "viber", "whatsapp", "whatsapp_body", "whatsapp_template", "rcs"})

_NOT_FINITE = {"NaN", "Infinity", "-Infinity"}
_PRICES = (("CZK", "price_czk"), ("EUR", "price_eur"))
_ROOT = {ord("["), ord("{")}
_once_wrapped = json_slices.Once("notifications")
_once = json_slices.Once("type", "message_id", "gateway", "timestamp", "result")

_RESULT_INFO = re.compile(r"\[([0-9]+)\]\s*(.*)", re.DOTALL)
_WITH_INDEX = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}-([0-9]{1,9})")
_DECIMAL = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_MAX_DECIMAL = 64
_MAX_NETWORK_CODE = 3  # digits (ITU-T E.212)
_MAX_REQUEST_ID = 128


class _To(TypedDict, total=False):
    phone_number: str | None


class _Detail(TypedDict, total=False):
    gateway: Any
    sender: str | None
    country: Any
    operator: Any
    price_czk: Any
    price_eur: Any
    count: Annotated[int, Field(ge=0, le=2**31)] | None


class _Item(TypedDict, total=False):
    type: str
    gateway: Required[Id]
    message_id: Id | None
    request_id: Id | None
    timestamp: Any
    payload: Any
    to: _To | None
    result: Id | None
    result_info: str | None
    sms: _Detail | None
    viber: _Detail | None
    whatsapp: _Detail | None
    whatsapp_body: _Detail | None
    whatsapp_template: _Detail | None
    rcs: _Detail | None
    sender: str | None
    recipient: str | None
    body: str | None


class _Prices(msgspec.Struct):
    price_czk: msgspec.Raw = msgspec.Raw()
    price_eur: msgspec.Raw = msgspec.Raw()


class _Details(msgspec.Struct):
    sms: _Prices | None = None
    viber: _Prices | None = None
    whatsapp: _Prices | None = None
    whatsapp_body: _Prices | None = None
    whatsapp_template: _Prices | None = None
    rcs: _Prices | None = None


_read = reader(TypeAdapter(_Item))
_details = msgspec.json.Decoder(_Details)
_lenient = json.JSONDecoder(strict=False, parse_int=str, parse_float=str, parse_constant=str)


def split(_: RawWebhook, text: bytes) -> list[Part]:
    """Cut a body into its items."""
    if text[0] not in _ROOT:
        json_slices.refuse_unless_json(text)
        raise Refused("wrong_root", "the body should be an array of events")
    if text.startswith(b"["):
        return _parts("", text)
    if b'notifications"' not in text:
        json_slices.refuse_unless_json(text)
        return [Part("", text, read_item)]
    return _wrapped(text)


def _wrapped(text: bytes) -> list[Part]:
    """The items of an object with `notifications`; what stands beside them is counted."""
    members = json_slices.members(text)
    if not members.get("notifications", b"").startswith(b"["):
        return [Part("", text, read_item)]
    _once_wrapped(text)
    parts: list[Part] = []
    for name, value in members.items():
        if name == "notifications":
            parts += _parts("/notifications", value)
        else:
            parts.append(Part("", value, ignore(name)))
    return parts


def _parts(pointer: str, array: bytes) -> list[Part]:
    return [
        Part(f"{pointer}/{index}", element, read_item)
        for index, element in enumerate(json_slices.elements(array))
    ]


def read_item(item: Item) -> Outcomes:
    """The observation in one item, or `Refused`."""
    told = _read(item.json)
    detail = _detail(told)
    _once(item.json, deeper=1 if detail and "gateway" in detail else 0)
    refuse_non_finite(told.get("payload"), "payload")
    kind = told.get("type", "outgoing")  # as the OpenAPI document has it
    if kind == "outgoing":
        return (_report(item, told, detail),)
    if kind == "incoming":
        return (_inbound(item, told),)
    raise Refused("bad_value", "`type` should be outgoing or incoming")


def _report(item: Item, told: _Item, detail: _Detail | None) -> StatusObservation:
    message_id = told.get("message_id") or missing("message_id")
    result = told.get("result") or missing("result")
    gateway, to, info = told["gateway"], told.get("to"), told.get("result_info")
    indexed = _WITH_INDEX.fullmatch(message_id)
    return StatusObservation(
        message_key=message_key(PROVIDER, item.account, message_id),
        provider=PROVIDER,
        account=item.account or NO_ACCOUNT,
        source=item.source,
        message_id=message_id,
        request_id=told.get("request_id"),
        recipient_index=int(indexed[1]) if indexed else None,
        direction="outbound",
        channel=CHANNELS.get(gateway, gateway),
        gateway=gateway,
        recipient=phone(to.get("phone_number")) if to else None,
        status=STATUSES.get(result, "unknown"),
        provider_status=result,
        occurred_at=milliseconds(told.get("timestamp"), "timestamp"),
        received_at=item.webhook.received_at,
        reason=_reason(info) if info else None,
        billing=_billing(item, _detail_name(gateway), detail) if detail else None,
        payload=told.get("payload"),
        raw=item.raw,
    )


def _inbound(item: Item, told: _Item) -> InboundObservation:
    """A reply or an unsolicited message. A reply has the outbound message's id, not its own."""
    sender = told.get("sender") or missing("sender")
    text = told.get("body")
    if text is None:
        missing("body")
    gateway, answered = told["gateway"], told.get("message_id")
    return InboundObservation(
        message_key=message_key(PROVIDER, item.account, _identity(item, told)),
        provider=PROVIDER,
        account=item.account or NO_ACCOUNT,
        source=item.source,
        in_reply_to=message_key(PROVIDER, item.account, answered) if answered else None,
        request_id=told.get("request_id"),
        channel=CHANNELS.get(gateway, gateway),
        gateway=gateway,
        sender=phone(sender),
        recipient=phone(told.get("recipient")),
        content={"type": "text", "text": text} if text else {"type": "text"},
        payload=told.get("payload"),
        occurred_at=milliseconds(told.get("timestamp"), "timestamp"),
        received_at=item.webhook.received_at,
        raw=item.raw,
    )


def _identity(item: Item, told: _Item) -> str:
    """An id for a message that has none: the delivery's own and its place in it, else a hash.

    `X-Request-Id` stays the same when a delivery is tried again (a third-party client's README).
    """
    kind = "reply" if told.get("message_id") else "inbound"
    request = item.webhook.headers.get("x-request-id", "").strip()
    if 0 < len(request) <= _MAX_REQUEST_ID and request.isascii() and request.isprintable():
        return f"{kind}-{request}-{item.raw.index}"
    said = [
        milliseconds(told.get("timestamp"), "timestamp"),
        *(told.get(name) for name in ("gateway", "sender", "recipient", "body", "message_id")),
    ]
    return f"{kind}-{blake2b(msgspec.json.encode(said), digest_size=16).hexdigest()}"


def _reason(info: str) -> Reason:
    """`[code] text`, either of which may be missing; the code can be 0."""
    parsed = _RESULT_INFO.fullmatch(info)
    if parsed is None:
        return Reason(text=info)
    return Reason(code=parsed[1], text=parsed[2] or None)


def _detail_name(gateway: str) -> str:
    """A gateway's detail object has the gateway's name, with one exception (guides/webhooks)."""
    return "whatsapp_body" if gateway == "whatsapp_text" else gateway


def _detail(told: _Item) -> _Detail | None:
    name = _detail_name(told["gateway"])
    return cast("_Detail | None", told.get(name)) if name in DETAILS else None


def _billing(item: Item, name: str, detail: _Detail) -> Billing:
    return Billing(
        sender=phone(detail.get("sender")),
        mcc=_network_code(detail.get("country"), name, "country", 3),
        mnc=_network_code(detail.get("operator"), name, "operator", 2),
        parts=detail.get("count"),
        prices=_prices(item, name, detail),
    )


def _network_code(value: Any, name: str, field: str, width: int) -> str | None:
    """An MCC or MNC with its leading zeros; the provider's 0 is "unknown"."""
    if value is None:
        return None
    if type(value) is not int and type(value) is not str:
        raise Refused("wrong_type", f"`{name}.{field}` should be an integer")
    digits = str(value)
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= _MAX_NETWORK_CODE):
        raise Refused("bad_value", f"`{name}.{field}` should have at most three digits")
    return digits.zfill(width) if int(digits) else None


def _prices(item: Item, name: str, detail: _Detail) -> dict[str, str]:
    """Prices by currency code, with exactly the digits the provider wrote."""
    prices: dict[str, str] = {}
    texts: dict[str, str] | None = None
    for currency, field in _PRICES:
        value = detail.get(field)
        if value is None:
            continue
        if type(value) is float:
            texts = texts or _verbatim(item.json, name)
            value = texts[field]
        elif type(value) is not int and type(value) is not str:
            raise Refused("wrong_type", f"`{name}.{field}` should be a number")
        prices[currency] = _decimal(str(value), name, field)
    return prices


@lru_cache(maxsize=1024)  # prices are few, and told a million times
def _decimal(text: str, name: str, field: str) -> str:
    if text in _NOT_FINITE:
        raise Refused("not_finite", f"`{name}.{field}` should be a finite number")
    if len(text) > _MAX_DECIMAL or not _DECIMAL.fullmatch(text):
        raise Refused("bad_value", f"`{name}.{field}` should be a decimal number")
    if math.isinf(float(text)):
        raise Refused("not_finite", f"`{name}.{field}` should be a finite number")
    return text


def _verbatim(text: bytes, name: str) -> dict[str, str]:
    """A detail's prices, digit for digit: pydantic reads 0.950 as a double, without the zero."""
    try:
        prices: _Prices = getattr(_details.decode(text), name)
        czk, eur = bytes(prices.price_czk), bytes(prices.price_eur)
        return {"price_czk": czk.decode(), "price_eur": eur.decode()}
    except msgspec.DecodeError:  # something else in the item is odd; this one reads anything
        return cast("dict[str, str]", _lenient.decode(text.decode())[name])
