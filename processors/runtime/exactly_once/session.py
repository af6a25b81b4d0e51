"""The state of a task between two recoveries."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaConnectionError

from processors.runtime.exactly_once.offset_note import Note
from processors.runtime.exactly_once.partition_store import PartitionStore
from service.kafka import clients

S = TypeVar("S", bound=PartitionStore)


@dataclass(slots=True)
class Session(Generic[S]):
    """A producer that has fenced all earlier ones, a restored store, and the committed position.

    It ends with its producer, at the first error. `losses` is the number of connections that the
    producer had lost when it started. `stamp` is the time of the last transaction's records, Unix
    milliseconds. `offset` is the committed offset of `partition`, `note` its metadata.
    """

    partition: TopicPartition
    producer: AIOKafkaProducer
    store: S
    losses: int
    stamp: int
    offset: int
    note: Note

    def refuse_loss(self) -> None:
        """Raise if the producer has lost a connection, even after a commit.

        A batch that was sent again may arrive twice: the epoch of a new producer excludes it. And
        a transaction that Kafka did not end, because it went down, is ended by the recovery.
        """
        if clients.losses(self.producer) > self.losses:
            raise KafkaConnectionError("a connection was lost")
