"""The messages of a store, counted: tracked by provider, stalled by provider and channel. Pure.

The counts follow the changes of states, so they cost nothing to read: `change` gives the difference
that one state makes, decoded or as stored.
"""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from processors.tracking import timers
from providers import NAMES
from schemas.codec import UndecodableError, decode_state
from schemas.records import RESERVED, MessageState
from service.metrics.labels import CHANNELS, OTHER, UNKNOWN_PROVIDER

TRACKED = ""

_RESERVED = tuple(prefix.encode() for prefix in RESERVED)
# Only a state with this text can be of a stalled message; the sender's payload may hold it, too.
_STALLED = b'"stalled_since":'


class Standing(NamedTuple):
    """What a message counts as: tracked, or stalled on a channel."""

    provider: str
    channel: str = TRACKED


Standings = tuple[Standing, ...]

_TRACKED: dict[str, Standings] = {name: (Standing(name),) for name in NAMES}
_UNKNOWN: Standings = (Standing(UNKNOWN_PROVIDER),)


def of_state(state: MessageState | None) -> Standings:
    """Return what a message with this state counts as; nothing without a state."""
    if state is None:
        return ()
    tracked = _tracked(state.message_key.partition("/")[0])
    if state.stalled_since is None:
        return tracked
    return *tracked, Standing(tracked[0].provider, _channel(state))


def of_stored(key: bytes, value: bytes | None) -> Standings:
    """Return what a stored state counts as; a state that cannot be read is tracked."""
    if value is None or key.startswith(_RESERVED):
        return ()
    if _STALLED in value:
        try:
            return of_state(decode_state(value))
        except UndecodableError:
            pass
    return _tracked(key.partition(b"/")[0].decode("utf-8", "replace"))


def may_differ(before: MessageState | None, after: MessageState | None) -> bool:
    """Whether a change of state may change the counts; most of them do not."""
    if before is None or after is None:
        return True
    return before.stalled_since is not None or after.stalled_since is not None


def change(before: Iterable[Standing], after: Iterable[Standing]) -> Counter[Standing]:
    """Return the difference of the counts that a change of one state makes."""
    difference = Counter(after)
    difference.subtract(before)
    return difference


def _tracked(provider: str) -> Standings:
    return _TRACKED.get(provider, _UNKNOWN)


def _channel(state: MessageState) -> str:
    channel = timers.channel(state)
    return channel if channel in CHANNELS else OTHER
