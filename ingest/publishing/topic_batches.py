"""Where webhooks wait on their way to Kafka: lanes of batches, one lane for each raw topic."""

import asyncio
import math
from collections import deque
from typing import Any, Literal

from ingest.admission import Cause, Rejected
from schemas.webhook import RawWebhook, to_headers

# Batches of a topic on their way at a time. With more, batches are smaller and each costs more.
SLOTS = 2

# A batch unacknowledged for so many seconds gives its slot to another partition: one broker that
# hangs must not hold up the partitions of the others.
STALE_SECONDS = 0.5

# Only a try tells whether Kafka still refuses, and one that is not ready may get no webhooks to try
# with: a refusal makes ingest unready for so long.
REFUSED_SECONDS = 10.0


Blame = Literal["batch", "answer", "silence"]
"""Why a batch was not taken: for what it is itself, by Kafka's answer, or as there was none."""


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
        self._failures = 0  # batches in a row
        self._acknowledged_at = self._failed_at = -math.inf
        self._failed_sent_at = -math.inf
        self._partitions = partitions
        self._turn = 0

    def has_slot(self, now: float) -> bool:
        return sum(now - batch.sent_at < STALE_SECONDS for batch in self.sent.values()) < SLOTS

    def acknowledge(self, now: float) -> None:
        """Kafka has taken a batch."""
        self.refused = None
        self._failures = 0
        self._acknowledged_at = now
        self._failed_at = -math.inf

    def fail(self, error: str, blame: Blame, sent_at: float, now: float) -> None:
        """Kafka has not taken a batch; `error` is the name of what went wrong.

        Silence counts from the second batch on: the first may be of the one broker that is down.
        """
        self.refused = error
        if blame == "batch" or self._acknowledged_at >= sent_at:
            return  # the topic takes others
        self._failures += 1
        if blame == "answer" or self._failures > 1:
            self._failed_at, self._failed_sent_at = now, sent_at

    def refuses_all(self, now: float, since: float) -> bool:
        """Whether Kafka lately took nothing of what was sent after `since`."""
        return self._failed_sent_at > since and now - self._failed_at < REFUSED_SECONDS

    def next_partition(self, led: set[int]) -> int | None:
        """The next partition that has no batch on its way, if possible one that has a leader."""
        order = [(self._turn + step) % self._partitions for step in range(1, self._partitions + 1)]
        free = [partition for partition in order if partition not in self.sent]
        if not free:
            return None
        self._turn = next((partition for partition in free if partition in led), free[0])
        return self._turn
