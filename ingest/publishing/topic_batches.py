"""Webhooks that wait for Kafka: a queue of batches for each raw topic."""

import asyncio
import math
from collections import deque
from collections.abc import Mapping
from typing import Any, Literal

from ingest.accept_webhook import Cause, Rejected
from schemas.webhook import RawWebhook, to_headers

# Batches of a topic in flight at a time. With more, batches are smaller and cost more per webhook.
SLOTS = 2

# A batch costs ingest and Kafka as much as tens of webhooks. After an acknowledgement a smaller one
# waits for more webhooks as long as the acknowledgement took: an idle broker is asked soon, a busy
# one less often. The wait is bounded, because the sender waits too.
FEW = 16
REST_SECONDS = 0.02

# A batch that is not acknowledged within this time frees its slot for another partition, so that
# one hanging broker does not delay the partitions of the others.
STALE_SECONDS = 0.5

# How long a refusal makes ingest unready. Only an attempt shows whether Kafka still refuses, and an
# unready ingest may receive no webhook to attempt it with.
REFUSED_SECONDS = 10.0


Blame = Literal["batch", "answer", "silence"]
"""Why a batch failed: because of the batch itself, by Kafka's answer, or without an answer."""


class PendingWebhook:
    """One webhook and the future that its request awaits; `stamp` is the time of its record."""

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
    """Records of one raw topic that are sent together, oldest first, in an aiokafka builder.

    `refusals` counts how often Kafka has refused the batch because of its records' time.
    """

    __slots__ = ("builder", "pending", "refusals", "sent_at", "task")

    def __init__(self, builder: Any) -> None:
        self.builder = builder
        self.pending: list[PendingWebhook] = []
        self.refusals = 0
        self.sent_at = 0.0
        self.task: asyncio.Task[Cause | None] | None = None

    def append(self, pending: PendingWebhook) -> bool:
        """Append a record, or return False if the batch is full; the first record always fits."""
        webhook = pending.webhook
        room = self.builder.append(
            timestamp=pending.stamp,
            key=None,
            value=webhook.body,
            headers=to_headers(webhook),
        )
        if room is not None:
            self.pending.append(pending)
        return room is not None


class TopicQueue:
    """The batches of one raw topic: those that wait for a slot, and those sent, by partition."""

    def __init__(self, topic: str, partitions: int) -> None:
        self.topic = topic
        self.queued: deque[Batch] = deque()
        self.sent: dict[int, Batch] = {}
        self.refused: str | None = None  # Kafka's last error, until it acknowledges
        self._failures = 0  # batches in a row
        self._acknowledged_at = self._failed_at = -math.inf
        self._failed_sent_at = -math.inf
        self._rests_until = -math.inf
        self._partitions = partitions
        self._last_partition = 0

    def has_slot(self, now: float) -> bool:
        """Whether another batch may be sent; `now` is in seconds."""
        return sum(now - batch.sent_at < STALE_SECONDS for batch in self.sent.values()) < SLOTS

    def rests_until(self, webhooks: int) -> float:
        """Return when a batch with so many webhooks may be sent: at once if it is not a small one.

        Times are those of the event loop, in seconds.
        """
        return self._rests_until if webhooks < FEW else -math.inf

    def acknowledge(self, sent_at: float, now: float) -> None:
        """Record that Kafka has acknowledged a batch that was sent at `sent_at`."""
        self._rests_until = now + min(now - sent_at, REST_SECONDS)
        self.refused = None
        self._failures = 0
        self._acknowledged_at = now
        self._failed_at = -math.inf

    def fail(self, error: str, blame: Blame, sent_at: float, now: float) -> None:
        """Record that Kafka has not acknowledged a batch; `error` is the name of the error.

        Missing answers count from the second batch on: one broker that is down explains the first.
        """
        self.refused = error
        if blame == "batch" or self._acknowledged_at >= sent_at:
            return  # the topic accepts other batches
        self._failures += 1
        if blame == "answer" or self._failures > 1:
            self._failed_at, self._failed_sent_at = now, sent_at

    def refuses_all(self, now: float, since: float) -> bool:
        """Whether Kafka has recently refused every batch that was sent after `since`."""
        return self._failed_sent_at > since and now - self._failed_at < REFUSED_SECONDS

    def next_partition(self, leaders: Mapping[int, int], now: float) -> int | None:
        """Return the next partition without a batch in flight, or None: wait.

        `leaders` are the brokers that lead the partitions. A broker has one batch at a time, until
        that is stale: aiokafka sends a broker the next one only after its answer, so a second batch
        would wait there, closed. A partition without a leader is used if none has one.
        """
        busy = {
            leaders.get(partition)
            for partition, batch in self.sent.items()
            if now - batch.sent_at < STALE_SECONDS
        }
        order = [
            (self._last_partition + step) % self._partitions
            for step in range(1, self._partitions + 1)
        ]
        free = [partition for partition in order if partition not in self.sent]
        led = [partition for partition in free if partition in leaders]
        usable = [partition for partition in led if leaders[partition] not in busy] if led else free
        if not usable:
            return None
        self._last_partition = usable[0]
        return usable[0]
