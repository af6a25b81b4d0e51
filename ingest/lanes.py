"""Where webhooks wait on their way to Kafka: lanes of batches, one lane for each raw topic."""

import asyncio
from collections import deque
from typing import Any

from ingest.accept import Cause, Rejected
from schemas.webhook import RawWebhook, to_headers

# Batches of a topic on their way at a time. With more, batches are smaller and each costs more.
SLOTS = 2

# A batch unacknowledged for so many seconds gives its slot to another partition: one broker that
# hangs must not hold up the partitions of the others.
STALE_SECONDS = 0.5


class Waiting:
    """One webhook and the future its request waits for; `stamp` is the time of its record."""

    __slots__ = ("answer", "deadline", "stamp", "webhook")

    def __init__(self, webhook: RawWebhook, deadline: float, answer: asyncio.Future[None]) -> None:
        self.webhook = webhook
        self.stamp = webhook.received_at
        self.deadline = deadline
        self.answer = answer

    def refuse(self, cause: Cause) -> None:
        if not self.answer.done():
            self.answer.set_exception(Rejected(cause))


class Batch:
    """Records of one raw topic that travel together, oldest first, in an aiokafka builder.

    `refusals` counts how often Kafka has refused them for their time.
    """

    __slots__ = ("builder", "refusals", "sent_at", "task", "waiting")

    def __init__(self, builder: Any) -> None:
        self.builder = builder
        self.waiting: list[Waiting] = []
        self.refusals = 0
        self.sent_at = 0.0
        self.task: asyncio.Task[Cause | None] | None = None

    def append(self, waiting: Waiting) -> bool:
        """Append, or say that the batch is full; the first record always fits."""
        webhook = waiting.webhook
        room = self.builder.append(
            timestamp=waiting.stamp,
            key=None,
            value=webhook.body,
            headers=to_headers(webhook),
        )
        if room is not None:
            self.waiting.append(waiting)
        return room is not None


class Lane:
    """The batches of one raw topic: those that wait for a slot, and those sent, by partition."""

    def __init__(self, topic: str, partitions: int) -> None:
        self.topic = topic
        self.queue: deque[Batch] = deque()
        self.sent: dict[int, Batch] = {}
        self.refused: str | None = None  # Kafka's last error, until it acknowledges
        self._partitions = partitions
        self._turn = 0

    def has_slot(self, now: float) -> bool:
        return sum(now - batch.sent_at < STALE_SECONDS for batch in self.sent.values()) < SLOTS

    def next_partition(self, led: set[int]) -> int | None:
        """The next partition that has no batch on its way, if possible one that has a leader."""
        order = [(self._turn + step) % self._partitions for step in range(1, self._partitions + 1)]
        free = [partition for partition in order if partition not in self.sent]
        if not free:
            return None
        self._turn = next((partition for partition in free if partition in led), free[0])
        return self._turn
