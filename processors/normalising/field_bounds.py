"""An observation is made to fit its bounds (schemas/bounds.py), for all providers. Pure.

A field that identifies a message, a gateway, a viewer or a status cannot be cut: if it is too long,
the item is refused. Any other field is left out, or cut if its beginning is useful, and named in
`unread`.
"""

from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from providers.rejection import Refused
from schemas.bounds import BOUNDS, Bounds
from schemas.codec import encode
from schemas.records import Billing, InboundObservation, Observation, Reason, StatusObservation

_WIDEST = 6  # bytes of JSON that one character takes at most: \u0001
_QUOTES = 2
_CUT = "…"
_MOST_DIGITS = 30  # before or after the decimal point of a price with an exponent


# The length in characters that fits each bound, for any characters.
_SHORT = Bounds(*((most - _QUOTES) // _WIDEST for most in BOUNDS))


def fitted(observation: Observation, bounds: Bounds = BOUNDS) -> Observation:
    """Return the observation to publish; `Refused` (`too_long`) if its fact does not fit."""
    if bounds is BOUNDS and _is_short(observation):
        return observation
    _refuse_long(observation, bounds)
    changed: dict[str, Any] = {}
    for name, most in _left_out(observation, bounds):
        value = getattr(observation, name)
        fits = _billed if name == "billing" else _fits
        if value is not None and not fits(value, most):
            changed[name] = None
    unread = sorted(changed)
    if isinstance(observation, StatusObservation) and observation.reason is not None:
        reason, fields = _reason(observation.reason, bounds)
        if fields:
            changed["reason"] = reason
            unread += fields
    if not changed:
        return observation
    return replace(observation, **changed, unread=sorted({*observation.unread, *unread}))


def _is_short(one: Observation) -> bool:
    """Whether all fields certainly fit, by their length: fast, and nearly always true."""
    return (
        len(one.message_key) <= _SHORT.key
        and len(one.channel) <= _SHORT.gateway
        and len(one.gateway) <= _SHORT.gateway
        and (one.recipient is None or len(one.recipient) <= _SHORT.party)
        and (one.request_id is None or len(one.request_id) <= _SHORT.request_id)
        and (
            _is_short_status(one) if isinstance(one, StatusObservation) else _is_short_inbound(one)
        )
        and (one.payload is None or _fits(one.payload, BOUNDS.payload))
        and (one.content is None or _fits(one.content, BOUNDS.content))
    )


def _is_short_status(one: StatusObservation) -> bool:
    reason = one.reason
    return (
        len(one.provider_status) <= _SHORT.word
        and (one.viewer is None or len(one.viewer) <= _SHORT.viewer)
        and (one.billing is None or _billed(one.billing, BOUNDS.billing))
        and (
            reason is None
            or (
                len(reason.code or "") <= _SHORT.reason_code
                and len(reason.text or "") <= _SHORT.reason_text
            )
        )
    )


def _is_short_inbound(one: InboundObservation) -> bool:
    return (one.in_reply_to is None or len(one.in_reply_to) <= _SHORT.key) and (
        one.sender is None or len(one.sender) <= _SHORT.party
    )


def _refuse_long(observation: Observation, bounds: Bounds) -> None:
    named: list[tuple[str, str | None, int]] = [
        ("the message key", observation.message_key, bounds.key),
        ("the channel", observation.channel, bounds.gateway),
        ("the gateway", observation.gateway, bounds.gateway),
    ]
    if isinstance(observation, InboundObservation):
        named.append(("the key of the message answered", observation.in_reply_to, bounds.key))
    else:
        named.append(("the provider's status", observation.provider_status, bounds.word))
        named.append(("the viewer", observation.viewer, bounds.viewer))
    for name, value, most in named:
        if value is not None and not _fits(value, most):
            raise Refused("too_long", f"{name} is longer than {most} bytes of JSON")


def _left_out(observation: Observation, bounds: Bounds) -> list[tuple[str, int]]:
    """Return the fields that are left out if they exceed their bound."""
    fields = [
        ("recipient", bounds.party),
        ("request_id", bounds.request_id),
        ("payload", bounds.payload),
        ("content", bounds.content),
    ]
    if isinstance(observation, InboundObservation):
        return [*fields, ("sender", bounds.party)]
    return [*fields, ("billing", bounds.billing)]


def _reason(reason: Reason, bounds: Bounds) -> tuple[Reason, list[str]]:
    """Return the reason with code and text cut to their bounds, and the names of the cut fields."""
    code, text = _cut(reason.code, bounds.reason_code), _cut(reason.text, bounds.reason_text)
    changed = [("reason.code", code != reason.code), ("reason.text", text != reason.text)]
    return Reason(code=code, text=text), [name for name, cut in changed if cut]


def _billed(billing: Billing, most: int) -> bool:
    """Whether a billing fits, and no price has an exponent that makes sums too long."""
    return _fits(billing, most) and all(
        abs(Decimal(price).adjusted()) <= _MOST_DIGITS
        for price in billing.prices.values()
        if "e" in price or "E" in price
    )


def _cut(text: str | None, most: int) -> str | None:
    """Return the beginning of a text that fits, with a mark at its end."""
    if text is None or _fits(text, most):
        return text
    room = most - len(encode(_CUT))
    kept = text[:room]
    while len(encode(kept)) - _QUOTES > room:
        over = len(encode(kept)) - _QUOTES - room
        kept = kept[: -max(1, over // _WIDEST)]
    return kept + _CUT


def _fits(value: Any, most: int) -> bool:
    if isinstance(value, str):
        return len(value) * _WIDEST + _QUOTES <= most or (
            len(value) <= most and len(encode(value)) <= most
        )
    return len(encode(value)) <= most
