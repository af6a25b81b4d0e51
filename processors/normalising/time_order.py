"""Records of several partitions in the order of their time, near enough.

A message's bodies lie on different partitions of a raw topic. Whoever has a long way to go would
read one partition far ahead of another, and tell the tracker of a delivery days before it tells of
the sending: what was `advanced` becomes `late`, and receipts come after the alarm about them.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from aiokafka import TopicPartition

# A partition with fewer records, and fewer bytes of them, in hand is read on.
_LOW = 500
_LOW_BYTES = 1024 * 1024
_MOST = 4000
_MOST_BYTES = 8 * 1024 * 1024


class Timed(Protocol):
    """What is read of a consumed record."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def value(self) -> bytes | None: ...


End = Callable[[TopicPartition], int | None]
R = TypeVar("R", bound=Timed)


def in_time(polled: Mapping[TopicPartition, Sequence[R]]) -> Iterator[R]:
    """Those records in the order of their time; those of one partition stay in their own."""
    return heapq.merge(*polled.values(), key=lambda record: record.timestamp)


def _size(record: Timed) -> int:
    return len(record.value or b"")


class InTime(Generic[R]):
    """Holds what was read ahead, until the other partitions have come as far.

    A partition at its end is not waited for, nor one that stays silent for `patience` seconds:
    order is good to have, to go on is a must.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._held: dict[TopicPartition, deque[R]] = {}
        self._next: dict[TopicPartition, int] = {}
        self._silent: set[TopicPartition] = set()
        self._waits_since: float | None = None

    def place(self, partition: TopicPartition, offset: int) -> None:
        """Begin with a partition at an offset; what was held of it is forgotten."""
        self._held[partition] = deque()
        self._next[partition] = offset

    def forget(self, partitions: Iterable[TopicPartition]) -> None:
        """Those are read no more: nobody waits for them."""
        for partition in partitions:
            self._held.pop(partition, None)
            self._next.pop(partition, None)
            self._silent.discard(partition)

    def clear(self) -> None:
        """Forget everything."""
        self._held.clear()
        self._next.clear()
        self._silent.clear()
        self._waits_since = None

    def wanted(self) -> list[TopicPartition]:
        """The partitions to read on."""
        return [
            partition
            for partition, held in self._held.items()
            if len(held) < _LOW and sum(map(_size, held)) < _LOW_BYTES
        ]

    def add(self, polled: Mapping[TopicPartition, Sequence[R]]) -> None:
        """Hold what was read; of partitions that were placed, that is."""
        for partition, records in polled.items():
            if partition in self._held:
                self._held[partition].extend(records)
                self._next[partition] = records[-1].offset + 1
                self._silent.discard(partition)

    def take(self, end: End, now: float) -> dict[TopicPartition, list[R]]:
        """The next records, by partition: nothing older is to come, as far as is known.

        `end` tells a log's end, None if it is not known yet; `now` is in seconds, of any clock.
        """
        waiting = {p for p, held in self._held.items() if not held and self._goes_on(p, end)}
        if waiting and self._waits(now):
            return {}
        self._waits_since = None
        self._silent |= waiting
        taken: dict[TopicPartition, list[R]] = {}
        heads = [(held[0].timestamp, partition) for partition, held in self._held.items() if held]
        heapq.heapify(heads)
        count = size = 0
        while heads and count < _MOST and size < _MOST_BYTES:
            _, partition = heads[0]
            held = self._held[partition]
            record = held.popleft()
            taken.setdefault(partition, []).append(record)
            count += 1
            size += _size(record)
            if held:
                heapq.heapreplace(heads, (held[0].timestamp, partition))
            elif self._goes_on(partition, end):
                break
            else:
                heapq.heappop(heads)
        return taken

    def put_back(self, taken: Mapping[TopicPartition, Sequence[R]]) -> None:
        """Hold the last of what was taken again, each partition's in its order."""
        for partition, records in taken.items():
            if partition in self._held:
                self._held[partition].extendleft(reversed(records))

    def _goes_on(self, partition: TopicPartition, end: End) -> bool:
        """Whether more of a partition is to be expected now."""
        known = end(partition)
        return partition not in self._silent and (known is None or self._next[partition] < known)

    def _waits(self, now: float) -> bool:
        if self._waits_since is None:
            self._waits_since = now
        return now - self._waits_since < self._patience
