"""Cursors: the position after the last row of a page, as text for a URL. Pure."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from console.read_model.results import BadCursorError, Page

T = TypeVar("T")
R = TypeVar("R")

_TIME_BYTES = 8
_ID_BYTES = 16

MOST = 1000
"""Results of the longest page."""


class Position(NamedTuple):
    """A row in a list that is sorted by time and id, the newest first."""

    at: int
    id: bytes


def cursor_of(position: Position) -> str:
    """Return the cursor that continues after a row."""
    packed = position.at.to_bytes(_TIME_BYTES, "big", signed=True) + position.id
    return urlsafe_b64encode(packed).decode()


def position_of(cursor: str | None) -> Position | None:
    """Return the row of a cursor; None at the first page. Raises `BadCursorError`."""
    if not cursor:
        return None
    try:
        packed = urlsafe_b64decode(cursor.encode("ascii"))
    except ValueError:
        packed = b""
    if len(packed) != _TIME_BYTES + _ID_BYTES:
        raise BadCursorError("the cursor is not one of this list; leave it out for the first page")
    at = int.from_bytes(packed[:_TIME_BYTES], "big", signed=True)
    return Position(at, packed[_TIME_BYTES:])


def page_of(
    rows: Sequence[R], limit: int, position: Callable[[R], Position], item: Callable[[R], T]
) -> Page[T]:
    """Return a page of at most `limit` of the rows, of which one more than that were asked for."""
    more = len(rows) > limit
    shown = rows[:limit]
    return Page(
        [item(row) for row in shown], cursor_of(position(shown[-1])) if more and shown else None
    )
