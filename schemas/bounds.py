"""What one message may hold: every bound of an observation and of a state, in one table. Pure.

Without bounds one sender could make a state that no topic takes, or whose next fact costs seconds.
Sizes are bytes of JSON, as our own encoder writes it. docs/bounds.md says what happens past each.
"""

from collections.abc import Iterable
from typing import NamedTuple


class Bounds(NamedTuple):
    """The table; the defaults are in force, tests take smaller ones.

    The first group bounds an observation's fields, the second a body, the third what a message's
    state keeps, the last one record of `messages`, uncompressed. A state that keeps as much as the
    others allow stays below that (tests/unit/processors/tracking/test_state_bounds.py makes one).
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
    words: int = 8  # unknown statuses of an attempt, and of a viewer's ladder
    replies: int = 256  # inbound messages recorded under one message key
    kept_content: int = 64 * 1024  # of `content`, in the state; observations may hold more

    state: int = 1024 * 1024


BOUNDS = Bounds()


def first(names: Iterable[str], most: int) -> set[str]:
    """The names that a state keeps: the first ones in alphabetical order.

    The order is one of identities, not of times: a name that was left out once never comes back,
    so nothing is published twice, and the names kept depend on the set of names alone.
    """
    return set(sorted(names)[:most])
