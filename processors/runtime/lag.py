"""The lag of one partition: the records not processed yet, and the age of the oldest. Pure.

Definition. The *next* offset of a partition is the one after the last record that is processed and
committed. The lag in records is the end of the log (its last stable offset) less the next offset.
The lag in seconds is the present time less the timestamp of the record at the next offset; 0 if
there is none. Times are Kafka's, Unix milliseconds.

The record at the next offset is known once it is polled. Until then its time is not, and a bound
takes its place, so that no record is read for this: it came after the last processed record, and
after the last moment at which the partition was known to be empty. A partition of which nothing is
known, such as one that is restored or stopped, needs `found`: the time of that record, read once.
"""

from typing import NamedTuple


class Unprocessed(NamedTuple):
    """What a member knows of a partition.

    `next` is the next offset. `oldest` is the time of the record there, None if it is not polled.
    `last` is the time of the last processed record, None if there is none since the assignment.
    """

    next: int
    oldest: int | None = None
    last: int | None = None


class Lag(NamedTuple):
    """The lag of a partition."""

    records: int = 0
    seconds: float = 0.0


class PartitionLag:
    """Follows one partition from its assignment on."""

    def __init__(self, assigned_at: int) -> None:
        self._assigned_at = assigned_at
        self._empty_at: int | None = None
        self._found: tuple[int, int] | None = None
        self._end = 0

    def found(self, offset: int, time: int) -> None:
        """Record the time of the first record at or after an offset."""
        self._found = offset, time

    def unknown(self, known: Unprocessed) -> bool:
        """Whether there are unprocessed records, and nothing says how old the oldest is."""
        return self._end > known.next and self._since(known) is None

    def observe(self, known: Unprocessed, end: int | None, now: int) -> Lag:
        """Return the lag; `end` is the newest known end of the log, None if it is not known."""
        self._end = max(self._end, end or 0)
        records = max(0, self._end - known.next)
        if not records:
            if end is not None:
                self._empty_at = now
            return Lag()
        since = self._since(known)
        since = self._assigned_at if since is None else since
        return Lag(records, max(0, now - since) / 1000)

    def _since(self, known: Unprocessed) -> int | None:
        if known.oldest is not None:
            return known.oldest
        if self._found is not None and self._found[0] == known.next:
            return self._found[1]
        bounds = [one for one in (known.last, self._empty_at) if one is not None]
        return max(bounds, default=None)
