"""Sending an outbox under a deadline; what Kafka does not take is told in one sentence."""

import asyncio

from aiokafka.errors import (
    InvalidTimestampError,
    KafkaError,
    MessageSizeTooLargeError,
    NotEnoughReplicasAfterAppendError,
    NotEnoughReplicasError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)

from processors.runtime.outbox import Outbox
from schemas.clock_offset import refused_time
from schemas.kafka_time import clock
from schemas.problem import Problem

_REPLICAS = "bring its missing replicas back, or lower its min.insync.replicas"
_ADVICE: dict[type[BaseException], str] = {
    MessageSizeTooLargeError: "raise its max.message.bytes",
    NotEnoughReplicasAfterAppendError: _REPLICAS,
    NotEnoughReplicasError: _REPLICAS,
    TopicAuthorizationFailedError: "let this user write to it",
    UnknownTopicOrPartitionError: "create it with: bluetick topics apply",
}


class UnsentError(Exception):
    """Kafka did not take all of an outbox; says which topic, why, and what to do."""


async def send(outbox: Outbox, seconds: float) -> None:
    """Send everything and see it acknowledged, or raise `UnsentError`."""
    try:
        async with asyncio.timeout(seconds):
            await outbox.send()
    except (KafkaError, TimeoutError, OSError, Problem) as error:
        topics = ", ".join(outbox.unacknowledged())
        cause = type(error.__cause__ or error)
        if cause is InvalidTimestampError:
            clock.doubt()
            raise UnsentError(f"{topics}: {refused_time(clock.known())}") from error
        advice = _ADVICE.get(cause, "look at whether Kafka is well")
        raise UnsentError(
            f"Kafka does not take what goes to {topics} ({cause.__name__}): {advice}"
        ) from error
