"""Offsets, leaders and settings as the broker reports them, and changes of topics."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaException,
    TopicPartition,
    admin,
)

# Its types are not exported in a way that type checkers accept.
_kafka: Any = admin

_ASK_SECONDS = 10

T = TypeVar("T")


class Admin:
    """An admin client. Every method blocks: call it in a thread."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._connect()

    def ends(self, partitions: Sequence[tuple[str, int]], *, stable: bool = True) -> list[int]:
        """Return each partition's end offset; `stable`: its last stable offset."""
        level = IsolationLevel.READ_COMMITTED if stable else IsolationLevel.READ_UNCOMMITTED
        wanted = {TopicPartition(*one): _kafka.OffsetSpec.latest() for one in partitions}

        def ask() -> list[int]:
            answers = self._admin.list_offsets(
                wanted, isolation_level=level, request_timeout=_ASK_SECONDS
            )
            found = {(p.topic, p.partition): future.result() for p, future in answers.items()}
            return [found[partition].offset for partition in partitions]

        return self._ask(ask)

    def committed(self, group: str, partitions: Sequence[tuple[str, int]]) -> list[int]:
        """Return a group's committed offset of each partition; 0 where it has none."""
        wanted = ConsumerGroupTopicPartitions(group, [TopicPartition(*p) for p in partitions])

        def ask() -> list[int]:
            answers = self._admin.list_consumer_group_offsets(
                [wanted], request_timeout=_ASK_SECONDS
            )
            [future] = answers.values()
            found = {(p.topic, p.partition): p.offset for p in future.result().topic_partitions}
            return [max(0, found[partition]) for partition in partitions]

        return self._ask(ask)

    def _ask(self, ask: Callable[[], T]) -> T:
        """Ask; after an error once more with a new client.

        After a fault a client may keep what it knew before, such as the epoch of a leader.
        """
        try:
            return ask()
        except KafkaException:
            self._connect()
            return ask()

    def _connect(self) -> None:
        self._admin = _kafka.AdminClient({"bootstrap.servers": self._bootstrap, "log_level": 0})

    def leader(self, topic: str, partition: int) -> int:
        """Return the number of the broker that leads a partition."""
        return int(self._topics()[topic].partitions[partition].leader)

    def coordinator(self, topic: str, name: str) -> int:
        """Return the broker that coordinates a group or a transactional id.

        `topic` is Kafka's internal topic: __consumer_offsets or __transaction_state.
        """
        return self.leader(topic, _java_hash(name) % len(self._topics()[topic].partitions))

    def in_sync(self) -> bool:
        """Whether all replicas of all partitions are in sync."""
        try:
            partitions = [p for topic in self._topics().values() for p in topic.partitions.values()]
        except KafkaException:
            return False
        return all(len(partition.isrs) == len(partition.replicas) for partition in partitions)

    def _topics(self) -> Any:
        return self._admin.list_topics(timeout=_ASK_SECONDS).topics

    def configure(self, topic: str | None, name: str, value: str) -> None:
        """Change one setting of a topic; None: of the broker."""
        entry = _kafka.ConfigEntry(name, value, incremental_operation=_kafka.AlterConfigOpType.SET)
        kind = _kafka.ResourceType.TOPIC if topic else _kafka.ResourceType.BROKER
        resource = _kafka.ConfigResource(kind, topic or "1", incremental_configs=[entry])
        for future in self._admin.incremental_alter_configs([resource]).values():
            future.result(_ASK_SECONDS)

    def cut(self, topic: str, partition: int, offset: int) -> None:
        """Delete a partition's records before an offset, as retention does."""
        end = TopicPartition(topic, partition, offset)
        for future in self._admin.delete_records([end]).values():
            future.result(_ASK_SECONDS)

    def grow(self, topic: str, partitions: int) -> None:
        """Give a topic more partitions."""
        for future in self._admin.create_partitions(
            [_kafka.NewPartitions(topic, partitions)]
        ).values():
            future.result(_ASK_SECONDS)


def _java_hash(text: str) -> int:
    """Return the absolute value of Java's String.hashCode, by which Kafka maps names."""
    value = 0
    for character in text.encode("ascii"):
        value = (31 * value + character) & 0xFFFFFFFF
    return min(value, (1 << 32) - value) % (1 << 31)
