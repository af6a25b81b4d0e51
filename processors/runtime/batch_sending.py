"""Sending an outbox under a deadline; one sentence says what Kafka does not take, and why."""

import asyncio

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidTimestampError,
    KafkaError,
    MessageSizeTooLargeError,
    NotEnoughReplicasAfterAppendError,
    NotEnoughReplicasError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)

from processors.runtime.record_batches import Outbox, Outgoing
from service.kafka.clock import clock
from service.kafka.clock_offset import refused_time
from service.messages import CREATE_TOPICS, sentence

_REPLICAS = "bring its missing replicas back, or lower its min.insync.replicas"
_ADVICE: dict[type[BaseException], str] = {
    MessageSizeTooLargeError: "raise its max.message.bytes",
    NotEnoughReplicasAfterAppendError: _REPLICAS,
    NotEnoughReplicasError: _REPLICAS,
    RecordListTooLargeError: "raise its segment.bytes",
    TopicAuthorizationFailedError: "let this user write to it",
    UnknownTopicOrPartitionError: CREATE_TOPICS,
}


class UnsentError(Exception):
    """Kafka did not take all of an outbox; says which topic, why, and what to do."""


async def send(outbox: Outbox, seconds: float) -> None:
    """Send everything and see it acknowledged, or raise `UnsentError`."""
    try:
        async with asyncio.timeout(seconds):
            await outbox.send()
    except (KafkaError, TimeoutError, OSError) as error:
        topics = ", ".join(outbox.unacknowledged())
        cause = type(error.__cause__ or error)
        if cause is InvalidTimestampError:
            clock.doubt()
            raise UnsentError(f"{topics}: {refused_time(clock.known())}") from error
        advice = _ADVICE.get(cause, "look at whether Kafka is well")
        fields = {"topics": topics, "why": cause.__name__, "advice": advice}
        raise UnsentError(sentence("unsent", fields)) from error


async def deliver(producer: AIOKafkaProducer, outbox: Outbox, seconds: float) -> list[Outgoing]:
    """Send everything; returns the records that Kafka refuses as too large even alone.

    Raises `UnsentError` if anything is not sent for another reason. Only records that were `put`
    into the outbox can be sent apart.
    """
    try:
        await send(outbox, seconds)
    except UnsentError:
        refused = outbox.refused()
        if not refused:
            raise
    else:
        return []
    large: list[Outgoing] = []
    for records in refused:
        if len(records) == 1:
            large += records
            continue
        middle = len(records) // 2
        for half in (records[:middle], records[middle:]):
            apart = Outbox(producer)
            apart.put(half)
            large += await deliver(producer, apart, seconds)
    return large
