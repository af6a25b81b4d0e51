"""Reads and writes topics with librdkafka: input, progress of a group, committed outputs."""

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple
from zlib import crc32

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from cli.problem_sentences import CommandProblem

_SECONDS = 30
_END_OF_PARTITION = -191  # librdkafka's RD_KAFKA_RESP_ERR__PARTITION_EOF
_BATCH = 10_000
_TRIES = 60


class Written(NamedTuple):
    """A record to write; without a key it goes to `partition`."""

    key: bytes | None
    value: bytes
    partition: int = -1
    timestamp: int = 0
    headers: Sequence[tuple[str, bytes]] = ()


class Broker:
    """The topics of one broker."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._client: dict[str, str | int | float | bool] = {
            "bootstrap.servers": address,
            "log_level": 0,
        }
        self._admin = AdminClient(self._client)

    def create(self, names: Iterable[str], partitions: int) -> None:
        """Create topics."""
        new = [NewTopic(name, partitions, 1) for name in names]
        for done in self._admin.create_topics(new, operation_timeout=_SECONDS).values():
            done.result()

    def delete(self, prefix: str) -> None:
        """Delete the topics that have a prefix in their names, a changelog's included."""
        names = [
            name for name in self._admin.list_topics(timeout=_SECONDS).topics if prefix in name
        ]
        if names:
            for done in self._admin.delete_topics(names, operation_timeout=_SECONDS).values():
                done.result()

    def changelog(self, prefix: str) -> str:
        """Return the name of the changelog that a peer has created."""
        names = self._admin.list_topics(timeout=_SECONDS).topics
        [name] = [name for name in names if prefix in name and "changelog" in name]
        return name

    def write(self, topic: str, partitions: int, records: Iterable[Written]) -> int:
        """Write records, those of a key to the partition that Bluetick chooses; return how many."""
        producer = Producer(
            {
                **self._client,
                "enable.idempotence": True,  # a retry keeps the order
                "compression.type": "zstd",
                "linger.ms": 20,
                "queue.buffering.max.messages": 200_000,
            }
        )
        count = 0
        for one in records:
            place = crc32(one.key) % partitions if one.key is not None else one.partition
            while True:
                try:
                    producer.produce(
                        topic,
                        one.value,
                        one.key,
                        partition=place,
                        timestamp=one.timestamp,
                        headers=list(one.headers),
                    )
                    break
                except BufferError:
                    producer.poll(0.1)
            count += 1
            producer.poll(0)
        if producer.flush(_SECONDS):
            raise CommandProblem("bench_not_written", "Kafka did not take the benchmark's input")
        return count

    def read(self, topic: str) -> Iterator[Message]:
        """Yield all records that a reader at read_committed sees, partition by partition."""
        consumer = Consumer(
            {
                **self._client,
                "group.id": "bench-reader",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
            }
        )
        try:
            partitions = consumer.list_topics(topic, timeout=_SECONDS).topics[topic].partitions
            consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions])
            yield from _until_end(consumer, set(partitions))
        finally:
            consumer.close()


class Progress:
    """How far a group has committed a topic; it does not join the group."""

    def __init__(self, address: str, group: str, topic: str) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": address,
                "log_level": 0,
                "group.id": group,
                "enable.auto.commit": False,
                "isolation.level": "read_uncommitted",  # do not wait for a pending commit
            }
        )
        there = self._consumer.list_topics(topic, timeout=_SECONDS).topics[topic].partitions
        self._partitions = [TopicPartition(topic, p) for p in there]

    def committed(self) -> int:
        """Return the sum of the committed offsets; 0 before the first, and while Kafka refuses."""
        try:
            found = self._consumer.committed(self._partitions, timeout=_SECONDS)
        except KafkaException:  # the coordinator of the group is being elected
            return 0
        return sum(max(0, one.offset) for one in found)

    def close(self) -> None:
        """Close its connections."""
        self._consumer.close()


class Tail:
    """Reads a topic at read_committed in a thread, and notes when each record was read."""

    def __init__(self, address: str, topic: str) -> None:
        self.arrived: list[tuple[float, bytes]] = []
        self._stop = threading.Event()
        self._consumer = Consumer(
            {
                "bootstrap.servers": address,
                "log_level": 0,
                "group.id": "bench-tail",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
            }
        )
        partitions = self._consumer.list_topics(topic, timeout=_SECONDS).topics[topic].partitions
        self._consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions])
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop reading."""
        self._stop.set()
        self._thread.join(_SECONDS)
        self._consumer.close()

    def _read(self) -> None:
        while not self._stop.is_set():
            message = self._consumer.poll(0.1)
            if message is not None and message.error() is None:
                self.arrived.append((time.time(), message.value() or b""))


def _until_end(consumer: Consumer, waiting: set[int]) -> Iterator[Message]:
    """Yield records until the end of all partitions; librdkafka retries after most errors."""
    idle = 0
    while waiting:
        messages = consumer.consume(_BATCH, timeout=1)
        idle = 0 if messages else idle + 1
        if idle > _TRIES:
            raise CommandProblem("bench_not_read", "Kafka did not return the benchmark's outputs")
        for message in messages:
            error = message.error()
            if error is None:
                yield message
            elif error.code() == _END_OF_PARTITION:
                waiting.discard(message.partition())
            elif error.fatal():
                raise KafkaException(error)
