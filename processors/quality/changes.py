"""States of messages to changes of cells: what to add, of all messages of a batch. Pure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from processors.quality.contributions import NOTHING, contribution
from processors.quality.counts import added, is_empty
from schemas.codec import (
    NewerFormatError,
    UndecodableError,
    decode_quality_contribution,
    decode_state,
    encode,
)
from schemas.quality import QualityChange, QualityContribution, Route, route_of
from schemas.records import RESERVED, MessageState

Read = Callable[[Sequence[str]], list[bytes | None]]
Place = tuple[int, Route, str | None]


class StateRecord(Protocol):
    """The fields of a record of `messages` that are read."""

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


@dataclass(slots=True)
class Changed:
    """The result of a batch of states.

    `contributions` holds the new ones, None where a message is forgotten; `changes` what to add to
    the cells of minutes; `unreadable` how many states could not be read.
    """

    contributions: dict[bytes, bytes | None] = field(default_factory=dict)
    changes: list[QualityChange] = field(default_factory=list)
    unreadable: int = 0


def changed(records: Iterable[StateRecord], read: Read) -> Changed:
    """Compare states, in their order, with what the cells hold; `read` reads contributions.

    A message that is forgotten stays in the cells. Raises `NewerFormatError`.
    """
    states = [
        (one.key.decode(), one.value) for one in records if one.key and not _is_reserved(one.key)
    ]
    known = _known([key for key, _ in states], read)
    result, sums = Changed(), dict[Place, QualityChange]()
    for key, value in states:
        before = known[key]
        if value is None:
            known[key], result.contributions[key.encode()] = NOTHING, None
        elif (state := _decoded(value)) is None:
            result.unreadable += 1
        elif (after := contribution(state, before)) != before:
            known[key], result.contributions[key.encode()] = after, encode(after)
            _add(sums, before, -1)
            _add(sums, after, 1)
    result.changes = [one for one in sums.values() if not is_empty(one)]
    return result


def _is_reserved(key: bytes) -> bool:
    return key.startswith(tuple(prefix.encode() for prefix in RESERVED))


def _known(keys: Sequence[str], read: Read) -> dict[str, QualityContribution]:
    wanted = list(dict.fromkeys(keys))
    return {
        key: NOTHING if value is None else decode_quality_contribution(value)
        for key, value in zip(wanted, read(wanted), strict=True)
    }


def _decoded(value: bytes) -> MessageState | None:
    """Return a state; None if it cannot be read."""
    try:
        return decode_state(value)
    except NewerFormatError:
        raise
    except UndecodableError:
        return None


def _add(sums: dict[Place, QualityChange], held: QualityContribution, sign: int) -> None:
    for one in held.attempts:
        place = one.start_at, route_of(one), one.operator
        sums[place] = added(sums.get(place) or _nothing_at(one), one, sign)


def _nothing_at(one: QualityChange) -> QualityChange:
    return QualityChange(
        start_at=one.start_at,
        provider=one.provider,
        account=one.account,
        channel=one.channel,
        gateway=one.gateway,
        country=one.country,
        operator=one.operator,
    )
