"""The record of a dead letter: its headers, and the marker that resolves it. Pure.

The headers use the names of Kafka Streams where it has one (KIP-1034, `__streams.errors.*`); each
value is text.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, Self

from providers.contract import DeadLetter
from schemas.coordinates import Coordinates, Positioned, at

EXCEPTION = "__streams.errors.exception"
STACKTRACE = "__streams.errors.stacktrace"
MESSAGE = "__streams.errors.message"
TOPIC = "__streams.errors.topic"
PARTITION = "__streams.errors.partition"
OFFSET = "__streams.errors.offset"
TIMESTAMP = "dead-letter-timestamp"
POINTER = "dead-letter-pointer"
CODE = "dead-letter-code"
ACCOUNT = "dead-letter-account"
RESOLVED = "dead-letter-resolved"
OBSERVED = "dead-letter-observation"
REPLAY = "dead-letter-replay"

# Bluetick writes their values; a sender has no influence on them.
PLAIN = frozenset({EXCEPTION, STACKTRACE, TIMESTAMP, OBSERVED, REPLAY})

_NUMBER = re.compile(r"\d{1,18}", re.ASCII)

Headers = Sequence[tuple[str, bytes]]


class Identity(NamedTuple):
    """The identity of a dead letter: a repeated round writes the same one again.

    `partition` is that of the dead letter: the raw body's, or for tracking the message's.
    """

    raw: Coordinates
    pointer: str
    code: str
    partition: int

    @classmethod
    def of_body(cls, raw: Coordinates, pointer: str, code: str) -> Self:
        """Return the identity of a dead letter of normalise."""
        return cls(raw, pointer, code, raw.partition)


class Entry(NamedTuple):
    """One record of the topic: a dead letter, or the marker that resolves it (`resolved`).

    `replay` is the id of the retry or replay that caused a dead letter of tracking.
    """

    at: Coordinates
    timestamp: int
    letter: Identity
    reason: str
    resolved: str | None
    replay: str | None = None


def headers(letter: DeadLetter, raw: Coordinates, timestamp: int, own: Headers) -> Headers:
    """Return the headers: origin and reason, then the raw record's own headers, unchanged."""
    texts = [
        (CODE, letter.code),
        (MESSAGE, letter.reason),
        (POINTER, letter.pointer),
        *_origin(raw),
        (TIMESTAMP, str(timestamp)),
        (EXCEPTION, letter.exception),
    ]
    if letter.stacktrace:
        texts.append((STACKTRACE, letter.stacktrace))
    if letter.account:
        texts.append((ACCOUNT, letter.account))
    return [*_encoded(texts), *own]


def marker(letter: Identity, replay: str) -> Headers:
    """Return the headers of a marker: a record without a value that resolves a dead letter.

    It resolves every earlier record of the dead letter. It is on the same partition, so a later
    record opens the dead letter again.
    """
    texts = [
        (RESOLVED, replay),
        (CODE, letter.code),
        (POINTER, letter.pointer),
        *_origin(letter.raw),
    ]
    return list(_encoded(texts))


class Record(Positioned, Protocol):
    """A Kafka record, of any client."""

    @property
    def timestamp(self) -> int: ...
    @property
    def headers(self) -> Headers: ...
    @property
    def value(self) -> bytes | None: ...


def read(record: Record) -> Entry | None:
    """Return the entry of a record; None if it is neither a dead letter nor a marker.

    The first header of a name counts: the raw record's own headers may have the same names.
    """
    texts = {
        name: value.decode("utf-8", "replace")
        for name, value in reversed(record.headers)
        if value is not None
    }
    partition, offset = texts.get(PARTITION, ""), texts.get(OFFSET, "")
    if TOPIC not in texts or not (_NUMBER.fullmatch(partition) and _NUMBER.fullmatch(offset)):
        return None
    raw = Coordinates(texts[TOPIC], int(partition), int(offset))
    return Entry(
        at=at(record),
        timestamp=record.timestamp,
        letter=Identity(raw, texts.get(POINTER, ""), texts.get(CODE, ""), record.partition),
        reason=texts.get(MESSAGE, ""),
        resolved=texts.get(RESOLVED) if record.value is None else None,
        replay=texts.get(REPLAY),
    )


@dataclass(slots=True)
class Kept:
    """A dead letter: its first record and, once resolved, the retry that resolved it.

    `failed_in` are the retries that caused the same dead letter again. Tracking writes it before
    or after the retry's marker, which then does not resolve it.
    """

    entry: Entry
    resolved: str | None = None
    failed_in: set[str] = field(default_factory=set)


class Ledger:
    """The dead letters of a topic, open and resolved, after some of its records.

    Add each partition's records in order; the order between partitions does not matter.
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._kept: dict[Identity, Kept] = {}
        for entry in entries:
            self.add(entry)

    def __iter__(self) -> Iterator[Kept]:
        return iter(self._kept.values())

    def keep(self, kept: Kept) -> None:
        """Continue with a dead letter as earlier records left it."""
        self._kept[kept.entry.letter] = kept

    def add(self, entry: Entry) -> None:
        """Apply one record."""
        kept = self._kept.get(entry.letter)
        if entry.resolved is not None:
            if kept is not None and entry.resolved not in kept.failed_in:
                kept.resolved = entry.resolved
            return
        if kept is None or kept.resolved is not None:
            self._kept[entry.letter] = kept = Kept(entry)
        if entry.replay is not None:
            kept.failed_in.add(entry.replay)


def _origin(raw: Coordinates) -> list[tuple[str, str]]:
    return [(TOPIC, raw.topic), (PARTITION, str(raw.partition)), (OFFSET, str(raw.offset))]


def _encoded(texts: Iterable[tuple[str, str]]) -> Iterator[tuple[str, bytes]]:
    return ((name, text.encode()) for name, text in texts)
