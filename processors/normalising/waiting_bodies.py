"""Bodies that wait while bodies of other sources overtake them. See decision 39.

A large body may take a thousand times as long as a usual one. So it waits, and the later bodies of
its source wait behind it: each source keeps its own order. Of the sources that wait, the next one
is the one that has used the least time. After a body with many observations of one message the
source pauses, because they are all on one partition of the tracker.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Iterator
from typing import Generic, NamedTuple, TypeVar

from aiokafka import TopicPartition

from processors.dead_letters.limit import Source
from processors.normalising.time_order import Placed, Timed, TimeOrder
from processors.runtime.raw_record import RawRecord

# At this number of bodies, or this many bytes of them, no more bodies are read.
MOST_WAITING = 10_000
MOST_WAITING_BYTES = 32 * 1024 * 1024

# Up to this number of observations of one message in a body there is no pause.
FEW = 100
# For each further one: about three times the CPU time in which a tracker tracks it.
PAUSE_SECONDS = 0.0004
# And at least so many times what it took to normalise: that is five times cheaper than tracking,
# two normalisers may feed one tracker, and both are slow on a busy machine.
PAUSE_SHARE = 10
LONGEST_PAUSE_SECONDS = 5.0

# An uncompressed body up to this size takes 70 ms at most, a usual one 2 ms.
USUAL_BYTES = 16 * 1024

R = TypeVar("R", bound=Timed)


def is_large(raw: RawRecord) -> bool:
    """Whether a body may take so long that it waits: a compressed one, or one of many bytes."""
    if len(raw.body or b"") > USUAL_BYTES:
        return True
    return any(name == "content-encoding" for name, _ in raw.headers)


def pause_after(keys: Iterable[bytes | None], took: float) -> float:
    """Return the seconds for which a source pauses after a body that took `took` seconds.

    `keys` are those of its records, None for a dead letter.
    """
    counts = Counter(key for key in keys if key is not None)
    many = max(counts.values(), default=0) - FEW
    if many <= 0:
        return 0.0
    pause = max(many * PAUSE_SECONDS, many / counts.total() * PAUSE_SHARE * took)
    return min(LONGEST_PAUSE_SECONDS, pause)


class Waiting(NamedTuple, Generic[R]):
    """A body that waits, its partition, and its source."""

    source: Source
    partition: TopicPartition
    record: R


class WaitingBodies(Generic[R]):
    """The bodies that wait, by source; times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._queues: dict[Source, deque[Placed[R]]] = {}
        self._spent: dict[Source, float] = {}
        self._level = 0.0  # what the source of the last body had used before it
        self._pauses: dict[Source, float] = {}
        # The times of the waiting records by offset, of each partition in order.
        self._offsets: dict[TopicPartition, OrderedDict[int, int]] = {}
        self._taken: set[Source] = set()  # of the bodies that are not `done` yet
        self._bodies = self._bytes = 0

    def __bool__(self) -> bool:
        """Whether a body of any source has to wait."""
        return bool(self._queues or self._pauses or self._taken)

    @property
    def full(self) -> bool:
        """Whether no more bodies may be read; then no source pauses."""
        return self._bodies >= MOST_WAITING or self._bytes >= MOST_WAITING_BYTES

    def holds(self, source: Source) -> bool:
        """Whether the next body of a source has to wait."""
        return source in self._queues or source in self._pauses or source in self._taken

    def resume(self, now: float) -> None:
        """End the pauses that are over."""
        if self._pauses:
            self._pauses = {one: until for one, until in self._pauses.items() if until > now}

    def add(self, source: Source, placed: Placed[R]) -> None:
        """Let a body wait; those of one partition come in the order of their offsets."""
        queue = self._queues.get(source)
        if queue is None:
            queue = self._queues[source] = deque()
            self._join(source)
        queue.append(placed)
        partition, record = placed
        self._offsets.setdefault(partition, OrderedDict())[record.offset] = record.timestamp
        self._count(record, 1)

    def take(self) -> Waiting[R] | None:
        """Return the next body; None if none waits, or all of their sources pause.

        Its offset counts as waiting until it is `published`, its source waits until it is `done`.
        """
        source = min(self._ready(), key=self._spent.__getitem__, default=None)
        if source is None:
            return None
        self._level = self._spent[source]
        queue = self._queues[source]
        partition, record = queue.popleft()
        if not queue:
            del self._queues[source]
        self._taken.add(source)
        return Waiting(source, partition, record)

    def published(self, body: Waiting[R]) -> None:
        """Note that the result of a taken body is published."""
        offsets = self._offsets.get(body.partition)
        if offsets and offsets.pop(body.record.offset, None) is not None:
            self._count(body.record, -1)
            if not offsets:
                del self._offsets[body.partition]

    def done(self) -> None:
        """Note that all bodies that were taken are committed."""
        self._taken.clear()

    def used(self, source: Source, seconds: float, pause: float, now: float) -> None:
        """Note the seconds that a body of a source took, and that the source pauses now."""
        self._spent[source] = self._spent.get(source, self._level) + seconds
        if pause:
            self._pauses[source] = now + pause

    def wait_seconds(self, now: float) -> float | None:
        """Return how long until a body may be taken, 0 for now; None if none waits."""
        if not self._queues:
            return None
        if next(iter(self._ready()), None) is not None:
            return 0.0
        return max(0.0, min(map(self._pauses.__getitem__, self._queues)) - now)

    def first(self, partition: TopicPartition) -> int | None:
        """Return the offset of a partition's first waiting record; None if none waits."""
        offsets = self._offsets.get(partition)
        return None if offsets is None else next(iter(offsets))

    def oldest(self, partition: TopicPartition) -> int | None:
        """Return the time of a partition's first waiting record; None if none waits."""
        offsets = self._offsets.get(partition)
        return None if offsets is None else next(iter(offsets.values()))

    def remove(self, partition: TopicPartition) -> None:
        """Remove the bodies of a partition that is no longer read, or is read again."""
        self._offsets.pop(partition, None)
        for source, queue in list(self._queues.items()):
            left = deque(one for one in queue if one[0] != partition)
            if left:
                self._queues[source] = left
            else:
                del self._queues[source]
        kept = [record for queue in self._queues.values() for _, record in queue]
        self._bodies = self._bytes = 0
        for record in kept:
            self._count(record, 1)

    def clear(self) -> None:
        """Remove all bodies; the sources that pause still do."""
        self._queues.clear()
        self._taken.clear()
        self._offsets.clear()
        self._bodies = self._bytes = 0

    def _ready(self) -> Iterator[Source]:
        """Yield the sources that wait and do not pause."""
        full = self.full
        return (one for one in self._queues if full or one not in self._pauses)

    def _join(self, source: Source) -> None:
        """Let a source begin at the level of the others: time without bodies is no credit."""
        begin = max(self._spent.get(source, 0.0), self._level)
        # A source that does not wait and has used no more than the others need not be known.
        self._spent = {
            one: spent
            for one, spent in self._spent.items()
            if one in self._queues or spent > self._level
        }
        self._spent[source] = begin

    def _count(self, record: R, number: int) -> None:
        self._bodies += number
        self._bytes += number * len(record.value or b"")


def next_offset(
    partition: TopicPartition, waiting: WaitingBodies[R], order: TimeOrder[R]
) -> int | None:
    """Return the offset to commit: that of a partition's first body that is not published.

    Return None if the partition is no longer read, or not read again yet after a rebalance.
    """
    first = order.first(partition)
    if first is None:
        return None
    waits = waiting.first(partition)
    return first if waits is None else min(first, waits)
