"""What must hold during a schedule, and at its end: topics and stores are as the oracle expects."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache

from schemas.codec import decode_by_key, encode
from tests.oracle.compare import outlived
from tests.oracle.expected import ExpectedOutputs, canonical, expect_outputs, first_ce_id
from tests.simulation.kafka_model import Broker, Log, Record
from tests.simulation.store_model import Store

OUTPUTS = ("statuses", "events", "inbound")
TOPICS = ("observations", "messages", *OUTPUTS)

Entry = tuple[str, str, str, str]
"""An output: topic, key, CloudEvents id, the record as canonical JSON."""


class ViolationError(Exception):
    """Something that must hold does not."""


def require(holds: bool, otherwise: str) -> None:  # noqa: FBT001
    if not holds:
        raise ViolationError(otherwise)


class Reader:
    """Another service: reads committed records from its last position, and keeps them."""

    def __init__(self, log: Log) -> None:
        self.seen: list[Record] = []
        self._log = log

    def read(self) -> None:
        start = self.seen[-1].offset + 1 if self.seen else 0
        self.seen += self._log.committed(start)


class Monitor:
    """Checks every commit and every write to a store."""

    def __init__(self, broker: Broker, happened: Counter[str]) -> None:
        self._happened = happened
        self._log = broker.logs["observations"]
        self._published: set[str] = set()
        self._offset = 0
        self._values: defaultdict[str, set[bytes | None]] = defaultdict(set)
        self._changes: dict[int, Record] = {}
        broker.on_commit = self.on_commit

    def on_commit(self, records: Iterable[Record], offset: int | None) -> None:
        """Each observation before a committed offset was published with it or earlier."""
        self._happened["a transaction committed"] += 1
        for record in records:
            if record.topic == "messages":
                self._values[record.key.decode()].add(record.value)
                self._changes[record.offset] = record
            else:
                self._published.add(record.note)
        if offset is None:
            return
        require(offset >= self._offset, f"the offset goes back, from {self._offset} to {offset}")
        for record in self._log.written(self._offset)[: offset - self._offset]:
            require(
                _first_ce_id(record.key, record.value) in self._published,
                f"the offset passes observation {record.offset}, for which nothing was published",
            )
        self._offset = offset

    def on_markers_lost(self, offset: int) -> None:
        """Without its markers a transaction is invisible: it may be done again from `offset`."""
        self._offset = offset

    def on_write(self, store: Store) -> None:
        """A store holds only committed states, and its anchor is a committed record."""
        for key, value in store.states.items():
            require(value in self._values[key], f"the store has an uncommitted state of {key}")
        if store.anchor is not None:
            require(
                store.anchor.offset in self._changes,
                f"the anchor {store.anchor.offset} is no committed record",
            )


def expect(log: Log, horizon: int) -> ExpectedOutputs:
    """Ask the oracle what follows from all observations and the timers due by the horizon."""
    return expect_outputs(((r.key.decode(), r.value or b"") for r in log.records), horizon)


def stored_states(log: Log) -> dict[str, bytes]:
    """Return the states that follow from all observations, as a store holds them."""
    states = expect(log, 0).states
    return {key: encode(decode_by_key(key, canonical(one).encode())) for key, one in states.items()}


def compare(broker: Broker, store: Store, readers: Iterable[Reader], horizon: int) -> None:
    """At the end everything is as the oracle expects."""
    observations = broker.logs["observations"]
    require(broker.offset == (observations.end or None), "not all observations are committed")
    expected = expect(observations, horizon)
    late = [record for topic in OUTPUTS for record in broker.logs[topic].committed(0)]
    _compare_outputs(late, expected)
    _compare_states(broker.logs["messages"].committed(0), store, expected)
    seen = [record for reader in readers for record in reader.seen]
    require(seen == late, "a reader saw a record that is gone, or missed one")


def _compare_outputs(found: Iterable[Record], expected: ExpectedOutputs) -> None:
    there = Counter[Entry](
        (r.topic, r.key.decode(), r.note, canonical(json.loads(r.value or b"null"))) for r in found
    )
    wanted = Counter[Entry](
        (topic, key, *one) for topic in OUTPUTS for key, one in expected.all(topic)
    )
    require(
        there == wanted, f"missing: {_listed(wanted - there)}; surplus: {_listed(there - wanted)}"
    )


def _compare_states(changelog: Iterable[Record], store: Store, expected: ExpectedOutputs) -> None:
    messages = {record.key.decode(): record for record in changelog}
    kept = {key: r.value for key, r in messages.items() if r.value is not None}
    states = {key: one for key, one in expected.states.items() if one is not None}
    kept, stored = _remaining(kept, expected), _remaining(store.states, expected)
    require(_decoded(kept) == states, f"messages have {kept}, not {states}")
    require(stored == kept, f"the store has {stored}, messages have {kept}")
    for key in states:
        if key not in expected.due:  # a viewer
            require(any(key == one.key for one in store.timers), f"no timer of {key}")
            continue
        due = expected.due[key]
        require(messages[key].note == str(due), f"messages have another timer of {key}")
        require((due, key) in store.timers, f"the index has no timer of {key}")


def _remaining(states: Mapping[str, bytes], expected: ExpectedOutputs) -> dict[str, bytes]:
    """Leave out the states of viewers whose message has expired: they are dropped later."""
    return {key: value for key, value in states.items() if not outlived(key, value, expected)}


def _decoded(states: Mapping[str, bytes]) -> dict[str, object]:
    return {key: json.loads(value) for key, value in states.items()}


def _listed(entries: Counter[Entry]) -> str:
    lines = (f"{count} x {topic} {record}" for (topic, _, _, record), count in entries.items())
    return ", ".join(lines) or "nothing"


@lru_cache(maxsize=256)
def _first_ce_id(key: bytes, value: bytes | None) -> str:
    """The id of what an observation publishes; the record of its fact always has this id."""
    return first_ce_id(key.decode(), json.loads(value or b"null"))
