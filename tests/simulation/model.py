"""A model of Kafka as far as the tracker relies on it: logs, transactions, fencing, an offset.

One log stands for one partition: a task reads partition p and writes only partition p. What the
model says is compared with a real broker in test_model.py.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

# Among the places of a transaction the one that is no topic: the group's offset.
GROUP = "group"

Outcome = Literal["plain", "open", "committed", "aborted"]


class RefusedError(Exception):
    """The broker will not have a request."""


class FencedError(RefusedError):
    """A newer producer has the transactional id, or the transaction took too long."""


class Item(NamedTuple):
    """What a producer sends; `note`, `taken_to` and `metadata` stand for the headers."""

    key: bytes
    value: bytes | None
    time: int
    note: str = ""
    taken_to: int | None = None
    metadata: str | None = None


@dataclass(slots=True)
class Record:
    """A record on a log, and what became of its transaction."""

    topic: str
    offset: int
    key: bytes
    value: bytes | None
    time: int
    note: str
    outcome: Outcome
    taken_to: int | None = None
    partition: int = 0
    metadata: str | None = None


class Token(NamedTuple):
    """What tells a producer from those before and after it under the same transactional id."""

    name: str
    epoch: int


class Log:
    """One partition: records, with gaps where transaction markers stand or compaction was."""

    def __init__(self, topic: str) -> None:
        self.records: list[Record] = []
        self.end = 0
        self._topic = topic
        self._open: dict[str, list[Record]] = {}
        self._found: dict[int, int] = {}  # when compaction first met a tombstone, by offset

    @property
    def stable(self) -> int:
        """The last stable offset: where the first open transaction begins, else the end."""
        return min((records[0].offset for records in self._open.values()), default=self.end)

    def append(self, items: Iterable[Item], owner: str | None = None) -> list[Record]:
        """Add records, of a transaction if `owner` names one."""
        outcome: Outcome = "plain" if owner is None else "open"
        new = [
            Record(
                topic=self._topic,
                offset=self.end + number,
                key=item.key,
                value=item.value,
                time=item.time,
                note=item.note,
                outcome=outcome,
                taken_to=item.taken_to,
                metadata=item.metadata,
            )
            for number, item in enumerate(items)
        ]
        self.end += len(new)
        self.records += new
        if owner is not None and new:
            self._open.setdefault(owner, []).extend(new)
        return new

    def mark(self, owner: str, outcome: Outcome) -> None:
        """End a transaction here; its marker takes an offset."""
        for record in self._open.pop(owner, ()):
            record.outcome = outcome
        self.end += 1

    def opened(self, owner: str) -> Sequence[Record]:
        """The records of a transaction under way."""
        return self._open.get(owner, ())

    def committed(self, start: int, most: int | None = None) -> list[Record]:
        """Read committed, from an offset."""
        stable = self.stable
        found = [
            record
            for record in self.written(start)
            if record.offset < stable and record.outcome != "aborted"
        ]
        return found[:most]

    def written(self, start: int = 0) -> list[Record]:
        """Read uncommitted, from an offset."""
        return self.records[bisect_left(self.records, start, key=_offset) :]

    def compact(self, below: int, now: int, kept_for: int) -> int:
        """Below an offset keep the last record of each key.

        A tombstone goes `kept_for` after it was first found to be the last (its delete horizon).
        """
        below = min(below, self.stable)
        clean = [r for r in self.records if r.offset < below and r.outcome != "aborted"]
        last = {record.key: record for record in clean}.values()
        for record in last:
            if record.value is None:
                self._found.setdefault(record.offset, now)
        kept = [r for r in last if now - self._found.get(r.offset, now) < kept_for]
        before = len(self.records)
        self.records = sorted(kept, key=_offset) + self.written(below)
        return before - len(self.records)


def _offset(record: Record) -> int:
    return record.offset


@dataclass(slots=True)
class _Transactional:
    """A transactional id: who may use it, and its transaction."""

    epoch: int = 0
    timeout: int = 0
    state: Literal["none", "open", "committed", "aborted"] = "none"
    places: list[str] = field(default_factory=list)
    offset: int | None = None
    note: str = ""
    began: int = 0
    sequences: dict[str, int] = field(default_factory=dict)


class Broker:
    """Logs by topic, one group's offset, and the coordinator of transactions.

    A transaction that was ended has markers to be written yet, one a place: `settle` writes them,
    and whoever needs the transaction gone waits for it. `forget` loses them, as Kafka does.
    """

    def __init__(self, topics: Iterable[str]) -> None:
        self.logs = {topic: Log(topic) for topic in topics}
        self.offset: int | None = None
        self.note = ""  # the metadata of the offset
        self.now = 0
        self._time = 0
        # Told of the records and the offset of each transaction once it is sure to be committed.
        self.decided: Callable[[list[Record], int | None], None] = lambda _, __: None
        self._ids: dict[str, _Transactional] = {}

    def time(self) -> int:
        """The time for the records of a transaction; no two take place in one millisecond."""
        self._time = max(self.now, self._time + 1)
        return self._time

    def init(self, name: str, timeout: int) -> Token:
        """InitProducerId: from now on every earlier producer of this id is refused."""
        one = self._ids.setdefault(name, _Transactional())
        if one.state == "open":
            self._end(name, one, "aborted")
        self.settle(name)
        one.epoch += 1
        one.timeout = timeout
        one.state = "none"
        one.sequences.clear()
        return Token(name, one.epoch)

    def add(self, token: Token, places: Iterable[str]) -> None:
        """AddPartitionsToTxn, AddOffsetsToTxn: a transaction begins with its first place."""
        one = self._proven(token)
        if one.state != "open":
            self.settle(token.name)
            one.state, one.began, one.offset = "open", self.now, None
        one.places += (place for place in places if place not in one.places)

    def produce(self, token: Token, topic: str, items: Sequence[Item], sequence: int) -> int | None:
        """Append; returns the first offset, None if the broker had this very batch already."""
        one = self._proven(token)
        if one.state != "open" or topic not in one.places:
            raise RefusedError("no transaction under way here")
        expected = one.sequences.get(topic, 0)
        if sequence < expected:
            return None
        if sequence > expected:
            raise RefusedError("out of order")
        one.sequences[topic] = sequence + len(items)
        return self.logs[topic].append(items, token.name)[0].offset

    def commit_offset(self, token: Token, offset: int, note: str = "") -> None:
        """TxnOffsetCommit: nobody sees the offset before the transaction is committed."""
        one = self._proven(token)
        if one.state != "open" or GROUP not in one.places:
            raise RefusedError("no transaction under way here")
        one.offset, one.note = offset, note

    def end(self, token: Token, outcome: Literal["committed", "aborted"]) -> None:
        """EndTxn; to say the same again is no error."""
        one = self._proven(token)
        if one.state == "open":
            self._end(token.name, one, outcome)
        elif one.state != outcome:
            raise RefusedError("no transaction to end")

    def settle(self, name: str, place: int | None = None) -> None:
        """Write the markers of a transaction that has ended, or only one of them."""
        one = self._ids[name]
        if one.state not in ("committed", "aborted"):
            return
        ripe = one.places if place is None else one.places[place : place + 1]
        for each in list(ripe):
            one.places.remove(each)
            if each != GROUP:
                self.logs[each].mark(name, one.state)
            elif one.state == "committed" and one.offset is not None:
                self.offset, self.note = one.offset, one.note

    def split(self, name: str, is_aborted: Callable[[], bool]) -> bool:
        """Abort the states of a transaction that was to be committed, and maybe other parts.

        Kafka does so if brokers die between two decisions; whether it could be done here.
        """
        one = self._ids[name]
        if one.state != "committed" or "messages" not in one.places:
            return False
        for place in [p for p in one.places if p == "messages" or is_aborted()]:
            one.places.remove(place)
            if place != GROUP:
                self.logs[place].mark(name, "aborted")
        self.settle(name)
        return True

    def forget(self, name: str, is_lost: Callable[[], bool]) -> list[str]:
        """Write the markers that are due, but never those that are lost; the places of these.

        Kafka forgets those of partitions that have no leader, in a restart. The offset's marker is
        not lost alone: all that does is that what was taken is taken again, and known.
        """
        one = self._ids[name]
        if one.state not in ("committed", "aborted"):
            return []
        forgotten = [place for place in one.places if is_lost()]
        if forgotten == [GROUP]:
            forgotten = []
        one.places = [place for place in one.places if place not in forgotten]
        self.settle(name)
        return forgotten

    @property
    def ids(self) -> Sequence[str]:
        """The transactional ids there are."""
        return list(self._ids)

    def unsettled(self) -> list[tuple[str, int]]:
        """The ids with markers to be written, and how many."""
        return [
            (name, len(one.places))
            for name, one in self._ids.items()
            if one.places and one.state in ("committed", "aborted")
        ]

    def expire(self) -> int:
        """Abort the transactions that took too long; their producers are refused from then on."""
        late = [
            (name, one)
            for name, one in self._ids.items()
            if one.state == "open" and self.now - one.began >= one.timeout
        ]
        for name, one in late:
            one.epoch += 1
            self._end(name, one, "aborted")
            self.settle(name)
        return len(late)

    def _proven(self, token: Token) -> _Transactional:
        one = self._ids[token.name]
        if one.epoch != token.epoch:
            raise FencedError("an epoch of the past")
        return one

    def _end(
        self, name: str, one: _Transactional, outcome: Literal["committed", "aborted"]
    ) -> None:
        one.state = outcome
        if outcome == "committed":
            logs = [self.logs[place] for place in one.places if place != GROUP]
            self.decided([record for log in logs for record in log.opened(name)], one.offset)
