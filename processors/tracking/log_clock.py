"""The time of one partition's log, which the tracker's timers follow."""

import time
from collections.abc import Callable

from aiokafka import AIOKafkaConsumer, TopicPartition

from processors.runtime.fetch_times import FetchTimes


def horizon(latest: int, quiet: int | None, now: int, grace: int) -> int:
    """Return the time up to which timers may fire: the log's time less `grace`.

    `latest` is the latest time of the processed records. The wall clock, `now`, counts only up to
    `quiet`: up to then, neither the log nor the raw topics hold unread records. After an outage, or
    while a namespace is rebuilt, reports that came in time are still unread. No alarm may precede
    them.
    """
    return max(0, max(latest, min(quiet or 0, now)) - grace)


class LogClock:
    """Follows the log from one recovery to the next; times are Unix milliseconds."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        partition: TopicPartition,
        watermark: Callable[[float], int],
        grace: float,
    ) -> None:
        """`watermark` is the normaliser's, `grace` the seconds that timers wait for reports."""
        self._consumer = consumer
        self._partition = partition
        self._watermark = watermark
        self._grace = round(grace * 1000)
        self._fetch_times = FetchTimes()
        self._latest = 0

    def advance(self, latest: int) -> None:
        """Record the latest time of the records of a committed batch."""
        self._latest = max(self._latest, latest)

    async def horizon(self, now: int, *, drained: bool) -> int:
        """Return the time up to which timers may fire; `drained`: no polled record waits."""
        quiet = await self._quiet_until(drained=drained)
        return horizon(self._latest, quiet, now, self._grace)

    async def _quiet_until(self, *, drained: bool) -> int | None:
        """Return the time up to which the log holds no unprocessed record; None if it holds one.

        Kafka's newest response may be old, but it was requested after the previous one arrived.
        """
        if self._partition not in self._consumer.assignment():
            return None
        newest = self._consumer.last_poll_timestamp(self._partition) or 0
        self._fetch_times.observe(newest, time.monotonic())
        end = self._consumer.last_stable_offset(self._partition)
        if not drained or end is None or await self._consumer.position(self._partition) < end:
            return None
        return self._watermark(self._fetch_times.requested)
