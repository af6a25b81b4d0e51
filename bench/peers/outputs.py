"""Compares the outputs of a run with the expected ones: nothing dropped, doubled or wrong. Pure."""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from typing import NamedTuple

import msgspec

Identity = Hashable
Headers = Mapping[str, str | bytes | None] | Iterable[tuple[str, str | bytes | None]]
REQUIRED_HEADERS = frozenset(
    {"ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "content-type"}
)


class Difference(NamedTuple):
    """How many records a run dropped, doubled or invented, with one example."""

    dropped: int = 0
    doubled: int = 0
    invented: int = 0
    example: str = ""

    def __bool__(self) -> bool:
        return bool(self.dropped or self.doubled or self.invented)

    def __str__(self) -> str:
        counts = (("dropped", self.dropped), ("doubled", self.doubled), ("invented", self.invented))
        named = ", ".join(f"{name} {count:,}" for name, count in counts if count)
        return f"{named}, such as {self.example}"


def difference(expected: Mapping[Identity, int], found: Mapping[Identity, int]) -> Difference:
    """Compare counts of records by their identities."""
    dropped = doubled = invented = 0
    example = ""
    for identity in expected.keys() | found.keys():
        want, have = expected.get(identity, 0), found.get(identity, 0)
        if want == have:
            continue
        example = example or repr(identity)
        dropped += max(0, want - have)
        if want:
            doubled += max(0, have - want)
        else:
            invented += have
    return Difference(dropped, doubled, invented, example)


class StatusSeen(msgspec.Struct, frozen=True):
    """What identifies a status record."""

    message_key: str
    status: str
    verdict: str
    message_status: str


class EventSeen(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """What identifies an event."""

    event: str
    message_key: str
    to: str = ""
    from_: str = ""
    current: str = ""
    elapsed_ms: int = 0


class _Attempt(msgspec.Struct, frozen=True):
    facts: dict[str, msgspec.Raw]


class _State(msgspec.Struct, frozen=True):
    message_key: str
    status: str
    attempts: dict[str, _Attempt]


_status = msgspec.json.Decoder(StatusSeen)
_event = msgspec.json.Decoder(EventSeen)
_state = msgspec.json.Decoder(_State)


def statuses(values: Iterable[bytes]) -> Counter[Identity]:
    """Count status records by identity."""
    return Counter(msgspec.structs.astuple(_status.decode(value)) for value in values)


def events(values: Iterable[bytes]) -> Counter[Identity]:
    """Count events by identity."""
    return Counter(msgspec.structs.astuple(_event.decode(value)) for value in values)


def states(records: Iterable[tuple[Hashable, bytes]]) -> Counter[Identity]:
    """Count the last states of all keys: message, status, the names of its facts."""
    return Counter(map(_seen, dict(records).values()))


def _seen(value: bytes) -> Identity:
    state = _state.decode(value)
    facts = (name for attempt in state.attempts.values() for name in attempt.facts)
    return state.message_key, state.status, tuple(sorted(facts))


class Ids:
    """Checks that each record has CloudEvents headers, and an id of its own."""

    def __init__(self) -> None:
        self.wrong = ""
        self._seen: set[str | bytes | None] = set()

    def add(self, headers: Headers | None) -> None:
        """Check the headers of one record."""
        names = dict(headers or ())
        if missing := REQUIRED_HEADERS - names.keys():
            self.wrong = f"a record lacks the header {min(missing)}"
        elif names["ce_id"] in self._seen:
            self.wrong = f"two records have the id {names['ce_id']!r}"
        else:
            self._seen.add(names["ce_id"])
