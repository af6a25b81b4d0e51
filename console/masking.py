"""Masks numbers, texts and the caller's data in results, unless they may be revealed. Pure.

Pages and API both call `masked` on what a query returned. It keeps the shape of a value, so that a
person sees that something is there: the end of a number, the length of a text.
"""

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from schemas.privacy import HASHED

T = TypeVar("T")

_SHOWN_DIGITS = 3
_DIGITS = re.compile(r"\d{6,}")


def masked(result: T, *, reveal: bool) -> T:
    """Return a result of a query with its personal fields masked; the same one with `reveal`."""
    return result if reveal else _inside(result)


def masked_number(number: str) -> str:
    """Return the end of a number, a group or a name; a hash stays as it is."""
    if number.startswith(f"{HASHED}:"):
        return number
    return "…" + number[-_SHOWN_DIGITS:] if len(number) > 2 * _SHOWN_DIGITS else "…"


def masked_text(text: str) -> str:
    """Return how long a text is."""
    return f"text of {len(text)} characters" if text else ""


def masked_value(value: Any) -> Any:
    """Return JSON with its texts and long numbers masked; the names of members stay."""
    if isinstance(value, Mapping):
        return {_hidden_digits(str(name)): masked_value(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [masked_value(inner) for inner in value]
    if isinstance(value, str):
        return masked_text(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _hidden_digits(str(value)) if _DIGITS.search(str(value)) else value
    return value


def _hidden_digits(text: str) -> str:
    return _DIGITS.sub(lambda digits: "…" + digits[0][-_SHOWN_DIGITS:], text)


_MASKS = {"number": masked_number, "text": masked_value, "any": masked_value}


def _inside(value: Any) -> Any:
    if isinstance(value, list):
        return [_inside(one) for one in value]
    if not is_dataclass(value) or isinstance(value, type):
        return value
    changed = {}
    for one in fields(value):
        inner = getattr(value, one.name)
        kind = one.metadata.get("personal")
        if inner is not None:
            changed[one.name] = _MASKS[kind](inner) if kind else _inside(inner)
    return replace(value, **changed)
