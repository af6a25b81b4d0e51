"""Adding up counts: of two cells, or of a cell and a change. Pure."""

import re
from collections.abc import Mapping
from decimal import Context, Decimal, Inexact, InvalidOperation
from functools import lru_cache
from typing import TypeVar

from msgspec.structs import fields, replace

from processors.quality import sketch
from schemas.quality import NO_TIMES, OTHER, UNNAMED, Counts

C = TypeVar("C", bound=Counts)

NO_CURRENCY = "XXX"
"""ISO 4217's code for no currency: for what is no code, and for codes past the bound."""

_NUMBERS = tuple(one.name for one in fields(Counts) if one.type is int)
_SKETCHES = ("to_delivered", "to_read")
# A price has at most 2 KiB of digits: no sum is rounded.
_EXACT = Context(prec=10_000, traps=[Inexact, InvalidOperation])
_CURRENCY = re.compile("[A-Z]{3}")


def added(one: C, other: Counts, sign: int = 1, names: int | None = None) -> C:
    """Return the first counts with the others added, or with a sign of -1 taken away.

    At most `names` reasons, and currencies, are named; the amounts of others have one name.
    """
    changed: dict[str, object] = {}
    for name in _NUMBERS:
        if number := getattr(other, name):
            changed[name] = getattr(one, name) + sign * number
    for name in _SKETCHES:
        changed[name] = sketch.added(getattr(one, name), getattr(other, name), sign)
    if other.reasons:
        changed["reasons"] = _reasons(one.reasons, other.reasons, sign, names)
    if other.cost:
        changed["cost"] = _cost(one.cost, other.cost, sign, names)
    return replace(one, **changed)


def is_empty(counts: Counts) -> bool:
    """Whether nothing is counted."""
    return (
        not any(getattr(counts, name) for name in _NUMBERS)
        and not any(counts.reasons.values())
        and not any(map(Decimal, counts.cost.values()))
        and counts.to_delivered == counts.to_read == NO_TIMES
    )


def delivered_share(counts: Counts) -> float | None:
    """Return the share of messages that was delivered, of those of which a receipt is due."""
    return share(counts.messages_delivered, counts.messages - counts.without_receipts)


def share(part: int, whole: int) -> float | None:
    """Return a part's share of the whole; None if there is nothing of which it could be one."""
    return part / whole if whole > 0 else None


def priced(prices: Mapping[str, str]) -> dict[str, str]:
    """Return prices in the form of a cell's cost, not to be changed; no number counts as 0."""
    return _priced(tuple(prices.items()))


@lru_cache(maxsize=4096)  # few prices, each of many attempts
def _priced(prices: tuple[tuple[str, str], ...]) -> dict[str, str]:
    return _cost({}, dict(prices), 1, None)


def _reasons(
    known: Mapping[str, int], new: Mapping[str, int], sign: int, names: int | None
) -> dict[str, int]:
    found = dict(known)
    for reason, count in sorted(new.items()):
        name = _named(reason, found, names, OTHER, UNNAMED)
        found[name] = found.get(name, 0) + sign * count
    full = _full(found, names, OTHER, UNNAMED)
    return {name: count for name, count in found.items() if count or name in full}


def _cost(
    known: Mapping[str, str], new: Mapping[str, str], sign: int, names: int | None
) -> dict[str, str]:
    found = {currency: Decimal(amount) for currency, amount in known.items()}
    for code, price in sorted(new.items()):
        amount = _amount(price)
        currency = code if _CURRENCY.fullmatch(code) else NO_CURRENCY
        name = _named(currency, found, names, NO_CURRENCY)
        # The operators of Decimal would round to 28 digits.
        combine = _EXACT.add if sign > 0 else _EXACT.subtract
        found[name] = combine(found.get(name, Decimal(0)), amount)
    full = _full(found, names, NO_CURRENCY)
    return {
        name: f"{_EXACT.normalize(one):f}" for name, one in found.items() if one or name in full
    }


def _amount(price: str) -> Decimal:
    try:
        amount = Decimal(price)
    except InvalidOperation:
        return Decimal(0)
    return amount if amount.is_finite() else Decimal(0)


def _named(
    name: str, known: Mapping[str, object], names: int | None, other: str, *free: str
) -> str:
    """Return the name, or `other` if there is no room for it."""
    if names is None or name in known or name in (other, *free):
        return name
    return other if _full(known, names, other, *free) else name


def _full(known: Mapping[str, object], names: int | None, *free: str) -> set[str]:
    """Return the names, if there is no room for another one.

    A name keeps its room then, even with nothing to count: what is counted as `other` meanwhile
    is taken away there later.
    """
    taken = {one for one in known if one not in free}
    return taken if names is not None and len(taken) >= names else set()
