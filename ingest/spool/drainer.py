"""What the spool holds on its way to Kafka: oldest first, forgotten only once acknowledged."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from ingest.admission import Rejected
from ingest.publishing.publisher import Publisher
from ingest.spool import retry_schedule
from ingest.spool.database import Row
from ingest.spool.spool import Spool, Unusable
from service.kafka.clock import clock

# What is sent at a time once Kafka takes something.
_WINDOW_BYTES = 1024 * 1024

# After a look in vain Kafka is tried again so much later.
PAUSE_SECONDS = 0.5

# So often Kafka may answer and not say its time, with such a pause between.
_MOST_UNDATED = 60


class Drain:
    """Moves what one spool holds to Kafka, a window at a time, behind the body `after`.

    What is not acknowledged stays. A window of which a part is acknowledged, or nothing, does not
    hold up the next; the rest of it is tried again after the last. `in_vain` says that this place
    is to be given up for a while.
    """

    def __init__(self, publisher: Publisher, spool: Spool, after: int = 0) -> None:
        self.after = after
        self.in_vain = False
        self._publisher = publisher
        self._spool = spool
        self._undated = 0  # so many comparisons without Kafka's time
        self._windows = 0  # so many in a row that got no further
        self._taken: list[Row] = []

    async def forward(self) -> int:
        """Send the next window; returns how many bodies of it Kafka acknowledged.

        0 means that there is nothing, or that it is no use now. Raises `Unusable`, and a place that
        stays so is in vain as well.
        """
        try:
            return await self._forward()
        except Unusable:
            self._windows += 1
            self.in_vain = retry_schedule.in_vain(self._windows, ended=False)
            raise

    async def _forward(self) -> int:
        await self._forget()
        after, self.after = self.after, 0  # what was read may be of a file that is no more
        trying = self._publisher.away
        rows = await self._read(after, trying=trying)
        sent, self._taken = await self._send(rows)
        if trying:
            self.after = after
        elif sent:
            self.after = sent[-1].seq
        self._judge(sent, ended=trying or not rows)
        taken = len(self._taken)
        await self._forget()
        return taken

    async def _read(self, after: int, *, trying: bool) -> list[Row]:
        """A window; while it is not known whether Kafka takes anything, a body for each topic.

        One topic that takes nothing must not make Kafka seem away for the others.
        """
        if trying:
            return await self._spool.first_of_each()
        return await self._spool.read(after, _WINDOW_BYTES)

    def _judge(self, sent: Sequence[Row], *, ended: bool) -> None:
        if self._taken:
            self._windows = 0
        elif sent:
            self._windows += 1
        self.in_vain = retry_schedule.in_vain(self._windows, ended=ended)

    async def _forget(self) -> None:
        """Remove what Kafka has; if the disk does not let us, it must not be sent again."""
        if self._taken:
            await self._spool.remove(self._taken)
            self._taken = []

    async def _send(self, rows: Sequence[Row]) -> tuple[Sequence[Row], list[Row]]:
        """What was sent of these, and what of that Kafka acknowledged."""
        answers = []
        if not await self._datable(rows):
            return [], []
        webhooks = await self._publisher.by_kafkas_clock([row.webhook for row in rows])
        with suppress(Rejected):  # live traffic comes first; what is over the bound has its turn
            for webhook in webhooks:
                answers.append(self._publisher.publish(webhook))  # noqa: PERF401 (it may raise)
        results = await asyncio.gather(*answers, return_exceptions=True)
        sent = rows[: len(answers)]
        return sent, [row for row, result in zip(sent, results, strict=True) if result is None]

    async def _datable(self, rows: Sequence[Row]) -> bool:
        """Whether these may go: some say when they were received only once Kafka's time is known.

        If Kafka answers and does not say its time, they are not kept for ever.
        """
        if all(row.webhook.uptime is None for row in rows) or clock.decided:
            return True
        await self._publisher.compare_clocks()
        self._undated += self._publisher.problem is None
        return clock.decided or self._undated >= _MOST_UNDATED
