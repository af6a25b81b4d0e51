"""A dead letter's record, written and read back: its headers, and the marker that settles it. Pure.

Kafka Streams' names are used where it has one (KIP-1034, `__streams.errors.*`); each value is text.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, Self

from providers.contract import DeadLetter
from schemas.coordinates import Coordinates, at

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

# Their values are ours, not a sender's.
PLAIN = frozenset({EXCEPTION, STACKTRACE, TIMESTAMP, OBSERVED, REPLAY})

_NUMBER = re.compile(r"\d{1,18}", re.ASCII)

Headers = Sequence[tuple[str, bytes]]


class Identity(NamedTuple):
    """What makes two records the same dead letter: a round that is repeated writes it again.

    `partition` is the dead letter's own: the raw body's, or for tracking that of the message.
    """

    raw: Coordinates
    pointer: str
    code: str
    partition: int

    @classmethod
    def of_body(cls, raw: Coordinates, pointer: str, code: str) -> Self:
        """The identity of a dead letter of normalising."""
        return cls(raw, pointer, code, raw.partition)


class Entry(NamedTuple):
    """One record of the topic: a dead letter, or the marker that settles it (`resolved`).

    `replay` is the id of the retry or replay by which a dead letter of tracking came.
    """

    at: Coordinates
    timestamp: int
    letter: Identity
    reason: str
    resolved: str | None
    replay: str | None = None


def headers(letter: DeadLetter, raw: Coordinates, timestamp: int, own: Headers) -> Headers:
    """Its origin and reason, then the raw record's own headers as they were."""
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
    """The headers of a record without a value: a retry settled that letter, and all like it before.

    It stands on the letter's own partition, so what comes after it is open again.
    """
    texts = [
        (RESOLVED, replay),
        (CODE, letter.code),
        (POINTER, letter.pointer),
        *_origin(letter.raw),
    ]
    return list(_encoded(texts))


class Record(Protocol):
    """A Kafka record, whoever's."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def headers(self) -> Headers: ...
    @property
    def value(self) -> bytes | None: ...


def read(record: Record) -> Entry | None:
    """A record of the topic; None if it is neither letter nor marker.

    Our headers come first: the raw record's own may have the same names.
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
    """A dead letter as it stands: its first record and, once settled, by which retry.

    `failed_in` are the retries that made the same dead letter again. Tracking writes it before or
    after the retry's marker, which then does not settle it.
    """

    entry: Entry
    resolved: str | None = None
    failed_in: set[str] = field(default_factory=set)


class Ledger:
    """The dead letters of a topic, open and settled, after some of its records.

    Each partition's records are taken in order; it does not matter how partitions are mixed.
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._kept: dict[Identity, Kept] = {}
        for entry in entries:
            self.take(entry)

    def __iter__(self) -> Iterator[Kept]:
        return iter(self._kept.values())

    def take(self, entry: Entry) -> None:
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
