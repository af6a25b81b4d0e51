"""Draining a spool to Kafka: oldest body first, removed only once Kafka acknowledges it."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from ingest.accept_webhook import Rejected
from ingest.publishing.publisher import Publisher
from ingest.spool import retry_schedule
from ingest.spool.database import Row
from ingest.spool.spool import Spool, Unusable
from service.kafka.clock import clock

# Size of a window, once Kafka acknowledges bodies.
_WINDOW_BYTES = 1024 * 1024

# Pause after an attempt without success.
PAUSE_SECONDS = 0.5

# How often Kafka may answer without its time, with that pause in between.
_MOST_UNDATED = 60


class Drain:
    """Sends the bodies of one spool to Kafka in windows, beginning after the row `after`.

    Bodies that Kafka does not acknowledge stay. They do not delay the next window, and are sent
    again after the last one. `in_vain` is true when this slot should be skipped for a while.
    """

    def __init__(self, publisher: Publisher, spool: Spool, after: int = 0) -> None:
        self.after = after
        self.in_vain = False
        self._publisher = publisher
        self._spool = spool
        self._undated = 0  # comparisons of clocks without Kafka's time
        self._windows = 0  # windows in a row without success
        self._acknowledged: list[Row] = []

    async def forward(self) -> int:
        """Send the next window; returns how many of its bodies Kafka acknowledged.

        Returns 0 if the spool is empty or nothing could be sent now. Raises `Unusable`; a slot that
        stays unusable sets `in_vain` as well.
        """
        try:
            return await self._forward()
        except Unusable:
            self._windows += 1
            self.in_vain = retry_schedule.in_vain(self._windows, ended=False)
            raise

    async def _forward(self) -> int:
        await self._remove_acknowledged()
        after, self.after = self.after, 0  # the body may be of a file that has been set aside
        trying = self._publisher.unavailable
        rows = await self._read(after, trying=trying)
        sent, self._acknowledged = await self._send(rows)
        if trying:
            self.after = after
        elif sent:
            self.after = sent[-1].seq
        self._update_give_up(sent, ended=trying or not rows)
        taken = len(self._acknowledged)
        await self._remove_acknowledged()
        return taken

    async def _read(self, after: int, *, trying: bool) -> list[Row]:
        """Return a window of rows, or while Kafka acknowledges nothing (`trying`) a body per topic.

        One topic that refuses its bodies must not make Kafka appear unavailable for the others.
        """
        if trying:
            return await self._spool.first_of_each()
        return await self._spool.read(after, _WINDOW_BYTES)

    def _update_give_up(self, sent: Sequence[Row], *, ended: bool) -> None:
        if self._acknowledged:
            self._windows = 0
        elif sent:
            self._windows += 1
        self.in_vain = retry_schedule.in_vain(self._windows, ended=ended)

    async def _remove_acknowledged(self) -> None:
        """Remove acknowledged rows; if that fails, it is repeated before anything else is sent."""
        if self._acknowledged:
            await self._spool.remove(self._acknowledged)
            self._acknowledged = []

    async def _send(self, rows: Sequence[Row]) -> tuple[Sequence[Row], list[Row]]:
        """Send rows; returns those that were sent, and those of them that Kafka acknowledged."""
        answers = []
        if not await self._have_times(rows):
            return [], []
        webhooks = await self._publisher.with_kafka_time([row.webhook for row in rows])
        with suppress(Rejected):  # at the bound live traffic comes first; the rest is sent later
            for webhook in webhooks:
                answers.append(self._publisher.publish(webhook))  # noqa: PERF401 (it may raise)
        results = await asyncio.gather(*answers, return_exceptions=True)
        sent = rows[: len(answers)]
        return sent, [row for row, result in zip(sent, results, strict=True) if result is None]

    async def _have_times(self, rows: Sequence[Row]) -> bool:
        """Whether rows may be sent: some get their reception time only once Kafka's time is known.

        If Kafka answers repeatedly without its time, the rows are sent anyway.
        """
        if all(row.webhook.uptime is None for row in rows) or clock.decided:
            return True
        await self._publisher.compare_clocks()
        self._undated += self._publisher.problem is None
        return clock.decided or self._undated >= _MOST_UNDATED
