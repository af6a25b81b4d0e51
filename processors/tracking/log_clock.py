"""The time of one partition's log, by which the tracker's timers fire."""

import time
from collections.abc import Callable

from aiokafka import AIOKafkaConsumer, TopicPartition

from processors.runtime.fetch_times import Answers


def horizon(latest: int, quiet: int | None, now: int, grace: int) -> int:
    """Up to when timers may fire: the log's time, less some grace.

    `latest` is the latest time of the records taken. The wall clock, `now`, counts only up to
    `quiet`, where neither the log nor the raw topics before it have more: after an outage, or while
    a namespace is rebuilt, reports that came in time are still to be read, and no alarm may come
    before them.
    """
    return max(0, max(latest, min(quiet or 0, now)) - grace)


class LogClock:
    """Follows the log from one recovery on; times are Unix milliseconds."""

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
        self._answers = Answers()
        self._latest = 0

    def advance(self, latest: int) -> None:
        """Note the latest time of the records that a committed batch took."""
        self._latest = max(self._latest, latest)

    async def horizon(self, now: int, *, drained: bool) -> int:
        """Up to when timers may fire; `drained` says that no polled record waits."""
        quiet = await self._quiet_until(drained=drained)
        return horizon(self._latest, quiet, now, self._grace)

    async def _quiet_until(self, *, drained: bool) -> int | None:
        """Until when the log is known to hold no record that was not taken; None if it does.

        Kafka's newest answer may have been on its way for long, but it was not asked for before
        the answer before it had come.
        """
        if self._partition not in self._consumer.assignment():
            return None
        answer = self._consumer.last_poll_timestamp(self._partition) or 0
        self._answers.look(answer, time.monotonic())
        end = self._consumer.last_stable_offset(self._partition)
        if not drained or end is None or await self._consumer.position(self._partition) < end:
            return None
        return self._watermark(self._answers.asked)
