"""The effect of a planned replay: the selected observations, and their new facts. Pure.

A plan reads far more than it reports. So a fact is kept as a few bytes, and only the facts of the
range are kept, not the states that they are compared with.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from struct import Struct
from typing import Literal, NamedTuple

from processors.replay.range_syntax import Only
from processors.tracking.lifecycle.descriptions import content_rank, corrects
from processors.tracking.lifecycle.facts import FactId, Precedence, fact_id, precedence, report_in
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
    """A kind of facts, to count by; inbound messages have no status of their own."""

    provider: str
    status: str


@dataclass(slots=True)
class Counts:
    """Counts of a range; dead letters by provider and code, ignored by provider and event."""

    bodies: int = 0
    observations: int = 0
    dead_letters: Counter[tuple[str, str]] = field(default_factory=Counter)
    ignored: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, provider: str, result: Normalised, observations: int) -> None:
        """Count one body, with its number of selected observations."""
        self.bodies += 1
        self.observations += observations
        for letter in result.dead_letters:
            self.dead_letters[provider, letter.code] += 1
        for event, count in result.ignored.items():
            self.ignored[provider, event] += count


def wanted(only: Only | None, observations: list[Observation]) -> list[Observation]:
    """Return the selected observations. The code of a dead letter selects whole bodies."""
    if only is None or only.kind == "code":
        return observations
    matches = _WANTED[only.kind]
    return [observation for observation in observations if matches(observation, only.value)]


def _of_status(observation: Observation, status: str) -> bool:
    return isinstance(observation, StatusObservation) and observation.status == status


def _of_message(observation: Observation, key: str) -> bool:
    return key == observation.message_key or key in record_keys(observation)


_WANTED: dict[str, Callable[[Observation, str], bool]] = {
    "status": _of_status,
    "key": _of_message,
}


class Facts:
    """The distinct facts of a range, compared with the states of their messages."""

    def __init__(self) -> None:
        self._facts: dict[str, dict[FactId, bytes]] = {}
        # By message: the number of the standing of each fact. A message without a state is absent.
        self._standings: dict[str, bytes] = {}
        self._ids: dict[FactId, FactId] = {}
        # The best content of each inbound message that has an id of its own.
        self._contents: dict[str, ContentRank] = {}

    def add(self, observation: Observation) -> None:
        """Keep the fact, with the precedence of the observation that counts."""
        fact = fact_id(observation)
        if isinstance(observation, StatusObservation) and not observation.viewer:
            fact = self._ids.setdefault(fact, fact)  # few distinct ids, shared by many messages
        facts = self._facts.setdefault(state_key(observation), {})
        new = _packed(precedence(observation))
        known = facts.get(fact)
        if known is None or new < known:
            facts[fact] = new
        if isinstance(observation, InboundObservation):
            self._add_content(observation)

    def _add_content(self, observation: InboundObservation) -> None:
        key, rank = observation.message_key, content_rank(observation)
        if rank is not None and key == state_key(observation):
            self._contents[key] = max(self._contents.get(key, rank), rank)

    def __contains__(self, key: str) -> bool:
        """Whether any fact is of the message or viewer with this key."""
        return key in self._facts

    def compare(self, key: str, state: MessageState | ViewerState | None) -> None:
        """Compare with a message's state, or a newer one; None: it has no state any more."""
        if state is None:
            self._standings.pop(key, None)
            return
        facts, rank = self._facts[key].items(), self._contents.get(key)
        standings = [_standing(state, fact, packed, rank) for fact, packed in facts]
        self._standings[key] = bytes(standings)

    def count(self) -> dict[Kind, Counter[Standing]]:
        """Count the facts of each kind by standing, in alphabetical order."""
        tally: Counter[tuple[str, str, int]] = Counter()
        for key, facts in self._facts.items():
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
    state: MessageState | ViewerState, fact: FactId, packed: bytes, content: ContentRank | None
) -> int:
    known = report_in(state, fact)
    if known is None:
        return _NEW
    if (
        isinstance(state, MessageState)
        and fact.name == state.message_key
        and corrects(state.content_rank, content)
    ):
        return _CORRECTED
    return _CHANGED if packed < _packed(precedence(known)) else _KNOWN


def _status(fact: FactId) -> str:
    gateway, _, name = fact
    return name.partition(":")[0] if gateway else "inbound"


def _packed(precedence: Precedence) -> bytes:
    """Return bytes that sort in the order of precedences."""
    unknown, occurred_at, received_at, catch_up, raw = precedence
    when = _WHEN.pack(unknown, occurred_at + _BIAS, received_at + _BIAS, catch_up)
    return when + raw.topic.encode() + b"\0" + _WHERE.pack(raw.partition, raw.offset, raw.index)
