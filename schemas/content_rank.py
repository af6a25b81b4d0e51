"""How much a message's content says: a total order, in which the richer of two contents wins. Pure.

The order is one of contents, not of arrivals: the greatest of a set is the same whatever came
first. A placeholder comes before every content that can be read, a bare medium before one with a
link, both before a person's words. Of two that say as much the one with more fields wins, then the
newer, then the greater digest. An edit by the sender outranks what it replaces: the newest wins.
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from msgspec import Struct
from msgspec.json import Encoder

# What providers call a message that they cannot read themselves, or not yet.
PLACEHOLDERS = frozenset({"unknown", "ciphertext", "undecryptable", "unsupported"})

_encode = Encoder(order="deterministic").encode


class ContentRank(Struct, frozen=True, order=True, array_like=True, gc=False):
    """A content's place in the order; times are Unix milliseconds, `edited_at` 0 for no edit."""

    edited_at: int
    grade: int
    fields: int
    at: int
    digest: str


def rank_of(content: Mapping[str, Any], at: int, edited_at: int | None = None) -> ContentRank:
    """The place of a content reported at some time, by an edit if `edited_at` is given."""
    grade = _grade(content)
    return ContentRank(
        # An edit that cannot be read replaces nothing.
        (edited_at or 0) if grade else 0,
        grade,
        len([value for value in content.values() if value or value == 0]),
        at,
        blake2b(_encode(content), digest_size=8).hexdigest(),
    )


def _grade(content: Mapping[str, Any]) -> int:
    kind = content.get("type")
    if kind is None or (isinstance(kind, str) and kind.lower() in PLACEHOLDERS):
        return 0
    words = content.get("text") or content.get("caption")
    return 1 + (2 if words else 0) + (1 if content.get("link") else 0)
