"""The headers of a dead letter: where it came from and why it could not be normalised.

Kafka Streams' names are used where it has one (KIP-1034, `__streams.errors.*`).
"""

from typing import NamedTuple

from aiokafka import ConsumerRecord

from processors.providers.base import DeadLetter

TOPIC = "__streams.errors.topic"
PARTITION = "__streams.errors.partition"
OFFSET = "__streams.errors.offset"
MESSAGE = "__streams.errors.message"
TIMESTAMP = "dead-letter-timestamp"
POINTER = "dead-letter-pointer"
CODE = "dead-letter-code"


def headers(letter: DeadLetter, record: ConsumerRecord[bytes, bytes]) -> list[tuple[str, bytes]]:
    """Its origin and reason, then the raw record's own headers as they were."""
    texts = [
        (CODE, letter.code),
        (MESSAGE, letter.reason),
        (POINTER, letter.pointer),
        (TOPIC, record.topic),
        (PARTITION, str(record.partition)),
        (OFFSET, str(record.offset)),
        (TIMESTAMP, str(record.timestamp)),
    ]
    return [*((name, text.encode()) for name, text in texts), *record.headers]


class Origin(NamedTuple):
    """Which raw record a dead letter comes from, and its code."""

    topic: str
    partition: int
    offset: int
    code: str


def origin(record: ConsumerRecord[bytes, bytes]) -> Origin | None:
    """Where a dead letter came from; None if it does not say."""
    # Our own headers are the first; the raw record's follow, whatever they are called.
    headers = dict(reversed(record.headers))
    try:
        topic, partition, offset, code = (
            headers[name].decode() for name in (TOPIC, PARTITION, OFFSET, CODE)
        )
        return Origin(topic, int(partition), int(offset), code)
    except (KeyError, ValueError):
        return None
