"""A model of the parts of Kafka that the tracker uses: logs, transactions, fencing, an offset.

One log stands for one partition: a task reads partition p and writes only partition p. What the
model does is compared with a real broker in test_kafka_model.py.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

# The part of a transaction that is no topic: the group's offset.
GROUP = "group"

Outcome = Literal["plain", "open", "committed", "aborted"]


class RefusedError(Exception):
    """The broker refuses a request."""


class FencedError(RefusedError):
    """A newer producer has the transactional id, or the transaction took too long."""


class Item(NamedTuple):
    """A record to send; `note`, `taken_to` and `metadata` stand for the headers."""

    key: bytes
    value: bytes | None
    time: int
    note: str = ""
    taken_to: int | None = None
    metadata: str | None = None


@dataclass(slots=True)
class Record:
    """A record on a log, and the outcome of its transaction."""

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
    """Identifies one of the successive producers of a transactional id."""

    name: str
    epoch: int


class Log:
    """One partition: records, with gaps left by transaction markers and by compaction."""

    def __init__(self, topic: str) -> None:
        self.records: list[Record] = []
        self.end = 0
        self._topic = topic
        self._open: dict[str, list[Record]] = {}
        self._found: dict[int, int] = {}  # when compaction first found a tombstone, by offset

    @property
    def stable(self) -> int:
        """The last stable offset: where the first open transaction begins, else the end."""
        return min((records[0].offset for records in self._open.values()), default=self.end)

    def append(self, items: Iterable[Item], owner: str | None = None) -> list[Record]:
        """Add records; `owner` is the transactional id of their transaction, if any."""
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
        """The records of an open transaction."""
        return self._open.get(owner, ())

    def committed(self, start: int, most: int | None = None) -> list[Record]:
        """Return the records from an offset on, as at isolation level read_committed."""
        stable = self.stable
        found = [
            record
            for record in self.written(start)
            if record.offset < stable and record.outcome != "aborted"
        ]
        return found[:most]

    def written(self, start: int = 0) -> list[Record]:
        """Return the records from an offset on, as at isolation level read_uncommitted."""
        return self.records[bisect_left(self.records, start, key=_offset) :]

    def compact(self, below: int, now: int, kept_for: int) -> int:
        """Below an offset keep only the last record of each key; return how many were removed.

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
    """A transactional id: the epoch that may use it, and its transaction."""

    epoch: int = 0
    timeout: int = 0
    state: Literal["none", "open", "committed", "aborted"] = "none"
    parts: list[str] = field(default_factory=list)
    offset: int | None = None
    note: str = ""
    began: int = 0
    sequences: dict[str, int] = field(default_factory=dict)


class Broker:
    """Logs by topic, one group's offset, and the coordinator of transactions.

    An ended transaction has a marker to be written for each of its parts. `write_markers` writes
    them, and requests that need the transaction finished wait for it. `lose_markers` loses them, as
    Kafka does.
    """

    def __init__(self, topics: Iterable[str]) -> None:
        self.logs = {topic: Log(topic) for topic in topics}
        self.offset: int | None = None
        self.note = ""  # the metadata of the offset
        self.now = 0
        self._time = 0
        # Called with the records and the offset of a transaction once its commit is decided.
        self.on_commit: Callable[[list[Record], int | None], None] = lambda _, __: None
        self._ids: dict[str, _Transactional] = {}

    def time(self) -> int:
        """The time for the records of a transaction; no two have the same millisecond."""
        self._time = max(self.now, self._time + 1)
        return self._time

    def init(self, name: str, timeout: int) -> Token:
        """InitProducerId: every earlier producer of this id is refused from now on."""
        one = self._ids.setdefault(name, _Transactional())
        if one.state == "open":
            self._end(name, one, "aborted")
        self.write_markers(name)
        one.epoch += 1
        one.timeout = timeout
        one.state = "none"
        one.sequences.clear()
        return Token(name, one.epoch)

    def add(self, token: Token, parts: Iterable[str]) -> None:
        """AddPartitionsToTxn, AddOffsetsToTxn: a transaction begins with its first part."""
        one = self._checked(token)
        if one.state != "open":
            self.write_markers(token.name)
            one.state, one.began, one.offset = "open", self.now, None
        one.parts += (part for part in parts if part not in one.parts)

    def produce(self, token: Token, topic: str, items: Sequence[Item], sequence: int) -> int | None:
        """Append; returns the first offset, None if the broker has this batch already."""
        one = self._checked(token)
        if one.state != "open" or topic not in one.parts:
            raise RefusedError("no transaction is open here")
        expected = one.sequences.get(topic, 0)
        if sequence < expected:
            return None
        if sequence > expected:
            raise RefusedError("out of order")
        one.sequences[topic] = sequence + len(items)
        return self.logs[topic].append(items, token.name)[0].offset

    def commit_offset(self, token: Token, offset: int, note: str = "") -> None:
        """TxnOffsetCommit: the offset is visible once the transaction is committed."""
        one = self._checked(token)
        if one.state != "open" or GROUP not in one.parts:
            raise RefusedError("no transaction is open here")
        one.offset, one.note = offset, note

    def end(self, token: Token, outcome: Literal["committed", "aborted"]) -> None:
        """EndTxn; repeating the same outcome is no error."""
        one = self._checked(token)
        if one.state == "open":
            self._end(token.name, one, outcome)
        elif one.state != outcome:
            raise RefusedError("no transaction to end")

    def write_markers(self, name: str, part: int | None = None) -> None:
        """Write the markers of an ended transaction; `part`: only the one of that index."""
        one = self._ids[name]
        if one.state not in ("committed", "aborted"):
            return
        due = one.parts if part is None else one.parts[part : part + 1]
        for each in list(due):
            one.parts.remove(each)
            if each != GROUP:
                self.logs[each].mark(name, one.state)
            elif one.state == "committed" and one.offset is not None:
                self.offset, self.note = one.offset, one.note

    def split(self, name: str, is_aborted: Callable[[str], bool]) -> list[str]:
        """Abort some parts of a transaction that was to be committed, and commit the rest.

        Kafka does so if brokers die between two decisions. Return the aborted parts.
        """
        one = self._ids[name]
        if one.state != "committed" or "messages" not in one.parts:
            return []
        aborted = [part for part in one.parts if is_aborted(part)]
        for part in aborted:
            one.parts.remove(part)
            if part != GROUP:
                self.logs[part].mark(name, "aborted")
        self.write_markers(name)
        return aborted

    def lose_markers(self, name: str, is_lost: Callable[[], bool]) -> list[str]:
        """Write the markers that are due, except the lost ones; return the parts of those.

        In a restart Kafka loses the markers of partitions that have no leader. The offset's marker
        is never lost alone: then the same records are only read again, and recognised.
        """
        one = self._ids[name]
        if one.state not in ("committed", "aborted"):
            return []
        lost = [part for part in one.parts if is_lost()]
        if lost == [GROUP]:
            lost = []
        one.parts = [part for part in one.parts if part not in lost]
        self.write_markers(name)
        return lost

    @property
    def ids(self) -> Sequence[str]:
        """All transactional ids."""
        return list(self._ids)

    def markers_due(self) -> list[tuple[str, int]]:
        """The ids with markers to be written, each with their number."""
        return [
            (name, len(one.parts))
            for name, one in self._ids.items()
            if one.parts and one.state in ("committed", "aborted")
        ]

    def open_ids(self) -> list[str]:
        """The ids whose transaction is open, or has markers to be written."""
        return [name for name, one in self._ids.items() if one.state == "open" or one.parts]

    def expire(self) -> int:
        """Abort transactions past their timeout, fence their producers; return their number."""
        late = [
            (name, one)
            for name, one in self._ids.items()
            if one.state == "open" and self.now - one.began >= one.timeout
        ]
        for name, one in late:
            one.epoch += 1
            self._end(name, one, "aborted")
            self.write_markers(name)
        return len(late)

    def _checked(self, token: Token) -> _Transactional:
        one = self._ids[token.name]
        if one.epoch != token.epoch:
            raise FencedError("an earlier epoch")
        return one

    def _end(
        self, name: str, one: _Transactional, outcome: Literal["committed", "aborted"]
    ) -> None:
        one.state = outcome
        if outcome == "committed":
            logs = [self.logs[part] for part in one.parts if part != GROUP]
            self.on_commit([record for log in logs for record in log.opened(name)], one.offset)
