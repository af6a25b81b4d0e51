"""What a replay would bring: which observations are meant, and which of their facts are new. Pure.

A plan meets far more than it has to tell of, so a fact is kept as a few bytes, and only the facts
of the range are kept: the states they are compared with come and go.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from struct import Struct
from typing import Literal, NamedTuple

from processors.replay.range_syntax import Only
from processors.tracking import lifecycle
from processors.tracking.lifecycle import FactId, Precedence
from providers.contract import Normalised
from schemas.content_rank import ContentRank
from schemas.records import (
    InboundObservation,
    MessageState,
    Observation,
    StatusObservation,
    ViewerState,
    record_keys,
    split_viewer_key,
    state_key,
)

Standing = Literal["new", "corrected", "changed", "known"]
STANDINGS: tuple[Standing, ...] = ("new", "corrected", "changed", "known")
_NEW, _CORRECTED, _CHANGED, _KNOWN = range(4)  # their numbers

_WHEN = Struct(">?QQ?")
_WHERE = Struct(">IQI")
_BIAS = 2**63  # so that times before 1970 sort first as bytes, too


class Kind(NamedTuple):
    """What facts are counted by; inbound messages have no status of their own."""

    provider: str
    status: str


@dataclass(slots=True)
class Counts:
    """What the bodies of a range amount to; dead letters and ignored by provider and word."""

    bodies: int = 0
    observations: int = 0
    dead_letters: Counter[tuple[str, str]] = field(default_factory=Counter)
    ignored: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, provider: str, result: Normalised, observations: int) -> None:
        """Count one body, of which so many observations are meant."""
        self.bodies += 1
        self.observations += observations
        for letter in result.dead_letters:
            self.dead_letters[provider, letter.code] += 1
        for event, count in result.ignored.items():
            self.ignored[provider, event] += count


def wanted(only: Only | None, observations: list[Observation]) -> list[Observation]:
    """The observations that are meant. A dead letter's code is about bodies: all of theirs are."""
    if only is None or only.kind == "code":
        return observations
    meant = _WANTED[only.kind]
    return [observation for observation in observations if meant(observation, only.value)]


def _of_status(observation: Observation, status: str) -> bool:
    return isinstance(observation, StatusObservation) and observation.status == status


def _of_message(observation: Observation, key: str) -> bool:
    return key == observation.message_key or key in record_keys(observation)


_WANTED: dict[str, Callable[[Observation, str], bool]] = {
    "status": _of_status,
    "key": _of_message,
}


class Facts:
    """The distinct facts of a range, and how they stand to the states of their messages."""

    def __init__(self) -> None:
        self._told: dict[str, dict[FactId, bytes]] = {}
        # For each of a message's facts its standing's number; nothing for one without a state.
        self._standings: dict[str, bytes] = {}
        self._ids: dict[FactId, FactId] = {}
        # The best content of each inbound message that has an id of its own.
        self._contents: dict[str, ContentRank] = {}

    def add(self, observation: Observation) -> None:
        """Keep the fact, by that telling of it which counts."""
        fact = lifecycle.fact_id(observation)
        if isinstance(observation, StatusObservation) and not observation.viewer:
            fact = self._ids.setdefault(fact, fact)  # there are few, of many messages
        facts = self._told.setdefault(state_key(observation), {})
        told = _packed(lifecycle.precedence(observation))
        known = facts.get(fact)
        if known is None or told < known:
            facts[fact] = told
        if isinstance(observation, InboundObservation):
            self._add_content(observation)

    def _add_content(self, observation: InboundObservation) -> None:
        key, rank = observation.message_key, lifecycle.content_rank(observation)
        if rank is not None and key == state_key(observation):
            self._contents[key] = max(self._contents.get(key, rank), rank)

    def __contains__(self, key: str) -> bool:
        """Whether any of the facts is of the message or viewer with this key."""
        return key in self._told

    def settle(self, key: str, state: MessageState | ViewerState | None) -> None:
        """Compare with a message's state, or the newer one; None: there is none any more."""
        if state is None:
            self._standings.pop(key, None)
            return
        facts, rank = self._told[key].items(), self._contents.get(key)
        standings = [_standing(state, fact, told, rank) for fact, told in facts]
        self._standings[key] = bytes(standings)

    def count(self) -> dict[Kind, Counter[Standing]]:
        """How many facts of each kind are new, changed or known, in alphabetical order."""
        tally: Counter[tuple[str, str, int]] = Counter()
        for key, facts in self._told.items():
            viewer = split_viewer_key(key)
            provider = (key if viewer is None else viewer[0]).partition("/")[0]
            standings = self._standings.get(key) or bytes(len(facts))
            for fact, standing in zip(facts, standings, strict=True):
                tally[provider, _status(fact), standing] += 1
        counts: dict[Kind, Counter[Standing]] = {}
        for (provider, status, standing), count in sorted(tally.items()):
            counts.setdefault(Kind(provider, status), Counter())[STANDINGS[standing]] = count
        return counts


def _standing(
    state: MessageState | ViewerState, fact: FactId, told: bytes, content: ContentRank | None
) -> int:
    known = lifecycle.known(state, fact)
    if known is None:
        return _NEW
    if (
        isinstance(state, MessageState)
        and fact.name == state.message_key
        and lifecycle.corrects(state.content_rank, content)
    ):
        return _CORRECTED
    return _CHANGED if told < _packed(lifecycle.precedence(known)) else _KNOWN


def _status(fact: FactId) -> str:
    gateway, _, name = fact
    return name.partition(":")[0] if gateway else "inbound"


def _packed(precedence: Precedence) -> bytes:
    """Bytes that compare as the precedences do."""
    unknown, occurred_at, received_at, catch_up, raw = precedence
    when = _WHEN.pack(unknown, occurred_at + _BIAS, received_at + _BIAS, catch_up)
    return when + raw.topic.encode() + b"\0" + _WHERE.pack(raw.partition, raw.offset, raw.index)
