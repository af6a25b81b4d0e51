"""Reading topics with an independent client, confluent-kafka, instead of Bluetick's code."""

import asyncio
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from schemas.topics import Topics
from service.settings import Settings

_SECONDS = 60
_POLL_SECONDS = 0.02
_STARTING = (
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError._WAIT_COORD,
)


@dataclass(frozen=True)
class Read:
    """One record as any consumer sees it."""

    topic: str
    partition: int
    offset: int
    key: str
    value: bytes
    headers: dict[str, bytes]
    timestamp: int


class Written(NamedTuple):
    """A record as any client reads it; `value` is None if it is not JSON of ours."""

    topic: str
    key: str | None
    headers: Mapping[str, str]
    value: Any


async def read(bootstrap: str, topic: str) -> list[Read]:
    """Read a topic at read_committed to its current end, ordered by partition."""
    records = await asyncio.to_thread(lambda: list(_read(bootstrap, topic)))
    return sorted(records, key=lambda record: (record.partition, record.offset))


def written(settings: Settings, record: Read) -> Written:
    """Return a record for the check of the contract; a sender's own bytes are not ours."""
    topic = record.topic.removeprefix(f"{settings.namespace}.")
    ours = not topic.startswith(("raw.", "dead-letters"))
    headers = {name: value.decode() for name, value in record.headers.items()}
    return Written(topic, record.key, headers, json.loads(record.value) if ours else None)


async def ends(bootstrap: str, topic: str) -> dict[int, int]:
    """Return the offset after the last committed record of each partition."""
    return await asyncio.to_thread(_ends, bootstrap, topic)


async def committed(bootstrap: str, group: str, topic: str) -> dict[int, int]:
    """Return a group's committed offset of each partition; -1001 if it has none."""
    return await asyncio.to_thread(_committed, bootstrap, group, topic)


async def caught_up(bootstrap: str, topics: Topics) -> None:
    """Wait until normalise and then track have committed the end of their input."""
    for service in ("normalise", "track"):
        await caught_up_with(bootstrap, topics, service)


async def caught_up_with(bootstrap: str, topics: Topics, service: str) -> None:
    """Wait until one service has committed the end of its input."""
    await asyncio.to_thread(_catch_up, bootstrap, topics.group(service), topics.inputs(service))


def _catch_up(bootstrap: str, group: str, topics: Iterable[str]) -> None:
    """Poll over one connection, slowly enough not to delay the services."""
    deadline = time.monotonic() + _SECONDS
    consumer = _consumer(bootstrap, group)
    try:
        for topic in topics:
            while not _at_end(consumer, topic):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{group} is not at the end of {topic}")
                time.sleep(_POLL_SECONDS)
    finally:
        consumer.close()


def _at_end(consumer: Consumer, topic: str) -> bool:
    at, end = _committed_of(consumer, topic), _ends_of(consumer, topic)
    return all(at[p] == end[p] or end[p] == 0 for p in end)


def _consumer(bootstrap: str, group: str = "reading") -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )


def _partitions(consumer: Consumer, topic: str) -> list[int]:
    return sorted(consumer.list_topics(topic, timeout=10).topics[topic].partitions)


def _ends(bootstrap: str, topic: str) -> dict[int, int]:
    consumer = _consumer(bootstrap)
    try:
        return _ends_of(consumer, topic)
    finally:
        consumer.close()


def _ends_of(consumer: Consumer, topic: str) -> dict[int, int]:
    return {p: _end_of(consumer, TopicPartition(topic, p)) for p in _partitions(consumer, topic)}


def _end_of(consumer: Consumer, partition: TopicPartition) -> int:
    """Return the end of a partition; waits for the leader of a new topic."""
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            return int(consumer.get_watermark_offsets(partition, timeout=10)[1])
        except KafkaException as error:
            no_leader = error.args[0].code() == KafkaError.NOT_LEADER_FOR_PARTITION
            if not no_leader or time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)


def _committed(bootstrap: str, group: str, topic: str) -> dict[int, int]:
    consumer = _consumer(bootstrap, group)
    try:
        return _committed_of(consumer, topic)
    finally:
        consumer.close()


def _committed_of(consumer: Consumer, topic: str) -> dict[int, int]:
    wanted = [TopicPartition(topic, p) for p in _partitions(consumer, topic)]
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            found = consumer.committed(wanted, timeout=10)
        except KafkaException as error:
            # A coordinator that is being elected, or loads its groups, answers with an error.
            if error.args[0].code() not in _STARTING or time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)
        else:
            return {tp.partition: tp.offset for tp in found}


def _read(bootstrap: str, topic: str) -> Iterator[Read]:
    consumer = _consumer(bootstrap)
    try:
        left = set(_partitions(consumer, topic))
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in left])
        while left:
            message: Any = consumer.poll(_SECONDS)
            assert message is not None, "Kafka does not answer"
            if message.error() is None:
                yield _record(message)
            else:
                assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
                left.discard(message.partition())
    finally:
        consumer.close()


def _record(message: Any) -> Read:
    return Read(
        message.topic(),
        message.partition(),
        message.offset(),
        (message.key() or b"").decode(),
        message.value(),
        dict(message.headers() or []),
        message.timestamp()[1],
    )
