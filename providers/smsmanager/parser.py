"""SmsManager, JSON API v2: delivery reports, replies and unsolicited messages. Pure.

A body is an array of items; an object with `notifications` and one bare item are accepted too,
as by the vendor's own n8n node. `type` gives the direction: `outgoing` is a delivery report,
`incoming` with a `message_id` is a reply to that message, without one it is unsolicited.
The facts are `type`, `gateway`, `message_id` and `result` of a report, and `gateway`, `sender` and
`body` of an inbound message. Any other unreadable field is left out and named.
Sources: the vendor's OpenAPI document (jsonapi_v2, x-webhooks) and guides/webhooks; facts
that only third parties document are marked in the code.
"""

import json
import math
import re
from functools import lru_cache
from hashlib import blake2b
from typing import Annotated, Any, Required, cast

import msgspec
from pydantic import Field
from typing_extensions import TypedDict

from providers import json_slices
from providers.contract import Item, Outcomes, Part
from providers.fields import (
    Id,
    Unread,
    drop,
    finite,
    ignore,
    milliseconds,
    missing,
    noted,
    occurred,
    phone,
    reader,
    word,
)
from providers.rejection import Code, Refused
from providers.status_words import status_of
from schemas.accounts import NO_ACCOUNT
from schemas.records import (
    Billing,
    InboundObservation,
    Observation,
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

# The channels of messages. An unknown gateway is a channel of its own.
CHANNELS = {
    "whatsapp": "whatsapp",
    "whatsapp_body": "whatsapp",
    "whatsapp_template": "whatsapp",
    "whatsapp_text": "whatsapp",
}

DETAILS = frozenset({"sms", "viber", "whatsapp", "whatsapp_body", "whatsapp_template", "rcs"})

_EMPTY: tuple[Any, ...] = ("", [], {})
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
_WIDTHS = {"country": 3, "operator": 2}


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


_read = reader(_Item)
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
    """Return the items in `notifications`, and in other members that hold an array of items.

    The other members are counted as ignored.
    """
    members = json_slices.members(text)
    if not members.get("notifications", b"").startswith(b"["):
        return [Part("", text, read_item)]
    _once_wrapped(text)
    parts: list[Part] = []
    for name, value in members.items():
        if value.startswith(b"[") and (name == "notifications" or b'"gateway"' in value):
            parts += _parts(f"/{word(name)}", value)
        else:
            parts.append(Part("", value, ignore(name)))
    return parts


def _parts(pointer: str, array: bytes) -> list[Part]:
    return [
        Part(f"{pointer}/{index}", element, read_item)
        for index, element in enumerate(json_slices.elements(array))
    ]


def read_item(item: Item) -> Outcomes:
    """Return the observation in one item, or raise `Refused`."""
    given, unread = _read(item.json)
    name = detail_name(given.get("gateway", ""))
    detail = _detail(given, name)
    deeper = 1 if detail and "gateway" in detail else 0
    if twice := _once.repeated(item.json, deeper):
        drop(twice, given, unread)
    kind = given.get("type", "outgoing")  # as the OpenAPI document has it
    if "type" in unread:
        missing("type", unread)
    if kind == "outgoing":
        made: Observation = _report(item, given, unread, name, detail)
    elif kind == "incoming":
        made = _inbound(item, given, unread)
    else:
        raise Refused("bad_value", "`type` should be outgoing or incoming")
    return (noted(made, unread),) if unread else (made,)


def _report(
    item: Item, given: _Item, unread: Unread, name: str, detail: _Detail | None
) -> StatusObservation:
    gateway = given.get("gateway") or missing("gateway", unread)
    message_id = given.get("message_id") or missing("message_id", unread)
    result = given.get("result") or missing("result", unread)
    to, info = given.get("to"), given.get("result_info")
    received_at = item.webhook.received_at
    return StatusObservation(
        message_key=message_key(PROVIDER, item.account, message_id),
        provider=PROVIDER,
        account=item.account or NO_ACCOUNT,
        source=item.source,
        message_id=message_id,
        request_id=given.get("request_id"),
        recipient_index=index_of(message_id),
        direction="outbound",
        channel=CHANNELS.get(gateway, gateway),
        gateway=gateway,
        recipient=phone(to.get("phone_number")) if to else None,
        status=status_of(result, STATUSES),
        provider_status=result,
        occurred_at=occurred(given.get("timestamp"), "timestamp", received_at, unread),
        received_at=received_at,
        reason=reason_of(info) if info else None,
        billing=_billing(item, name, detail, unread) if detail else None,
        payload=finite(given.get("payload"), "payload", unread),
        raw=item.raw,
    )


def _inbound(item: Item, given: _Item, unread: Unread) -> InboundObservation:
    """Read a reply or an unsolicited message. A reply has only the outbound message's id."""
    gateway = given.get("gateway") or missing("gateway", unread)
    sender = given.get("sender") or missing("sender", unread)
    if "body" in unread:
        missing("body", unread)
    text, answered, recipient = given.get("body"), given.get("message_id"), given.get("recipient")
    content = phone(sender), phone(recipient), text or None, answered
    received_at = item.webhook.received_at
    return InboundObservation(
        message_key=message_key(PROVIDER, item.account, _identity(given, gateway, *content)),
        provider=PROVIDER,
        account=item.account or NO_ACCOUNT,
        source=item.source,
        in_reply_to=message_key(PROVIDER, item.account, answered) if answered else None,
        request_id=given.get("request_id"),
        channel=CHANNELS.get(gateway, gateway),
        gateway=gateway,
        sender=content[0],
        recipient=content[1],
        # A picture, for example, has no text; the format does not name the kind of content.
        content={"type": "text", "text": text} if text else {"type": "text"},
        payload=finite(given.get("payload"), "payload", unread),
        occurred_at=occurred(given.get("timestamp"), "timestamp", received_at, unread),
        received_at=received_at,
        raw=item.raw,
    )


def _identity(given: _Item, gateway: str, *content: str | None) -> str:
    """Return an id for a message without one, made of its content.

    No header is part of it: a proxy may write a new `X-Request-Id` for each attempt, and a
    client the same one for two messages. docs/consuming.md names the messages that share an id.
    """
    kind = "reply" if given.get("message_id") else "inbound"
    encoded = msgspec.json.encode((_written_at(given.get("timestamp")), gateway, *content))
    return f"{kind}-{blake2b(encoded, digest_size=16).hexdigest()}"


def _written_at(value: Any) -> int | str | None:
    """Return a time for the identity: it does not depend on the reception, which a retry changes.

    A time that cannot be read still distinguishes two messages.
    """
    if value is None:
        return None
    try:
        return milliseconds(value, "timestamp")
    except Refused:
        return repr(value)


def index_of(message_id: str) -> int | None:
    """Return the index of a recipient in an id of a multiple request; None without one."""
    indexed = _WITH_INDEX.fullmatch(message_id)
    return int(indexed[1]) if indexed else None


def reason_of(info: str) -> Reason:
    """Parse `[code] text`, either of which may be missing; the code can be 0."""
    parsed = _RESULT_INFO.fullmatch(info)
    if parsed is None:
        return Reason(text=info)
    return Reason(code=parsed[1], text=parsed[2] or None)


def detail_name(gateway: str) -> str:
    """Return the name of the detail object: the gateway's, with one exception (guides/webhooks)."""
    return "whatsapp_body" if gateway == "whatsapp_text" else gateway


def _detail(given: _Item, name: str) -> _Detail | None:
    return cast("_Detail | None", given.get(name)) if name in DETAILS else None


def _billing(item: Item, name: str, detail: _Detail, unread: Unread) -> Billing:
    return Billing(
        sender=phone(detail.get("sender")),
        mcc=network_code(detail.get("country"), name, "country", unread),
        mnc=network_code(detail.get("operator"), name, "operator", unread),
        parts=detail.get("count"),
        prices=_prices(item, name, detail, unread),
    )


def network_code(value: Any, name: str, field: str, unread: Unread) -> str | None:
    """Return an MCC or MNC with its leading zeros; the provider's 0 is "unknown"."""
    if value is None:
        return None
    digits = str(value) if type(value) is int or type(value) is str else ""
    if digits.isascii() and digits.isdecimal() and len(digits) <= _MAX_NETWORK_CODE:
        return digits.zfill(_WIDTHS[field]) if int(digits) else None
    if value not in _EMPTY:
        code: Code = "bad_value" if digits else "wrong_type"
        reason = f"`{name}.{field}` should be an integer of at most three digits"
        unread[f"{name}.{field}"] = Refused(code, reason)
    return None


def _prices(item: Item, name: str, detail: _Detail, unread: Unread) -> dict[str, str]:
    """Return prices by currency code, with exactly the digits that the provider wrote."""
    prices: dict[str, str] = {}
    texts: dict[str, str] | None = None
    for currency, field in _PRICES:
        value = detail.get(field)
        if value is None:
            continue
        if type(value) is float:
            texts = texts or _verbatim(item.json, name)
            value = texts[field]
        try:
            prices[currency] = _price(value, name, field)
        except Refused as refusal:
            if value not in _EMPTY:
                unread[f"{name}.{field}"] = refusal
    return prices


def _price(value: Any, name: str, field: str) -> str:
    if type(value) is not int and type(value) is not str:
        raise Refused("wrong_type", f"`{name}.{field}` should be a number")
    return _decimal(str(value), name, field)


@lru_cache(maxsize=1024)  # there are few prices, each in a million items
def _decimal(text: str, name: str, field: str) -> str:
    if text in _NOT_FINITE:
        raise Refused("not_finite", f"`{name}.{field}` should be a finite number")
    if len(text) > _MAX_DECIMAL or not _DECIMAL.fullmatch(text):
        raise Refused("bad_value", f"`{name}.{field}` should be a decimal number")
    if math.isinf(float(text)):
        raise Refused("not_finite", f"`{name}.{field}` should be a finite number")
    return text


def _verbatim(text: bytes, name: str) -> dict[str, str]:
    """Return a detail's prices, digit for digit: pydantic reads 0.950 as a double, as 0.95."""
    try:
        prices: _Prices = getattr(_details.decode(text), name)
        czk, eur = bytes(prices.price_czk), bytes(prices.price_eur)
        return {"price_czk": czk.decode(), "price_eur": eur.decode()}
    except msgspec.DecodeError:  # another part of the item is invalid; this decoder is lenient
        return cast("dict[str, str]", _lenient.decode(text.decode())[name])
