"""What the spool holds on its way to Kafka: oldest first, forgotten only once acknowledged."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from ingest.accept import Rejected
from ingest.publisher import Publisher
from ingest.spool import Spool
from ingest.spoolfile import Row

# What is sent at a time: one body while it is not known whether Kafka takes it, then so many bytes.
_WINDOW_BYTES = 1024 * 1024

# After a look in vain Kafka is tried again so much later.
PAUSE_SECONDS = 0.5


class Drain:
    """Moves what one spool holds to Kafka, a window at a time.

    What is not acknowledged stays. A window of which a part is acknowledged does not hold up the
    next; the rest of it is tried again after the last.
    """

    def __init__(self, publisher: Publisher, spool: Spool) -> None:
        self._publisher = publisher
        self._spool = spool
        self._after = 0
        self._taken: list[Row] = []

    async def forward(self) -> int:
        """Send the next window; returns how many bodies of it Kafka acknowledged.

        0 means that there is nothing, or that it is no use now. Raises `Unusable`.
        """
        await self._forget()
        rows = await self._spool.read(self._after, 1 if self._publisher.away else _WINDOW_BYTES)
        sent, self._taken = await self._send(rows)
        self._after = 0 if self._publisher.away or not sent else sent[-1].seq
        taken = len(self._taken)
        await self._forget()
        return taken

    async def _forget(self) -> None:
        """Remove what Kafka has; if the disk does not let us, it must not be sent again."""
        if self._taken:
            await self._spool.remove(self._taken)
            self._taken = []

    async def _send(self, rows: Sequence[Row]) -> tuple[Sequence[Row], list[Row]]:
        """What was sent of these, and what of that Kafka acknowledged."""
        answers = []
        with suppress(Rejected):  # live traffic comes first; what is over the bound has its turn
            for row in rows:
                answers.append(self._publisher.publish(row.webhook))  # noqa: PERF401 (it may raise)
        results = await asyncio.gather(*answers, return_exceptions=True)
        sent = rows[: len(answers)]
        return sent, [row for row, result in zip(sent, results, strict=True) if result is None]
