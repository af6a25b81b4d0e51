"""What must hold: while a schedule runs, and of its end, by a fold that knows no worker."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache

from processors.tracking import lifecycle, timers
from processors.tracking.timers import PATIENCE
from processors.tracking.track import track
from schemas.codec import decode_observation, decode_state, decode_viewer, encode
from schemas.records import MessageState, ViewerState, split_viewer_key, state_key
from tests.simulation.model import Broker, Log, Record
from tests.simulation.store import Store

OUTPUTS = ("statuses", "events", "inbound")
TOPICS = ("observations", "messages", *OUTPUTS)

Entry = tuple[str, bytes, str, bytes | None]


class BrokenError(Exception):
    """Something that must hold does not."""


def require(holds: bool, otherwise: str) -> None:  # noqa: FBT001
    if not holds:
        raise BrokenError(otherwise)


class Reader:
    """Another service: reads on from where it was, only what is committed, and keeps it."""

    def __init__(self, log: Log) -> None:
        self.seen: list[Record] = []
        self._log = log

    def read(self) -> None:
        start = self.seen[-1].offset + 1 if self.seen else 0
        self.seen += self._log.committed(start)


class Watch:
    """Looks at every commit and at every write to a store."""

    def __init__(self, broker: Broker, happened: Counter[str]) -> None:
        self._happened = happened
        self._log = broker.logs["observations"]
        self._published: set[str] = set()
        self._offset = 0
        self._values: defaultdict[str, set[bytes | None]] = defaultdict(set)
        self._changes: dict[int, Record] = {}
        broker.decided = self.commits

    def commits(self, records: Iterable[Record], offset: int | None) -> None:
        """Whatever a committed offset passes has been published with it or before."""
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
                _first_id(record.key, record.value) in self._published,
                f"the offset passes observation {record.offset}, which nothing came of",
            )
        self._offset = offset

    def forgets(self, offset: int) -> None:
        """Markers are lost: what nobody saw of a transaction may be done again, from `offset`."""
        self._offset = offset

    def writes(self, store: Store) -> None:
        """A store holds nothing that is not committed, and its anchor is on the log."""
        for key, value in store.states.items():
            require(value in self._values[key], f"the store has a state of {key} nobody committed")
        if store.anchor is not None:
            require(
                store.anchor.offset in self._changes,
                f"the anchor {store.anchor.offset} is no committed record",
            )


def compare(broker: Broker, store: Store, readers: Iterable[Reader], horizon: int) -> None:
    """At the end: everything is as the fold of the observations says."""
    observations = broker.logs["observations"]
    require(broker.offset == (observations.end or None), "not all observations are committed")
    outputs, states = fold(observations.records, horizon)
    late = [record for topic in OUTPUTS for record in broker.logs[topic].committed(0)]
    found = Counter((r.topic, r.key, r.note, r.value) for r in late)
    require(
        found == outputs, f"lacking: {_told(outputs - found)}; too much: {_told(found - outputs)}"
    )
    messages = {r.key.decode(): r for r in broker.logs["messages"].committed(0)}
    kept = {key: r.value for key, r in messages.items() if r.value is not None}
    require(_alive(kept) == states, f"messages have {kept}, not {states}")
    require(_alive(store.states) == states, f"the store has {store.states}, not {states}")
    for key, value in states.items():
        if split_viewer_key(key) is not None:
            require(any(key == one.key for one in store.timers), f"no timer of {key}")
            continue
        due = timers.due(decode_state(value), PATIENCE)
        require(messages[key].note == str(due), f"messages tell another timer of {key}")
        require((due, key) in store.timers, f"the index has no timer of {key}")
    seen = [record for reader in readers for record in reader.seen]
    require(seen == late, "what a reader saw is not there any more, or it saw not all")


def _alive(states: Mapping[str, bytes]) -> dict[str, bytes]:
    """States without those of viewers whose message has expired: they go some time later."""
    found = dict(states)
    for key, value in states.items():
        if split_viewer_key(key) is not None:
            viewer = decode_viewer(value)
            message = states.get(viewer.message_key)
            if lifecycle.outlived(viewer, None if message is None else decode_state(message)):
                del found[key]
    return found


def fold(records: Iterable[Record], horizon: int) -> tuple[Counter[Entry], dict[str, bytes]]:
    """One loop over the log, then the timers due by the horizon: nothing crashes here."""
    states: dict[str, MessageState] = {}
    viewers: dict[str, ViewerState] = {}
    outputs: Counter[Entry] = Counter()
    for record in records:
        key = record.key.decode()
        observation = decode_observation(record.value)
        viewer = state_key(observation)
        step = track(states.get(key), key, observation, viewers.get(viewer))
        states[key] = step.state
        if step.viewer is not None:
            viewers[viewer] = step.viewer
        outputs.update((o.topic, record.key, o.id, encode(o.record)) for o in step.outputs)
    for key, state in list(states.items()):
        fired = timers.fire(state, horizon, PATIENCE)
        outputs.update((o.topic, key.encode(), o.id, encode(o.record)) for o in fired.outputs)
        if fired.state is None:
            del states[key]
        else:
            states[key] = fired.state
    kept = {key: encode(state) for key, state in states.items()}
    seen = {
        key: encode(one)
        for key, one in viewers.items()
        if not lifecycle.outlived(one, states.get(one.message_key))
    }
    return outputs, kept | seen


def _told(entries: Counter[Entry]) -> str:
    lines = (
        f"{count} x {topic} {(value or b'').decode()}"
        for (topic, _, _, value), count in entries.items()
    )
    return ", ".join(lines) or "nothing"


@lru_cache(maxsize=256)
def _first_id(key: bytes, value: bytes) -> str:
    """What an observation publishes if nothing is known yet; its fact has this id ever after."""
    return track(None, key.decode(), decode_observation(value)).outputs[0].id
