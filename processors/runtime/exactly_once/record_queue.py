"""The records that a task has not yet processed, and the rest after a small transaction."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence

from aiokafka import ConsumerRecord

from processors.runtime.batch_size import rest_seconds

Record = ConsumerRecord[bytes, bytes]

# Beyond these, no record is polled for the task, but for a second poll while a batch is under way.
_RECORDS = 1000
_BYTES = 1024 * 1024
_POLLS = 2


class RecordQueue:
    """The polled records of a partition, in order."""

    def __init__(self) -> None:
        self._polls: deque[Sequence[Record]] = deque()
        self._records = self._bytes = 0
        self.arrived = asyncio.Event()
        """Set when records arrive, or when the task must act for another reason."""
        self.emptied = True
        """Whether the last `take` left no records."""

    def __bool__(self) -> bool:
        return bool(self._polls)

    @property
    def accepts(self) -> bool:
        """Whether more records can be added."""
        return len(self._polls) < _POLLS or not self._enough

    @property
    def oldest(self) -> int | None:
        """The time of the first record, Unix ms."""
        return self._polls[0][0].timestamp if self._polls else None

    def add(self, records: Sequence[Record]) -> None:
        """Add the records of a poll."""
        self._polls.append(records)
        self._count(records)
        self.arrived.set()

    def take(self, most: int) -> list[Record]:
        """Remove and return the first records."""
        taken: list[Record] = []
        while self._polls and len(taken) < most:
            taken += self._polls.popleft()
        rest = taken[most:]
        self._records = self._bytes = 0
        for records in self._polls:
            self._count(records)
        self.put_back(rest)
        self.emptied = not self._polls
        return taken[:most]

    def put_back(self, records: Sequence[Record]) -> None:
        """Add records that were taken, before the others."""
        if records:
            self._polls.appendleft(records)
            self._count(records)
            self.arrived.set()

    def clear(self) -> None:
        self._polls.clear()
        self._records = self._bytes = 0

    async def rest(self, took: float) -> None:
        """Wait after a transaction that took `took` seconds, or until there are many records."""
        until = asyncio.get_running_loop().time() + rest_seconds(took)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                while not self._enough:
                    self.arrived.clear()
                    await self.arrived.wait()
        self.arrived.set()  # whatever set it meanwhile is still to be done

    @property
    def _enough(self) -> bool:
        return self._records >= _RECORDS or self._bytes >= _BYTES

    def _count(self, records: Sequence[Record]) -> None:
        self._records += len(records)
        self._bytes += sum([len(one.value or b"") for one in records])
