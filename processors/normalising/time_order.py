"""Records of several partitions, approximately in the order of their time.

A message's bodies lie on different partitions of a raw topic. Without this order, a normaliser with
a large lag reads one partition far ahead of another. The tracker then gets a `delivered` days
before the `sent`: an `advanced` fact becomes `late`, and receipts arrive after their alarm.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from aiokafka import TopicPartition

# A partition is read further while fewer records, and fewer bytes, of it are buffered.
_LOW = 1000
_LOW_BYTES = 1024 * 1024
_MOST = 4000
_MOST_BYTES = 8 * 1024 * 1024


class Timed(Protocol):
    """The attributes of a consumed record that are used here."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def value(self) -> bytes | None: ...


End = Callable[[TopicPartition], int | None]
R = TypeVar("R", bound=Timed)


def in_time(polled: Mapping[TopicPartition, Sequence[R]]) -> Iterator[R]:
    """Yield the records in the order of their time; each partition keeps its own order."""
    return heapq.merge(*polled.values(), key=lambda record: record.timestamp)


def _size(record: Timed) -> int:
    return len(record.value or b"")


Placed = tuple[TopicPartition, R]
"""A record, and the partition it is of."""


def _release(
    held: deque[R], partition: TopicPartition, until: float, released: list[Placed[R]]
) -> int:
    """Move the records up to a time from one partition's buffer; return the size of their bodies.

    It moves at least one, and ends early at the limits of all released records.
    """
    size = 0
    while True:
        record = held.popleft()
        released.append((partition, record))
        size += _size(record)
        if not held or held[0].timestamp > until:
            return size
        if len(released) >= _MOST or size >= _LOW_BYTES:
            return size


class TimeOrder(Generic[R]):
    """Buffers records that were read ahead, until the other partitions have reached their time.

    It does not wait for a partition at its end, or for one without records for `patience` seconds:
    progress is more important than order.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._held: dict[TopicPartition, deque[R]] = {}
        self._next: dict[TopicPartition, int] = {}
        # The first records that were released, until they are `done`.
        self._released: dict[TopicPartition, R] = {}
        self._silent: set[TopicPartition] = set()
        self._waits_since: float | None = None

    def place(self, partition: TopicPartition, offset: int) -> None:
        """Start a partition at an offset; its buffered records are dropped."""
        self._held[partition] = deque()
        self._next[partition] = offset

    def remove(self, partitions: Iterable[TopicPartition]) -> None:
        """Remove partitions that are no longer read."""
        for partition in partitions:
            self._held.pop(partition, None)
            self._next.pop(partition, None)
            self._released.pop(partition, None)
            self._silent.discard(partition)

    def clear(self) -> None:
        """Remove all partitions."""
        self._held.clear()
        self._next.clear()
        self._released.clear()
        self._silent.clear()
        self._waits_since = None

    def wanted(self) -> list[TopicPartition]:
        """Return the partitions to read next."""
        return [
            partition
            for partition, held in self._held.items()
            if len(held) < _LOW and sum(map(_size, held)) < _LOW_BYTES
        ]

    def oldest(self, partition: TopicPartition) -> int | None:
        """Return the time of a partition's first record that is not done; None if none is read."""
        first = self._first(partition)
        return None if first is None else first.timestamp

    def first(self, partition: TopicPartition) -> int | None:
        """Return the offset of a partition's first record that is not done; None if not read."""
        first = self._first(partition)
        return self._next.get(partition) if first is None else first.offset

    def pass_gap(self, partition: TopicPartition, offset: int) -> bool:
        """Note that a partition has no record before an offset but those read; whether it is news.

        Such offsets are transaction markers, and the records of aborted transactions.
        """
        at = self._next.get(partition)
        if at is None or at >= offset or self._first(partition) is not None:
            return False
        self._next[partition] = offset
        return True

    def done(self) -> None:
        """Note that each of the last released records is put back or needs no place any more."""
        self._released = {}

    def _first(self, partition: TopicPartition) -> R | None:
        released = self._released.get(partition)
        if released is not None:
            return released
        held = self._held.get(partition)
        return held[0] if held else None

    def add(self, polled: Mapping[TopicPartition, Sequence[R]]) -> None:
        """Buffer polled records of the partitions that were placed."""
        for partition, records in polled.items():
            if partition in self._held:
                self._held[partition].extend(records)
                self._next[partition] = records[-1].offset + 1
                self._silent.discard(partition)

    def next_records(self, end: End, now: float) -> "list[Placed[R]]":
        """Return the next records, in the order of their time; no older ones are expected.

        `end` returns a log's end, None if it is not known yet; `now` is seconds of a monotonic
        clock. The records that were released before are `done`.
        """
        waiting = {p for p, held in self._held.items() if not held and self._has_more(p, end)}
        if waiting and self._waits(now):
            return []
        self._waits_since = None
        self._silent |= waiting
        released: list[Placed[R]] = []
        heads = [(held[0].timestamp, partition) for partition, held in self._held.items() if held]
        heapq.heapify(heads)
        size = 0
        while heads and len(released) < _MOST and size < _MOST_BYTES:
            _, partition = heapq.heappop(heads)
            held = self._held[partition]
            size += _release(held, partition, heads[0][0] if heads else math.inf, released)
            if held:
                heapq.heappush(heads, (held[0].timestamp, partition))
            elif self._has_more(partition, end):
                break
        self._released = dict(reversed(released))
        return released

    def put_back(self, released: "Sequence[Placed[R]]") -> None:
        """Buffer the last of the released records again."""
        for partition, record in reversed(released):
            if partition in self._held:
                self._held[partition].appendleft(record)

    def _has_more(self, partition: TopicPartition, end: End) -> bool:
        """Whether more records of a partition are expected now."""
        known = end(partition)
        return partition not in self._silent and (known is None or self._next[partition] < known)

    def _waits(self, now: float) -> bool:
        if self._waits_since is None:
            self._waits_since = now
        return now - self._waits_since < self._patience
