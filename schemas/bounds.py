"""The bounds of a message: of an observation, of a body, of a state, in one table. Pure.

Without bounds one sender could create a state that exceeds the topic's record size, or whose next
fact takes seconds. Sizes are bytes of JSON, as `schemas.codec` writes it. docs/bounds.md describes
what happens past each bound.
"""

from collections.abc import Iterable
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Bounds(NamedTuple):
    """The bounds; the defaults are in force, tests use smaller ones.

    The first group bounds an observation's fields, the second a body, the third a message's state,
    the last one record of `messages`, uncompressed. The largest state that the other bounds allow
    stays below it (tests/unit/processors/tracking/test_state_bounds.py builds it).
    """

    key: int = 1024  # a message key
    gateway: int = 128
    word: int = 128  # the provider's word for a status
    viewer: int = 512
    party: int = 512  # recipient or sender
    request_id: int = 1024
    reason_code: int = 128
    reason_text: int = 512
    billing: int = 2 * 1024
    payload: int = 64 * 1024
    content: int = 256 * 1024

    letters: int = 100  # dead letters of the items of one body

    attempts: int = 16  # gateways of a message, and of a viewer
    words: int = 8  # unknown statuses of an attempt, and of a viewer by one gateway
    replies: int = 256  # inbound messages recorded under one message key
    kept_content: int = 64 * 1024  # of `content`, in the state; observations may hold more

    state: int = 1024 * 1024


BOUNDS = Bounds()


def first(names: Iterable[str], most: int) -> set[str]:
    """Return the names that a state keeps: the first `most` in alphabetical order.

    The order is by name, not by time. So a name that was left out is never kept later, no fact is
    published twice, and the kept names depend only on the set of names.
    """
    return set(sorted(names)[:most])


def first_entries(entries: dict[str, T], most: int) -> dict[str, T]:
    """Return the entries with the first `most` names; the mapping itself if none is too many."""
    if len(entries) <= most:
        return entries
    names = first(entries, most)
    return {name: one for name, one in entries.items() if name in names}
