"""A reader of the shape that nearly all bodies of a provider have: one pass, or None. Pure.

The readers of single items name what they cannot read and never give up on a body. They take five
times as long. A usual body has nothing that they would name (decision 35).
"""

from typing import Annotated, Generic, TypeVar

from msgspec import Meta, MsgspecError
from msgspec.json import Decoder, encode

T = TypeVar("T")

# So short that every field fits its bound, whatever its characters (schemas/bounds.py).
Word = Annotated[str, Meta(min_length=1, max_length=20)]
Text = Annotated[str, Meta(min_length=1, max_length=64)]


class Shape(Generic[T]):
    """Decodes bodies of one shape: structs that forbid unknown fields, and default to UNSET."""

    def __init__(self, kind: type[T]) -> None:
        self._decode = Decoder(kind).decode

    def __call__(self, text: bytes) -> T | None:
        """Return the contents of a body; None if it has another shape."""
        try:
            text.decode()  # a part that stays `Raw` is not checked otherwise
            found = self._decode(text)
        except (MsgspecError, UnicodeDecodeError):
            return None
        # Without a backslash, each quote begins or ends a string. Repeated members are decoded as
        # one, so encoded again they have fewer.
        if b"\\" in text or encode(found).count(b'"') != text.count(b'"'):
            return None
        return found
